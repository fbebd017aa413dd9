package session_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
)

// A session that nobody uses ends, and HelseID forgets it, though nobody asks.
func TestUnusedSessionIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newIdleRig(t, time.Hour)
		handle := r.active(t)
		for range 5 {
			time.Sleep(50 * time.Minute)
			if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
				t.Fatalf("in use: %v", err)
			}
		}
		time.Sleep(59 * time.Minute)
		if revoked, ended := r.over(); len(revoked) > 0 || ended > 0 {
			t.Fatal("a session in use was ended")
		}
		time.Sleep(8 * time.Minute)
		if revoked, ended := r.over(); !slices.Equal(revoked, []string{"rt-0"}) || ended != 1 {
			t.Errorf("%d refresh tokens revoked, %d sessions ended, want one", len(revoked), ended)
		}
		_, err := r.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
		r.Close()
	})
}

// What was handed over is watched like any other.
func TestUnusedHandOverIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newIdleRig(t, time.Hour)
		if _, err := r.Adopt(t.Context(), "rt-0", session.Begin{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if revoked, _ := r.over(); !slices.Equal(revoked, []string{"rt-1"}) {
			t.Errorf("revoked %q, want the newest", revoked)
		}
	})
}

// Tokens that are renewed in the background are no use of a session: it ends when
// nobody else uses it, and gives no more of them.
func TestRenewalIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newIdleRig(t, time.Hour)
		handle := r.active(t)
		id := r.ID(handle)
		for range 3 {
			time.Sleep(19 * time.Minute)
			if _, err := r.Refresh(t.Context(), id, helseid.Request{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		_, err := r.Refresh(t.Context(), id, helseid.Request{})
		wantCode(t, err, "session-expired", "")
		if len(r.ended) != 1 {
			t.Error("nobody was told that the session ended")
		}
	})
}

// However short the idle time is, a session that is used goes on.
func TestShortIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newIdleRig(t, 10*time.Second)
		handle := r.active(t)
		for range 30 {
			time.Sleep(5 * time.Second)
			if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
				t.Fatalf("in use: %v", err)
			}
		}
		time.Sleep(10 * time.Second)
		_, err := r.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
	})
}
