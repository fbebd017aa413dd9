package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
)

// faults are what becomes of the second call on a kept connection.
var faults = []struct {
	name   string
	during bool // before the body is read
	code   string
	answer func(net.Conn) bool
}{
	{name: "end during the write", during: true, code: "upstream-outcome-unknown"},
	{name: "reset during the write", during: true, code: "upstream-outcome-unknown"},
	{name: "end after the write", code: "upstream-outcome-unknown", answer: func(net.Conn) bool { return false }},
	{name: "reset after the write", code: "upstream-outcome-unknown", answer: func(c net.Conn) bool { cut(c); return false }},
	{name: "half a status line", code: "upstream-outcome-unknown", answer: say("HTTP/1.1 2")},
	{name: "half the headers", code: "upstream-outcome-unknown", answer: say("HTTP/1.1 200 OK\r\nContent-Le")},
	{name: "garbage", code: "upstream-outcome-unknown", answer: say("garbage\r\n\r\n")},
	{name: "408 and an end", code: "", answer: say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")},
	{name: "silence", code: "upstream-timeout", answer: func(c net.Conn) bool { io.Copy(io.Discard, c); return false }},
}

func say(text string) func(net.Conn) bool {
	return func(c net.Conn) bool { io.WriteString(c, text); return false }
}

var (
	everyMethod = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"}
	everyKey    = []string{"", "Idempotency-Key", "X-Idempotency-Key"}
	everySize   = []int{0, 1 << 10, 100 << 10}
)

// TestNeverTwice sends every kind of call over a kept connection that dies in
// every way, and counts what arrives.
func TestNeverTwice(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			sfm := rawServer(t, func(c net.Conn, _ *bufio.Reader, r request) bool {
				if r.header.Get("X-Fault") == "" {
					_, err := io.WriteString(c, emptyAnswer)
					return err == nil
				}
				return f.answer(c)
			})
			sfm.before = func(c net.Conn, h http.Header) bool {
				if !f.during || h.Get("X-Fault") == "" {
					return true
				}
				if f.name == "reset during the write" {
					cut(c)
				}
				return false
			}
			keys, sizes, timeout := everyKey, everySize, 10*time.Second
			if f.code == "upstream-timeout" { // each call takes this long: fewer of them
				keys, sizes, timeout = everyKey[:2], everySize[:2], 250*time.Millisecond
			}
			h := open(t, sfm.url, responseTimeout(t, timeout))
			for _, method := range everyMethod {
				for _, key := range keys {
					for _, size := range sizes {
						h.once(sfm, kindOfCall{method, key, size}, f.code)
					}
				}
			}
		})
	}
}

// kindOfCall is one row of the tables of this file.
type kindOfCall struct {
	method, key string
	size        int
}

func (h *house) request(k kindOfCall) *http.Request {
	var body io.Reader
	if k.size > 0 {
		body = bytes.NewReader(make([]byte, k.size))
	}
	r := h.ask(k.method, "/basis/x", body)
	r.Header.Set("X-Fault", "yes")
	if k.key != "" {
		r.Header.Set(k.key, "1")
	}
	return r
}

// once makes a call and checks that it arrived exactly once.
func (h *house) once(sfm *rawTCP, k kindOfCall, code string) {
	h.t.Helper()
	h.warm()
	before := sfm.arrivals()
	a := h.do(h.request(k))
	if got := a.Header.Get("Sidecar-Error"); got != code {
		h.t.Errorf("%+v: code %q, want %q", k, got, code)
	}
	arrived := sfm.got()[before:]
	if len(arrived) != 1 || arrived[0].method != k.method {
		h.t.Fatalf("%+v arrived %d times", k, len(arrived))
	}
	if k.key != "" && arrived[0].header.Get(k.key) != "1" {
		h.t.Errorf("%+v: the key did not arrive", k)
	}
}

func responseTimeout(t testing.TB, d time.Duration) func(*Options) {
	return func(o *Options) {
		base := NewTransport(TransportOptions{ResponseTimeout: d})
		t.Cleanup(base.CloseIdleConnections)
		o.Transport.(*dpop.Transport).Base = base
	}
}

// deafConn fails every write once its time has come, without writing a byte.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c *deafConn) Write(b []byte) (int, error) {
	if c.deaf.Load() {
		return 0, errors.New("nothing was written")
	}
	return c.Conn.Write(b)
}

