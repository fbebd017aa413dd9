package keepalive

import (
	"context"
	"errors"
	"time"
)

// What a Keeper does because others share its book.

const (
	// claimSoonest is how soon the book is asked again, at the soonest, whose keeper has not
	// acted, and claimEvery when it could not be asked. claimLease is how long one
	// that was claimed is left to the claimer, and noteLease how long a keeper has from a
	// change of the page until it says when it looks again.
	claimEvery   = 5 * time.Second
	claimSoonest = 500 * time.Millisecond
	claimLease   = 15 * time.Second
	noteLease    = 15 * time.Second
	// lookLate is how late a look may be before the keeper is taken for dead.
	lookLate = time.Minute
	// lookOften is the life of a token from which on a look comes with each fifth of it.
	lookOften = 5 * time.Minute
	// signLong is how much longer than a call to SFM may take nobody else makes one.
	signLong = 10 * time.Second
	// busyPause is how long one waits for another's call to SFM before looking again.
	busyPause = time.Second
	// oweEvery is how often what the book does not know is offered to it.
	oweEvery = 5 * time.Second
	// insistLimit is how long an end that the book did not take is offered to it, and
	// partTime what is left for all of that when the process ends.
	insistLimit = time.Hour
	partTime    = 3 * time.Second
	// turns is how often a page is read again that others write at the same time.
	turns = 10
)

// errBusy says that another replica may be calling SFM about the same person's sessions.
var errBusy = errors.New("another replica is calling SFM")

// errOver says that a person's session has ended here, and that its page goes.
var errOver = errors.New("the person's session has ended here")

// owed is what the book does not know of a session.
type owed struct {
	why owing
	seq int // tells later changes from those that were being written
}

type owing int

// Nothing; what became of it in our keeping, which counts while we keep it; what the
// EPJ did, which counts in any case and makes us its keeper.
const (
	nothing owing = iota
	byUs
	byEPJ
)

func (o *owed) add(why owing) { o.why, o.seq = max(o.why, why), o.seq+1 }

// errand is what the page is wanted for, besides to learn what it says.
type errand struct {
	claim bool          // the keeper has not acted in time
	leave bool          // this replica ends
	post  *sfmSession   // SFM is about to be called about this session
	busy  time.Duration // for that long at most
}

// plan is what will stand in the page.
type plan struct {
	next    page
	changed bool
	mine    bool         // this replica is the keeper
	seqs    map[Key]owed // what is in it of what was owed
	struck  map[Key]int  // likewise
}

// reconcile brings what is known here of a person and what their page says together.
func (k *Keeper) reconcile(ctx context.Context, p *person, e errand) error {
	defer func() {
		k.mu.Lock()
		k.tidy(p.session)
		k.mu.Unlock()
	}()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for range turns {
		raw, version, err := k.o.Book.Read(ctx, p.session)
		if err != nil {
			return err
		}
		todo, err := k.plan(p, readPage(raw), e)
		if errors.Is(err, errOver) {
			return nil
		}
		if err != nil {
			return err
		}
		err = k.write(ctx, p, version, todo, e)
		if errors.Is(err, ErrTurned) && !e.claim { // who wrote a page that is claimed has acted
			continue
		}
		if err == nil && !e.leave && !k.apply(p, todo, e) && todo.changed {
			return k.removePage(ctx, p.session) // it was written after the page was burned, for all we know
		}
		return err
	}
	return ErrTurned
}

// plan says what should stand in a page.
func (k *Keeper) plan(p *person, now page, e errand) (plan, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.o.Now()
	if p.over {
		return plan{}, errOver
	}
	if (e.claim || e.post != nil) && now.busy(k.me, at) {
		return plan{}, errBusy
	}
	todo := plan{next: now.clone(), mine: now.Keeper == k.me || e.claim, seqs: make(map[Key]owed), struck: make(map[Key]int)}
	for _, s := range p.sessions {
		todo.mine = todo.mine || s.owed.why == byEPJ || k.ahead(s, now)
	}
	for folded, s := range p.sessions {
		old, listed := now.find(s.key)
		if s.owed.why == byEPJ || s.owed.why == byUs && listed && todo.mine {
			todo.next.put(s.key, k.line(s, old))
		}
		todo.seqs[folded] = s.owed
	}
	for folded, seq := range p.struck {
		todo.next.strike(folded)
		todo.struck[folded] = seq
	}
	if todo.mine {
		todo.next.prune(at)
		k.signature(p, &todo, e, at)
	}
	todo.changed = !todo.next.same(now)
	return todo, nil
}

