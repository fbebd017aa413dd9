package session_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// Three replicas, one person, a store and a HelseID that fail in every way they know, in
// an order that a seed gives. HelseID judges: a refresh token is never sent again once an
// answer to it came, nor while another has it under way.

var fleetSeeds = flag.Int("fleet.seeds", 250, "how many orders of events TestFleetUnderFire tries")

func TestFleetUnderFire(t *testing.T) {
	for seed := range *fleetSeeds {
		fleetUnderFire(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzFleetUnderFire(f *testing.F) {
	f.Add(uint64(1) << 40)
	f.Fuzz(fleetUnderFire)
}

func fleetUnderFire(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dice: rand.New(rand.NewPCG(seed, 1)), engine: store.NewMemory(), judge: judge{valid: "rt-0"}}
		w.wrong = w.dice.IntN(4) == 0
		fleet := []*session.Manager{w.replica(), w.replica(), w.replica()}
		if w.dice.IntN(4) == 0 {
			time.AfterFunc(w.below(time.Minute), w.ways[2].kill)
		}
		w.live(fleet)
		w.calm()
		time.Sleep(10 * time.Minute) // what one has in memory is stored, what was noted has run out
		if w.dead(w.ways[2]) {
			w.check(fleet[:2])
		} else {
			w.check(fleet)
		}
		for _, m := range fleet {
			m.Close()
		}
	})
}

// world is what surrounds the replicas.
type world struct {
	t      *testing.T
	engine *store.Memory
	handle string

	mu    sync.Mutex // guards what follows
	dice  *rand.Rand
	fire  bool
	until time.Time // the store is down
	judge judge
	// asked: to end the session; ended: and that worked.
	asked, ended bool
	ways         []*way
	wrong        bool // clocks are
}

// judge is what HelseID knows of its refresh tokens.
type judge struct {
	valid    string
	issued   int
	underWay string // the token that is being redeemed
	sender   *way   // who does that, or did it last
	spent    string // the last that was answered
	answered map[string]bool
	lost     bool // an answer with a new token did not arrive, or its receiver died
	revoked  bool // the last one
}

// odds says yes n times of 100, while things go wrong.
func (w *world) odds(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fire && w.dice.IntN(100) < n
}

func (w *world) below(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.dice.Int64N(int64(d)))
}

// fail is for how long the store is down.
func (w *world) fail(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Now().Add(d)
	for _, way := range w.ways { // who is cut off meanwhile comes back after that
		way.line = time.Now().Add(max(d, time.Until(way.until)) + time.Duration(w.dice.Int64N(int64(15*time.Second))))
	}
}

func (w *world) down() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.until)
}

func (w *world) replica() *session.Manager {
	s := &way{world: w}
	w.ways = append(w.ways, s)
	o := options(&judging{fakeHelseID: newFake(w.t), world: w, way: s}, s)
	o.Presence, o.Lister, o.Shared, o.Secret, o.Now = s, w.engine, true, []byte("the fleet's"), w.clock()
	m, err := session.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// clock is a replica's idea of the time: in some courses they differ by minutes.
func (w *world) clock() func() time.Time {
	off := time.Duration(0)
	if w.wrong {
		off = w.below(10*time.Minute) - 5*time.Minute
	}
	return func() time.Time { return time.Now().Add(off) }
}

// live lets the replicas refresh, each when it likes, and maybe one end the session.
func (w *world) live(fleet []*session.Manager) {
	w.handle = w.adopt(fleet[0])
	w.fire = true
	pause := 20 * time.Second // between two refreshes of a replica
	switch {
	case w.odds(30):
		pause = 200 * time.Second
	case w.odds(50):
		pause = 6 * time.Second
	}
	var work sync.WaitGroup
	for _, m := range fleet {
		work.Go(func() {
			for range 8 {
				time.Sleep(w.below(pause))
				_, _ = m.Refresh(context.Background(), m.ID(w.handle), helseid.Request{})
			}
		})
	}
	if w.odds(20) {
		time.Sleep(w.below(60 * time.Second))
		_, err := fleet[1].End(context.Background(), w.handle, "", false)
		w.mu.Lock()
		w.asked, w.ended = true, err == nil
		w.mu.Unlock()
	}
	work.Wait()
}

func (w *world) adopt(m *session.Manager) string {
	handle, err := m.Adopt(context.Background(), "rt-0", session.Begin{})
	if err != nil {
		w.t.Fatal(err)
	}
	return handle
}

func (w *world) calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fire = false
}

