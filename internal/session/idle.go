package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"sfm-sidecar/internal/store"
)

const (
	// revokeLimit bounds one revocation that nobody waits for, the wait for its
	// turn included.
	revokeLimit = 30 * time.Second
	// revokeAtOnce and revokeQueue bound how many run, and how many there are. A
	// token beyond them is not revoked and runs out by itself.
	revokeAtOnce = 4
	revokeQueue  = 1000
	// lastRefreshes is how long the end of a Manager waits for refreshes that were sent:
	// their answers may carry the only copy of a refresh token.
	lastRefreshes = 10 * time.Second
)

// unused is why a session ended that nobody used.
const unused = "the session was not used for too long"

// background is what a Manager does though nobody waits for it: it ends sessions
// that nobody uses, and tells HelseID of log-ins that are over.
type background struct {
	ctx  context.Context // the Manager's own lifetime
	stop context.CancelFunc
	work sync.WaitGroup
	turn chan struct{} // holds who revokes right now

	refreshes sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closing bool       // no refresh begins any more
	queued  int
	idle    map[string]*time.Timer // by session
	ends    map[string]time.Time   // when log-ins end, by session
}

func newBackground() *background {
	ctx, stop := context.WithCancel(context.Background())
	return &background{ctx: ctx, stop: stop, turn: make(chan struct{}, revokeAtOnce), idle: map[string]*time.Timer{}, ends: map[string]time.Time{}}
}

// Close ends what goes on in the background, and returns when it has ended. Refreshes
// that were sent may end before, within some seconds. The sessions stay as they are.
func (m *Manager) Close() {
	b := m.background
	b.lastRefreshes()
	b.mu.Lock()
	b.stop()
	for _, timer := range b.idle {
		timer.Stop()
	}
	clear(b.idle)
	b.mu.Unlock()
	for _, d := range m.decoded.Values() {
		d.unfollow()
	}
	b.work.Wait()
	if m.leave != nil {
		m.leave() // last: until then it may write what others wait for
	}
}

// refreshing notes a refresh that begins; whoever notes one must call done. False says
// that none may begin any more.
func (b *background) refreshing() (done func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return nil, false
	}
	b.refreshes.Add(1)
	return b.refreshes.Done, true
}

// lastRefreshes lets no refresh begin any more, and waits for those under way.
func (b *background) lastRefreshes() {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		b.refreshes.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(lastRefreshes):
	}
}

// start runs f in the background, unless that has ended.
func (b *background) start(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.work.Go(f)
	return true
}

// watch has a session looked at after d: whether anybody uses it.
func (m *Manager) watch(id string, d time.Duration) {
	b := m.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	if old := b.idle[id]; old != nil {
		old.Stop()
	}
	b.idle[id] = time.AfterFunc(d, func() { b.start(func() { m.look(id) }) })
}

// watchToo has a session looked at that another replica watches, too: that one may
// be gone by then.
func (m *Manager) watchToo(id string, r *record) {
	m.background.mu.Lock()
	_, watched := m.background.idle[id]
	m.background.mu.Unlock()
	if !watched {
		m.watch(id, r.nextLook(m.now(), m.o.Idle))
	}
}

// Known is how many sessions this process looks after, those of others that were
// used here among them.
func (m *Manager) Known() int {
	m.background.mu.Lock()
	defer m.background.mu.Unlock()
	return len(m.background.idle)
}

// unwatch forgets a session.
func (m *Manager) unwatch(id string) {
	b := m.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if timer := b.idle[id]; timer != nil {
		timer.Stop()
		delete(b.idle, id)
	}
	delete(b.ends, id) // of one that ran out by itself, which nothing writes any more
}

// look ends a session that was not used for too long, or whose log-in has run out,
// although nobody calls: its refresh token, and what is known of its person, should
// not outlive it. One in use is looked at again, so that it ends at most a tenth of
// the idle time late.
func (m *Manager) look(id string) {
	ctx, cancel := context.WithTimeout(m.background.ctx, revokeLimit)
	defer cancel()
	d, err := m.read(ctx, id)
	if err != nil && !errors.Is(err, errUnknown) {
		m.watch(id, m.o.Idle/10)
		return
	}
	if err == nil && d.record.State == Active && d.record.stateAt(m.now()) == Expired {
		_ = m.expire(ctx, id, runOut) // what it held is of no use any more
	}
	if err != nil || d.record.usable(m.now()) != nil {
		m.unwatch(id)
		return
	}
	e, err := m.o.Store.Get(ctx, usedKey(id))
	if errors.Is(err, store.ErrMissing) {
		_ = m.dismiss(ctx, id, unused) // where the store fails, the next call ends it
		return
	}
	m.watch(id, d.record.nextLook(m.now(), m.lookAgain(e, err)))
}

// lookAgain is when a session is looked at that has a note of use. Where the note says
// when that was, no look is needed before it may be idle; of many replicas, which all
// look then, not all look at once.
func (m *Manager) lookAgain(e store.Entry, err error) time.Duration {
	tenth := m.o.Idle / 10
	if err != nil || len(e.Value) == 0 {
		return tenth
	}
	return m.o.Idle - m.noteAge(e) + tenth/10 + rand.N(tenth*8/10)
}

// dismiss ends a session that HelseID still knows, and has HelseID forget it.
func (m *Manager) dismiss(ctx context.Context, id, detail string) error {
	problem := expiredError(detail)
	last, err := m.terminate(ctx, id, problem)
	if err != nil {
		return err
	}
	m.revokeLater(last.RefreshToken)
	return problem
}

// revokeLater has a refresh token revoked while nobody waits. What HelseID can't
// be told in time runs out by itself.
func (m *Manager) revokeLater(refreshToken string) {
	b := m.background
	if refreshToken == "" || !b.enqueue(1) {
		return
	}
	started := b.start(func() {
		defer b.enqueue(-1)
		ctx, cancel := context.WithTimeout(b.ctx, revokeLimit)
		defer cancel()
		select {
		case b.turn <- struct{}{}:
			defer func() { <-b.turn }()
			_ = m.o.HelseID.Revoke(ctx, refreshToken)
		case <-ctx.Done():
		}
	})
	if !started {
		b.enqueue(-1)
	}
}

// revokeUnsaved has a refresh token revoked that a session has in memory alone: the one
// in the store was spent for it.
func (m *Manager) revokeUnsaved(id string) {
	if n, ok := m.unsaved.get(id); ok {
		m.revokeLater(n.token)
	}
}

// enqueue counts revocations; false is one too many.
func (b *background) enqueue(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queued+n > revokeQueue {
		return false
	}
	b.queued += n
	return true
}
