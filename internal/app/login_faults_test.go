package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// change returns an address with its query changed.
func change(t *testing.T, address string, by func(url.Values)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("the address can't be read")
	}
	q := u.Query()
	by(q)
	u.RawQuery = q.Encode()
	return u.String()
}

func put(name, value string) func(url.Values) {
	return func(q url.Values) { q.Set(name, value) }
}

func drop(name string) func(url.Values) {
	return func(q url.Values) { q.Del(name) }
}

// A callback that was tampered with makes no session. What can't be tied to the
// log-in leaves it waiting for the true answer; a wrong code ends it.
func TestForgedCallbacks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		forge  func(url.Values)
		reason string // of the failed session; "" = it goes on waiting
	}{
		"state forged":  {forge: put("state", "forged")},
		"state missing": {forge: drop("state")},
		"no query":      {forge: func(q url.Values) { clear(q) }},
		"iss forged":    {forge: put("iss", "https://evil.example")},
		"iss missing":   {forge: drop("iss")},
		"error forged":  {forge: func(q url.Values) { q.Set("error", "access_denied"); q.Set("state", "forged") }},
		"code forged":   {forge: put("code", "forged"), reason: "expired"},
		"code missing":  {forge: drop("code"), reason: "expired"},
	}
	w := newWorld(t, setup{})
	for name, tt := range tests {
		handle, link := w.begin("{}")
		b := w.newBrowser()
		back := b.toCallback(link, "lege")
		page := b.open(change(t, back, tt.forge))
		if page.status != http.StatusBadRequest || page.header.Get("Sidecar-Error") != "login-failed" {
			t.Errorf("%s: %d %s", name, page.status, page.header.Get("Sidecar-Error"))
		}
		state, why := w.state(handle, "")
		if tt.reason == "" {
			if page := b.open(back); state != "pending" || page.status != http.StatusOK {
				t.Errorf("%s: the session was %s, and the true callback got %d %s", name, state, page.status, page.header.Get("Sidecar-Error"))
			}
			w.wantCode(w.call(handle, 0), "")
			continue
		}
		if state != "failed" || why.Reason != tt.reason || !strings.Contains(why.Hint, "POST /_sidecar/sessions") {
			t.Errorf("%s: the session is %s for %s", name, state, why.Reason)
		}
		w.wantCode(b.open(back), "login-failed")
		w.wantCode(w.call(handle, 0), "login-failed")
	}
}

// The same at the callback for web EPJs, with problem documents.
func TestForgedCallbacksOfAWebEPJ(t *testing.T) {
	t.Parallel()
	w := newWebWorld(t)
	for name, tt := range map[string]struct {
		forge          func(url.Values)
		reason, status string
	}{
		"state forged": {put("state", "forged"), "state-unknown", "pending"},
		"iss forged":   {put("iss", "https://evil.example"), "state-unknown", "pending"},
		"code forged":  {put("code", "forged"), "expired", "failed"},
	} {
		handle, came := w.webLogIn("lege")
		tt.forge(came)
		a := w.callback(members(came))
		if p := problemOf(t, a); a.status != http.StatusBadRequest || p.Reason != tt.reason || p.Retryable || !strings.Contains(p.Hint, "POST /_sidecar/sessions") {
			t.Errorf("%s: %d %s", name, a.status, p.Reason)
		}
		if state, _ := w.state(handle, ""); state != tt.status {
			t.Errorf("%s: the session is %s", name, state)
		}
	}
}

// Two log-ins of one browser whose states were exchanged: neither becomes the
// other's.
func TestSwappedStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	b := w.newBrowser()
	var handles, backs, states []string
	for _, person := range []string{"lege", "vikar"} {
		handle, link := w.begin("{}")
		back := b.toCallback(link, person)
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal("the callback's address can't be read")
		}
		handles, backs, states = append(handles, handle), append(backs, back), append(states, u.Query().Get("state"))
	}
	for i := range 2 {
		w.wantCode(b.open(change(t, backs[i], put("state", states[1-i]))), "login-failed")
	}
	for _, handle := range handles {
		w.wantCode(w.call(handle, 0), "login-failed")
	}
}

// A code whose time is over, or that comes a second time, ends the log-in and says so.
func TestCodeThatExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.CodeSeconds = -1 })
	handle, link := w.begin("{}")
	page := w.browse(link, "lege")
	if page.status != http.StatusBadRequest || !strings.Contains(string(page.body), "tok for lang tid") {
		t.Errorf("the page does not say that it took too long: %d", page.status)
	}
	if state, why := w.state(handle, ""); state != "failed" || why.Reason != "expired" {
		t.Errorf("the session is %s for %s", state, why.Reason)
	}
}

