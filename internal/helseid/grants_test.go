package helseid

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// openAssertion checks an assertion with go-jose and returns header and claims.
func openAssertion(t *testing.T, form url.Values, jwk []byte) (jose.Header, map[string]any) {
	t.Helper()
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(jwk); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), signedWith)
	if err != nil {
		t.Fatal("the assertion is not a JWS")
	}
	payload, err := jws.Verify(key.Public())
	if err != nil {
		t.Fatal("the assertion's signature is wrong")
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Protected, claims
}

func TestRefresh(t *testing.T) {
	f := newFake(t)
	jwk := testJWK(t, "my-kid")
	c := f.client(func(o *Options) {
		key, err := ParseKeys(jwk)
		if err != nil {
			t.Fatal(err)
		}
		o.Keys, o.Resource = NewKeyRing(key), "e-helse:sfm.api"
	})
	before := time.Now()
	g, err := refresh(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if g.Token.TokenType != "DPoP" || g.Lifetime != 10*time.Minute || g.RefreshToken != "next-refresh" ||
		g.RefreshLifetime != time.Hour || len(g.Warnings) != 0 {
		t.Errorf("grant: type %s, lifetime %v, rotated %v, refresh lifetime %v, warnings %v", g.Token.TokenType, g.Lifetime,
			g.RefreshToken != "", g.RefreshLifetime, g.Warnings)
	}
	if g.Sent.Before(before) || !g.Token.Expiry.Equal(g.Sent.Add(g.Lifetime)) {
		t.Error("the lifetime does not count from the time of the request")
	}
	post := f.posts()[0]
	header, claims := openAssertion(t, post.form, jwk)
	if header.KeyID != "my-kid" || header.Algorithm != "ES256" || header.ExtraHeaders["typ"] != "client-authentication+jwt" {
		t.Errorf("assertion header: kid %q alg %q typ %v", header.KeyID, header.Algorithm, header.ExtraHeaders["typ"])
	}
	iat := claims["iat"].(float64)
	if claims["nbf"] != iat || claims["exp"] != iat+10 || claims["jti"] == "" {
		t.Error("the assertion's times or jti are wrong")
	}
	for _, name := range []string{"iat", "nbf", "exp", "jti"} {
		delete(claims, name)
	}
	want := map[string]any{
		"iss": testClient, "sub": testClient, "aud": testIssuer,
		"assertion_details": []any{
			map[string]any{"type": "helseid_authorization", "practitioner_role": map[string]any{
				"organization": map[string]any{"identifier": map[string]any{
					"system": "urn:oid:1.0.6523", "type": "ENH", "value": "NO:ORGNR:100100126:999944582",
				}},
			}},
			map[string]any{"type": "nhn:sfm:journal-id", "value": map[string]any{"journal_id": testTenant.Journal}},
		},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error("assertion claims (-want +got):\n", diff)
	}
	post.form.Del("client_assertion")
	wantForm := url.Values{
		"client_id":             {testClient},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"grant_type":            {"refresh_token"}, "refresh_token": {"first-refresh"}, "resource": {"e-helse:sfm.api"},
	}
	if diff := cmp.Diff(wantForm, post.form); diff != "" {
		t.Error("form (-want +got):\n", diff)
	}
	if diff := cmp.Diff([]string{"refresh_token ok"}, f.requests); diff != "" {
		t.Error(diff)
	}
}

// proofClaims opens the proof with go-jose by the key in its own header.
func proofClaims(t *testing.T, r received) map[string]any {
	t.Helper()
	jws, err := jose.ParseSignedCompact(r.header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal("the proof is not a JWS")
	}
	payload, err := jws.Verify(jws.Signatures[0].Protected.JSONWebKey)
	if err != nil {
		t.Fatal("the proof's signature is wrong")
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestDetails(t *testing.T) {
	org := func(system, value string) string {
		return `{"type":"helseid_authorization","practitioner_role":{"organization":{"identifier":{"system":"` +
			system + `","type":"ENH","value":"` + value + `"}}}}`
	}
	const journal = `{"type":"nhn:sfm:journal-id","value":{"journal_id":"7FBFBCBD-6f08-4e95-9f7a-9d69c40f6a35"}}`
	for name, tc := range map[string]struct {
		o     Options
		child string
		want  string
	}{
		"multi":                   {Options{}, "999944582", "[" + org(systemMulti, "NO:ORGNR:100100126:999944582") + "," + journal + "]"},
		"multi, bare, with child": {Options{ParentOnlyForm: ParentOnlyBare}, "999944582", "[" + org(systemMulti, "NO:ORGNR:100100126:999944582") + "," + journal + "]"},
		"multi, parent only":      {Options{}, "", "[" + org(systemMulti, "NO:ORGNR:100100126:") + "," + journal + "]"},
		"multi, bare parent":      {Options{ParentOnlyForm: ParentOnlyBare}, "", "[" + org(systemMulti, "NO:ORGNR:100100126") + "," + journal + "]"},
		"single":                  {Options{Tenancy: TenancySingle}, "999944582", "[" + org(systemSingle, "999944582") + "]"},
		"single, parent only":     {Options{Tenancy: TenancySingle}, "", "null"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.setDefaults()
			got, err := json.Marshal(tc.o.details(Tenant{"100100126", tc.child, "7FBFBCBD-6f08-4e95-9f7a-9d69c40f6a35"}))
			if err != nil || string(got) != tc.want {
				t.Errorf("details = %s (%v), want %s", got, err, tc.want)
			}
		})
	}
}

func TestAssertionClaimOption(t *testing.T) {
	for option, other := range map[string]string{
		ClaimAssertionDetails: ClaimAuthorizationDetails, ClaimAuthorizationDetails: ClaimAssertionDetails,
	} {
		f := newFake(t)
		jwk := testJWK(t, "")
		c := f.client(func(o *Options) {
			key, _ := ParseKeys(jwk)
			o.Keys, o.AssertionClaim, o.AssertionLifetime = NewKeyRing(key), option, time.Minute
		})
		if _, err := refresh(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		_, claims := openAssertion(t, f.posts()[0].form, jwk)
		if claims[option] == nil || claims[other] != nil {
			t.Errorf("%s: has it %v, has the other %v", option, claims[option] != nil, claims[other] != nil)
		}
		if claims["exp"].(float64)-claims["iat"].(float64) != 60 {
			t.Error("lifetime of the assertion is not the one set")
		}
	}
}

func TestExchange(t *testing.T) {
	f := newFake(t)
	jwk := testJWK(t, "")
	c := f.client(func(o *Options) {
		key, _ := ParseKeys(jwk)
		o.Keys, o.Resource = NewKeyRing(key), "e-helse:sfm.api"
	})
	// An access token that is no JWT and names nobody: it must not even be looked at.
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
		f.grant(w, map[string]any{"access_token": "opaque", "expires_in": nil}, nil)
	}
	login, err := c.Exchange(t.Context(), CodeGrant{Code: "the-code", Verifier: "the-verifier", RedirectURI: "http://localhost:1/cb"})
	if err != nil {
		t.Fatal(err)
	}
	if login.IDToken == "" || login.RefreshToken == "" || login.RefreshLifetime != time.Hour {
		t.Error("the log-in lacks a part")
	}
	post := f.posts()[0]
	_, claims := openAssertion(t, post.form, jwk)
	if claims["assertion_details"] != nil || claims["authorization_details"] != nil {
		t.Error("the exchange names an organization")
	}
	for name, want := range map[string]string{
		"grant_type": "authorization_code", "code": "the-code", "code_verifier": "the-verifier",
		"redirect_uri": "http://localhost:1/cb", "resource": "e-helse:sfm.api", "scope": "",
	} {
		if post.form.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, post.form.Get(name), want)
		}
	}
}

func TestExchangeFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		members      map[string]any
		oauth        string
		code, reason string
	}{
		"no ID token":      {members: map[string]any{"id_token": nil}, code: codeLoginFailed, reason: reasonIDTokenInvalid},
		"no refresh token": {members: map[string]any{"refresh_token": nil}, code: codeRefused},
		"code refused":     {oauth: errInvalidGrant, code: codeLoginFailed, reason: reasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
				if tc.oauth != "" {
					writeError(w, 400, tc.oauth, "")
					return
				}
				f.grant(w, tc.members, nil)
			}
			_, err := f.client(nil).Exchange(t.Context(), CodeGrant{})
			if e := wantError(t, err, tc.code); e.Reason() != tc.reason || e.InvalidGrant() != (tc.oauth != "") {
				t.Errorf("reason %q, invalid grant %v", e.Reason(), e.InvalidGrant())
			}
		})
	}
}

// A rotated refresh token must reach the session even when the access token beside it is refused.
func TestRefreshTokenSurvivesARefusedAccessToken(t *testing.T) {
	for name, tc := range map[string]struct {
		members, claims map[string]any
		code            string
	}{
		"another tenant": {nil, map[string]any{claimChild: "999977774"}, codeTokenMismatch},
		"terms":          {map[string]any{"rejected_scope": testScope}, nil, codeTermsUnsigned},
		"no expires_in":  {map[string]any{"expires_in": nil}, nil, codeUnavailable},
		"opaque token":   {map[string]any{"access_token": "opaque"}, nil, codeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { f.grant(w, tc.members, tc.claims) }
			g, err := refresh(t.Context(), f.client(nil))
			e := wantError(t, err, tc.code)
			if g == nil || g.Token != nil || g.RefreshToken != "next-refresh" || g.RefreshLifetime != time.Hour {
				t.Error("the grant must hold the new refresh token and no access token")
			}
			if e.Garbled() || e.NoAnswer() {
				t.Error("the refresh token is not lost")
			}
		})
	}
}

