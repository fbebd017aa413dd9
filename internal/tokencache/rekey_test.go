package tokencache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/store"
)

// ring is which keys there are, that in use first.
type ring struct {
	mu   sync.Mutex // guards keys
	keys []string
}

func (r *ring) set(keys ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
}

func (r *ring) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.keys)
}

// rekeyed is a cache whose tokens are bound to keys that change, and its mint.
type rekeyed struct {
	*Cache
	*ring
	*mill
	*tally
	kept bool
}

func newRekeyed(t *testing.T, s store.Store) *rekeyed {
	t.Helper()
	r := &rekeyed{ring: &ring{keys: []string{"old"}}, mill: &mill{lifetime: hour}, tally: new(tally)}
	o := Options{
		RefreshBefore: 5 * time.Minute, Leeway: 30 * time.Second, Observe: r.observe, Thumbprints: r.ring.list,
		Jitter: func() float64 { return 0.5 }, Keep: func(Key) bool { return r.kept },
	}
	if s != nil {
		o.Shared = &Shared{Store: s}
	}
	var err error
	if r.Cache, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// bound mints a token that is bound to the key in use when it comes.
func (r *rekeyed) bound(ctx context.Context) (*Token, error) {
	token, err := r.mint(ctx)
	if err == nil {
		token.Thumbprint = r.ring.list()[0]
	}
	return token, err
}

// want asks as a call does, and wants this token of this key.
func (r *rekeyed) want(t *testing.T, token, thumbprint string) {
	t.Helper()
	got, err := r.Token(t.Context(), Key{Parent: "p", Thumbprint: r.ring.list()[0]}, r.bound)
	if err != nil || got.AccessToken != token || got.Thumbprint != thumbprint {
		t.Fatalf("%v of key %s, %v; want %s of key %s", got, got.Thumbprint, err, token, thumbprint)
	}
}

// What is held goes on with its own key until it is due, and is renewed once, for the key
// in use.
func TestRekeyedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		r := newRekeyed(t, s)
		r.want(t, "t1", "old")
		r.set("new", "old")
		r.Rekeyed()
		time.Sleep(hour - 6*time.Minute)
		r.want(t, "t1", "old")
		if r.made.Load() != 1 {
			t.Fatalf("%d minted because of another key", r.made.Load())
		}
		time.Sleep(2 * time.Minute) // by itself, since it was used
		r.want(t, "t2", "new")
		if r.made.Load() != 2 || r.Entries() != 1 || r.of("renewed") != 1 || s.Len(kindToken) != 1 {
			t.Errorf("%d minted, %d held, %d renewed, %d shared", r.made.Load(), r.Entries(), r.of("renewed"), s.Len(kindToken))
		}
	})
}

// A token that is soon or late to expire is renewed for the key in use by the call that
// finds it, and goes on being used where that fails.
func TestRekeyedRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRekeyed(t, nil)
		r.want(t, "t1", "old")
		r.set("new", "old")
		r.fail(errors.New("HelseID is down"))
		for range 4 { // soon, and at last late
			time.Sleep(hour/4 - 10*time.Second)
			r.want(t, "t1", "old")
		}
		if made := r.made.Load(); made < 2 || made > 10 {
			t.Errorf("%d tries", made)
		}
		r.fail(nil)
		time.Sleep(35 * time.Second)
		if got, err := r.Token(t.Context(), Key{Parent: "p", Thumbprint: "new"}, r.bound); err != nil || got.Thumbprint != "new" {
			t.Errorf("%v of key %s, %v", got, got.Thumbprint, err)
		}
	})
}

// A fetch that began before another key was taken into use is as good as one after.
func TestRekeyedFlightIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRekeyed(t, nil)
		r.slow(time.Second)
		var all sync.WaitGroup
		all.Go(func() { r.want2(t) })
		synctest.Wait()
		r.set("new", "old")
		all.Go(func() { r.want2(t) })
		all.Wait()
		if r.made.Load() != 1 || r.of("joined") != 1 || r.Entries() != 1 {
			t.Errorf("%d minted, %d joined, %d held", r.made.Load(), r.of("joined"), r.Entries())
		}
		r.want(t, "t1", "new") // minted before, finished after
	})
}

