package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// leaver is an EPJ that can leave.
func (h *house) leaver(method, headers, body string) net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "%s /basis/x HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n%s", method, tenantLines, headers, body)
	return conn
}

func TestCallerThatLeaves(t *testing.T) {
	large := strings.Repeat("x", maxKept+10)
	tests := []struct {
		name, method, headers, body string
		finishes                    bool
	}{
		{name: "GET", method: "GET"},
		{name: "HEAD", method: "HEAD"},
		{name: "POST without a body", method: "POST", headers: "Content-Length: 0\r\n", finishes: true},
		{name: "POST", method: "POST", headers: "Content-Length: 4\r\n", body: "body", finishes: true},
		{name: "DELETE", method: "DELETE", finishes: true},
		{name: "large POST", method: "POST", headers: fmt.Sprintf("Content-Length: %d\r\n", len(large)), body: large, finishes: true},
		{name: "large POST, half sent", method: "POST", headers: fmt.Sprintf("Content-Length: %d\r\n", 2*len(large)), body: large},
		{name: "chunks, half sent", method: "POST", headers: "Transfer-Encoding: chunked\r\n", body: "4\r\nbody\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			arrived, over, goOn := make(chan bool, 1), make(chan bool, 1), make(chan bool)
			h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
				half := strings.Contains(tt.name, "half")
				if half {
					r.Body.Read(make([]byte, 1))
				} else {
					io.Copy(io.Discard, r.Body)
				}
				arrived <- true
				if half {
					_, err := io.Copy(io.Discard, r.Body)
					over <- err != nil
					return
				}
				select {
				case <-r.Context().Done():
					over <- true
				case <-goOn:
					over <- false
				}
				w.WriteHeader(201)
			}))
			conn := h.leaver(tt.method, tt.headers, tt.body)
			<-arrived
			conn.Close()
			if tt.finishes {
				h.mustWait(t)
				close(goOn)
			}
			if aborted := <-over; aborted == tt.finishes {
				t.Errorf("aborted: %v", aborted)
			}
			if c := h.events.done(t, 1); c.Status != statusLeft {
				t.Errorf("reported %+v", c)
			}
			eventually(t, func() bool { return h.Wait(t.Context()) == nil && h.log.String() != "" })
			log := h.log.String()
			if got := strings.Contains(log, `"msg":"call finished after its caller left"`) && strings.Contains(log, `"sfm_status":201`); got != tt.finishes {
				t.Errorf("log %s", log)
			}
		})
	}
}

// mustWait checks that draining waits for a call whose caller has left.
func (h *house) mustWait(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Wait(ctx); err == nil {
		t.Error("nobody waits for the call")
	}
}

// TestCallerLeavesBeforeTheToken: nothing has been sent, and nothing is.
func TestCallerLeavesBeforeTheToken(t *testing.T) {
	sfm := rawServer(t, nil)
	h := open(t, sfm.url)
	asked := make(chan bool)
	h.tokens.onToken = func(ctx context.Context) { close(asked); <-ctx.Done() }
	conn := h.leaver("POST", "Content-Length: 4\r\n", "body")
	<-asked
	conn.Close()
	if c := h.events.done(t, 1); c.Status != statusLeft || h.events.lastRefusal() != "" {
		t.Errorf("reported %+v, refusal %q", c, h.events.lastRefusal())
	}
	if sfm.arrivals() != 0 {
		t.Error("it was sent nevertheless")
	}
}

