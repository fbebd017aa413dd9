package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// user is the sub of the person of an active session, "" otherwise.
func (w *world) user(handle string) string {
	w.t.Helper()
	a := w.send(w.request(http.MethodGet, "/_sidecar/session", "", "Sfm-Session", handle))
	var v struct {
		User struct {
			Sub string `json:"sub"`
		} `json:"user"`
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		w.t.Fatal(err)
	}
	return v.User.Sub
}

// requestsTo counts what reached an endpoint of HelseID: par, token or revocation.
func (w *world) requestsTo(endpoint string) int {
	return len(slices.DeleteFunc(w.sim.TokenRequests(), func(r simulator.TokenRequest) bool { return r.Endpoint != endpoint }))
}

// Several log-ins go on at once, in one browser and in several, and none becomes
// another's.
func TestSeveralLogInsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	persons := []string{"lege", "vikar", "sykepleier", "sekretar"}
	subs := map[string]string{}
	for _, p := range simulator.Persons() {
		subs[p.ID] = p.Subject
	}
	shared := w.newBrowser()
	type login struct {
		handle, back, person string
		b                    *browser
	}
	var all []login
	for i := range 8 {
		b := shared
		if i%2 == 1 {
			b = w.newBrowser()
		}
		handle, link := w.begin("{}")
		person := persons[i%len(persons)]
		all = append(all, login{handle, b.toCallback(link, person), person, b})
	}
	slices.Reverse(all)
	for _, l := range all {
		if page := l.b.open(l.back); page.status != http.StatusOK {
			t.Fatalf("finishing: %d %s", page.status, page.header.Get("Sidecar-Error"))
		}
	}
	for i, l := range all {
		if got := w.user(l.handle); got != subs[l.person] {
			t.Errorf("log-in %d is that of %s, want %s", i, got, subs[l.person])
		}
		id := fmt.Sprintf("several-%d", i)
		w.wantCode(w.send(w.request(http.MethodGet, "/basis/Task", "", append(headers(l.handle, simulator.Tenants()[i]), "X-Request-Id", id)...)), "")
		if ops := w.operations(id); len(ops) != 1 || ops[0].Subject != subs[l.person] {
			t.Errorf("SFM saw another person in call %d", i)
		}
	}
}

