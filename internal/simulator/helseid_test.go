package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDiscovery(t *testing.T) {
	v := newVendor(t)
	got := v.do(httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil)).json
	for name, want := range map[string]any{
		"issuer":                                v.sim.options.Issuer,
		"token_endpoint":                        v.sim.options.Issuer + "/connect/token",
		"pushed_authorization_request_endpoint": v.sim.options.Issuer + "/connect/par",
		"jwks_uri":                              v.sim.options.Issuer + "/.well-known/openid-configuration/jwks",
		"authorization_response_iss_parameter_supported": true,
		"require_pushed_authorization_requests":          false,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	if err := v.sim.RotateSigningKey(); err != nil {
		t.Fatal(err)
	}
	keys := v.do(httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration/jwks", nil)).json["keys"].([]any)
	if len(keys) != 2 {
		t.Fatalf("%d keys after a rotation, want 2", len(keys))
	}
	newest := keys[0].(map[string]any)
	if newest["use"] != "sig" || newest["alg"] != "RS256" || newest["kid"] == nil || newest["d"] != nil {
		t.Error("the published key is not a public RS256 key for signatures")
	}
}

// TestTheWholeWay is a log-in without organization, then two tenants.
func TestTheWholeWay(t *testing.T) {
	v := newVendor(t)
	back := v.authorize(pushForm(), "lege")
	if back.Get("state") != "the-state" || back.Get("iss") != v.sim.options.Issuer || back.Get("code") == "" {
		t.Fatal("the redirect lacks state, iss or code")
	}
	first := v.granted(codeForm(back.Get("code")), nil)
	if claims := claimsOf(t, first.json["access_token"]); claims[claimParent] != nil || claims[claimPID] == nil {
		t.Error("the token of the code exchange names an organization, or no person")
	}
	id := claimsOf(t, first.json["id_token"])
	if id["nonce"] != "the-nonce" || id["aud"] != "epj" || id[claimLevel] != "4" || id["sub"] != "sub-7f3b2c90" {
		t.Error("the ID token's claims are wrong")
	}
	token := first.json["refresh_token"]
	for _, tenant := range Tenants()[:2] {
		value := "NO:ORGNR:" + tenant.Parent + ":" + tenant.Child
		got := v.granted(refreshForm(token), aboutTenant(value))
		if got.json["refresh_token"] == token {
			t.Error("the refresh token did not rotate")
		}
		token = got.json["refresh_token"]
		checkTenantToken(t, v, got, tenant)
	}
	if v.sim.Reuses() != 0 || v.sim.MaxConcurrentRefreshes() != 1 || v.sim.Logins() != 1 {
		t.Error("reuses, concurrent refreshes or log-ins were miscounted")
	}
}

func checkTenantToken(t *testing.T, v *vendor, got reply, tenant Tenant) {
	t.Helper()
	claims, err := v.sim.verifyAccessToken(got.json["access_token"].(string))
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := publicJWK(v.dpop.Public())
	if err != nil {
		t.Fatal(err)
	}
	jkt, err := thumbprint(jwk)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"aud": "e-helse:sfm.api", "cnf": map[string]any{"jkt": jkt}, claimParent: tenant.Parent, claimJournal: testJournal,
		claimSupplier: Supplier, claimTenancy: "multi-tenant", claimPID: testPID, claimLevel: "4", claimAssurance: "high",
		claimHPR: "565501001", "name": "Kari Syntetisk Lege", "client_id": "epj",
		"auth_time": json.Number("1800000000"), "iat": json.Number("1800000000"), "exp": json.Number("1800003600"),
	}
	if tenant.Child != "" {
		want[claimChild] = tenant.Child
	}
	for name, value := range want {
		if diff := cmp.Diff(value, claims[name]); diff != "" {
			t.Errorf("claim %s: %s", name, diff)
		}
	}
	if _, present := claims[claimChild]; present != (tenant.Child != "") {
		t.Error("orgnr_child is there without a child, or missing with one")
	}
	if scopes, ok := claims["scope"].([]any); !ok || !slices.Contains(scopes, any(SFMScope)) {
		t.Error("scope in the JWT is not an array with the SFM scope")
	}
	if got.json["scope"] != strings.Join(defaultScopes, " ") || got.json["token_type"] != "DPoP" || got.json["expires_in"] != 3600.0 || got.json["rt_expires_in"] != 28800.0 {
		t.Error("the answer's members are wrong")
	}
	if id := claimsOf(t, got.json["id_token"]); id["nonce"] != nil {
		t.Error("the ID token of a refresh has a nonce")
	}
}

