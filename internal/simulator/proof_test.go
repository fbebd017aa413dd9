package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The examples of RFC 9449 sections 4.1 and 7.1.
const (
	rfc9449Proof    = `eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg`
	rfc9449APIProof = `eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA`
	rfc9449Token    = `Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU`
	rfc9449JKT      = `0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I`
)

func withProof(values ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	for _, value := range values {
		r.Header.Add("DPoP", value)
	}
	return r
}

func TestRFC9449Examples(t *testing.T) {
	token := proofRule{
		method: "POST", htu: "https://server.example.com/token", back: time.Second, ahead: time.Second,
		seen: newReplayList(time.Minute), now: time.Unix(1562262616, 0),
	}
	api := token
	api.method, api.htu, api.now, api.accessToken = "GET", "https://resource.example.org/protectedresource", time.Unix(1562262618, 0), rfc9449Token
	for name, row := range map[string]struct {
		raw  string
		rule proofRule
	}{"4.1": {rfc9449Proof, token}, "7.1": {rfc9449APIProof, api}} {
		got, fault := checkProof(withProof(row.raw), row.rule)
		if fault != nil {
			t.Errorf("%s: %v", name, fault)
			continue
		}
		if got.jkt != rfc9449JKT {
			t.Errorf("%s: jkt = %q", name, got.jkt)
		}
	}
}

func TestCheckProofRefuses(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	key, err := newKey(KeySpec{Alg: "ES256"})
	if err != nil {
		t.Fatal(err)
	}
	public, err := publicJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	const accessToken = "token"
	sum := sha256.Sum256([]byte(accessToken))
	type parts struct{ header, claims map[string]any }
	rows := map[string]struct {
		change func(*parts)
		code   string
		want   string
	}{
		"good":            {func(*parts) {}, "", ""},
		"iat at the back": {func(p *parts) { p.claims["iat"] = now.Unix() - 6 }, "", ""},
		"iat in front":    {func(p *parts) { p.claims["iat"] = now.Unix() + 5 }, "", ""},
		"iat fraction":    {func(p *parts) { p.claims["iat"] = float64(now.Unix()) + 0.5 }, "", ""},
		"typ":             {func(p *parts) { p.header["typ"] = "JWT" }, codeInvalidProof, "typ"},
		"no typ":          {func(p *parts) { delete(p.header, "typ") }, codeInvalidProof, "typ"},
		"no jwk":          {func(p *parts) { delete(p.header, "jwk") }, codeInvalidProof, "jwk"},
		"private jwk":     {func(p *parts) { p.header["jwk"] = overrideCopy(public, "d", "AAAA") }, codeInvalidProof, "private"},
		"other key":       {func(p *parts) { p.header["jwk"] = rfcJWK(t) }, codeInvalidProof, "signature"},
		"htm":             {func(p *parts) { p.claims["htm"] = "GET" }, codeInvalidProof, `htm is "GET"`},
		"htm in lower":    {func(p *parts) { p.claims["htm"] = "post" }, codeInvalidProof, "htm"},
		"htu":             {func(p *parts) { p.claims["htu"] = "https://h/a?q" }, codeInvalidProof, "htu"},
		"htu slash":       {func(p *parts) { p.claims["htu"] = "https://h/a/" }, codeInvalidProof, "htu"},
		"no iat":          {func(p *parts) { delete(p.claims, "iat") }, codeInvalidProof, "iat"},
		"iat text":        {func(p *parts) { p.claims["iat"] = "1700000000" }, codeInvalidProof, "not a number"},
		"iat old":         {func(p *parts) { p.claims["iat"] = now.Unix() - 7 }, codeInvalidProof, "7.0 s old"},
		"iat early":       {func(p *parts) { p.claims["iat"] = now.Unix() + 6 }, codeInvalidProof, "6.0 s in the future"},
		"no jti":          {func(p *parts) { delete(p.claims, "jti") }, codeInvalidProof, "jti"},
		"jti seen":        {func(p *parts) { p.claims["jti"] = "seen" }, codeInvalidProof, "seen before"},
		"no ath":          {func(p *parts) { delete(p.claims, "ath") }, codeInvalidProof, "ath is missing"},
		"ath":             {func(p *parts) { p.claims["ath"] = "x" }, codeInvalidProof, "ath is not"},
		"no nonce":        {func(p *parts) { delete(p.claims, "nonce") }, codeUseNonce, "no nonce"},
		"stale nonce":     {func(p *parts) { p.claims["nonce"] = "stale" }, codeUseNonce, "stale"},
		"bad before nonce": {func(p *parts) { delete(p.claims, "nonce"); p.claims["htm"] = "PUT" },
			codeInvalidProof, "htm"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			seen := newReplayList(time.Minute)
			seen.first("seen", now)
			p := parts{
				header: map[string]any{"typ": "dpop+jwt", "jwk": public},
				claims: map[string]any{
					"htm": "POST", "htu": "https://h/a", "iat": now.Unix(), "jti": "new", "nonce": "good",
					"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
				},
			}
			row.change(&p)
			raw, err := sign(key, "ES256", "", p.header, p.claims)
			if err != nil {
				t.Fatal(err)
			}
			_, fault := checkProof(withProof(raw), proofRule{
				method: "POST", htu: "https://h/a", accessToken: accessToken, back: 6 * time.Second, ahead: 5 * time.Second,
				seen: seen, now: now, nonceOK: func(nonce string) bool { return nonce == "good" },
			})
			checkFault(t, fault, row.code, row.want)
		})
	}
}

func checkFault(t *testing.T, fault *proofFault, code, want string) {
	t.Helper()
	switch {
	case fault == nil && code != "":
		t.Errorf("accepted, want %s", code)
	case fault != nil && (fault.code != code || !strings.Contains(fault.text, want)):
		t.Errorf("refused with %v; want code %q and something about %q", fault, code, want)
	}
}

func overrideCopy(base map[string]any, name string, value any) map[string]any {
	fresh := map[string]any{name: value}
	for key, value := range base {
		fresh[key] = value
	}
	return fresh
}

func rfcJWK(t *testing.T) map[string]any {
	jwk, _ := mustKey(t, rfc7515ECKey)
	return jwk
}

func TestCheckProofHeaderCount(t *testing.T) {
	rule := proofRule{method: "POST", now: time.Now()}
	for _, values := range [][]string{nil, {rfc9449Proof, rfc9449Proof}, {"nonsense"}, {""}} {
		if _, fault := checkProof(withProof(values...), rule); fault == nil || fault.code != codeInvalidProof {
			t.Errorf("%d headers: %v", len(values), fault)
		}
	}
}

func TestReplayListForgets(t *testing.T) {
	list, now := newReplayList(10*time.Second), time.Unix(1_700_000_000, 0)
	if !list.first("a", now) || list.first("a", now.Add(10*time.Second)) {
		t.Error("a jti was not remembered for the list's time")
	}
	if !list.first("b", now.Add(11*time.Second)) || !list.first("a", now.Add(11*time.Second)) {
		t.Error("a jti was remembered beyond the list's time")
	}
	if len(list.order) != 2 || len(list.seen) != 2 {
		t.Errorf("the list holds %d and %d entries, want 2", len(list.order), len(list.seen))
	}
}
