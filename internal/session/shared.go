package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"sfm-sidecar/internal/store"
)

// What is different with a store that replicas share, and that may be down while
// HelseID is not:
//
//   - what was read of a session that is called often is good until the store tells of a
//     change;
//   - that a refresh token is sent is written down before. Whoever finds that note
//     beside the very same token does not send it again: its successor is in the
//     memory of another replica, or on its way;
//   - a successor that the store did not take stays in memory, and is written as
//     soon as that works again.

const (
	// followedLife is how long a record is believed without being read again, and how
	// soon after a call another must come for its record to be followed at all: where a
	// person's calls go to many replicas, each would subscribe, be told of one change, and
	// not be called before that.
	followedLife = time.Minute
	// patience is how long a call that could do without waits for the store.
	patience = 100 * time.Millisecond
	// leftAlone is how long a call is not made to ask a store that failed for another.
	leftAlone = time.Second
	// spentLife is how long a refresh token that was sent is not sent by others, unless its
	// sender is found to be away (see [Manager.whenAway]): longer than the exchange may
	// take. Who finds it after that asks whether its sender has an answer in memory: one that lives, and reaches the store, writes it there within
	// answerTime, as a store that was down for minutes has others do, too. After that the
	// sender is taken for dead, and the token is sent once more, as after any request
	// without an answer (contract 7.3). A question that was put askedLife ago counts for
	// nothing: the store may have been down since.
	spentLife  = exchangeLimit + 20*time.Second
	answerTime = 15 * time.Second
	askedLife  = 5 * time.Minute
	// saveEvery is how often the store is offered what it did not take, saveLimit how
	// long one try may take.
	saveEvery = time.Second
	saveLimit = 10 * time.Second
	// tryAgain is what an EPJ is told to wait.
	tryAgain = 2 * time.Second
)

// following is a record of which the store tells changes.
type following struct {
	changed <-chan struct{}
	stop    func()
	until   time.Time
}

func (d *decoded) followBy(f *following) {
	if before := d.followed.Swap(f); before != nil {
		before.stop()
	}
}

func (d *decoded) unfollow() { d.followBy(nil) }

// current says that the record is what stands in the store, as far as is known.
func (d *decoded) current() bool {
	f := d.followed.Load()
	if f == nil || time.Now().After(f.until) {
		return false
	}
	select {
	case <-f.changed:
		return false
	default:
		return true
	}
}

// again notes a call, and says whether there was another just before.
func (d *decoded) again() bool {
	now := time.Now()
	return now.Sub(time.Unix(0, d.called.Swap(now.UnixNano()))) < followedLife
}

// known is read for the way of a call: a record that is called often and did not change
// costs no call of a shared store, and one that was good is used on while the store is
// down. Its tokens run out by themselves, and no other is to be had until the store is
// back.
func (m *Manager) known(ctx context.Context, id string) (*decoded, error) {
	if !m.o.Shared {
		return m.read(ctx, id)
	}
	ask := m.meet
	before, ok := m.decoded.Get(id)
	if ok && before.again() {
		ask = m.follow
	}
	if ok && before.current() {
		return before, nil
	}
	if !ok || before.record.usable(m.now()) != nil {
		return m.meet(ctx, id)
	}
	held := before.followed.Load()
	d, err := patiently(ctx, m, func(ctx context.Context) (*decoded, error) { return ask(ctx, id) })
	if storeDown(err) {
		before.leave(held)
		return before, nil
	}
	return d, err
}

// leave believes a record for a moment without being told of changes, unless it was
// found to be current meanwhile: not every call shall wait for a store that says
// nothing.
func (d *decoded) leave(held *following) {
	if d.followed.CompareAndSwap(held, &following{stop: func() {}, until: time.Now().Add(leftAlone)}) && held != nil {
		held.stop()
	}
}

// patiently asks the store something that the caller could do without: one that is slow
// is not in the way of a call whose token is at hand. What was asked goes on.
func patiently[T any](ctx context.Context, m *Manager, ask func(context.Context) (T, error)) (T, error) {
	type answer struct {
		what T
		err  error
	}
	var none T
	came := make(chan answer, 1)
	if !m.background.start(func() {
		what, err := ask(context.WithoutCancel(ctx))
		came <- answer{what, err}
	}) {
		return none, storeError(errClosing)
	}
	enough := time.NewTimer(patience)
	defer enough.Stop()
	select {
	case a := <-came:
		return a.what, a.err
	case <-enough.C:
		return none, storeError(context.DeadlineExceeded)
	}
}

// meet reads a record for this call alone.
func (m *Manager) meet(ctx context.Context, id string) (*decoded, error) {
	d, err := m.read(ctx, id)
	if err == nil {
		d.again()
	}
	return d, err
}

// follow reads a record and, if its session may be used, is told of its changes from then on.
func (m *Manager) follow(ctx context.Context, id string) (*decoded, error) {
	// Watched before it is read: a change between the two is not missed.
	changed, stop, err := m.o.Store.Watch(context.WithoutCancel(ctx), sessionKey(id))
	if err != nil {
		return nil, storeError(err)
	}
	d, err := m.read(ctx, id)
	if err != nil {
		stop()
		return nil, err
	}
	if d.record.usable(m.now()) != nil {
		stop()
		return d, nil
	}
	d.followBy(&following{changed, stop, time.Now().Add(followedLife)})
	if held, ok := m.decoded.Peek(id); !ok || held != d || m.background.ctx.Err() != nil {
		d.unfollow() // it left meanwhile, or the Manager has ended
	}
	return d, nil
}

func spentKey(id string) store.Key { return store.Key{Kind: "spent", ID: id} }

// spentNote says that a refresh token was sent, by HelseID's clock.
type spentNote struct {
	Token string    `json:"token"`          // its keyed hash
	By    string    `json:"by"`             // tells notes apart
	From  string    `json:"from,omitempty"` // the replica, where it can be seen whether that is there
	Sent  time.Time `json:"sent"`
	Asked time.Time `json:"asked,omitzero"` // when somebody asked for the answer
	Away  bool      `json:"away,omitempty"` // the replica was looked for and not found
}

// markSpent writes down that a refresh token is about to be sent, or refuses one that
// was sent already.
func (m *Manager) markSpent(ctx context.Context, s *spending) error {
	if !m.o.Shared {
		return nil
	}
	e, err := m.o.Store.Get(ctx, spentKey(s.id))
	if err != nil && !errors.Is(err, store.ErrMissing) {
		return storeError(err)
	}
	n := spentNote{Token: m.ID(s.token), By: rand.Text(), From: m.signature(), Sent: m.o.Now()}
	before := new(spentNote)
	if err == nil && json.Unmarshal(e.Value, before) == nil && before.Token == n.Token && before.guards(n.Sent) {
		return m.ask(ctx, s, *before, e.Version)
	}
	if err = m.putSpent(ctx, s.id, n, e.Version); err == nil && s.lost() {
		err = store.ErrLost
	}
	s.mark = n.By
	if err == nil {
		err = m.still(ctx, s)
	}
	if err != nil {
		m.unmark(*s) // it may stand there, and the token was not sent
		return asStoreError(err)
	}
	return nil
}

// putSpent writes a note in the place of the one that was read. So of two who believe
// that they have the lock one can; and since it looks at the session again after that, no
// lock is needed for a token to be sent by one alone.
func (m *Manager) putSpent(ctx context.Context, id string, n spentNote, version uint64) error {
	value, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encoding a note: %w", err)
	}
	return m.o.Store.PutIf(ctx, spentKey(id), value, remembered, version)
}

// still is nil while the session has the refresh token that is being spent. Another may
// have taken its place: of who loses the lock, or finds a store that forgot what it was
// told last.
func (m *Manager) still(ctx context.Context, s *spending) error {
	d, err := m.read(ctx, s.id)
	if err != nil {
		return err
	}
	if err := d.record.usable(m.now()); err != nil {
		return err
	}
	if d.record.RefreshToken != s.token {
		return &Error{Kind: codeStore, Text: "another replica has renewed the log-in meanwhile", after: tryAgain}
	}
	return nil
}