// ahead says that SFM got a later token here than the page knows of: the book could not
// be had, and another replica has taken over meanwhile from one that was alive. It is
// called with mu held.
func (k *Keeper) ahead(s *sfmSession, now page) bool {
	old, listed := now.find(s.key)
	return listed && s.owed.why == byUs && s.state == Open && s.held.sum != old.Sum && k.line(s, old).Expires.After(old.Expires)
}

// signature puts down who keeps, and who calls SFM. It is called with mu held.
func (k *Keeper) signature(p *person, todo *plan, e errand, at time.Time) {
	todo.next.Keeper = k.me
	if e.leave {
		todo.next.Keeper = ""
	}
	if e.post == nil {
		if p.posting == 0 && todo.next.Poster == k.me {
			todo.next.Poster, todo.next.Until = "", time.Time{}
		}
		return
	}
	if _, listed := todo.next.find(e.post.key); listed {
		todo.next.Poster, todo.next.Until = k.me, at.Add(e.busy)
	}
}

// line is a session as it stands in the page, old as it stood there before. It is
// called with mu held.
func (k *Keeper) line(s *sfmSession, old line) line {
	at := k.o.Now()
	l := line{
		Parent: s.key.Tenant.Parent, Child: s.key.Tenant.Child, Journal: s.key.Tenant.Journal, Upstream: s.key.Upstream,
		Path: s.path, State: s.state, Since: at.Add(-k.o.Wall().Sub(s.since)).UTC(), Sum: s.held.sum, Expires: at.Add(k.left(s.held)).UTC(),
	}
	if s.state == Open && old.State == Open && old.Expires.After(at) && old.Since.Before(l.Since) {
		l.Since = old.Since // another replica has known it for longer
	}
	return l
}

// write writes a page: first by when its keeper must act, then the page, so that no
// page is ever without.
func (k *Keeper) write(ctx context.Context, p *person, version uint64, todo plan, e errand) error {
	empty := len(todo.next.Lines) == 0
	if !todo.changed && !e.claim {
		return nil
	}
	if (todo.mine || empty) && !k.o.Off && (!e.leave || todo.next.open(k.o.Now())) {
		in := max(noteLease, e.busy)
		if e.leave {
			in = 0
		}
		mark, err := k.o.Book.Due(ctx, p.session, in)
		if err != nil {
			return err
		}
		p.mark = mark
	}
	switch {
	case !empty && todo.changed:
		return k.o.Book.Write(ctx, p.session, todo.next.bytes(), todo.next.life(k.o.Now()), version)
	case !empty:
		return nil
	case version != 0: // it goes, unless somebody writes to it just now
		if err := k.o.Book.Write(ctx, p.session, nil, time.Millisecond, version); err != nil {
			return err
		}
	}
	return k.settle(ctx, p)
}

// settle removes the last note that was made here. It is called with the person's turn.
func (k *Keeper) settle(ctx context.Context, p *person) error {
	if p.mark == 0 {
		return nil
	}
	err := k.o.Book.Settle(ctx, p.session, p.mark)
	if err == nil {
		p.mark = 0
	}
	return err
}

// apply takes up what stands in the page, unless the person's session has ended
// meanwhile.
func (k *Keeper) apply(p *person, todo plan, e errand) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life.Err() != nil || k.persons[p.session] != p {
		return !p.over
	}
	for folded, seq := range todo.struck {
		if p.struck[folded] == seq {
			delete(p.struck, folded)
		}
	}
	for folded, s := range p.sessions {
		l, listed := todo.next.find(folded)
		if s.owed == todo.seqs[folded] {
			s.owed.why = nothing
		}
		switch {
		case s.owed.why == byEPJ: // since then
		case !listed || !todo.mine:
			k.remove(s)
		case s.owed.why == nothing && s.held.sum != l.Sum:
			k.adopt(s, l)
		}
	}
	if !todo.mine {
		return true
	}
	for _, l := range todo.next.Lines {
		key := l.key(p.session)
		if _, struck := p.struck[key.folded()]; struck {
			continue
		}
		s := p.sessions[key.folded()]
		if s == nil {
			s = k.file(key)
			k.adopt(s, l)
			s.nudge()
		}
		if e.claim {
			s.nudge()
		}
	}
	return true
}
