// Package keepalive keeps SFM's own sessions open while a person works in SFM's
// pages, and ends them when the person logs out.
//
// An SFM session is the link between an access token and the browser that shows
// SFM's pages. The EPJ opens it with Session/create, and from then on the browser
// talks to SFM directly: no call comes by that would show that anybody is still
// there. Yet the session dies with the token it was given, unless SFM gets the
// next token by Session/refresh before that one expires.
//
// # What is known, and from where
//
// The [Keeper] is told of SFM's good answers to the EPJ's own calls. A create, or a
// refresh, says that a session is open and which token SFM holds; an end says that
// it is over. So an EPJ that refreshes by itself is never doubled: a token that SFM
// holds is not sent again. Without a [Book] all of it is kept in memory: after a restart
// a session is known again with the EPJ's next create or refresh.
//
// # How one is kept
//
// Each open session has a loop that sleeps until another token has come for its
// person and tenant, which [Keeper.Look] tells it. It also looks by itself, ever
// more often as the old token's end comes near: a token may have been renewed while
// a create was under way, or have been dropped for want of room. What fails is tried
// again, with pauses, for as long as the old token lives. After that the session is
// lost, and only the EPJ can open a new one.
//
// # Many replicas
//
// Where replicas share a [Book], what stands there is so, and memory is a working copy.
// A person's page names the one replica that keeps their SFM sessions: the one that the
// EPJ spoke to last. It reads the page before each look, and signs it before each call to
// SFM, so that it finds out when somebody else has ended a session or taken it over.
// Beside the page stands by when it must have acted. It moves that on with each look;
// where it has not, because it is dead, whoever sees that first takes its work over.
// While the book can't be had, each goes on from memory, and writes what it owes later.
package keepalive

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// remembered is how long a lost session is told of; it ends earlier with its person's
// session.
const remembered = 24 * time.Hour

// Tenant is the organizations and the journal that a session was opened for.
// Journals are compared in any letter case.
type Tenant struct{ Parent, Child, Journal string }

// Key names an SFM session.
type Key struct {
	// Session is the ID of the person's session, never its handle.
	Session string
	Tenant  Tenant
	// Upstream is the name of the service that the session was opened at.
	Upstream string
}

// folded is the key under which a session is filed.
func (k Key) folded() Key {
	k.Tenant.Journal = strings.ToLower(k.Tenant.Journal)
	return k
}

// Token is an access token. It prints without its value.
type Token struct {
	AccessToken string
	// Expires is its end; with a monotonic reading, if it was fetched by this process.
	Expires time.Time
	// Held is for the one who gave the token: it comes back with each Post.
	Held any
}

// String tells when the token expires, and hides it.
func (t Token) String() string {
	return "keepalive.Token(until " + t.Expires.Format(time.RFC3339) + ")"
}

// GoString is [Token.String], for %#v.
func (t Token) GoString() string { return t.String() }

// State is where an SFM session stands.
type State string

// Open: SFM holds a token that lives. Lost: that token ran out before SFM took another.
const (
	Open State = "open"
	Lost State = "lost"
)

// Status is an SFM session as its person's EPJ may see it.
type Status struct {
	Tenant Tenant
	State  State
	// Since is when it came to be in this state.
	Since time.Time
}

// ErrEnded says that the person's session is over, so that no token will ever come.
// [Options.Token] returns it, or wraps it.
var ErrEnded = errors.New("the person's session has ended")

// Options are what a [Keeper] is made of.
type Options struct {
	// Token gives the good token of a session's person and tenant: the one that is
	// held, or one that is fetched. Required.
	Token func(ctx context.Context, k Key) (Token, error)
	// Post sends an empty POST with the token to a path of the session's upstream and
	// gives the status of the answer. Required.
	Post func(ctx context.Context, k Key, path string, t Token) (status int, err error)
	// Off leaves refreshing to the EPJ. Sessions are still known, and ended at log-out.
	Off bool
	// Book is what replicas share. If nil, this is the only one.
	Book Book
	// Now is the time that replicas have in common, whatever their own clocks say. If nil,
	// time.Now.
	Now func() time.Time
	// Wall is the wall clock. If nil, time.Now.
	Wall    func() time.Time
	Observe Events
}

// Events tells what happened. Each may be nil; each must be quick and safe for
// concurrent use.
type Events struct {
	// Refreshed: SFM took a new token.
	Refreshed func(Key)
	// Failed: SFM got no new token; it is tried again.
	Failed func(Key, error)
	// Lost: the session is lost. The error is why the last try failed, nil if there
	// was none.
	Lost func(Key, error)
	// TakenOver: another replica has not acted in time, and this one keeps the SFM sessions
	// of a person's session from now on.
	TakenOver func(session string)
}

// Keeper keeps SFM sessions. It is safe for concurrent use. [Keeper.Close] ends it.
type Keeper struct {
	o     Options
	life  context.Context // the Keeper's own; ended by Close
	end   context.CancelFunc
	loops sync.WaitGroup
	me    string // this replica's name in the book

	mu      sync.Mutex         // guards all below, and the guarded fields of persons and sessions
	persons map[string]*person // by the person's session
	strikes int                // how many there were
}

