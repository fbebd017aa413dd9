package simulator

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"time"
)

// misbehave applies the call's fault if its moment has come, and reports whether the call is over with that. answer
// is nil before the work.
func (c *sfmCall) misbehave(moment string, answer *sfmAnswer) (over bool) {
	if c.fault.Kind == "" || c.fault.moment() != moment {
		return false
	}
	c.note(func(o *Operation) { o.Fault = c.fault.String() })
	if !c.wait(time.Duration(c.fault.DelayMS) * time.Millisecond) {
		c.breakOff("", false)
		return true
	}
	switch c.fault.Kind {
	case FaultStatus:
		c.send(c.faultStatus())
	case FaultGarbage:
		c.send(sfmAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {fhirType}}, body: garbage()})
	case FaultReset:
		c.breakOff("", true)
	case FaultClose:
		c.breakOff("", false)
	case FaultCutHeaders:
		c.breakOff("HTTP/1.1 20", false)
	case FaultResetHalf:
		c.sendHalf(answer)
	default: // FaultDelay: nothing more is wrong
		return false
	}
	return true
}

// wait reports false when the client left meanwhile: then nobody is there for an answer, and work that was not done
// yet is not done.
func (c *sfmCall) wait(delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

func (c *sfmCall) faultStatus() sfmAnswer {
	status := c.fault.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	answer := fhirAnswer(status, operationOutcome("exception", "the knobs ordered this status", ""))
	if c.fault.RetryAfterS > 0 {
		answer.header.Set("Retry-After", strconv.Itoa(c.fault.RetryAfterS))
	}
	return answer
}

// garbage is neither JSON nor text.
func garbage() []byte {
	b := make([]byte, 512)
	for i := range b {
		b[i] = byte(i*131 + 7)
	}
	return append([]byte(`{"resourceType":"Parameters","parameter":[{`), b...)
}

// breakOff ends the connection after the given bytes, by RST or by FIN.
func (c *sfmCall) breakOff(last string, reset bool) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 has no connection to give away
	}
	_, _ = io.WriteString(conn, last)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// sendHalf writes half of the answer under the header of the whole, then resets the connection.
func (c *sfmCall) sendHalf(answer *sfmAnswer) {
	if answer == nil {
		answer = &sfmAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {fhirType}}, body: make([]byte, 4096)}
	}
	c.note(func(o *Operation) { o.Status = answer.status })
	c.prepareHeader(*answer)
	if answer.stream == nil {
		c.w.Header().Set("Content-Length", strconv.Itoa(len(answer.body)))
	}
	c.w.WriteHeader(answer.status)
	if answer.stream == nil {
		_, _ = c.w.Write(answer.body[:len(answer.body)/2])
	} else {
		_, _ = answer.stream(&halfWriter{to: c.w, left: answer.size / 2})
	}
	_ = http.NewResponseController(c.w).Flush()
	c.breakOff("", true)
}

// halfWriter fails after so many bytes.
type halfWriter struct {
	to   io.Writer
	left int64
}

func (w *halfWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		n, _ := w.to.Write(p[:w.left])
		w.left = 0
		return n, io.ErrShortWrite
	}
	w.left -= int64(len(p))
	return w.to.Write(p)
}

// silence takes the connection away from net/http, which would send 100 Continue as soon as somebody reads the body,
// and puts a body and a writer in place that do not. Only a server that behaves needs trailers, so this one has none,
// and the connection ends with the answer.
func (c *sfmCall) silence() error {
	conn, buffered, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return fmt.Errorf("taking the connection: %w", err)
	}
	var body io.Reader = io.LimitReader(buffered, c.r.ContentLength)
	if c.r.ContentLength < 0 {
		body = httputil.NewChunkedReader(buffered)
	}
	c.r.Body = io.NopCloser(body)
	c.w = &silentWriter{conn: conn, buffered: buffered, header: http.Header{}}
	return nil
}

// silentWriter is a ResponseWriter over a bare connection.
type silentWriter struct {
	conn     net.Conn
	buffered *bufio.ReadWriter
	header   http.Header
	begun    bool
}

func (w *silentWriter) Header() http.Header { return w.header }

func (w *silentWriter) WriteHeader(status int) {
	if w.begun {
		return
	}
	w.begun = true
	w.header.Set("Connection", "close")
	w.header.Del("Trailer")
	_, _ = fmt.Fprintf(w.buffered, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = w.header.Write(w.buffered)
	_, _ = io.WriteString(w.buffered, "\r\n")
}

func (w *silentWriter) Write(p []byte) (int, error) { return w.buffered.Write(p) }

// Flush implements [http.Flusher].
func (w *silentWriter) Flush() { _ = w.buffered.Flush() }

// Hijack implements [http.Hijacker].
func (w *silentWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.conn, w.buffered, nil }

// finish ends a connection that was taken from net/http. It does nothing to others.
func (c *sfmCall) finish() {
	if w, ok := c.w.(*silentWriter); ok {
		w.Flush()
		_ = w.conn.Close()
	}
}