func TestRefreshVariants(t *testing.T) {
	t.Run("hand-over names no organization and gives no token", func(t *testing.T) {
		f := newFake(t)
		jwk := testJWK(t, "")
		c := f.client(func(o *Options) { key, _ := ParseKeys(jwk); o.Keys = NewKeyRing(key) })
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			f.grant(w, nil, map[string]any{claimParent: nil, claimJournal: nil})
		}
		g, err := c.Refresh(t.Context(), "first-refresh", Request{NoTenant: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, claims := openAssertion(t, f.posts()[0].form, jwk); claims["assertion_details"] != nil {
			t.Error("it names an organization")
		}
		if g.Token != nil || g.RefreshToken == "" || g.IDToken == "" {
			t.Error("it must give the refresh and ID tokens only")
		}
	})
	t.Run("scope only when asked for", func(t *testing.T) {
		f := newFake(t)
		_, err := f.client(nil).Refresh(t.Context(), "r",
			Request{Tenant: testTenant, PID: testPID, Scope: "openid " + testScope, Wanted: []string{testScope}})
		if err != nil || f.posts()[0].form.Get("scope") != "openid "+testScope {
			t.Error("scope was not sent", err)
		}
	})
	t.Run("no rotation", func(t *testing.T) {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			f.grant(w, map[string]any{"refresh_token": nil, "rt_expires_in": "soon"}, nil)
		}
		g, err := refresh(t.Context(), f.client(nil))
		if err != nil || g.RefreshToken != "" || g.RefreshLifetime != 0 {
			t.Error("a missing refresh token must stay missing", err)
		}
	})
	t.Run("a person must be named", func(t *testing.T) {
		f := newFake(t)
		if _, err := f.client(nil).Refresh(t.Context(), "r", Request{Tenant: testTenant}); err == nil || len(f.posts()) > 0 {
			t.Error("a refresh that names nobody was sent")
		}
	})
	t.Run("bearer", func(t *testing.T) {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			f.grant(w, map[string]any{"token_type": "bearer"}, map[string]any{"cnf": nil})
		}
		g, err := refresh(t.Context(), f.client(func(o *Options) { o.DPoP = nil }))
		if err != nil || g.Token.TokenType != "Bearer" {
			t.Fatal("no Bearer token", err)
		}
		if _, ok := f.posts()[0].header["Dpop"]; ok {
			t.Error("v1 sent a proof")
		}
	})
}

func TestClientCredentials(t *testing.T) {
	machine := map[string]any{claimPID: nil, claimLevel: nil, claimHPR: nil, claimAssurance: nil}
	r := Request{Tenant: testTenant, Wanted: []string{testScope}}
	f := newFake(t)
	f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 2 {
			f.grant(w, nil, nil) // names a person
			return
		}
		f.grant(w, map[string]any{"refresh_token": nil, "id_token": nil, "rt_expires_in": nil}, machine)
	}
	c := f.client(nil)
	g, err := c.ClientCredentials(t.Context(), r)
	if err != nil || g.Token == nil || len(g.Warnings) != 0 {
		t.Fatal("no token, or warnings about a person", err)
	}
	form := f.posts()[0].form
	if form.Get("grant_type") != "client_credentials" || form.Get("scope") != testScope {
		t.Error("wrong form")
	}
	_, err = c.ClientCredentials(t.Context(), r)
	if e := wantError(t, err, codeTokenMismatch); e.Reason() != claimPID {
		t.Errorf("reason = %s", e.Reason())
	}
	r.PID = testPID
	if _, err := c.ClientCredentials(t.Context(), r); err == nil {
		t.Error("client credentials for a person were sent")
	}
}

func TestRevoke(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) } // no body at all (RFC 7009 §2.2)
	c := f.client(nil)
	if err := c.Revoke(t.Context(), "first-refresh"); err != nil {
		t.Fatal(err)
	}
	post := f.posts()[0]
	if post.path != "/connect/revocation" || post.form.Get("token") != "first-refresh" ||
		post.form.Get("token_type_hint") != "refresh_token" || post.form.Get("client_assertion") == "" {
		t.Error("wrong form")
	}
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { writeError(w, 400, "unsupported_token_type", "") }
	wantError(t, c.Revoke(t.Context(), "first-refresh"), codeRefused)
	f.discovery = func() any { return merge(f.metadata(), map[string]any{"revocation_endpoint": nil}) }
	wantError(t, f.client(nil).Revoke(t.Context(), "first-refresh"), codeRefused)
}

func TestNewFaults(t *testing.T) {
	f := newFake(t)
	for name, change := range map[string]func(*Options){
		"issuer":           func(o *Options) { o.Issuer = "http://helseid.example.com" },
		"issuer, relative": func(o *Options) { o.Issuer = "helseid" },
		"issuer, user":     func(o *Options) { o.Issuer = "https://a:b@example.com" },
		"client":           func(o *Options) { o.ClientID = "" },
		"keys":             func(o *Options) { o.Keys = nil },
		"tenancy":          func(o *Options) { o.Tenancy = "both" },
		"claim":            func(o *Options) { o.AssertionClaim = "details" },
		"form":             func(o *Options) { o.ParentOnlyForm = "semicolon" },
		"lifetime":         func(o *Options) { o.AssertionLifetime = 61 * time.Second },
		"claim name":       func(o *Options) { o.ClaimNames = map[string]string{"scope": "x"} },
		"empty claim name": func(o *Options) { o.ClaimNames = map[string]string{"pid": ""} },
	} {
		o := f.options()
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: the error holds the URL", name)
		}
	}
}
