package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// refusalTest is one row of contract section 5, met from outside.
type refusalTest struct {
	setup   setup
	knobs   func(*simulator.Knobs)                     // turned after the log-in
	prepare func(t *testing.T, w *world) *http.Request // nil: an ordinary call
	code    string
	status  int
	reason  string
	hid     string
	work    bool // SFM may have worked on it
}

var refusalTests = map[string]refusalTest{
	"header twice":     {prepare: with("Sfm-Orgnr-Parent", "100100126"), code: "request-invalid", status: 400},
	"header empty":     {prepare: with("Sfm-Grant", ""), code: "request-invalid", status: 400},
	"header oversized": {prepare: with("Sfm-Tenant", strings.Repeat("x", 5000)), code: "request-invalid", status: 400},
	"session twice":    {prepare: with("Sfm-Session", "x"), code: "request-invalid", status: 400},
	"dot segment":      {prepare: at("/basis/%2e%2e/Task"), code: "request-invalid", status: 400},
	"bad JSON":         {prepare: control(http.MethodPost, "/_sidecar/sessions", "{"), code: "request-invalid", status: 400},

	"caller key missing": {setup: setup{env: []string{"SIDECAR_CALLER_KEY=synthetic-key"}}, prepare: bare, code: "caller-key", status: 401},
	"user not allowed":   {setup: setup{env: []string{"SIDECAR_ALLOWED_UIDS=54321"}}, prepare: bare, code: "caller-refused", status: 403},
	"foreign host":       {prepare: host("epj.example"), code: "host-refused", status: 403},
	"web page":           {prepare: with("Origin", "https://evil.example"), code: "origin-refused", status: 403},
	"fetch of a page":    {prepare: with("Sec-Fetch-Site", "cross-site"), code: "origin-refused", status: 403},

	"no such control call": {prepare: control(http.MethodGet, "/_sidecar/nothing", ""), code: "control-unknown", status: 404},
	"wrong method":         {prepare: control(http.MethodPut, "/_sidecar/sessions", "{}"), code: "control-unknown", status: 405},
	"no such upstream":     {prepare: at("/portal/Task"), code: "upstream-unknown", status: 404},

	"child without parent": {prepare: without("Sfm-Orgnr-Parent"), code: "tenant-missing", status: 400},
	"no journal":           {prepare: without("Sfm-Journal-Id"), code: "tenant-missing", status: 400},
	"eight digits":         {prepare: set("Sfm-Orgnr-Parent", "10010012"), code: "tenant-invalid", status: 400},
	"journal no UUID":      {prepare: set("Sfm-Journal-Id", "7fbfbcbd"), code: "tenant-invalid", status: 400},
	"child is its parent":  {prepare: set("Sfm-Orgnr-Child", "100100126"), code: "tenant-invalid", status: 400},
	"strict check digit": {
		setup: setup{env: []string{"SIDECAR_ORGNR_CHECK=strict"}}, prepare: set("Sfm-Orgnr-Parent", "123456780"),
		code: "tenant-invalid", status: 400,
	},
	"both tenant forms":   {prepare: with("Sfm-Tenant", "sentrum"), code: "tenant-ambiguous", status: 400},
	"alias nobody has":    {prepare: alias, code: "tenant-unknown", status: 403},
	"not in the session":  {prepare: limited, code: "tenant-not-in-session", status: 403},
	"no session":          {prepare: without("Sfm-Session"), code: "session-required", status: 401},
	"unknown session":     {prepare: set("Sfm-Session", "no-such-handle"), code: "session-unknown", status: 401},
	"ended session":       {prepare: ended, code: "session-expired", status: 401},
	"pending session":     {prepare: pending, code: "session-pending", status: 409},
	"denied at HelseID":   {prepare: denied, code: "login-failed", status: 401, reason: "denied"},
	"level 3":             {prepare: loggedInAs("lav", "{}"), code: "login-failed", status: 401, reason: "level-too-low"},
	"forged callback":     {prepare: forgedCallback, code: "login-failed", status: 400, reason: "state-unknown"},
	"another person":      {prepare: loggedInAs("vikar", `{"expect":{"sub":"sub-7f3b2c90"}}`), code: "login-failed", status: 401},
	"hand-over refused":   {prepare: control(http.MethodPost, "/_sidecar/sessions", `{"refresh_token":"never-issued"}`), code: "handover-refused", status: 400, reason: "invalid-grant"},
	"unknown grant":       {prepare: with("Sfm-Grant", "token-exchange"), code: "grant-mismatch", status: 400},
	"token of the caller": {prepare: with("Authorization", "Bearer synthetic"), code: "grant-mismatch", status: 400},
	"session for a machine": {
		setup:   setup{env: []string{"HELSEID_GRANT=user,client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true"}},
		prepare: with("Sfm-Grant", "client-credentials"), code: "grant-mismatch", status: 400,
	},

	"parent not delegated": {prepare: set("Sfm-Orgnr-Parent", simulator.ParentNotDelegated), code: "tenant-not-delegated", status: 403, hid: "HID-1001"},
	"child not listed": {
		setup: setup{sim: simulator.Options{Delegations: []simulator.Delegation{{Orgnr: "100100126", Terms: true, Children: []string{"312232326"}}}}},
		code:  "tenant-refused", status: 403, hid: "HID-1003",
	},
	"terms unsigned":    {prepare: set("Sfm-Orgnr-Parent", simulator.ParentWithoutTerms), code: "tenant-terms-unsigned", status: 403},
	"parents forbidden": {setup: setup{client: func(c *simulator.Client) { c.NoParents = true }}, code: "client-not-approved", status: 502, hid: "HID-1005"},
	"children forbidden": {
		setup: setup{client: func(c *simulator.Client) { c.NoChildren = true }}, code: "client-not-approved", status: 502, hid: "HID-1006",
	},

	"HelseID down":           {knobs: helseID(simulator.Fault{Status: 503, RetryAfter: 7}), code: "helseid-unavailable", status: 503},
	"HelseID asks for peace": {knobs: helseID(simulator.Fault{Status: 429, RetryAfter: 7}), code: "helseid-unavailable", status: 503},
	"HelseID answers HTML":   {knobs: helseID(simulator.Fault{HTML: true, Status: 200}), code: "helseid-unavailable", status: 503},
	"HelseID breaks off":     {knobs: helseID(simulator.Fault{Truncate: true}), code: "helseid-unavailable", status: 503},
	"HelseID floods":         {knobs: helseID(simulator.Fault{Oversize: true}), code: "helseid-unavailable", status: 503},
	"expires_in 0":           {knobs: expiresIn(0), code: "helseid-unavailable", status: 503},
	"expires_in negative":    {knobs: expiresIn(-5), code: "helseid-unavailable", status: 503},
	"expires_in missing":     {knobs: expiresIn("missing"), code: "helseid-unavailable", status: 503},
	"opaque token":           {knobs: func(k *simulator.Knobs) { k.HelseID.OpaqueAccessToken = true }, code: "helseid-unavailable", status: 503},
	"clock far off":          {knobs: func(k *simulator.Knobs) { k.ClockOffset = 900 }, code: "clock-skew", status: 503},

	"wrong parent":     {knobs: claim("helseid://claims/client/claims/orgnr_parent", "313325016"), code: "token-mismatch", status: 502},
	"wrong child":      {knobs: claim("helseid://claims/client/claims/orgnr_child", "312232326"), code: "token-mismatch", status: 502},
	"wrong journal":    {knobs: claim("nhn:sfm:journal-id", "00000000-0000-4000-8000-000000000000"), code: "token-mismatch", status: 502},
	"wrong audience":   {knobs: claim("aud", "another-api"), code: "token-mismatch", status: 502},
	"wrong key":        {knobs: claim("cnf", map[string]any{"jkt": "x"}), code: "token-mismatch", status: 502},
	"level 3 in token": {knobs: claim("helseid://claims/identity/security_level", "3"), code: "token-mismatch", status: 502},
	"Bearer with v2":   {knobs: func(k *simulator.Knobs) { k.HelseID.TokenType = "Bearer" }, code: "token-mismatch", status: 502},

	"SFM not there": {setup: setup{env: []string{"SFM_UPSTREAMS=basis=" + closedPort()}}, code: "upstream-unavailable", status: 502},
	"SFM breaks off": {
		knobs: func(k *simulator.Knobs) {
			k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultReset, When: simulator.AfterWork}}
		},
		code: "upstream-outcome-unknown", status: 502, work: true,
	},
	"SFM silent": {
		setup: setup{env: []string{"SFM_RESPONSE_TIMEOUT=1s"}},
		knobs: func(k *simulator.Knobs) {
			k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultDelay, DelayMS: 3000}}
		},
		code: "upstream-timeout", status: 504, work: true,
	},
}

