package keepalive

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// checkPage has the page say whether a session is still to be kept here. While it can't be
// read, it is.
func (k *Keeper) checkPage(s *sfmSession) {
	if k.o.Book != nil {
		_ = k.reconcile(k.life, s.of, errand{})
	}
}

// writeDown writes down what a look has changed, and by when the next one is. It returns when
// that is: sooner, if the book does not know everything, and in the last minutes of a
// token's life, so that a keeper that dies then is missed in time.
func (k *Keeper) writeDown(s *sfmSession, next time.Duration) time.Duration {
	if k.o.Book == nil || s.ctx.Err() != nil {
		return next
	}
	k.mu.Lock()
	due, left := s.owed.why != nothing, k.left(s.held)
	if left > shortLife && left < lookOften {
		next = min(next, left/5)
	}
	s.due = time.Now().Add(next + min(lookLate, max(0, left-next)/2))
	k.mu.Unlock()
	if due && k.reconcile(k.life, s.of, errand{}) != nil || k.schedule(s) != nil {
		return min(next, oweEvery)
	}
	return next
}

// justTakenOver is how long a session is not lost yet that was taken over. Where it has run out,
// that is so only as far as the page knows: the replica that kept it may have been cut off
// from the book, and is given the time to say so.
func (k *Keeper) justTakenOver(s *sfmSession) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(s.spared)
}

// schedule notes by when one of a person's sessions will have been looked at.
func (k *Keeper) schedule(s *sfmSession) error {
	if k.o.Off {
		return nil
	}
	p := s.of
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-s.ctx.Done():
		return nil
	}
	first, open := k.first(p)
	switch {
	case s.ctx.Err() != nil:
		return nil
	case !open:
		return k.settle(k.life, p)
	}
	mark, err := k.o.Book.Due(k.life, p.session, time.Until(first))
	if err == nil {
		p.mark = mark
	}
	return err
}

// first is by when the first of a person's open sessions will have been looked at; of one
// that was not looked at yet, that is soon.
func (k *Keeper) first(p *person) (due time.Time, open bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range p.sessions {
		if s.state != Open {
			continue
		}
		at := s.due
		if at.IsZero() {
			at = time.Now().Add(noteLease)
		}
		if !open || at.Before(due) {
			due, open = at, true
		}
	}
	return due, open
}

// announceCall puts this replica's name in the page before SFM is called: for the length of the
// call, which ctx bounds, nobody else makes one. done ends it. While the page can't be
// had, the call is made without.
func (k *Keeper) announceCall(ctx context.Context, s *sfmSession) (call context.Context, done func(), err error) {
	if k.o.Book == nil {
		return ctx, func() {}, nil
	}
	k.mu.Lock()
	p, left := s.of, k.left(s.held)
	p.posting++
	k.mu.Unlock()
	limit := min(refreshTimeout, left/2)
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	ctx, release := k.outlasting(ctx, s)
	call, cancel := context.WithTimeout(ctx, limit)
	done = func() {
		cancel()
		release()
		k.mu.Lock()
		p.posting--
		k.mu.Unlock()
	}
	err = k.reconcile(call, p, errand{post: s, busy: limit + min(signLong, left/4)})
	if errors.Is(err, ErrTurned) {
		err = errBusy
	}
	if !errors.Is(err, errBusy) {
		err = s.ctx.Err()
	}
	return call, done, err
}

// outlasting is a context for a call about a session that goes on for a moment after
// the Keeper's end: else the next replica would send the same token again.
func (k *Keeper) outlasting(ctx context.Context, s *sfmSession) (call context.Context, release func()) {
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(s.ctx, func() {
		if k.life.Err() != nil {
			select {
			case <-time.After(partTime):
			case <-call.Done():
			}
		}
		cancel()
	})
	return call, func() { stop(); cancel() }
}

// adopt takes a session from its line. It is called with mu held.
func (k *Keeper) adopt(s *sfmSession, l line) {
	at := k.o.Now()
	s.path, s.state, s.spared = l.Path, l.State, time.Now().Add(2*oweEvery)
	s.held = hold{l.Sum, time.Now().Add(l.Expires.Sub(at))}
	s.since = k.o.Wall().Add(l.Since.Sub(at))
	if s.state == Lost {
		s.since = s.held.expires
	}
}

// Written is what stands in the book of a person's sessions, or will soon, in no order;
// false while that can't be had, and without a book.
func (k *Keeper) Written(ctx context.Context, session string) (all []Status, ok bool) {
	if k.o.Book == nil {
		return nil, false
	}
	raw, _, err := k.o.Book.Read(ctx, session)
	if err != nil {
		return nil, false
	}
	now := readPage(raw)
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.persons[session]; p != nil {
		for _, s := range p.sessions {
			if old, _ := now.find(s.key); s.owed.why == byEPJ {
				now.put(s.key, k.line(s, old))
			}
		}
		for folded := range p.struck {
			now.strike(folded)
		}
	}
	now.prune(k.o.Now())
	for _, l := range now.Lines {
		all = append(all, l.status(k.o.Now()))
	}
	return all, true
}

// takeAll forgets the sessions of a person's session, here and in the book, and returns
// them. They leave the book before they are ended, so that nobody refreshes one that is
// being ended.
func (k *Keeper) takeAll(ctx context.Context, session string) []ending {
	taken, ended := k.take(session)
	if k.o.Book == nil {
		return taken
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout/2) // SFM is to be called in the rest
	defer cancel()
	raw, _, err := k.o.Book.Read(ctx, session)
	known := make(map[Key]bool)
	for _, e := range taken {
		known[e.key.folded()] = true
	}
	for folded := range ended {
		known[folded] = true
	}
	for _, l := range readPage(raw).Lines {
		if key := l.key(session); !known[key.folded()] {
			taken = append(taken, ending{key, l.Path, l.status(k.o.Now()).State == Open})
		}
	}
	if err != nil || k.removePage(ctx, session) != nil {
		k.keepTrying(func(ctx context.Context) error { return k.removePage(ctx, session) })
	}
	return taken
}