func (r *rekeyed) want2(t *testing.T) {
	if got, err := r.Token(t.Context(), Key{Parent: "p", Thumbprint: r.ring.list()[0]}, r.bound); err != nil || got.AccessToken != "t1" {
		t.Errorf("%v, %v", got, err)
	}
}

// Tokens of a key that was dropped are not used. Those that are kept come anew by
// themselves, the others when they are asked for.
func TestRekeyedDropped(t *testing.T) {
	for name, kept := range map[string]bool{"asked for": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := store.NewMemory()
				r := newRekeyed(t, s)
				r.kept = kept
				r.want(t, "t1", "old")
				r.set("new")
				r.Rekeyed()
				time.Sleep(dropWithin)
				want := int64(1)
				if kept {
					want = 2
				}
				if got := r.made.Load(); got != want || r.Entries() != int(want)-1 || s.Len(kindToken) != int(want)-1 {
					t.Errorf("%d minted, want %d; %d held, %d shared", got, want, r.Entries(), s.Len(kindToken))
				}
				r.want(t, "t2", "new")
			})
		})
	}
}

// At once, too: before anything was cleaned up.
func TestRekeyedDroppedIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRekeyed(t, store.NewMemory())
		r.want(t, "t1", "old")
		r.set("new")
		r.want(t, "t2", "new")
		r.Rekeyed()
		time.Sleep(dropWithin)
		r.want(t, "t2", "new")
		if r.made.Load() != 2 || r.Entries() != 1 {
			t.Errorf("%d minted, %d held", r.made.Load(), r.Entries())
		}
	})
}

// A token whose key was dropped while it came is not kept.
func TestRekeyedLandsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRekeyed(t, nil)
		got, err := r.Token(t.Context(), Key{Parent: "p", Thumbprint: "old"}, func(ctx context.Context) (*Token, error) {
			token, err := r.bound(ctx)
			r.set("new")
			return token, err
		})
		if err != nil || got.Thumbprint != "old" || r.Entries() != 0 {
			t.Errorf("%v, %v, %d held", got, err, r.Entries())
		}
		r.want(t, "t2", "new")
	})
}

// A replica takes what another shared, bound to an earlier key, too.
func TestRekeyedShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		a, b := newRekeyed(t, s), newRekeyed(t, s)
		b.made.Store(4) // its tokens are others than a's
		a.want(t, "t1", "old")
		b.set("new", "old")
		b.want(t, "t1", "old")
		if b.made.Load() != 4 || b.of("shared") != 1 {
			t.Errorf("%d minted, %d shared", b.made.Load(), b.of("shared"))
		}
		a.set("new", "old")
		time.Sleep(hour - 4*time.Minute) // both are due; one renews
		if a.made.Load()+b.made.Load() != 4+2 {
			t.Errorf("%d and %d minted", a.made.Load(), b.made.Load())
		}
	})
}

// A token that the receiver refused is not taken again from the store, by whatever name.
func TestRekeyedForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		r := newRekeyed(t, s)
		r.want(t, "t1", "old")
		r.set("new", "old")
		k := Key{Parent: "p", Thumbprint: "new"}
		held, _, err := r.Obtain(t.Context(), k, r.bound)
		if err != nil || !r.Forget(k, held) {
			t.Fatalf("%v, not forgotten", err)
		}
		r.want(t, "t2", "new")
		synctest.Wait()
		if r.Forget(k, &Token{AccessToken: "t2"}) {
			t.Error("forgotten twice")
		}
		if r.Entries() != 1 || s.Len(kindToken) != 1 {
			t.Errorf("%d held, %d shared", r.Entries(), s.Len(kindToken))
		}
	})
}

// The end of a session takes its tokens of all keys along.
func TestRekeyedForgetSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRekeyed(t, nil)
		k := Key{Subject: "s", Parent: "p", Thumbprint: "old"}
		if _, err := r.Token(t.Context(), k, r.bound); err != nil {
			t.Fatal(err)
		}
		r.set("new", "old")
		r.ForgetSubject("s")
		if r.Entries() != 0 {
			t.Errorf("%d held", r.Entries())
		}
	})
}

