package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// The examples of RFC 9449: the proofs of figures 2 and 12, the token of figure 12, the thumbprint of its section 6.1.
const (
	rfcTokenProof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	rfcCallProof  = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	rfcToken      = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcThumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
)

// payload is what a proof says, read by go-jose and encoding/json, which share nothing with the code under test.
type payload struct {
	JTI   string  `json:"jti"`
	HTM   string  `json:"htm"`
	HTU   string  `json:"htu"`
	IAT   int64   `json:"iat"`
	ATH   *string `json:"ath"`
	Nonce *string `json:"nonce"`
}

// open verifies a proof with the key inside it, as a server does, and gives its payload and that key.
func open(t testing.TB, proof string) (payload, *jose.JSONWebKey) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(proof, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("the proof is not a JWS: %v", err)
	}
	header := jws.Signatures[0].Protected
	if got := header.ExtraHeaders[jose.HeaderType]; got != "dpop+jwt" {
		t.Errorf("typ = %v, want dpop+jwt", got)
	}
	if header.JSONWebKey == nil || !header.JSONWebKey.IsPublic() || !header.JSONWebKey.Valid() {
		t.Fatal("the header holds no valid public key")
	}
	text, err := jws.Verify(header.JSONWebKey)
	if err != nil {
		t.Fatalf("the signature does not verify: %v", err)
	}
	var p payload
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatalf("the payload is not JSON: %v", err)
	}
	return p, header.JSONWebKey
}

