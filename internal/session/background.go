package session

import (
	"context"
	"sync"
	"time"
)

const (
	// lastRefreshes is how long the end of a Manager waits for refreshes that were sent:
	// their answers may carry the only copy of a refresh token.
	lastRefreshes = 10 * time.Second
	// patience is how long a call that could do without waits for the store.
	patience = 100 * time.Millisecond
	// saveEvery is how often the store is offered what it did not take, saveLimit how
	// long one try may take.
	saveEvery = time.Second
	saveLimit = 10 * time.Second
)

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
	looks   map[string]*time.Timer // that are to come, by session
	ends    map[string]time.Time   // when log-ins end, by session
}

func newBackground() *background {
	ctx, stop := context.WithCancel(context.Background())
	return &background{ctx: ctx, stop: stop, turn: make(chan struct{}, revokeAtOnce), looks: map[string]*time.Timer{}, ends: map[string]time.Time{}}
}

// Close ends what goes on in the background, and returns when it has ended. Refreshes
// that were sent may end before, within some seconds. The sessions stay as they are.
func (m *Manager) Close() {
	b := m.background
	b.endRefreshes()
	b.mu.Lock()
	b.stop()
	for _, timer := range b.looks {
		timer.Stop()
	}
	clear(b.looks)
	b.mu.Unlock()
	for _, d := range m.decoded.Values() {
		d.unfollow()
	}
	b.work.Wait()
	if m.attendance != nil {
		m.attendance.Leave() // last: until then it may write what others wait for
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

// beginRefresh notes a refresh that begins; whoever notes one must call done. False says
// that none may begin any more.
func (b *background) beginRefresh() (done func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return nil, false
	}
	b.refreshes.Add(1)
	return b.refreshes.Done, true
}

// endRefreshes lets no refresh begin any more, and waits for those under way.
func (b *background) endRefreshes() {
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

// askBriefly asks the store something that the caller could do without: one that is slow
// is not in the way of a call whose token is at hand. What was asked goes on.
func askBriefly[T any](ctx context.Context, m *Manager, ask func(context.Context) (T, error)) (T, error) {
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

// tryOnce is one try at something that the store may refuse.
func tryOnce(parent context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, saveLimit)
	defer cancel()
	return do(ctx)
}
