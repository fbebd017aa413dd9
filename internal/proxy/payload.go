package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// maxKept is the largest body that is kept for a second attempt, in bytes.
const maxKept = 64 << 10

// payload is a request's body and its rule for being sent again:
//
//   - none, or kept: again as often as needed;
//   - streamed: again only as long as not a byte of it has been asked for.
type payload struct {
	kept   []byte
	stream *onceBody // nil: none or kept
	// expect is true when the body is announced with Expect: 100-continue, so
	// that SFM's 401 can come before the body has left. ours says whose wish
	// that was.
	expect bool
	ours   bool
}

// keptWithin is how long a body that is kept may take to come in whole.
const keptWithin = time.Minute

// payloadOf decides how the body travels, and reads it when it is to be kept.
// That comes before the token, so that a caller that is slow with its body does
// not age the token.
//
// A body whose caller waits to be asked for it is streamed, whatever its size,
// as long as the upstream is one that asks. So is one with trailers.
func (p *Proxy) payloadOf(c *call) (payload, error) {
	r, mute := c.in, c.upstream.mutes.now()
	if r.ContentLength == 0 {
		return payload{}, nil
	}
	asks := r.Header.Get("Expect") != ""
	streamed := payload{stream: newOnceBody(r.Body, r), expect: !mute, ours: !asks}
	if r.ContentLength > maxKept || len(r.Trailer) > 0 || asks && !mute {
		return streamed, nil
	}
	begun := time.Now()
	defer func() { c.watch.caller += time.Since(begun) }()
	// What is kept is small. A caller that stalls would hold one of the calls that
	// may be under way; a recorder in a test knows no deadline.
	control := http.NewResponseController(&c.w)
	_ = control.SetReadDeadline(begun.Add(keptWithin))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	if r.ContentLength > 0 {
		kept := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, kept)
		return payload{kept: kept}, bodyFault(err)
	}
	kept, rest, err := readEager(r.Body)
	if rest == nil {
		return payload{kept: kept}, bodyFault(err)
	}
	streamed.stream.src = rest
	return streamed, nil
}

// newOnceBody is the body of a call, to be read from src.
func newOnceBody(src io.Reader, r *http.Request) *onceBody {
	return &onceBody{src: src, trailer: r.Trailer}
}

// attach gives a request its body. For net/http a request with a nil body, or
// with GetBody, is replayable, and it resends such a GET on a connection that
// died after the write. So the methods it thinks repeatable get a body that is
// empty but not nil, and never GetBody. Any other kept body gets GetBody: with
// it, net/http repairs a connection on which nothing was written, and no more.
func (b *payload) attach(r *http.Request) {
	r.Body, r.GetBody = nil, nil // ReverseProxy's wrapper goes: a payload outlives no call by itself
	switch {
	case b.stream != nil:
		r.Body = b.stream
	case len(b.kept) > 0:
		r.ContentLength, r.TransferEncoding = int64(len(b.kept)), nil
		r.Body = io.NopCloser(bytes.NewReader(b.kept))
		if !repeatable(r.Method) {
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.kept)), nil }
		}
	case repeatable(r.Method):
		r.Body, r.ContentLength, r.TransferEncoding = empty{}, 0, nil
	default:
		r.ContentLength, r.TransferEncoding = 0, nil
	}
	delete(r.Header, "Expect")
	if b.expect {
		// Close has net/http leave the body unsent when the answer comes
		// first; on a connection that is to be kept it would send it still.
		r.Header["Expect"] = []string{"100-continue"}
		r.Close = true
	}
}

// again says whether the body can be sent once more, and ends the former
// attempt's right to read it: that may go on reading after it has returned.
func (b *payload) again() bool {
	if b.stream == nil {
		return true
	}
	if b.stream.end() {
		return false
	}
	b.stream = &onceBody{src: b.stream.src, trailer: b.stream.trailer}
	return true
}

// repeatable are the methods that net/http resends by itself.
func repeatable(method string) bool {
	switch method {
	case "", "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// empty is a body without bytes that is not nil.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }
func (empty) Close() error             { return nil }

// errTaken ends the reading of an attempt that was given up.
var errTaken = errors.New("the body belongs to another attempt")

// onceBody is a streamed body that one attempt may read. Its Close does
// nothing: the server owns the incoming body.
type onceBody struct {
	src     io.Reader
	trailer http.Header // filled when src ends

	mu   sync.Mutex // guards gone and read
	gone bool
	read bool

	whole  atomic.Bool // src has ended
	failed atomic.Pointer[error]
}

func (b *onceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return 0, errTaken
	}
	b.read = true
	b.mu.Unlock()
	n, err := b.src.Read(p)
	switch {
	case err == io.EOF:
		scrubRequest(b.trailer) // what came in the trailers must not pass for ours either
		b.whole.Store(true)
	case err != nil:
		b.failed.Store(&err)
	}
	return n, err
}

// Close leaves the incoming body to the server.
func (b *onceBody) Close() error { return nil }

// end ends the right to read, and says whether any of the body was asked for.
func (b *onceBody) end() (touched bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	return b.read
}

// touched says whether any of it has been asked for.
func (b *onceBody) touched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// errLeft says that the caller is gone, or its body broke off: there is nobody
// to answer.
var errLeft = errors.New("the caller left")

// bodyFault is what an error of the caller's body means.
func bodyFault(err error) error {
	var connection net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled), errors.As(err, &connection):
		return errLeft
	}
	return &refusal{code: "request-invalid", detail: "the body can't be read to its end", err: err}
}

// answerBody watches SFM's answer: whether it breaks off, and what its
// trailers hold.
type answerBody struct {
	io.ReadCloser
	res *http.Response
	c   *call
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.outcomeCopy.take(p[:n], err)
	switch {
	case err == io.EOF:
		scrubAnswer(b.res.Trailer)
	case err != nil && b.c.in.Context().Err() == nil:
		b.c.broke = true
	}
	return n, err
}

// bufferSize is that of one read of an answer's body.
const bufferSize = 32 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// buffers lends ReverseProxy its copying buffers.
type buffers struct{}

func (buffers) Get() []byte  { return bufferPool.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }
