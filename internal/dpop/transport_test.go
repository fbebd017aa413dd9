package dpop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testToken = "header.payload.signature-of-a-made-up-token"

// proofOf gives the one proof of a request that arrived, verified.
func proofOf(t *testing.T, h http.Header) payload {
	t.Helper()
	if len(h["Dpop"]) != 1 {
		t.Fatalf("%d DPoP headers, want 1", len(h["Dpop"]))
	}
	p, _ := open(t, h.Get("DPoP"))
	return p
}

// seen is what a test server noted of a request. Trailers are complete once the handler has read the body.
type seen struct {
	header  http.Header
	trailer http.Header
	body    string
}

func newServer(t *testing.T, answer http.HandlerFunc) (*httptest.Server, <-chan seen) {
	arrived := make(chan seen, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- seen{r.Header.Clone(), r.Trailer.Clone(), string(body)}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server, arrived
}

func newBase(t *testing.T) *http.Transport {
	base := &http.Transport{Protocols: new(http.Protocols)}
	base.Protocols.SetHTTP1(true)
	t.Cleanup(base.CloseIdleConnections)
	return base
}

func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+testToken)
	return req
}

func send(t *testing.T, transport http.RoundTripper, req *http.Request) *http.Response {
	t.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp
}

func TestTransportProves(t *testing.T) {
	server, arrived := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("DPoP-Nonce", "nonce-1") })
	proven := 0
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	transport := &Transport{Base: newBase(t), Key: newKey(t), Nonces: new(Nonces), Now: func() time.Time { return now }, Proven: func() { proven++ }}

	send(t, transport, newRequest(t, "POST", server.URL+"/a/$b?pid=1", nil))
	first := proofOf(t, (<-arrived).header)
	ath := athOf(testToken)
	want := payload{JTI: first.JTI, HTM: "POST", HTU: server.URL + "/a/$b", IAT: now.Unix(), ATH: &ath}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("first proof (-want +got):\n%s", diff)
	}

	req := newRequest(t, "", server.URL, nil)
	req.Method = "" // net/http sends GET
	send(t, transport, req)
	second := proofOf(t, (<-arrived).header)
	nonce := "nonce-1"
	want = payload{JTI: second.JTI, HTM: "GET", HTU: server.URL + "/", IAT: now.Unix(), ATH: &ath, Nonce: &nonce}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("second proof (-want +got):\n%s", diff)
	}
	if first.JTI == second.JTI {
		t.Error("both proofs have the same jti")
	}
	if proven != 2 {
		t.Errorf("Proven was called %d times, want 2", proven)
	}
}

func athOf(token string) string {
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

func TestTransportPassesOthersOn(t *testing.T) {
	server, arrived := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("DPoP-Nonce", "nonce-1") })
	for _, authorization := range []string{"", "Bearer " + testToken, "DPoPX " + testToken, "Basic ZHBvcDo="} {
		nonces := new(Nonces)
		transport := &Transport{Base: newBase(t), Key: newKey(t), Nonces: nonces}
		req := newRequest(t, "GET", server.URL, nil)
		req.Header.Del("Authorization")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		send(t, transport, req)
		got := (<-arrived).header
		if got.Get("Authorization") != authorization || got["Dpop"] != nil {
			t.Errorf("a request that needs no proof was changed, scheme %.6s", authorization)
		}
		if nonces.Last(server.URL) != "nonce-1" {
			t.Error("the answer's nonce was not learned")
		}
	}
}

func TestTransportLearnsNoncesPerOrigin(t *testing.T) {
	server, arrived := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("DPoP-Nonce", "of-one")
		w.WriteHeader(http.StatusUnauthorized)
	})
	other, atOther := newServer(t, nil)
	transport := &Transport{Base: newBase(t), Key: newKey(t), Nonces: new(Nonces)}
	send(t, transport, newRequest(t, "GET", server.URL, nil))
	<-arrived
	send(t, transport, newRequest(t, "GET", other.URL, nil))
	if got := proofOf(t, (<-atOther).header); got.Nonce != nil {
		t.Error("a nonce of one server was sent to another")
	}
	send(t, transport, newRequest(t, "GET", server.URL, nil))
	if got := proofOf(t, (<-arrived).header); got.Nonce == nil || *got.Nonce != "of-one" {
		t.Error("the nonce of a refusal was not used")
	}
}

