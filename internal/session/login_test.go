package session_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
