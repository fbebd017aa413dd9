package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// request is one that arrived at a rawTCP server, read to its end.
type request struct {
	method string
	header http.Header
	body   int64
	nth    int // on its connection, from 1
	whole  bool
	last   bool // on its connection, as the sender said
}

// rawTCP is a server that counts what arrives, whatever becomes of the answer.
type rawTCP struct {
	url string
	// before, if not nil, runs when the headers are read and the body is not;
	// false ends the connection.
	before func(net.Conn, http.Header) bool
	mu     sync.Mutex
	all    []request
}

func (s *rawTCP) got() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.all...)
}

// arrivals counts the requests whose first line arrived.
func (s *rawTCP) arrivals() int { return len(s.got()) }

// rawServer serves each request with answer, which says whether to go on; nil
// answers 200 always. It never sends 100 Continue.
func rawServer(t testing.TB, answer func(net.Conn, *bufio.Reader, request) bool) *rawTCP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if answer == nil {
		answer = func(conn net.Conn, _ *bufio.Reader, _ request) bool {
			_, err := io.WriteString(conn, emptyAnswer)
			return err == nil
		}
	}
	s := &rawTCP{url: "http://" + l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, answer)
		}
	}()
	return s
}

func (s *rawTCP) serve(conn net.Conn, answer func(net.Conn, *bufio.Reader, request) bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for nth := 1; ; nth++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		got := request{method: r.Method, header: r.Header, nth: nth, last: r.Close}
		s.mu.Lock()
		i := len(s.all)
		s.all = append(s.all, got)
		s.mu.Unlock()
		if s.before != nil && !s.before(conn, r.Header) {
			return
		}
		got.body, err = io.Copy(io.Discard, r.Body)
		got.whole = err == nil
		s.mu.Lock()
		s.all[i] = got
		s.mu.Unlock()
		if !got.whole || !answer(conn, in, got) {
			return
		}
	}
}

// cut ends a connection with a reset instead of an orderly end.
func cut(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// warm makes one good call, so that the next one finds a kept connection.
func (h *house) warm() {
	h.t.Helper()
	if a := h.get("/basis/warm"); a.StatusCode != 200 {
		h.t.Fatalf("warming up: status %d", a.StatusCode)
	}
	time.Sleep(2 * time.Millisecond) // the connection goes back to the pool after the answer
}
