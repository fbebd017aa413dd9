package app_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/simulator"
)

// browser is a person's browser that shows each step: it follows no redirect by
// itself.
type browser struct {
	w      *world
	client *http.Client
}

func (w *world) newBrowser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &browser{w, &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// open returns the page at an address. No failure quotes the address, which holds
// one-time values.
func (b *browser) open(address string) answer {
	b.w.t.Helper()
	resp, err := b.client.Get(address)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		b.w.t.Fatalf("browsing: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	if resp.Header.Get("Sidecar-Error") != "" {
		seen.keep(string(body) + fmt.Sprint(resp.Header))
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// toCallback opens a log-in link, logs a person in, and returns the address to
// which HelseID sends the browser back.
func (b *browser) toCallback(link, person string) string {
	b.w.t.Helper()
	page := b.open(link)
	if page.status != http.StatusFound {
		b.w.t.Fatalf("opening the log-in link: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	page = b.open(page.header.Get("Location") + "&auto=" + person)
	if page.status != http.StatusFound {
		b.w.t.Fatalf("logging in at HelseID: %d", page.status)
	}
	return page.header.Get("Location")
}

// state is what the sidecar says of a session.
func (w *world) state(handle, query string) (string, problem) {
	w.t.Helper()
	a := w.send(w.request(http.MethodGet, "/_sidecar/session"+query, "", "Sfm-Session", handle))
	var v struct {
		State string  `json:"state"`
		Error problem `json:"error"`
	}
	if err := json.Unmarshal(a.body, &v); a.status != http.StatusOK || err != nil {
		w.t.Fatalf("asking for the session: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	return v.State, v.Error
}

// call makes a call for one of the tenants and returns its answer.
func (w *world) call(handle string, tenant int) answer {
	w.t.Helper()
	return w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, simulator.Tenants()[tenant])...))
}

// wantCode wants a call refused, or answered by SFM if code is "".
func (w *world) wantCode(a answer, code string) {
	w.t.Helper()
	if got := a.header.Get("Sidecar-Error"); got != code || code == "" && a.status != http.StatusOK {
		w.t.Errorf("%d %q, want %q", a.status, got, code)
	}
}

// wantEnded wants a call refused because its session has ended, and told what to do.
func (w *world) wantEnded(a answer) {
	w.t.Helper()
	w.wantCode(a, "session-expired")
	if a.status != http.StatusUnauthorized {
		w.t.Errorf("status %d", a.status)
	}
	if p := problemOf(w.t, a); p.Retryable || !strings.Contains(p.Hint, "POST /_sidecar/sessions") {
		w.t.Errorf("the hint does not lead to a new log-in: %s", p.Hint)
	}
}

// A log-in belongs to the browser that began it, and counts once.
func TestLogInBelongsToItsBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, link := w.begin("{}")
	mine, other := w.newBrowser(), w.newBrowser()

	page := mine.open(link)
	cookies := (&http.Response{Header: page.header}).Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Path != "/_sidecar/" {
		t.Errorf("%d cookies, or one that is not fit", len(cookies))
	}
	back := mine.toCallback(link, "lege") // once more: a reload
	for what, refused := range map[string]answer{"link": other.open(link), "callback": other.open(back)} {
		w.wantCode(refused, "login-failed")
		if refused.status != http.StatusBadRequest || !strings.Contains(refused.header.Get("Content-Type"), "text/html") {
			t.Errorf("the %s in another browser: %d %s", what, refused.status, refused.header.Get("Content-Type"))
		}
	}
	if state, _ := w.state(handle, ""); state != "pending" {
		t.Errorf("after another browser tried, the log-in is %s", state)
	}
	if page := mine.open(back); page.status != http.StatusOK {
		t.Fatalf("the callback: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	w.wantCode(mine.open(back), "login-failed") // code and state a second time
	w.wantCode(mine.open(link), "login-failed")
	if state, _ := w.state(handle, ""); state != "active" {
		t.Errorf("after the callback came twice, the session is %s", state)
	}
	w.wantCode(w.call(handle, 0), "")
}

// A code of another log-in does not become this session's.
func TestStolenCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	b := w.newBrowser()
	handle, link := w.begin("{}")
	address, err := url.Parse(b.toCallback(link, "lege"))
	if err != nil {
		t.Fatal("the callback's address can't be read")
	}
	stranger, strangersLink := w.begin("{}")
	foreign, err := url.Parse(w.newBrowser().toCallback(strangersLink, "vikar"))
	if err != nil {
		t.Fatal("the callback's address can't be read")
	}
	q := address.Query()
	q.Set("code", foreign.Query().Get("code"))
	address.RawQuery = q.Encode()
	if page := b.open(address.String()); page.status != http.StatusBadRequest || page.header.Get("Sidecar-Error") != "login-failed" {
		t.Errorf("%d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "login-failed")
	w.wantCode(w.call(stranger, 0), "session-pending")
}

func TestWaitForLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, link := w.begin("{}")
	begun := time.Now()
	if state, _ := w.state(handle, "?wait=200ms"); state != "pending" || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("%s after %v", state, time.Since(begun))
	}
	b := w.newBrowser()
	back := b.toCallback(link, "lege")
	answered := make(chan string, 1)
	go func() {
		state, _ := w.state(handle, "?wait=50s")
		answered <- state
	}()
	select {
	case state := <-answered:
		t.Fatalf("the question did not wait: %s", state)
	case <-time.After(50 * time.Millisecond): // it waits
	}
	begun = time.Now()
	b.open(back)
	if state := <-answered; state != "active" || time.Since(begun) > 20*time.Second {
		t.Errorf("%s after %v", state, time.Since(begun))
	}
}

func TestEndOfSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"HELSEID_POST_LOGOUT_REDIRECT_URI=http://localhost/"}})
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	calls := len(w.sim.Ledger())
	if n := w.metric("sfm_sidecar_token_cache_entries"); n != 1 {
		t.Errorf("%v tokens are held", n)
	}
	a := w.send(w.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle))
	var end struct {
		URL    string   `json:"end_session_url"`
		Undone []string `json:"undone"`
	}
	if err := json.Unmarshal(a.body, &end); a.status != http.StatusOK || err != nil || len(end.Undone) > 0 {
		t.Fatalf("ending: %d %v", a.status, end.Undone)
	}
	if n := w.metric("sfm_sidecar_token_cache_entries"); n != 0 {
		t.Errorf("%v tokens of the ended session are held", n)
	}
	if strings.Contains(end.URL, "eyJ") {
		t.Error("the EPJ was given the ID token")
	}
	for tenant := range 2 { // the one whose token was held, and another
		w.wantEnded(w.call(handle, tenant))
	}
	w.wantCode(w.send(w.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle)), "session-expired")
	state, why := w.state(handle, "")
	if state != "expired" || why.Type != "urn:sfm-sidecar:problem:session-expired" {
		t.Errorf("the session is %s, for %s", state, why.Type)
	}
	if len(w.sim.Ledger()) != calls {
		t.Error("a call of the ended session reached SFM")
	}
	last := w.sim.TokenRequests()[len(w.sim.TokenRequests())-1]
	if last.Endpoint != "revocation" || last.Outcome != "granted" || last.Login != 1 {
		t.Errorf("the log-in was not revoked at HelseID; the last request was %s", last.Endpoint)
	}
	b := w.newBrowser()
	page := b.open(end.URL)
	if !strings.HasPrefix(page.header.Get("Location"), w.sim.HelseID+"/connect/endsession?") {
		t.Fatalf("the log-out link: %d", page.status)
	}
	if page := b.open(page.header.Get("Location")); page.status != http.StatusFound || page.header.Get("Location") != "http://localhost/" {
		t.Errorf("HelseID's log-out: %d", page.status)
	}
	w.wantCode(b.open(end.URL), "login-failed")
}

