package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/store"
)

var key = store.Key{Kind: "session", ID: "a"}

func TestEntriesLiveForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		mustPut(t, s, key, "one", time.Hour)
		time.Sleep(time.Hour - time.Second)
		if e, err := s.Get(t.Context(), key); err != nil || string(e.Value) != "one" {
			t.Errorf("a second before the end: %q, %v", e.Value, err)
		}
		time.Sleep(time.Second)
		if _, err := s.Get(t.Context(), key); !errors.Is(err, store.ErrMissing) {
			t.Errorf("at the end: %v, want ErrMissing", err)
		}
		if _, err := s.Take(t.Context(), key); !errors.Is(err, store.ErrMissing) {
			t.Errorf("taking at the end: %v, want ErrMissing", err)
		}
		if n := s.Len("session"); n != 0 {
			t.Errorf("Len = %d, want 0", n)
		}
	})
}

func TestVersionChangesWithEachWrite(t *testing.T) {
	s := store.NewMemory()
	mustPut(t, s, key, "one", time.Hour)
	first, _ := s.Get(t.Context(), key)
	again, _ := s.Get(t.Context(), key)
	mustPut(t, s, key, "one", time.Hour)
	second, _ := s.Get(t.Context(), key)
	if first.Version != again.Version || first.Version == second.Version {
		t.Errorf("versions %d, %d, then %d after a write", first.Version, again.Version, second.Version)
	}
}

func TestTakeGivesAnEntryToOne(t *testing.T) {
	s := store.NewMemory()
	mustPut(t, s, key, "one", time.Hour)
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := s.Take(t.Context(), key); err == nil {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d takers got it, want 1", got.Load())
	}
}

func TestWatchWakesAtAChange(t *testing.T) {
	changes := map[string]func(*store.Memory) error{
		"put":    func(s *store.Memory) error { return s.Put(t.Context(), key, nil, time.Hour) },
		"delete": func(s *store.Memory) error { return s.Delete(t.Context(), key) },
		"take":   func(s *store.Memory) error { _, err := s.Take(t.Context(), key); return err },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s := store.NewMemory()
			mustPut(t, s, key, "one", time.Hour)
			changed, stop, err := s.Watch(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			mustPut(t, s, store.Key{Kind: "session", ID: "other"}, "x", time.Hour)
			select {
			case <-changed:
				t.Fatal("woken by another entry")
			default:
			}
			if err := change(s); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
			default:
				t.Error("not woken")
			}
		})
	}
}

func TestLockLetsOneInAtATimeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		first := mustLock(t, s)
		var order []int
		var inside atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				h := mustLock(t, s)
				defer h.Release()
				if inside.Add(1) != 1 {
					t.Error("two inside")
				}
				order = append(order, i)
				time.Sleep(time.Second)
				inside.Add(-1)
			})
		}
		time.Sleep(time.Minute)
		first.Release()
		first.Release() // the second time does nothing
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("order %v", order)
			}
		}
	})
}

func TestLockWaiterThatLeavesBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		first := mustLock(t, s)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Lock(impatient, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Lock = %v, want deadline exceeded", err)
		}
		first.Release()
		if first.Context().Err() == nil {
			t.Error("the hold's context goes on after its release")
		}
		mustLock(t, s).Release()
	})
}

// A waiter whose turn comes in the moment it leaves hands the lock on.
func TestLockIsNotLostToAWaiterThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		for range 100 { // which of the two it sees first is chance
			first := mustLock(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if h, err := s.Lock(ctx, key); err == nil {
					h.Release()
				}
			}()
			synctest.Wait()
			cancel()
			first.Release()
			mustLock(t, s).Release()
		}
	})
}

func mustPut(t *testing.T, s *store.Memory, k store.Key, v string, ttl time.Duration) {
	t.Helper()
	if err := s.Put(t.Context(), k, []byte(v), ttl); err != nil {
		t.Fatal(err)
	}
}

func mustLock(t *testing.T, s *store.Memory) store.Hold {
	t.Helper()
	h, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Error(err)
	}
	return h
}