// tamper spoils the signature of every ID token.
func tamper(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		var members map[string]any
		if json.Unmarshal(body, &members) == nil {
			if token, ok := members["id_token"].(string); ok {
				head, signature := token[:strings.LastIndexByte(token, '.')+1], token[strings.LastIndexByte(token, '.')+1:]
				first := "A"
				if signature[0] == 'A' {
					first = "B"
				}
				body = bytes.Replace(body, []byte(token), []byte(head+first+signature[1:]), 1)
			}
		}
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

// An ID token that is not for this log-in, or not of HelseID, makes no session,
// and the log-in that came with it is revoked.
func TestWrongIDTokens(t *testing.T) {
	t.Parallel()
	override := func(claim string, value any) func(*simulator.Knobs) {
		return func(k *simulator.Knobs) { k.HelseID.IDTokenOverrides = map[string]any{claim: value} }
	}
	const pid = "helseid://claims/identity/pid"
	past := time.Now().Add(-time.Hour).Unix()
	tests := map[string]struct {
		knobs  func(*simulator.Knobs)
		tamper bool
		body   string
		code   string // "" = login-failed
		reason string // "" = id-token-invalid, with login-failed
		kept   bool   // nothing came that could be revoked
	}{
		"signature":      {tamper: true},
		"issuer":         {knobs: override("iss", "https://evil.example")},
		"issuer missing": {knobs: override("iss", nil)},
		"audience":       {knobs: override("aud", "another-client")},
		"two audiences":  {knobs: override("aud", []string{clientID, "another-client"})},
		"nonce":          {knobs: override("nonce", "forged")},
		"nonce missing":  {knobs: override("nonce", nil)},
		"expired":        {knobs: override("exp", past)},
		"from tomorrow":  {knobs: override("iat", time.Now().Add(24*time.Hour).Unix())},
		"nobody":         {knobs: override("sub", nil)},
		"no pid":         {knobs: override(pid, nil)},
		"level 3":        {knobs: override("helseid://claims/identity/security_level", "3"), reason: "level-too-low"},
		"level missing":  {knobs: override("helseid://claims/identity/security_level", nil), reason: "level-too-low"},
		"no ID token":    {knobs: func(k *simulator.Knobs) { k.HelseID.OmitIDToken = true }, kept: true},
		"another person": {
			knobs: override(pid, simulator.Persons()[1].PID), body: `{"expect":{"pid":"13827015061"}}`, code: "person-mismatch",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup{}
			if tt.tamper {
				s.helseID = tamper
			}
			w := newWorld(t, s)
			if tt.knobs != nil {
				w.sim.SetKnobs(tt.knobs)
			}
			if tt.body == "" {
				tt.body = "{}"
			}
			if tt.code == "" {
				tt.code = "login-failed"
				if tt.reason == "" {
					tt.reason = "id-token-invalid"
				}
			}
			handle, link := w.begin(tt.body)
			w.wantCode(w.browse(link, "lege"), tt.code)
			state, why := w.state(handle, "")
			if state != "failed" || !strings.HasSuffix(why.Type, ":"+tt.code) || why.Reason != tt.reason || why.Hint == "" || why.Retryable {
				t.Errorf("the session is %s for %s, %s", state, why.Type, why.Reason)
			}
			a := w.call(handle, 0)
			w.wantCode(a, "login-failed") // whatever it failed of
			if p := problemOf(t, a); p.Hint == "" || p.Reason != tt.reason {
				t.Errorf("the call is told %s, %s", p.Reason, p.Hint)
			}
			if n := w.requestsTo("revocation"); (n == 1) == tt.kept {
				t.Errorf("%d log-ins were revoked", n)
			}
			if n := len(w.sim.Ledger()); n != 0 {
				t.Errorf("SFM saw %d calls", n)
			}
		})
	}
}

// helseIDFaults are the ways in which HelseID is not there.
var helseIDFaults = map[string]simulator.Fault{
	"answers 503": {Status: http.StatusServiceUnavailable},
	"hangs up":    {Reset: true},
	"is silent":   {DelayMS: 3000},
}