// guards says whether the token of a note may not be sent yet: its sender must be away, or
// have been asked, which is done no earlier than spentLife after it was sent.
func (n *spentNote) guards(now time.Time) bool {
	return !n.Away && (!n.asked(now) || now.Sub(n.Asked) < answerTime)
}

func (n *spentNote) asked(now time.Time) bool { return now.Sub(n.Asked) < askedLife }

// ask is the refusal of a token that may not be sent. It has its sender looked for, and
// puts the question to it where that is due.
func (m *Manager) ask(ctx context.Context, s *spending, n spentNote, version uint64) error {
	m.whenAway(n.By, n.From, func(ctx context.Context) error { return m.giveUp(ctx, s.id, n.By) })
	if now := m.o.Now(); now.Sub(n.Sent) >= spentLife && !n.asked(now) {
		n.Asked = now
		if err := m.putSpent(ctx, s.id, n, version); err != nil {
			return storeError(err)
		}
	}
	return &Error{Kind: codeStore, Text: "the log-in is being renewed by another replica, which could not store the outcome yet", after: tryAgain}
}

// unmark removes a note of this process: the token may be sent again. While the store
// is down that waits.
func (m *Manager) unmark(s spending) {
	if s.mark == "" {
		return
	}
	remove := func(ctx context.Context) error {
		e, err := m.o.Store.Get(ctx, spentKey(s.id))
		if errors.Is(err, store.ErrMissing) {
			return nil
		}
		if err != nil {
			return err
		}
		n := new(spentNote)
		if json.Unmarshal(e.Value, n) == nil && n.By != s.mark {
			return nil
		}
		return m.o.Store.Delete(ctx, spentKey(s.id))
	}
	if tryOnce(context.Background(), remove) != nil {
		m.keepTrying(remembered, remove)
	}
}

// tryOnce is one try at something that the store may refuse.
func tryOnce(parent context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, saveLimit)
	defer cancel()
	return do(ctx)
}

// keepTrying does something in the background, again and again until it works, but not
// longer than limit. The end of the Manager leaves it one more try.
func (m *Manager) keepTrying(limit time.Duration, do func(context.Context) error) {
	m.background.start(func() {
		end := time.NewTimer(limit)
		defer end.Stop()
		again := time.NewTicker(saveEvery)
		defer again.Stop()
		for {
			if tryOnce(m.background.ctx, do) == nil {
				return
			}
			select {
			case <-again.C:
			case <-end.C:
				return
			case <-m.background.ctx.Done():
				_ = tryOnce(context.Background(), do)
				return
			}
		}
	})
}

// unsaved are refresh tokens that the store did not take, by session. The zero value
// is ready.
type unsaved struct {
	mu     sync.Mutex // guards tokens
	tokens map[string]successor
}

func (u *unsaved) get(id string) (successor, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n, ok := u.tokens[id]
	return n, ok
}

// put keeps a token; the zero one removes what is kept.
func (u *unsaved) put(id string, n successor) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n.token == "" {
		delete(u.tokens, id)
		return
	}
	if u.tokens == nil {
		u.tokens = make(map[string]successor)
	}
	u.tokens[id] = n
}

// keep has a refresh token written as soon as the store takes it. Meanwhile nobody
// refreshes the session.
func (m *Manager) keep(id string, n successor) {
	m.unsaved.put(id, n)
	m.keepTrying(remembered, func(ctx context.Context) error {
		hold, err := m.o.Store.Lock(ctx, store.Key{Kind: KindRefresh, ID: id})
		if err != nil {
			return err
		}
		defer hold.Release()
		err = m.save(ctx, id, hold.Fence())
		if storeDown(err) {
			return err
		}
		return nil
	})
}

// save writes what this process could not write before. It is called with the lock
// for refreshes held. An error of a session that has ended is not its business.
func (m *Manager) save(ctx context.Context, id string, fence uint64) error {
	n, ok := m.unsaved.get(id)
	if !ok {
		return nil
	}
	err := m.replace(ctx, id, fence, n)
	if storeDown(err) {
		return err
	}
	m.unsaved.put(id, successor{})
	if err != nil { // it has ended
		m.revokeLater(n.token)
	}
	return nil
}
