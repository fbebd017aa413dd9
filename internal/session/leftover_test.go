package session_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// wantBare looks at what the store holds of a session that has ended.
func (r *rig) wantBare(t *testing.T, handle string) {
	t.Helper()
	e, err := r.store.Memory.Get(t.Context(), store.Key{Kind: session.KindRecord, ID: r.ID(handle)})
	if err != nil {
		t.Fatalf("the session is not known as ended: %v", err)
	}
	for _, held := range []string{"synthetic-pid", "sub-1", "Syntetisk", "1234567", "rt-", "id-token", "hint", "100100126"} {
		if bytes.Contains(e.Value, []byte(held)) {
			t.Errorf("an ended session still holds %q", held)
		}
	}
	if n := r.store.Len(session.KindUsed); n != 0 {
		t.Errorf("%d notes of use are left", n)
	}
}

// personal is a log-in with all that may be said of a person beforehand.
var personal = session.Begin{
	LoginOptions: session.LoginOptions{LoginHint: "hint"}, Expect: session.Expect{PID: "synthetic-pid"},
	Tenants: []session.Tenant{{Parent: "100100126", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}},
}

// Whatever a session ended of, nothing is left of its person.
func TestEndedSessionIsBare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle, _, browser, state := r.pending(t, personal)
		if err := r.Finish(t.Context(), own(state, browser)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.End(t.Context(), handle, "", false); err != nil {
			t.Fatal(err)
		}
		r.wantBare(t, handle)

		handle, _, browser, state = r.pending(t, personal)
		failed := own(state, browser)
		failed.Error = "access_denied"
		wantCode(t, r.Finish(t.Context(), failed), "login-failed", "denied")
		r.wantBare(t, handle)
	})
}

// A log-in that runs out by itself is over for the store, too, though nobody calls,
// and its tokens are forgotten at every replica; one that was prolonged goes on.
func TestRunOutSessionIsBare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		a.helseID.lifetime = time.Hour
		handle := a.active(t)
		if _, err := b.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		b.refresh(t, handle, "")
		time.Sleep(50 * time.Minute)
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatalf("prolonged: %v", err)
		}
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		a.wantBare(t, handle)
		for _, r := range []*rig{a, b} {
			if _, ended := r.over(); ended < 1 {
				t.Errorf("a replica was not told of the end")
			}
			_, err := r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
		}
		time.Sleep(24*time.Hour + time.Second)
		_, err := a.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-unknown", "")
	})
}

// The note of a refresh token that was sent stays for a day, unless its session ends before.
func TestNoteOfSentTokenGoesWithItsSession(t *testing.T) {
	for what, end := range map[string]func(t *testing.T, b *rig, handle string){
		"log-out at another replica": func(t *testing.T, b *rig, handle string) {
			if _, err := b.End(t.Context(), handle, "", false); err != nil {
				t.Error(err)
			}
		},
		"by an operator": func(t *testing.T, b *rig, _ string) {
			if _, err := b.EndChosen(t.Context(), session.Choice{}, func(session.Outcome) {}); err != nil {
				t.Error(err)
			}
		},
		"not used": func(*testing.T, *rig, string) { time.Sleep(70 * time.Minute) },
		"its time ran out": func(t *testing.T, b *rig, handle string) {
			for range 20 {
				time.Sleep(9 * time.Minute)
				_, _ = b.ByHandle(t.Context(), handle, "") // it is used to the end
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newIdleFleet(t, time.Hour)
				a.helseID.lifetime = 2 * time.Hour
				handle := a.active(t)
				a.refresh(t, handle, "")
				if n := a.store.Len("spent"); n != 1 {
					t.Fatalf("%d notes of a token that was sent, want one", n)
				}
				end(t, b, handle)
				synctest.Wait()
				if n := a.store.Len("spent"); n != 0 {
					t.Errorf("%d notes are left", n)
				}
				a.wantBare(t, handle)
			})
		})
	}
}