// HelseID goes away in the middle of each step of a log-in. Nobody waits for long,
// the refusal says what to do, and when HelseID is back the same log-in goes on.
func TestHelseIDDownWithinALogIn(t *testing.T) {
	t.Parallel()
	steps := map[string]string{
		"pushing the request": "/connect/par", "exchanging the code": "/connect/token",
		"fetching the keys": "/.well-known/openid-configuration/jwks",
	}
	for step, path := range steps {
		for how, fault := range helseIDFaults {
			t.Run(step+", "+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, setup{env: []string{"HELSEID_TIMEOUT=1s"}})
				fault.Path = path
				handle, link := w.begin("{}")
				b := w.newBrowser()
				address := link
				if step != "pushing the request" {
					address = b.toCallback(link, "lege")
				}
				w.sim.SetKnobs(helseID(fault))
				begun := time.Now()
				page := b.open(address)
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("the person waited %v", took)
				}
				if page.header.Get("Sidecar-Error") != "helseid-unavailable" || page.status != http.StatusServiceUnavailable ||
					page.header.Get("Retry-After") == "" || !strings.Contains(string(page.body), "last denne siden på nytt") {
					t.Errorf("%d %s", page.status, page.header.Get("Sidecar-Error"))
				}
				w.wantCode(w.call(handle, 0), "session-pending")
				w.sim.SetKnobs(helseID(simulator.Fault{}))
				good := http.StatusOK
				if step == "pushing the request" {
					good = http.StatusFound
				}
				// A fetch of keys that failed is not repeated at once.
				eventually(t, "the page, loaded anew", func() bool { return b.open(address).status == good })
				if good == http.StatusFound {
					b.open(b.toCallback(link, "lege"))
				}
				w.wantCode(w.call(handle, 0), "")
			})
		}
	}
}

// The answer to the code exchange is lost: HelseID may have taken the code, so a
// second try may be refused; then the person is told to begin again.
func TestLostAnswerToACode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, link := w.begin("{}")
	b := w.newBrowser()
	back := b.toCallback(link, "lege")
	w.sim.SetKnobs(helseID(simulator.Fault{Path: "/connect/token", DropAnswer: true, Count: 1}))
	w.wantCode(b.open(back), "helseid-unavailable")
	w.wantCode(b.open(back), "login-failed")
	if state, why := w.state(handle, ""); state != "failed" || why.Reason != "expired" {
		t.Errorf("the session is %s for %s", state, why.Reason)
	}
	w.wantCode(w.call(handle, 0), "login-failed")
}

// HelseID's own page fails: the link leads to a new one.
func TestHelseIDsPageFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, link := w.begin("{}")
	b := w.newBrowser()
	page := b.open(link)
	w.sim.SetKnobs(helseID(simulator.Fault{Path: "/connect/authorize", Status: http.StatusServiceUnavailable, Count: 1}))
	if got := b.open(page.header.Get("Location") + "&auto=lege").status; got != http.StatusServiceUnavailable {
		t.Fatalf("HelseID's page: %d", got)
	}
	w.wantCode(w.call(handle, 0), "session-pending")
	b.open(b.toCallback(link, "lege"))
	w.wantCode(w.call(handle, 0), "")
}

// HelseID goes away when a tenant's token is wanted; the session outlives it.
func TestHelseIDDownWithinARefresh(t *testing.T) {
	t.Parallel()
	for how, fault := range helseIDFaults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{env: []string{"HELSEID_TIMEOUT=1s"}})
			handle := w.logIn("lege")
			w.sim.SetKnobs(helseID(fault))
			begun := time.Now()
			a := w.call(handle, 0)
			w.wantCode(a, "helseid-unavailable")
			if p := problemOf(t, a); !p.Retryable || p.Hint == "" || a.header.Get("Retry-After") == "" {
				t.Errorf("the refusal does not say when to try again: %+v", p)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("the caller waited %v", took)
			}
			w.sim.SetKnobs(helseID(simulator.Fault{}))
			eventually(t, "a call that goes through", func() bool { return w.call(handle, 0).status == http.StatusOK })
			if n := w.sim.Reuses(); n != 0 {
				t.Errorf("%d refresh tokens were used twice", n)
			}
		})
	}
}

// A web EPJ may simply bring its callback again when HelseID is back.
func TestHelseIDDownWithinALogInOfAWebEPJ(t *testing.T) {
	t.Parallel()
	w := newWebWorld(t)
	handle, came := w.webLogIn("lege")
	w.sim.SetKnobs(helseID(simulator.Fault{Path: "/connect/token", Status: http.StatusServiceUnavailable, RetryAfter: 3}))
	a := w.callback(members(came))
	if p := problemOf(t, a); a.status != http.StatusServiceUnavailable || !p.Retryable || a.header.Get("Retry-After") != "3" {
		t.Errorf("%d %s", a.status, p.Type)
	}
	w.sim.SetKnobs(helseID(simulator.Fault{}))
	if a := w.callback(members(came)); a.status != http.StatusOK {
		t.Errorf("again: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "")
}
