package helseid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// hijack ends the connection as the test wants it, after the whole request was read.
func hijack(t *testing.T, w http.ResponseWriter, answer string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = conn.Write([]byte(answer))
	_ = conn.Close()
}

func TestUnusableAnswers(t *testing.T) {
	type handler = func(f *fake, w http.ResponseWriter)
	raw := func(status int, contentType, body string) handler {
		return func(_ *fake, w http.ResponseWriter) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	member := func(name string, value any) handler {
		return func(f *fake, w http.ResponseWriter) { f.grant(w, map[string]any{name: value}, nil) }
	}
	const good = `{"access_token":"a.b.c","token_type":"DPoP","expires_in":60`
	for name, tc := range map[string]struct {
		answer  handler
		reason  string
		garbled bool // the refresh token is probably spent
	}{
		"HTML":                {raw(200, "text/html", "<html>eyJsecret</html>"), faultContentType, true},
		"HTML refusal":        {raw(403, "text/html", "<html>WAF</html>"), faultContentType, false},
		"form body":           {raw(200, "text/plain", "access_token=evil&expires_in=99"), faultContentType, true},
		"no content type":     {raw(200, "", `{}`), faultContentType, true},
		"JSON in HTML":        {raw(200, "text/html", good+"}"), faultContentType, true},
		"truncated":           {raw(200, "application/json", good), faultNotJSON, true},
		"trailing":            {raw(200, "application/json", good+`}{}`), faultNotJSON, true},
		"array":               {raw(200, "application/json", "["+good+"}]"), faultNotJSON, true},
		"empty":               {raw(200, "application/json", ""), faultNotJSON, true},
		"null":                {raw(200, "application/json", "null"), faultNotJSON, true},
		"twice":               {raw(200, "application/json", good+`,"access_token":"d.e.f"}`), faultTwice, true},
		"twice, escaped":      {raw(200, "application/json", good+`,"access_\u0074oken":"d.e.f"}`), faultTwice, true},
		"case-folded":         {raw(200, "application/json", `{"Access_Token":"a.b.c","token_type":"DPoP","expires_in":60}`), "no-token", false},
		"oversized":           {raw(200, "application/json", good+`,"x":"`+strings.Repeat("x", maxAnswer)+`"}`), faultOversized, true},
		"oversized refusal":   {raw(400, "application/json", `{"x":"`+strings.Repeat("x", maxAnswer)+`"}`), faultOversized, false},
		"no content":          {raw(204, "application/json", ""), faultNotJSON, true},
		"accepted":            {raw(202, "application/json", "{}"), "status", true},
		"throttled":           {raw(429, "application/json", "{}"), "throttled", false},
		"500":                 {raw(500, "text/html", "<html>"), "server-error", false},
		"503 with JSON error": {raw(503, "application/json", `{"error":"invalid_grant"}`), "server-error", false},
		"408":                 {raw(408, "text/plain", ""), "server-error", false},
		"no token":            {member("access_token", nil), "no-token", false},
		"empty token":         {member("access_token", ""), "no-token", false},
		"token a number":      {member("access_token", 5), "no-token", false},
		"token an array":      {member("access_token", []string{"a.b.c"}), "no-token", false},
		"opaque token":        {member("access_token", "opaque"), "not-jwt", false},
		"two parts":           {member("access_token", "eyJhbGciOiJub25lIn0.e30"), "not-jwt", false},
		"alg none":            {member("access_token", "eyJhbGciOiJub25lIn0.e30."), "not-jwt", false},
		"header injection": {func(f *fake, w http.ResponseWriter) {
			f.grant(w, map[string]any{"access_token": f.sign(f.claims()) + "\r\n"}, nil)
		}, "not-jwt", false},
		"token too large": {func(f *fake, w http.ResponseWriter) {
			f.grant(w, nil, map[string]any{"x": strings.Repeat("x", maxToken)})
		}, "not-jwt", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { tc.answer(f, w) }
			_, err := refresh(t.Context(), f.client(nil))
			e := wantError(t, err, codeUnavailable)
			if e.Reason() != tc.reason || e.Garbled() != tc.garbled || e.NoAnswer() || e.Permanent() {
				t.Errorf("reason %s, garbled %v, no answer %v, permanent %v", e.Reason(), e.Garbled(), e.NoAnswer(), e.Permanent())
			}
			if e.RetryAfter() <= 0 || strings.Contains(e.Error(), "secret") {
				t.Error("no Retry-After, or the body in the text")
			}
			if len(f.posts()) != 1 {
				t.Errorf("%d requests, want 1", len(f.posts()))
			}
		})
	}
}

