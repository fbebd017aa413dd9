package helseid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// handlerTransport serves requests by a handler, without a connection.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

func (f *fake) idClaims() map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": testIssuer, "aud": testClient, "sub": "subject-1", "exp": now + 300, "iat": now, "nonce": "the-nonce",
		"name": "Grønn Vits", "sid": "sid-1", "auth_time": now - 10, "amr": "pwd", "locale": 7, // types we need not read
		claimPID: testPID, claimLevel: "4", claimAssurance: "high", claimHPR: "9000001",
	}
}

func TestVerifyIDToken(t *testing.T) {
	f := newFake(t)
	claims := f.idClaims()
	p, err := f.client(nil).VerifyIDToken(t.Context(), f.sign(claims), "the-nonce")
	if err != nil {
		t.Fatal(err)
	}
	want := Person{
		Subject: "subject-1", PID: testPID, Name: "Grønn Vits", HPRNumber: "9000001", SecurityLevel: "4",
		AssuranceLevel: "high", SID: "sid-1", AuthTime: time.Unix(claims["auth_time"].(int64), 0),
	}
	if !cmp.Equal(want, p) {
		t.Error("the person is not the one of the token")
	}
}

func TestIDTokenFaults(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		claims map[string]any
		reason string // "" = accepted
		part   string // of the detail
	}{
		"aud array with azp":    {claims: map[string]any{"aud": []string{testClient, "x"}, "azp": testClient}},
		"level as a number":     {claims: map[string]any{claimLevel: 4}},
		"hpr as a number":       {claims: map[string]any{claimHPR: 9000001}},
		"auth_time as a string": {claims: map[string]any{"auth_time": "1700000000"}},
		"no auth_time, no name": {claims: map[string]any{"auth_time": nil, "name": nil}},
		"iss":                   {map[string]any{"iss": testIssuer + "/"}, reasonIDTokenInvalid, "iss"},
		"iss missing":           {map[string]any{"iss": nil}, reasonIDTokenInvalid, "iss"},
		"aud":                   {map[string]any{"aud": "another"}, reasonIDTokenInvalid, "aud"},
		"aud missing":           {map[string]any{"aud": nil}, reasonIDTokenInvalid, "aud"},
		"aud words":             {map[string]any{"aud": "x " + testClient}, reasonIDTokenInvalid, "aud"},
		"aud with a number":     {map[string]any{"aud": []any{1, testClient}}, reasonIDTokenInvalid, "aud"},
		"aud without azp":       {map[string]any{"aud": []string{testClient, "x"}}, reasonIDTokenInvalid, "azp"},
		"azp":                   {map[string]any{"azp": "another"}, reasonIDTokenInvalid, "azp"},
		"exp":                   {map[string]any{"exp": now.Unix() - 1}, reasonIDTokenInvalid, "exp"},
		"exp missing":           {map[string]any{"exp": nil}, reasonIDTokenInvalid, "exp"},
		"exp negative":          {map[string]any{"exp": -5}, reasonIDTokenInvalid, "exp"},
		"exp absurd":            {map[string]any{"exp": "x"}, reasonIDTokenInvalid, "exp"},
		"iat missing":           {map[string]any{"iat": nil}, reasonIDTokenInvalid, "iat"},
		"iat ahead":             {map[string]any{"iat": now.Unix() + 60}, reasonIDTokenInvalid, "iat"},
		"nonce":                 {map[string]any{"nonce": "another"}, reasonIDTokenInvalid, "nonce"},
		"nonce missing":         {map[string]any{"nonce": nil}, reasonIDTokenInvalid, "nonce"},
		"sub missing":           {map[string]any{"sub": nil}, reasonIDTokenInvalid, "sub"},
		"pid missing":           {map[string]any{claimPID: nil}, reasonIDTokenInvalid, claimPID},
		"level 3":               {map[string]any{claimLevel: "3"}, reasonLevelTooLow, "level 4"},
		"level missing":         {map[string]any{claimLevel: nil}, reasonLevelTooLow, "level 4"},
		"pid folded":            {map[string]any{claimPID: nil, strings.ToUpper(claimPID): testPID}, reasonIDTokenInvalid, claimPID},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			_, err := f.client(nil).VerifyIDToken(t.Context(), f.sign(merge(f.idClaims(), tc.claims)), "the-nonce")
			if tc.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := wantError(t, err, codeLoginFailed)
			if e.Reason() != tc.reason || !strings.HasSuffix(e.Detail(), tc.part) && !strings.Contains(e.Detail(), "("+tc.part+")") {
				t.Errorf("reason %s, detail %q does not name %s", e.Reason(), e.Detail(), tc.part)
			}
			if strings.Contains(e.Error(), "another") {
				t.Error("the text holds a claim's value")
			}
		})
	}
}

