package helseid

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// openObject checks a request object with go-jose and returns header and claims.
func openObject(t *testing.T, raw string, jwk []byte) (jose.Header, map[string]any) {
	t.Helper()
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(jwk); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(raw, signedWith)
	if err != nil {
		t.Fatal("the request object is not a JWS")
	}
	payload, err := jws.Verify(key.Public())
	if err != nil {
		t.Fatal("the request object's signature is wrong")
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Protected, claims
}

func pushed(w http.ResponseWriter) {
	writeJSON(w, 201, map[string]any{"request_uri": "urn:x", "expires_in": 60})
}

func TestPushForATenant(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { pushed(w) }
	jwk := testJWK(t, "my-kid")
	c := f.client(func(o *Options) {
		key, _ := ParseKeys(jwk)
		o.Keys, o.AssertionLifetime = NewKeyRing(key), 20*time.Second
	})
	z := testAuthorization()
	z.Tenant = testTenant
	if _, _, err := c.Push(t.Context(), z); err != nil {
		t.Fatal(err)
	}
	form := f.posts()[0].form
	header, claims := openObject(t, form.Get("request"), jwk)
	if header.KeyID != "my-kid" || header.ExtraHeaders["typ"] != "client-authentication+jwt" {
		t.Errorf("kid %q typ %v", header.KeyID, header.ExtraHeaders["typ"])
	}
	iat := claims["iat"].(float64)
	if claims["nbf"] != iat || claims["exp"] != iat+20 || claims["jti"] == "" {
		t.Error("the times or jti are wrong")
	}
	_, assertion := openAssertion(t, form, jwk)
	if assertion["jti"] == claims["jti"] {
		t.Error("two JWTs with one jti")
	}
	if assertion["assertion_details"] != nil || assertion["authorization_details"] != nil {
		t.Error("the assertion names the organization too")
	}
	for _, name := range []string{"iat", "nbf", "exp", "jti"} {
		delete(claims, name)
	}
	want := map[string]any{
		"iss": testClient, "sub": testClient, "aud": testIssuer, "client_id": testClient,
		"authorization_details": []any{
			map[string]any{"type": "helseid_authorization", "practitioner_role": map[string]any{
				"organization": map[string]any{"identifier": map[string]any{
					"system": "urn:oid:1.0.6523", "type": "ENH", "value": "NO:ORGNR:100100126:999944582",
				}},
			}},
			map[string]any{"type": "nhn:sfm:journal-id", "value": map[string]any{"journal_id": testTenant.Journal}},
		},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error("request object (-want +got):\n", diff)
	}
	for name, value := range map[string]string{
		"response_type": "code", "state": "the-state", "code_challenge": "the-challenge", "scope": "openid " + testScope,
	} {
		if form.Get(name) != value {
			t.Errorf("%s does not stand beside the request object", name)
		}
	}
}

// Like the assertion, a request object is good once: a repeat has a new one, signed by the key in use then.
func TestRepeatedPushHasANewRequestObject(t *testing.T) {
	f := newFake(t)
	f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 2 {
			writeError(w, 400, "invalid_client", "unknown key")
			return
		}
		pushed(w)
	}
	oldJWK, newJWK := testJWK(t, "old"), testJWK(t, "new")
	oldKey, _ := ParseKeys(oldJWK)
	newKey, _ := ParseKeys(newJWK)
	ring := NewKeyRing(oldKey)
	c := f.client(func(o *Options) { o.Keys = ring })
	z := testAuthorization()
	z.Tenant = testTenant
	for range 2 {
		if _, _, err := c.Push(t.Context(), z); err != nil {
			t.Fatal(err)
		}
		ring.Replace(newKey)
	}
	posts := f.posts()
	if len(posts) != 3 {
		t.Fatalf("%d requests, want 3", len(posts))
	}
	seen := map[any]bool{}
	for i, jwk := range [][]byte{oldJWK, newJWK, oldJWK} {
		_, claims := openObject(t, posts[i].form.Get("request"), jwk)
		if seen[claims["jti"]] {
			t.Error("a request object was sent twice")
		}
		seen[claims["jti"]] = true
	}
}

func TestRequestObjectOfASingleTenantClient(t *testing.T) {
	for name, tc := range map[string]struct {
		tenant Tenant
		want   bool
	}{
		"child":       {testTenant, true},
		"parent only": {Tenant{Parent: testTenant.Parent, Journal: testTenant.Journal}, false}, // HelseID knows it
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { pushed(w) }
		jwk := testJWK(t, "")
		c := f.client(func(o *Options) {
			key, _ := ParseKeys(jwk)
			o.Keys, o.Tenancy = NewKeyRing(key), TenancySingle
		})
		z := testAuthorization()
		z.Tenant = tc.tenant
		if _, _, err := c.Push(t.Context(), z); err != nil {
			t.Fatal(err)
		}
		form := f.posts()[0].form
		if form.Has("request") != tc.want {
			t.Errorf("%s: has a request object: %v", name, !tc.want)
		}
		if tc.want {
			_, claims := openObject(t, form.Get("request"), jwk)
			if n := len(claims["authorization_details"].([]any)); n != 1 {
				t.Errorf("%d details, want the child alone", n)
			}
		}
	}
}

func TestPushForHalfATenant(t *testing.T) {
	for _, tenant := range []Tenant{{Parent: testTenant.Parent}, {Journal: testTenant.Journal}, {Child: testTenant.Child}} {
		f := newFake(t)
		z := testAuthorization()
		z.Tenant = tenant
		if _, _, err := f.client(nil).Push(t.Context(), z); err == nil || len(f.posts()) > 0 {
			t.Error("was sent")
		}
	}
}
