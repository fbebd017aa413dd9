package session_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"sfm-sidecar/internal/helseid"
)

// watches counts who listens to a store.
type watches struct {
	mu   sync.Mutex // guards what follows
	open map[<-chan struct{}]struct{}
	made int
}

// add counts a watch until it is stopped, and gives the stop that says so.
func (w *watches) add(changed <-chan struct{}, stop func()) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[<-chan struct{}]struct{}{}
	}
	w.open[changed] = struct{}{}
	w.made++
	return func() {
		w.mu.Lock()
		delete(w.open, changed)
		w.mu.Unlock()
		stop()
	}
}

// left is how many still listen; who was told of a change does not.
func (w *watches) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for changed := range w.open {
		select {
		case <-changed:
			delete(w.open, changed)
		default:
		}
	}
	return len(w.open)
}

// Of many sessions that were made, used and ended at two replicas, nothing is left
// that costs anything: no timer, no watch, and, when the replicas end, no goroutine.
func TestNothingIsLeftOfManySessions(t *testing.T) {
	const many = 1000
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handles := make([]string, many)
		for i := range handles {
			handles[i] = a.active(t)
			for _, r := range []*rig{b, a, b, a} { // twice, so that they listen
				if _, err := r.ByHandle(t.Context(), handles[i], ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		if a.Known() != many || b.Known() != many {
			t.Errorf("%d and %d sessions are looked after", a.Known(), b.Known())
		}
		for i, handle := range handles {
			at := []*rig{a, b}[i%2]
			if _, err := at.End(t.Context(), handle, "", false); err != nil {
				t.Fatal(err)
			}
		}
		for _, handle := range slices.Concat(handles, handles) {
			for _, r := range []*rig{a, b} {
				_, err := r.ByHandle(t.Context(), handle, "")
				wantCode(t, err, "session-expired", "")
				_, err = r.Refresh(t.Context(), r.ID(handle), helseid.Request{})
				wantCode(t, err, "session-expired", "")
			}
		}
		synctest.Wait()
		for name, r := range map[string]*rig{"a": a, "b": b} {
			if made := r.store.watches.made; made < many || made > 2*many {
				t.Errorf("%s: %d watches were begun", name, made)
			}
			if n, m := r.Known(), r.store.watches.left(); n != 0 || m != 0 || !r.NearestEnd().IsZero() {
				t.Errorf("%s: %d timers, %d watches, an end at %v", name, n, m, r.NearestEnd())
			}
		}
		a.Close()
		b.Close() // the test itself fails over a goroutine that is left
	})
}

// The end of a replica leaves no watch behind, whatever sessions go on elsewhere.
func TestCloseEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handle, unknown := a.active(t), a.active(t)
		b.calls(t, handle)
		b.calls(t, handle)
		if n := b.store.watches.left(); n != 1 {
			t.Fatalf("%d watches", n)
		}
		b.Close()
		for _, h := range []string{handle, unknown} {
			if _, err := b.ByHandle(t.Context(), h, ""); err != nil {
				t.Errorf("a call while the process ends: %v", err)
			}
		}
		if n := b.store.watches.left(); n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}