// TestClientAssertionRefusals breaks one thing of a good assertion at a time.
func TestClientAssertionRefusals(t *testing.T) {
	const at = 1_800_000_000
	for name, row := range map[string]struct {
		change func(*vendor)
		form   url.Values
		about  string
	}{
		"unknown client":       {nil, url.Values{"client_id": {"other"}}, "client_id"},
		"no client":            {nil, url.Values{"client_id": nil}, "client_id"},
		"secret":               {nil, url.Values{"client_secret": {"x"}}, "secrets"},
		"type":                 {nil, url.Values{"client_assertion_type": {"x"}}, "client_assertion_type"},
		"no type":              {nil, url.Values{"client_assertion_type": nil}, "client_assertion_type"},
		"no assertion":         {nil, url.Values{"client_assertion": nil}, "three parts"},
		"garbage":              {nil, url.Values{"client_assertion": {"a.b.c"}}, "base64url"},
		"typ JWT":              {func(v *vendor) { v.header = map[string]any{"typ": "JWT"} }, nil, "typ"},
		"other key":            {func(v *vendor) { v.key = v.newKey() }, nil, "none of the client's registered keys"},
		"other key, same kid":  {func(v *vendor) { v.keyID, v.key = v.kid(), v.newKey() }, nil, "does not verify"},
		"iss":                  {func(v *vendor) { v.claims = map[string]any{"iss": "x"} }, nil, "iss"},
		"sub":                  {func(v *vendor) { v.claims = map[string]any{"sub": "x"} }, nil, "sub"},
		"no sub":               {func(v *vendor) { v.claims = map[string]any{"sub": nil} }, nil, "sub"},
		"aud token endpoint":   {func(v *vendor) { v.claims = map[string]any{"aud": v.sim.options.Issuer + "/connect/token"} }, nil, "issuer"},
		"aud trailing slash":   {func(v *vendor) { v.claims = map[string]any{"aud": v.sim.options.Issuer + "/"} }, nil, "issuer"},
		"aud two":              {func(v *vendor) { v.claims = map[string]any{"aud": []any{v.sim.options.Issuer, "x"}} }, nil, "issuer"},
		"no aud":               {func(v *vendor) { v.claims = map[string]any{"aud": nil} }, nil, "issuer"},
		"no exp":               {func(v *vendor) { v.claims = map[string]any{"exp": nil} }, nil, "exp is missing"},
		"lives 61 s":           {func(v *vendor) { v.claims = map[string]any{"exp": at + 61} }, nil, "at most 60 s"},
		"expired":              {func(v *vendor) { v.claims = map[string]any{"iat": at - 20, "nbf": at - 20, "exp": at} }, nil, "expired"},
		"no iat":               {func(v *vendor) { v.claims = map[string]any{"iat": nil} }, nil, "iat is missing"},
		"iat text":             {func(v *vendor) { v.claims = map[string]any{"iat": "1800000000"} }, nil, "not a number"},
		"iat in the future":    {func(v *vendor) { v.claims = map[string]any{"iat": at + 6} }, nil, "iat is 6.0 s"},
		"nbf in the future":    {func(v *vendor) { v.claims = map[string]any{"nbf": at + 6} }, nil, "nbf is 6.0 s"},
		"nbf text":             {func(v *vendor) { v.claims = map[string]any{"nbf": "x"} }, nil, "nbf"},
		"no jti":               {func(v *vendor) { v.claims = map[string]any{"jti": nil} }, nil, "jti"},
		"server's clock ahead": {func(v *vendor) { v.sim.SetKnobs(func(k *Knobs) { k.ClockOffset = 30 }) }, nil, "expired 20.0 s"},
		"server's clock back":  {func(v *vendor) { v.sim.SetKnobs(func(k *Knobs) { k.ClockOffset = -30 }) }, nil, "30.0 s in the future"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			if row.change != nil {
				row.change(v)
			}
			form := pushForm()
			for name, values := range row.form {
				form[name] = values
			}
			v.wantRefusal(v.post("/connect/par", form, nil), "invalid_client", row.about)
		})
	}
}

