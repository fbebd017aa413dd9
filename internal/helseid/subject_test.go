package helseid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

const testSubjectAudience = "epj:api"

// subjectClaims are those of a caller's token that can be exchanged.
func (f *fake) subjectClaims() map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": testIssuer, "aud": testSubjectAudience, "nbf": now, "iat": now, "exp": now + 3600, "client_id": "another",
		"scope": []string{"epj:api/use"}, "sub": "subject-1", claimPID: testPID, claimLevel: "4",
		"cnf": map[string]any{"jkt": "a key of the caller's"},
	}
}

// signAs signs with the fake's key (or another), under a `typ` of choice.
func (f *fake) signAs(typ string, key *ecdsa.PrivateKey, claims map[string]any) string {
	options := (&jose.SignerOptions{}).WithHeader("typ", typ)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "server-1"}}, options)
	if err != nil {
		f.t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	jws, err := signer.Sign(payload)
	if err != nil {
		f.t.Fatal(err)
	}
	compact, _ := jws.CompactSerialize()
	return compact
}

// exchanger is a client that may verify and exchange.
func (f *fake) exchanger(change func(*Options)) *Client {
	return f.client(func(o *Options) {
		o.SubjectAudience = testSubjectAudience
		if change != nil {
			change(o)
		}
	})
}

func TestVerifySubject(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		claims map[string]any
		reason string // "" = accepted
	}{
		"as it should be":     {},
		"several audiences":   {claims: map[string]any{"aud": []string{"x", testSubjectAudience}}},
		"level as a number":   {claims: map[string]any{claimLevel: 4}},
		"bound to no key":     {claims: map[string]any{"cnf": nil}},
		"no nbf, no iat":      {claims: map[string]any{"nbf": nil, "iat": nil}},
		"scope as a text":     {claims: map[string]any{"scope": "epj:api/use openid"}},
		"another issuer":      {map[string]any{"iss": "https://evil.example"}, "iss"},
		"issuer with a slash": {map[string]any{"iss": testIssuer + "/"}, "iss"},
		"no issuer":           {map[string]any{"iss": nil}, "iss"},
		"another audience":    {map[string]any{"aud": "another"}, "aud"},
		"SFM's audience":      {map[string]any{"aud": sfmAudience}, "aud"},
		"audience folded":     {map[string]any{"aud": "EPJ:API"}, "aud"},
		"audience as a word":  {map[string]any{"aud": "x " + testSubjectAudience}, "aud"},
		"audience and number": {map[string]any{"aud": []any{testSubjectAudience, 1}}, "aud"},
		"no audience":         {map[string]any{"aud": nil}, "aud"},
		"expired":             {map[string]any{"exp": now.Unix() - 1}, "exp"},
		"no exp":              {map[string]any{"exp": nil}, "exp"},
		"exp no number":       {map[string]any{"exp": "soon"}, "exp"},
		"not yet":             {map[string]any{"nbf": now.Unix() + 60}, "nbf"},
		"of the future":       {map[string]any{"iat": now.Unix() + 60}, "iat"},
		"level 3":             {map[string]any{claimLevel: "3"}, "security_level"},
		"no level":            {map[string]any{claimLevel: nil}, "security_level"},
		"no person":           {map[string]any{claimPID: nil}, "pid"},
		"person as a number":  {map[string]any{claimPID: 123}, "pid"},
		"no scope: ID token":  {map[string]any{"scope": nil}, "typ"},
		"nonce: ID token":     {map[string]any{"nonce": "x"}, "typ"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			claims := merge(f.subjectClaims(), tc.claims)
			s, err := f.exchanger(nil).VerifySubject(t.Context(), f.signAs("at+jwt", f.key, claims))
			if tc.reason != "" {
				if e := wantError(t, err, codeSubjectInvalid); e.Reason() != tc.reason || e.Detail() == "" || e.Permanent() {
					t.Errorf("reason %s, want %s", e.Reason(), tc.reason)
				} else if strings.Contains(e.Error(), "evil") || strings.Contains(e.Error(), "another") {
					t.Error("the text holds a claim's value")
				}
				if s != (Subject{}) {
					t.Error("a subject beside the refusal")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.PID != testPID || s.SecurityLevel != "4" || s.Expires.Unix() != claims["exp"].(int64) {
				t.Error("the subject is not that of the token")
			}
		})
	}
}

