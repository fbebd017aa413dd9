package simulator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// registerReply is a register's answer.
type registerReply struct {
	t      *testing.T
	status int
	header http.Header
	raw    string
}

// object opens an answer that must be one JSON object.
func (r registerReply) object() map[string]any {
	r.t.Helper()
	return decoded[map[string]any](r)
}

func (r registerReply) list() []any {
	r.t.Helper()
	return decoded[[]any](r)
}

func decoded[T any](r registerReply) T {
	r.t.Helper()
	var value T
	if err := json.Unmarshal([]byte(r.raw), &value); err != nil {
		r.t.Fatalf("status %d, and the answer is not the JSON wanted: %v", r.status, err)
	}
	return value
}

// wantProblem checks a refusal in problem details.
func (r registerReply) wantProblem(status int, about string) {
	r.t.Helper()
	if r.status != status || !strings.Contains(r.raw, about) {
		r.t.Fatalf("status %d: %s\nwant %d and something about %q", r.status, r.raw, status, about)
	}
	if r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("a refusal of type %q", r.header.Get("Content-Type"))
	}
	if problem := r.object(); problem["status"] != float64(status) || problem["title"] == "" || problem["instance"] == "" {
		r.t.Errorf("the problem details lack something: %s", r.raw)
	}
}

// registerToken obtains a token of the client's own.
func (v *vendor) registerToken(scope string) string {
	v.t.Helper()
	got := v.granted(url.Values{"grant_type": {GrantClientCredentials}, "scope": {scope}}, nil)
	return got.json["access_token"].(string)
}

// registerProof makes the proof for a call to a register.
func (v *vendor) registerProof(r *http.Request, token string, nonce string) string {
	v.t.Helper()
	jwk, err := publicJWK(v.dpop.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(token))
	claims := map[string]any{
		"htm": r.Method, "htu": v.sim.options.Registers + r.URL.EscapedPath(), "iat": v.clock.Unix(), "jti": rand.Text(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	raw, err := sign(v.dpop, "ES256", "", map[string]any{"typ": "dpop+jwt", "jwk": jwk}, overridden(claims, v.proof))
	if err != nil {
		v.t.Fatal(err)
	}
	return raw
}

// register calls a register with token and proof, or openly where token is "".
func (v *vendor) register(method, path, token, body string) registerReply {
	v.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", v.registerProof(r, token, ""))
	}
	return v.call(r)
}

func (v *vendor) call(r *http.Request) registerReply {
	v.t.Helper()
	recorder := httptest.NewRecorder()
	v.sim.Registers().ServeHTTP(recorder, r)
	return registerReply{t: v.t, status: recorder.Code, header: recorder.Header(), raw: recorder.Body.String()}
}

func TestRegistersWantTokenAndProof(t *testing.T) {
	for _, register := range []struct{ path, scope, other string }{
		{"/adresseregisteret/communicationparty/8100001", AddressesScope, SelvbetjeningScope},
		{"/selvbetjening/v1/client", SelvbetjeningScope, AddressesScope},
	} {
		for name, row := range map[string]struct {
			change      func(*vendor, *http.Request, string)
			code, about string
		}{
			"no token":     {func(_ *vendor, r *http.Request, _ string) { r.Header.Del("Authorization") }, codeInvalidToken, "Authorization"},
			"two tokens":   {func(_ *vendor, r *http.Request, token string) { r.Header.Add("Authorization", "DPoP "+token) }, codeInvalidToken, "2 came"},
			"bearer":       {func(_ *vendor, r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) }, codeInvalidToken, "scheme"},
			"empty token":  {func(_ *vendor, r *http.Request, _ string) { r.Header.Set("Authorization", "DPoP ") }, codeInvalidToken, "one space"},
			"forged token": {func(_ *vendor, r *http.Request, token string) { r.Header.Set("Authorization", "DPoP "+token+"x") }, codeInvalidToken, "token"},
			"expired":      {func(v *vendor, _ *http.Request, _ string) { v.clock = v.clock.Add(2 * time.Hour) }, codeInvalidToken, "expired"},
			"no proof":     {func(_ *vendor, r *http.Request, _ string) { r.Header.Del("DPoP") }, codeInvalidProof, "exactly one"},
			"late proof":   {func(v *vendor, _ *http.Request, _ string) { v.clock = v.clock.Add(7 * time.Second) }, codeInvalidProof, "old"},
			"other path":   {func(_ *vendor, r *http.Request, _ string) { r.URL.Path += "9" }, codeInvalidProof, "htu"},
			"other method": {func(_ *vendor, r *http.Request, _ string) { r.Method = http.MethodPost }, codeInvalidProof, "htm"},
			"other key": {func(v *vendor, r *http.Request, token string) {
				v.dpop = v.newKey()
				r.Header.Set("DPoP", v.registerProof(r, token, ""))
			}, codeInvalidToken, "another key"},
			"no ath": {func(v *vendor, r *http.Request, token string) {
				v.proof = map[string]any{"ath": nil}
				r.Header.Set("DPoP", v.registerProof(r, token, ""))
			}, codeInvalidProof, "ath"},
			"other audience": {func(v *vendor, r *http.Request, _ string) {
				token := v.registerToken(register.other)
				r.Header.Set("Authorization", "DPoP "+token)
				r.Header.Set("DPoP", v.registerProof(r, token, ""))
			}, codeInvalidToken, "aud"},
		} {
			t.Run(strings.Split(register.path, "/")[1]+" "+name, func(t *testing.T) {
				v := newVendor(t)
				token := v.registerToken(register.scope)
				r := httptest.NewRequest(http.MethodGet, register.path, nil)
				r.Header.Set("Authorization", "DPoP "+token)
				r.Header.Set("DPoP", v.registerProof(r, token, ""))
				row.change(v, r, token)
				got := v.call(r)
				got.wantProblem(http.StatusUnauthorized, row.about)
				if challenge := got.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `DPoP error="`+row.code+`"`) {
					t.Errorf("the challenge is %q", challenge)
				}
				if strings.Contains(got.raw, token) {
					t.Error("the refusal quotes the token")
				}
			})
		}
	}
}