func TestRegisteredAlgIsBinding(t *testing.T) {
	v := newVendor(t)
	_, public, err := keyPair(testRSAKey(), "PS256")
	if err != nil {
		t.Fatal(err)
	}
	v.client.JWKS = public
	if err := v.sim.RegisterClient(v.client); err != nil {
		t.Fatal(err)
	}
	jwk, _ := mustKey(t, string(public))
	raw, err := sign(testRSAKey(), "RS256", text(jwk, "kid"), map[string]any{"typ": assertionTyp}, claimsOf(t, v.assertion(nil)))
	if err != nil {
		t.Fatal(err)
	}
	form := pushForm()
	form.Set("client_assertion", raw)
	v.wantRefusal(v.post("/connect/par", form, nil), "invalid_client", `"RS256", the key is registered for PS256`)
}

// TestAssertionIsSingleUse includes the two requests of the nonce handshake.
func TestAssertionIsSingleUse(t *testing.T) {
	v := newVendor(t)
	v.claims = map[string]any{"jti": "the same"}
	form := url.Values{"grant_type": {GrantClientCredentials}}
	v.wantRefusal(v.token(form, nil), codeUseNonce, "no nonce")
	v.wantRefusal(v.token(form, nil), "invalid_client", "seen before")
	v.claims = nil
	v.granted(form, nil)
}

// TestFormRefusals are about the request itself.
func TestFormRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		method, media, body, about string
	}{
		"GET":         {"GET", "application/x-www-form-urlencoded", "", "POST is wanted"},
		"JSON":        {"POST", "application/json", "{}", "Content-Type"},
		"no media":    {"POST", "", "a=b", "Content-Type"},
		"broken form": {"POST", "application/x-www-form-urlencoded", "a=%zz", "well-formed"},
		"twice":       {"POST", "application/x-www-form-urlencoded", "client_id=a&client_id=b", "2 times"},
		"too large":   {"POST", "application/x-www-form-urlencoded", "a=" + strings.Repeat("x", maxForm), "larger"},
	} {
		for _, path := range []string{"/connect/token", "/connect/par", "/connect/revocation"} {
			t.Run(name+path, func(t *testing.T) {
				v := newVendor(t)
				r := httptest.NewRequest(row.method, path, strings.NewReader(row.body))
				r.Header.Set("Content-Type", row.media)
				v.wantRefusal(v.do(r), "invalid_request", row.about)
			})
		}
	}
}

func TestPushRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		form        url.Values
		more        map[string]any
		code, about string
	}{
		"response type":    {url.Values{"response_type": {"token"}}, nil, "unsupported_response_type", "code is wanted"},
		"response mode":    {url.Values{"response_mode": {"form_post"}}, nil, "invalid_request", "response_mode"},
		"redirect path":    {url.Values{"redirect_uri": {"http://localhost/other"}}, nil, "invalid_request", "not registered"},
		"redirect host":    {url.Values{"redirect_uri": {"http://example.com/_sidecar/callback"}}, nil, "invalid_request", "not registered"},
		"redirect https":   {url.Values{"redirect_uri": {"https://localhost/_sidecar/callback"}}, nil, "invalid_request", "not registered"},
		"redirect query":   {url.Values{"redirect_uri": {"http://localhost/_sidecar/callback?x"}}, nil, "invalid_request", "not registered"},
		"redirect user":    {url.Values{"redirect_uri": {"http://a@localhost/_sidecar/callback"}}, nil, "invalid_request", "not registered"},
		"no redirect":      {url.Values{"redirect_uri": nil}, nil, "invalid_request", "not registered"},
		"plain PKCE":       {url.Values{"code_challenge_method": {"plain"}}, nil, "invalid_request", "S256 is wanted"},
		"no PKCE":          {url.Values{"code_challenge_method": nil, "code_challenge": nil}, nil, "invalid_request", "S256 is wanted"},
		"challenge":        {url.Values{"code_challenge": {"short"}}, nil, "invalid_request", "SHA-256"},
		"no scope":         {url.Values{"scope": nil}, nil, "invalid_scope", "missing"},
		"foreign scope":    {url.Values{"scope": {"openid nhn:other/api"}}, nil, "invalid_scope", "nhn:other/api"},
		"foreign resource": {url.Values{"resource": {"nhn:other"}}, nil, "invalid_target", "nhn:other"},
		"organization":     {nil, aboutTenant("NO:ORGNR:100100126:"), "invalid_request", "HID-1007"},
		"request object":   {url.Values{"request": {"x"}}, nil, "invalid_request_object", "three parts"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			form := pushForm()
			for name, values := range row.form {
				form[name] = values
			}
			v.wantRefusal(v.post("/connect/par", form, row.more), row.code, row.about)
		})
	}
}

func TestPushWithProofBindsTheCode(t *testing.T) {
	v := newVendor(t)
	form := pushForm()
	form.Set("dpop_jkt", "another key's")
	code := v.authorize(form, "lege").Get("code")
	v.nonce = v.sim.nonces.issue(v.clock)
	v.wantRefusal(v.token(codeForm(code), nil), codeInvalidProof, "dpop_jkt")

	r := v.request("/connect/par", form, nil)
	r.Header.Set("DPoP", v.proofFor("/connect/par"))
	v.wantRefusal(v.do(r), codeInvalidProof, "dpop_jkt")

	form.Del("dpop_jkt")
	r = v.request("/connect/par", form, nil)
	r.Header.Set("DPoP", v.proofFor("/connect/token"))
	v.wantRefusal(v.do(r), codeInvalidProof, "htu")
}

// TestAuthorizePages are the cases in which the browser cannot be sent back.
func TestAuthorizePages(t *testing.T) {
	v := newVendor(t)
	pushed := v.post("/connect/par", pushForm(), nil).json["request_uri"].(string)
	open := func(query url.Values) reply {
		return v.do(httptest.NewRequest(http.MethodGet, "/connect/authorize?"+query.Encode(), nil))
	}
	for name, row := range map[string]struct {
		query url.Values
		about string
	}{
		"no PAR":         {url.Values{"client_id": {"epj"}, "scope": {"openid"}}, "Push the request first"},
		"no request_uri": {url.Values{"client_id": {"epj"}}, "mandatory"},
		"unknown":        {url.Values{"client_id": {"epj"}, "request_uri": {requestURIPrefix + "x"}}, "not known"},
		"other client":   {url.Values{"client_id": {"x"}, "request_uri": {pushed}}, "not the client"},
		"twice":          {url.Values{"client_id": {"epj", "epj"}, "request_uri": {pushed}}, "more than once"},
		"nobody":         {url.Values{"client_id": {"epj"}, "request_uri": {pushed}, "auto": {"<b>"}}, "&lt;b&gt;"},
	} {
		if got := open(row.query); got.status != http.StatusBadRequest || !strings.Contains(got.raw, row.about) {
			t.Errorf("%s: status %d, the page does not say %q", name, got.status, row.about)
		}
	}
	good := url.Values{"client_id": {"epj"}, "request_uri": {pushed}}
	page := open(good)
	if page.status != http.StatusOK || strings.Count(page.raw, "<button") != len(Persons())+1 {
		t.Error("the page does not show every person")
	}
	v.clock = v.clock.Add(601 * time.Second)
	if got := open(good); !strings.Contains(got.raw, "expired") {
		t.Error("an expired request_uri is accepted")
	}
}

