package session_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
)

// over is what was revoked, and how many sessions ended.
func (r *rig) over() (revoked []string, ended int) {
	synctest.Wait()
	r.helseID.mu.Lock()
	defer r.helseID.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.helseID.revoked), len(r.ended)
}

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

func TestOtherPersonsLogInIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle := r.active(t)
		r.helseID.refresh = func(int) (*helseid.Grant, error) {
			return &helseid.Grant{RefreshToken: "rt-other"}, refused{code: "token-mismatch", other: true}
		}
		_, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{})
		wantCode(t, err, "token-mismatch", "")
		if revoked, _ := r.over(); !slices.Equal(revoked, []string{"rt-other"}) {
			t.Errorf("revoked %q, want the newest token of the log-in", revoked)
		}
	})
}

// After Close nothing more goes on.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newIdleRig(t, time.Hour)
		r.active(t)
		r.Close()
		time.Sleep(2 * time.Hour)
		if revoked, ended := r.over(); len(revoked) > 0 || ended > 0 {
			t.Error("a session was ended after the end")
		}
	})
}

// While HelseID is not there, a callback leaves the log-in as it was, and may come
// again. A code that was exchanged is not sent a second time.
func TestCallbackWhileHelseIDIsDown(t *testing.T) {
	down := refused{code: "helseid-unavailable"}
	r := newRig(t)
	handle, _, browser, state := r.pending(t, session.Begin{})
	exchanged := 0
	r.helseID.exchange = func() error {
		if exchanged++; exchanged == 1 {
			return down
		}
		return nil
	}
	r.helseID.verifyErr = down // its keys can't be had
	for range 3 {
		wantCode(t, r.Finish(t.Context(), own(state, browser)), "helseid-unavailable", "")
		if s, err := r.Status(t.Context(), handle, "", 0); err != nil || s.State != session.Pending {
			t.Fatalf("the session is %s (%v)", s.State, err)
		}
	}
	r.helseID.verifyErr = nil
	if err := r.Finish(t.Context(), own(state, browser)); err != nil {
		t.Fatal(err)
	}
	if exchanged != 2 || len(r.helseID.revoked) > 0 {
		t.Errorf("the code was sent %d times, want 2; %d tokens revoked", exchanged, len(r.helseID.revoked))
	}
	wantCode(t, r.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
}

func TestLogInOlderThanAllowed(t *testing.T) {
	hour := int64(3600)
	for name, tt := range map[string]struct {
		asked *int64
		age   time.Duration // of the log-in; negative = not told
		ok    bool
	}{
		"not asked":   {age: 30 * time.Hour, ok: true},
		"young":       {asked: &hour, age: 59 * time.Minute, ok: true},
		"old":         {asked: &hour, age: 61 * time.Minute},
		"not told":    {asked: &hour, age: -1},
		"asked again": {asked: new(int64), age: 0, ok: true},
		"silently on": {asked: new(int64), age: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			_, _, browser, state := r.pending(t, session.Begin{LoginOptions: session.LoginOptions{MaxAuthAge: tt.asked}})
			if tt.age >= 0 {
				r.helseID.person.AuthTime = time.Now().Add(-tt.age)
			}
			err := r.Finish(t.Context(), own(state, browser))
			if tt.ok && err != nil {
				t.Error(err)
			}
			if !tt.ok {
				wantCode(t, err, "login-failed", "id-token-invalid")
			}
			if revoked := len(r.helseID.revoked) == 1; revoked == tt.ok {
				t.Errorf("the log-in was revoked: %v", revoked)
			}
		})
	}
}