// check says how things must stand when all is well again.
func (w *world) check(fleet []*session.Manager) {
	for i, m := range fleet {
		_, err := m.Refresh(context.Background(), m.ID(w.handle), helseid.Request{})
		if own, ok := errors.AsType[*session.Error](err); ok && w.dead(w.ways[2]) && own.Kind == "store-unavailable" {
			time.Sleep(3 * time.Minute) // it may have died with the token, and nobody can tell
			_, _ = m.Refresh(context.Background(), m.ID(w.handle), helseid.Request{})
			time.Sleep(20 * time.Second)
			_, err = m.Refresh(context.Background(), m.ID(w.handle), helseid.Request{})
		}
		switch {
		case w.ended && err == nil:
			w.t.Errorf("replica %d: the session that was ended is back", i)
		case !w.asked && err != nil && !w.judge.lost:
			w.t.Errorf("replica %d: %v", i, err)
		}
	}
}

// judging is HelseID as one replica reaches it.
type judging struct {
	*fakeHelseID
	world *world
	way   *way
}

func (h *judging) Revoke(_ context.Context, token string) error {
	w := h.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if token == w.judge.valid {
		w.judge.revoked = true
	}
	return nil
}

func (h *judging) Refresh(_ context.Context, token string, r helseid.Request) (*helseid.Grant, error) {
	w := h.world
	if w.dead(h.way) {
		return nil, noAnswer{}
	}
	w.begin(token, h.way)
	defer w.end(h.way)
	switch {
	case w.odds(5):
		time.Sleep(w.below(time.Minute))
		return nil, noAnswer{}
	case w.odds(5):
		return nil, refused{code: "tenant-not-delegated"}
	case w.odds(10): // it is cut off meanwhile, and maybe the store dies
		h.way.away(w.below(2 * time.Minute))
		if w.odds(50) {
			w.fail(w.below(5 * time.Second))
		}
		time.Sleep(w.below(5 * time.Second))
	case w.odds(30):
		time.Sleep(w.below(20 * time.Second))
	default:
		time.Sleep(w.below(100 * time.Millisecond))
	}
	silent := !r.NoTenant && w.odds(2)
	w.mu.Lock()
	defer w.mu.Unlock()
	if token != w.judge.valid || w.judge.revoked {
		return nil, invalidGrant{}
	}
	w.judge.issued++
	w.judge.valid = fmt.Sprintf("rt-%d", w.judge.issued)
	if silent || h.way.dead {
		w.judge.lost = true
		return nil, noAnswer{}
	}
	if w.judge.answered == nil {
		w.judge.answered = map[string]bool{}
	}
	w.judge.answered[token], w.judge.spent = true, token
	return &helseid.Grant{
		Token: &oauth2.Token{AccessToken: "at"}, Sent: time.Now(), Lifetime: time.Hour, IDToken: "id-token",
		RefreshToken: w.judge.valid, RefreshLifetime: 8 * time.Hour,
	}, nil
}

func (w *world) begin(token string, by *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.judge.answered[token] {
		w.t.Errorf("%s was sent again, though it was answered", token)
	}
	if w.judge.underWay == token {
		w.t.Errorf("%s was sent twice at once", token)
	}
	w.judge.underWay, w.judge.sender = token, by
}

func (w *world) end(by *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.judge.sender == by {
		w.judge.underWay = ""
	}
}

func (w *world) dead(s *way) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.dead
}

// way is how one replica reaches the store. The world's mutex guards it.
type way struct {
	world *world
	dead  bool
	name  string    // under which the replica attends
	until time.Time // it is cut off, in silence
	line  time.Time // since when, or from when on, the store has its connection
}

// kill has the replica do nothing any more. What it had of HelseID alone is lost.
func (s *way) kill() {
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	s.dead = true
	if w.judge.sender == s {
		w.judge.underWay, w.judge.lost = "", true
		delete(w.judge.answered, w.judge.spent)
	}
}

func (s *way) Attend() store.Attendance {
	s.name = fmt.Sprint("replica ", len(s.world.ways))
	return s
}

func (s *way) ID() string { return s.name }
func (s *way) Leave()     {}

func (s *way) Seen(context.Context) bool {
	if err, _ := s.broken(); err != nil {
		return false
	}
	return s.seen(s.name)
}

// seen says whether the store has a connection of a replica. One that can't reach it for
// itself was cut off in silence, and still has, until the store dies.
func (s *way) seen(name string) bool {
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.ways {
		if other.name == name {
			return !other.dead && !time.Now().Before(other.line)
		}
	}
	return false
}

