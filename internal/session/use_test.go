package session_test

import (
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// used is the name of a session's note of use.
func (r *rig) used(handle string) store.Key {
	return store.Key{Kind: session.KindUsed, ID: r.ID(handle)}
}

// Of all replicas one notes a use in a minute, and the session lives on by that.
func TestUseIsNotedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newIdleFleet(t, time.Hour)
		notes := 0
		for _, r := range []*rig{a, b} {
			r.store.put = func(key store.Key) {
				if key.Kind == session.KindUsed {
					notes++
				}
			}
		}
		handle := a.active(t) // one note
		for range 10 {
			time.Sleep(59 * time.Second)
			b.calls(t, handle)
			a.calls(t, handle)
		}
		if notes != 6 { // the last use before a note is less than a minute old
			t.Errorf("%d notes in ten minutes", notes)
		}
		time.Sleep(time.Hour - 2*time.Minute)
		a.calls(t, handle)
	})
}

// A note that does not say when, or says what can't be, is no reason not to note.
func TestUnreadableNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newIdleFleet(t, time.Hour)
		handle := a.active(t)
		for _, note := range []string{"", "soon", "ahead", "0", "-9223372036854775808"} {
			time.Sleep(2 * time.Minute)
			if note == "ahead" {
				note = strconv.FormatInt(time.Now().Add(5*time.Minute).UnixMilli(), 10)
			}
			if err := a.store.Memory.Put(t.Context(), a.used(handle), []byte(note), time.Hour); err != nil {
				t.Fatal(err)
			}
			b.calls(t, handle)
			e, err := a.store.Memory.Get(t.Context(), a.used(handle))
			if want := strconv.FormatInt(time.Now().UnixMilli(), 10); err != nil || string(e.Value) != want {
				t.Errorf("the note %q became %q (%v)", note, e.Value, err)
			}
		}
	})
}

// Every replica that saw a session looks after it, seldom; when the one that had it last
// is gone, another ends it.
func TestAnotherReplicaEndsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newIdleFleet(t, time.Hour)
		var looks atomic.Int32
		for _, r := range []*rig{a, b} {
			r.store.got = func(key store.Key) {
				if key.Kind == session.KindUsed {
					looks.Add(1)
				}
			}
		}
		handle := a.active(t)
		a.calls(t, handle)
		for range 8 {
			time.Sleep(5 * time.Minute)
			b.calls(t, handle)
		}
		b.Close()
		looks.Store(0)
		time.Sleep(59 * time.Minute)
		if revoked, ended := a.over(); len(revoked) > 0 || ended > 0 {
			t.Fatal("a session in use was ended")
		}
		if n := looks.Load(); n != 1 {
			t.Errorf("a replica looked %d times before the session could be idle", n)
		}
		time.Sleep(7 * time.Minute)
		if revoked, ended := a.over(); !slices.Equal(revoked, []string{"rt-0"}) || ended != 1 {
			t.Errorf("revoked %v, %d ended", revoked, ended)
		}
		if n := looks.Load(); n != 2 {
			t.Errorf("a replica looked %d times", n)
		}
		a.Close()
	})
}

// Where a note does not say when a session was used, or says nonsense, it is looked at
// now and then.
func TestLooksWithoutTime(t *testing.T) {
	for name, note := range map[string]string{"none": "", "nonsense": "0"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newIdleRig(t, time.Hour)
				var looks atomic.Int32
				r.store.got = func(key store.Key) {
					if key.Kind == session.KindUsed {
						looks.Add(1)
					}
				}
				handle := r.active(t)
				if err := r.store.Memory.Put(t.Context(), r.used(handle), []byte(note), 3*time.Hour); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2*time.Hour - time.Second)
				// Each tenth of an hour from the first on, or within that.
				if n := looks.Load(); note == "" && n != 10 || n < 10 || n > 60 {
					t.Errorf("%d looks within an hour", n)
				}
			})
		})
	}
}