// New returns a Keeper.
func New(o Options) (*Keeper, error) {
	if o.Token == nil || o.Post == nil {
		return nil, errors.New("keepalive: Token and Post are required")
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Keeper{o: o, me: rand.Text(), persons: make(map[string]*person)}
	k.life, k.end = context.WithCancel(context.Background())
	if o.Book != nil && !o.Off {
		k.loops.Go(k.takeOver)
	}
	return k, nil
}

// The last segments of the paths that matter.
const (
	stepCreate  = "create"
	stepRefresh = "refresh"
	stepEnd     = "end"
)

// step splits a path that ends /Session/create, /Session/refresh or /Session/end, in
// any letter case, before its last segment; "" for any other. The path is escaped, and
// has no query.
func step(path string) (session, step string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", ""
	}
	const parent = "/session"
	if i < len(parent) || !strings.EqualFold(path[i-len(parent):i], parent) {
		return "", ""
	}
	switch step := strings.ToLower(path[i+1:]); step {
	case stepCreate, stepRefresh, stepEnd:
		return path[:i], step
	}
	return "", ""
}

// Answered tells of a POST of the EPJ that SFM answered well (2xx): its path at the
// upstream, escaped as it was sent, and the token it was sent with. Paths that are
// none of a session's do nothing.
func (k *Keeper) Answered(key Key, path string, t Token) {
	session, step := step(path)
	switch step {
	case stepCreate, stepRefresh:
		k.opened(key, session, t)
	case stepEnd:
		k.ended(key)
	}
}

// opened notes that a session is open and what token SFM holds.
func (k *Keeper) opened(key Key, path string, t Token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life.Err() != nil {
		return
	}
	p := k.person(key.Session)
	s := p.sessions[key.folded()]
	if s == nil {
		s = k.file(key)
	}
	delete(p.struck, key.folded())
	if s.state != Open {
		s.state, s.since = Open, k.o.Wall()
	}
	s.path, s.held = path, holdOf(t)
	s.owed.add(byEPJ)
	s.nudge()
}

// ended forgets a session that SFM has ended.
func (k *Keeper) ended(key Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.find(key); s != nil {
		k.remove(s)
	}
	k.strike(key)
	k.tidy(key.Session)
}

// Open lists the open SFM sessions of a person's session that are kept.
func (k *Keeper) Open(session string) []Key {
	if k.o.Off {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var keys []Key
	for _, s := range k.known(session) {
		if s.state == Open {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// Look tells that another token has come for a session. It returns at once; one that
// is not known is no matter.
func (k *Keeper) Look(key Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.find(key); s != nil {
		s.nudge()
	}
}

// Of tells of the SFM sessions of a person's session, the oldest state first: what
// stands in the book, or, while that can't be had, what is known here.
func (k *Keeper) Of(ctx context.Context, session string) []Status {
	all, ok := k.Written(ctx, session)
	if !ok {
		k.mu.Lock()
		for _, s := range k.known(session) {
			all = append(all, k.status(s))
		}
		k.mu.Unlock()
	}
	slices.SortFunc(all, byState)
	return all
}

// status is where a session stands. A computer that slept may show it before the loop
// has noticed. It is called with mu held.
func (k *Keeper) status(s *sfmSession) Status {
	if s.state == Open && k.left(s.held) <= 0 {
		return Status{Tenant: s.key.Tenant, State: Lost, Since: s.held.expires}
	}
	return Status{Tenant: s.key.Tenant, State: s.state, Since: s.since}
}

// Count says how many of the sessions that are kept here are in each state.
func (k *Keeper) Count() (open, lost int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.persons {
		for _, s := range p.sessions {
			if k.status(s).State == Open {
				open++
			} else {
				lost++
			}
		}
	}
	return open, lost
}

// Forget forgets every SFM session of a person's session, without telling SFM. No
// replica keeps them any longer.
func (k *Keeper) Forget(session string) {
	k.take(session)
	if k.o.Book != nil {
		k.keepTrying(func(ctx context.Context) error { return k.removePage(ctx, session) })
	}
}

// ForgetHere forgets what this replica keeps of a person's session that ended elsewhere.
// The book stays as it is: should the session go on after all, another look finds it there.
func (k *Keeper) ForgetHere(session string) { k.take(session) }

// ending is an SFM session that is about to be ended.
type ending struct {
	key  Key
	path string
	open bool
}

// take forgets the sessions and returns them; ended are those that SFM has ended
// already, which the book may not know yet.
func (k *Keeper) take(session string) (taken []ending, ended map[Key]int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.persons[session]
	if p == nil {
		return nil, nil
	}
	for _, s := range p.sessions {
		taken = append(taken, ending{s.key, s.path, k.status(s).State == Open})
		s.end()
	}
	p.over = true
	delete(k.persons, session)
	k.unnote(p)
	return taken, maps.Clone(p.struck)
}

// Close stops all loops and waits for them, and some seconds for calls that are under
// way. SFM is told nothing: its sessions go on for as long as their tokens live, and with
// another replica's keeping.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.end()
	k.mu.Unlock()
	k.loops.Wait()
	k.handOver()
	k.mu.Lock()
	clear(k.persons)
	k.mu.Unlock()
}

// left is the life that a token still has, by the clock that says less: the monotonic
// one stands still while a laptop sleeps, the wall clock can be set back.
func (k *Keeper) left(h hold) time.Duration {
	return min(time.Until(h.expires), h.expires.Round(0).Sub(k.o.Wall().Round(0)))
}
