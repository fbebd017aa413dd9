package proxy

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// patience is how long a body of unknown length may pause before it is taken
// for a stream.
const patience = 25 * time.Millisecond

// readEager reads a body of unknown length as long as it keeps coming. Many
// HTTP libraries send even a small body, all at once, in chunks without a
// length; such a body is kept like any other small one. A body that pauses, or
// is larger than maxKept, is not waited for: rest then is the whole of it, to
// be streamed. If rest is nil, kept is the whole body or err says why not.
func readEager(src io.Reader) (kept []byte, rest io.Reader, err error) {
	buf := make([]byte, 4<<10)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for have := 0; ; {
		got := make(chan read, 1)
		go func() {
			n, err := src.Read(buf[have:])
			got <- read{n, err}
		}()
		select {
		case <-timer.C:
			return nil, &resumed{head: bytes.NewReader(buf[:have]), got: got, buf: buf[have:], src: src}, nil
		case r := <-got:
			have += r.n
			switch {
			case errors.Is(r.err, io.EOF):
				return buf[:have], nil, nil
			case r.err != nil:
				return nil, nil, r.err
			}
		}
		switch have {
		case maxKept:
			return nil, io.MultiReader(bytes.NewReader(buf), src), nil
		case len(buf):
			buf = append(buf, make([]byte, min(len(buf), maxKept-len(buf)))...)
		}
	}
}

// read is what one Read returned.
type read struct {
	n   int
	err error
}

// resumed goes on where readEager stopped: with what it had, then with the
// read that was still waiting, then with the source itself.
type resumed struct {
	head *bytes.Reader
	got  chan read // nil once received
	buf  []byte    // where the waiting read puts its bytes
	src  io.Reader
	err  error // came with those bytes
}

func (s *resumed) Read(p []byte) (int, error) {
	if s.head.Len() > 0 {
		return s.head.Read(p)
	}
	if s.got != nil {
		r := <-s.got
		s.got, s.err = nil, r.err
		s.head = bytes.NewReader(s.buf[:r.n])
		if r.n > 0 {
			return s.head.Read(p)
		}
	}
	if s.err != nil {
		return 0, s.err
	}
	return s.src.Read(p)
}
