package session_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
)

func TestRefreshesRunOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		id := r.ID(r.active(t))
		r.helseID.took = time.Second
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := r.Refresh(t.Context(), id, helseid.Request{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, asked := range r.helseID.requests {
			if asked.PID != "synthetic-pid" {
				t.Fatal("a refresh did not name the person")
			}
		}
	})
}

func TestRefreshOutcomes(t *testing.T) {
	rotated := &helseid.Grant{RefreshToken: "rt-rotated", Sent: time.Now()}
	tests := map[string]struct {
		refresh      func(n int) (*helseid.Grant, error)
		code, reason string
		asked        int    // requests that HelseID saw
		token        string // the refresh token afterwards; "" = the session has ended
	}{
		"rotated": {asked: 1, token: "rt-1"},
		"invalid_grant ends the session": {
			refresh: func(int) (*helseid.Grant, error) { return nil, invalidGrant{} },
			code:    "session-expired", asked: 1,
		},
		"a lost answer is asked for once more": {
			refresh: func(n int) (*helseid.Grant, error) {
				if n == 1 {
					return nil, noAnswer{}
				}
				return nil, nil
			},
			asked: 2, token: "rt-1",
		},
		"a lost answer whose token was spent": {
			refresh: func(n int) (*helseid.Grant, error) {
				if n == 1 {
					return nil, noAnswer{}
				}
				return nil, invalidGrant{}
			},
			code: "session-expired", asked: 2,
		},
		"no answer twice": {
			refresh: func(int) (*helseid.Grant, error) { return nil, noAnswer{} },
			code:    "helseid-unavailable", asked: 2, token: "rt-0",
		},
		"a refused token still rotates": {
			refresh: func(int) (*helseid.Grant, error) { return rotated, refused{code: "token-mismatch"} },
			code:    "token-mismatch", asked: 1, token: "rt-rotated",
		},
		"another person ends the session": {
			refresh: func(int) (*helseid.Grant, error) { return rotated, refused{code: "token-mismatch", other: true} },
			code:    "token-mismatch", asked: 1,
		},
		"a refused tenant leaves the session": {
			refresh: func(int) (*helseid.Grant, error) { return nil, refused{code: "tenant-not-delegated"} },
			code:    "tenant-not-delegated", asked: 1, token: "rt-0",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			handle := r.active(t)
			r.helseID.refresh = tt.refresh
			_, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{})
			if tt.code == "" && err != nil {
				t.Error(err)
			} else if tt.code != "" {
				wantCode(t, err, tt.code, tt.reason)
			}
			if got := r.helseID.asked(); got != tt.asked {
				t.Errorf("HelseID was asked %d times, want %d", got, tt.asked)
			}
			_, err = r.ByHandle(t.Context(), handle, "")
			if tt.token == "" {
				wantCode(t, err, "session-expired", "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.End(t.Context(), handle, "", false); err != nil {
				t.Fatal(err)
			}
			if got := r.helseID.revoked[0]; got != tt.token {
				t.Errorf("the session held %s, want %s", got, tt.token)
			}
		})
	}
}

// A session that is ended while its refresh is under way takes nothing of it.
func TestRefreshOfAnEndedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle := r.active(t)
		r.helseID.took = 5 * time.Second
		go func() {
			time.Sleep(time.Second)
			if _, err := r.End(t.Context(), handle, "", false); err != nil {
				t.Error(err)
			}
		}()
		_, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{})
		wantCode(t, err, "session-expired", "")
		if got := r.helseID.revoked; len(got) != 2 || got[1] != "rt-1" {
			t.Errorf("%d tokens revoked, want the new one too", len(got))
		}
	})
}

func TestAdopt(t *testing.T) {
	tests := map[string]struct {
		prepare      func(*fakeHelseID)
		expect       session.Expect
		code, reason string
		token        string
	}{
		"rotated":      {token: "rt-1"},
		"not rotated":  {prepare: func(f *fakeHelseID) { f.rotate = false }, token: "rt-0"},
		"spent before": {prepare: func(f *fakeHelseID) { f.refresh = func(int) (*helseid.Grant, error) { return nil, invalidGrant{} } }, code: "handover-refused", reason: "invalid-grant"},
		"level 3":      {prepare: func(f *fakeHelseID) { f.verifyErr = refused{code: "login-failed", reason: "level-too-low"} }, code: "handover-refused", reason: "level-too-low"},
		"HelseID down": {prepare: func(f *fakeHelseID) { f.refresh = func(int) (*helseid.Grant, error) { return nil, noAnswer{} } }, code: "helseid-unavailable"},
		"other person": {expect: session.Expect{HPRNumber: "7654321"}, code: "person-mismatch"},
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

// downStore fails whatever it is asked.
func TestErrorsOfTheStoreAreTheirOwn(t *testing.T) {
	r := newRig(t)
	_, err := r.Refresh(t.Context(), "no-such-session", helseid.Request{})
	wantCode(t, err, "session-unknown", "")
	if p, ok := errors.AsType[*session.Error](err); !ok || !p.Permanent() {
		t.Error("an unknown session may be remembered as such")
	}
}
