package dpop

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenges(t *testing.T) {
	none := map[string]string{}
	tests := map[string]struct {
		lines []string
		want  []Challenge
	}{
		"no header": {},
		"nonce": { // RFC 9449 section 9
			[]string{`DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"`},
			[]Challenge{{"DPoP", "use_dpop_nonce", map[string]string{"error": "use_dpop_nonce", "error_description": "Resource server requires nonce in DPoP proof"}}},
		},
		"two schemes in one line": { // RFC 9449 section 7.2
			[]string{`Bearer, DPoP algs="ES256 PS256"`},
			[]Challenge{{"Bearer", "", none}, {"DPoP", "", map[string]string{"algs": "ES256 PS256"}}},
		},
		"two lines": {
			[]string{`Bearer error="invalid_token"`, `DPoP error="invalid_token"`},
			[]Challenge{{"Bearer", "invalid_token", map[string]string{"error": "invalid_token"}}, {"DPoP", "invalid_token", map[string]string{"error": "invalid_token"}}},
		},
		"RFC 9110's own example": {
			[]string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`},
			[]Challenge{{"Basic", "", map[string]string{"realm": "simple"}}, {"Newauth", "", map[string]string{"realm": "apps", "type": "1", "title": `Login to "apps"`}}},
		},
		"token68": {
			[]string{`Negotiate YWJj+/==, DPoP error=invalid_dpop_proof`},
			[]Challenge{{"Negotiate", "", none}, {"DPoP", "invalid_dpop_proof", map[string]string{"error": "invalid_dpop_proof"}}},
		},
		"commas, equals and schemes inside quotation marks": {
			[]string{`DPoP realm="a, Bearer error=\"x\"", error="invalid_token"`},
			[]Challenge{{"DPoP", "invalid_token", map[string]string{"realm": `a, Bearer error="x"`, "error": "invalid_token"}}},
		},
		"bad white space": {
			[]string{"\t,, DPoP   Error \t=  \"invalid_token\" ,, algs = ES256,"},
			[]Challenge{{"DPoP", "invalid_token", map[string]string{"error": "invalid_token", "algs": "ES256"}}},
		},
		"the first of two values counts": {
			[]string{`DPoP error="a", error="b"`},
			[]Challenge{{"DPoP", "a", map[string]string{"error": "a"}}},
		},
		"parameter without a scheme": {[]string{`error="invalid_token"`}, nil},
		"no parameter in the next line": {
			[]string{`DPoP algs="ES256"`, `error="invalid_token"`},
			[]Challenge{{"DPoP", "", map[string]string{"algs": "ES256"}}},
		},
		"never closed": {
			[]string{`DPoP error="invalid_token`},
			[]Challenge{{"DPoP", "invalid_token", map[string]string{"error": "invalid_token"}}},
		},
		"words without quotation marks": {
			[]string{`DPoP error=invalid_token, error_description=The token, is old, algs=ES256`},
			[]Challenge{{"DPoP", "invalid_token", map[string]string{"error": "invalid_token", "error_description": "The"}}, {"is", "", map[string]string{"algs": "ES256"}}},
		},
		"empty value":      {[]string{`DPoP algs="", error=, x=1`}, []Challenge{{"DPoP", "", map[string]string{"error": "", "algs": "", "x": "1"}}}},
		"token or empty":   {[]string{`DPoP error=, x=1`}, []Challenge{{"DPoP", "", map[string]string{"x": "1"}}}},
		"no grammar":       {[]string{`"quoted", = , (), @@@, DPoP`}, []Challenge{{"DPoP", "", none}}},
		"backslash at end": {[]string{`DPoP error="x\`}, []Challenge{{"DPoP", `x\`, map[string]string{"error": `x\`}}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Challenges(http.Header{"Www-Authenticate": test.lines})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestChallengesAreBounded(t *testing.T) {
	h := http.Header{"Www-Authenticate": {strings.Repeat("A x=1,", 1000) + "DPoP " + manyParams()}}
	got := Challenges(h)
	if len(got) != maxChallenges {
		t.Errorf("%d challenges, want %d", len(got), maxChallenges)
	}
	for _, c := range Challenges(http.Header{"Www-Authenticate": {"DPoP " + manyParams()}}) {
		if len(c.Params) != maxParams {
			t.Errorf("%d parameters, want %d", len(c.Params), maxParams)
		}
	}
}

func manyParams() string {
	var b strings.Builder
	for i := range 500 {
		b.WriteString(strings.Repeat("p", i+1) + "=1,")
	}
	return b.String()
}

func FuzzChallenges(f *testing.F) {
	f.Add(`DPoP error="use_dpop_nonce", algs="ES256"`, `Bearer realm="a\"b", error=invalid_token`)
	f.Add("Negotiate a==,\x00", `A =", "= B`)
	f.Fuzz(func(t *testing.T, first, second string) {
		found := Challenges(http.Header{"Www-Authenticate": {first, second}})
		if len(found) > maxChallenges {
			t.Fatalf("%d challenges", len(found))
		}
		for _, c := range found {
			if c.Scheme == "" || c.Params == nil || len(c.Params) > maxParams || c.Error != c.Params["error"] {
				t.Fatalf("a broken challenge: %q", c)
			}
		}
		again := Challenges(http.Header{"Www-Authenticate": {first, second}})
		if diff := cmp.Diff(found, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
