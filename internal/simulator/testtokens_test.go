package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const testTokenPath = "/ttt/v2/create-test-token-with-key"

// aTaskSearch is a call that SFM answers to any good token of a person.
const aTaskSearch = "/Task?code=10&PatientNiN=" + testPID

// testTokenBody asks for all that SFM wants of a token.
func testTokenBody(jkt string) map[string]any {
	const generate = "GenerateDefaultWithClaimsFromNonEmptyParameterValues"
	return map[string]any{
		"audience": sfmAudience, "clientClaimsParametersGeneration": generate, "userClaimsParametersGeneration": 3,
		"clientClaimsParameters": map[string]any{
			"scope": []string{SFMScope}, "sfmJournalId": testJournal, "orgnrParent": testParent, "orgnrChild": testChild,
			"orgnrSupplier": Supplier, "clientTenancy": "multi-tenant", "cnfJkt": jkt, "clientId": "asked-for",
		},
		"userClaimsParameters": map[string]any{"pid": testPID, "securityLevel": "4", "assuranceLevel": "high", "hprNumber": "565501009", "name": ""},
	}
}

func askTestToken(t *testing.T, sim *Simulator, body any, change func(*http.Request)) registerReply {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, testTokenPath, strings.NewReader(string(encoded)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Key", TestTokenKey)
	if change != nil {
		change(r)
	}
	return (&vendor{t: t, sim: sim}).call(r)
}

// gotTestToken wants a token.
func gotTestToken(t *testing.T, got registerReply) string {
	t.Helper()
	answer := got.object()
	if got.status != http.StatusOK || answer["isError"] != false || answer["errorResponse"] != nil {
		t.Fatalf("status %d: %s", got.status, got.raw)
	}
	return answer["successResponse"].(map[string]any)["accessTokenJwt"].(string)
}

func TestTestTokenIsTakenBySFM(t *testing.T) {
	e := newEPJ(t)
	jkt, err := thumbprint(e.jwk())
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(e.jwk())
	if err != nil {
		t.Fatal(err)
	}
	byKey := testTokenBody("")
	byKey["clientClaimsParameters"].(map[string]any)["cnfPublicKey"] = string(jwk)
	for name, row := range map[string]struct {
		body   map[string]any
		more   map[string]any
		status int
	}{
		"bound by thumbprint": {testTokenBody(jkt), nil, http.StatusOK},
		"bound by key":        {byKey, nil, http.StatusOK},
		"bound to another":    {testTokenBody(strings.Repeat("A", 43)), nil, http.StatusUnauthorized},
		"forged":              {testTokenBody(jkt), map[string]any{"signJwtWithInvalidSigningKey": true}, http.StatusUnauthorized},
		"wrong issuer":        {testTokenBody(jkt), map[string]any{"setInvalidIssuer": true}, http.StatusUnauthorized},
		"wrong audience":      {testTokenBody(jkt), map[string]any{"setInvalidAudience": true}, http.StatusUnauthorized},
		"expired":             {testTokenBody(jkt), map[string]any{"expirationParameters": map[string]any{"setExpirationTimeAsExpired": true}}, http.StatusUnauthorized},
		"wrong typ":           {testTokenBody(jkt), map[string]any{"headerParameters": map[string]any{"typ": "JWT"}}, http.StatusUnauthorized},
		"low level":           {testTokenBody(jkt), map[string]any{"userClaimsParameters": map[string]any{"securityLevel": "3"}}, http.StatusUnauthorized},
		"what the samples send": {testTokenBody(jkt), map[string]any{
			"withoutDefaultClientClaims": true, "createDPoPTokenWithDPoPProof": false, "getPersonFromPersontjenesten": false,
			"dPoPProofParameters":  map[string]any{"htuClaimValue": ""},
			"expirationParameters": map[string]any{"expirationTimeInSeconds": -2147483648, "expirationTimeInDays": -2147483648},
		}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			maps.Copy(row.body, row.more)
			token := gotTestToken(t, askTestToken(t, e.sim, row.body, nil))
			r := e.request(http.MethodGet, aTaskSearch, nil)
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", e.proofFor(http.MethodGet, aTaskSearch, token))
			if got := e.send(r); got.status != row.status {
				t.Errorf("SFM answers %d to the token, want %d: %s", got.status, row.status, got.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestTestTokenClaims(t *testing.T) {
	v := newVendor(t)
	for name, row := range map[string]struct {
		body map[string]any
		want map[string]any // nil = the claim is missing
	}{
		"nothing asked": {map[string]any{"audience": "a"}, map[string]any{"aud": "a", "sub": nil, "client_id": nil, "iss": v.sim.options.Issuer}},
		"defaults": {map[string]any{"audience": "a", "clientClaimsParametersGeneration": 1, "userClaimsParametersGeneration": "GenerateOnlyDefault"},
			map[string]any{"client_id": "simulated-test-token-client", claimPID: Persons()[0].PID, claimLevel: "4"}},
		"only parameters": {map[string]any{
			"audience": "a", "clientClaimsParametersGeneration": 2, "clientClaimsParameters": map[string]any{"sfmJournalId": testJournal, "clientName": nil},
			"userClaimsParametersGeneration": 2, "userClaimsParameters": map[string]any{"subject": "s"},
		}, map[string]any{"client_id": nil, claimJournal: testJournal, "sub": "s", claimPID: nil}},
		"both":     {testTokenBody(strings.Repeat("A", 43)), map[string]any{"client_id": "asked-for", claimHPR: "565501009", "name": Persons()[0].Name, claimParent: testParent}},
		"specific": {map[string]any{"audience": "a", "apiSpecificClaims": []any{map[string]any{"type": "t", "value": "v"}}}, map[string]any{"t": "v"}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := claimsOf(t, gotTestToken(t, askTestToken(t, v.sim, row.body, nil)))
			for claim, want := range row.want {
				if claims[claim] != want {
					t.Errorf("%s is %v, want %v", claim, claims[claim], want)
				}
			}
		})
	}
}

func TestTestTokenExpiry(t *testing.T) {
	v := newVendor(t)
	for name, row := range map[string]struct {
		parameters any
		life       time.Duration
	}{
		"none":    {nil, time.Hour},
		"seconds": {map[string]any{"expirationTimeInSeconds": 90}, 90 * time.Second},
		"days":    {map[string]any{"expirationTimeInDays": 2}, 48 * time.Hour},
		"not set": {map[string]any{"expirationTimeInSeconds": 0, "expirationTimeInDays": nil}, time.Hour},
		"expired": {map[string]any{"setExpirationTimeAsExpired": true}, -time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			claims := claimsOf(t, gotTestToken(t, askTestToken(t, v.sim, map[string]any{"audience": "a", "expirationParameters": row.parameters}, nil)))
			if exp, _ := seconds(claims, "exp"); int64(exp) != v.clock.Add(row.life).Unix() {
				t.Errorf("exp is %v, want %v from now", exp, row.life)
			}
		})
	}
}

func TestTestTokenRefusals(t *testing.T) {
	v := newVendor(t)
	private, public, err := keyPair(v.key, "ES256")
	if err != nil {
		t.Fatal(err)
	}
	client := func(parameters map[string]any) map[string]any {
		return map[string]any{"audience": "a", "clientClaimsParametersGeneration": 2, "clientClaimsParameters": parameters}
	}
	for name, row := range map[string]struct {
		body  any
		about string
	}{
		"no object":         {[]string{}, "JSON object"},
		"no audience":       {map[string]any{}, "audience is missing"},
		"unknown member":    {map[string]any{"audience": "a", "audiance": "b"}, "audiance"},
		"not simulated":     {map[string]any{"audience": "a", "createDPoPTokenWithDPoPProof": true}, "not simulated"},
		"unused parameters": {map[string]any{"audience": "a", "clientClaimsParameters": map[string]any{"clientId": "x"}}, "does not say that they count"},
		"only defaults": {map[string]any{"audience": "a", "userClaimsParametersGeneration": 1, "userClaimsParameters": map[string]any{"pid": "x"}},
			"does not say that they count"},
		"no such way":          {map[string]any{"audience": "a", "clientClaimsParametersGeneration": 4}, "four ways"},
		"no such way by name":  {map[string]any{"audience": "a", "userClaimsParametersGeneration": "Some"}, "four ways"},
		"parameters as text":   {map[string]any{"audience": "a", "clientClaimsParameters": "x"}, "no object"},
		"unknown parameter":    {client(map[string]any{"journalId": "x"}), "clientClaimsParameters.journalId"},
		"number for text":      {client(map[string]any{"orgnrParent": 100100126}), "must be a text"},
		"scope as text":        {client(map[string]any{"scope": SFMScope}), "array of texts"},
		"scope of numbers":     {client(map[string]any{"scope": []int{1}}), "array of texts"},
		"thumbprint":           {client(map[string]any{"cnfJkt": "short"}), "SHA-256"},
		"two keys":             {client(map[string]any{"cnfJkt": strings.Repeat("A", 43), "cnfPublicKey": string(public)}), "give one of"},
		"private key":          {client(map[string]any{"cnfPublicKey": string(private)}), "private member"},
		"key that is none":     {client(map[string]any{"cnfPublicKey": "x"}), "JSON"},
		"specific":             {map[string]any{"audience": "a", "apiSpecificClaims": []any{map[string]any{"type": "t"}}}, "type and value"},
		"specific object":      {map[string]any{"audience": "a", "apiSpecificClaims": map[string]any{}}, "no array"},
		"expiry text":          {map[string]any{"audience": "a", "expirationParameters": "x"}, "no object"},
		"expiry no number":     {map[string]any{"audience": "a", "expirationParameters": map[string]any{"expirationTimeInDays": "2"}}, "no number"},
		"expiry too many days": {map[string]any{"audience": "a", "expirationParameters": map[string]any{"expirationTimeInDays": 3651}}, "too large"},
		"expiry too far":       {map[string]any{"audience": "a", "expirationParameters": map[string]any{"expirationTimeInSeconds": 1e10}}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			wantTestTokenFault(t, askTestToken(t, v.sim, row.body, nil), http.StatusBadRequest, row.about)
		})
	}
}

func wantTestTokenFault(t *testing.T, got registerReply, status int, about string) {
	t.Helper()
	answer := got.object()
	fault, _ := answer["errorResponse"].(map[string]any)
	message, _ := fault["errorMessage"].(string)
	if got.status != status || answer["isError"] != true || answer["successResponse"] != nil || !strings.Contains(message, about) {
		t.Errorf("status %d: %s\nwant %d and something about %q", got.status, got.raw, status, about)
	}
}

func TestTestTokenRequests(t *testing.T) {
	v := newVendor(t)
	body := map[string]any{"audience": "a"}
	wantTestTokenFault(t, askTestToken(t, v.sim, body, func(r *http.Request) { r.Header.Del("X-Auth-Key") }), http.StatusUnauthorized, "X-Auth-Key")
	wantTestTokenFault(t, askTestToken(t, v.sim, body, func(r *http.Request) { r.Header.Set("X-Auth-Key", "wrong") }), http.StatusUnauthorized, "X-Auth-Key")
	askTestToken(t, v.sim, body, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }).wantProblem(http.StatusUnsupportedMediaType, "text/plain")
	askTestToken(t, v.sim, body, func(r *http.Request) { r.Method = http.MethodGet }).wantProblem(http.StatusMethodNotAllowed, "POST")
	askTestToken(t, v.sim, body, func(r *http.Request) { r.URL.Path = "/ttt/create-test-token" }).wantProblem(http.StatusNotFound, "create-test-token")
}

// FuzzRegisterBodies posts anything to those that read JSON.
func FuzzRegisterBodies(f *testing.F) {
	for _, seed := range []string{
		`{"audience":"a","clientClaimsParametersGeneration":2,"clientClaimsParameters":{"scope":["s"],"cnfPublicKey":"{}"}}`,
		`[8100001,8190001]`, `{"kty":"EC","crv":"P-256","x":"","y":"","use":"sig","kid":"k","alg":"ES256"}`, `{`, `null`, `[[[[`,
	} {
		f.Add([]byte(seed))
	}
	sim, err := New(Options{SigningKey: testRSAKey()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if object, err := decodeObject(body); err == nil {
			_, _ = readSecret(object)
			if token, err := sim.testToken(object); err == nil {
				if _, err := sim.verifyOwn(token, "at+jwt"); err != nil && object["headerParameters"] == nil && object["setInvalidIssuer"] == nil && object["signJwtWithInvalidSigningKey"] == nil && object["apiSpecificClaims"] == nil {
					t.Errorf("a token that HelseID would not know as its own: %v", err)
				}
			}
		}
		recorder := httptest.NewRecorder()
		c := &registerCall{sim: sim, r: httptest.NewRequest(http.MethodPost, "/", nil), body: body, answer: bufferedAnswer{header: http.Header{}}}
		c.lookUpParties()
		c.answer.send(recorder)
		if recorder.Code != http.StatusOK && recorder.Code != http.StatusBadRequest || !json.Valid(recorder.Body.Bytes()) {
			t.Errorf("status %d: %s", recorder.Code, recorder.Body)
		}
	})
}
