package doctor

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestIsTest(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"base-fhir.test2.forskrivning.no": true, "helseid-ttt.test.nhn.no": true, "127.0.0.1": true, "::1": true, "localhost": true,
		"sfm-test.example": true, "base-fhir.forskrivning.no": false, "contest.example": false, "10.0.0.1": false, "": false,
		"test.": true, "latest.example": false,
		"test-inside.example": true, "sfm-test2.example": true, "testimonials.example.com": false, "testament-2.example": false, "no-testing.example": false,
	} {
		if got := isTest(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestCheckTestTokens(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://helseid-ttt.test.nhn.no": true, "https://helseid-ttt.test.nhn.no/base": true, "http://127.0.0.1:8081/ttt": true,
		"http://localhost:1": true, "http://helseid-ttt.test.nhn.no": false, "https://helseid-ttt.nhn.no": false,
		"https://u:p@ttt.test.nhn.no": false, "https://ttt.test.nhn.no?q": false, "/ttt": false, "http://test.localhost": false,
	} {
		if err := CheckTestTokens(mustURL(t, address)); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What SFM's answer says, and that a nonce of its own costs one more request, never two.
func TestCallWithTestToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answers   []int
		challenge string
		status    Status
		requests  int
	}{
		"taken":            {[]int{200}, "", OK, 1},
		"nonce":            {[]int{401, 200}, `DPoP error="use_dpop_nonce"`, OK, 2},
		"nonce for ever":   {[]int{401, 401, 401}, `DPoP error="use_dpop_nonce", error_description="invalid_token"`, Failed, 2},
		"token":            {[]int{401, 401}, `DPoP error="invalid_token"`, Failed, 1},
		"forbidden":        {[]int{403}, "", Failed, 1},
		"journal unknown":  {[]int{404}, "", Warning, 1},
		"trouble":          {[]int{500}, "", Failed, 1},
		"something else":   {[]int{302}, "", Warning, 1},
		"connection broke": {nil, "", Failed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			sfm := roundTrip(func(r *http.Request) (*http.Response, error) {
				n++
				if r.Header.Get("Authorization") != "DPoP "+aToken {
					t.Error("without its token")
				}
				if n > len(test.answers) {
					return nil, errors.New("broken")
				}
				return &http.Response{StatusCode: test.answers[n-1], Header: http.Header{"Www-Authenticate": {test.challenge}}, Body: http.NoBody}, nil
			})
			o := options(&fake{})
			o.Upstreams, o.Plain = []Upstream{{"basis", mustURL(t, "https://sfm.test.example")}}, roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") })
			o.TestTokens = &TestTokens{
				URL: mustURL(t, "https://ttt.test.example"), Key: "k", Scheme: "DPoP", Proving: sfm,
				Transport: roundTrip(func(*http.Request) (*http.Response, error) {
					return jsonAnswer(200, `{"isError":false,"successResponse":{"accessTokenJwt":"`+aToken+`"}}`), nil
				}),
			}
			s := Run(t.Context(), o).step(stepSFMCall, "")
			if s.Status != test.status || n != test.requests {
				t.Errorf("%s after %d requests: %+v", s.Status, n, s)
			}
		})
	}
}

func jsonAnswer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// Whatever the service answers: a token, or an error that repeats no token of it.
func FuzzReadTestToken(f *testing.F) {
	f.Add(200, `{"isError":false,"successResponse":{"accessTokenJwt":"`+aToken+`"}}`)
	f.Add(400, `{"isError":true,"errorResponse":{"errorMessage":"`+aToken+` 13827015061"}}`)
	f.Add(200, `{"isError":true}`)
	f.Add(500, `<html>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		token, err := readTestToken(jsonAnswer(status, body))
		if (token == "") != (err != nil) {
			t.Fatalf("token %q, error %v", token, err)
		}
		if err != nil && (strings.Contains(err.Error(), aToken) || len(err.Error()) > 2000) {
			t.Errorf("the error repeats too much: %v", err)
		}
		if err == nil && status != http.StatusOK {
			t.Errorf("a token with status %d", status)
		}
	})
}

func FuzzWrap(f *testing.F) {
	f.Add("some words and averyveryverylongword", 10)
	f.Fuzz(func(t *testing.T, s string, width int) {
		if width < 1 || width > 200 {
			return
		}
		lines := wrap(s, width)
		if strings.Join(strings.Fields(strings.Join(lines, " ")), "") != strings.Join(strings.Fields(s), "") {
			t.Errorf("words were lost: %q", lines)
		}
		for _, line := range lines {
			if len([]rune(line)) > width && strings.ContainsFunc(strings.TrimSpace(line), func(r rune) bool { return r == ' ' }) {
				t.Errorf("%q is longer than %d", line, width)
			}
		}
	})
}

func TestTestTokensHideTheirKey(t *testing.T) {
	t.Parallel()
	for _, hidden := range []interface {
		String() string
		GoString() string
	}{TestTokens{Key: "secret"}, Return{Code: "secret"}, &login{pid: "secret"}} {
		if strings.Contains(hidden.String()+hidden.GoString(), "secret") {
			t.Errorf("%T shows its secret", hidden)
		}
	}
}
