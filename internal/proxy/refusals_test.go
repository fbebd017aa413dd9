package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/tenantmap"
)

// contractCodes is the table of refusals as the outside world knows it, written
// down a second time: code, status, origin, retryable.
var contractCodes = []struct {
	code      string
	status    int
	origin    string
	retryable bool
}{
	{"request-invalid", 400, "caller", false},
	{"caller-key", 401, "caller", false},
	{"caller-refused", 403, "caller", false},
	{"host-refused", 403, "caller", false},
	{"origin-refused", 403, "caller", false},
	{"control-unknown", 404, "caller", false},
	{"upstream-unknown", 404, "caller", false},
	{"tenant-missing", 400, "caller", false},
	{"tenant-invalid", 400, "caller", false},
	{"tenant-ambiguous", 400, "caller", false},
	{"tenant-unknown", 403, "caller", false},
	{"tenant-not-in-session", 403, "caller", false},
	{"session-required", 401, "caller", false},
	{"session-unknown", 401, "caller", false},
	{"session-expired", 401, "caller", false},
	{"session-pending", 409, "caller", true},
	{"login-failed", 401, "helseid", false}, // on a call to SFM; 400 elsewhere
	{"person-mismatch", 403, "caller", false},
	{"handover-refused", 400, "helseid", false},
	{"grant-mismatch", 400, "caller", false},
	{"subject-token-required", 401, "caller", false},
	{"subject-token-invalid", 401, "caller", false},
	{"tenant-not-delegated", 403, "helseid", false},
	{"tenant-refused", 403, "helseid", false},
	{"tenant-terms-unsigned", 403, "helseid", false},
	{"client-not-approved", 502, "helseid", false},
	{"helseid-refused", 502, "helseid", false},
	{"helseid-unavailable", 503, "helseid", true},
	{"clock-skew", 503, "sidecar", false},
	{"token-mismatch", 502, "helseid", false},
	{"upstream-unavailable", 502, "sfm", true},
	{"upstream-outcome-unknown", 502, "sfm", false},
	{"upstream-timeout", 504, "sfm", false},
	{"resend-needed", 503, "sfm", true},
	{"store-unavailable", 503, "sidecar", true},
	{"journal-guard", 409, "caller", false},
	{"limit-reached", 503, "sidecar", true},
	{"draining", 503, "sidecar", true},
	{"internal", 500, "sidecar", false},
}

func TestEveryCodeIsRendered(t *testing.T) {
	sent := false
	sfm := upstreamServer(t, func(http.ResponseWriter, *http.Request) { sent = true })
	known := map[string]bool{}
	for _, want := range contractCodes {
		known[want.code] = true
		t.Run(want.code, func(t *testing.T) {
			h := open(t, sfm, func(o *Options) {
				o.Tenants = fakeTenants{err: fmt.Errorf("finding: %w", coded{code: want.code})}
			})
			a := h.get("/basis/metadata")
			doc := h.refused(a, want.code, want.status)
			if doc.Origin != want.origin || doc.Retryable != want.retryable {
				t.Errorf("origin %s, retryable %v", doc.Origin, doc.Retryable)
			}
			if c := h.events.done(t, 1); c.Status != want.status || c.Upstream != "basis" || c.Method != "GET" {
				t.Errorf("reported %+v", c)
			}
		})
	}
	for code := range rows {
		if !known[code] {
			t.Errorf("the table has %s, which the contract does not", code)
		}
	}
	if sent {
		t.Error("a refused call reached SFM")
	}
}

func TestAProblemHoldsWhatTheErrorAdds(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	h.tokens.err = coded{
		code: "tenant-not-delegated", detail: "HelseID says no", hint: "ask them", reason: "why",
		hid: "HID-1001", oauth: "invalid_grant", after: 1500 * time.Millisecond,
	}
	a := h.get("/basis/x")
	doc := h.refused(a, "tenant-not-delegated", 403)
	want := problem{
		Type: doc.Type, Title: doc.Title, Status: 403, Origin: "helseid", RequestID: doc.RequestID,
		Detail: "HelseID says no", Hint: "ask them", Reason: "why", HID: "HID-1001", HelseIDError: "invalid_grant",
	}
	tenant := doc.Tenant
	doc.Tenant = nil
	if doc != want {
		t.Errorf("got %+v", doc)
	}
	if tenant == nil || tenant.Parent != "100100126" || tenant.Child != "999944582" || tenant.Journal != "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35" {
		t.Errorf("tenant %+v", tenant)
	}
	if got := a.Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want it rounded up to 2", got)
	}
}

