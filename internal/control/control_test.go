package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/control"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/tenantmap"
)

// fakeSessions answers what it is told to and remembers what it was asked.
type fakeSessions struct {
	begin    session.Begin
	adopted  string
	callback session.Callback
	link     string
	browser  string
	wait     time.Duration
	hint     bool
	// untilDone has Status wait for the end of its context.
	untilDone bool
	status    session.Status
	err       error
}

func (f *fakeSessions) Begin(_ context.Context, b session.Begin) (session.Begun, error) {
	f.begin = b
	return session.Begun{Handle: "handle", LoginURL: "http://localhost:8080/_sidecar/login/x", ExpiresIn: 10 * time.Minute}, f.err
}

func (f *fakeSessions) Adopt(_ context.Context, refreshToken string, b session.Begin) (string, error) {
	f.adopted, f.begin = refreshToken, b
	return "handle", f.err
}

func (f *fakeSessions) Open(_ context.Context, link, browser string) (session.Opened, error) {
	f.link, f.browser = link, browser
	return session.Opened{Location: "https://helseid.example/authorize", Browser: "cookie-value"}, f.err
}

func (f *fakeSessions) Finish(_ context.Context, c session.Callback) error {
	f.callback = c
	return f.err
}

func (f *fakeSessions) Status(ctx context.Context, _, _ string, wait time.Duration) (session.Status, error) {
	f.wait = wait
	if f.untilDone {
		<-ctx.Done()
	}
	return f.status, f.err
}

func (f *fakeSessions) End(_ context.Context, _, _ string, hint bool) (session.Ended, error) {
	f.hint = hint
	return session.Ended{EndSessionURL: "http://localhost:8080/_sidecar/logout/y"}, f.err
}

func (f *fakeSessions) Logout(_ context.Context, link string) (string, error) {
	f.link = link
	return "https://helseid.example/endsession", f.err
}

func (*fakeSessions) LogoutAddress(context.Context) (string, error) {
	return "https://helseid.example/endsession?client_id=c", nil
}

// serve sends one request through a handler over f.
func serve(f *fakeSessions, r *http.Request) (*httptest.ResponseRecorder, error) {
	h := control.New(control.Options{
		Sessions: f, LogIn: true,
		Parse: func(parent, child, journal string) (tenantmap.Tenant, error) {
			return tenantmap.Tenant{Parent: parent, Child: child, Journal: journal}, nil
		},
		Alias: func(alias string) (tenantmap.Tenant, error) {
			if alias != "known" {
				return new(tenantmap.Map).Alias(alias)
			}
			return tenantmap.Tenant{Parent: "100100126", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}, nil
		},
		Problem: func(_ *http.Request, err error) any { return map[string]string{"title": err.Error()} },
	})
	w := httptest.NewRecorder()
	return w, h.Serve(w, r)
}

func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if !strings.HasPrefix(path, "/_sidecar/sessions") {
		r.Header.Set(session.Header, "handle")
	}
	return r
}

