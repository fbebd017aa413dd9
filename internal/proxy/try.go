package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// try is one attempt: which connection it got, what that had written before,
// and what becomes of it when the caller leaves.
//
// A caller that leaves ends a GET or HEAD at once, and any other call as long
// as its body is still coming or nothing of it has been sent. A call that is
// being sent whole is let finish: SFM will do the work, and its outcome belongs
// in the log. So those calls run in a context that is detached from the
// caller's. It is made here, below ReverseProxy: given a context that can't
// end, ReverseProxy would listen to http.CloseNotifier and end the call anyway.
type try struct {
	stream *onceBody   // the body if it is streamed
	expect bool        // it was announced with Expect
	until  time.Time   // when the token may no longer be sent; zero: never
	begun  time.Time   // when SFM's time began
	spoke  atomic.Bool // 100 Continue came
	cancel context.CancelFunc
	stop   func() bool

	mu     sync.Mutex // guards all below
	conn   *countingConn
	other  bool // a connection that does not count
	reused bool
	before int64 // what conn had written before this
	left   bool  // the caller is gone
	stale  bool  // the token grew too old while a connection was made
	done   bool  // SFM's headers are there
}

// endsWithCaller says which calls nobody misses when their caller has left.
func endsWithCaller(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// context is the one the attempt runs in.
func (t *try) context(r *http.Request) context.Context {
	ctx := r.Context()
	if !endsWithCaller(r.Method) {
		caller := ctx
		ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
		t.stop = context.AfterFunc(caller, t.callerLeft)
	}
	return t.trace(ctx)
}

// trace has net/http tell of the attempt's connection.
func (t *try) trace(ctx context.Context) context.Context {
	trace := &httptrace.ClientTrace{GotConn: t.gotConn}
	if t.expect {
		trace.Got100Continue = func() { t.spoke.Store(true) }
	}
	return httptrace.WithClientTrace(ctx, trace)
}

// gotConn runs when a connection is at hand, before anything is written on it.
// If the caller has left meanwhile, or the token has grown too old, nothing shall
// be.
func (t *try) gotConn(info httptrace.GotConnInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = counting(info.Conn)
	t.other, t.reused = t.conn == nil, info.Reused
	if t.conn != nil {
		t.before = t.conn.written.Load()
	}
	if info.Reused {
		t.begun = time.Now()
	}
	t.stale = !t.until.IsZero() && time.Now().After(t.until)
	if t.left || t.stale {
		info.Conn.Close()
	}
}

// tooOld says that nothing was sent because the token had grown too old.
func (t *try) tooOld() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stale && !t.left
}

// callerLeft ends the attempt, unless the call is being sent whole.
func (t *try) callerLeft() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = true
	sending := t.conn != nil || t.other
	if t.done || !sending || t.stream != nil && !t.stream.whole.Load() {
		t.cancel()
	}
}

// answered notes that SFM's headers are there, and whether the caller is too:
// from now on the attempt ends with it.
func (t *try) answered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = true
	return !t.left
}

// wrote says whether a byte of the request may have left. On a connection that
// does not count, it may.
func (t *try) wrote() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.other || t.conn != nil && t.conn.written.Load() > t.before
}

// neverBegan says that a kept connection was dead before a byte was written.
func (t *try) neverBegan() bool {
	wrote := t.wrote()
	t.mu.Lock()
	defer t.mu.Unlock()
	return !wrote && t.conn != nil && t.reused
}

// release frees what the last attempt holds, and ends its right to read.
func (c *call) release() {
	if c.try != nil && c.try.stream != nil {
		c.try.stream.end()
	}
	if c.try != nil && c.try.stop != nil {
		c.try.stop()
		c.try.cancel()
	}
}

// countingConn counts what it has written, so that a failed call can be told
// from one that was never sent. Beneath TLS it counts TLS's bytes, all of
// which follow the handshake that happens before a request gets it.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

// Write counts what the connection took, even of a write that failed.
func (c *countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

// counting finds the counter in a connection, or nil.
func counting(conn net.Conn) *countingConn {
	for {
		switch c := conn.(type) {
		case *countingConn:
			return c
		case *tls.Conn:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// silenceLasts is how long an origin is taken for one that does not answer
// Expect: 100-continue. It ends, since it may have been slow just once.
const silenceLasts = 10 * time.Minute

// silence remembers an origin's last silence.
type silence struct {
	until atomic.Int64 // Unix nanoseconds
}

func (s *silence) note()     { s.until.Store(time.Now().Add(silenceLasts).UnixNano()) }
func (s *silence) now() bool { return time.Now().UnixNano() < s.until.Load() }