// TestCallerLeavesWhileDialling: the same, one step later.
func TestCallerLeavesWhileDialling(t *testing.T) {
	dialling := make(chan bool)
	h := open(t, "http://127.0.0.1:1", withDialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	conn := h.leaver("POST", "Content-Length: 4\r\n", "body")
	<-dialling
	conn.Close()
	if c := h.events.done(t, 1); c.Status != statusLeft {
		t.Errorf("reported %+v", c)
	}
}

// TestNoSecondAttemptForNobody: a caller that left gets no second attempt.
func TestNoSecondAttemptForNobody(t *testing.T) {
	arrived, goOn := make(chan bool, 2), make(chan bool)
	sfm := rawServer(t, func(c net.Conn, _ *bufio.Reader, _ request) bool {
		arrived <- true
		<-goOn
		io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: "+nonceWanted+"\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	h := open(t, sfm.url)
	conn := h.leaver("POST", "Content-Length: 4\r\n", "body")
	<-arrived
	conn.Close()
	time.Sleep(50 * time.Millisecond) // the server must have noticed; without it the test could pass for the wrong reason only
	close(goOn)
	h.events.done(t, 1)
	if n := sfm.arrivals(); n != 1 {
		t.Errorf("%d arrivals", n)
	}
}

// TestCallerLeavesDuringTheAnswer ends the upstream call at once.
func TestCallerLeavesDuringTheAnswer(t *testing.T) {
	over := make(chan bool)
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(over)
	}))
	conn := h.leaver("POST", "Content-Length: 4\r\n", "body")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-over
	h.events.done(t, 1)
}

func TestMalformedChunks(t *testing.T) {
	sfm := rawServer(t, nil)
	h := open(t, sfm.url)
	a := h.raw("POST", "POST /basis/x HTTP/1.1\r\nHost: localhost\r\n"+tenantLines+"Transfer-Encoding: chunked\r\n\r\nnot a length\r\n")
	h.refused(a, "request-invalid", 400)
	if sfm.arrivals() != 0 {
		t.Error("it was sent")
	}
}

// TestHalfClosedCallerGetsNoGoodAnswer: a handler that returns without a word
// has answered 200.
func TestHalfClosedCallerGetsNoGoodAnswer(t *testing.T) {
	sfm := rawServer(t, nil)
	h := open(t, sfm.url)
	for _, headers := range []string{"Content-Length: 8\r\n", fmt.Sprintf("Content-Length: %d\r\n", 2*maxKept), "Transfer-Encoding: chunked\r\n"} {
		conn := h.leaver("POST", headers, "4\r\n..")
		conn.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(conn); strings.HasPrefix(string(got), "HTTP/1.1 2") {
			t.Errorf("%q was answered", headers)
		}
	}
}

func TestTryOfACallerThatLeft(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	tests := []struct {
		name  string
		try   *try
		after bool // it goes on
	}{
		{"nothing sent", &try{}, false},
		{"being sent whole", &try{conn: &countingConn{}}, true},
		{"being sent whole, uncounted", &try{other: true}, true},
		{"its body still coming", &try{conn: &countingConn{}, stream: &onceBody{}}, false},
		{"being answered", &try{conn: &countingConn{}, done: true}, false},
	}
	for _, tt := range tests {
		cancelled := false
		tt.try.cancel = func() { cancelled = true }
		if tt.try.callerLeft(); cancelled == tt.after {
			t.Errorf("%s: cancelled %v", tt.name, cancelled)
		}
	}
	gone := try{left: true}
	gone.gotConn(httptrace.GotConnInfo{Conn: here})
	if _, err := here.Write([]byte("x")); err == nil {
		t.Error("a connection that came too late can still be written on")
	}
}

// TestOutcomeOfACallWithoutCaller: that nobody waits for the outcome any more
// does not make it known.
func TestOutcomeOfACallWithoutCaller(t *testing.T) {
	arrived, goOn := make(chan bool, 1), make(chan bool)
	sfm := rawServer(t, func(net.Conn, *bufio.Reader, request) bool {
		arrived <- true
		<-goOn
		return false // the connection closes without an answer
	})
	h := open(t, sfm.url)
	conn := h.leaver("POST", "Content-Length: 4\r\n", "body")
	<-arrived
	conn.Close()
	h.mustWait(t)
	h.CutOff()
	if log := h.log.String(); !strings.Contains(log, `"msg":"call cut off, its outcome is not known"`) || !strings.Contains(log, `"method":"POST"`) {
		t.Errorf("what is cut off is not told of: %s", log)
	}
	close(goOn)
	if c := h.events.done(t, 1); c.Status != statusLeft {
		t.Errorf("reported %+v", c)
	}
	eventually(t, func() bool { return strings.Contains(h.log.String(), `"msg":"call failed after its caller left"`) })
	if log := h.log.String(); !strings.Contains(log, `"code":"upstream-outcome-unknown"`) || h.events.lastRefusal() != "" {
		t.Errorf("log %s", log)
	}
}
