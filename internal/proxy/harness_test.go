package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/tenantmap"
)

// fakeTenants reads the headers without judging them, unless told to refuse.
type fakeTenants struct{ err error }

func (f fakeTenants) Lookup(h http.Header) (tenantmap.Tenant, error) {
	if f.err != nil {
		return tenantmap.Tenant{}, f.err
	}
	return tenantmap.Tenant{Parent: h.Get("Sfm-Orgnr-Parent"), Child: h.Get("Sfm-Orgnr-Child"), Journal: h.Get("Sfm-Journal-Id")}, nil
}

// fakeTokens gives token-1, and after each Forget the next one.
type fakeTokens struct {
	mu      sync.Mutex
	n       int
	kind    string
	keep    bool // Forget says no
	err     error
	forgets int
	asks    []Ask
	onToken func(context.Context)
	next    func() Token // in place of the ordinary ones, if not nil
}

func (f *fakeTokens) Token(ctx context.Context, a Ask) (Token, error) {
	if f.onToken != nil {
		f.onToken(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asks = append(f.asks, a)
	if f.err != nil {
		return Token{}, f.err
	}
	if err := ctx.Err(); err != nil {
		return Token{}, err
	}
	if f.next != nil {
		return f.next(), nil
	}
	kind := f.kind
	if kind == "" {
		kind = a.Upstream.Scheme
	}
	return Token{AccessToken: fmt.Sprintf("token-%d", f.n+1), Type: kind}, nil
}

func (f *fakeTokens) Forget(Ask, Token) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgets++
	if !f.keep {
		f.n++
	}
	return !f.keep
}

// coded is any room's refusal.
type coded struct {
	code, detail, hint, reason, hid, oauth string
	after                                  time.Duration
	wrongMethod                            bool
}

func (e coded) Error() string             { return "a refusal of another room" }
func (e coded) Code() string              { return e.code }
func (e coded) Detail() string            { return e.detail }
func (e coded) Hint() string              { return e.hint }
func (e coded) Reason() string            { return e.reason }
func (e coded) HID() string               { return e.hid }
func (e coded) OAuthError() string        { return e.oauth }
func (e coded) RetryAfter() time.Duration { return e.after }
func (e coded) MethodNotAllowed() bool    { return e.wrongMethod }

// events collects what a Proxy reports.
type events struct {
	mu       sync.Mutex
	refusals []string
	calls    []Call
	nonces   int
}

func (e *events) observe() Events {
	return Events{
		Refusal:        func(code string) { e.mu.Lock(); e.refusals = append(e.refusals, code); e.mu.Unlock() },
		Done:           func(_ context.Context, c Call) { e.mu.Lock(); e.calls = append(e.calls, c); e.mu.Unlock() },
		NonceChallenge: func() { e.mu.Lock(); e.nonces++; e.mu.Unlock() },
	}
}

// lastRefusal is the code observed last; the answer may be read before the
// call is over, but the code is observed before the answer is written.
func (e *events) lastRefusal() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.refusals) == 0 {
		return ""
	}
	return e.refusals[len(e.refusals)-1]
}

// done waits for the n-th call to be reported.
func (e *events) done(t testing.TB, n int) Call {
	t.Helper()
	var last Call
	eventually(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.calls) >= n {
			last = e.calls[n-1]
		}
		return len(e.calls) >= n
	})
	return last
}

// eventually waits for something that another goroutine does.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("it never happened")
}

// lines is a log kept in memory.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.Write(b) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

// house is a Proxy on a real listener.
type house struct {
	*Proxy
	t      testing.TB
	URL    string
	addr   string
	tokens *fakeTokens
	events *events
	log    *lines
}