// epj plays an EPJ that logs a person in by itself, as the same client.
type epj struct {
	w   *world
	key *dpop.Key
}

// epjRedirect is where HelseID sends this EPJ's browser back; nobody answers there.
const epjRedirect = "http://localhost:9/_sidecar/callback"

// assertion is the client's own, new for each request.
func (e *epj) assertion() string {
	e.w.t.Helper()
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(e.w.key, &jwk); err != nil {
		e.w.t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("client-authentication+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(jwk.Algorithm), Key: jwk}, options)
	if err != nil {
		e.w.t.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: clientID, Subject: clientID, Audience: jwt.Audience{e.w.sim.HelseID}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(10 * time.Second)),
	}).Serialize()
	if err != nil {
		e.w.t.Fatal(err)
	}
	return raw
}

// post sends a form to HelseID and returns the answer's members.
func (e *epj) post(path, nonce string, form url.Values) (answer, map[string]any) {
	e.w.t.Helper()
	form.Set("client_id", clientID)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", e.assertion())
	r := e.w.request(http.MethodPost, "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	target, err := url.Parse(e.w.sim.HelseID + path)
	if err != nil {
		e.w.t.Fatal(err)
	}
	r.URL, r.Host = target, target.Host
	if path == "/connect/token" {
		r.Header.Set("DPoP", e.key.Proof(dpop.Claims{Method: r.Method, URL: dpop.HTU(target), Nonce: nonce}))
	}
	a := e.w.send(r)
	var members map[string]any
	if err := json.Unmarshal(a.body, &members); err != nil && len(a.body) > 0 {
		e.w.t.Fatalf("%s answered %d without JSON", path, a.status)
	}
	return a, members
}

// refreshToken is that of a new log-in which the EPJ made.
func (w *world) refreshToken(person string) (string, *epj) {
	w.t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	e := &epj{w: w, key: key}
	verifier := oauth2.GenerateVerifier()
	_, pushed := e.post("/connect/par", "", url.Values{
		"response_type": {"code"}, "redirect_uri": {epjRedirect}, "state": {rand.Text()}, "nonce": {rand.Text()},
		"scope": {"openid profile offline_access helseid://scopes/identity/pid helseid://scopes/identity/security_level " +
			"helseid://scopes/identity/assurance_level helseid://scopes/hpr/hpr_number " + simulator.SFMScope},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	})
	q := url.Values{"client_id": {clientID}, "request_uri": {fmt.Sprint(pushed["request_uri"])}, "auto": {person}}
	back, err := url.Parse(w.newBrowser().open(w.sim.HelseID + "/connect/authorize?" + q.Encode()).header.Get("Location"))
	if err != nil {
		w.t.Fatal("HelseID sent the browser nowhere")
	}
	grant := url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "code_verifier": {verifier}, "redirect_uri": {epjRedirect},
	}
	challenge, _ := e.post("/connect/token", "", grant)
	_, granted := e.post("/connect/token", challenge.header.Get("DPoP-Nonce"), grant)
	token, ok := granted["refresh_token"].(string)
	if !ok {
		w.t.Fatalf("no refresh token: %v", granted["error"])
	}
	seen.secret(token)
	return token, e
}

