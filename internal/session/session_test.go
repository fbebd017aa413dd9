package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
)

func TestLogIn(t *testing.T) {
	r := newRig(t)
	handle, _, browser, state := r.pending(t, session.Begin{})
	if _, err := r.ByHandle(t.Context(), handle, ""); err == nil {
		t.Error("a pending session can be used")
	} else {
		wantCode(t, err, "session-pending", "")
	}
	if err := r.Finish(t.Context(), own(state, browser)); err != nil {
		t.Fatal(err)
	}
	s, err := r.ByHandle(t.Context(), handle, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.PID != "synthetic-pid" || s.ID == handle || strings.Contains(s.ID, handle) {
		t.Error("the session is not the person's, or its ID gives the handle away")
	}
	status, err := r.Status(t.Context(), handle, "", 0)
	if err != nil || status.State != session.Active || status.Person.Name != "Syntetisk Lege" || status.Expires.IsZero() {
		t.Errorf("status %v %v, error %v", status.State, status.Expires, err)
	}
	a := r.helseID.pushed[0]
	if a.RedirectURI != "http://localhost:8080/_sidecar/callback" || a.Nonce == "" || len(a.Challenge) != 43 || len(a.Scopes) != 2 {
		t.Errorf("pushed with redirect %q, nonce of %d, challenge of %d, scopes %v", a.RedirectURI, len(a.Nonce), len(a.Challenge), a.Scopes)
	}
}

func TestUnknownHandle(t *testing.T) {
	r := newRig(t)
	_, err := r.ByHandle(t.Context(), "no-such-handle", "")
	wantCode(t, err, "session-unknown", "")
	_, err = r.ByHandle(t.Context(), r.active(t), "another user")
	wantCode(t, err, "session-unknown", "")
}

func TestCallbackRefused(t *testing.T) {
	tests := map[string]struct {
		change       func(*session.Callback)
		prepare      func(*fakeHelseID)
		code, reason string
		failed       bool // whether the session has failed, or still waits
	}{
		"unknown state":   {change: func(c *session.Callback) { c.State = "forged" }, code: "login-failed", reason: "state-unknown"},
		"other browser":   {change: func(c *session.Callback) { c.Browser = "other" }, code: "login-failed", reason: "browser-changed"},
		"no browser":      {change: func(c *session.Callback) { c.Browser = "" }, code: "login-failed", reason: "browser-changed"},
		"not our page":    {change: func(c *session.Callback) { c.Own = false }, code: "login-failed", reason: "browser-changed"},
		"other issuer":    {change: func(c *session.Callback) { c.Issuer = "https://evil.example" }, code: "login-failed", reason: "state-unknown"},
		"denied":          {change: func(c *session.Callback) { c.Error = "access_denied" }, code: "login-failed", reason: "denied", failed: true},
		"HelseID down":    {change: func(c *session.Callback) { c.Error = "server_error" }, code: "helseid-unavailable", failed: true},
		"odd error":       {change: func(c *session.Callback) { c.Error = "what_is_this" }, code: "helseid-refused", failed: true},
		"level 3":         {prepare: func(f *fakeHelseID) { f.verifyErr = refused{code: "login-failed", reason: "level-too-low"} }, code: "login-failed", reason: "level-too-low", failed: true},
		"code refused":    {prepare: func(f *fakeHelseID) { f.exchange = func() error { return invalidGrant{} } }, code: "helseid-refused", failed: true},
		"no refresh":      {prepare: func(f *fakeHelseID) { f.valid = "" }, code: "client-not-approved", failed: true},
		"somebody else":   {prepare: func(f *fakeHelseID) { f.person.Subject = "sub-2" }, code: "person-mismatch", failed: true},
		"unclear failure": {prepare: func(f *fakeHelseID) { f.exchange = func() error { return errors.New("boom") } }, code: "", failed: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			handle, _, browser, state := r.pending(t, session.Begin{Expect: session.Expect{Subject: "sub-1"}})
			c := own(state, browser)
			if tt.change != nil {
				tt.change(&c)
			}
			if tt.prepare != nil {
				tt.prepare(r.helseID)
			}
			err := r.Finish(t.Context(), c)
			if tt.code != "" {
				wantCode(t, err, tt.code, tt.reason)
			} else if err == nil {
				t.Error("finished")
			}
			status, err := r.Status(t.Context(), handle, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := status.State == session.Failed; got != tt.failed {
				t.Errorf("state %s, want failed: %v", status.State, tt.failed)
			}
			if tt.failed && tt.code != "" {
				wantCode(t, status.Err, tt.code, tt.reason)
				_, err := r.ByHandle(t.Context(), handle, "")
				wantCode(t, err, tt.code, tt.reason)
			}
		})
	}
}

func TestCallbackIsGoodOnce(t *testing.T) {
	r := newRig(t)
	handle, link, browser, state := r.pending(t, session.Begin{})
	if err := r.Finish(t.Context(), own(state, browser)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
	_, err := r.Open(t.Context(), link, browser)
	wantCode(t, err, "login-failed", "replayed")
	if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
		t.Errorf("the replay ended the session: %v", err)
	}
}

func TestLinkBelongsToTheFirstBrowser(t *testing.T) {
	r := newRig(t)
	_, link, browser, first := r.pending(t, session.Begin{})
	_, err := r.Open(t.Context(), link, "")
	wantCode(t, err, "login-failed", "browser-changed")
	again, err := r.Open(t.Context(), link, browser)
	if err != nil || again.Browser != browser {
		t.Fatalf("the same browser can't open it again: %v", err)
	}
	if second := r.helseID.pushed[1].State; second == first {
		t.Error("the same state twice")
	}
	if err := r.Finish(t.Context(), own(first, browser)); err != nil {
		t.Errorf("the first attempt no longer counts: %v", err)
	}
}

func TestPendingRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle, link, browser, state := r.pending(t, session.Begin{})
		time.Sleep(session.PendingLifetime)
		_, err := r.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "login-failed", "expired")
		_, err = r.Open(t.Context(), link, browser)
		wantCode(t, err, "login-failed", "expired")
		wantCode(t, r.Finish(t.Context(), own(state, browser)), "login-failed", "state-unknown")
	})
}

