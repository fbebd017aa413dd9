package store

import (
	"context"
	"sync"
	"time"
)

// sweepEvery is how often, at most, a Put looks for entries whose time is over.
const sweepEvery = time.Minute

// Memory is a [Store] inside the process. An entry's time is over when either
// clock says so: the monotonic one stands still while a laptop sleeps, the wall
// clock can be set back.
type Memory struct {
	wall func() time.Time // the wall clock; for tests

	mu       sync.Mutex // guards all below
	entries  map[Key]stored
	versions uint64
	fences   uint64
	swept    time.Time
	watchers map[Key]map[chan struct{}]struct{}
	queues   map[Key][]chan struct{} // who waits for a lock; present = held
}

type stored struct {
	Entry
	until, untilWall time.Time // by the monotonic clock, by the wall clock
	fence            uint64    // of the holder that wrote last
}

// alive says whether an entry's time is not over.
func (m *Memory) alive(s stored) bool {
	return time.Now().Before(s.until) && m.wall().Before(s.untilWall)
}

func wallClock() time.Time { return time.Now().Round(0) }

var (
	_ Store   = (*Memory)(nil)
	_ Counter = (*Memory)(nil)
)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		wall:     wallClock,
		entries:  make(map[Key]stored),
		swept:    time.Now(),
		watchers: make(map[Key]map[chan struct{}]struct{}),
		queues:   make(map[Key][]chan struct{}),
	}
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, key Key) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(key)
}

func (m *Memory) get(key Key) (Entry, error) {
	if s := m.live(key); s.Version != 0 {
		return s.Entry, nil
	}
	return Entry{}, ErrMissing
}

// condition is what must be so for a write: version 0 and fence 0 of an entry that
// is not there.
type condition func(version, fence uint64) error

func always(uint64, uint64) error { return nil }

func ifVersion(want uint64) condition {
	return func(version, _ uint64) error {
		if version != want {
			return ErrChanged
		}
		return nil
	}
}

func ifFence(mine uint64) condition {
	return func(_, fence uint64) error {
		if mine < fence {
			return ErrFenced
		}
		return nil
	}
}

// Put implements [Store].
func (m *Memory) Put(_ context.Context, key Key, value []byte, ttl time.Duration) error {
	return m.put(key, value, ttl, always, 0)
}

// PutIf implements [Store].
func (m *Memory) PutIf(_ context.Context, key Key, value []byte, ttl time.Duration, version uint64) error {
	return m.put(key, value, ttl, ifVersion(version), 0)
}

// PutFenced implements [Store].
func (m *Memory) PutFenced(_ context.Context, key Key, value []byte, ttl time.Duration, fence uint64) error {
	return m.put(key, value, ttl, ifFence(fence), fence)
}

// PutFencedIf implements [Store].
func (m *Memory) PutFencedIf(_ context.Context, key Key, value []byte, ttl time.Duration, fence, version uint64) error {
	return m.put(key, value, ttl, both(fence, version), fence)
}

// both wants the version first: who lost the lock and sees another's write is told so.
func both(fence, version uint64) condition {
	return func(v, f uint64) error {
		if err := ifVersion(version)(v, f); err != nil {
			return err
		}
		return ifFence(fence)(v, f)
	}
}

func (m *Memory) put(key Key, value []byte, ttl time.Duration, ok condition, fence uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.sweep(now)
	old := m.live(key)
	if err := ok(old.Version, old.fence); err != nil {
		return err
	}
	m.versions++
	m.entries[key] = stored{Entry{value, m.versions}, now.Add(ttl), m.wall().Add(ttl), max(fence, old.fence)}
	m.wake(key)
	return nil
}

// live is what there is of a key, zero when there is nothing; m.mu is held.
func (m *Memory) live(key Key) stored {
	s, ok := m.entries[key]
	if !ok || !m.alive(s) {
		return stored{}
	}
	return s
}

// admits says whether a write would happen.
func (m *Memory) admits(key Key, ok condition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.live(key)
	return ok(s.Version, s.fence)
}

// fenced notes that the holder of a fence has written.
func (m *Memory) fenced(key Key, fence uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.entries[key]; ok {
		s.fence = max(fence, s.fence)
		m.entries[key] = s
	}
}

// Take implements [Store].
func (m *Memory) Take(_ context.Context, key Key) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.get(key)
	if err != nil {
		return nil, err
	}
	delete(m.entries, key)
	m.wake(key)
	return e.Value, nil
}

// Delete implements [Store].
func (m *Memory) Delete(_ context.Context, key Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, key)
	m.wake(key)
	return nil
}

// Watch implements [Store].
func (m *Memory) Watch(_ context.Context, key Key) (<-chan struct{}, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan struct{})
	if m.watchers[key] == nil {
		m.watchers[key] = make(map[chan struct{}]struct{})
	}
	m.watchers[key][ch] = struct{}{}
	return ch, func() { m.unwatch(key, ch) }, nil
}

func (m *Memory) unwatch(key Key, ch chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watchers[key], ch)
	if len(m.watchers[key]) == 0 {
		delete(m.watchers, key)
	}
}

// wake tells the watchers of key; m.mu is held.
func (m *Memory) wake(key Key) {
	for ch := range m.watchers[key] {
		close(ch)
	}
	delete(m.watchers, key)
}

// sweep removes what has expired; m.mu is held. It replaces a goroutine that
// would have to be stopped: a store that nobody writes to does not grow.
func (m *Memory) sweep(now time.Time) {
	if now.Sub(m.swept) < sweepEvery {
		return
	}
	m.swept = now
	for key, s := range m.entries {
		if !m.alive(s) {
			delete(m.entries, key)
		}
	}
}

// Len is how many entries of a kind are alive.
func (m *Memory) Len(kind string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for key, s := range m.entries {
		if key.Kind == kind && m.alive(s) {
			n++
		}
	}
	return n
}