// handOver gives a refresh token to the sidecar; more is the rest of the body.
func (w *world) handOver(token, more string) (answer, string) {
	w.t.Helper()
	a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", fmt.Sprintf(`{"refresh_token":%q%s}`, token, more)))
	var made struct {
		Session string `json:"session"`
		State   string `json:"state"`
	}
	if a.status == http.StatusCreated && (json.Unmarshal(a.body, &made) != nil || made.State != "active") {
		w.t.Errorf("the session is %q", made.State)
	}
	if made.Session != "" {
		seen.secret(made.Session)
	}
	return a, made.Session
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	token, _ := w.refreshToken("lege")
	a, handle := w.handOver(token, `,"expect":{"pid":"13827015061"}`)
	if a.status != http.StatusCreated {
		t.Fatalf("handing over: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	if n := len(w.refreshes()); n != 1 {
		t.Errorf("HelseID saw %d refreshes, want one at once", n)
	}
	for tenant := range 3 {
		w.wantCode(w.call(handle, tenant), "")
	}
	for _, op := range w.sim.Ledger() {
		if op.Subject != "sub-7f3b2c90" {
			t.Errorf("SFM saw the person %s", op.Subject)
		}
	}
	if n := w.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}

	a, _ = w.handOver(token, "") // it is spent, and HelseID ends the log-in whose token comes twice
	if p := problemOf(t, a); a.status != http.StatusBadRequest || a.header.Get("Sidecar-Error") != "handover-refused" || p.Reason != "invalid-grant" {
		t.Errorf("a second time: %d %s %s", a.status, a.header.Get("Sidecar-Error"), p.Reason)
	}
	w.wantCode(w.call(handle, 0), "") // its token is good for as long as it lives
	w.wantEnded(w.call(handle, 3))
}

func TestHandOverRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	token, _ := w.refreshToken("vikar")
	w.sim.SetKnobs(tokenFault(simulator.Fault{Status: 503, Count: 1}))
	a, _ := w.handOver(token, "")
	w.wantCode(a, "helseid-unavailable") // and the token is still good
	a, handle := w.handOver(token, `,"expect":{"sub":"sub-7f3b2c90"}`)
	w.wantCode(a, "person-mismatch")
	if handle != "" {
		t.Error("another person's session was made")
	}
	revoked, e := w.refreshToken("vikar")
	if a, _ := e.post("/connect/revocation", "", url.Values{"token": {revoked}}); a.status != http.StatusOK {
		t.Fatalf("revoking: %d", a.status)
	}
	a, _ = w.handOver(revoked, "")
	w.wantCode(a, "handover-refused")
	low, _ := w.refreshToken("lav") // level 3
	a, _ = w.handOver(low, "")
	w.wantCode(a, "handover-refused")
	if n := len(w.sim.Ledger()); n != 0 {
		t.Errorf("SFM received %d calls", n)
	}
}

// When HelseID no longer takes the refresh token, the session ends for all its
// tenants, those whose tokens are still good too.
func TestRevokedAtHelseID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	token, e := w.refreshToken("lege")
	_, handle := w.handOver(token, "")
	w.wantCode(w.call(handle, 0), "")
	if a, _ := e.post("/connect/revocation", "", url.Values{"token": {token}}); a.status != http.StatusOK { // any of a log-in's tokens ends it
		t.Fatalf("revoking: %d", a.status)
	}
	w.wantCode(w.call(handle, 0), "")
	for _, tenant := range []int{1, 0, 1} {
		w.wantEnded(w.call(handle, tenant))
	}
	if state, why := w.state(handle, ""); state != "expired" || why.Type != "urn:sfm-sidecar:problem:session-expired" {
		t.Errorf("the session is %s, for %s", state, why.Type)
	}
	if n := len(w.sim.Ledger()); n != 2 {
		t.Errorf("%d calls reached SFM, want those before the end", n)
	}
}

func TestLogInRunsOut(t *testing.T) {
	t.Parallel()
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.RefreshTokenSeconds = 2
	w := newWorld(t, setup{sim: simulator.Options{Knobs: &knobs}})
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	asked := len(w.sim.TokenRequests())
	eventually(t, "the session's end", func() bool { return w.call(handle, 0).status != http.StatusOK })
	w.wantEnded(w.call(handle, 0))
	w.wantEnded(w.call(handle, 1))
	if n := len(w.sim.TokenRequests()); n != asked {
		t.Errorf("HelseID was asked %d times for a log-in that has run out", n-asked)
	}
}