func TestSubjectSignatures(t *testing.T) {
	f := newFake(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claims := f.subjectClaims()
	good := f.signAs("at+jwt", f.key, claims)
	parts := strings.Split(good, ".")
	payload, _ := json.Marshal(merge(claims, map[string]any{claimPID: "02027012345"}))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
	long := merge(claims, map[string]any{"filler": strings.Repeat("x", maxToken)})
	unknown := signJWT(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: other, KeyID: "server-2"}}, claims)
	for name, tc := range map[string]struct{ token, reason string }{
		"at+jwt":             {good, ""},
		"another letter":     {f.signAs("AT+JWT", f.key, claims), ""},
		"whole media type":   {f.signAs("application/at+jwt", f.key, claims), ""},
		"JWT":                {f.signAs("JWT", f.key, claims), ""},
		"no typ":             {f.signAs("", f.key, claims), "typ"},
		"a log-out token":    {f.signAs("logout+jwt", f.key, claims), "typ"},
		"a proof":            {f.signAs("dpop+jwt", f.key, claims), "typ"},
		"a client assertion": {f.signAs("client-authentication+jwt", f.key, claims), "typ"},
		"forged":             {f.signAs("at+jwt", other, claims), "signature"},
		"unknown key":        {unknown, "signature"},
		"payload exchanged":  {parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2], "signature"},
		"signature cut":      {parts[0] + "." + parts[1] + "." + parts[2][:20], "signature"},
		"alg none":           {none + "." + parts[1] + ".", "not-jwt"},
		"line end":           {parts[0] + "\n." + parts[1] + "." + parts[2], "not-jwt"},
		"padding":            {good + "==", "not-jwt"},
		"opaque":             {"2YotnFZFEjr1zCsicMWpAA", "not-jwt"},
		"empty":              {"", "not-jwt"},
		"oversized":          {f.signAs("at+jwt", f.key, long), "not-jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.exchanger(nil).VerifySubject(t.Context(), tc.token)
			if tc.reason == "" {
				if err != nil {
					t.Error(err)
				}
			} else if e := wantError(t, err, codeSubjectInvalid); e.Reason() != tc.reason {
				t.Errorf("reason %s, want %s", e.Reason(), tc.reason)
			}
		})
	}
}

