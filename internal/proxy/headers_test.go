package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lineServer is an upstream that notes the request line and header lines as
// they came, and answers with a fixed text.
func lineServer(t testing.TB, answer string) (url string, heard func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var last []string
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := textproto.NewReader(bufio.NewReader(conn))
				for {
					var got []string
					for {
						line, err := in.ReadLine()
						if err != nil {
							return
						}
						if line == "" {
							break
						}
						got = append(got, line)
					}
					mu.Lock()
					last = got
					mu.Unlock()
					if _, err := io.WriteString(conn, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), func() []string { mu.Lock(); defer mu.Unlock(); return last }
}

const emptyAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

func TestWhatSFMGets(t *testing.T) {
	sfm, heard := lineServer(t, emptyAnswer)
	h := open(t, sfm+"/fhir")
	a := h.raw("GET", "GET /basis/Patient/$getMedication?q=1;r=2&s=%zz HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+
		"Sfm-Orgnr-Child: 999944582\r\nSfm-Session: handle\r\nSfm-Grant: user\r\nSfm-Journal-Intent: new\r\nSidecar-Key: k\r\n"+
		"Authorization: Bearer callers-own\r\nDPoP: forged\r\nCookie: a=b\r\nForwarded: for=1.2.3.4\r\n"+
		"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Anything: x\r\nConnection: close, X-Hop\r\nX-Hop: hop\r\nKeep-Alive: 5\r\n"+
		"Upgrade: websocket\r\nProxy-Authorization: x\r\n"+
		"Accept: application/fhir+json\r\nAccept-Encoding: br\r\nExpires: 0\r\ntraceparent: 00-ab-cd-01\r\nX-Request-Id: id-1\r\n"+
		"X-Own: one\r\nX-Own: two\r\nOrigin-Like: https://x\r\n\r\n")
	if a.StatusCode != 200 {
		t.Fatalf("status %d %s", a.StatusCode, a.body)
	}
	got := map[string][]string{}
	lines := heard()
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		got[name] = append(got[name], value)
	}
	if proofs := got["Dpop"]; len(proofs) != 1 || strings.Count(proofs[0], ".") != 2 {
		t.Errorf("%d proofs", len(proofs))
	}
	delete(got, "Dpop")
	want := map[string][]string{
		"Host": {strings.TrimPrefix(sfm, "http://")}, "Authorization": {"DPoP token-1"},
		"Accept": {"application/fhir+json"}, "Accept-Encoding": {"br"}, "Expires": {"0"}, "Traceparent": {"00-ab-cd-01"},
		"X-Request-Id": {"id-1"}, "X-Own": {"one", "two"}, "Origin-Like": {"https://x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := "GET /fhir/Patient/$getMedication?q=1;r=2&s=%zz HTTP/1.1"; lines[0] != want {
		t.Errorf("request line %q", lines[0])
	}
}

func TestBearerUpstreamGetsNoProof(t *testing.T) {
	sfm, heard := lineServer(t, emptyAnswer)
	h := open(t, sfm, func(o *Options) { o.Upstreams[0].Scheme = "Bearer" })
	h.get("/basis/x")
	all := strings.Join(heard(), "\n")
	if !strings.Contains(all, "Authorization: Bearer token-1") || strings.Contains(all, "Dpop") {
		t.Error("not a bearer call")
	}
}

func TestWhatTheEPJGets(t *testing.T) {
	sfm, _ := lineServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nDPoP-Nonce: n\r\nSet-Cookie: a=b\r\nWWW-Authenticate: DPoP\r\n"+
		"Sidecar-Error: internal\r\nSidecar-Retryable: true\r\nSidecar-Request-Id: theirs\r\nSidecar-Other: x\r\n"+
		"Connection: X-Hop\r\nX-Hop: hop\r\nProxy-Authenticate: x\r\nKeep-Alive: 5\r\n"+
		"Content-Encoding: gzip\r\nETag: \"1\"\r\nX-Own: one\r\nX-Own: two\r\nDate: Mon, 02 Nov 2026 00:00:00 GMT\r\n\r\nbody")
	h := open(t, sfm)
	a := h.get("/basis/x")
	id := a.Header.Get("Sidecar-Request-Id")
	want := http.Header{
		"Content-Length": {"4"}, "Content-Encoding": {"gzip"}, "Etag": {`"1"`}, "X-Own": {"one", "two"},
		"Date": {"Mon, 02 Nov 2026 00:00:00 GMT"}, "Sidecar-Request-Id": {id},
	}
	if diff := cmp.Diff(want, a.Header); diff != "" || id == "theirs" || string(a.body) != "body" {
		t.Errorf("%s, body %q", diff, a.body)
	}
}