func TestTransportLeavesTheRequestAlone(t *testing.T) {
	server, arrived := newServer(t, nil)
	transport := &Transport{Base: newBase(t), Key: newKey(t)}
	req := newRequest(t, "POST", server.URL, strings.NewReader("body"))
	req.Header.Set("Dpop", "forged")
	req.Header["DPoP"] = []string{"forged too"}
	req.Header["authorization"] = []string{"Bearer forged"}
	before := req.Header.Clone()
	resp := send(t, transport, req)
	if diff := cmp.Diff(before, req.Header); diff != "" {
		t.Error("the request's header map was changed")
	}
	if resp.Request != req {
		t.Error("the answer names another request than the one that was sent")
	}
	got := <-arrived
	proofOf(t, got.header)
	if got.body != "body" || len(got.header["Authorization"]) != 1 || got.header.Get("Authorization") != "DPoP "+testToken {
		t.Error("body or authorization did not arrive as sent")
	}
}

func TestTransportKeepsTrailers(t *testing.T) {
	server, arrived := newServer(t, nil)
	transport := &Transport{Base: newBase(t), Key: newKey(t)}
	req := newRequest(t, "POST", server.URL, nil)
	req.Trailer = http.Header{"X-Sum": nil} // announced; the value is known when the body has been read
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), readFunc(func() { req.Trailer.Set("X-Sum", "4") })))
	req.ContentLength = -1
	send(t, transport, req)
	if got := <-arrived; got.trailer.Get("X-Sum") != "4" || got.body != "body" {
		t.Errorf("trailer %q after body %q", got.trailer, got.body)
	}
}

// readFunc is an empty reader that tells when it is read.
type readFunc func()

func (f readFunc) Read([]byte) (int, error) { f(); return 0, io.EOF }

func TestTransportRefuses(t *testing.T) {
	key := newKey(t)
	unused := roundTripFunc(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("the base was called")
	})
	tests := map[string]struct {
		transport *Transport
		header    http.Header
		want      string
	}{
		"no key":          {&Transport{Base: unused}, http.Header{"Authorization": {"DPoP t"}}, "no base or no key"},
		"no base":         {&Transport{Key: key}, http.Header{"Authorization": {"DPoP t"}}, "no base or no key"},
		"two tokens":      {&Transport{Base: unused, Key: key}, http.Header{"Authorization": {"DPoP a", "DPoP b"}}, "several"},
		"bearer and DPoP": {&Transport{Base: unused, Key: key}, http.Header{"Authorization": {"Bearer a", "DPoP b"}}, "several"},
		"empty token":     {&Transport{Base: unused, Key: key}, http.Header{"Authorization": {"DPoP "}}, "characters"},
		"only the scheme": {&Transport{Base: unused, Key: key}, http.Header{"Authorization": {"dpop"}}, "characters"},
		"line break":      {&Transport{Base: unused, Key: key}, http.Header{"Authorization": {"DPoP a\r\nX: y"}}, "characters"},
		"space":           {&Transport{Base: unused, Key: key}, http.Header{"Authorization": {"DPoP a b"}}, "characters"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			body := &closeWatch{Reader: strings.NewReader("body")}
			req := newRequest(t, "POST", "https://sfm.example/", nil)
			req.Body, req.Header = body, test.header
			_, err := test.transport.RoundTrip(req)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if !body.closed {
				t.Error("the body was not closed")
			}
		})
	}
}

type closeWatch struct {
	io.Reader
	closed bool
}

func (c *closeWatch) Close() error { c.closed = true; return nil }

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A base that never reports its connection must not get the token into its hands.
func TestTransportWithholdsTheTokenFromABlindBase(t *testing.T) {
	answer := &closeWatch{Reader: strings.NewReader("")}
	blind := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") != "" || req.Header.Get("DPoP") != "" {
			t.Error("the token went out without a connection being reported")
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: answer}, nil
	})
	_, err := (&Transport{Base: blind, Key: newKey(t)}).RoundTrip(newRequest(t, "GET", "https://sfm.example/", nil))
	if !errors.Is(err, ErrNotProven) {
		t.Errorf("error %v, want ErrNotProven", err)
	}
	if !answer.closed {
		t.Error("the answer's body was not closed")
	}
}

// A base that copies the headers too early sends neither token nor proof.
func TestTransportUnderACloningBase(t *testing.T) {
	server, arrived := newServer(t, nil)
	base := newBase(t)
	cloning := roundTripFunc(func(req *http.Request) (*http.Response, error) { return base.RoundTrip(req.Clone(req.Context())) })
	send(t, &Transport{Base: cloning, Key: newKey(t)}, newRequest(t, "GET", server.URL, nil))
	if got := (<-arrived).header; got.Get("Authorization") != "" || got.Get("DPoP") != "" {
		t.Error("half of token and proof was sent")
	}
}

func TestTransportKeepsAnOuterTrace(t *testing.T) {
	server, arrived := newServer(t, nil)
	connections := 0
	req := newRequest(t, "GET", server.URL, nil)
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }}))
	send(t, &Transport{Base: newBase(t), Key: newKey(t)}, req)
	proofOf(t, (<-arrived).header)
	if connections != 1 {
		t.Errorf("the caller's own trace saw %d connections, want 1", connections)
	}
}