func TestIDTokenOfARefreshNeedsNoNonce(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	for _, nonce := range []any{nil, "some-nonce"} {
		if _, err := c.VerifyIDToken(t.Context(), f.sign(merge(f.idClaims(), map[string]any{"nonce": nonce})), ""); err != nil {
			t.Error(err)
		}
	}
}

func TestIDTokenSignatures(t *testing.T) {
	f := newFake(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f.jwks = func() any {
		return map[string]any{"keys": []any{
			map[string]any{"kty": "OKP", "crv": "X448", "x": "AAAA", "kid": "strange"},
			map[string]any{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "stranger"},
			map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"}, "not even an object", 7, nil,
			f.publicJWK(),
			jose.JSONWebKey{Key: &rsaKey.PublicKey, KeyID: "rsa", Use: "sig"},
			jose.JSONWebKey{Key: &other.PublicKey, KeyID: "for-encryption", Use: "enc"},
		}}
	}
	claims := f.idClaims()
	by := func(alg jose.SignatureAlgorithm, key any, kid string) string {
		return signJWT(t, jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, claims)
	}
	good := f.sign(claims)
	parts := strings.Split(good, ".")
	payload, _ := json.Marshal(merge(claims, map[string]any{claimPID: "02027012345"}))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"server-1"}`))
	for name, tc := range map[string]struct {
		token string
		good  bool
	}{
		"ES256":                 {good, true},
		"RS256":                 {by(jose.RS256, rsaKey, "rsa"), true},
		"PS256":                 {by(jose.PS256, rsaKey, "rsa"), true},
		"no kid":                {by(jose.ES256, f.key, ""), true},
		"no kid, two kinds":     {by(jose.PS256, rsaKey, ""), true},
		"forged":                {by(jose.ES256, other, "server-1"), false},
		"no kid, forged":        {by(jose.ES256, other, ""), false},
		"a key for encryption":  {by(jose.ES256, other, "for-encryption"), false},
		"symmetric":             {by(jose.HS256, []byte("secretsecretsecretsecretsecret32"), "symmetric"), false},
		"payload exchanged":     {parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2], false},
		"signature cut":         {parts[0] + "." + parts[1] + "." + parts[2][:20], false},
		"no signature":          {parts[0] + "." + parts[1] + ".", false},
		"alg none":              {none + "." + parts[1] + ".", false},
		"alg of another kind":   {by(jose.RS256, rsaKey, "server-1"), false},
		"empty":                 {"", false},
		"rubbish":               {"a.b.c", false},
		"five parts":            {good + ".x.y", false},
		"line ends in the text": {parts[0] + "\n." + parts[1] + "." + parts[2], false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.client(nil).VerifyIDToken(t.Context(), tc.token, "the-nonce")
			if tc.good {
				if err != nil {
					t.Error(err)
				}
			} else if e := wantError(t, err, codeLoginFailed); e.Reason() != reasonIDTokenInvalid {
				t.Errorf("reason %s", e.Reason())
			}
		})
	}
}

func TestKeysUnavailable(t *testing.T) {
	for name, jwks := range map[string]any{
		"down": nil, "no keys": map[string]any{"keys": []any{}}, "no list": map[string]any{"keys": "x"}, "no object": "x",
		"only strange ones": map[string]any{"keys": []any{map[string]any{"kty": "OKP", "crv": "X448", "x": "AAAA"}}},
		"too large":         map[string]any{"x": strings.Repeat("x", maxAnswer)},
	} {
		f := newFake(t)
		f.jwks = func() any { return jwks }
		_, err := f.client(nil).VerifyIDToken(t.Context(), f.sign(f.idClaims()), "the-nonce")
		if e := wantError(t, err, codeUnavailable); e.RetryAfter() <= 0 {
			t.Errorf("%s: no Retry-After", name)
		}
	}
}

// Tokens with invented kids must not make us ask HelseID again and again.
func TestUnknownKeyIsNoAmplifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var kid atomic.Value
		kid.Store("server-1")
		f.jwks = func() any {
			k := f.publicJWK().(jose.JSONWebKey)
			k.KeyID = kid.Load().(string)
			return map[string]any{"keys": []any{k}}
		}
		c := f.client(nil)
		verify := func(kid string) error {
			token := signJWT(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: f.key, KeyID: kid}}, f.idClaims())
			_, err := c.VerifyIDToken(t.Context(), token, "the-nonce")
			return err
		}
		if err := verify("server-1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		start := f.fetched("/jwks")
		for second := range 90 {
			var wg sync.WaitGroup
			for n := range 5 {
				wg.Go(func() {
					if err := verify(fmt.Sprint("invented-", second, n)); err == nil {
						t.Error("accepted an invented kid")
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
		}
		if n := f.fetched("/jwks") - start; n != 3 {
			t.Errorf("%d fetches in 90 seconds, want 3", n)
		}
		// A key that HelseID takes into use is found at once, if nobody asked lately.
		time.Sleep(time.Minute)
		kid.Store("server-2")
		if err := verify("server-2"); err != nil {
			t.Error("a new key is not found:", err)
		}
		// And the one it withdrew is gone.
		if err := verify("server-1"); err == nil {
			t.Error("a withdrawn key is still trusted")
		}
	})
}

func TestKeysAreRenewedDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var down atomic.Bool
		f.jwks = func() any {
			if down.Load() {
				return nil
			}
			return map[string]any{"keys": []any{f.publicJWK()}}
		}
		c := f.client(nil)
		for i, sleep := range []time.Duration{0, 23 * time.Hour, 2 * time.Hour, 25 * time.Hour} {
			time.Sleep(sleep)
			down.Store(i == 3)
			if _, err := c.VerifyIDToken(t.Context(), f.sign(f.idClaims()), "the-nonce"); err != nil {
				t.Fatal(i, err)
			}
		}
		if n := f.fetched("/jwks"); n != 3 {
			t.Errorf("%d fetches, want 3", n)
		}
	})
}

func TestKeyFetchBelongsToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.jwks = func() any { time.Sleep(2 * time.Second); return map[string]any{"keys": []any{f.publicJWK()}} }
		c := f.client(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		leaving, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		token := f.sign(f.idClaims())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.VerifyIDToken(ctx, token, "the-nonce")
			wantError(t, err, codeUnavailable)
		})
		wg.Go(func() {
			if _, err := c.VerifyIDToken(leaving, token, "the-nonce"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := c.VerifyIDToken(t.Context(), token, "the-nonce"); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	})
}

// The clock that judges exp and iat is HelseID's, unless it is further away than we correct.
func TestIDTokenByCorrectedClock(t *testing.T) {
	for _, tc := range []struct {
		offset time.Duration // of HelseID to us
		system bool
		code   string
	}{
		{2 * time.Minute, false, ""}, {-2 * time.Minute, false, ""}, {-4 * time.Minute, true, codeLoginFailed},
		{2 * time.Minute, true, codeLoginFailed}, {20 * time.Minute, false, codeClockSkew}, {-20 * time.Minute, false, codeClockSkew},
	} {
		f := newFake(t)
		c := f.client(func(o *Options) {
			o.SystemClock = tc.system
			o.Wall = func() time.Time { return time.Now().Add(-tc.offset) }
		})
		// 200 s to live: less than four minutes of skew.
		token := f.sign(merge(f.idClaims(), map[string]any{"exp": time.Now().Unix() + 200}))
		_, err := c.VerifyIDToken(t.Context(), token, "the-nonce")
		if tc.code == "" && err != nil {
			t.Errorf("%v, system %v: %v", tc.offset, tc.system, err)
		} else if tc.code != "" {
			wantError(t, err, tc.code)
		}
	}
}
