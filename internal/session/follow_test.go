package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// reads counts how often a replica reads records.
func (r *rig) reads() *int {
	n := new(int)
	r.store.got = func(key store.Key) {
		if key.Kind == session.KindRecord {
			*n++
		}
	}
	return n
}

// A record is followed from the second call within a minute on, and read at each call
// before that.
func TestOnlyWhatIsCalledOftenIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		pauses         []time.Duration // before each call
		reads, watches int
	}{
		"once":                     {[]time.Duration{0}, 1, 0},
		"now and then":             {[]time.Duration{0, time.Minute, time.Hour, time.Minute}, 4, 0},
		"twice":                    {[]time.Duration{0, 59 * time.Second}, 2, 1},
		"often":                    {[]time.Duration{0, 0, 0, 20 * time.Second, 39 * time.Second}, 2, 1},
		"often, for long":          {[]time.Duration{0, 0, 59 * time.Second, 2 * time.Second, time.Second}, 3, 2},
		"often, then now and then": {[]time.Duration{0, 0, 0, time.Hour, 2 * time.Minute}, 4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newFleet(t)
				handle := b.active(t)
				reads := a.reads()
				for _, pause := range c.pauses {
					time.Sleep(pause)
					a.calls(t, handle)
				}
				if watches := a.store.watches.made; *reads != c.reads || watches != c.watches {
					t.Errorf("%d reads, not %d; followed %d times, not %d", *reads, c.reads, watches, c.watches)
				}
			})
		})
	}
}

// That a session is called often is not forgotten when its record changes.
func TestChangedWhileCalledOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handle := b.active(t)
		a.calls(t, handle)
		for _, renewing := range []*rig{b, a} {
			renewing.refresh(t, handle, "")
			a.calls(t, handle)
		}
		if n := a.store.watches.made; n != 2 {
			t.Errorf("followed %d times", n)
		}
	})
}

// An end at another replica is seen by the next call, followed or not.
func TestEndElsewhereIsSeenAtOnce(t *testing.T) {
	for calls := range 4 {
		synctest.Test(t, func(t *testing.T) {
			a, b := newFleet(t)
			handle := b.active(t)
			for range calls {
				a.calls(t, handle)
			}
			if _, err := b.End(t.Context(), handle, "", false); err != nil {
				t.Fatal(err)
			}
			_, err := a.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
		})
	}
}

// A call on a session that did not change asks the store for nothing.
func TestKnownCostsNothing(t *testing.T) {
	a, _ := newFleet(t)
	handle := a.active(t)
	for range 2 {
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
	}
	a.store.down.Store(true)
	if n := testing.AllocsPerRun(100, func() { _, _ = a.ByHandle(t.Context(), handle, "") }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

// While the store is down, who is known goes on; who is not, and who needs a new
// token, waits for it.
func TestKnownWhileStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handle := a.active(t)
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
		a.store.down.Store(true)
		b.store.down.Store(true)
		for range 5 {
			if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
			_, err := b.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "store-unavailable", "")
			time.Sleep(time.Minute)
		}
		a.refresh(t, handle, "store-unavailable")
		if n := a.helseID.asked(); n != 0 {
			t.Errorf("HelseID was asked %d times", n)
		}
	})
}

// A store that is slow is not in the way of who is known; and what it says late counts.
func TestKnownWhileStoreIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handle := a.active(t)
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
		a.store.slow = 500 * time.Millisecond
		a.store.down.Store(true)
		time.Sleep(time.Hour)
		began := time.Now()
		for range 20 {
			if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("20 calls took %v", took)
		}
		time.Sleep(time.Second)
		if _, err := b.End(t.Context(), handle, "", false); err != nil {
			t.Fatal(err)
		}
		a.store.down.Store(false)
		a.store.gets = 300 * time.Millisecond
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Error(err)
		}
		time.Sleep(300 * time.Millisecond)
		_, err := a.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
	})
}

// No more records are kept than there is room for: of another nothing is known when the
// store is down.
func TestDecodedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newFleet(t, func(_ int, o *session.Options) { o.Decoded = 2 })
		handles := []string{r.active(t), r.active(t), r.active(t)}
		r.store.down.Store(true)
		for i, code := range []string{"store-unavailable", "", ""} {
			_, err := r.ByHandle(t.Context(), handles[i], "")
			if code != "" {
				wantCode(t, err, code, "")
			} else if err != nil {
				t.Error(err)
			}
		}
	})
}