func TestRefused(t *testing.T) {
	tests := map[string]struct {
		method, path, body string
		code               string
	}{
		"unknown call":          {"GET", "/_sidecar/nothing", "", "control-unknown"},
		"wrong method":          {"PUT", "/_sidecar/sessions", "{}", "control-unknown"},
		"no JSON":               {"POST", "/_sidecar/sessions", "hello", "request-invalid"},
		"empty body":            {"POST", "/_sidecar/sessions", "", "request-invalid"},
		"array":                 {"POST", "/_sidecar/sessions", "[]", "request-invalid"},
		"more after it":         {"POST", "/_sidecar/sessions", "{} {}", "request-invalid"},
		"unknown member":        {"POST", "/_sidecar/sessions", `{"expects":{}}`, "request-invalid"},
		"unknown inner member":  {"POST", "/_sidecar/sessions", `{"expect":{"name":"x"}}`, "request-invalid"},
		"wrong type":            {"POST", "/_sidecar/sessions", `{"prompt":1}`, "request-invalid"},
		"too large":             {"POST", "/_sidecar/sessions", `{"prompt":"` + strings.Repeat("x", 70_000) + `"}`, "request-invalid"},
		"negative age":          {"POST", "/_sidecar/sessions", `{"max_auth_age":-1}`, "request-invalid"},
		"expected nobody":       {"POST", "/_sidecar/sessions", `{"expect":{"pid":""}}`, "request-invalid"},
		"limited to nothing":    {"POST", "/_sidecar/sessions", `{"tenants":[]}`, "request-invalid"},
		"relative redirect":     {"POST", "/_sidecar/sessions", `{"redirect_uri":"/cb"}`, "request-invalid"},
		"alias nobody has":      {"POST", "/_sidecar/sessions", `{"tenants":["sentrum"]}`, "tenant-unknown"},
		"odd tenant":            {"POST", "/_sidecar/sessions", `{"tenants":[{"orgnr":"1"}]}`, "request-invalid"},
		"tenant at log-in":      {"POST", "/_sidecar/sessions", `{"tenant":"sentrum"}`, "request-invalid"},
		"null":                  {"POST", "/_sidecar/sessions", "null", "request-invalid"},
		"long hint":             {"POST", "/_sidecar/sessions", `{"login_hint":"` + strings.Repeat("x", 2000) + `"}`, "request-invalid"},
		"many tenants":          {"POST", "/_sidecar/sessions", `{"tenants":[` + strings.Repeat(`"a",`, 300) + `"a"]}`, "request-invalid"},
		"whole tenant, too":     {"POST", "/_sidecar/sessions", `{"tenant":{"parent":"100100126","journal":"j"}}`, "request-invalid"},
		"odd wait":              {"GET", "/_sidecar/session?wait=soon", "", "request-invalid"},
		"bad callback":          {"POST", "/_sidecar/sessions/callback", `{"kode":"x"}`, "request-invalid"},
		"HEAD of the API":       {"HEAD", "/_sidecar/session", "", "control-unknown"},
		"POST to a login link":  {"POST", "/_sidecar/login/x", "", "control-unknown"},
		"GET creates no log-in": {"GET", "/_sidecar/sessions", "", "control-unknown"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := serve(new(fakeSessions), request(tt.method, tt.path, tt.body))
			coded, ok := errors.AsType[interface {
				error
				Code() string
				Detail() string
			}](err)
			if !ok || coded.Code() != tt.code || coded.Detail() == "" {
				t.Errorf("error %v, want code %s with a detail", err, tt.code)
			}
		})
	}
}

func TestWrongMethodSaysWhichAreKnown(t *testing.T) {
	w, err := serve(new(fakeSessions), request("PUT", "/_sidecar/session", ""))
	if e, ok := errors.AsType[*control.Error](err); !ok || !e.MethodNotAllowed() {
		t.Errorf("error %v, want a wrong method", err)
	}
	if got := w.Header().Get("Allow"); got != "DELETE, GET" {
		t.Errorf("Allow %q", got)
	}
}