func TestSessionRunsOut(t *testing.T) {
	t.Run("with the refresh token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			handle := r.active(t)
			time.Sleep(8 * time.Hour)
			_, err := r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			time.Sleep(23 * time.Hour)
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			time.Sleep(2 * time.Hour)
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-unknown", "")
		})
	})
	t.Run("unused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.helseID.lifetime = 0
			handle := r.active(t)
			for range 5 {
				time.Sleep(11 * time.Hour)
				if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
					t.Fatalf("in use: %v", err)
				}
			}
			time.Sleep(12 * time.Hour)
			status, err := r.Status(t.Context(), handle, "", 0)
			if err != nil || status.State != session.Expired || status.Person != (helseid.Person{}) {
				t.Errorf("status %s, %v", status.State, err)
			}
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			if len(r.ended) != 1 {
				t.Errorf("told of %d ended sessions, want 1", len(r.ended))
			}
		})
	})
}

func TestStatusWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle, _, browser, state := r.pending(t, session.Begin{})
		begun := time.Now()
		go func() {
			time.Sleep(7 * time.Second)
			if err := r.Finish(context.WithoutCancel(t.Context()), own(state, browser)); err != nil {
				t.Error(err)
			}
		}()
		s, err := r.Status(t.Context(), handle, "", 30*time.Second)
		if err != nil || s.State != session.Active || time.Since(begun) != 7*time.Second {
			t.Errorf("%s after %v, %v", s.State, time.Since(begun), err)
		}
		s, err = r.Status(t.Context(), handle, "", 30*time.Second)
		if err != nil || s.State != session.Active || time.Since(begun) != 37*time.Second {
			t.Errorf("%s after %v, %v", s.State, time.Since(begun), err)
		}
	})
}

func TestEnd(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	ended, err := r.End(t.Context(), handle, "", false)
	if err != nil {
		t.Fatal(err)
	}
	link, ok := strings.CutPrefix(ended.EndSessionURL, "http://localhost:8080"+session.LogoutPath)
	if !ok {
		t.Fatal("the end-session address is not a local link")
	}
	if got := r.helseID.revoked; len(got) != 1 || got[0] != "rt-0" {
		t.Errorf("revoked %d tokens", len(got))
	}
	if len(r.ended) != 1 || r.ended[0] != r.ID(handle) {
		t.Error("nobody was told that the session ended")
	}
	_, err = r.ByHandle(t.Context(), handle, "")
	wantCode(t, err, "session-expired", "")
	_, err = r.End(t.Context(), handle, "", false)
	wantCode(t, err, "session-expired", "")
	if u, err := r.Logout(t.Context(), link); err != nil || u != "https://helseid.example/endsession?hint=true" {
		t.Errorf("log-out link: %v", err)
	}
	_, err = r.Logout(t.Context(), link)
	wantCode(t, err, "login-failed", "expired")
}

func TestForeignCallback(t *testing.T) {
	r := newRig(t)
	b, err := r.Begin(t.Context(), session.Begin{LoginOptions: session.LoginOptions{RedirectURI: "https://epj.example/cb", Prompt: "login"}})
	if err != nil {
		t.Fatal(err)
	}
	a := r.helseID.pushed[0]
	if b.LoginURL != "https://helseid.example/authorize?request_uri=x" || a.RedirectURI != "https://epj.example/cb" || a.Extra.Get("prompt") != "login" {
		t.Errorf("pushed %q with prompt %q", a.RedirectURI, a.Extra.Get("prompt"))
	}
	c := session.Callback{Code: "code", State: a.State, Issuer: "https://helseid.example"}
	asOwn := c
	asOwn.Own, asOwn.Browser = true, "browser"
	wantCode(t, r.Finish(t.Context(), asOwn), "login-failed", "browser-changed")
	if err := r.Finish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ByHandle(t.Context(), b.Handle, ""); err != nil {
		t.Error(err)
	}
}

func TestAllows(t *testing.T) {
	one := session.Tenant{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}
	upper := one
	upper.Journal = strings.ToUpper(one.Journal)
	other := one
	other.Child = ""
	limited := session.Session{Tenants: []session.Tenant{one}}
	if !limited.Allows(one) || !limited.Allows(upper) || limited.Allows(other) {
		t.Error("the limit to one tenant does not hold")
	}
	if !(session.Session{}).Allows(other) {
		t.Error("no limit refuses")
	}
}