// A token that ended while its renewal was under way, and failed, is not held any more, of
// whichever key it was.
func TestRenewalOutlivesTheToken(t *testing.T) {
	for name, keys := range map[string][]string{"same key": {"old"}, "another key": {"new", "old"}, "key dropped": {"new"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRekeyed(t, nil)
				r.lifetime = 20 * time.Second
				r.want(t, "t1", "old")
				r.slow(30 * time.Second)
				r.fail(errors.New("HelseID is down"))
				time.Sleep(16*time.Second + 500*time.Millisecond) // it is being renewed
				r.set(keys...)
				time.Sleep(time.Minute)
				if made, n := r.made.Load(), r.Entries(); made != 2 || n != 0 {
					t.Errorf("%d minted, %d held", made, n)
				}
			})
		})
	}
}

// That holds for a renewal that a call began, too.
func TestRenewalByACallOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		m := &mill{lifetime: 20 * time.Second}
		c := newCache(t, Options{RefreshBefore: 5 * time.Minute, Wall: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		want(t, c, m, 1)
		m.slow(30 * time.Second)
		m.fail(errors.New("HelseID is down"))
		time.Sleep(10 * time.Second)
		ahead.Store(int64(7 * time.Second)) // by this clock it is due
		want(t, c, m, 1)
		ahead.Store(0)
		time.Sleep(time.Minute)
		if made, n := m.made.Load(), c.Entries(); made != 2 || n != 0 {
			t.Errorf("%d minted, %d held", made, n)
		}
	})
}

// What lands for a key that was dropped meanwhile is not kept; the token before it, which is
// still good, ends when its time comes.
func TestRenewalForADroppedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRekeyed(t, nil)
		r.lifetime = 20 * time.Second
		bound := "old"
		mint := func(ctx context.Context) (*Token, error) {
			thumbprint := bound
			token, err := r.mint(ctx)
			if err == nil {
				token.Thumbprint = thumbprint
			}
			return token, err
		}
		if _, err := r.Token(t.Context(), Key{Parent: "p", Thumbprint: "old"}, mint); err != nil {
			t.Fatal(err)
		}
		bound = "new"
		r.set("new", "old")
		r.slow(2 * time.Second)
		time.Sleep(16*time.Second + 500*time.Millisecond) // it is being renewed
		r.set("old")
		time.Sleep(time.Minute)
		if made, n := r.made.Load(), r.Entries(); made != 2 || n != 0 {
			t.Errorf("%d minted, %d held", made, n)
		}
	})
}

// The end of a session at one replica takes along what another shared of it, whatever keys
// the tokens are bound to.
func TestRekeyedForgetSubjectElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		a, b := newRekeyed(t, s), newRekeyed(t, s)
		for _, r := range []*rekeyed{a, b} {
			r.set("new", "old")
		}
		for parent, thumbprint := range map[string]string{"p1": "old", "p2": "new"} {
			k := Key{Subject: "s", Parent: parent, Thumbprint: "new"}
			got, err := a.Token(t.Context(), k, func(ctx context.Context) (*Token, error) {
				token, err := a.mint(ctx)
				if err == nil {
					token.Thumbprint = thumbprint
				}
				return token, err
			})
			if err != nil || got.Thumbprint != thumbprint {
				t.Fatalf("%v, %v", got, err)
			}
		}
		for parent, thumbprint := range map[string]string{"p1": "old", "p2": "new"} {
			got, err := b.Token(t.Context(), Key{Subject: "s", Parent: parent, Thumbprint: "new"}, b.bound)
			if err != nil || got.Thumbprint != thumbprint || b.made.Load() != 0 {
				t.Fatalf("%v of key %s, %v", got, got.Thumbprint, err)
			}
		}
		b.ForgetSubject("s")
		synctest.Wait()
		if n := s.Len(kindToken); n != 0 {
			t.Errorf("%d tokens are left", n)
		}
	})
}