// Nothing is asked of HelseID before the browser opens the link, however late that
// is; and a page that stood open too long is opened anew by the same link.
func TestSlowPerson(t *testing.T) {
	t.Parallel()
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.RequestURISeconds = 1
	w := newWorld(t, setup{sim: simulator.Options{Knobs: &knobs}})
	handle, link := w.begin("{}")
	if n := w.requestsTo("par"); n != 0 {
		t.Errorf("%d requests were pushed before the browser came", n)
	}
	b := w.newBrowser()
	page := b.open(link)
	if n := w.requestsTo("par"); n != 1 {
		t.Errorf("%d requests were pushed, want 1", n)
	}
	eventually(t, "the end of the page's time", func() bool {
		return b.open(page.header.Get("Location")).status == http.StatusBadRequest
	})
	if page := b.open(b.toCallback(link, "lege")); page.status != http.StatusOK {
		t.Errorf("the link does not lead to a new page: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "")
}

// What the EPJ says of who must log in is held to, whichever way it says it.
func TestExpectedPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	person := simulator.Persons()[0]
	for member, value := range map[string]string{"pid": person.PID, "sub": person.Subject, "hpr_number": person.HPRNumber} {
		body := fmt.Sprintf(`{"expect":{%q:%q}}`, member, value)
		handle, link := w.begin(body)
		w.browse(link, "lege")
		w.wantCode(w.call(handle, 0), "")
		handle, link = w.begin(body)
		w.wantCode(w.browse(link, "vikar"), "person-mismatch")
		a := w.call(handle, 0)
		w.wantCode(a, "login-failed")
		if p := problemOf(t, a); p.Retryable || p.Hint == "" {
			t.Errorf("%s: the refusal does not say what to do", member)
		}
	}
	if n := w.requestsTo("revocation"); n != 3 {
		t.Errorf("%d log-ins of another person were revoked, want 3", n)
	}
	a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", `{"expect":{"pid":"13827015061","sub":"sub-7f3b2c90"}}`))
	w.wantCode(a, "request-invalid")
	if n := len(w.sim.Ledger()); n != 3 {
		t.Errorf("SFM saw %d calls, want those of the expected person", n)
	}
}

// webRedirect is the callback of a web EPJ, which the simulator's browser never
// really opens.
const webRedirect = "https://epj.example/helseid/callback"

func newWebWorld(t *testing.T) *world {
	t.Helper()
	return newWorld(t, setup{client: func(c *simulator.Client) { c.RedirectURIs = append(c.RedirectURIs, webRedirect) }})
}

// webLogIn is a log-in of a web EPJ up to its own callback, and what came there.
func (w *world) webLogIn(person string) (handle string, came url.Values) {
	w.t.Helper()
	pushed := w.requestsTo("par")
	handle, link := w.begin(fmt.Sprintf(`{"redirect_uri":%q}`, webRedirect))
	if n := w.requestsTo("par"); n != pushed+1 {
		w.t.Errorf("%d requests were pushed, want one at once", n-pushed)
	}
	back, err := url.Parse(w.newBrowser().open(link + "&auto=" + person).header.Get("Location"))
	if err != nil || back.Scheme+"://"+back.Host+back.Path != webRedirect {
		w.t.Fatal("HelseID did not send the browser to the EPJ")
	}
	return handle, back.Query()
}

// callback hands over what came to the EPJ's own address.
func (w *world) callback(members map[string]string) answer {
	w.t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send(w.request(http.MethodPost, "/_sidecar/sessions/callback", string(body)))
}

func members(q url.Values) map[string]string {
	m := map[string]string{}
	for _, name := range []string{"code", "state", "iss", "error", "error_description"} {
		if q.Has(name) {
			m[name] = q.Get(name)
		}
	}
	return m
}

func TestLogInOfAWebEPJ(t *testing.T) {
	t.Parallel()
	w := newWebWorld(t)
	handle, came := w.webLogIn("lege")
	w.wantCode(w.call(handle, 0), "session-pending")
	// The state belongs to the EPJ's address; our own page does not take it.
	own := w.newBrowser().open(w.base + "/_sidecar/callback?" + came.Encode())
	w.wantCode(own, "login-failed")
	if a := w.callback(members(came)); a.status != http.StatusOK || string(a.body) != `{"state":"active"}`+"\n" {
		t.Fatalf("the callback: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "")

	again := w.callback(members(came))
	if p := problemOf(t, again); again.status != http.StatusBadRequest || p.Reason != "replayed" || p.Retryable {
		t.Errorf("a second time: %d %s", again.status, p.Reason)
	}
	w.wantCode(w.call(handle, 1), "")

	handle, came = w.webLogIn("deny")
	if p := problemOf(t, w.callback(members(came))); p.Reason != "denied" {
		t.Errorf("cancelled: %s", p.Reason)
	}
	if state, why := w.state(handle, ""); state != "failed" || why.Reason != "denied" {
		t.Errorf("cancelled: the session is %s for %s", state, why.Reason)
	}
	a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", `{"redirect_uri":"https://other.example/"}`))
	if p := problemOf(t, a); a.status != http.StatusBadGateway || p.Origin != "helseid" {
		t.Errorf("an address that is not registered: %d %s", a.status, p.Type)
	}
}

// A callback that comes with another log-in's session is refused, and the log-in
// it belongs to goes on waiting: nobody can send his own log-in to somebody else.
func TestWebEPJBindsTheBrowser(t *testing.T) {
	t.Parallel()
	w := newWebWorld(t)
	mine, _ := w.webLogIn("vikar")
	lured, came := w.webLogIn("lege")
	body, err := json.Marshal(members(came))
	if err != nil {
		t.Fatal(err)
	}
	bound := func(handle string) answer {
		return w.send(w.request(http.MethodPost, "/_sidecar/sessions/callback", string(body), "Sfm-Session", handle))
	}
	a := bound(mine)
	if p := problemOf(t, a); a.status != http.StatusBadRequest || p.Reason != "browser-changed" {
		t.Errorf("another log-in's session: %d %s", a.status, p.Reason)
	}
	w.wantCode(bound(""), "request-invalid")
	for _, handle := range []string{mine, lured} {
		w.wantCode(w.call(handle, 0), "session-pending")
	}
	if a := bound(lured); a.status != http.StatusOK {
		t.Errorf("its own session: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(lured, 0), "")
}

// A session that nobody uses ends by itself, and HelseID is told.
func TestUnusedSessionIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SIDECAR_SESSION_IDLE=1s"}})
	handle := w.logIn("lege")
	eventually(t, "the revocation", func() bool { return w.requestsTo("revocation") == 1 })
	w.wantEnded(w.call(handle, 0))
	if len(w.refreshes()) != 0 {
		t.Error("a token was fetched for a session that had ended")
	}
}

// Another person's answer to a refresh ends the session, at HelseID too.
func TestOtherPersonsLogInIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle := w.logIn("lege")
	w.sim.SetKnobs(claim("helseid://claims/identity/pid", simulator.Persons()[1].PID))
	a := w.call(handle, 0)
	w.wantCode(a, "token-mismatch")
	if p := problemOf(t, a); p.Retryable || p.Hint == "" || p.Reason == "" {
		t.Errorf("the refusal does not say what happened: %+v", p)
	}
	eventually(t, "the revocation", func() bool { return w.requestsTo("revocation") == 1 })
	w.wantEnded(w.call(handle, 1))
	last := w.sim.TokenRequests()[len(w.sim.TokenRequests())-1]
	if last.Outcome != "granted" || last.Ordinal != 2 {
		t.Errorf("the revoked token is number %d of its log-in (%s), want the newest", last.Ordinal, last.Outcome)
	}
	if n := len(w.sim.Ledger()); n != 0 {
		t.Errorf("SFM saw %d calls", n)
	}
}

// A refresh without a new refresh token leaves the old one in use; one with a new
// token makes the old one worthless.
func TestRefreshTokenThatStaysOrGoes(t *testing.T) {
	t.Parallel()
	for name, rotates := range map[string]bool{"stays": false, "goes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{})
			w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.RotationOff, k.HelseID.OmitRefreshToken = !rotates, !rotates })
			handle := w.logIn("lege")
			for tenant := range 4 {
				w.wantCode(w.call(handle, tenant), "")
			}
			for i, r := range w.refreshes() {
				want := 1
				if rotates {
					want = i + 1
				}
				if r.Ordinal != want {
					t.Errorf("refresh %d was made with token %d of the log-in, want %d", i, r.Ordinal, want)
				}
			}
			if n := w.sim.Reuses(); n != 0 || len(w.refreshes()) != 4 {
				t.Errorf("%d refreshes, %d tokens used twice", len(w.refreshes()), n)
			}
		})
	}
}

// A log-in may be asked to be no older than so many seconds; one that HelseID says
// is older is not taken.
func TestLogInOlderThanAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.sim.SetKnobs(func(k *simulator.Knobs) {
		k.HelseID.IDTokenOverrides = map[string]any{"auth_time": time.Now().Add(-2 * time.Hour).Unix()}
	})
	handle, link := w.begin(`{"max_auth_age":3600}`)
	w.wantCode(w.browse(link, "lege"), "login-failed")
	if state, why := w.state(handle, ""); state != "failed" || why.Reason != "id-token-invalid" {
		t.Errorf("the session is %s for %s", state, why.Reason)
	}
	_, link = w.begin(`{"max_auth_age":10800}`)
	if page := w.browse(link, "lege"); page.status != http.StatusOK {
		t.Errorf("young enough: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
}