// What keeps a good token from being judged is not the token's fault.
func TestSubjectThatCantBeJudged(t *testing.T) {
	f := newFake(t)
	f.jwks = func() any { return nil }
	good := f.signAs("at+jwt", f.key, f.subjectClaims())
	_, err := f.exchanger(nil).VerifySubject(t.Context(), good)
	wantError(t, err, codeUnavailable)
	if _, err := f.client(nil).VerifySubject(t.Context(), good); err == nil || !strings.HasPrefix(err.Error(), "BUG") {
		t.Error("verified for no audience:", err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := newFake(t).exchanger(nil).VerifySubject(left, good); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSubjectByCorrectedClock(t *testing.T) {
	for _, tc := range []struct {
		offset time.Duration // of HelseID to us
		system bool
		code   string
	}{
		{2 * time.Minute, false, ""}, {-2 * time.Minute, false, ""},
		{2 * time.Minute, true, codeSubjectInvalid}, // too new by our clock
		{-4 * time.Minute, true, codeSubjectInvalid},
		{20 * time.Minute, false, codeClockSkew}, {-20 * time.Minute, false, codeClockSkew},
	} {
		f := newFake(t)
		c := f.exchanger(func(o *Options) {
			o.SystemClock = tc.system
			o.Wall = func() time.Time { return time.Now().Add(-tc.offset) }
		})
		claims := merge(f.subjectClaims(), map[string]any{"exp": time.Now().Unix() + 200})
		_, err := c.VerifySubject(t.Context(), f.signAs("at+jwt", f.key, claims))
		if tc.code == "" && err != nil {
			t.Errorf("%v, system %v: %v", tc.offset, tc.system, err)
		} else if tc.code != "" {
			wantError(t, err, tc.code)
		}
	}
}

// subject is a verified one of this fake's; claims change its token.
func (f *fake) subject(c *Client, claims map[string]any) Subject {
	f.t.Helper()
	s, err := c.VerifySubject(f.t.Context(), f.signAs("at+jwt", f.key, merge(f.subjectClaims(), claims)))
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func TestTokenExchange(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
		f.grant(w, map[string]any{"issued_token_type": typeAccessToken, "refresh_token": nil, "id_token": nil}, nil)
	}
	jwk := testJWK(t, "")
	c := f.exchanger(func(o *Options) {
		key, _ := ParseKeys(jwk)
		o.Keys, o.Resource = NewKeyRing(key), "e-helse:sfm.api"
	})
	s := f.subject(c, nil)
	g, err := c.TokenExchange(t.Context(), s, Request{Tenant: testTenant, Wanted: []string{testScope}})
	if err != nil {
		t.Fatal(err)
	}
	if g.Lifetime != 10*time.Minute || g.Last || g.Token.TokenType != "DPoP" || g.RefreshToken != "" {
		t.Errorf("lifetime %v, last %v, type %s", g.Lifetime, g.Last, g.Token.TokenType)
	}
	post := f.posts()[0]
	_, claims := openAssertion(t, post.form, jwk)
	if claims["assertion_details"] == nil || post.header.Get("DPoP") == "" || post.path != "/connect/token" {
		t.Error("names no tenant, or has no proof, or went elsewhere")
	}
	if post.form.Get("subject_token") != s.raw {
		t.Error("another token was exchanged")
	}
	post.form.Del("client_assertion")
	post.form.Del("subject_token")
	want := url.Values{
		"client_id":             {testClient},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"grant_type":            {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token_type":    {"urn:ietf:params:oauth:token-type:access_token"},
		"scope":                 {testScope}, "resource": {"e-helse:sfm.api"},
	}
	if diff := cmp.Diff(want, post.form); diff != "" {
		t.Error("form (-want +got):\n", diff)
	}
	if diff := cmp.Diff([]string{"token_exchange ok"}, f.requests); diff != "" {
		t.Error(diff)
	}
}

func TestTokenExchangeFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		member, claim map[string]any
		code, reason  string
	}{
		"another person":         {nil, map[string]any{claimPID: "02027012345"}, codeTokenMismatch, claimPID},
		"nobody":                 {nil, map[string]any{claimPID: nil}, codeTokenMismatch, claimPID},
		"level 3":                {nil, map[string]any{claimLevel: "3"}, codeTokenMismatch, claimLevel},
		"another parent":         {nil, map[string]any{claimParent: "313325016"}, codeTokenMismatch, claimParent},
		"another journal":        {nil, map[string]any{claimJournal: "00000000-0000-4000-8000-000000000000"}, codeTokenMismatch, claimJournal},
		"the caller's own key":   {nil, map[string]any{"cnf": map[string]any{"jkt": "a key of the caller's"}}, codeTokenMismatch, claimThumbprint},
		"another kind of token":  {map[string]any{"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"}, nil, codeTokenMismatch, "issued_token_type"},
		"issued_token_type text": {map[string]any{"issued_token_type": 1}, nil, codeTokenMismatch, "issued_token_type"},
		"terms unsigned":         {map[string]any{"scope": "openid", "rejected_scope": testScope}, nil, codeTermsUnsigned, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { f.grant(w, tc.member, tc.claim) }
			c := f.exchanger(nil)
			g, err := c.TokenExchange(t.Context(), f.subject(c, nil), Request{Tenant: testTenant, Wanted: []string{testScope}})
			if e := wantError(t, err, tc.code); e.Reason() != tc.reason || g != nil {
				t.Errorf("reason %s, want %s; a grant beside it: %v", e.Reason(), tc.reason, g != nil)
			}
		})
	}
}

func TestTokenExchangeRefused(t *testing.T) {
	for oauth, code := range map[string]string{
		"invalid_grant": codeSubjectInvalid, "invalid_request": codeRefused, "unauthorized_client": codeNotApproved,
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { writeError(w, 400, oauth, "no") }
		c := f.exchanger(nil)
		_, err := c.TokenExchange(t.Context(), f.subject(c, nil), Request{Tenant: testTenant, Wanted: []string{testScope}})
		if e := wantError(t, err, code); e.OAuthError() != oauth || code == codeSubjectInvalid && (e.Reason() != "refused" || e.Permanent()) {
			t.Errorf("%s: error %s, reason %s", oauth, e.OAuthError(), e.Reason())
		}
	}
}

// HelseID's clock is the one that counts when a token ends on its way there.
func TestTokenExchangeAtTheEndOfItsSubject(t *testing.T) {
	for description, code := range map[string]string{"no": codeSubjectInvalid, "HID-1004: no": codeTenantRefused} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			writeError(w, 400, "invalid_request", description)
		}
		c := f.exchanger(nil)
		s := f.subject(c, nil)
		s.Expires = time.Now().Add(time.Second / 2)
		_, err := c.TokenExchange(t.Context(), s, Request{Tenant: testTenant, Wanted: []string{testScope}})
		if e := wantError(t, err, code); code == codeSubjectInvalid && (e.Reason() != "exp" || e.Permanent()) {
			t.Errorf("reason %s", e.Reason())
		}
	}
}

