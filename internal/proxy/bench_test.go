package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
)

// BenchmarkProxy compares, in one run and over loopback sockets: a bare
// ReverseProxy; the same with token and proof (the floor: a proof per call is
// the job); and this package. The answer has 1 KB.
func BenchmarkProxy(b *testing.B) {
	sfm := benchUpstream(b)
	key, err := dpop.NewKey()
	if err != nil {
		b.Fatal(err)
	}
	token := strings.Repeat("t", 1200)
	to := parse(b, sfm)
	base := NewTransport(TransportOptions{ResponseTimeout: time.Minute})
	proving := &dpop.Transport{Base: base, Key: key, Nonces: new(dpop.Nonces)}
	plain := func(t http.RoundTripper, authorization string) http.Handler {
		return &httputil.ReverseProxy{Transport: t, BufferPool: buffers{}, Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(to)
			if authorization != "" {
				pr.Out.Header["Authorization"] = []string{authorization}
			}
		}}
	}
	ours, err := New(Options{
		Upstreams: []Upstream{{Name: "basis", URL: to, Scheme: "DPoP"}},
		Tenants:   fakeTenants{}, Tokens: sameToken{Token{AccessToken: token, Type: "DPoP"}}, Transport: proving,
		Gate: Gate{CallerKey: "a key of decent length"},
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, method := range []string{"GET", "POST"} {
		for _, of := range []struct {
			name    string
			handler http.Handler
		}{{"bare", plain(base, "")}, {"proof-only", plain(proving, "DPoP "+token)}, {"ours", ours}} {
			b.Run(method+"/"+of.name, func(b *testing.B) { benchHandler(b, of.handler, method) })
		}
	}
}

type sameToken struct{ t Token }

func (s sameToken) Token(context.Context, Ask) (Token, error) { return s.t, nil }
func (s sameToken) Forget(Ask, Token) bool                    { return false }

// benchHandler calls it over one kept connection, without an HTTP client whose
// own work would hide what is measured.
func benchHandler(b *testing.B, handler http.Handler, method string) {
	srv := httptest.NewServer(handler)
	defer srv.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	text := method + " /basis/Patient/$getMedication HTTP/1.1\r\nHost: localhost\r\n" + tenantLines +
		"Sidecar-Key: a key of decent length\r\nAccept: application/fhir+json\r\nUser-Agent: epj\r\n"
	if method == "POST" {
		text += "Content-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)
	} else {
		text += "\r\n"
	}
	in := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(conn, text); err != nil {
			b.Fatal(err)
		}
		if status := skipAnswer(b, in); status != "200" {
			b.Fatalf("status %s", status)
		}
	}
}

// skipAnswer reads one answer with a Content-Length of 1000.
func skipAnswer(b *testing.B, in *bufio.Reader) (status string) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if status == "" {
			status = string(line[9:12])
		}
		if len(line) == 2 {
			break
		}
	}
	if _, err := in.Discard(1000); err != nil {
		b.Fatal(err)
	}
	return status
}

// benchUpstream answers with a fixed text; it reads no more than it must.
func benchUpstream(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/fhir+json\r\nDate: Mon, 02 Nov 2026 00:00:00 GMT\r\n\r\n" +
		strings.Repeat("y", 1000))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReaderSize(conn, 16<<10)
				for {
					body := 0
					for {
						line, err := in.ReadSlice('\n')
						if err != nil {
							return
						}
						if strings.HasPrefix(string(line), "Content-Length: 1000") {
							body = 1000
						}
						if len(line) == 2 {
							break
						}
					}
					if _, err := in.Discard(body); err != nil {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
