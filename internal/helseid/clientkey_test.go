package helseid

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// keyPairs are made once for all tests of this file.
var keyPairs = sync.OnceValue(func() map[string]crypto.Signer {
	pairs := make(map[string]crypto.Signer)
	for name, curve := range map[string]elliptic.Curve{
		"P-224": elliptic.P224(), "P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		pairs[name] = key
	}
	_, pairs["Ed25519"], _ = ed25519.GenerateKey(rand.Reader)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	pairs["RSA"] = key
	if pairs["RSA-1024"], err = rsa.GenerateKey(rand.Reader, 1024); err != nil { // refused in production code
		delete(pairs, "RSA-1024")
	}
	return pairs
})

func asPEM(t *testing.T, kind string, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func asJWK(t *testing.T, key any, change map[string]any) []byte {
	t.Helper()
	raw, err := jose.JSONWebKey{Key: key}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	raw, err = json.Marshal(merge(m, change))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParseKeys(t *testing.T) {
	for name, alg := range map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "RSA": "PS256"} {
		private := keyPairs()[name]
		sum, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		thumbprint := base64.RawURLEncoding.EncodeToString(sum)
		jwk := asJWK(t, private, map[string]any{"kid": "k1", "use": "sig"})
		for form, tc := range map[string]struct {
			raw []byte
			kid string
		}{
			"JWK":             {jwk, "k1"},
			"JWK without kid": {asJWK(t, private, nil), thumbprint},
			"JWKS": {fmt.Appendf(nil, " \n{\"keys\":[%s,%s]}", jwk,
				asJWK(t, keyPairs()["P-256"], map[string]any{"kid": "k2"})), "k1"},
			"PEM": {append([]byte("# comment\n"), asPEM(t, "PRIVATE KEY", private)...), thumbprint},
		} {
			key, err := ParseKeys(tc.raw)
			if err != nil {
				t.Errorf("%s %s: %v", name, form, err)
				continue
			}
			if key.KeyID() != tc.kid || key.Algorithm() != alg || key.Thumbprint() != thumbprint {
				t.Errorf("%s %s: kid %q, alg %q", name, form, key.KeyID(), key.Algorithm())
			}
			compact, err := key.sign([]byte(`{"a":1}`))
			if err != nil {
				t.Fatal(err)
			}
			jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal("not a JWS by", alg)
			}
			if _, err := jws.Verify(private.Public()); err != nil {
				t.Errorf("%s %s: the signature is wrong", name, form)
			}
		}
	}
	for _, alg := range []string{"PS256", "PS384", "PS512", "RS256", "RS384", "RS512"} {
		key, err := ParseKeys(asJWK(t, keyPairs()["RSA"], map[string]any{"alg": alg}))
		if err != nil || key.Algorithm() != alg {
			t.Errorf("alg %s of the JWK: %v", alg, err)
		}
	}
}

func TestParseKeysFaults(t *testing.T) {
	p256 := keyPairs()["P-256"]
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var strange map[string]any
	if err := json.Unmarshal(asJWK(t, other, nil), &strange); err != nil {
		t.Fatal(err)
	}
	public := asJWK(t, p256.Public(), nil)
	faults := map[string]struct {
		raw  []byte
		part string
	}{
		"empty":           {nil, "empty"},
		"blank":           {[]byte(" \n"), "empty"},
		"too large":       {[]byte(strings.Repeat("x", maxKeyFile+1)), "64 KiB"},
		"text":            {[]byte("my secret key"), "neither"},
		"bad JSON":        {[]byte(`{"kty":`), "JSON"},
		"member twice":    {[]byte(`{"kty":"EC","kty":"RSA"}`), "twice"},
		"no keys":         {[]byte(`{"keys":[]}`), "no keys"},
		"keys no list":    {[]byte(`{"keys":{}}`), "no keys"},
		"first is public": {fmt.Appendf(nil, `{"keys":[%s,%s]}`, public, asJWK(t, p256, nil)), "public half"},
		"public":          {public, "public half"},
		"symmetric":       {[]byte(`{"kty":"oct","k":"c2VjcmV0"}`), "kty"},
		"OKP":             {asJWK(t, keyPairs()["Ed25519"], nil), "kty"},
		"unknown curve":   {asJWK(t, p256, map[string]any{"crv": "secp256k1"}), "members"},
		"bad d":           {asJWK(t, p256, map[string]any{"d": "!!"}), "members"},
		"other half":      {asJWK(t, p256, map[string]any{"d": strange["d"]}), ""},
		"for encryption":  {asJWK(t, p256, map[string]any{"use": "enc"}), "use"},
		"alg of RSA":      {asJWK(t, p256, map[string]any{"alg": "PS256"}), "alg"},
		"alg too long":    {asJWK(t, p256, map[string]any{"alg": "ES512"}), "alg"},
		"alg symmetric":   {asJWK(t, p256, map[string]any{"alg": "HS256"}), "alg"},
		"alg none":        {asJWK(t, p256, map[string]any{"alg": "none"}), "alg"},
		"PEM Ed25519":     {asPEM(t, "PRIVATE KEY", keyPairs()["Ed25519"]), "P-256"},
		"PEM P-224":       {asPEM(t, "PRIVATE KEY", keyPairs()["P-224"]), "P-256"},
		"PEM PKCS#1":      {asPEM(t, "RSA PRIVATE KEY", keyPairs()["RSA"]), "PKCS#8"},
		"PEM SEC 1":       {asPEM(t, "EC PRIVATE KEY", p256), "PKCS#8"},
		"PEM encrypted":   {asPEM(t, "ENCRYPTED PRIVATE KEY", p256), "encrypted"},
		"PEM broken":      {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "PKCS#8"},
		"PEM certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "neither"},
	}
	if small, ok := keyPairs()["RSA-1024"]; ok {
		faults["short RSA"] = struct {
			raw  []byte
			part string
		}{asPEM(t, "PRIVATE KEY", small), "2048"}
	}
	for name, tc := range faults {
		_, err := ParseKeys(tc.raw)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), tc.part) {
			t.Errorf("%s: %v does not say %q", name, err, tc.part)
		} else if strings.Contains(err.Error(), "secret") || len(err.Error()) > 200 {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}

func TestClientKeyHides(t *testing.T) {
	key, err := ParseKeys(asJWK(t, keyPairs()["P-256"], map[string]any{"kid": "k1"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, key); got != "client key k1" {
			t.Errorf("%s shows more than the kid", verb)
		}
	}
	if key.LogValue().String() != "k1" {
		t.Error("the log shows more than the kid")
	}
}

func TestKeyRingReplaceBySame(t *testing.T) {
	raw := testJWK(t, "k1")
	first, _ := ParseKeys(raw)
	again, _ := ParseKeys(raw)
	ring := NewKeyRing(first)
	ring.Replace(again)
	if _, generation := ring.use(); ring.Current() != first || generation != 0 {
		t.Error("the same key counts as a new one")
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, name := range []string{"P-256", "P-521"} {
		raw, err := jose.JSONWebKey{Key: keyPairs()[name], KeyID: "k"}.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(fmt.Appendf(nil, `{"keys":[%s]}`, raw))
		der, err := x509.MarshalPKCS8PrivateKey(keyPairs()[name])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		key, err := ParseKeys(raw)
		if (key == nil) == (err == nil) {
			t.Fatal("neither a key nor an error")
		}
		if err == nil {
			if _, err := key.sign([]byte(`{}`)); err != nil || key.KeyID() == "" {
				t.Error("accepted a key that can't sign or has no name")
			}
		}
		_ = parseKeySet(raw)
	})
}
