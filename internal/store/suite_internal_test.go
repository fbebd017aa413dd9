package store

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The suite is what every store keeps. It runs in real time: some of them live in
// another process.
func TestSuite(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		suite(t, func(*testing.T) (Store, Store) { m := NewMemory(); return m, m })
	})
	t.Run("keyring", func(t *testing.T) {
		suite(t, func(t *testing.T) (Store, Store) {
			o := options()
			o.Kept = func([]byte) bool { return true }
			k, err := openKeyring(newFakeKeys(), o)
			must(t, err)
			t.Cleanup(k.Close)
			return k, k
		})
	})
}

// suite runs over pairs of stores that share their entries.
func suite(t *testing.T, open func(*testing.T) (a, b Store)) {
	for name, test := range map[string]func(*testing.T, Store, Store){
		"values": suiteValues, "life": suiteLife, "versions": suiteVersions, "put if": suitePutIf, "one of many": suitePutIfOne,
		"take": suiteTake, "watch": suiteWatch, "lock": suiteLock, "leaving": suiteLeaving, "holding on": suiteHoldingOn, "fence": suiteFence,
		"listing": suiteListing,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			test(t, a, b)
		})
	}
}

func suiteValues(t *testing.T, a, b Store) {
	ctx := t.Context()
	for _, id := range []string{"", "x", "id {with} braces"} {
		for _, value := range [][]byte{nil, []byte("v"), bytes.Repeat([]byte{0, 255}, 20_000)} {
			key := Key{"session", id}
			must(t, a.Put(ctx, key, value, time.Hour))
			if e, err := b.Get(ctx, key); err != nil || !bytes.Equal(e.Value, value) || e.Version == 0 {
				t.Errorf("%q: %d bytes came back as %d, version %d, %v", id, len(value), len(e.Value), e.Version, err)
			}
			if _, err := b.Get(ctx, Key{"used", id}); !errors.Is(err, ErrMissing) {
				t.Errorf("another kind: %v, want ErrMissing", err)
			}
			must(t, b.Delete(ctx, key))
			must(t, a.Delete(ctx, key))
			if _, err := a.Get(ctx, key); !errors.Is(err, ErrMissing) {
				t.Errorf("after the delete: %v, want ErrMissing", err)
			}
		}
	}
}

func suiteLife(t *testing.T, a, b Store) {
	key := Key{"session", "short"}
	must(t, a.Put(t.Context(), key, []byte("v"), 50*time.Millisecond))
	within(t, 5*time.Second, "the entry ends", func() bool {
		_, err := b.Get(t.Context(), key)
		return errors.Is(err, ErrMissing)
	})
	if _, err := b.Take(t.Context(), key); !errors.Is(err, ErrMissing) {
		t.Errorf("taking after the end: %v, want ErrMissing", err)
	}
	must(t, a.PutIf(t.Context(), key, []byte("v"), time.Hour, 0))
}

func suiteVersions(t *testing.T, a, b Store) {
	key := Key{"session", "one"}
	must(t, a.Put(t.Context(), key, []byte("v"), time.Hour))
	first, _ := a.Get(t.Context(), key)
	again, _ := b.Get(t.Context(), key)
	must(t, b.Put(t.Context(), key, []byte("v"), time.Hour))
	second, _ := a.Get(t.Context(), key)
	if first.Version != again.Version || first.Version == second.Version {
		t.Errorf("versions %d, %d, then %d after a write", first.Version, again.Version, second.Version)
	}
}

func suitePutIf(t *testing.T, a, b Store) {
	ctx, key := t.Context(), Key{"session", "one"}
	if err := a.PutIf(ctx, key, []byte("v"), time.Hour, 7); !errors.Is(err, ErrChanged) {
		t.Errorf("a version of nothing: %v, want ErrChanged", err)
	}
	must(t, a.PutIf(ctx, key, []byte("one"), time.Hour, 0))
	if err := b.PutIf(ctx, key, []byte("two"), time.Hour, 0); !errors.Is(err, ErrChanged) {
		t.Errorf("there already: %v, want ErrChanged", err)
	}
	e, err := b.Get(ctx, key)
	must(t, err)
	must(t, b.PutIf(ctx, key, []byte("two"), time.Hour, e.Version))
	if err := a.PutIf(ctx, key, []byte("three"), time.Hour, e.Version); !errors.Is(err, ErrChanged) {
		t.Errorf("an old version: %v, want ErrChanged", err)
	}
	if e, err = a.Get(ctx, key); string(e.Value) != "two" {
		t.Errorf("%q stands, %v", e.Value, err)
	}
}

func suitePutIfOne(t *testing.T, a, b Store) {
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			switch err := []Store{a, b}[i%2].PutIf(t.Context(), Key{"session", "one"}, nil, time.Hour, 0); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrChanged):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 39 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func suiteTake(t *testing.T, a, b Store) {
	key := Key{"session", "one"}
	must(t, a.Put(t.Context(), key, []byte("v"), time.Hour))
	var got atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if v, err := []Store{a, b}[i%2].Take(t.Context(), key); err == nil && string(v) == "v" {
				got.Add(1)
			} else if !errors.Is(err, ErrMissing) {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d takers got it, want 1", got.Load())
	}
}