func newKey(t testing.TB) *Key {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestProofVerifiesWithGoJose(t *testing.T) {
	issued := time.Date(2026, 11, 21, 10, 0, 0, 900_000_000, time.UTC)
	tests := map[string]Claims{
		"token endpoint":   {Method: "POST", URL: "https://helseid.example/connect/token", Issued: issued},
		"nonce":            {Method: "POST", URL: "https://helseid.example/connect/token", Issued: issued, Nonce: "n-1"},
		"call":             {Method: "GET", URL: "https://sfm.example/rest", Issued: issued, AccessToken: rfcToken},
		"call with nonce":  {Method: "PATCH", URL: "https://sfm.example/r/$x", Issued: issued, AccessToken: "a.b.c", Nonce: "x"},
		"to be escaped":    {Method: `"\` + "\x00\n", URL: "https://\"<>&.example/\u2028æ\u007f", Issued: issued, Nonce: "\\\"\x1f"},
		"longer than most": {Method: "GET", URL: "https://sfm.example/" + strings.Repeat("ab/", 2000), Issued: issued, AccessToken: strings.Repeat("t", 5000)},
	}
	key := newKey(t)
	for name, claims := range tests {
		t.Run(name, func(t *testing.T) {
			got, jwk := open(t, key.Proof(claims))
			if len(got.JTI) < 22 {
				t.Errorf("jti has %d characters, want 128 random bits", len(got.JTI))
			}
			want := payload{JTI: got.JTI, HTM: claims.Method, HTU: claims.URL, IAT: issued.Unix()}
			if claims.Nonce != "" {
				want.Nonce = &claims.Nonce
			}
			if claims.AccessToken != "" {
				ath := athOf(claims.AccessToken)
				want.ATH = &ath
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			checkThumbprint(t, jwk, key.Thumbprint())
		})
	}
}

func checkThumbprint(t *testing.T, jwk *jose.JSONWebKey, want string) {
	t.Helper()
	hash, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if got := base64.RawURLEncoding.EncodeToString(hash); got != want {
		t.Errorf("the key in the header has thumbprint %s, Thumbprint says %s", got, want)
	}
}

func TestExamplesOfTheRFC(t *testing.T) {
	tests := map[string]struct {
		proof  string
		claims Claims
	}{
		"token request": {rfcTokenProof, Claims{Method: "POST", URL: "https://server.example.com/token", Issued: time.Unix(1562262616, 0)}},
		"resource":      {rfcCallProof, Claims{Method: "GET", URL: "https://resource.example.org/protectedresource", Issued: time.Unix(1562262618, 0), AccessToken: rfcToken}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			theirs, jwk := open(t, test.proof)
			want, err := base64.RawURLEncoding.DecodeString(strings.Split(test.proof, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			if got := appendClaims(nil, test.claims, theirs.JTI); string(got) != string(want) {
				t.Errorf("payload is %s, the RFC has %s", got, want)
			}
			public := jwk.Key.(*ecdsa.PublicKey)
			point, err := public.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			encode := base64.RawURLEncoding.EncodeToString
			if got := thumbprint(encode(point[1:33]), encode(point[33:])); got != rfcThumbprint {
				t.Errorf("thumbprint %s, the RFC has %s", got, rfcThumbprint)
			}
		})
	}
}

func TestEveryProofHasAJTIOfItsOwn(t *testing.T) {
	key := newKey(t)
	seen := map[string]bool{}
	for range 500 {
		p, _ := open(t, key.Proof(Claims{Method: "GET", URL: "https://sfm.example/"}))
		if seen[p.JTI] {
			t.Fatal("a jti came twice")
		}
		seen[p.JTI] = true
	}
}

func TestIssuedDefaultsToNow(t *testing.T) {
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(42 * time.Hour)
		if p, _ := open(t, key.Proof(Claims{Method: "GET", URL: "https://sfm.example/"})); p.IAT != time.Now().Unix() {
			t.Errorf("iat = %d, want %d", p.IAT, time.Now().Unix())
		}
	})
}

func TestKeyFrom(t *testing.T) {
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mixed, offCurve := *good, *larger
	mixed.PublicKey = other.PublicKey
	offCurve.Curve = elliptic.P256()
	tests := map[string]struct {
		key  *ecdsa.PrivateKey
		want string // part of the error
	}{
		"good":             {good, ""},
		"nil":              {nil, "curve P-256"},
		"empty":            {new(ecdsa.PrivateKey), "curve P-256"},
		"other curve":      {larger, "curve P-256"},
		"not on the curve": {&offCurve, "not a point"},
		"halves of two":    {&mixed, "taking a DPoP key: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			key, err := KeyFrom(test.key)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				open(t, key.Proof(Claims{Method: "GET", URL: "https://sfm.example/"}))
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestNothingPrintsSecrets(t *testing.T) {
	key := newKey(t)
	claims := Claims{Method: "GET", URL: "https://sfm.example/", Nonce: "secret-nonce", AccessToken: "secret-token"}
	private, err := key.private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{"secret-", new(big.Int).SetBytes(private).String(), hex.EncodeToString(private)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{key, claims, &claims, []any{key, claims}} {
			text := fmt.Sprintf(format, value)
			for _, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s of %T shows what it must not", format, value)
				}
			}
		}
	}
}

func TestRawSignature(t *testing.T) {
	key := newKey(t)
	for range 500 { // numbers with a sign byte and shorter ones come by chance; the extremes follow
		digest := sha256.Sum256([]byte(rand.Text()))
		der, err := ecdsa.SignASN1(rand.Reader, key.private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		checkRaw(t, der)
	}
	one := big.NewInt(1)
	largest := new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)
	numbers := []*big.Int{one, big.NewInt(0x7fff), largest}
	for _, r := range numbers {
		for _, s := range numbers {
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				t.Fatal(err)
			}
			checkRaw(t, der)
		}
	}
}

// checkRaw compares with encoding/asn1 and math/big.
func checkRaw(t *testing.T, der []byte) {
	t.Helper()
	var numbers struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &numbers); err != nil {
		t.Fatal(err)
	}
	var want [64]byte
	numbers.R.FillBytes(want[:32])
	numbers.S.FillBytes(want[32:])
	if got, ok := rawSignature(der); !ok || got != want {
		t.Fatalf("rawSignature gives %x, %v; want %x", got, ok, want)
	}
}

func TestRawSignatureRefusesOtherForms(t *testing.T) {
	long := append([]byte{0x02, 34, 0, 1}, make([]byte, 32)...)
	tests := map[string][]byte{
		"empty":              {},
		"no length":          {0x30},
		"not a sequence":     {0x31, 6, 2, 1, 1, 2, 1, 1},
		"wrong length":       {0x30, 7, 2, 1, 1, 2, 1, 1},
		"not an integer":     {0x30, 6, 3, 1, 1, 2, 1, 1},
		"integer too long":   {0x30, 6, 2, 9, 1, 2, 1, 1},
		"one number":         {0x30, 3, 2, 1, 1},
		"three numbers":      {0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1},
		"number of 34 bytes": append([]byte{0x30, byte(len(long) + 3)}, append(long, 2, 1, 1)...),
	}
	for name, der := range tests {
		if _, ok := rawSignature(der); ok {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzProof is about the hand-written JSON; the signature has no say in it.
func FuzzProof(f *testing.F) {
	f.Add("GET", "https://sfm.example/", "nonce", "token", int64(1))
	f.Add("\xff\"", "\\\u2028", "\x00", "\xf0\x9f", int64(-1))
	f.Fuzz(func(t *testing.T, method, url, nonce, token string, iat int64) {
		text := appendClaims(nil, Claims{Method: method, URL: url, Issued: time.Unix(iat, 0), Nonce: nonce, AccessToken: token}, "j")
		var p payload
		if err := json.Unmarshal(text, &p); err != nil || !utf8.Valid(text) {
			t.Fatalf("not JSON: %q: %v", text, err)
		}
		if p.JTI != "j" || p.HTM != replaced(method) || p.HTU != replaced(url) || p.IAT != iat {
			t.Fatalf("%q says other things", text)
		}
		if (p.ATH != nil) != (token != "") || (p.Nonce != nil) != (nonce != "") || (nonce != "" && *p.Nonce != replaced(nonce)) {
			t.Fatalf("%q has a member too many, or lacks one", text)
		}
	})
}

// replaced puts U+FFFD in the place of each byte that is not UTF-8.
func replaced(s string) string { return string([]rune(s)) }

func BenchmarkProof(b *testing.B) {
	key := newKey(b)
	claims := Claims{Method: "POST", URL: "https://base-fhir.example/Patient/$getMedication", Issued: time.Now(), AccessToken: strings.Repeat("t", 1200), Nonce: "nonce"}
	b.ReportAllocs()
	for b.Loop() {
		key.Proof(claims)
	}
}

// BenchmarkSignatureOnly is what no proof can go below: the difference to BenchmarkProof is ours.
func BenchmarkSignatureOnly(b *testing.B) {
	key := newKey(b)
	text := []byte(strings.Repeat("t", 400))
	b.ReportAllocs()
	for b.Loop() {
		key.sign(text)
	}
}

func BenchmarkProofByGoJose(b *testing.B) {
	key := newKey(b)
	options := new(jose.SignerOptions).WithType("dpop+jwt")
	options.EmbedJWK = true
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key.private}, options)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		text, err := json.Marshal(payload{JTI: rand.Text(), HTM: "POST", HTU: "https://base-fhir.example/Patient/$getMedication", IAT: 1})
		if err != nil {
			b.Fatal(err)
		}
		jws, err := signer.Sign(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := jws.CompactSerialize(); err != nil {
			b.Fatal(err)
		}
	}
}
