package session_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

func TestCallbackRefused(t *testing.T) {
	tests := map[string]struct {
		change       func(*session.Callback)
		prepare      func(*fakeHelseID)
		code, reason string
		failed       bool // whether the session has failed, or still waits
		revoked      bool // whether a refresh token that came is revoked
	}{
		"unknown state":   {change: func(c *session.Callback) { c.State = "forged" }, code: "login-failed", reason: "state-unknown"},
		"other browser":   {change: func(c *session.Callback) { c.Browser = "other" }, code: "login-failed", reason: "browser-changed"},
		"no browser":      {change: func(c *session.Callback) { c.Browser = "" }, code: "login-failed", reason: "browser-changed"},
		"not our page":    {change: func(c *session.Callback) { c.Own = false }, code: "login-failed", reason: "browser-changed"},
		"other issuer":    {change: func(c *session.Callback) { c.Issuer = "https://evil.example" }, code: "login-failed", reason: "state-unknown"},
		"denied":          {change: func(c *session.Callback) { c.Error = "access_denied" }, code: "login-failed", reason: "denied", failed: true},
		"asked for quiet": {change: func(c *session.Callback) { c.Error = "login_required" }, code: "login-failed", reason: "denied", failed: true},
		"not approved":    {change: func(c *session.Callback) { c.Error = "unauthorized_client" }, code: "client-not-approved", failed: true},
		"HelseID down":    {change: func(c *session.Callback) { c.Error = "server_error" }, code: "helseid-unavailable", failed: true},
		"odd error":       {change: func(c *session.Callback) { c.Error = "what_is_this" }, code: "helseid-refused", failed: true},
		"level 3":         {prepare: func(f *fakeHelseID) { f.verifyErr = refused{code: "login-failed", reason: "level-too-low"} }, code: "login-failed", reason: "level-too-low", failed: true, revoked: true},
		"code refused":    {prepare: func(f *fakeHelseID) { f.exchange = func() error { return invalidGrant{} } }, code: "helseid-refused", failed: true},
		"no refresh":      {prepare: func(f *fakeHelseID) { f.valid = "" }, code: "client-not-approved", failed: true},
		"somebody else":   {prepare: func(f *fakeHelseID) { f.person.Subject = "sub-2" }, code: "person-mismatch", failed: true, revoked: true},
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
			if tt.revoked != slices.Equal(r.helseID.revoked, []string{"rt-0"}) {
				t.Errorf("%d refresh tokens revoked, want the log-in's: %v", len(r.helseID.revoked), tt.revoked)
			}
			if tt.failed && tt.code != "" {
				wantCode(t, status.Err, tt.code, tt.reason)
				_, err := r.ByHandle(t.Context(), handle, "")
				wantCode(t, err, "login-failed", tt.reason) // whatever it failed of
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

// Who began a log-in in the browser may leave: the code is spent all the same.
func TestFinishOutlivesItsCaller(t *testing.T) {
	r := newRig(t)
	handle, _, browser, state := r.pending(t, session.Begin{})
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := r.Finish(gone, own(state, browser)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
		t.Error(err)
	}
}

// Whoever waits for the log-in calls at the very moment it is there.
func TestUsableAsSoonAsActive(t *testing.T) {
	r := newRig(t)
	handle, _, browser, state := r.pending(t, session.Begin{})
	looked := false
	r.store.put = func(key store.Key) {
		s, err := r.Status(t.Context(), handle, "", 0)
		if err != nil || s.State == session.Expired {
			t.Errorf("after %s was written: %s, %v", key.Kind, s.State, err)
		}
		looked = looked || s.State == session.Active
	}
	if err := r.Finish(t.Context(), own(state, browser)); err != nil || !looked {
		t.Errorf("finishing: %v; seen active: %v", err, looked)
	}
}

// A log-in that comes back after its session was ended, or after another answer
// finished it, changes nothing, and its refresh token is not left behind.
func TestLogInThatComesTooLate(t *testing.T) {
	tests := map[string]struct {
		meanwhile    func(r *rig, handle, browser string) error
		code, reason string
		state        session.State
	}{
		"ended": {
			meanwhile: func(r *rig, handle, _ string) error {
				_, err := r.End(t.Context(), handle, "", false)
				return err
			},
			code: "session-expired", state: session.Expired,
		},
		"finished": {
			meanwhile: func(r *rig, _, browser string) error {
				return r.Finish(t.Context(), own(r.helseID.pushed[1].State, browser))
			},
			code: "login-failed", reason: "replayed", state: session.Active,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			handle, link, browser, state := r.pending(t, session.Begin{})
			if _, err := r.Open(t.Context(), link, browser); err != nil {
				t.Fatal(err)
			}
			r.helseID.exchange = func() error {
				r.helseID.exchange = nil
				return tt.meanwhile(r, handle, browser)
			}
			wantCode(t, r.Finish(t.Context(), own(state, browser)), tt.code, tt.reason)
			s, err := r.Status(t.Context(), handle, "", 0)
			if err != nil || s.State != tt.state {
				t.Errorf("the session is %s, want %s (%v)", s.State, tt.state, err)
			}
			if len(r.helseID.revoked) != 1 {
				t.Errorf("%d refresh tokens revoked, want 1", len(r.helseID.revoked))
			}
		})
	}
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

func TestForeignCallback(t *testing.T) {
	r := newRig(t)
	b, err := r.Begin(t.Context(), session.Begin{LoginOptions: session.LoginOptions{RedirectURI: "https://epj.example/cb", Prompt: "login"}})
	if err != nil {
		t.Fatal(err)
	}
	a := r.helseID.pushed[0]
	if b.ExpiresIn != time.Minute {
		t.Errorf("the address is said to be good for %v, but HelseID keeps it a minute", b.ExpiresIn)
	}
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

// HelseID's own number and code of an error reach the EPJ through the session.
func TestFailureKeepsHelseIDsWords(t *testing.T) {
	r := newRig(t)
	handle, _, browser, state := r.pending(t, session.Begin{})
	r.helseID.exchange = func() error { return numbered{} }
	if err := r.Finish(t.Context(), own(state, browser)); !errors.Is(err, numbered{}) {
		t.Errorf("finishing: %v", err)
	}
	s, err := r.Status(t.Context(), handle, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, callErr := r.ByHandle(t.Context(), handle, "")
	for code, err := range map[string]error{"client-not-approved": s.Err, "login-failed": callErr} {
		wantCode(t, err, code, "")
		p, ok := errors.AsType[*session.Error](err)
		if !ok || p.HID() != "HID-1008" || p.OAuthError() != "unauthorized_client" || p.Detail() != "not approved" {
			t.Errorf("%v lacks what HelseID said", err)
		}
	}
}

// numbered is an error of HelseID with all its words.
type numbered struct{}

func (numbered) Error() string      { return "client-not-approved" }
func (numbered) Code() string       { return "client-not-approved" }
func (numbered) Detail() string     { return "not approved" }
func (numbered) HID() string        { return "HID-1008" }
func (numbered) OAuthError() string { return "unauthorized_client" }

// Of two answers of HelseID to one log-in that come to two replicas at once, one counts.
func TestStateIsUsedOnce(t *testing.T) {
	a, b := newFleet(t)
	_, _, browser, state := a.pending(t, session.Begin{})
	a.store.change = func(key store.Key) { // between the look at the log-in and its end
		if key.Kind == "state" {
			a.store.change = nil
			if err := b.Finish(t.Context(), own(state, browser)); err != nil {
				t.Error(err)
			}
		}
	}
	wantCode(t, a.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
}
