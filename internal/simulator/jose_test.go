package simulator

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Key and signature examples of RFC 7515 appendices A.2 and A.3, RFC 7638
// section 3.1.
const (
	rfc7515RSAKey = `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`
	rfc7515RS256  = `eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw`
	rfc7515ECKey  = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	rfc7515ES256  = `eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`
	rfc7638Key    = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	rfc7638Print  = `NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs`
)

func mustKey(t *testing.T, raw string) (map[string]any, crypto.PublicKey) {
	t.Helper()
	jwk, err := decodeObject([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	key, err := publicKey(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return jwk, key
}

func TestRFC7515Examples(t *testing.T) {
	for name, example := range map[string]struct{ key, token string }{
		"A.2 RS256": {rfc7515RSAKey, rfc7515RS256},
		"A.3 ES256": {rfc7515ECKey, rfc7515ES256},
	} {
		t.Run(name, func(t *testing.T) {
			_, key := mustKey(t, example.key)
			parsed, err := parseJWS(example.token)
			if err != nil {
				t.Fatal(err)
			}
			if err := parsed.verify(key); err != nil {
				t.Errorf("the example does not verify: %v", err)
			}
			if exp, ok := seconds(parsed.claims, "exp"); !ok || exp != 1300819380 {
				t.Errorf("exp = %v, %v", exp, ok)
			}
			parsed.signature[3] ^= 1
			if parsed.verify(key) == nil {
				t.Error("a changed signature verifies")
			}
			parsed.signature[3] ^= 1
			parsed.input += "A"
			if parsed.verify(key) == nil {
				t.Error("a changed payload verifies")
			}
		})
	}
}

func TestRFC7638Example(t *testing.T) {
	jwk, _ := mustKey(t, rfc7638Key)
	got, err := thumbprint(jwk)
	if err != nil || got != rfc7638Print {
		t.Errorf("thumbprint = %q, %v", got, err)
	}
}

func TestParseJWSRefuses(t *testing.T) {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := part(`{"alg":"ES256"}`)
	for name, input := range map[string]string{
		"empty":                "",
		"two parts":            good + "." + good,
		"five parts (JWE)":     strings.Repeat(good+".", 4) + good,
		"padding":              good + "." + base64.URLEncoding.EncodeToString([]byte(`{"a":1}`)) + ".AAAA",
		"stray bits":           good + "." + part(`{"a":"b"}`) + ".AB",
		"line break":           good + "." + good[:4] + "\n" + good[4:] + ".AAAA",
		"standard base64":      good + "." + part(`{}`) + ".ab+/",
		"header is an array":   part(`[]`) + "." + good + ".AAAA",
		"payload is a string":  good + "." + part(`"x"`) + ".AAAA",
		"payload is null":      good + "." + part(`null`) + ".AAAA",
		"payload is no JSON":   good + "." + part(`{"a":}`) + ".AAAA",
		"two objects":          good + "." + part(`{}{}`) + ".AAAA",
		"member twice":         good + "." + part(`{"a":1,"a":2}`) + ".AAAA",
		"member twice, deeper": good + "." + part(`{"a":[{"b":1,"b":2}]}`) + ".AAAA",
		"not UTF-8":            good + "." + part("{\"a\":\"\xff\"}") + ".AAAA",
		"too deep":             good + "." + part(`{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`) + ".AAAA",
		"too large":            good + "." + part(`{"a":"`+strings.Repeat("x", maxJWS)+`"}`) + ".AAAA",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseJWS(input); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestPublicKeyRefuses(t *testing.T) {
	ec, rsaJWK := map[string]any{}, map[string]any{}
	if err := json.Unmarshal([]byte(rfc7515ECKey), &ec); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(rfc7515RSAKey), &rsaJWK); err != nil {
		t.Fatal(err)
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	for name, row := range map[string]struct {
		base   map[string]any
		change map[string]any
		want   string
	}{
		"private EC":       {ec, map[string]any{"d": "AAAA"}, "private member"},
		"private RSA":      {rsaJWK, map[string]any{"p": "AAAA"}, "private member"},
		"symmetric":        {ec, map[string]any{"kty": "oct"}, "kty"},
		"secret":           {ec, map[string]any{"k": "AAAA"}, "private member"},
		"foreign curve":    {ec, map[string]any{"crv": "secp256k1"}, "crv"},
		"not on the curve": {ec, map[string]any{"y": ec["x"]}, "not a point"},
		"short coordinate": {ec, map[string]any{"x": "AAAA"}, "3 bytes"},
		"no coordinate":    {ec, map[string]any{"x": nil}, "no x"},
		"coordinate text":  {ec, map[string]any{"x": "!"}, "base64url"},
		"short RSA":        {rsaJWK, map[string]any{"n": number(new(big.Int).Lsh(big.NewInt(1), 1023))}, "1024 bits"},
		"huge RSA":         {rsaJWK, map[string]any{"n": number(new(big.Int).Lsh(big.NewInt(1), 9000))}, "9001 bits"},
		"exponent one":     {rsaJWK, map[string]any{"e": "AQ"}, "exponent"},
		"even exponent":    {rsaJWK, map[string]any{"e": "BA"}, "exponent"},
		"huge exponent":    {rsaJWK, map[string]any{"e": "AQAAAAAB"}, "exponent"},
	} {
		t.Run(name, func(t *testing.T) {
			jwk := maps.Clone(row.base)
			maps.Copy(jwk, row.change)
			_, err := publicKey(jwk)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error = %v, want something about %q", err, row.want)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	_, rsaKey := mustKey(t, rfc7515RSAKey)
	_, ecKey := mustKey(t, rfc7515ECKey)
	for name, row := range map[string]struct {
		header map[string]any
		key    crypto.PublicKey
		want   string
	}{
		"none":              {map[string]any{"alg": "none"}, ecKey, "none of the nine"},
		"symmetric":         {map[string]any{"alg": "HS256"}, ecKey, "none of the nine"},
		"no alg":            {map[string]any{}, ecKey, "none of the nine"},
		"alg is a number":   {map[string]any{"alg": 1}, ecKey, "none of the nine"},
		"critical":          {map[string]any{"alg": "ES256", "crit": []any{"b64"}, "b64": false}, ecKey, "crit"},
		"RSA alg, EC key":   {map[string]any{"alg": "PS256"}, ecKey, "RSA keys but the key is EC"},
		"EC alg, RSA key":   {map[string]any{"alg": "ES256"}, rsaKey, "EC keys but the key is RSA"},
		"other curve":       {map[string]any{"alg": "ES384"}, ecKey, "P-384"},
		"DER signature":     {map[string]any{"alg": "ES256"}, ecKey, "70 bytes"},
		"unknown key type":  {map[string]any{"alg": "ES256"}, "text", "verifies nothing"},
		"wrong RSA":         {map[string]any{"alg": "RS256"}, rsaKey, "does not verify"},
		"wrong RSA padding": {map[string]any{"alg": "PS512"}, rsaKey, "does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&jws{header: row.header, input: "x.y", signature: make([]byte, 70)}).verify(row.key)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error = %v, want something about %q", err, row.want)
			}
		})
	}
}

// TestAgainstGoJose signs with each side and verifies with the other, for all
// nine algorithms, and reads our private JWKs.
func TestAgainstGoJose(t *testing.T) {
	for alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			key := testRSAKey()
			signer := crypto.Signer(key)
			if strings.HasPrefix(alg, "ES") {
				var err error
				if signer, err = newKey(KeySpec{Alg: alg}); err != nil {
					t.Fatal(err)
				}
			}
			private, public, err := keyPair(signer, alg)
			if err != nil {
				t.Fatal(err)
			}
			var theirs jose.JSONWebKey
			if err := theirs.UnmarshalJSON(private); err != nil || !theirs.Valid() {
				t.Fatalf("go-jose does not read our private JWK: %v", err)
			}
			ours, err := sign(signer, alg, theirs.KeyID, map[string]any{"typ": "t"}, map[string]any{"n": 1})
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := jose.ParseSignedCompact(ours, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal("go-jose does not parse what we signed")
			}
			if payload, err := parsed.Verify(theirs.Public()); err != nil || string(payload) != `{"n":1}` {
				t.Errorf("go-jose says %q, %v", payload, err)
			}
			verifyTheirs(t, theirs, alg, public)
		})
	}
}

func verifyTheirs(t *testing.T, key jose.JSONWebKey, alg string, public []byte) {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign([]byte(`{"n":2}`))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseJWS(compact)
	if err != nil {
		t.Fatal(err)
	}
	jwk, ourKey := mustKey(t, string(public))
	if err := parsed.verify(ourKey); err != nil {
		t.Errorf("we do not verify what go-jose signed: %v", err)
	}
	print, err := thumbprint(jwk)
	if err != nil {
		t.Fatal(err)
	}
	theirPrint, err := key.Thumbprint(crypto.SHA256)
	if err != nil || base64.RawURLEncoding.EncodeToString(theirPrint) != print {
		t.Errorf("thumbprints differ: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	key, err := newKey(KeySpec{Alg: "ES256"})
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"none", "HS256", "ES384", "RS256"} {
		if _, err := sign(key, alg, "", nil, nil); err == nil {
			t.Errorf("%s: signed with a P-256 key", alg)
		}
	}
	if _, err := sign(key, "ES256", "", nil, map[string]any{"x": make(chan int)}); err == nil {
		t.Error("claims that are no JSON were signed")
	}
	if _, err := newKey(KeySpec{Alg: "none"}); err == nil {
		t.Error("a key for none was made")
	}
	if _, ok := testRSAKey().Public().(*rsa.PublicKey); !ok {
		t.Error("the test key is not RSA")
	}
}

// FuzzParseJWS: nothing panics, what is accepted has the form promised, and what
// is accepted by both sides reads the same with go-jose.
func FuzzParseJWS(f *testing.F) {
	for _, seed := range []string{rfc7515RS256, rfc7515ES256, rfc9449Proof, "", "..", "e30.e30.", "e30.e30.AB", "W10.e30.", "bnVsbA.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		parsed, err := parseJWS(input)
		if err != nil {
			return
		}
		if parsed.header == nil || parsed.claims == nil || !strings.HasPrefix(input, parsed.input+".") {
			t.Fatal("accepted without header, claims or input")
		}
		if base64.RawURLEncoding.EncodeToString(parsed.signature) != input[len(parsed.input)+1:] {
			t.Fatal("the signature does not encode back to itself")
		}
		theirs, err := jose.ParseSignedCompact(input, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(parsed.alg())})
		if err != nil {
			return
		}
		var claims map[string]any
		decoder := json.NewDecoder(bytes.NewReader(theirs.UnsafePayloadWithoutVerification()))
		decoder.UseNumber() // a number may be beyond float64
		if err := decoder.Decode(&claims); err != nil {
			t.Fatalf("go-jose's payload is no JSON object: %v", err)
		}
		if len(claims) != len(parsed.claims) {
			t.Fatal("go-jose reads other claims")
		}
	})
}