func TestTransportPassesErrorsOn(t *testing.T) {
	wanted := errors.New("no way there")
	base := newBase(t)
	base.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, wanted }
	proven := 0
	transport := &Transport{Base: base, Key: newKey(t), Proven: func() { proven++ }}
	if _, err := transport.RoundTrip(newRequest(t, "GET", "http://sfm.example/", nil)); !errors.Is(err, wanted) {
		t.Errorf("error %v, want %v", err, wanted)
	}
	if proven != 0 {
		t.Error("a proof was made without a connection")
	}
}

// The proof is younger than the longest dial.
func TestProofIsMadeAfterTheDial(t *testing.T) {
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan *http.Request, 1)
		base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(30 * time.Second)
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				req, err := http.ReadRequest(bufio.NewReader(theirs))
				if err != nil {
					return
				}
				arrived <- req
				_, _ = io.WriteString(theirs, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			}()
			return ours, nil
		}}
		defer base.CloseIdleConnections()
		start := time.Now()
		send(t, &Transport{Base: base, Key: key}, newRequest(t, "GET", "http://sfm.example/", nil))
		if got := proofOf(t, (<-arrived).Header).IAT; got != start.Add(30*time.Second).Unix() {
			t.Errorf("iat is %d s after the start, want 30", got-start.Unix())
		}
	})
}

// The proof is younger than the longest wait for a free connection, too.
func TestProofIsMadeAfterTheQueue(t *testing.T) {
	release := make(chan struct{})
	server, arrived := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	})
	base := newBase(t)
	base.MaxConnsPerHost = 1
	var clock atomic.Int64
	transport := &Transport{Base: base, Key: newKey(t), Now: func() time.Time { return time.Unix(clock.Load(), 0) }}
	call := func(req *http.Request) {
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
	}
	var group sync.WaitGroup
	clock.Store(1000)
	group.Go(func() { call(newRequest(t, "GET", server.URL+"/slow", nil)) })
	if got := proofOf(t, (<-arrived).header).IAT; got != 1000 {
		t.Errorf("iat = %d, want 1000", got)
	}
	waiting := make(chan struct{})
	next := newRequest(t, "GET", server.URL+"/next", nil)
	next = next.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) { close(waiting) }}))
	group.Go(func() { call(next) })
	<-waiting
	clock.Store(1030)
	close(release)
	group.Wait()
	if got := proofOf(t, (<-arrived).header).IAT; got != 1030 {
		t.Errorf("iat = %d, want 1030", got)
	}
}

// brokenConn works for the first request and then fails to write a single byte, as a connection does that has died
// while it was idle. It keeps what it should have written.
type brokenConn struct {
	net.Conn
	broken func() bool
	unsent chan<- string
}

func (c *brokenConn) Write(p []byte) (int, error) {
	if c.broken() {
		c.unsent <- string(p)
		return 0, errors.New("connection is dead")
	}
	return c.Conn.Write(p)
}

// net/http repairs a connection on which nothing could be written by itself. It must not reuse the proof.
func TestRepairedConnectionGetsAnotherProof(t *testing.T) {
	for _, method := range []string{"POST", "GET"} {
		t.Run(method, func(t *testing.T) {
			server, arrived := newServer(t, nil)
			unsent := make(chan string, 1)
			dials := 0
			requests := 0
			base := newBase(t)
			base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				dials++
				mine := dials
				return &brokenConn{conn, func() bool { return mine == 1 && requests == 2 }, unsent}, err
			}
			transport := &Transport{Base: base, Key: newKey(t)}
			for range 2 {
				requests++
				send(t, transport, newRequest(t, method, server.URL, strings.NewReader("body"))) // has GetBody
			}
			proofOf(t, (<-arrived).header)
			second := <-arrived
			if second.body != "body" {
				t.Errorf("the body arrived as %q", second.body)
			}
			repaired := proofOf(t, second.header)
			lost, err := http.ReadRequest(bufio.NewReader(strings.NewReader(<-unsent)))
			if err != nil {
				t.Fatal(err)
			}
			if proofOf(t, lost.Header).JTI == repaired.JTI {
				t.Error("both attempts have the same jti")
			}
			if dials != 2 {
				t.Errorf("%d dials, want 2", dials)
			}
		})
	}
}

// BenchmarkTransport measures what the transport adds to the signature, without a network.
func BenchmarkTransport(b *testing.B) {
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
		return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody}, nil
	})
	transport := &Transport{Base: base, Key: newKey(b), Nonces: new(Nonces)}
	req, err := http.NewRequestWithContext(b.Context(), "POST", "https://base-fhir.example/Patient/$getMedication", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+strings.Repeat("t", 1200))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transport.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}
