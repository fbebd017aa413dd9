package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// signingKey is HelseID's, made once: an RSA key takes its time.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// world is a sidecar between strict stand-ins, reached over HTTP alone.
type world struct {
	t       testing.TB
	sim     *simulator.Running
	key     []byte // the client's private JWK
	sidecar *app.Sidecar
	base    string
	stop    context.CancelFunc
	client  *http.Client
	env     []string // the sidecar's, to start another one
	logFrom int      // where the collected log was when this world began
}

// setup is what a test wants to be different.
type setup struct {
	env    []string
	client func(*simulator.Client)
	sim    simulator.Options
	// helseID, if not nil, stands in front of HelseID, to hold requests up.
	helseID func(http.Handler) http.Handler
	// opened, if not nil, counts the connections that SFM takes.
	opened *atomic.Int64
}

const clientID = "test-epj"

// newWorld starts everything; it all ends with the test.
func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	client, key, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	if s.client != nil {
		s.client(&client)
	}
	s.sim.Clients, s.sim.SigningKey = []simulator.Client{client}, signingKey()
	sim := standIns(t, s)
	w := &world{t: t, sim: sim, key: key, logFrom: len(seen.logged()), client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 200, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       time.Minute,
	}}
	w.env = append([]string{
		"HELSEID_ISSUER=" + sim.HelseID, "HELSEID_CLIENT_ID=" + clientID, "HELSEID_CLIENT_JWK=" + string(key),
		"SFM_UPSTREAMS=basis=" + sim.SFM + ",session=" + sim.SFM,
		"SIDECAR_LISTEN=127.0.0.1:0", "SIDECAR_ADMIN_LISTEN=127.0.0.1:0", "SIDECAR_MAX_SIGTERM_DELAY=10s",
		"LOG_LEVEL=debug", "LOG_FORMAT=json",
	}, append(traced(t), expand(s.env, sim)...)...)
	w.start(w.env)
	return w
}

// expand puts the stand-in's address where a test can't know it.
func expand(env []string, sim *simulator.Running) []string {
	var expanded []string
	for _, line := range env {
		expanded = append(expanded, strings.ReplaceAll(line, "{SFM}", sim.SFM))
	}
	return expanded
}

// standIns serves HelseID and SFM, by servers of the test's own where it wants to
// see or hold up what reaches them.
func standIns(t testing.TB, s setup) *simulator.Running {
	t.Helper()
	if s.helseID == nil && s.opened == nil {
		sim, err := simulator.Start(s.sim)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := sim.Close(); err != nil {
				t.Error(err)
			}
		})
		return sim
	}
	helseID, sfm := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	s.sim.Issuer, s.sim.SFM = "http://"+helseID.Listener.Addr().String(), "http://"+sfm.Listener.Addr().String()
	sim, err := simulator.New(s.sim)
	if err != nil {
		t.Fatal(err)
	}
	helseID.Config.Handler, sfm.Config.Handler = sim.HelseID(), sim.SFM()
	if s.helseID != nil {
		helseID.Config.Handler = s.helseID(sim.HelseID())
	}
	if s.opened != nil {
		sfm.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.opened.Add(1)
			}
		}
	}
	for _, server := range []*httptest.Server{helseID, sfm} {
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		t.Cleanup(server.Close)
	}
	return &simulator.Running{Simulator: sim, HelseID: s.sim.Issuer, SFM: s.sim.SFM}
}

