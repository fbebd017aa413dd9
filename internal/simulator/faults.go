package simulator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// webPage is what a load balancer in front of a server answers for it.
const webPage = "<!doctype html><title>503</title><h1>Service temporarily unavailable</h1>\n"

// pause waits the fault's delay; false when the client left meanwhile.
func (f Fault) pause(ctx context.Context) bool {
	if f.DelayMS <= 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(f.DelayMS) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f Fault) spoilsBefore() bool { return f.Reset || f.HTML || f.Status != 0 }

// spoil answers in place of the server: nothing was done.
func (f Fault) spoil(w http.ResponseWriter) {
	if f.Reset {
		resetConnection(w)
		return
	}
	body, media := "the simulator was told to fail\n", "text/plain; charset=utf-8"
	if f.HTML {
		body, media = webPage, "text/html; charset=utf-8"
	}
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may have left
}

// oversize is beyond every limit a careful client has for a token answer.
const oversize = 2<<20 + 1

// spoilAnswer sends a good answer badly: the work was done.
func (f Fault) spoilAnswer(w http.ResponseWriter, answer *bufferedAnswer) {
	switch {
	case f.DropAnswer:
		resetConnection(w)
		return
	case f.Truncate:
		answer.body.Truncate(answer.body.Len() / 2)
	case f.Oversize:
		whole := bytes.TrimSuffix(answer.body.Bytes(), []byte("}"))
		padded := append(bytes.Clone(whole), `,"padding":"`...)
		padded = append(padded, bytes.Repeat([]byte("x"), oversize)...)
		answer.body.Reset()
		answer.body.Write(append(padded, `"}`...))
	}
	answer.send(w)
}

// resetConnection ends the connection without an answer: by RST on TCP, by
// closing where the connection is of another kind.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		panic(http.ErrAbortHandler) // HTTP/2, or a recorder: what aborts most
	}
	if err != nil {
		return // the connection is already gone
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that Close sends RST; closing is all that is left anyway
	}
	_ = conn.Close()
}