func suiteWatch(t *testing.T, a, b Store) {
	ctx, key := t.Context(), Key{"session", "one"}
	changes := map[string]func() error{
		"put": func() error { return b.Put(ctx, key, nil, time.Hour) },
		"put if": func() error {
			e, err := b.Get(ctx, key)
			return errors.Join(err, b.PutIf(ctx, key, nil, time.Hour, e.Version))
		},
		"put fenced": func() error { return b.PutFenced(ctx, key, nil, time.Hour, 1) },
		"delete":     func() error { return b.Delete(ctx, key) },
		"take":       func() error { _, err := b.Take(ctx, key); return err },
	}
	for name, change := range changes {
		must(t, a.Put(ctx, key, nil, time.Hour))
		var woken []<-chan struct{}
		for range 3 {
			ch, stop, err := a.Watch(ctx, key)
			must(t, err)
			defer stop()
			woken = append(woken, ch)
		}
		left, stop, err := a.Watch(ctx, key)
		must(t, err)
		stop()
		stop()
		must(t, b.Put(ctx, Key{"session", "other"}, nil, time.Hour))
		select {
		case <-woken[0]:
			t.Errorf("%s: woken by another entry", name)
		default:
		}
		must(t, change())
		for _, ch := range woken {
			select {
			case <-ch:
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: not woken", name)
			}
		}
		select {
		case <-left:
			t.Errorf("%s: woken after it had left", name)
		default:
		}
	}
}

func suiteLock(t *testing.T, a, b Store) {
	var inside atomic.Int32
	var mu sync.Mutex
	var wg sync.WaitGroup
	last := uint64(0)
	for i := range 20 {
		wg.Go(func() {
			for range 5 {
				h := lockNow(t, []Store{a, b}[i%2], Key{"refresh", "one"})
				if inside.Add(1) != 1 {
					t.Error("two inside")
				}
				mu.Lock()
				if h.Fence() <= last {
					t.Errorf("fence %d after %d", h.Fence(), last)
				}
				last = h.Fence()
				mu.Unlock()
				inside.Add(-1)
				h.Release()
				h.Release()
				if h.Context().Err() == nil || errors.Is(context.Cause(h.Context()), ErrLost) {
					t.Errorf("after its release: %v", context.Cause(h.Context()))
				}
			}
		})
	}
	other := lockNow(t, a, Key{"refresh", "two"})
	wg.Wait()
	other.Release()
}

func suiteLeaving(t *testing.T, a, b Store) {
	key := Key{"refresh", "one"}
	first := lockNow(t, a, key)
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, s := range []Store{a, b} {
		if _, err := s.Lock(impatient, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want deadline exceeded", err)
		}
	}
	first.Release()
	lockNow(t, b, key).Release()
	lockNow(t, a, key).Release()
}

// What a lock protects may go on after its caller has left.
func suiteHoldingOn(t *testing.T, a, b Store) {
	key := Key{"refresh", "one"}
	ctx, cancel := context.WithCancel(t.Context())
	first, err := a.Lock(ctx, key)
	must(t, err)
	cancel()
	<-first.Context().Done()
	impatient, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := b.Lock(impatient, key); err == nil {
		t.Error("the lock was free before its release")
	}
	first.Release()
	lockNow(t, b, key).Release()
}

func suiteFence(t *testing.T, a, b Store) {
	ctx, lock, key := t.Context(), Key{"refresh", "one"}, Key{"session", "one"}
	older := lockNow(t, a, lock)
	older.Release()
	newer := lockNow(t, b, lock)
	defer newer.Release()
	must(t, b.Put(ctx, key, []byte("begun"), time.Hour))
	must(t, a.PutFenced(ctx, key, []byte("late, but nobody came after"), time.Hour, older.Fence()))
	must(t, b.PutFenced(ctx, key, []byte("newer"), time.Hour, newer.Fence()))
	must(t, b.PutFenced(ctx, key, []byte("newer again"), time.Hour, newer.Fence()))
	if err := a.PutFenced(ctx, key, []byte("older"), time.Hour, older.Fence()); !errors.Is(err, ErrFenced) {
		t.Errorf("the older holder: %v, want ErrFenced", err)
	}
	must(t, a.Put(ctx, key, []byte("without a lock"), time.Hour))
	e, err := a.Get(ctx, key)
	must(t, err)
	must(t, a.PutIf(ctx, key, []byte("without a lock"), time.Hour, e.Version))
	if err := a.PutFenced(ctx, key, []byte("older"), time.Hour, older.Fence()); !errors.Is(err, ErrFenced) {
		t.Errorf("the older holder after another's write: %v, want ErrFenced", err)
	}
	if err := b.PutFencedIf(ctx, key, []byte("blind"), time.Hour, newer.Fence(), e.Version); !errors.Is(err, ErrChanged) {
		t.Errorf("a holder that read an older version: %v, want ErrChanged", err)
	}
	if e, err = a.Get(ctx, key); err == nil {
		err = a.PutFencedIf(ctx, key, []byte("older"), time.Hour, older.Fence(), e.Version)
	}
	if !errors.Is(err, ErrFenced) {
		t.Errorf("the older holder, who has read: %v, want ErrFenced", err)
	}
	must(t, b.PutFencedIf(ctx, key, []byte("without a lock"), time.Hour, newer.Fence(), e.Version))
	if e, err = b.Get(ctx, key); string(e.Value) != "without a lock" {
		t.Errorf("%q stands, %v", e.Value, err)
	}
}

// within waits for another process, which no bubble can hold.
func within(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond) // stands for a look at another process
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lockNow(t testing.TB, s Store, key Key) Hold {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	h, err := s.Lock(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
