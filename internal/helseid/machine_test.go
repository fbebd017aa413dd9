package helseid

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	machineScope    = "nhn:cp-api/access-v2-dpop"
	machineAudience = "nhn:cp-api"
)

// A token of the client itself: no organization in the assertion, no resource, and only what such a token has is compared.
func TestMachineToken(t *testing.T) {
	f := newFake(t)
	own := map[string]any{"aud": []string{"x", machineAudience}, "scope": machineScope, claimPID: nil, claimJournal: nil, claimParent: nil, claimChild: nil}
	f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			askNonce(w, "nonce-1")
			return
		}
		f.grant(w, map[string]any{"scope": machineScope}, own)
	}
	jwk := testJWK(t, "my-kid")
	key, err := ParseKeys(jwk)
	if err != nil {
		t.Fatal(err)
	}
	c := f.client(func(o *Options) { o.Resource, o.Keys = "e-helse:sfm.api", NewKeyRing(key) })
	g, err := c.MachineToken(t.Context(), []string{machineScope}, machineAudience)
	if err != nil {
		t.Fatal(err)
	}
	if g.Token.TokenType != "DPoP" || g.Lifetime != 10*time.Minute || g.RefreshToken != "" {
		t.Errorf("grant: %s for %v", g.Token.TokenType, g.Lifetime)
	}
	post := f.posts()[1]
	if post.header.Get("DPoP") == "" || post.form.Get("scope") != machineScope || post.form.Get("grant_type") != "client_credentials" || post.form.Has("resource") {
		t.Error("sent", post.form.Get("grant_type"), post.form.Get("scope"))
	}
	if _, claims := openAssertion(t, post.form, jwk); claims["assertion_details"] != nil {
		t.Error("the assertion names an organization")
	}
	if _, err := c.MachineToken(t.Context(), []string{machineScope}, ""); err != nil {
		t.Error("an unknown audience is not compared:", err)
	}
}

func TestMachineTokenRefused(t *testing.T) {
	for name, test := range map[string]struct {
		member, claim map[string]any
		code, reason  string
	}{
		"audience":     {nil, map[string]any{"aud": "nhn:other"}, codeTokenMismatch, "aud"},
		"no audience":  {nil, map[string]any{"aud": nil}, codeTokenMismatch, "aud"},
		"scope":        {nil, map[string]any{"scope": "nhn:cp-api/other"}, codeTokenMismatch, "scope"},
		"key":          {nil, map[string]any{"cnf": map[string]any{"jkt": "another"}}, codeTokenMismatch, claimThumbprint},
		"no key":       {nil, map[string]any{"cnf": nil}, codeTokenMismatch, claimThumbprint},
		"person":       {nil, map[string]any{claimPID: testPID}, codeTokenMismatch, claimPID},
		"bearer":       {map[string]any{"token_type": "Bearer"}, nil, codeTokenMismatch, "token_type"},
		"terms":        {map[string]any{"rejected_scope": machineScope}, nil, codeTermsUnsigned, ""},
		"no JWT":       {map[string]any{"access_token": "opaque"}, nil, codeUnavailable, "not-jwt"},
		"no life":      {map[string]any{"expires_in": nil}, nil, codeUnavailable, "expires-in"},
		"left it out":  {map[string]any{"scope": "openid"}, nil, codeTermsUnsigned, ""},
		"no such text": {map[string]any{"access_token": nil}, nil, codeUnavailable, "no-token"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			member := map[string]any{"scope": machineScope}
			maps.Copy(member, test.member) // a nil takes a member away
			claim := map[string]any{"aud": machineAudience, "scope": machineScope, claimPID: nil}
			maps.Copy(claim, test.claim)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { f.grant(w, member, claim) }
			g, err := f.client(nil).MachineToken(t.Context(), []string{machineScope}, machineAudience)
			if e := wantError(t, err, test.code); e != nil && e.Reason() != test.reason || g != nil {
				t.Error(err, g != nil)
			}
		})
	}
	if _, err := newFake(t).client(nil).MachineToken(t.Context(), nil, ""); err == nil {
		t.Error("a token for nothing was asked for")
	}
}

// The member exp of the key's JWK is when it ends; the same key with another exp is the same key.
func TestNotAfter(t *testing.T) {
	at := time.Unix(1893456000, 0)
	jwk := testJWK(t, "k")
	ends := append([]byte(`{"exp":1893456000,`), jwk[1:]...)
	for name, test := range map[string]struct {
		raw  string
		want time.Time
	}{
		"JWK":     {string(ends), at},
		"JWKS":    {`{"keys":[` + string(ends) + `,` + string(testJWK(t, "o")) + `]}`, at},
		"second":  {`{"keys":[` + string(testJWK(t, "o")) + `,` + string(ends) + `]}`, time.Time{}},
		"none":    {string(jwk), time.Time{}},
		"garbled": {`{"exp":"soon",` + string(jwk[1:]), time.Time{}},
	} {
		key, err := ParseKeys([]byte(test.raw))
		if err != nil || !key.NotAfter().Equal(test.want) {
			t.Error(name, err, key.NotAfter())
		}
	}
	plain, _ := ParseKeys(jwk)
	known, _ := ParseKeys(ends)
	ring := NewKeyRing(plain)
	ring.Replace(known)
	if diff := cmp.Diff(at, ring.Current().NotAfter()); diff != "" || ring.Current() != plain {
		t.Error("the same key's end is not taken over", diff)
	}
}