func (s *way) Gone(_ context.Context, name string, ago time.Duration) bool {
	stands := s.stands()
	if time.Since(stands) < ago+2*time.Second {
		return false
	}
	for range 11 {
		if err, _ := s.broken(); err != nil || s.seen(name) || !s.stands().Equal(stands) {
			return false
		}
		time.Sleep(time.Second)
	}
	return true
}

func (s *way) stands() time.Time {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	return s.line
}

// cut breaks the connection that is seen. Another stands before anybody is taken for dead.
func (s *way) cut(d time.Duration) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	if line := time.Now().Add(d); line.After(s.line) {
		s.line = line
	}
}

// away is for how long the store can't be reached from here.
func (s *way) away(d time.Duration) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.until = time.Now().Add(d)
}

func (s *way) cutOff() bool {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	return time.Now().Before(s.until)
}

// broken fails a call before it is carried out, or else says whether it shall fail after that.
func (s *way) broken() (before error, after error) {
	w := s.world
	away := w.down() || w.dead(s) || s.cutOff()
	time.Sleep(w.below(5 * time.Millisecond))
	switch {
	case away, w.odds(5):
		return errDown, nil
	case w.odds(1):
		w.fail(w.below(400 * time.Second))
		return errDown, nil
	case w.odds(3):
		s.away(w.below(60 * time.Second))
		return errDown, nil
	case w.odds(4):
		return nil, errDown
	case w.odds(2):
		s.cut(w.below(9 * time.Second))
	}
	return nil, nil
}

func (s *way) do(ctx context.Context, f func() error) error {
	before, after := s.broken()
	if before != nil || ctx.Err() != nil {
		return errors.Join(before, ctx.Err())
	}
	if err := f(); err != nil {
		return err
	}
	return after
}

func (s *way) Get(ctx context.Context, key store.Key) (e store.Entry, err error) {
	err = s.do(ctx, func() error { e, err = s.world.engine.Get(ctx, key); return err })
	return e, err
}

func (s *way) Put(ctx context.Context, key store.Key, value []byte, ttl time.Duration) error {
	return s.do(ctx, func() error { return s.world.engine.Put(ctx, key, value, ttl) })
}

func (s *way) PutIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, version uint64) error {
	return s.do(ctx, func() error { return s.world.engine.PutIf(ctx, key, value, ttl, version) })
}

func (s *way) PutFenced(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence uint64) error {
	return s.do(ctx, func() error { return s.world.engine.PutFenced(ctx, key, value, ttl, fence) })
}

func (s *way) PutFencedIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence, version uint64) error {
	return s.do(ctx, func() error { return s.world.engine.PutFencedIf(ctx, key, value, ttl, fence, version) })
}

func (s *way) Take(ctx context.Context, key store.Key) (value []byte, err error) {
	err = s.do(ctx, func() error { value, err = s.world.engine.Take(ctx, key); return err })
	return value, err
}

func (s *way) Delete(ctx context.Context, key store.Key) error {
	return s.do(ctx, func() error { return s.world.engine.Delete(ctx, key) })
}

func (s *way) Watch(ctx context.Context, key store.Key) (<-chan struct{}, func(), error) {
	if err, _ := s.broken(); err != nil {
		return nil, nil, err
	}
	return s.world.engine.Watch(ctx, key)
}

// Lock gives a lock that others may have again before its holder has released it, and
// even before its holder knows.
func (s *way) Lock(ctx context.Context, key store.Key) (store.Hold, error) {
	w := s.world
	if err, _ := s.broken(); err != nil {
		return nil, err
	}
	hold, err := w.engine.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	h := &fragile{Hold: hold}
	h.known, h.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	if w.odds(20) {
		h.timers = append(h.timers,
			time.AfterFunc(w.below(10*time.Second), hold.Release),
			time.AfterFunc(w.below(13*time.Second), func() { h.lose(store.ErrLost) }))
	}
	return h, nil
}

// fragile is a lock that can be lost.
type fragile struct {
	store.Hold
	known  context.Context // ends when the holder knows
	lose   context.CancelCauseFunc
	timers []*time.Timer
}

func (h *fragile) Context() context.Context { return h.known }

func (h *fragile) Release() {
	for _, timer := range h.timers {
		timer.Stop()
	}
	h.lose(context.Canceled)
	h.Hold.Release()
}