// open serves a Proxy whose upstream "basis" is at the given address. change
// may turn any option.
func open(t testing.TB, upstreamURL string, change ...func(*Options)) *house {
	t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	base := NewTransport(TransportOptions{ResponseTimeout: 10 * time.Second})
	h := &house{t: t, tokens: &fakeTokens{}, events: &events{}, log: &lines{}}
	o := Options{
		Upstreams: []Upstream{{Name: "basis", URL: parse(t, upstreamURL), Scheme: "DPoP"}},
		Tenants:   fakeTenants{}, Tokens: h.tokens,
		Transport: &dpop.Transport{Base: base, Key: key, Nonces: new(dpop.Nonces)},
		Log:       slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observe:   h.events.observe(),
	}
	for _, f := range change {
		f(&o)
	}
	h.Proxy, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h.Proxy)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.Config.DisableGeneralOptionsHandler = true
	srv.Start()
	h.URL, h.addr = srv.URL, strings.TrimPrefix(srv.URL, "http://")
	t.Cleanup(func() { srv.Close(); base.CloseIdleConnections() })
	return h
}

func parse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// upstreamServer is an SFM made of one function.
func upstreamServer(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(f)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

var tenantHeaders = http.Header{
	"Sfm-Orgnr-Parent": {"100100126"},
	"Sfm-Orgnr-Child":  {"999944582"},
	"Sfm-Journal-Id":   {"7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"},
}

// ask makes a request as an EPJ does.
func (h *house) ask(method, path string, body io.Reader) *http.Request {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.URL+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	for name, values := range tenantHeaders {
		r.Header[name] = values
	}
	return r
}

// client follows nothing and decompresses nothing.
func (h *house) client() *http.Client {
	tr := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 5 * time.Second}
	h.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answered is an answer read to its end.
type answered struct {
	*http.Response
	body []byte
	err  error // of the body
}

func (h *house) do(r *http.Request) answered {
	h.t.Helper()
	res, err := h.client().Do(r)
	if err != nil {
		h.t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answered{res, body, err}
}

func (h *house) get(path string) answered { return h.do(h.ask("GET", path, nil)) }

// refused checks an answer that the sidecar made: status, code, hint, headers
// and metric.
func (h *house) refused(a answered, code string, status int) problem {
	h.t.Helper()
	var doc problem
	if err := json.Unmarshal(a.body, &doc); err != nil {
		h.t.Fatalf("status %d: the body is no problem: %v", a.StatusCode, err)
	}
	row := rows[code]
	for what, ok := range map[string]bool{
		"status":             a.StatusCode == status && doc.Status == status,
		"type":               doc.Type == "urn:sfm-sidecar:problem:"+code,
		"Sidecar-Error":      a.Header.Get("Sidecar-Error") == code,
		"Sidecar-Retryable":  a.Header.Get("Sidecar-Retryable") == fmt.Sprint(row.retryable) && doc.Retryable == row.retryable,
		"Sidecar-Request-Id": doc.RequestID != "" && a.Header.Get("Sidecar-Request-Id") == doc.RequestID,
		"Content-Type":       a.Header.Get("Content-Type") == "application/problem+json",
		"hint":               doc.Hint != "",
		"detail":             doc.Detail != "",
		"title":              doc.Title != "",
		"origin":             doc.Origin == row.origin,
		"metric":             h.events.lastRefusal() == code,
	} {
		if !ok {
			h.t.Errorf("refusal %s: %s is wrong: status %d, %s", code, what, a.StatusCode, a.body)
		}
	}
	return doc
}

// raw sends bytes on a fresh connection and reads one answer to the method.
func (h *house) raw(method, text string) answered {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		h.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		h.t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answered{res, body, err}
}

// tenantLines are the tenant's headers for a raw request.
const tenantLines = "Sfm-Orgnr-Parent: 100100126\r\nSfm-Journal-Id: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35\r\n"

var errPlain = errors.New("something without a code")

// withDialer has SFM's connections made by dial.
func withDialer(dial func(context.Context, string, string) (net.Conn, error)) func(*Options) {
	return func(o *Options) {
		o.Transport.(*dpop.Transport).Base = NewTransport(TransportOptions{ResponseTimeout: 10 * time.Second, DialContext: dial})
	}
}