func TestRetryAfterReachesTheError(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(429)
	}
	_, err := refresh(t.Context(), f.client(nil))
	if e := wantError(t, err, codeUnavailable); e.RetryAfter() != 17*time.Second {
		t.Errorf("retry after %v", e.RetryAfter())
	}
}

func TestExpiresIn(t *testing.T) {
	for _, tc := range []struct {
		value any
		want  time.Duration // 0 = refused
	}{
		{300, 5 * time.Minute}, {"300", 5 * time.Minute}, {1, time.Second},
		{nil, 0}, {0, 0}, {"0", 0}, {-5, 0}, {"-5", 0}, {300.5, 0}, {"300.5", 0}, {"3e2", 0}, {"soon", 0}, {"", 0},
		{true, 0}, {[]int{300}, 0}, {1e12, 0}, {" 300", 0}, {"+300", 0},
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			f.grant(w, map[string]any{"expires_in": tc.value}, nil)
		}
		g, err := refresh(t.Context(), f.client(nil))
		if tc.want == 0 {
			if e := wantError(t, err, codeUnavailable); e.Reason() != "expires-in" {
				t.Errorf("%v: reason %s", tc.value, e.Reason())
			}
		} else if err != nil || g.Lifetime != tc.want {
			t.Errorf("%v: %v, lifetime wrong", tc.value, err)
		}
	}
}

func TestTokenType(t *testing.T) {
	for _, tc := range []struct {
		value  any
		bearer bool
		good   bool
	}{
		{"DPoP", false, true}, {"dpop", false, true}, {"DPOP", false, true}, {"Bearer", false, false}, {nil, false, false},
		{"", false, false}, {7, false, false},
		{"Bearer", true, true}, {"bearer", true, true}, {"DPoP", true, false}, {nil, true, false},
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			change := map[string]any{}
			if tc.bearer {
				change["cnf"] = nil
			}
			f.grant(w, map[string]any{"token_type": tc.value}, change)
		}
		g, err := refresh(t.Context(), f.client(func(o *Options) {
			if tc.bearer {
				o.DPoP = nil
			}
		}))
		if tc.good {
			if err != nil || g.Token.TokenType != map[bool]string{true: "Bearer", false: "DPoP"}[tc.bearer] {
				t.Errorf("%v: %v", tc.value, err)
			}
		} else if e := wantError(t, err, codeTokenMismatch); e.Reason() != "token_type" {
			t.Errorf("%v: reason %s", tc.value, e.Reason())
		}
	}
}

// Go's own client would post the assertion, and the refresh token, to wherever a 307 points.
func TestRedirectsAreRefused(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1/elsewhere")
			w.WriteHeader(status)
		}
		_, err := refresh(t.Context(), f.client(nil))
		if e := wantError(t, err, codeUnavailable); e.Reason() != "redirect" {
			t.Errorf("%d: reason %s", status, e.Reason())
		}
		if len(f.posts()) != 1 || f.fetched("/elsewhere") != 0 {
			t.Errorf("%d: the redirect was followed", status)
		}
	}
}

