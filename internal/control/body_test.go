package control

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are made by the test.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A caller who owes the rest of a body does not hold the call for ever.
func TestBodyThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := make(chan error, 1)
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			refused <- decode(w, r, new(creation))
			w.WriteHeader(http.StatusBadRequest)
		})}
		conns := make(pipes, 1)
		go func() { _ = server.Serve(conns) }()
		ours, theirs := net.Pipe()
		conns <- theirs
		begun := time.Now()
		if _, err := ours.Write([]byte("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")); err != nil {
			t.Fatal(err)
		}
		err := <-refused
		own, ok := errors.AsType[*Error](err)
		if !ok || own.Code() != "request-invalid" || !strings.Contains(own.Detail(), "10s") || time.Since(begun) != bodyTime {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		told, err := io.ReadAll(ours) // to the end of the connection
		if !strings.HasPrefix(string(told), "HTTP/1.1 400 ") || err != nil || time.Since(begun) > bodyTime+time.Second {
			t.Errorf("after %v: %q, %v", time.Since(begun), told, err)
		}
		_ = ours.Close()
		close(conns)
		_ = server.Close()
		synctest.Wait()
	})
}
