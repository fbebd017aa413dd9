package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
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
