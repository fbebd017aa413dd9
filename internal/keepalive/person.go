package keepalive

import (
	"context"
	"time"
)

// person is what is known of one person's SFM sessions.
type person struct {
	session string
	turn    chan struct{} // held by who works at the person's page; no call of an EPJ waits for it
	mark    uint64        // of the note that was made last; guarded by turn

	// Guarded by Keeper.mu:
	sessions map[Key]*sfmSession // by folded key
	struck   map[Key]int         // ended here, which the book may not know yet
	posting  int                 // calls to SFM that are under way
	over     bool                // the person's session has ended: nothing of it comes back
}

// sfmSession is one SFM session.
type sfmSession struct {
	key  Key
	of   *person
	ctx  context.Context // its own; ends when it is forgotten
	end  context.CancelFunc
	news chan struct{} // holds one: something changed, look

	// Guarded by Keeper.mu:
	path  string // up to and without the step: "/api/v2/Session"
	held  hold   // what SFM holds
	state State
	since time.Time
	owed  owed      // what the book does not know yet
	due   time.Time // by when the loop will have looked again
	// spared is until when it is not lost, since it has just come from another replica.
	spared time.Time
}

// hold is a token that SFM holds.
type hold struct {
	sum     string
	expires time.Time
}

func holdOf(t Token) hold { return hold{sum(t.AccessToken), t.Expires} }

// person finds or makes a person. It is called with mu held.
func (k *Keeper) person(session string) *person {
	p := k.persons[session]
	if p == nil {
		p = &person{session: session, turn: make(chan struct{}, 1), sessions: make(map[Key]*sfmSession), struck: make(map[Key]int)}
		k.persons[session] = p
	}
	return p
}

// tidy forgets a person of whom nothing is known. It is called with mu held.
func (k *Keeper) tidy(session string) {
	if p := k.persons[session]; p != nil && len(p.sessions)+len(p.struck) == 0 {
		delete(k.persons, session)
	}
}

// find is a session that is known, or nil. It is called with mu held.
func (k *Keeper) find(key Key) *sfmSession {
	if p := k.persons[key.Session]; p != nil {
		return p.sessions[key.folded()]
	}
	return nil
}

// file makes a session and starts its loop. It is called with mu held.
func (k *Keeper) file(key Key) *sfmSession {
	s := &sfmSession{key: key, of: k.person(key.Session), news: make(chan struct{}, 1)}
	s.ctx, s.end = context.WithCancel(k.life)
	s.of.sessions[key.folded()] = s
	k.loops.Go(func() { k.keep(s) })
	return s
}

// nudge wakes the loop.
func (s *sfmSession) nudge() {
	select {
	case s.news <- struct{}{}:
	default: // it is about to look anyway
	}
}

// remove forgets one session and stops its loop. It is called with mu held, and tidy
// after it.
func (k *Keeper) remove(s *sfmSession) {
	s.end()
	if k.find(s.key) == s {
		delete(k.persons[s.key.Session].sessions, s.key.folded())
	}
}

// known are the sessions of a person's session here. It is called with mu held.
func (k *Keeper) known(session string) map[Key]*sfmSession {
	if p := k.persons[session]; p != nil {
		return p.sessions
	}
	return nil
}