// TestRefusals meets every refusal from outside: the document, the headers, the
// metric, and that SFM has done no work.
func TestRefusals(t *testing.T) {
	for name, tt := range refusalTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS != "linux" && tt.code == "caller-refused" {
				t.Skip("users are told apart on Linux only")
			}
			w := newWorld(t, tt.setup)
			if tt.prepare == nil {
				tt.prepare = ordinary
			}
			r := tt.prepare(t, w)
			if tt.knobs != nil {
				w.sim.SetKnobs(tt.knobs)
			}
			before := w.metric(fmt.Sprintf("sfm_sidecar_refusals_total{code=%q}", tt.code))
			a := w.send(r)
			if a.header.Get("Sidecar-Error") != tt.code || a.status != tt.status {
				t.Fatalf("%d %s, want %d %s\n%s", a.status, a.header.Get("Sidecar-Error"), tt.status, tt.code, a.body)
			}
			if after := w.metric(fmt.Sprintf("sfm_sidecar_refusals_total{code=%q}", tt.code)); after != before+1 {
				t.Errorf("the metric went from %v to %v", before, after)
			}
			if r.URL.Path != "/_sidecar/callback" {
				checkProblem(t, a, tt)
			}
			for _, op := range w.sim.Ledger() {
				if !tt.work {
					t.Errorf("SFM received %s %s", op.Method, op.Path)
				}
			}
		})
	}
}

