package helseid

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testAuthorization() Authorization {
	return Authorization{
		RedirectURI: "http://localhost:8080/_sidecar/callback", State: "the-state", Nonce: "the-nonce",
		Challenge: "the-challenge", Scopes: []string{"openid", testScope},
		Extra: url.Values{"ui_locales": {"nb"}, "prompt": {"login"}},
	}
}

func TestPush(t *testing.T) {
	f := newFake(t)
	f.discovery = func() any {
		return merge(f.metadata(), map[string]any{"authorization_endpoint": testIssuer + "/connect/authorize?x=1"})
	}
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 201, map[string]any{"request_uri": "urn:ietf:params:oauth:request_uri:6e4&a=b", "expires_in": 60})
	}
	jwk := testJWK(t, "")
	c := f.client(func(o *Options) {
		key, _ := ParseKeys(jwk)
		o.Keys, o.Resource = NewKeyRing(key), "e-helse:sfm.api"
	})
	to, lifetime, err := c.Push(t.Context(), testAuthorization())
	if err != nil || lifetime != time.Minute {
		t.Fatal(err, lifetime)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"x": {"1"}, "client_id": {testClient}, "request_uri": {"urn:ietf:params:oauth:request_uri:6e4&a=b"}}
	if diff := cmp.Diff(want, u.Query()); diff != "" || u.Path != "/connect/authorize" {
		t.Error("authorize URL (-want +got):\n", diff)
	}
	post := f.posts()[0]
	_, claims := openAssertion(t, post.form, jwk)
	if claims["assertion_details"] != nil || post.header.Get("DPoP") != "" || post.path != "/connect/par" {
		t.Error("the log-in names an organization, or carries a proof, or went elsewhere")
	}
	post.form.Del("client_assertion")
	form := url.Values{
		"client_id":             {testClient},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"response_type":         {"code"}, "redirect_uri": {"http://localhost:8080/_sidecar/callback"},
		"scope": {"openid " + testScope}, "state": {"the-state"}, "nonce": {"the-nonce"},
		"code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"}, "resource": {"e-helse:sfm.api"},
		"ui_locales": {"nb"}, "prompt": {"login"},
	}
	if diff := cmp.Diff(form, post.form); diff != "" {
		t.Error("form (-want +got):\n", diff)
	}
	if diff := cmp.Diff([]string{"par ok"}, f.requests); diff != "" {
		t.Error(diff)
	}
}

func TestPushFaults(t *testing.T) {
	for name, body := range map[string]map[string]any{
		"no-request-uri": {"expires_in": 60},
		"expires-in":     {"request_uri": "urn:x", "expires_in": 0},
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { writeJSON(w, 201, body) }
		_, _, err := f.client(nil).Push(t.Context(), testAuthorization())
		if e := wantError(t, err, codeUnavailable); e.Reason() != name {
			t.Errorf("reason %s, want %s", e.Reason(), name)
		}
	}
	for name, change := range map[string]func(*Authorization){
		"no state":           func(z *Authorization) { z.State = "" },
		"no nonce":           func(z *Authorization) { z.Nonce = "" },
		"no challenge":       func(z *Authorization) { z.Challenge = "" },
		"state twice":        func(z *Authorization) { z.Extra.Set("state", "x") },
		"another client":     func(z *Authorization) { z.Extra.Set("client_id", "x") },
		"another scope":      func(z *Authorization) { z.Extra.Set("scope", "x") },
		"a request object":   func(z *Authorization) { z.Extra.Set("request", "x") },
		"plain PKCE":         func(z *Authorization) { z.Extra.Set("code_challenge_method", "plain") },
		"another assertion":  func(z *Authorization) { z.Extra.Set("client_assertion", "x") },
		"unsigned structure": func(z *Authorization) { z.Extra.Set("authorization_details", "x") },
	} {
		f := newFake(t)
		z := testAuthorization()
		change(&z)
		if _, _, err := f.client(nil).Push(t.Context(), z); err == nil || len(f.posts()) > 0 {
			t.Errorf("%s: was sent", name)
		}
	}
}

func TestResponseIssuer(t *testing.T) {
	c := newFake(t).client(nil)
	if err := c.CheckResponseIssuer(testIssuer); err != nil {
		t.Fatal(err)
	}
	for _, iss := range []string{"", testIssuer + "/", "https://evil.example.com", "HTTP://127.0.0.1"} {
		if e := wantError(t, c.CheckResponseIssuer(iss), codeLoginFailed); e.Reason() != reasonStateUnknown {
			t.Error(e.Reason())
		}
	}
}

func TestEndSession(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	for name, tc := range map[string]struct{ hint, post, state, want string }{
		"nothing": {want: testIssuer + "/connect/endsession?client_id=" + testClient},
		"all": {"hint", "http://localhost/out", "s", testIssuer +
			"/connect/endsession?id_token_hint=hint&post_logout_redirect_uri=http%3A%2F%2Flocalhost%2Fout&state=s"},
	} {
		got, err := c.EndSession(t.Context(), tc.hint, tc.post, tc.state)
		if err != nil || got != tc.want {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
	f.discovery = func() any { return merge(f.metadata(), map[string]any{"end_session_endpoint": nil}) }
	if got, err := f.client(nil).EndSession(t.Context(), "", "", ""); got != "" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}