func TestBrokenConnections(t *testing.T) {
	for name, tc := range map[string]struct {
		wire             string
		reason           string
		silent, unusable bool
	}{
		"no byte":          {"", "no-answer", true, false},
		"half a line":      {"HTTP/1.1 2", "no-answer", true, false},
		"half the headers": {"HTTP/1.1 200 OK\r\nContent-Type: appl", "no-answer", true, false},
		"not HTTP":         {"+OK ready\r\n\r\n", "no-answer", true, false},
		"half the body": {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":",
			faultTruncated, false, true},
		"half a refusal": {"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":",
			faultTruncated, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { hijack(t, w, tc.wire) }
			_, err := refresh(t.Context(), f.client(nil))
			e := wantError(t, err, codeUnavailable)
			if e.Reason() != tc.reason || e.NoAnswer() != tc.silent || e.Garbled() != tc.unusable {
				t.Errorf("reason %s, no answer %v, garbled %v", e.Reason(), e.NoAnswer(), e.Garbled())
			}
			if len(f.posts()) != 1 {
				t.Errorf("%d requests, want 1", len(f.posts()))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	f := newFake(t)
	c := f.client(nil)
	if _, err := refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.transport.CloseIdleConnections()
	f.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no route")
	}
	_, err := refresh(t.Context(), c)
	e := wantError(t, err, codeUnavailable)
	if e.Reason() != "unreachable" || e.NoAnswer() || e.Garbled() || !strings.Contains(e.Error(), "no route") {
		t.Errorf("reason %s, no answer %v, garbled %v", e.Reason(), e.NoAnswer(), e.Garbled())
	}
	if strings.Contains(e.Detail(), "no route") {
		t.Error("what the network says is not for the EPJ")
	}
}

func FuzzTokenAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"a.b.c","token_type":"DPoP","expires_in":300}`))
	f.Add([]byte(`{"access_token":"a","token_type":"dpop","expires_in":"300","scope":["a"],"rejected_scope":"b"}`))
	f.Add([]byte(`{"Access_Token":"a","access_token":"b","expires_in":-1}`))
	f.Add([]byte(`{"error":"invalid_grant","error_description":"HID-1001"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, fault := readMembers(http.Header{"Content-Type": {"application/json"}}, body, nil)
		if (fault == "") != (m != nil) {
			t.Fatal("neither members nor a fault")
		}
		token, err := parseToken(m, "DPoP")
		if err == nil && (token.access == "" || token.lifetime <= 0 || m.text("access_token") != token.access) {
			t.Error("a token without value or life was accepted")
		}
		_ = checkTerms(m, []string{"a"})
		code, hid := meaning(m.text("error"), m.text("error_description"))
		if code == "" || hid != "" && !strings.Contains(m.text("error_description"), hid) {
			t.Error("no meaning, or an invented HID number")
		}
		clean := scrub(m.text("error_description"))
		if len([]rune(clean)) > maxDescription || strings.ContainsAny(clean, "\r\n\x00") || delicate.MatchString(clean) {
			t.Error("not clean")
		}
	})
}

func TestNothingPrintsSecrets(t *testing.T) {
	const secret = "the-secret"
	token := &oauth2.Token{AccessToken: secret}
	for _, v := range []any{
		Person{PID: secret}, &Person{PID: secret}, Request{PID: secret}, CodeGrant{Code: secret, Verifier: secret},
		&Login{IDToken: secret, RefreshToken: secret}, &Grant{Token: token, RefreshToken: secret, IDToken: secret},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if strings.Contains(fmt.Sprintf(verb, v), secret) {
				t.Errorf("%T prints its secrets with %s", v, verb)
			}
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		if strings.Contains(log.String(), secret) {
			t.Errorf("%T logs its secrets", v)
		}
	}
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
		f.grant(w, nil, map[string]any{claimPID: "02027012345"})
	}
	_, err := refresh(t.Context(), f.client(nil))
	wantError(t, err, codeTokenMismatch)
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "02027012345") || strings.Contains(text, "eyJ") {
		t.Error("the error holds a value of the token")
	}
}