func TestCallbackErrors(t *testing.T) {
	v := newVendor(t)
	if back := v.authorize(pushForm(), autoDeny); back.Get("error") != "access_denied" || back.Get("state") != "the-state" || back.Get("iss") == "" || back.Has("code") {
		t.Error("a cancelled log-in is not access_denied with state and iss")
	}
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.CallbackIssuer = "http://evil.test" })
	if back := v.authorize(pushForm(), "lege"); back.Get("iss") != "http://evil.test" {
		t.Error("the knob callback_iss does nothing")
	}
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.CallbackIssuer = "missing" })
	if back := v.authorize(pushForm(), "lege"); back.Has("iss") {
		t.Error("the knob callback_iss leaves iss in")
	}
}

func TestRequestURIIsUsedOnce(t *testing.T) {
	v := newVendor(t)
	pushed := v.post("/connect/par", pushForm(), nil).json["request_uri"].(string)
	query := url.Values{"client_id": {"epj"}, "request_uri": {pushed}, "auto": {"lege"}}
	for _, want := range []int{http.StatusFound, http.StatusBadRequest} {
		if got := v.do(httptest.NewRequest(http.MethodGet, "/connect/authorize?"+query.Encode(), nil)); got.status != want {
			t.Errorf("status %d, want %d", got.status, want)
		}
	}
}

func TestCodeRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		change      func(*vendor)
		form        url.Values
		more        map[string]any
		code, about string
	}{
		"unknown code":   {nil, url.Values{"code": {"x"}}, nil, "invalid_grant", "not known"},
		"redirect":       {nil, url.Values{"redirect_uri": {"http://localhost/_sidecar/callback"}}, nil, "invalid_grant", "redirect_uri"},
		"no verifier":    {nil, url.Values{"code_verifier": nil}, nil, "invalid_grant", "code_verifier is missing"},
		"other verifier": {nil, url.Values{"code_verifier": {strings.Repeat("x", 43)}}, nil, "invalid_grant", "does not fit"},
		"scope":          {nil, url.Values{"scope": {"openid"}}, nil, "invalid_request", "scope is not allowed"},
		"resource":       {nil, url.Values{"resource": {"nhn:other"}}, nil, "invalid_target", "nhn:other"},
		"organization":   {nil, nil, aboutTenant("NO:ORGNR:100100126:"), "invalid_request", "HID-1009"},
		"expired":        {func(v *vendor) { v.clock = v.clock.Add(61 * time.Second) }, nil, nil, "invalid_grant", "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			form := codeForm(v.authorize(pushForm(), "lege").Get("code"))
			for name, values := range row.form {
				form[name] = values
			}
			if row.change != nil {
				row.change(v)
			}
			v.nonce = v.sim.nonces.issue(v.clock)
			v.wantRefusal(v.token(form, row.more), row.code, row.about)
		})
	}
}

func TestCodeIsUsedOnce(t *testing.T) {
	v := newVendor(t)
	form := codeForm(v.authorize(pushForm(), "lege").Get("code"))
	first := v.granted(form, nil)
	v.wantRefusal(v.token(form, nil), "invalid_grant", "used before")
	v.wantRefusal(v.token(refreshForm(first.json["refresh_token"]), nil), "invalid_grant", "revoked")
}

func TestOtherClientsCode(t *testing.T) {
	v := newVendor(t)
	code := v.authorize(pushForm(), "lege").Get("code")
	v.client.ID = "another"
	if err := v.sim.RegisterClient(v.client); err != nil {
		t.Fatal(err)
	}
	v.nonce = v.sim.nonces.issue(v.clock)
	v.wantRefusal(v.token(codeForm(code), nil), "invalid_grant", "another client")
}