// What comes of a token lives no longer than that, by HelseID's clock.
func TestTokenExchangeEndsWithItsSubject(t *testing.T) {
	for name, tc := range map[string]struct {
		left, offset time.Duration // the subject's life; of HelseID to us
		want         time.Duration
		last         bool
	}{
		"longer":         {time.Hour, 0, 10 * time.Minute, false},
		"shorter":        {time.Minute, 0, time.Minute, true},
		"shorter, ahead": {time.Minute, 90 * time.Second, time.Minute, true},
	} {
		f := newFake(t)
		c := f.exchanger(func(o *Options) { o.Wall = func() time.Time { return time.Now().Add(-tc.offset) } })
		s := f.subject(c, map[string]any{"exp": time.Now().Add(tc.left).Unix()})
		g, err := c.TokenExchange(t.Context(), s, Request{Tenant: testTenant, Wanted: []string{testScope}})
		if err != nil {
			t.Fatal(name, err)
		}
		if d := tc.want - g.Lifetime; d < 0 || d > 3*time.Second || g.Last != tc.last || !g.Token.Expiry.Equal(g.Sent.Add(g.Lifetime)) {
			t.Errorf("%s: lifetime %v, last %v, want %v", name, g.Lifetime, g.Last, tc.want)
		}
	}
	f := newFake(t)
	c := f.exchanger(nil)
	s := f.subject(c, nil)
	s.Expires = time.Now().Add(-time.Second)
	_, err := c.TokenExchange(t.Context(), s, Request{Tenant: testTenant, Wanted: []string{testScope}})
	if e := wantError(t, err, codeSubjectInvalid); e.Reason() != "exp" {
		t.Error(e.Reason())
	}
}

func TestTokenExchangeWantsASubjectAndATenant(t *testing.T) {
	f := newFake(t)
	c := f.exchanger(nil)
	for name, r := range map[string]Request{"no tenant": {}, "without tenant": {NoTenant: true}} {
		if g, err := c.TokenExchange(t.Context(), f.subject(c, nil), r); err == nil || g != nil {
			t.Error(name)
		}
	}
	if _, err := c.TokenExchange(t.Context(), Subject{PID: testPID, Expires: time.Now().Add(time.Hour)}, Request{Tenant: testTenant}); err == nil {
		t.Error("a subject that nobody verified was exchanged")
	}
	if n := len(f.posts()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestSubjectsDoNotPrint(t *testing.T) {
	s := Subject{PID: testPID, raw: "eyJ.x.y"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "subject", s)
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s) + log.String(); strings.Contains(text, testPID) || strings.Contains(text, "eyJ") {
		t.Error("a subject prints its values")
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("a.b.c")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"at+jwt"}`)) + ".e30.c2ln")
	var c *Client // made once: its key takes longer than the rest
	f.Fuzz(func(t *testing.T, raw string) {
		if c == nil {
			var err error
			c, err = New(Options{
				Issuer: testIssuer, ClientID: testClient, Keys: NewKeyRing(testKey(t)), SubjectAudience: testSubjectAudience,
				Transport: handlerTransport{http.NotFoundHandler()},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.VerifySubject(t.Context(), raw); err == nil {
			t.Error("accepted without HelseID's keys")
		}
	})
}