func TestTargets(t *testing.T) {
	sfm, heard := lineServer(t, emptyAnswer)
	tests := []struct {
		base, target string
		want         string // at SFM; empty: refused
		code         string
	}{
		{"/fhir", "/basis", "/fhir", ""},
		{"/fhir", "/basis/", "/fhir/", ""},
		{"/fhir/", "/basis/x", "/fhir/x", ""},
		{"", "/basis", "/", ""},
		{"", "/basis?", "/?", ""},
		{"", "/basis?a=1&b;c", "/?a=1&b;c", ""},
		{"", "/basis//x//y", "//x//y", ""},
		{"", "/basis/%24x/$y", "/%24x/$y", ""},
		{"", "/basis/a%2Fb%c3%a6/%41;v=1,2+3!*'()", "/a%2Fb%c3%a6/%41;v=1,2+3!*'()", ""},
		{"", "/basis/a|b", "/a%7Cb", ""},
		{"/f%20h", "/basis/x", "/f%20h/x", ""},
		{"", "/basis/.x/y../...", "/.x/y../...", ""},
		{"", "http://localhost/basis/x", "/x", ""},
		{"", "/basis/x#y", "", ""},
		{"", "/basis/../x", "", "request-invalid"},
		{"", "/basis/./x", "", "request-invalid"},
		{"", "/basis/%2e%2E/x", "", "request-invalid"},
		{"", "/basis/.%2e", "", "request-invalid"},
		{"", "/basis/..%2fx", "", "request-invalid"},
		{"", "/basis/..%5cx", "", "request-invalid"},
		{"", "/basis/x/..", "", "request-invalid"},
		{"", "*", "", "request-invalid"},
		{"", "http://localhost", "", "request-invalid"},
		{"", "http://evil.example/basis/x", "", "host-refused"},
		{"", "/", "", "upstream-unknown"},
		{"", "//basis/x", "", "upstream-unknown"},
		{"", "/Basis/x", "", "upstream-unknown"},
		{"", "/b%61sis/x", "", "upstream-unknown"},
	}
	for _, tt := range tests {
		h := open(t, sfm+tt.base)
		method := "GET"
		if tt.target == "*" {
			method = "OPTIONS"
		}
		a := h.raw(method, method+" "+tt.target+" HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+"\r\n")
		switch {
		case tt.code != "":
			h.refused(a, tt.code, rows[tt.code].status)
		case tt.want == "": // what a fragment becomes is net/http's affair
		case a.StatusCode != 200 || heard()[0] != "GET "+tt.want+" HTTP/1.1":
			t.Errorf("%s: status %d, SFM got %q", tt.target, a.StatusCode, heard()[0])
		}
	}
	h := open(t, sfm)
	h.refused(h.raw("CONNECT", "CONNECT /basis/x HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+"\r\n"), "request-invalid", 400)
	h.refused(h.raw("TRACE", "TRACE /basis/x HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+"\r\n"), "request-invalid", 400)
}

func TestUpstreamWithoutAName(t *testing.T) {
	sfm, heard := lineServer(t, emptyAnswer)
	h := open(t, sfm+"/v4", func(o *Options) { o.Upstreams[0].Name = "" })
	for target, want := range map[string]string{"/Patient?x": "/v4/Patient?x", "/": "/v4/", "//a": "/v4//a"} {
		if h.raw("GET", "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+"\r\n"); heard()[0] != "GET "+want+" HTTP/1.1" {
			t.Errorf("%s became %q", target, heard()[0])
		}
	}
	h.refused(h.get("/_sidecar/x"), "control-unknown", 404)
}

func TestMethodsPassAsSent(t *testing.T) {
	sfm, heard := lineServer(t, emptyAnswer)
	h := open(t, sfm)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "X-Own"} {
		a := h.raw(method, method+" /basis/x HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+"Content-Length: 0\r\n\r\n")
		if got := heard()[0]; a.StatusCode != 200 || got != method+" /x HTTP/1.1" {
			t.Errorf("%s: status %d, %q", method, a.StatusCode, got)
		}
		all := strings.Join(heard(), "\n")
		if strings.Contains(all, "Transfer-Encoding") {
			t.Errorf("%s without a body was sent in chunks", method)
		}
	}
}