func TestCreate(t *testing.T) {
	f := new(fakeSessions)
	w, err := serve(f, request("POST", "/_sidecar/sessions", `{
		"expect":{"hpr_number":"1234567"},"prompt":"login","max_auth_age":0,"acr_values":"idp:x","login_hint":"h",
		"tenants":[{"parent":"100100126","child":"999944582","journal":"7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"},"known"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"session": "handle", "state": "pending", "login_url": "http://localhost:8080/_sidecar/login/x", "expires_in": 600.0,
	}
	if diff := cmp.Diff(want, decoded(t, w)); w.Code != http.StatusCreated || diff != "" {
		t.Errorf("status %d, body (-want +got):\n%s", w.Code, diff)
	}
	zero := int64(0)
	wantBegin := session.Begin{
		Expect: session.Expect{HPRNumber: "1234567"},
		Tenants: []session.Tenant{
			{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"},
			{Parent: "100100126", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}, // what the alias stands for
		},
		LoginOptions: session.LoginOptions{Prompt: "login", MaxAuthAge: &zero, ACRValues: "idp:x", LoginHint: "h"},
	}
	if diff := cmp.Diff(wantBegin, f.begin); diff != "" {
		t.Errorf("began with (-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

// What a log-in says of its tenant, with HELSEID_LOGIN_TENANT=request-object.
func TestTenantAtLogIn(t *testing.T) {
	const one, other = `{"parent":"100100126","child":"999944582","journal":"j"}`, `{"parent":"100100126","journal":"j"}`
	want := session.Tenant{Parent: "100100126", Child: "999944582", Journal: "j"}
	tests := map[string]struct {
		body, code string
		tenant     session.Tenant
	}{
		"named":               {body: `{"tenant":` + one + `}`, tenant: want},
		"among tenants":       {body: `{"tenant":` + one + `,"tenants":[` + other + `,` + one + `]}`, tenant: want},
		"hand-over":           {body: `{"refresh_token":"synthetic"}`},
		"missing":             {body: `{}`, code: "request-invalid"},
		"null":                {body: `{"tenant":null}`, code: "request-invalid"},
		"an alias nobody has": {body: `{"tenant":"sentrum"}`, code: "tenant-unknown"},
		"odd member":          {body: `{"tenant":{"orgnr":"1"}}`, code: "request-invalid"},
		"malformed":           {body: `{"tenant":{"parent":"1","journal":"j"}}`, code: "tenant-invalid"},
		"not among tenants":   {body: `{"tenant":` + one + `,"tenants":[` + other + `]}`, code: "request-invalid"},
		"with a hand-over":    {body: `{"refresh_token":"synthetic","tenant":` + one + `}`, code: "request-invalid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := new(fakeSessions)
			h := control.New(control.Options{Sessions: f, LogIn: true, TenantAtLogIn: true, Parse: func(p, c, j string) (tenantmap.Tenant, error) {
				if p == "1" {
					return tenantmap.Tenant{}, coded("tenant-invalid")
				}
				return tenantmap.Tenant{Parent: p, Child: c, Journal: j}, nil
			}})
			err := h.Serve(httptest.NewRecorder(), request("POST", "/_sidecar/sessions", tt.body))
			if tt.code != "" {
				if e, ok := errors.AsType[interface {
					error
					Code() string
				}](err); !ok || e.Code() != tt.code {
					t.Errorf("error %v, want %s", err, tt.code)
				}
				return
			}
			if err != nil || f.begin.Tenant != tt.tenant {
				t.Errorf("began for %+v (%v)", f.begin.Tenant, err)
			}
		})
	}
}

// coded is another room's refusal.
type coded string

func (c coded) Error() string { return string(c) }
func (c coded) Code() string  { return string(c) }

func TestHandOver(t *testing.T) {
	f := new(fakeSessions)
	w, err := serve(f, request("POST", "/_sidecar/sessions", `{"refresh_token":"synthetic","expect":{"sub":"s"}}`))
	if err != nil || w.Code != http.StatusCreated {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	if diff := cmp.Diff(map[string]any{"session": "handle", "state": "active"}, decoded(t, w)); diff != "" {
		t.Error(diff)
	}
	if f.adopted != "synthetic" || f.begin.Expect.Subject != "s" {
		t.Error("the hand-over did not arrive as it was sent")
	}
}

func TestNobodyLogsInWithoutTheGrant(t *testing.T) {
	h := control.New(control.Options{Sessions: new(fakeSessions)})
	err := h.Serve(httptest.NewRecorder(), request("POST", "/_sidecar/sessions", "{}"))
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code() != "grant-mismatch" {
		t.Errorf("error %v, want grant-mismatch", err)
	}
}

func TestStatus(t *testing.T) {
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	person := helseid.Person{Subject: "sub-1", PID: "synthetic-pid", Name: "Syntetisk Lege", SecurityLevel: "4", AuthTime: at}
	tests := map[string]struct {
		status session.Status
		want   map[string]any
	}{
		"active": {
			session.Status{State: session.Active, Person: person, Expires: at.Add(time.Hour)},
			map[string]any{
				"state": "active", "expires_at": "2026-11-21T09:00:00Z", "auth_time": "2026-11-21T08:00:00Z", "security_level": "4",
				"user": map[string]any{"sub": "sub-1", "name": "Syntetisk Lege", "hpr_number": nil}, "sfm_sessions": []any{},
			},
		},
		"active, with HPR number": {
			session.Status{State: session.Active, Person: helseid.Person{Subject: "sub-1", HPRNumber: "1234567"}},
			map[string]any{
				"state": "active", "expires_at": nil, "auth_time": nil,
				"user": map[string]any{"sub": "sub-1", "name": "", "hpr_number": "1234567"}, "sfm_sessions": []any{},
			},
		},
		"failed": {
			session.Status{State: session.Failed, Err: errors.New("why")},
			map[string]any{
				"state": "failed", "expires_at": nil, "auth_time": nil, "sfm_sessions": []any{},
				"error": map[string]any{"title": "why"},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeSessions{status: tt.status}
			w, err := serve(f, request("GET", "/_sidecar/session?wait=5m", ""))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, decoded(t, w)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if f.wait != 2*time.Minute {
				t.Errorf("waits %v, want the bound of 2m", f.wait)
			}
		})
	}
}

func TestCallbackOfTheEPJ(t *testing.T) {
	f := new(fakeSessions)
	r := request("POST", "/_sidecar/sessions/callback", `{"code":"c","state":"s","iss":"i","error":"e","error_description":"left behind"}`)
	r.AddCookie(&http.Cookie{Name: "sfm_sidecar_login", Value: "no matter"})
	w, err := serve(f, r)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	if want := (session.Callback{Code: "c", State: "s", Issuer: "i", Error: "e"}); f.callback != want {
		t.Error("the callback did not arrive as it was sent")
	}
	if diff := cmp.Diff(map[string]any{"state": "active"}, decoded(t, w)); diff != "" {
		t.Error(diff)
	}
}

// SFM's own sessions are shown while the person's is active.
func TestSFMSessions(t *testing.T) {
	since := time.Date(2026, 3, 1, 12, 0, 0, 5, time.FixedZone("", 3600))
	h := control.New(control.Options{
		Sessions: &fakeSessions{status: session.Status{ID: "id", State: session.Active}},
		SFMSessions: func(_ context.Context, id string) []control.SFMSession {
			return []control.SFMSession{
				{Tenant: session.Tenant{Parent: "100100126", Child: "999944582", Journal: id}, State: "open", Since: since},
				{Tenant: session.Tenant{Parent: "313325016", Journal: id}, State: "lost", Since: since},
			}
		},
	})
	w := httptest.NewRecorder()
	if err := h.Serve(w, request("GET", "/_sidecar/session", "")); err != nil {
		t.Fatal(err)
	}
	want := []any{
		map[string]any{"tenant": map[string]any{"parent": "100100126", "child": "999944582", "journal": "id"}, "state": "open", "since": "2026-03-01T11:00:00Z"},
		map[string]any{"tenant": map[string]any{"parent": "313325016", "journal": "id"}, "state": "lost", "since": "2026-03-01T11:00:00Z"},
	}
	if diff := cmp.Diff(want, decoded(t, w)["sfm_sessions"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the sessions refuse is the front door's to render: nothing is written.
func TestRefusalsPassThrough(t *testing.T) {
	for _, call := range [][3]string{
		{"POST", "/_sidecar/sessions", "{}"}, {"POST", "/_sidecar/sessions", `{"refresh_token":"x"}`},
		{"POST", "/_sidecar/sessions/callback", "{}"}, {"GET", "/_sidecar/session", ""}, {"DELETE", "/_sidecar/session", ""},
	} {
		w, err := serve(&fakeSessions{err: loginFailed{"denied"}}, request(call[0], call[1], call[2]))
		if !errors.Is(err, loginFailed{"denied"}) || w.Body.Len() > 0 {
			t.Errorf("%s %s: %v, body %q", call[0], call[1], err, w.Body)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		r := request(method, "/_sidecar/session", "")
		r.Header.Del(session.Header)
		_, err := serve(new(fakeSessions), r)
		if e, ok := errors.AsType[*session.Error](err); !ok || e.Code() != "session-required" {
			t.Errorf("%s without a handle: %v", method, err)
		}
	}
}

func TestLogoutLink(t *testing.T) {
	f := new(fakeSessions)
	w, err := serve(f, request("GET", "/_sidecar/logout/one-time", ""))
	if err != nil || w.Code != http.StatusFound || w.Header().Get("Location") != "https://helseid.example/endsession" || f.link != "one-time" {
		t.Errorf("status %d to %q, %v", w.Code, w.Header().Get("Location"), err)
	}
}

func TestEnd(t *testing.T) {
	f := new(fakeSessions)
	w, err := serve(f, request("DELETE", "/_sidecar/session?id_token_hint=true", ""))
	if err != nil || w.Code != http.StatusOK || !f.hint {
		t.Errorf("status %d, hint %v, %v", w.Code, f.hint, err)
	}
	if diff := cmp.Diff(map[string]any{"end_session_url": "http://localhost:8080/_sidecar/logout/y"}, decoded(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestLoginLink(t *testing.T) {
	f := new(fakeSessions)
	r := request("GET", "/_sidecar/login/one-time", "")
	r.AddCookie(&http.Cookie{Name: "sfm_sidecar_login", Value: "from-before"})
	w, err := serve(f, r)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusFound || w.Header().Get("Location") != "https://helseid.example/authorize" {
		t.Errorf("status %d to %q", w.Code, w.Header().Get("Location"))
	}
	if f.link != "one-time" || f.browser != "from-before" {
		t.Error("link or cookie did not arrive")
	}
	c := w.Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/_sidecar/" || c.Value != "cookie-value" {
		t.Errorf("cookie HttpOnly %v, SameSite %v, Path %q", c.HttpOnly, c.SameSite, c.Path)
	}
}

func TestCallbackPage(t *testing.T) {
	f := new(fakeSessions)
	r := request("GET", "/_sidecar/callback?code=c&state=s&iss=i", "")
	r.AddCookie(&http.Cookie{Name: "sfm_sidecar_login", Value: "b"})
	w, err := serve(f, r)
	if err != nil {
		t.Fatal(err)
	}
	if want := (session.Callback{Code: "c", State: "s", Issuer: "i", Own: true, Browser: "b"}); f.callback != want {
		t.Error("the callback did not arrive as it was sent")
	}
	if !strings.Contains(w.Body.String(), "Du er logget inn") || w.Header().Get("Content-Language") != "nb" {
		t.Errorf("the page does not say in Norwegian that the person is logged in:\n%s", w.Body)
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy %q", policy)
	}
}

// loginFailed is a refusal of another room.
type loginFailed struct{ reason string }

func (loginFailed) Error() string    { return "login-failed" }
func (loginFailed) Code() string     { return "login-failed" }
func (e loginFailed) Reason() string { return e.reason }

func TestPagesOfRefusals(t *testing.T) {
	tests := []struct{ path, reason, language, want string }{
		{"/_sidecar/callback", "denied", "nb-NO,nb;q=0.9,en;q=0.8", "Innloggingen ble avbrutt"},
		{"/_sidecar/callback", "denied", "en-GB,en;q=0.9,nb;q=0.1", "The log-in was cancelled"},
		{"/_sidecar/callback", "denied", "fr", "The log-in was cancelled"},
		{"/_sidecar/login/x", "browser-changed", "", "annen nettleser"},
		{"/_sidecar/login/x", "id-token-invalid", "en", "did not succeed"},
		{"/_sidecar/logout/x", "replayed", "en", "log-out link"},
	}
	for _, tt := range tests {
		t.Run(tt.reason+" "+tt.language, func(t *testing.T) {
			r := request("GET", tt.path, "")
			r.Header.Set("Accept-Language", tt.language)
			_, err := serve(&fakeSessions{err: loginFailed{tt.reason}}, r)
			page, ok := errors.AsType[interface {
				error
				WritePage(http.ResponseWriter, *http.Request, int)
			}](err)
			if !ok {
				t.Fatalf("error %v can't write itself as a page", err)
			}
			w := httptest.NewRecorder()
			w.Header().Set("Sidecar-Error", "login-failed")
			w.Header().Set("Sidecar-Request-Id", "request-1")
			page.WritePage(w, r, http.StatusBadRequest)
			body := w.Body.String()
			if w.Code != http.StatusBadRequest || !strings.Contains(body, tt.want) || !strings.Contains(body, "<code>login-failed</code> <code>request-1</code>") {
				t.Errorf("status %d, page lacks %q:\n%s", w.Code, tt.want, body)
			}
		})
	}
}

// another is the refusal of a person who was not expected.
type another struct{ error }

func (another) Code() string { return "person-mismatch" }

// Whoever finds somebody else logged in needs a way to end that, and nobody else
// is shown one.
func TestPageOfAnotherPersonLeadsToLogOut(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{{another{errors.New("another")}, true}, {loginFailed{"denied"}, false}} {
		r := request("GET", "/_sidecar/callback?code=c&state=s&iss=i", "")
		_, err := serve(&fakeSessions{err: tt.err}, r)
		page, ok := errors.AsType[interface {
			error
			WritePage(http.ResponseWriter, *http.Request, int)
		}](err)
		if !ok {
			t.Fatalf("error %v can't write itself as a page", err)
		}
		w := httptest.NewRecorder()
		page.WritePage(w, r, http.StatusForbidden)
		link := `<a href="https://helseid.example/endsession?client_id=c">Logg ut av HelseID</a>`
		if got := strings.Contains(w.Body.String(), link); got != tt.want {
			t.Errorf("%v: a way out of HelseID: %v, want %v\n%s", tt.err, got, tt.want, w.Body)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	w, err := serve(new(fakeSessions), request("GET", "/_sidecar/openapi.json", ""))
	if err != nil {
		t.Fatal(err)
	}
	paths := decoded(t, w)["paths"].(map[string]any)
	for _, p := range []string{"/_sidecar/sessions", "/_sidecar/sessions/callback", "/_sidecar/session", "/_sidecar/openapi.json"} {
		if paths[p] == nil {
			t.Errorf("%s is not described", p)
		}
	}
}

func TestBrowserPage(t *testing.T) {
	for path, want := range map[string]bool{
		"/_sidecar/login/x": true, "/_sidecar/callback": true, "/_sidecar/logout/x": true,
		"/_sidecar/session": false, "/_sidecar/sessions": false, "/_sidecar/callback/x": false, "/basis/_sidecar/callback": false,
	} {
		if got := control.BrowserPage(httptest.NewRequest(http.MethodGet, path, nil)); got != want {
			t.Errorf("BrowserPage(%s) = %v", path, got)
		}
		if control.BrowserPage(httptest.NewRequest(http.MethodPost, path, nil)) {
			t.Errorf("POST %s is no page", path)
		}
	}
}

func decoded(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("the answer is no JSON object: %v", err)
	}
	return v
}

// Nobody's question for a change holds up the end of the sidecar.
func TestStopAnswersWhoWaits(t *testing.T) {
	stopping := make(chan struct{})
	h := control.New(control.Options{
		Sessions: &fakeSessions{untilDone: true, status: session.Status{State: session.Pending}}, Stopping: stopping,
	})
	answered := make(chan error)
	go func() { answered <- h.Serve(httptest.NewRecorder(), request("GET", "/_sidecar/session?wait=2m", "")) }()
	close(stopping)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