// removePage removes a person's page, and the note, which another replica may have made
// although this one keeps nothing.
func (k *Keeper) removePage(ctx context.Context, session string) error {
	if _, version, err := k.o.Book.Read(ctx, session); err != nil || version == 0 {
		return err
	}
	if err := k.o.Book.Remove(ctx, session); err != nil {
		return err
	}
	mark, err := k.o.Book.Due(ctx, session, noteLease) // in place of the keeper's, which may be newer than the page
	if err != nil {
		return err
	}
	return k.o.Book.Settle(ctx, session, mark)
}

// unnote removes the last note that was made here of a person who was forgotten: it may have
// been made after another replica removed the page. It is called with mu held.
func (k *Keeper) unnote(p *person) {
	if k.o.Book == nil || k.life.Err() != nil {
		return
	}
	k.loops.Go(func() {
		k.tryUntilDone(func(ctx context.Context) error {
			select {
			case p.turn <- struct{}{}:
				defer func() { <-p.turn }()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if p.mark == 0 {
				return nil
			}
			if _, version, err := k.o.Book.Read(ctx, p.session); err != nil || version != 0 {
				return err
			}
			return k.settle(ctx, p)
		})
	})
}

// strike has a session that is over removed from the page, behind the back of whoever
// says so. It is called with mu held.
func (k *Keeper) strike(key Key) {
	if k.o.Book == nil || k.life.Err() != nil {
		return
	}
	k.strikes++
	p, which := k.person(key.Session), k.strikes
	p.struck[key.folded()] = which
	k.loops.Go(func() {
		k.tryUntilDone(func(ctx context.Context) error { return k.reconcile(ctx, p, errand{}) })
		k.mu.Lock()
		if p.struck[key.folded()] == which { // the book never took it
			delete(p.struck, key.folded())
		}
		k.tidy(key.Session)
		k.mu.Unlock()
	})
}

// keepTrying does something in the background until it works. After Close it is tried once.
func (k *Keeper) keepTrying(do func(context.Context) error) {
	k.mu.Lock()
	ended := k.life.Err() != nil
	if !ended {
		k.loops.Go(func() { k.tryUntilDone(do) })
	}
	k.mu.Unlock()
	if ended {
		k.tryOnceMore(do)
	}
}

// tryUntilDone tries again and again, with pauses, for a limited time. The end of the Keeper
// leaves it one more try.
func (k *Keeper) tryUntilDone(do func(context.Context) error) {
	end := time.Now().Add(insistLimit)
	for pause := firstPause; time.Now().Before(end); pause = min(2*pause, lastPause) {
		if do(k.life) == nil {
			return
		}
		select {
		case <-time.After(pause):
		case <-k.life.Done():
			k.tryOnceMore(do)
			return
		}
	}
}

// tryOnceMore does something when the Keeper has ended.
func (k *Keeper) tryOnceMore(do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), partTime)
	defer cancel()
	_ = do(ctx)
}

// takeOver looks for sessions whose keepers have not acted in time.
func (k *Keeper) takeOver() {
	cutOff := false
	next := time.NewTimer(rand.N(claimSoonest))
	defer next.Stop()
	for {
		select {
		case <-k.life.Done():
			return
		case <-next.C:
		}
		var pause time.Duration
		pause, cutOff = k.claim(cutOff)
		next.Reset(pause + rand.N(pause/5)) // not all replicas at once
	}
}

// claim takes over some of them, and says when to look for others. cutOff says that the
// book could not be had: then nothing is claimed until some time after it can, since
// keepers that live could not say so either.
func (k *Keeper) claim(cutOff bool) (pause time.Duration, stillCutOff bool) {
	ctx, cancel := context.WithTimeout(k.life, claimLease)
	defer cancel()
	if cutOff {
		_, _, err := k.o.Book.Read(ctx, "")
		return 2 * oweEvery, err != nil
	}
	sessions, again, err := k.o.Book.Claim(ctx, claimLease)
	for _, session := range sessions {
		k.mu.Lock()
		p := k.person(session)
		k.mu.Unlock()
		if k.reconcile(ctx, p, errand{claim: true}) != nil {
			continue // it comes again, to this one or another
		}
		k.mu.Lock()
		found := len(k.known(session)) > 0
		k.mu.Unlock()
		if found && k.o.Observe.TakenOver != nil {
			k.o.Observe.TakenOver(session)
		}
	}
	if err != nil {
		return claimEvery, true
	}
	return max(claimSoonest, again), false
}

// handOver leaves what is kept here to the other replicas, at once.
func (k *Keeper) handOver() {
	if k.o.Book == nil {
		return
	}
	k.mu.Lock()
	var kept []*person
	for _, p := range k.persons {
		if len(p.sessions) > 0 {
			kept = append(kept, p)
		}
	}
	k.mu.Unlock()
	k.tryOnceMore(func(ctx context.Context) error {
		for _, p := range kept {
			if err := k.reconcile(ctx, p, errand{leave: true}); err != nil && !errors.Is(err, ErrTurned) {
				return err // what is left falls due by itself
			}
		}
		return nil
	})
}