func TestRegisterProofIsSingleUse(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(AddressesScope)
	r := httptest.NewRequest(http.MethodGet, "/adresseregisteret/communicationparty/8100001", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", v.registerProof(r, token, ""))
	if got := v.call(r.Clone(t.Context())); got.status != http.StatusOK {
		t.Fatalf("status %d: %s", got.status, got.raw)
	}
	v.call(r).wantProblem(http.StatusUnauthorized, "seen before")
}

func TestRegisterWantsScope(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.ClaimOverrides = map[string]any{"scope": []string{"nhn:cp-api/other"}} })
	got := v.register(http.MethodGet, "/adresseregisteret/communicationparty/8100001", v.registerToken(AddressesScope), "")
	got.wantProblem(http.StatusForbidden, AddressesScope)
	if !strings.Contains(got.header.Get("WWW-Authenticate"), codeInsufficientScope) {
		t.Error("403 without a challenge")
	}
}

func TestRegisterWantsBoundToken(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.ClaimOverrides = map[string]any{"cnf": nil} })
	v.register(http.MethodGet, "/selvbetjening/v1/client", v.registerToken(SelvbetjeningScope), "").
		wantProblem(http.StatusUnauthorized, "cnf.jkt is missing")
}

func TestRegisterNonce(t *testing.T) {
	for path, scope := range map[string]string{
		"/adresseregisteret/communicationparty/8100001": AddressesScope, "/selvbetjening/v1/client": SelvbetjeningScope,
	} {
		v := newVendor(t)
		v.sim.SetKnobs(func(k *Knobs) { k.Addresses.RequireNonce, k.Selvbetjening.RequireNonce = true, true })
		token := v.registerToken(scope)
		got := v.register(http.MethodGet, path, token, "")
		got.wantProblem(http.StatusUnauthorized, codeUseNonce)
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", v.registerProof(r, token, got.header.Get("DPoP-Nonce")))
		if got := v.call(r); got.status != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, got.status, got.raw)
		}
		r.Header.Set("DPoP", v.registerProof(r, token, "made up"))
		v.call(r).wantProblem(http.StatusUnauthorized, codeUseNonce)
	}
}

func TestRegisterScopesMustBeRegistered(t *testing.T) {
	v := newVendor(t, func(c *Client) { c.Scopes = defaultScopes })
	v.nonce = v.sim.nonces.issue(v.clock)
	for _, scope := range []string{AddressesScope, SelvbetjeningScope} {
		v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}, "scope": {scope}}, nil), "invalid_scope", scope)
	}
}

func TestRegisterFaults(t *testing.T) {
	const path = "/brreg/enheter/" + MunicipalityUnit
	for name, row := range map[string]struct {
		fault Fault
		good  func(registerReply) bool
	}{
		"limit":     {Fault{Status: 429, RetryAfter: 7}, func(r registerReply) bool { return r.status == 429 && r.header.Get("Retry-After") == "7" }},
		"error":     {Fault{Status: 500}, func(r registerReply) bool { return r.status == 500 }},
		"web page":  {Fault{HTML: true}, func(r registerReply) bool { return r.status == 200 && strings.HasPrefix(r.raw, "<!doctype") }},
		"cut":       {Fault{Truncate: true}, func(r registerReply) bool { return r.status == 200 && !json.Valid([]byte(r.raw)) }},
		"huge":      {Fault{Oversize: true}, func(r registerReply) bool { return r.status == 200 && len(r.raw) > oversize }},
		"elsewhere": {Fault{Status: 500, Path: "/underenheter"}, func(r registerReply) bool { return r.status == 200 && json.Valid([]byte(r.raw)) }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			row.fault.Count = 1
			v.sim.SetKnobs(func(k *Knobs) { k.Brreg.Fault = row.fault })
			got := v.register(http.MethodGet, path, "", "")
			if !row.good(got) {
				t.Errorf("status %d, %d bytes", got.status, len(got.raw))
			}
			if calls := v.sim.RegisterCalls(); len(calls) != 1 || calls[0].Status != got.status {
				t.Errorf("recorded: %+v", calls)
			}
			if again := v.register(http.MethodGet, path, "", ""); again.status != http.StatusOK || !json.Valid([]byte(again.raw)) {
				t.Errorf("a fault for one call lasts longer: status %d", again.status)
			}
		})
	}
}

