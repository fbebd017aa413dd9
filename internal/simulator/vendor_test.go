package simulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// testRSAKey is one RSA key for all tests: making one takes long.
var testRSAKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// vendor is a client that does everything right, until a test tells it not to.
// Its clock stands still.
type vendor struct {
	t      *testing.T
	sim    *Simulator
	client Client
	key    crypto.Signer // of the client
	dpop   crypto.Signer
	clock  time.Time
	nonce  string
	keyID  string // kid in place of the key's own
	// header, claims and proof change the next assertions and proofs.
	header, claims, proof map[string]any
	bearer                bool // send no proofs
}

// reply is HelseID's answer.
type reply struct {
	status int
	header http.Header
	raw    string
	json   map[string]any
}

func newVendor(t *testing.T, change ...func(*Client)) *vendor {
	t.Helper()
	v := &vendor{t: t, clock: time.Unix(1_800_000_000, 0)}
	var err error
	if v.client, _, err = NewClient("epj"); err != nil {
		t.Fatal(err)
	}
	v.key = v.newKey()
	v.dpop = v.newKey()
	if _, v.client.JWKS, err = keyPair(v.key, "ES256"); err != nil {
		t.Fatal(err)
	}
	for _, change := range change {
		change(&v.client)
	}
	v.sim, err = New(Options{Clients: []Client{v.client}, SigningKey: testRSAKey(), Now: func() time.Time { return v.clock }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vendor) newKey() crypto.Signer {
	v.t.Helper()
	key, err := newKey(KeySpec{Alg: "ES256"})
	if err != nil {
		v.t.Fatal(err)
	}
	return key
}

func (v *vendor) kid() string {
	if v.keyID != "" {
		return v.keyID
	}
	jwk, err := publicJWK(v.key.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	kid, err := thumbprint(jwk)
	if err != nil {
		v.t.Fatal(err)
	}
	return kid
}

// assertion makes a client assertion, with more claims and the vendor's changes.
func (v *vendor) assertion(more map[string]any) string {
	v.t.Helper()
	now := v.clock.Unix()
	claims := map[string]any{
		"iss": v.client.ID, "sub": v.client.ID, "aud": v.sim.options.Issuer,
		"iat": now, "nbf": now, "exp": now + 10, "jti": rand.Text(),
	}
	raw, err := sign(v.key, "ES256", v.kid(), overridden(map[string]any{"typ": assertionTyp}, v.header), overridden(overridden(claims, more), v.claims))
	if err != nil {
		v.t.Fatal(err)
	}
	return raw
}

func (v *vendor) proofFor(path string) string {
	v.t.Helper()
	jwk, err := publicJWK(v.dpop.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	claims := map[string]any{"htm": "POST", "htu": v.sim.options.Issuer + path, "iat": v.clock.Unix(), "jti": rand.Text()}
	if v.nonce != "" {
		claims["nonce"] = v.nonce
	}
	raw, err := sign(v.dpop, "ES256", "", map[string]any{"typ": "dpop+jwt", "jwk": jwk}, overridden(claims, v.proof))
	if err != nil {
		v.t.Fatal(err)
	}
	return raw
}

func (v *vendor) do(r *http.Request) reply {
	v.t.Helper()
	recorder := httptest.NewRecorder()
	v.sim.HelseID().ServeHTTP(recorder, r)
	got := reply{status: recorder.Code, header: recorder.Header(), raw: recorder.Body.String()}
	if strings.HasPrefix(recorder.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(recorder.Body.Bytes(), &got.json); err != nil {
			v.t.Fatalf("the answer is no JSON: %v", err)
		}
	}
	return got
}

// post sends a form with a client assertion, without a proof.
func (v *vendor) post(path string, form url.Values, more map[string]any) reply {
	v.t.Helper()
	return v.do(v.request(path, form, more))
}

func (v *vendor) request(path string, form url.Values, more map[string]any) *http.Request {
	v.t.Helper()
	full := url.Values{"client_id": {v.client.ID}, "client_assertion_type": {assertionType}, "client_assertion": {v.assertion(more)}}
	for name, values := range form {
		if full[name] = values; values == nil {
			delete(full, name)
		}
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(full.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// token sends a token request with a proof and remembers the nonce.
func (v *vendor) token(form url.Values, more map[string]any) reply {
	v.t.Helper()
	r := v.request("/connect/token", form, more)
	if !v.bearer {
		r.Header.Set("DPoP", v.proofFor("/connect/token"))
	}
	got := v.do(r)
	if nonce := got.header.Get("DPoP-Nonce"); nonce != "" {
		v.nonce = nonce
	}
	return got
}

// granted sends a token request through the nonce handshake and wants a token.
func (v *vendor) granted(form url.Values, more map[string]any) reply {
	v.t.Helper()
	got := v.token(form, more)
	if got.json["error"] == codeUseNonce {
		got = v.token(form, more)
	}
	if got.status != http.StatusOK {
		v.t.Fatalf("status %d: %v %v", got.status, got.json["error"], got.json["error_description"])
	}
	return got
}

const testVerifier = "a-verifier-that-is-long-enough-0123456789-abcdefghij"

func pushForm() url.Values {
	sum := sha256.Sum256([]byte(testVerifier))
	return url.Values{
		"response_type": {"code"}, "redirect_uri": {"http://localhost:5000/_sidecar/callback"}, "scope": {strings.Join(defaultScopes, " ")},
		"state": {"the-state"}, "nonce": {"the-nonce"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
}

// authorize pushes a request and opens the authorization address for person.
func (v *vendor) authorize(form url.Values, person string) url.Values {
	v.t.Helper()
	pushed := v.post("/connect/par", form, nil)
	if pushed.status != http.StatusCreated {
		v.t.Fatalf("PAR: status %d: %v", pushed.status, pushed.json["error_description"])
	}
	query := url.Values{"client_id": {v.client.ID}, "request_uri": {pushed.json["request_uri"].(string)}, "auto": {person}}
	sent := v.do(httptest.NewRequest(http.MethodGet, "/connect/authorize?"+query.Encode(), nil))
	if sent.status != http.StatusFound {
		v.t.Fatalf("authorize: status %d", sent.status)
	}
	back, err := url.Parse(sent.header.Get("Location"))
	if err != nil {
		v.t.Fatal(err)
	}
	return back.Query()
}

func codeForm(code string) url.Values {
	return url.Values{
		"grant_type": {GrantCode}, "code": {code}, "redirect_uri": {"http://localhost:5000/_sidecar/callback"}, "code_verifier": {testVerifier},
	}
}

// logIn goes the whole way and returns the answer of the code exchange.
func (v *vendor) logIn(person string) reply {
	v.t.Helper()
	return v.granted(codeForm(v.authorize(pushForm(), person).Get("code")), nil)
}

func refreshForm(token any) url.Values {
	return url.Values{"grant_type": {GrantRefresh}, "refresh_token": {token.(string)}}
}

// aboutTenant is assertion_details for a multi-tenant client.
func aboutTenant(value string) map[string]any {
	return map[string]any{"assertion_details": []any{organizationElement(systemMulti, value), journalElement(testJournal)}}
}

func organizationElement(system, value string) map[string]any {
	return map[string]any{"type": typeOrganization, "practitioner_role": map[string]any{"organization": map[string]any{
		"identifier": map[string]any{"system": system, "type": "ENH", "value": value},
	}}}
}

func journalElement(id string) map[string]any {
	return map[string]any{"type": typeJournal, "value": map[string]any{"journal_id": id}}
}

// claimsOf opens an access token, without judging it.
func claimsOf(t *testing.T, raw any) map[string]any {
	t.Helper()
	parsed, err := parseJWS(raw.(string))
	if err != nil {
		t.Fatal(err)
	}
	return parsed.claims
}

// wantRefusal checks status, error and description, and that the refusal was
// recorded.
func (v *vendor) wantRefusal(got reply, code, about string) {
	v.t.Helper()
	description, _ := got.json["error_description"].(string)
	if got.status != http.StatusBadRequest || got.json["error"] != code || !strings.Contains(description, about) {
		v.t.Errorf("status %d, %v: %s\nwant 400, %s, something about %q", got.status, got.json["error"], description, code, about)
	}
	records := v.sim.TokenRequests()
	if len(records) == 0 {
		v.t.Fatal("nothing was recorded")
	}
	if last := records[len(records)-1]; last.Outcome != "refused" || last.Error != code {
		v.t.Errorf("recorded as %s %s", last.Outcome, last.Error)
	}
}
