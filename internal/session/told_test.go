package session_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// exchange is how the replicas of a test tell each other; slowness is how long that takes.
type exchange struct {
	slowness time.Duration

	mu    sync.Mutex // guards what follows
	kinds []string
	told  []string
	ears  map[int]func(string)
	next  int
}

func (x *exchange) Tell(ctx context.Context, kind, id string) error {
	select {
	case <-time.After(x.slowness):
	case <-ctx.Done():
		return ctx.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.kinds, x.told = append(x.kinds, kind), append(x.told, id)
	for _, heard := range x.ears {
		heard(id)
	}
	return nil
}

func (x *exchange) Hear(kind string, heard func(string)) (stop func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ears == nil {
		x.ears = map[int]func(string){}
	}
	x.kinds = append(x.kinds, kind)
	me := x.next
	x.next++
	x.ears[me] = heard
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.ears, me)
	}
}

// listening is how many hear.
func (x *exchange) listening() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.ears)
}

// toldRig is a replica that hears.
type toldRig struct {
	*rig
	asked atomic.Int32 // how often the store was read
}

func (r *toldRig) wantHeard(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.heard, want) {
		t.Errorf("forgot %d sessions for others, want %d", len(r.heard), len(want))
	}
}

// newTold is a fleet of two that tell each other.
func newTold(t *testing.T, x *exchange, idle time.Duration) (a, b *toldRig) {
	a, b = new(toldRig), new(toldRig)
	a.rig, b.rig = newFleet(t, func(_ int, o *session.Options) { o.Teller, o.Idle = x, idle })
	for _, r := range []*toldRig{a, b} {
		r.store.got = func(store.Key) { r.asked.Add(1) }
		r.Hear()
	}
	return a, b
}

// A replica that nobody calls any more forgets a session when another ends it, however
// that comes, and asks the store for nothing.
func TestEndIsTold(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, a *toldRig, handle string){
		"log-out": func(t *testing.T, a *toldRig, handle string) {
			if _, err := a.End(t.Context(), handle, "", false); err != nil {
				t.Error(err)
			}
		},
		"operator": func(t *testing.T, a *toldRig, handle string) {
			_, err := a.EndChosen(t.Context(), session.Choice{IDs: []string{a.ID(handle)}}, func(o session.Outcome) {
				if o.Err != nil {
					t.Error(o.Err)
				}
			})
			if err != nil {
				t.Error(err)
			}
		},
		"invalid_grant": func(t *testing.T, a *toldRig, handle string) {
			a.helseID.refresh = func(int) (*helseid.Grant, error) { return nil, invalidGrant{} }
			a.refresh(t, handle, "session-expired")
		},
		"idle": func(t *testing.T, a *toldRig, handle string) {
			if err := a.store.Delete(t.Context(), store.Key{Kind: session.KindUsed, ID: a.ID(handle)}); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute) // its use is noted again
			_, err := a.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := new(exchange)
				a, b := newTold(t, x, 12*time.Hour)
				handle, other := a.active(t), a.active(t)
				for _, h := range []string{handle, other} {
					for range 2 {
						if _, err := b.ByHandle(t.Context(), h, ""); err != nil {
							t.Fatal(err)
						}
					}
				}
				if n := b.Known(); n != 2 {
					t.Fatalf("b looks after %d sessions", n)
				}
				asked := b.asked.Load()
				end(t, a, handle)
				synctest.Wait()
				if n := b.Known(); n != 1 {
					t.Errorf("b looks after %d sessions, want the other one", n)
				}
				if n := b.asked.Load() - asked; n != 0 {
					t.Errorf("b asked the store %d times", n)
				}
				b.wantHeard(t, b.ID(handle))
				if len(b.ended) != 0 {
					t.Error("b ended it, too")
				}
				_, err := b.ByHandle(t.Context(), handle, "")
				wantCode(t, err, "session-expired", "")
				if _, err := b.ByHandle(t.Context(), other, ""); err != nil {
					t.Error(err)
				}
				for _, kind := range x.kinds {
					if kind != session.KindRecord {
						t.Errorf("told of %q", kind)
					}
				}
			})
		})
	}
}

// What is told is a hint: of a session that goes on the next call reads, and all is as
// before. What is told of one that nobody knows costs no call of the store.
func TestToldOfALiveSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := new(exchange)
		a, b := newTold(t, x, time.Hour)
		handle := a.active(t)
		for range 3 {
			if _, err := b.ByHandle(t.Context(), handle, ""); err != nil {
				t.Fatal(err)
			}
		}
		asked := b.asked.Load()
		for _, id := range []string{a.ID(handle), a.ID(handle), a.ID("unknown"), "short", ""} {
			if err := x.Tell(t.Context(), session.KindRecord, id); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.asked.Load() - asked; n != 0 {
			t.Errorf("the store was asked %d times", n)
		}
		b.wantHeard(t, a.ID(handle), a.ID(handle), a.ID("unknown"))
		for _, r := range []*toldRig{a, b} {
			if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
			r.refresh(t, handle, "")
			if n := r.Known(); n != 1 {
				t.Errorf("%d sessions are looked after", n)
			}
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := a.Known() + b.Known(); n != 0 {
			t.Errorf("%d sessions are looked after when nobody has used them", n)
		}
		_, err := b.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
	})
}

// A log-out does not wait for the telling, but the end of the process does; nobody is
// told of what did not end, and who has ended hears no more.
func TestTellingIsBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchange{slowness: 3 * time.Second}
		a, b := newTold(t, x, 12*time.Hour)
		handle, kept := a.active(t), a.active(t)
		begun := time.Now()
		if _, err := a.End(t.Context(), handle, "", false); err != nil {
			t.Fatal(err)
		}
		a.store.down.Store(true)
		if _, err := a.End(t.Context(), kept, "", false); err == nil {
			t.Error("ended in a store that is down")
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the log-out took %v", took)
		}
		a.Close()
		b.wantHeard(t, b.ID(handle))
		b.Close()
		synctest.Wait()
		if n := x.listening(); n != 0 {
			t.Errorf("%d listen yet", n)
		}
	})
}