// TestNothingWrittenIsRepaired is the safe side: a kept connection on which
// not a byte can be written is replaced, and the call arrives once; or it is
// refused as one that can be made again.
func TestNothingWrittenIsRepaired(t *testing.T) {
	sfm := rawServer(t, nil)
	for _, method := range everyMethod {
		for _, size := range everySize {
			var dials atomic.Int32
			var deaf, never atomic.Bool
			base := NewTransport(TransportOptions{ResponseTimeout: time.Second, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				if dials.Add(1) == 1 {
					return &deafConn{conn, &deaf}, err
				}
				return &deafConn{conn, &never}, err
			}})
			h := open(t, sfm.url, func(o *Options) { o.Transport.(*dpop.Transport).Base = base })
			h.upstreams["basis"].mutes.note() // no Expect: the second's wait is not what is tested
			h.warm()
			deaf.Store(true)
			before := sfm.arrivals()
			a := h.do(h.request(kindOfCall{method: method, size: size}))
			arrived := sfm.arrivals() - before
			code := a.Header.Get("Sidecar-Error")
			repaired := a.StatusCode == 200 && arrived == 1 && dials.Load() == 2
			refused := code == "upstream-unavailable" && arrived == 0 && a.Header.Get("Sidecar-Retryable") == "true"
			if !repaired && (!refused || size <= maxKept) {
				t.Errorf("%s, %d bytes: status %d %s, %d arrivals, %d dials", method, size, a.StatusCode, code, arrived, dials.Load())
			}
			base.CloseIdleConnections()
		}
	}
}

// TestIdleConnectionClosed shows that a connection that SFM closed while it was
// idle costs nothing.
func TestIdleConnectionClosed(t *testing.T) {
	var last net.Conn
	var mu sync.Mutex
	sfm := rawServer(t, func(c net.Conn, _ *bufio.Reader, _ request) bool {
		mu.Lock()
		last = c
		mu.Unlock()
		_, err := io.WriteString(c, emptyAnswer)
		return err == nil
	})
	h := open(t, sfm.url)
	for _, method := range everyMethod {
		h.warm()
		mu.Lock()
		last.Close()
		mu.Unlock()
		time.Sleep(50 * time.Millisecond) // the end must have been noticed; before that it is another test's case
		before := sfm.arrivals()
		if a := h.do(h.request(kindOfCall{method: method})); a.StatusCode != 200 || sfm.arrivals()-before != 1 {
			t.Errorf("%s: status %d, %d arrivals", method, a.StatusCode, sfm.arrivals()-before)
		}
	}
}

func TestUnreachable(t *testing.T) {
	h := open(t, "http://127.0.0.1:1") // a free port may be another test's by then
	for _, size := range everySize {
		h.refused(h.do(h.request(kindOfCall{method: "POST", size: size})), "upstream-unavailable", 502)
	}
}

func TestHintForPrescriptions(t *testing.T) {
	sfm := rawServer(t, func(net.Conn, *bufio.Reader, request) bool { return false })
	h := open(t, sfm.url)
	for path, special := range map[string]bool{
		"/basis/Patient/$sendMedication": true, "/basis/patient/%24sendmedication?x": true,
		"/basis/Patient/$getMedication": false, "/basis/$sendMedication/x": false,
	} {
		doc := h.refused(h.do(h.ask("POST", path, nil)), "upstream-outcome-unknown", 502)
		if got := doc.Hint != rows["upstream-outcome-unknown"].hint; got != special {
			t.Errorf("%s: hint %q", path, doc.Hint)
		}
	}
}

// TestNotOneOfOurConnections: where bytes can't be counted, they may have left.
func TestNotOneOfOurConnections(t *testing.T) {
	sfm := rawServer(t, func(net.Conn, *bufio.Reader, request) bool { return false })
	h := open(t, sfm.url, func(o *Options) { o.Transport.(*dpop.Transport).Base = &http.Transport{} })
	h.refused(h.get("/basis/x"), "upstream-outcome-unknown", 502)
	if fmt.Sprint(sfm.arrivals()) != "1" {
		t.Errorf("%d arrivals", sfm.arrivals())
	}
}
