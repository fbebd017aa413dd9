package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

func TestAdopt(t *testing.T) {
	tests := map[string]struct {
		prepare      func(*fakeHelseID)
		expect       session.Expect
		code, reason string
		token        string // that the session holds
		revoked      string // the successor, where no session came of it
	}{
		"rotated":      {token: "rt-1"},
		"not rotated":  {prepare: func(f *fakeHelseID) { f.rotate = false }, token: "rt-0"},
		"spent before": {prepare: func(f *fakeHelseID) { f.refresh = func(int) (*helseid.Grant, error) { return nil, invalidGrant{} } }, code: "handover-refused", reason: "invalid-grant"},
		"level 3":      {prepare: func(f *fakeHelseID) { f.verifyErr = refused{code: "login-failed", reason: "level-too-low"} }, code: "handover-refused", reason: "level-too-low", revoked: "rt-1"},
		"HelseID down": {prepare: func(f *fakeHelseID) { f.refresh = func(int) (*helseid.Grant, error) { return nil, noAnswer{} } }, code: "helseid-unavailable"},
		"no ID token":  {prepare: func(f *fakeHelseID) { f.verifyErr = refused{code: "login-failed", reason: "id-token-invalid"} }, code: "handover-refused", reason: "id-token-invalid", revoked: "rt-1"},
		"other person": {expect: session.Expect{HPRNumber: "7654321"}, code: "person-mismatch", revoked: "rt-1"},
		"other person, not rotated": {
			prepare: func(f *fakeHelseID) { f.rotate = false }, expect: session.Expect{HPRNumber: "7654321"}, code: "person-mismatch",
		},
		"two expected": {expect: session.Expect{HPRNumber: "7654321", Subject: "x"}, code: "request-invalid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if tt.prepare != nil {
				tt.prepare(r.helseID)
			}
			handle, err := r.Adopt(t.Context(), "rt-0", session.Begin{Expect: tt.expect})
			if tt.code != "" {
				wantCode(t, err, tt.code, tt.reason)
				if handle != "" {
					t.Error("a handle beside an error")
				}
				if got := strings.Join(r.helseID.revoked, " "); got != tt.revoked {
					t.Errorf("revoked %q, want %q", got, tt.revoked)
				}
				if n := r.store.Len("session"); n != 0 {
					t.Errorf("%d sessions that nobody can reach", n)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, err := r.ByHandle(t.Context(), handle, ""); err != nil || s.PID != "synthetic-pid" {
				t.Errorf("the session is not usable: %v", err)
			}
			if !r.helseID.requests[0].NoTenant {
				t.Error("the first refresh named a tenant")
			}
			if _, err := r.End(t.Context(), handle, "", false); err != nil || r.helseID.revoked[0] != tt.token {
				t.Errorf("the session does not hold the newest refresh token (%v)", err)
			}
		})
	}
}

// The handed-over token is spent whether or not the EPJ still waits.
func TestAdoptOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.helseID.took = 2 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Adopt(ctx, "rt-0", session.Begin{}); err != nil {
			t.Error(err)
		}
	})
}

// A hand-over that was written although the answer to that was lost leaves nobody's session
// behind: no one has its handle.
func TestAdoptWithoutAnswerOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newFleet(t)
		a.helseID.lifetime = 24 * time.Hour
		a.store.late = true
		a.store.put = func(key store.Key) {
			if key.Kind == session.KindRecord {
				a.store.down.Store(true)
			}
		}
		_, err := a.Adopt(t.Context(), "rt-0", session.Begin{})
		wantCode(t, err, "store-unavailable", "")
		a.store.put = nil
		a.store.down.Store(false)
		time.Sleep(14 * time.Hour)
		if _, ended := a.over(); ended != 1 {
			t.Errorf("%d sessions ended", ended)
		}
	})
}
