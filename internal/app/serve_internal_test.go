package app

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A sidecar that no longer hears on one of its listeners ends, so that whoever
// started it can start it anew.
func TestListenerThatFailsEndsAll(t *testing.T) {
	s := newServer(slog.New(slog.DiscardHandler), 0, time.Second)
	s.wait, s.cutOff = func(context.Context) error { return nil }, func() {}
	var opened []net.Listener
	for range 2 {
		l, err := openOne(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.add(l, http.NotFoundHandler(), new(callers))
		opened = append(opened, l...)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	if err := opened[0].Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended as if it had been told to")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on without one of its listeners")
	}
	if conn, err := net.Dial("tcp", opened[1].Addr().String()); err == nil {
		conn.Close()
		t.Error("the other listener is still open")
	}
}

// queue is a listener whose connections are put in by the test.
type queue struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.gone:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error   { q.once.Do(func() { close(q.gone) }); return nil }
func (q *queue) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// ask makes a call on a connection of its own, which must not have to wait; the
// answer is empty when nobody takes it.
func (q *queue) ask(t *testing.T) string {
	ours, theirs := net.Pipe()
	defer ours.Close()
	select {
	case q.conns <- theirs:
	case <-q.gone:
		return ""
	}
	if err := ours.SetDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = ours.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) }()
	r := bufio.NewReader(ours)
	var answer strings.Builder
	for {
		line, err := r.ReadString('\n')
		answer.WriteString(line)
		if err != nil || strings.TrimSpace(line) == "" {
			return answer.String()
		}
	}
}

// The end in its order: connections end with their answer from its beginning, new
// calls are refused after the minimum, and what waits to be accepted then is still
// answered before the listeners close.
func TestOrderOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minimum = time.Second
		s := newServer(slog.New(slog.DiscardHandler), minimum, time.Minute)
		s.wait, s.cutOff = func(context.Context) error { return nil }, func() {}
		q := &queue{conns: make(chan net.Conn), gone: make(chan struct{})}
		s.add([]net.Listener{q}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if s.draining.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}), new(callers))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx) }()
		expect := func(status, connection string) {
			t.Helper()
			got := q.ask(t)
			if !strings.HasPrefix(got, "HTTP/1.1 "+status) || strings.Contains(got, "Connection: close") != (connection == "close") {
				t.Errorf("want %s, %s: %q", status, connection, got)
			}
		}
		expect("200", "keep")
		stop()
		synctest.Wait()
		expect("200", "close")
		time.Sleep(minimum - time.Millisecond) // in a bubble: lets that time pass
		expect("200", "close")
		time.Sleep(lastLook / 2)
		expect("503", "close")
		begun := time.Now()
		if err := <-ended; err != nil || time.Since(begun) > time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if got := q.ask(t); got != "" {
			t.Errorf("after the end: %q", got)
		}
	})
}

// A caller that never sends what it announced does not hold up the end of an idle
// process.
func TestUnsentRequestsAtTheEnd(t *testing.T) {
	for name, request := range map[string]string{
		"a body":                 "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
		"a body, a large answer": "POST /large HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
		"half a header":          "POST / HTTP/1.1\r\nHost: loc",
		"nothing":                "",
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { unsentAtTheEnd(t, request) }) })
	}
}

func unsentAtTheEnd(t *testing.T, request string) {
	var log bytes.Buffer
	s := newServer(slog.New(slog.NewTextHandler(&log, nil)), 0, time.Minute)
	s.wait, s.cutOff = func(context.Context) error { return nil }, func() { t.Error("cut off") }
	q := &queue{conns: make(chan net.Conn), gone: make(chan struct{})}
	s.add([]net.Listener{q}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(make([]byte, 1<<16))
		}
	}), new(callers))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	ours, theirs := net.Pipe()
	defer ours.Close()
	q.conns <- theirs
	_, _ = ours.Write([]byte(request))
	go func() { _, _ = io.Copy(io.Discard, ours) }()
	synctest.Wait()
	begun := time.Now()
	stop()
	if err := <-ended; err != nil || time.Since(begun) > 2*time.Second {
		t.Errorf("the end took %v, %v", time.Since(begun), err)
	}
	if strings.Contains(log.String(), "cut off") {
		t.Errorf("log %s", &log)
	}
}

// A slow caller gets all of its answer, though the call itself has ended.
func TestSlowReaderAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(slog.New(slog.DiscardHandler), 0, time.Minute)
		s.wait, s.cutOff = func(context.Context) error { return nil }, func() {}
		q := &queue{conns: make(chan net.Conn), gone: make(chan struct{})}
		s.add([]net.Listener{q}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("all of it")) }), new(callers))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx) }()
		ours, theirs := net.Pipe()
		defer ours.Close()
		q.conns <- theirs
		_, _ = ours.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		synctest.Wait()
		stop()
		time.Sleep(10 * time.Second) // in a bubble: lets that time pass
		if got, err := io.ReadAll(ours); err != nil || !strings.HasSuffix(string(got), "all of it") {
			t.Errorf("%q, %v", got, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