func TestRegisterFaultsAreOfOneRegister(t *testing.T) {
	paths := map[string]string{
		RegisterBrreg: "/brreg/enheter/x", RegisterAddresses: "/adresseregisteret/x",
		RegisterSelvbetjening: "/selvbetjening/x", RegisterTestTokens: "/ttt/x",
	}
	for spoilt := range paths {
		v := newVendor(t)
		knobs := `{"` + spoilt + `":{"fault":{"status":418}}}`
		r := httptest.NewRequest(http.MethodPut, "/_simulator/knobs", strings.NewReader(knobs))
		if got := v.call(r); got.status != http.StatusOK {
			t.Fatalf("setting the knob: %s", got.raw)
		}
		for name, path := range paths {
			if got := v.register(http.MethodGet, path, "", ""); (got.status == 418) != (name == spoilt) {
				t.Errorf("a fault of %s: %s answers %d", spoilt, name, got.status)
			}
		}
	}
}

func TestRegisterCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(t)
		v.sim.SetKnobs(func(k *Knobs) { k.Brreg.Fault.DelayMS = 100 })
		var wait sync.WaitGroup
		for range 5 {
			wait.Go(func() { v.register(http.MethodGet, "/brreg/enheter/"+MunicipalityUnit, "", "") })
		}
		wait.Wait()
		v.register(http.MethodGet, "/brreg/enheter/"+MunicipalityUnit, "", "")
		if got := v.sim.MaxConcurrentRegisterCalls(RegisterBrreg); got != 5 {
			t.Errorf("%d at once, want 5", got)
		}
		calls := v.sim.RegisterCalls()
		if len(calls) != 6 || calls[5].InFlight != 1 {
			t.Errorf("recorded: %+v", calls)
		}
		v.sim.ResetRegisterCalls()
		if len(v.sim.RegisterCalls()) != 0 || v.sim.MaxConcurrentRegisterCalls(RegisterBrreg) != 0 {
			t.Error("the reset forgets nothing")
		}
	})
}

func TestRegisterClientLeaves(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.Brreg.Fault.DelayMS = 60_000 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	v.call(httptest.NewRequestWithContext(gone, http.MethodGet, "/brreg/enheter/"+MunicipalityUnit, nil))
	if calls := v.sim.RegisterCalls(); len(calls) != 1 || calls[0].Status != 0 {
		t.Errorf("recorded: %+v", calls)
	}
}

func TestRegistersAreServed(t *testing.T) {
	world, err := Start(Options{SigningKey: testRSAKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = world.Close() }()
	for base, status := range map[string]int{
		world.Brreg + "/enheter/" + MunicipalityUnit:            http.StatusOK,
		world.Adresseregisteret + "/communicationparty/1":       http.StatusUnauthorized,
		world.Selvbetjening + "/v1/client":                      http.StatusUnauthorized,
		world.TestTokens + "/v2/create-test-token-with-key":     http.StatusMethodNotAllowed,
		world.HelseID + "/.well-known/openid-configuration":     http.StatusOK,
		world.SFM + "/brreg/enheter/" + MunicipalityUnit:        http.StatusUnauthorized,
		world.HelseID + "/brregister/enheter/" + DepartmentUnit: http.StatusNotFound,
	} {
		response, err := http.Get(base)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s: status %d, want %d", base, response.StatusCode, status)
		}
	}
	response, err := http.Get(world.SFM + "/_simulator/registers")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	report, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(report), `"/enheter/`+MunicipalityUnit+`"`) || !strings.Contains(string(report), `"max_in_flight"`) {
		t.Errorf("the report: %s", report)
	}
}

func TestRegisterBodyIsBounded(t *testing.T) {
	v := newVendor(t)
	v.register(http.MethodPost, "/ttt/v2/create-test-token-with-key", "", strings.Repeat("x", maxRegisterBody+1)).
		wantProblem(http.StatusRequestEntityTooLarge, "larger than")
}

func TestRegisterLosesAnswers(t *testing.T) {
	world, err := Start(Options{SigningKey: testRSAKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = world.Close() }()
	for _, fault := range []Fault{{Reset: true}, {DropAnswer: true}} {
		world.SetKnobs(func(k *Knobs) { k.Brreg.Fault = fault })
		world.ResetRegisterCalls()
		response, err := http.Get(world.Brreg + "/enheter/" + MunicipalityUnit)
		if err == nil {
			_ = response.Body.Close()
			t.Errorf("%+v: status %d", fault, response.StatusCode)
		}
		if calls := world.RegisterCalls(); len(calls) == 0 || calls[0].Status != 0 {
			t.Errorf("%+v: recorded: %+v", fault, calls)
		}
	}
}