// The answer to a refresh is lost once: the one replay there is either brings it,
// or shows that HelseID had rotated the token, and then the log-in is over.
func TestLostRefreshAnswer(t *testing.T) {
	t.Parallel()
	for name, rotation := range map[string]bool{"rotation": true, "no rotation": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{})
			handle := w.logIn("lege")
			w.wantCode(w.call(handle, 0), "")
			w.sim.ResetTokenRequests()
			w.sim.SetKnobs(func(k *simulator.Knobs) {
				k.HelseID.RotationOff = !rotation
				k.HelseID.Fault = simulator.Fault{Path: "/connect/token", DropAnswer: true, Count: 1}
			})
			a := w.call(handle, 1)
			var refreshes, reuses int
			for _, r := range w.sim.TokenRequests() {
				if r.Error != "use_dpop_nonce" {
					refreshes++
				}
				if r.Reuse {
					reuses++
				}
			}
			if refreshes != 2 || w.sim.MaxConcurrentRefreshes() != 1 {
				t.Errorf("HelseID saw %d refreshes, up to %d at once, want 2, one after the other", refreshes, w.sim.MaxConcurrentRefreshes())
			}
			if !rotation {
				w.wantCode(a, "")
				w.wantCode(w.call(handle, 2), "")
				return
			}
			if reuses != 1 {
				t.Errorf("%d reuses, want the replay alone", reuses)
			}
			w.wantEnded(a)
			w.wantEnded(w.call(handle, 0))
		})
	}
}

// The sidecar starts without HelseID, says what is missing, and needs no restart
// when HelseID comes.
func TestHelseIDDownAtStart(t *testing.T) {
	t.Parallel()
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.Fault = simulator.Fault{Reset: true}
	w := newWorld(t, setup{sim: simulator.Options{Knobs: &knobs}})
	if got := w.probe("/readyz"); got != http.StatusOK {
		t.Errorf("readiness depends on HelseID: %d", got)
	}
	handle, link := w.begin("{}")
	b := w.newBrowser()
	if page := b.open(link); page.status != http.StatusServiceUnavailable || page.header.Get("Sidecar-Error") != "helseid-unavailable" ||
		page.header.Get("Retry-After") == "" {
		t.Errorf("opening the link: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "session-pending")
	w.sim.SetKnobs(helseID(simulator.Fault{}))
	eventually(t, "the log-in page", func() bool { return b.open(link).status == http.StatusFound })
	if page := b.open(b.toCallback(link, "lege")); page.status != http.StatusOK {
		t.Errorf("the callback: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "")
}

// probe asks the admin listener.
func (w *world) probe(path string) int {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.sidecar.AdminAddr()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// While HelseID is down, what is held goes on being used: tokens, and what was
// learned of HelseID. The log-in outlives it.
func TestHelseIDDownLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	w.sim.SetKnobs(helseID(simulator.Fault{Reset: true}))
	for range 3 {
		w.wantCode(w.call(handle, 0), "")
		a := w.call(handle, 1)
		w.wantCode(a, "helseid-unavailable")
		if a.header.Get("Retry-After") == "" || a.header.Get("Sidecar-Retryable") != "true" {
			t.Error("the refusal does not say when to try again")
		}
	}
	w.sim.SetKnobs(helseID(simulator.Fault{Path: "/.well-known/", Status: http.StatusServiceUnavailable}))
	w.wantCode(w.call(handle, 1), "")
	w.sim.SetKnobs(helseID(simulator.Fault{}))
	w.wantCode(w.call(handle, 2), "")
	if n, reuses := len(w.sim.Ledger()), w.sim.Reuses(); n != 6 || reuses != 0 {
		t.Errorf("%d calls reached SFM, want 6; %d refresh tokens were used twice", n, reuses)
	}
}