func TestRefusalsByCircumstance(t *testing.T) {
	tests := []struct {
		name, method, path string
		control            error
		code               string
		status             int
		check              func(*testing.T, answered, problem)
	}{
		{"login failed, on a control call", "GET", "/_sidecar/session", coded{code: "login-failed"}, "login-failed", 400, nil},
		{"no such control call", "GET", "/_sidecar/nothing", coded{code: "control-unknown"}, "control-unknown", 404, nil},
		{"wrong method", "PUT", "/_sidecar/session", coded{code: "control-unknown", wrongMethod: true}, "control-unknown", 405, nil},
		{"unavailable without a time", "GET", "/_sidecar/x", coded{code: "helseid-unavailable"}, "helseid-unavailable", 503, func(t *testing.T, a answered, _ problem) {
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}},
		{"no code at all", "GET", "/_sidecar/x", errPlain, "internal", 500, func(t *testing.T, a answered, _ problem) {
			if strings.Contains(string(a.body), errPlain.Error()) {
				t.Error("an error of ours is shown to the caller")
			}
		}},
		{"a code nobody knows", "GET", "/_sidecar/x", coded{code: "no-such-code"}, "internal", 500, nil},
		{"unknown upstream", "GET", "/nothing/x", nil, "upstream-unknown", 404, func(t *testing.T, _ answered, doc problem) {
			if doc.Tenant != nil {
				t.Error("a tenant is named that nobody had looked for")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, "http://127.0.0.1:1", func(o *Options) {
				o.Control = func(http.ResponseWriter, *http.Request) error { return tt.control }
			})
			a := h.do(h.ask(tt.method, tt.path, nil))
			doc := h.refused(a, tt.code, tt.status)
			if tt.check != nil {
				tt.check(t, a, doc)
			}
		})
	}
}

func TestNoControlRoom(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	for _, path := range []string{"/_sidecar/", "/_sidecar", "/%5Fsidecar/session", "/_sidecar/../basis"} {
		h.refused(h.get(path), "control-unknown", 404)
	}
}

func TestHeadGetsHeadersOnly(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	a := h.do(h.ask("HEAD", "/nothing", nil))
	if a.StatusCode != 404 || a.Header.Get("Sidecar-Error") != "upstream-unknown" || len(a.body) != 0 {
		t.Errorf("status %d, %q, %d bytes", a.StatusCode, a.Header.Get("Sidecar-Error"), len(a.body))
	}
}

func TestPersonAndSession(t *testing.T) {
	h := open(t, "http://127.0.0.1:1", func(o *Options) {
		o.Person = func(r *http.Request) (Person, error) {
			if r.Header.Get("Sfm-Session") == "" {
				return Person{}, coded{code: "session-required"}
			}
			return Person{ID: "s", Allows: func(t tenantmap.Tenant) bool { return t.Child == "" }}, nil
		}
	})
	h.refused(h.get("/basis/x"), "session-required", 401)
	r := h.ask("GET", "/basis/x", nil)
	r.Header.Set("Sfm-Session", "handle")
	h.refused(h.do(r), "tenant-not-in-session", 403)
	r.Header.Del("Sfm-Orgnr-Child")
	h.refused(h.do(r), "upstream-unavailable", 502)
	if n := len(h.tokens.asks); n != 1 || h.tokens.asks[0].Person.ID != "s" || h.tokens.asks[0].Upstream.Name != "basis" {
		t.Errorf("%d tokens were asked for", n)
	}
}

func TestTokenOfAnotherSchemeIsNotSent(t *testing.T) {
	reached := false
	h := open(t, upstreamServer(t, func(http.ResponseWriter, *http.Request) { reached = true }))
	h.tokens.kind = "Bearer"
	h.refused(h.get("/basis/x"), "token-mismatch", 502)
	if reached {
		t.Error("it was sent")
	}
}

