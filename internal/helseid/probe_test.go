package helseid

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
)

// A probe learns by itself: what the client remembers, and what is observed of it,
// stays as it is.
func TestProbeNonce(t *testing.T) {
	f := newFake(t)
	var nonces []string
	f.post = func(n int, w http.ResponseWriter, r *http.Request) {
		_, claims, _ := parseJWT(r.Header.Get("DPoP"))
		nonces = append(nonces, claims.text("nonce"))
		if claims.text("nonce") != "good" {
			askNonce(w, "good")
			return
		}
		w.Header().Set("DPoP-Nonce", "next")
		writeError(w, http.StatusBadRequest, "invalid_grant", "")
	}
	memory := new(dpop.Nonces)
	memory.Learn(testIssuer, "mine")
	c := f.client(func(o *Options) { o.Nonces = memory })

	probe, err := c.ProbeNonce(t.Context(), "")
	if e := wantError(t, err, codeRefused); !e.InvalidGrant() {
		t.Errorf("%v", err)
	}
	if probe != (NonceProbe{Challenged: true, Next: "next"}) {
		t.Errorf("%+v", probe)
	}
	probe, _ = c.ProbeNonce(t.Context(), "good")
	if probe != (NonceProbe{Next: "next"}) {
		t.Errorf("%+v", probe)
	}
	if got := strings.Join(nonces, ","); got != ",good,good" {
		t.Errorf("nonces sent: %s", got)
	}
	if memory.Last(testIssuer) != "mine" || f.challenges != 0 || len(f.requests) != 0 {
		t.Errorf("the client remembers %q, %d challenges, %v", memory.Last(testIssuer), f.challenges, f.requests)
	}
	for _, p := range f.posts() {
		if p.form.Get("grant_type") != "refresh_token" || p.form.Get("client_assertion") == "" {
			t.Errorf("sent %v", p.form)
		}
	}
	if _, err := f.client(func(o *Options) { o.DPoP = nil }).ProbeNonce(t.Context(), ""); err == nil {
		t.Error("a nonce was probed without DPoP")
	}
}

// A probe that is refused as invalid_client does not stop the client's own calls.
func TestProbeDoesNotBrake(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.FormValue("refresh_token") == "sidecar-check-no-such-token" {
			writeError(w, http.StatusBadRequest, "invalid_client", "")
			return
		}
		f.grant(w, nil, nil)
	}
	c := f.client(nil)
	if _, err := c.ProbeNonce(t.Context(), ""); err == nil {
		t.Fatal("the probe was granted")
	}
	if _, err := refresh(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestEndpointsAndSkew(t *testing.T) {
	f := newFake(t)
	c := f.client(func(o *Options) { o.Wall = func() time.Time { return time.Now().Add(-time.Minute) } })
	if _, known := c.Skew(); known {
		t.Error("the skew is known before HelseID has answered")
	}
	got, err := c.Endpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Endpoints{
		Authorization: testIssuer + "/connect/authorize", Token: testIssuer + "/connect/token", PAR: testIssuer + "/connect/par",
		JWKS: testIssuer + "/jwks", Revocation: testIssuer + "/connect/revocation", EndSession: testIssuer + "/connect/endsession",
	}
	if got != want {
		t.Errorf("%+v", got)
	}
	if skew, known := c.Skew(); !known || (skew-time.Minute).Abs() > 2*time.Second {
		t.Errorf("skew %s, known %v", skew, known)
	}
	f.discovery = func() any { return nil }
	if _, err := f.client(nil).Endpoints(t.Context()); err == nil {
		t.Error("endpoints of nobody")
	}
}

func TestDescribe(t *testing.T) {
	f := newFake(t)
	claims := f.claims()
	claims["name"], claims["sub"], claims[claimLevel] = "Kari Syntetisk", "sub-1", 4
	claims[claimSupplier] = testPID // no organization number: something is wrong with this token
	facts, ok := Describe(f.sign(claims))
	if !ok {
		t.Fatal("not readable")
	}
	got := map[string]string{}
	for _, fact := range facts {
		got[fact.Name] = fact.Value
		for _, secret := range []string{testPID, "Kari", "sub-1"} {
			if strings.Contains(fact.Value, secret) {
				t.Errorf("%s shows a person", fact.Name)
			}
		}
	}
	for name, want := range map[string]string{
		"orgnr_parent": testTenant.Parent, "orgnr_child": testTenant.Child, "journal_id": testTenant.Journal,
		"orgnr_supplier": otherForm, "security_level": "4", "audience": sfmAudience, "scope": "openid " + testScope, "dpop_key": f.dpop.Thumbprint(),
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if _, ok := Describe("opaque"); ok {
		t.Error("a text that is no token was described")
	}
}

// Whatever a token says, nothing of the form of a national identity number or of a
// token comes out of it.
func FuzzDescribe(f *testing.F) {
	f.Add(`{"aud":"01017012345","scope":["eyJhbGciOiJub25lIn0.e30."],"cnf":{"jkt":"x"},"exp":1}`)
	f.Add(`{"helseid://claims/client/claims/orgnr_parent":"01017012345","nhn:sfm:journal-id":7}`)
	f.Fuzz(func(t *testing.T, payload string) {
		facts, _ := Describe("eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln")
		for _, fact := range facts {
			if fact.Name == "journal_id" || fact.Name == "sfm_id" || fact.Name == "dpop_key" {
				continue // of a form of their own, which digits may fill
			}
			if fact.Name != "expires" && delicate.MatchString(fact.Value) {
				t.Errorf("%s: %q", fact.Name, fact.Value)
			}
		}
	})
}

func TestStrength(t *testing.T) {
	if got := testKey(t).Strength(); !strings.HasPrefix(got, "EC, P-") {
		t.Errorf("strength %q", got)
	}
}