func checkProblem(t *testing.T, a answer, tt refusalTest) {
	t.Helper()
	p := problemOf(t, a)
	if tt.reason != "" && p.Reason != tt.reason || tt.hid != p.HID {
		t.Errorf("reason %q and number %q, want %q and %q", p.Reason, p.HID, tt.reason, tt.hid)
	}
	if tt.code == "helseid-unavailable" && a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// ordinary is a good call of a person who has logged in.
func ordinary(t *testing.T, w *world) *http.Request {
	t.Helper()
	return w.request(http.MethodGet, "/basis/Task?PatientNiN=marked", "", headers(w.logIn("lege"), simulator.Tenants()[0])...)
}

// bare is a call without a session, for what is refused before one is looked at.
func bare(t *testing.T, w *world) *http.Request {
	t.Helper()
	return w.request(http.MethodGet, "/basis/Task", "", headers("", simulator.Tenants()[0])...)
}

func with(name, value string) func(*testing.T, *world) *http.Request {
	return func(t *testing.T, w *world) *http.Request {
		r := ordinary(t, w)
		r.Header.Add(name, value)
		return r
	}
}

func set(name, value string) func(*testing.T, *world) *http.Request {
	return func(t *testing.T, w *world) *http.Request {
		r := ordinary(t, w)
		r.Header.Set(name, value)
		return r
	}
}

func without(name string) func(*testing.T, *world) *http.Request {
	return func(t *testing.T, w *world) *http.Request {
		r := ordinary(t, w)
		r.Header.Del(name)
		return r
	}
}

func at(path string) func(*testing.T, *world) *http.Request {
	return func(t *testing.T, w *world) *http.Request {
		r := ordinary(t, w)
		u, err := url.Parse(w.base + path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		return r
	}
}

func host(name string) func(*testing.T, *world) *http.Request {
	return func(t *testing.T, w *world) *http.Request {
		r := ordinary(t, w)
		r.Host = name
		return r
	}
}

func control(method, path, body string) func(*testing.T, *world) *http.Request {
	return func(_ *testing.T, w *world) *http.Request { return w.request(method, path, body) }
}

func alias(t *testing.T, w *world) *http.Request {
	t.Helper()
	return w.request(http.MethodGet, "/basis/Task", "", "Sfm-Session", w.logIn("lege"), "Sfm-Tenant", "sentrum")
}

// task is a call of a session that may not be able to make one.
func task(w *world, handle string) *http.Request {
	return w.request(http.MethodGet, "/basis/Task", "", headers(handle, simulator.Tenants()[0])...)
}

func limited(t *testing.T, w *world) *http.Request {
	t.Helper()
	other := simulator.Tenants()[1]
	handle, link := w.begin(fmt.Sprintf(`{"tenants":[{"parent":%q,"journal":%q}]}`, other.Parent, other.Journal))
	w.browse(link, "lege")
	return task(w, handle)
}

func ended(t *testing.T, w *world) *http.Request {
	t.Helper()
	handle := w.logIn("lege")
	if a := w.send(w.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle)); a.status != http.StatusOK {
		t.Fatalf("ending the session: %d", a.status)
	}
	return task(w, handle)
}

func pending(t *testing.T, w *world) *http.Request {
	t.Helper()
	handle, _ := w.begin("{}")
	return task(w, handle)
}

func denied(t *testing.T, w *world) *http.Request { return loggedInAs("deny", "{}")(t, w) }

func loggedInAs(person, body string) func(*testing.T, *world) *http.Request {
	return func(_ *testing.T, w *world) *http.Request {
		handle, link := w.begin(body)
		w.browse(link, person)
		return task(w, handle)
	}
}

func forgedCallback(t *testing.T, w *world) *http.Request {
	t.Helper()
	return w.request(http.MethodGet, "/_sidecar/callback?code=x&state=forged&iss="+url.QueryEscape(w.sim.HelseID), "")
}

func helseID(f simulator.Fault) func(*simulator.Knobs) {
	return func(k *simulator.Knobs) { k.HelseID.Fault = f }
}

func expiresIn(v any) func(*simulator.Knobs) {
	return func(k *simulator.Knobs) { k.HelseID.ExpiresIn = v }
}

func claim(name string, value any) func(*simulator.Knobs) {
	return func(k *simulator.Knobs) { k.HelseID.ClaimOverrides = map[string]any{name: value} }
}

// closedPort is an address where nobody listens. A port that was free just now may be
// another test's by then.
func closedPort() string { return "http://127.0.0.1:1" }

// A refusal of one tenant is remembered for some seconds, and slows nobody else.
func TestRefusedTenantSlowsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, good := w.logIn("lege"), simulator.Tenants()[0]
	bad := good
	bad.Parent = simulator.ParentNotDelegated
	for range 20 {
		a := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, bad)...))
		if a.header.Get("Sidecar-Error") != "tenant-not-delegated" {
			t.Fatalf("%d %s", a.status, a.header.Get("Sidecar-Error"))
		}
	}
	if a := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, good)...)); a.status != http.StatusOK {
		t.Errorf("the good tenant got %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	refused := 0
	for _, r := range w.sim.TokenRequests() {
		if r.Tenant.Parent == bad.Parent && r.Error != "use_dpop_nonce" {
			refused++
		}
	}
	if refused == 0 || refused > 2 {
		t.Errorf("HelseID was asked %d times for the tenant it refuses, want the refusal remembered", refused)
	}
}
