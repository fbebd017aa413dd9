package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mustURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// What the three paths answer, and what that says about the configured address.
func TestUpstreamPaths(t *testing.T) {
	t.Parallel()
	const statement = `{"rest":[],"resourceType":"CapabilityStatement"}`
	for name, test := range map[string]struct {
		base   string
		answer map[string]int // by path; 404 otherwise
		body   string         // of 200; "" = a statement
		status Status
		says   string
	}{
		"no base":        {"", map[string]int{"/metadata": 200}, "", OK, "is its base"},
		"base":           {"/v2", map[string]int{"/v2/metadata": 200}, "", OK, "is its base"},
		"base, slash":    {"/v2/", map[string]int{"/v2/metadata": 200}, "", OK, "is its base"},
		"v2 wanted":      {"", map[string]int{"/v2/metadata": 200}, "", Warning, "/v2 in SFM_UPSTREAMS"},
		"api/v2 wanted":  {"", map[string]int{"/api/v2/metadata": 200}, "", Warning, "/api/v2 in SFM_UPSTREAMS"},
		"base too much":  {"/v2", map[string]int{"/metadata": 200}, "", Warning, "another path"},
		"none":           {"", nil, "", Warning, "session gateway"},
		"token wanted":   {"", map[string]int{"/metadata": 401}, "", OK, "wants a token"},
		"trouble":        {"", map[string]int{"/metadata": 503, "/v2/metadata": 200}, "", Failed, "has trouble"},
		"web page":       {"", map[string]int{"/metadata": 299}, "", Warning, "not as SFM does"},
		"200 of another": {"", map[string]int{"/metadata": 200}, `{"resourceType":"Patient","text":"CapabilityStatement"}`, Warning, "not as SFM does"},
		"a page of it":   {"", map[string]int{"/metadata": 200}, "<html>no CapabilityStatement here</html>", Warning, "not as SFM does"},
		"large":          {"", map[string]int{"/metadata": 200}, `{"resourceType":"CapabilityStatement","rest":[` + strings.Repeat(`"x",`, 50_000) + `"x"]}`, OK, "is its base"},
		"moved":          {"", map[string]int{"/metadata": 302}, "", Warning, "not as SFM does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path)
				if r.Header.Get("Authorization") != "" || r.Header.Get("DPoP") != "" {
					t.Error("a token came along")
				}
				status, ok := test.answer[r.URL.Path]
				if !ok {
					status = http.StatusNotFound
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				if status == http.StatusOK {
					_, _ = io.WriteString(w, cmp.Or(test.body, statement))
				}
			}))
			defer server.Close()
			o := Options{HelseID: &fake{}, Plain: server.Client().Transport, Upstreams: []Upstream{{"basis", mustURL(t, server.URL+test.base)}}}
			s := Run(t.Context(), o).step(stepUpstream, "basis")
			if text := s.Means + s.Do; s.Status != test.status || !strings.Contains(text, test.says) {
				t.Errorf("%s: %s", s.Status, text)
			}
			if len(asked) != 3 {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

// A server without TLS trouble, then one whose certificate nobody knows.
func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	o := Options{HelseID: &fake{}, Plain: server.Client().Transport, Upstreams: []Upstream{{"", mustURL(t, server.URL)}}}
	s := Run(t.Context(), o).step(stepUpstream, "")
	if text := fmt.Sprint(s.Details); !strings.Contains(text, "TLS 1.3") || !strings.Contains(text, "certificate_until") {
		t.Error(text)
	}
	o.Plain = new(http.Transport)
	s = Run(t.Context(), o).step(stepUpstream, "")
	if s.Status != Failed || !strings.Contains(s.Do, "SIDECAR_CA_FILE") {
		t.Errorf("%+v", s)
	}
}

func TestUnreached(t *testing.T) {
	t.Parallel()
	u := mustURL(t, "https://sfm.example")
	for name, test := range map[string]struct {
		err  error
		says string
	}{
		"name":        {&net.DNSError{Err: "no such host"}, "sfm.example is not found"},
		"refused":     {&net.OpError{Err: syscall.ECONNREFUSED}, "connection refused"},
		"authority":   {x509.UnknownAuthorityError{}, "authority"},
		"other host":  {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, "not good for sfm.example"},
		"expired":     {x509.CertificateInvalidError{Reason: x509.Expired}, "not good for"},
		"no TLS":      {tls.RecordHeaderError{}, "does not speak TLS"},
		"time":        {context.DeadlineExceeded, "no answer within"},
		"dial time":   {&net.OpError{Err: timeout{}}, "no answer within"},
		"broken":      {io.ErrUnexpectedEOF, "broke it off"},
		"proxy words": {errors.New("Proxy-Authenticate: secret"), "broke it off"},
	} {
		f := unreached(fmt.Errorf("wrapped: %w", test.err), u)
		if text := f.Found + f.Means; f.Status != Failed || f.Do == "" || !strings.Contains(text, test.says) || strings.Contains(text, "secret") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestWarnCertificate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]Status{certificateWarn: Warning, certificateWarn + time.Hour: OK} {
		f := good("", "")
		warnCertificate(&f, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: now.Add(left)}}}, now)
		if f.Status != want {
			t.Errorf("%s left: %s", left, f.Status)
		}
	}
	f := wrong("", "", "")
	warnCertificate(&f, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, now)
	if f.Status != Failed {
		t.Error("a failure became a warning")
	}
}
