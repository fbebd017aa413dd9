package selvbetjening_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/selvbetjening"
)

// serve starts a Selvbetjening that answers by method and path.
func serve(t *testing.T, answers map[string]http.HandlerFunc) (api *selvbetjening.API, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Method+" "+r.URL.Path)
		mu.Unlock()
		if handle, ok := answers[r.Method+" "+r.URL.Path]; ok {
			handle(w, r)
			return
		}
		w.WriteHeader(404)
	}))
	t.Cleanup(s.Close)
	api, err := selvbetjening.New(selvbetjening.Options{URL: s.URL + "/api", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return api, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(seen) }
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if status >= 400 {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const registration = `{"clientId":"c","apiScopes":[{"scope":"a/b","status":"ok","statusReason":null},{"scope":"c/d","status":"pending","statusReason":"not approved"}],
	"redirectUris":["http://localhost/callback"],"postLogoutRedirectUris":[],"childOrganizationNumbers":["999944582"],
	"audienceSpecificClientClaims":[{"claimType":"sfm-id","activeClaimValue":"x","pendingClaimValue":"y","status":"updatePending","statusReason":"soon"}],"new":1}`

// Requirement of the fact sheet: the older address is asked where the newer is not known.
func TestClient(t *testing.T) {
	want := &selvbetjening.Client{
		ClientID: "c",
		Scopes: []selvbetjening.ClientScope{
			{Scope: "a/b", Status: selvbetjening.StatusOK}, {Scope: "c/d", Status: selvbetjening.StatusPending, Reason: "not approved"},
		},
		RedirectURIs: []string{"http://localhost/callback"}, PostLogoutRedirectURIs: []string{}, Children: []string{"999944582"},
		Claims: []selvbetjening.AudienceClaim{{Type: "sfm-id", Active: "x", Pending: "y", Status: selvbetjening.StatusUpdatePending, Reason: "soon"}},
	}
	for _, path := range []string{"/api/v1/client", "/api/v1/client-status"} {
		api, _ := serve(t, map[string]http.HandlerFunc{"GET " + path: say(200, registration)})
		got, err := api.Client(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(path, err, diff)
		}
	}
	api, asked := serve(t, map[string]http.HandlerFunc{"GET /api/v1/client": say(403, `{}`), "GET /api/v1/client-status": say(200, registration)})
	if _, err := api.Client(t.Context()); err == nil || len(asked()) != 1 {
		t.Error("only a 404 leads to the other address:", err, asked())
	}
}

func TestKeys(t *testing.T) {
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	api, _ := serve(t, map[string]http.HandlerFunc{"GET /api/v1/client-secret": say(200, `[
		{"expiration":"2027-01-02T03:04:05Z","kid":"a","jwkThumbprint":"t","origin":"Api","publicJwk":null},
		{"expiration":"2027-01-02T04:04:05+01:00","kid":"b","origin":"Gui","publicJwk":{"kty":"EC"}},
		{"expiration":"2027-01-02T03:04:05","kid":null},{"expiration":null},{"expiration":""}]`)})
	got, err := api.Keys(t.Context())
	want := []selvbetjening.Key{
		{ID: "a", Thumbprint: "t", Origin: "Api", Expires: at},
		{ID: "b", Origin: "Gui", Expires: at, Public: json.RawMessage(`{"kty":"EC"}`)},
		{Expires: at}, {}, {},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, body := range []string{`null`, `{}`, `"x"`, `[{"expiration":"soon"}]`, `[{"expiration":5}]`, ``, `[`} {
		api, _ := serve(t, map[string]http.HandlerFunc{"GET /api/v1/client-secret": say(200, body)})
		if keys, err := api.Keys(t.Context()); err == nil {
			t.Errorf("%s: %v", body, keys)
		}
	}
}

func TestAddKey(t *testing.T) {
	var sent string
	api, asked := serve(t, map[string]http.HandlerFunc{"POST /api/v1/client-secret": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = r.Header.Get("Content-Type") + " " + string(body)
		say(200, `{"expiration":"2027-01-02T03:04:05.1234567Z"}`)(w, r)
	}})
	expires, err := api.AddKey(t.Context(), json.RawMessage(`{"kty":"EC"}`))
	if err != nil || expires.Unix() != time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC).Unix() || sent != `application/json {"kty":"EC"}` || len(asked()) != 1 {
		t.Error(expires, err, sent, asked())
	}
}

// What is said of a failure must be enough to tell whether the key may be registered all the same.
func TestAddKeyFails(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		connection, _, _ := http.NewResponseController(w).Hijack()
		_ = connection.Close()
	}
	for name, test := range map[string]struct {
		handle  http.HandlerFunc
		unknown bool
		want    string
	}{
		"bad request":  {say(400, `{"title":"Bad","detail":"alg is missing"}`), false, "Bad alg is missing"},
		"unauthorized": {say(401, ``), false, "does not take the token"},
		"forbidden":    {say(403, ``), false, "may not use this API"},
		"not found":    {say(404, ``), false, "no such address"},
		"conflict":     {say(409, ``), false, "this key already"},
		"too many":     {say(429, ``), false, "too often"},
		"teapot":       {say(418, ``), false, "refuses (status 418)"},
		"redirect":     {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); w.WriteHeader(307) }, false, "elsewhere"},
		"fails":        {say(500, ``), true, "fails"},
		"bad gateway":  {say(502, `<html>`), true, "fails"},
		"garbled":      {say(200, `<html>`), true, "understood"},
		"cut":          {cut, true, "broke before"},
	} {
		t.Run(name, func(t *testing.T) {
			api, asked := serve(t, map[string]http.HandlerFunc{"POST /api/v1/client-secret": test.handle})
			_, err := api.AddKey(t.Context(), json.RawMessage(`{"kty":"EC"}`))
			e, ok := errors.AsType[*selvbetjening.Error](err)
			if !ok || e.Unknown != test.unknown || !strings.Contains(err.Error(), test.want) || e.Mend == "" || len(asked()) != 1 {
				t.Errorf("%v %+v, asked %v", err, e, asked())
			}
		})
	}
	refusing := httptest.NewServer(nil)
	refusing.Close()
	api, _ := selvbetjening.New(selvbetjening.Options{URL: refusing.URL})
	_, err := api.AddKey(t.Context(), json.RawMessage(`{}`))
	if e, ok := errors.AsType[*selvbetjening.Error](err); !ok || e.Unknown || !strings.Contains(err.Error(), "reached") || strings.Contains(err.Error(), refusing.URL) {
		t.Error(err)
	}
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hanging.Close()
	api, _ = selvbetjening.New(selvbetjening.Options{URL: hanging.URL, Timeout: 50 * time.Millisecond})
	_, err = api.AddKey(t.Context(), nil)
	if e, ok := errors.AsType[*selvbetjening.Error](err); !ok || !e.Unknown || !strings.Contains(err.Error(), "in time") {
		t.Error(err)
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.AddKey(left, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// refusing is a transport that gets no token.
type refusing struct{ hint string }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, r }
func (r refusing) Error() string                                   { return "client-not-approved: said no" }
func (r refusing) Detail() string                                  { return "HelseID said no" }
func (r refusing) Hint() string                                    { return r.hint }

func TestNoToken(t *testing.T) {
	for hint, mend := range map[string]string{"": "have the scope", "call NHN": "call NHN"} {
		api, _ := selvbetjening.New(selvbetjening.Options{URL: "https://selvbetjening.example", Transport: refusing{hint}})
		_, err := api.Keys(t.Context())
		e, ok := errors.AsType[*selvbetjening.Error](err)
		if !ok || !strings.Contains(e.Mend, mend) || e.Unknown || !errors.As(err, new(refusing)) ||
			err.Error() != "asking HelseID Selvbetjening: there is no token for it: HelseID said no" {
			t.Errorf("%v %+v", err, e)
		}
	}
}

func TestTextsAreScrubbed(t *testing.T) {
	for detail, want := range map[string]string{
		"person 13116900216 is":      "person [hidden] is",
		"131169 00216":               "[hidden]",
		strings.Repeat("eyJhbG", 20): "[hidden]",
		"a\nb\x00c\u202ed":           "a b c d",
		strings.Repeat("word ", 100): strings.Repeat("word ", 40) + "…",
	} {
		body, _ := json.Marshal(map[string]string{"detail": detail})
		api, _ := serve(t, map[string]http.HandlerFunc{"GET /api/v1/client-secret": say(400, string(body))})
		_, err := api.Keys(t.Context())
		if e, ok := errors.AsType[*selvbetjening.Error](err); !ok || e.Detail != want {
			t.Errorf("%q became %+v", detail, e)
		}
	}
}

func TestTenants(t *testing.T) {
	api, _ := serve(t, map[string]http.HandlerFunc{"GET /api/v1/client/tenants": say(200,
		`[{"organizationNumber":"100100126","name":"n","status":"Active","delegation":true,"terms":[{"name":"SFM","signed":true}]}]`)})
	got, err := api.Tenants(t.Context())
	want := []selvbetjening.Tenant{{
		Orgnr: "100100126", Name: "n", Status: selvbetjening.TenantActive, Delegation: true, Terms: []selvbetjening.Term{{Name: "SFM", Signed: true}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	api, _ = serve(t, nil)
	if _, err := api.Tenants(t.Context()); !errors.Is(err, selvbetjening.ErrNotOffered) {
		t.Error(err)
	}
}

func TestBounds(t *testing.T) {
	api, _ := serve(t, map[string]http.HandlerFunc{"GET /api/v1/client-secret": say(200, "["+strings.Repeat(" ", 4<<20)+"]")})
	if _, err := api.Keys(t.Context()); err == nil {
		t.Error("a huge answer was taken")
	}
	for _, address := range []string{"", "x", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x#y"} {
		if _, err := selvbetjening.New(selvbetjening.Options{URL: address}); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