func TestDrainingAndLimit(t *testing.T) {
	h := open(t, "http://127.0.0.1:1", func(o *Options) { o.Draining = func() bool { return true } })
	h.refused(h.get("/basis/x"), "draining", 503)

	inside, goOn := make(chan bool), make(chan bool)
	h = open(t, "http://127.0.0.1:1", func(o *Options) {
		o.MaxCalls = 1
		o.Control = func(http.ResponseWriter, *http.Request) error { inside <- true; <-goOn; return nil }
	})
	var others sync.WaitGroup
	others.Go(func() { h.get("/_sidecar/x") })
	<-inside
	if a := h.get("/_sidecar/x"); a.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	} else {
		h.refused(a, "limit-reached", 503)
	}
	close(goOn)
	others.Wait()
	eventually(t, func() bool { return h.Wait(t.Context()) == nil })
}

func TestAPanicOfOursIsInternal(t *testing.T) {
	h := open(t, "http://127.0.0.1:1", func(o *Options) {
		o.Control = func(w http.ResponseWriter, r *http.Request) error {
			if r.URL.Query().Has("late") {
				w.WriteHeader(200)
			}
			panic(r.Header.Get("Sfm-Journal-Id"))
		}
	})
	h.refused(h.get("/_sidecar/x"), "internal", 500)
	if a := h.get("/_sidecar/x?late"); a.err == nil {
		t.Error("half an answer looked whole")
	}
	if strings.Contains(h.log.String(), "7fbfbcbd") {
		t.Error("the panic's value is in the log")
	}
	if err := h.Wait(t.Context()); err != nil {
		t.Error("a call that panicked is still counted")
	}
}

func TestRefuseForOtherListeners(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	r := httptest.NewRequest("GET", "http://evil.example/", nil)
	err := h.Admit(r)
	if codeOf(err) != "host-refused" {
		t.Fatalf("got %v", err)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Connection", "close") // as a server that is ending says
	w.Header().Set("X-Left-Behind", "x")
	h.Refuse(w, r, err)
	if w.Header().Get("Connection") != "close" || w.Header().Get("X-Left-Behind") != "" {
		t.Errorf("headers %v", w.Header())
	}
	var doc problem
	if json.Unmarshal(w.Body.Bytes(), &doc) != nil || w.Code != 403 || w.Header().Get("Sidecar-Error") != "host-refused" {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	if err := h.Admit(httptest.NewRequest("GET", "http://localhost:9090/", nil)); err != nil {
		t.Error(err)
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Options{
		Upstreams: []Upstream{{Name: "Bad", URL: parse(t, "https://a"), Scheme: "DPoP"}, {Name: "b", URL: parse(t, "https://a?q"), Scheme: "DPoP"},
			{Name: "c", URL: parse(t, "ftp://a"), Scheme: "DPoP"}, {Name: "d", URL: parse(t, "https://A"), Scheme: "DPoP"}, {Name: "e", URL: parse(t, "https://a")}},
		Gate: Gate{AllowedOrigins: []string{"https://x"}},
	})
	for _, want := range []string{"Tenants", "Tokens", "Transport", `"Bad"`, `"b"`, `"c"`, `"d"`, `"e"`, "caller key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named: %v", want, err)
		}
	}
}

// However the path is spelt, a prescription whose outcome is unknown has its own
// hint, and a segment that some server may read as .. is refused.
func TestSpellingsOfPaths(t *testing.T) {
	for rest, prescription := range map[string]bool{
		"/Patient/$sendMedication": true, "/Patient/%24sendMedication": true, "/Patient/$SENDMEDICATION/": true,
		"/Patient/$sendMedication;v=1": true, "/Patient/$getMedication": false, "/": false, "": false,
	} {
		if got := hintAfter("upstream-timeout", rest) != ""; got != prescription {
			t.Errorf("%q: hint %v", rest, got)
		}
		if hintAfter("upstream-unavailable", rest) != "" {
			t.Errorf("%q: a hint though nothing was sent", rest)
		}
	}
	for path, dots := range map[string]bool{
		"/a/../b": true, "/a/..;/b": true, "/a/.;x/b": true, `/a\..\b`: true, "/..": true, "/a/..b/c": false, "/a/b;..": false, "/a.b": false,
	} {
		if hasDots(path) != dots {
			t.Errorf("%q: dots %v", path, !dots)
		}
	}
}