// start runs the sidecar. Later variables win over earlier ones.
func (w *world) start(env []string) {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	sidecar, err := app.Start(ctx, app.Options{Environ: env, Stderr: seen.log(), Version: "test"})
	if err != nil {
		stop()
		w.t.Fatal(err)
	}
	w.sidecar, w.stop, w.base = sidecar, stop, "http://"+sidecar.Addr()
	w.t.Cleanup(func() {
		seen.keep(w.metrics())
		w.client.CloseIdleConnections()
		stop()
		if err := sidecar.Wait(); err != nil {
			w.t.Error(err)
		}
	})
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request to the sidecar.
func (w *world) do(r *http.Request) (answer, error) {
	resp, err := w.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if code := resp.Header.Get("Sidecar-Error"); code != "" {
		seen.keep(string(body) + fmt.Sprint(resp.Header))
	}
	return answer{resp.StatusCode, resp.Header, body}, err
}

// request builds one; header pairs follow the body.
func (w *world) request(method, path, body string, header ...string) *http.Request {
	w.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// send is do with a request that must be answered.
func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	a, err := w.do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return a
}

// headers name a session and a tenant.
func headers(handle string, t simulator.Tenant) []string {
	h := []string{"Sfm-Orgnr-Parent", t.Parent, "Sfm-Journal-Id", t.Journal}
	if t.Child != "" {
		h = append(h, "Sfm-Orgnr-Child", t.Child)
	}
	if handle != "" {
		h = append(h, "Sfm-Session", handle)
	}
	return h
}

// begin starts a log-in; body is that of POST /_sidecar/sessions.
func (w *world) begin(body string) (handle, loginURL string) {
	w.t.Helper()
	a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", body))
	var b struct {
		Session  string `json:"session"`
		LoginURL string `json:"login_url"`
	}
	if a.status != http.StatusCreated || json.Unmarshal(a.body, &b) != nil {
		w.t.Fatalf("beginning a log-in: status %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	seen.secret(b.Session)
	return b.Session, b.LoginURL
}

// logIn is the handle of a session whose person has logged in.
func (w *world) logIn(person string) string {
	w.t.Helper()
	handle, link := w.begin("{}")
	if page := w.browse(link, person); page.status != http.StatusOK {
		w.t.Fatalf("the page after the log-in: status %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	return handle
}

// browse opens a log-in link with a new browser that chooses a person at once,
// and returns the page where it ends.
func (w *world) browse(link, person string) answer {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/connect/authorize") {
			q := r.URL.Query()
			q.Set("auto", person)
			r.URL.RawQuery = q.Encode()
		}
		return nil
	}}
	defer browser.CloseIdleConnections()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, link, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := browser.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address holds one-time values
		}
		w.t.Fatalf("browsing: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.Header.Get("Sidecar-Error") != "" {
		seen.keep(string(body))
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// metrics is what the admin listener shows.
func (w *world) metrics() string {
	r, err := http.NewRequest(http.MethodGet, "http://"+w.sidecar.AdminAddr()+"/metrics", nil)
	if err != nil {
		w.t.Error(err)
		return ""
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return "" // the sidecar has ended
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Error(err)
	}
	return string(body)
}

// metric is the value of a series as the text format names it, 0 if absent.
func (w *world) metric(series string) float64 {
	w.t.Helper()
	for line := range strings.Lines(w.metrics()) {
		var v float64
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			if _, err := fmt.Sscan(rest, &v); err != nil {
				w.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// problem is a refusal as the EPJ reads it.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Hint      string `json:"hint"`
	Origin    string `json:"origin"`
	Retryable bool   `json:"retryable"`
	RequestID string `json:"request_id"`
	HID       string `json:"hid"`
	Reason    string `json:"reason"`
}

// problemOf reads a refusal and checks that its parts agree.
func problemOf(t testing.TB, a answer) problem {
	t.Helper()
	var p problem
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(&p); err != nil {
		t.Fatalf("no problem document: %v", err)
	}
	code := strings.TrimPrefix(p.Type, "urn:sfm-sidecar:problem:")
	if code != a.header.Get("Sidecar-Error") || p.Status != a.status {
		t.Errorf("the document says %s and %d, the answer %s and %d", p.Type, p.Status, a.header.Get("Sidecar-Error"), a.status)
	}
	if fmt.Sprint(p.Retryable) != a.header.Get("Sidecar-Retryable") || p.RequestID != a.header.Get("Sidecar-Request-Id") {
		t.Error("Sidecar-Retryable or Sidecar-Request-Id differ from the document")
	}
	if p.Title == "" || p.Detail == "" || p.Hint == "" || p.Origin == "" {
		t.Errorf("title, detail, hint or origin is missing: %+v", p)
	}
	return p
}

// operations are what reached SFM of the call with this X-Request-Id.
func (w *world) operations(id string) []simulator.Operation {
	return slices.DeleteFunc(w.sim.Ledger(), func(o simulator.Operation) bool { return o.RequestID != id })
}

// refreshes are the refreshes that HelseID granted. What it merely answered with
// its nonce is left out.
func (w *world) refreshes() []simulator.TokenRequest {
	return slices.DeleteFunc(w.sim.TokenRequests(), func(r simulator.TokenRequest) bool {
		return r.Grant != simulator.GrantRefresh || r.Outcome != "granted"
	})
}

// eventually waits for something that another goroutine is about to do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	look, end := time.NewTicker(2*time.Millisecond), time.After(time.Minute)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
