package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
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
	_, err = newRig(t).ByHandle(t.Context(), r.active(t), "")
	wantCode(t, err, "session-unknown", "")
}

// A session is its owner's alone.
func TestOwner(t *testing.T) {
	r := newRig(t)
	handle, err := r.Adopt(t.Context(), "rt-0", session.Begin{Owner: "1000"})
	if err != nil {
		t.Fatal(err)
	}
	for owner, code := range map[string]string{"": "session-unknown", "1001": "session-unknown", "1000": ""} {
		_, used := r.ByHandle(t.Context(), handle, owner)
		_, looked := r.Status(t.Context(), handle, owner, 0)
		_, ended := r.End(t.Context(), handle, owner, false)
		for _, err := range []error{used, looked, ended} {
			if code != "" {
				wantCode(t, err, code, "")
			}
		}
	}
	_, err = r.ByHandle(t.Context(), handle, "1000")
	wantCode(t, err, "session-expired", "")
}

// IDs are keyed: who reads the store can't try handles, and who shares the key
// shares the sessions.
func TestIDIsKeyed(t *testing.T) {
	var ids []string
	for _, secret := range [][]byte{[]byte("one"), []byte("two"), []byte("one"), nil, nil} {
		m, err := session.New(session.Options{Store: store.NewMemory(), HelseID: newFake(t), Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID("handle"))
	}
	if ids[0] != ids[2] || ids[0] == ids[1] || ids[3] == ids[4] || len(ids[0]) != 43 {
		t.Errorf("%q", ids)
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
		wantCode(t, r.Finish(t.Context(), own(state, browser)), "login-failed", "expired")
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
			wantCode(t, status.Err, "session-expired", "")
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			if len(r.ended) != 1 {
				t.Errorf("told of %d ended sessions, want 1", len(r.ended))
			}
		})
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

func TestStatusWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle, link, browser, state := r.pending(t, session.Begin{})
		begun := time.Now()
		go func() {
			time.Sleep(time.Second)
			if _, err := r.Open(context.WithoutCancel(t.Context()), link, browser); err != nil { // no change of state
				t.Error(err)
			}
			time.Sleep(6 * time.Second)
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
		leaving, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err = r.Status(leaving, handle, "", 30*time.Second); err != nil || time.Since(begun) != 40*time.Second {
			t.Errorf("who left waited until %v, %v", time.Since(begun), err)
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
	e, err := r.store.Get(t.Context(), store.Key{Kind: "session", ID: r.ID(handle)})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"rt-0", "id-token", "synthetic-pid", "sub-1", "Syntetisk"} {
		if strings.Contains(string(e.Value), gone) {
			t.Errorf("an ended session still holds %s", gone)
		}
	}
	_, err = r.ByHandle(t.Context(), handle, "")
	wantCode(t, err, "session-expired", "")
	_, err = r.End(t.Context(), handle, "", false)
	wantCode(t, err, "session-expired", "")
	if u, err := r.Logout(t.Context(), link); err != nil || u != "https://helseid.example/endsession?hint=true" {
		t.Errorf("log-out link: %v", err)
	}
	_, err = r.Logout(t.Context(), link)
	wantCode(t, err, "login-failed", "replayed")
}

// What belongs to the session elsewhere ends while its tokens can still be had, and
// what could not be done there keeps nothing alive.
func TestEndingComesBeforeTheEnd(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	asked := 0
	r.ending = func(ctx context.Context, id string) []string {
		asked++
		if _, err := r.Refresh(ctx, id, helseid.Request{}); err != nil || id != r.ID(handle) {
			t.Errorf("no token could be had: %v", err)
		}
		return []string{"something"}
	}
	ended, err := r.End(t.Context(), handle, "", false)
	if err != nil || len(ended.Undone) != 1 || ended.Undone[0] != "something" {
		t.Errorf("undone %q, %v", ended.Undone, err)
	}
	_, err = r.ByHandle(t.Context(), handle, "")
	wantCode(t, err, "session-expired", "")
	if _, err := r.End(t.Context(), handle, "", false); err == nil || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	other := r.active(t)
	if _, err := r.End(t.Context(), other, "another-user", false); err == nil || asked != 1 {
		t.Error("a stranger ended something")
	}
	pending, _, _, _ := r.pending(t, session.Begin{})
	if _, err := r.End(t.Context(), pending, "", false); err != nil || asked != 1 {
		t.Errorf("a log-in that nobody finished has nothing to end: %v", err)
	}
}

func TestEndWithoutHelseID(t *testing.T) {
	r := newRig(t)
	r.helseID.revokeErr = errors.New("down")
	ended, err := r.End(t.Context(), r.active(t), "", true)
	if err != nil || len(ended.Undone) != 1 {
		t.Errorf("undone %q, %v", ended.Undone, err)
	}
	if ended.EndSessionURL != "https://helseid.example/endsession?hint=true" {
		t.Error("the ID token was asked for, and is not in HelseID's address")
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

func TestHandle(t *testing.T) {
	tests := map[string]struct {
		values []string
		code   string
	}{
		"one":      {[]string{"handle"}, ""},
		"longest":  {[]string{strings.Repeat("x", 256)}, ""},
		"none":     {nil, "session-required"},
		"two":      {[]string{"handle", "handle"}, "request-invalid"},
		"empty":    {[]string{""}, "request-invalid"},
		"too long": {[]string{strings.Repeat("x", 257)}, "request-invalid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			handle, err := session.Handle(http.Header{session.Header: tt.values})
			if tt.code != "" {
				wantCode(t, err, tt.code, "")
				if handle != "" {
					t.Error("a handle beside an error")
				}
			} else if err != nil || handle != tt.values[0] {
				t.Errorf("not read: %v", err)
			}
		})
	}
}

// What a log-in says wins over what the deployment says, and leaves it alone.
func TestParametersOfALogIn(t *testing.T) {
	helseID, deployment := newFake(t), url.Values{"acr_values": {"idp:a"}, "ui_locales": {"nb"}}
	m, err := session.New(session.Options{Store: store.NewMemory(), HelseID: helseID, Params: deployment, Idle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	age := int64(0)
	for _, o := range []session.LoginOptions{{ACRValues: "idp:b", LoginHint: "h", MaxAuthAge: &age}, {}} {
		o.RedirectURI = "https://epj.example/cb"
		if _, err := m.Begin(t.Context(), session.Begin{LoginOptions: o}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"acr_values=idp%3Ab&login_hint=h&max_age=0&ui_locales=nb", "acr_values=idp%3Aa&ui_locales=nb"} {
		if got := helseID.pushed[i].Extra.Encode(); got != want {
			t.Errorf("log-in %d: %s, want %s", i, got, want)
		}
	}
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

func TestNewNeedsItsRooms(t *testing.T) {
	for _, o := range []session.Options{{Store: store.NewMemory()}, {HelseID: newFake(t)}} {
		if _, err := session.New(o); err == nil {
			t.Error("made without a store or without HelseID")
		}
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

// Log-ins cost nothing to begin, so their number is bounded; with time there is
// room again.
func TestBeginIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		begin := func() error { _, err := r.Begin(t.Context(), session.Begin{}); return err }
		for i := range 10_000 {
			if err := begin(); err != nil {
				t.Fatalf("log-in %d: %v", i, err)
			}
		}
		err := begin()
		wantCode(t, err, "limit-reached", "")
		if e, ok := errors.AsType[*session.Error](err); !ok || e.RetryAfter() != session.PendingLifetime {
			t.Errorf("when to try again is not said")
		}
		time.Sleep(session.PendingLifetime)
		if err := begin(); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})
}

// Log-ins that a store in an outage did not take leave room for others when it is back.
func TestBeginWhileTheStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		begin := func() error { _, err := r.Begin(t.Context(), session.Begin{}); return err }
		outage := func(tries int) {
			r.store.full.Store(true)
			for range tries {
				wantCode(t, begin(), "store-unavailable", "")
			}
			r.store.full.Store(false)
		}
		for range 2 { // with places that were never used, and with such that were
			outage(100)
			for i := range 10_000 {
				if i == 5000 {
					outage(10_100)
				}
				if err := begin(); err != nil {
					t.Fatalf("log-in %d: %v", i, err)
				}
			}
			wantCode(t, begin(), "limit-reached", "")
			time.Sleep(session.PendingLifetime)
		}
	})
}

// Where the registered address is the EPJ's own, every log-in goes there.
func TestRegisteredRedirectOfTheEPJ(t *testing.T) {
	f := newFake(t)
	m, err := session.New(session.Options{
		Store: store.NewMemory(), HelseID: f, RedirectURI: "https://epj.example/cb", BaseURL: "http://localhost:8080", Idle: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Begin(t.Context(), session.Begin{})
	if err != nil || !strings.HasPrefix(b.LoginURL, "https://helseid.example/") || f.pushed[0].RedirectURI != "https://epj.example/cb" {
		t.Errorf("the log-in does not begin at HelseID: %v", err)
	}
}

// A refusal of the client itself will not go away while the person waits, so the
// EPJ learns of it; a HelseID that is down may be back at the next reload.
func TestOpenFails(t *testing.T) {
	for name, tt := range map[string]struct {
		err   refused
		state session.State
	}{
		"client refused": {refused{code: "client-not-approved", lasting: true}, session.Failed},
		"HelseID down":   {refused{code: "helseid-unavailable"}, session.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.helseID.pushErr = tt.err
			begun, err := r.Begin(t.Context(), session.Begin{})
			if err != nil {
				t.Fatal(err)
			}
			link := begun.LoginURL[len("http://localhost:8080"+session.LoginPath):]
			opened, err := r.Open(t.Context(), link, "")
			wantCode(t, err, tt.err.code, "")
			s, err := r.Status(t.Context(), begun.Handle, "", 0)
			if err != nil || s.State != tt.state {
				t.Fatalf("state %s, %v", s.State, err)
			}
			if s.State == session.Failed {
				wantCode(t, s.Err, tt.err.code, "")
				return
			}
			r.helseID.pushErr = nil
			if _, err := r.Open(t.Context(), link, opened.Browser); err != nil {
				t.Errorf("the page can't be reloaded: %v", err)
			}
		})
	}
}
