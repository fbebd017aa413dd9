package proxy

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"
)

// FuzzHeaders sends any header section through the gate and the scrubbing. What
// must hold: one value of each header of ours or a refusal, and nothing of the
// caller's that could pass for ours on the way out.
func FuzzHeaders(f *testing.F) {
	f.Add("Sfm-Tenant: a\r\nSfm-Tenant: b\r\n")
	f.Add("sidecar-key: k\r\nORIGIN: https://x\r\nsec-fetch-site: none\r\n")
	f.Add("Connection: Authorization\r\nauthorization: Bearer x\r\nUpgrade: x\r\n")
	f.Add("Idempotency-Key: 1\r\nX-FORWARDED-: x\r\nCookie: a\r\nExpect: 100-continue\r\n")
	f.Add("Sfm-Session:\r\nX-Request-Id: ok\r\n")
	g, err := newGate(Gate{CallerKey: "k", AllowedOrigins: []string{"https://x"}})
	if err != nil {
		f.Fatal(err)
	}
	ups, err := newUpstreams([]Upstream{{Name: "basis", URL: parse(f, "https://sfm.example/v4"), Scheme: "DPoP"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, section string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET /basis/x HTTP/1.1\r\nHost: localhost\r\n" + section + "\r\n")))
		if err != nil {
			return
		}
		in, err := g.check(r, false)
		if id := requestID(r); !sane(id) {
			t.Error("a request id that is not fit for a log")
		}
		if err == nil && !in.preflight {
			if r.Header.Get("Sidecar-Key") != "k" || len(r.Header["Origin"]) > 0 && in.origin != "https://x" {
				t.Error("let in without key or origin")
			}
			for _, name := range own {
				if v := r.Header[name]; v != nil && (len(v) != 1 || strings.TrimSpace(v[0]) == "" || len(v[0]) > maxOwn) {
					t.Errorf("%s was let in", name)
				}
			}
		}
		c := &call{in: r, upstream: ups["basis"], rest: "/x"}
		out := sentOut(c, r)
		for name := range out.Header {
			lower := strings.ToLower(name)
			if strings.HasPrefix(lower, "x-forwarded-") || lower == "idempotency-key" && name != lower {
				t.Errorf("%s left", name)
			}
			for _, forbidden := range append(append([]string{"upgrade", "connection"}, own...), foreign...) {
				if lower == strings.ToLower(forbidden) {
					t.Errorf("%s left", name)
				}
			}
		}
		if out.URL.String() != "https://sfm.example/v4/x" || out.Host != "" {
			t.Error("sent elsewhere")
		}
	})
}

// sentOut is what ReverseProxy would hand to its transport.
func sentOut(c *call, r *http.Request) (out *http.Request) {
	rp := &httputil.ReverseProxy{
		Rewrite: rewrite,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			out = r
			return nil, errPlain
		}),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {},
	}
	rp.ServeHTTP(httptest.NewRecorder(), r.WithContext(contextOf(r.Context(), c)))
	return out
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzTarget: whatever the path, what leaves stays under the upstream's base.
func FuzzTarget(f *testing.F) {
	for _, v := range []string{"/basis/x", "/basis/%2e%2e/x", "/basis//x?q;r", "/_sidecar/x", "/basis/a%2Fb$%24", "/basis\\..\\x"} {
		f.Add(v)
	}
	p, err := New(Options{
		Upstreams: []Upstream{{Name: "basis", URL: parse(f, "https://sfm.example/v4"), Scheme: "DPoP"}},
		Tenants:   fakeTenants{}, Tokens: &fakeTokens{}, Transport: roundTrip(nil),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")))
		if err != nil || isControl(r.URL) {
			return
		}
		up, rest, err := p.route(r)
		if err != nil {
			return
		}
		out := *r.URL
		up.aim(&out, rest)
		path, _, _ := strings.Cut(out.RequestURI(), "?")
		if path != "/v4"+rest || hasDots(out.Path) || out.Host != "sfm.example" {
			t.Errorf("%q leaves as %q", target, path)
		}
	})
}

func TestStopwatch(t *testing.T) {
	start := time.Now()
	c := &call{started: start, watch: stopwatch{sfm: 60 * time.Millisecond, caller: 10 * time.Millisecond}}
	if got := c.added(start.Add(100 * time.Millisecond)); got != 30*time.Millisecond {
		t.Errorf("%v", got)
	}
	c.w.at = start.Add(80 * time.Millisecond)
	if got := c.added(start.Add(time.Hour)); got != 10*time.Millisecond {
		t.Errorf("%v: streaming is counted", got)
	}
	c.w.at = start.Add(time.Millisecond)
	if got := c.added(start); got != 0 {
		t.Errorf("%v", got)
	}
}
