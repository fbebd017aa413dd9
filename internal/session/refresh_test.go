package session_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
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

// The end of a log-in moves with its refresh tokens, and stays where HelseID does
// not say.
func TestRefreshMovesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle := r.active(t)
		begun := time.Now()
		for i, tt := range []struct{ lifetime, end time.Duration }{{0, 8 * time.Hour}, {6 * time.Hour, 7 * time.Hour}} {
			time.Sleep(time.Duration(i) * time.Hour)
			r.helseID.lifetime = tt.lifetime
			if _, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{}); err != nil {
				t.Fatal(err)
			}
			s, err := r.Status(t.Context(), handle, "", 0)
			if got := s.Expires.Sub(begun); err != nil || got != tt.end {
				t.Errorf("with a lifetime of %v it ends after %v, want %v (%v)", tt.lifetime, got, tt.end, err)
			}
		}
	})
}

// What is revoked is the newest refresh token, though a refresh ran between the
// look at the session and its end.
func TestEndBesidesRefresh(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	r.store.change = func(key store.Key) {
		r.store.change = nil
		if key.Kind != session.KindRecord {
			t.Errorf("changed %s first", key.Kind)
		}
		if _, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.End(t.Context(), handle, "", false); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.helseID.revoked, " "); got != "rt-1" {
		t.Errorf("revoked %q, want rt-1", got)
	}
}

// Time that went by in the queue is not taken from a refresh, and who did not
// get through in time is told so, not that the store is down.
func TestRefreshIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		id := r.ID(r.active(t))
		r.helseID.took = 20 * time.Second
		var wg sync.WaitGroup
		for i, patience := range []time.Duration{10 * time.Second, 30 * time.Second, 30 * time.Second} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := r.Refresh(ctx, id, helseid.Request{})
				if through := i < 2; through != (err == nil) {
					t.Errorf("refresh %d: %v", i, err)
				}
				if _, ours := errors.AsType[*session.Error](err); ours {
					t.Errorf("refresh %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if got := r.helseID.asked(); got != 2 {
			t.Errorf("HelseID was asked %d times, want 2", got)
		}
	})
}

func TestUnknownSessionIsPermanent(t *testing.T) {
	_, err := newRig(t).Refresh(t.Context(), "no-such-session", helseid.Request{})
	wantCode(t, err, "session-unknown", "")
	if p, ok := errors.AsType[*session.Error](err); !ok || !p.Permanent() {
		t.Error("an unknown session may be remembered as such")
	}
}

// A session knows the key that its refresh token was obtained with: that of the log-in,
// then that of the last refresh which gave another token.
func TestRefreshNamesTheTokensKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		id := r.ID(r.active(t))
		next := func(n int) (*helseid.Grant, error) {
			switch n {
			case 1:
				return &helseid.Grant{RefreshToken: "rt-a", Thumbprint: "second", Sent: time.Now()}, nil
			case 2: // not rotated
				return &helseid.Grant{Thumbprint: "third", Sent: time.Now()}, nil
			case 3:
				return nil, noAnswer{}
			}
			return &helseid.Grant{RefreshToken: "rt-b", Thumbprint: "fourth", Sent: time.Now()}, nil
		}
		r.helseID.refresh = next
		for range 4 {
			if _, err := r.Refresh(t.Context(), id, helseid.Request{}); err != nil {
				t.Fatal(err)
			}
		}
		var named []string
		for _, asked := range r.helseID.requests {
			named = append(named, asked.Obtained)
		}
		if want := []string{"first", "second", "second", "second", "fourth"}; !slices.Equal(named, want) {
			t.Errorf("%q, want %q", named, want)
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
