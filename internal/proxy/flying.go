package proxy

import (
	"context"
	"log/slog"
	"sync"
)

// flying holds the calls under way, so that none is dropped at the end: a call
// whose caller has left may still be waiting for SFM.
type flying struct {
	mu    sync.Mutex // guards all below
	calls map[*call]struct{}
	idle  chan struct{} // closed when no call is left; nil when nobody waits
}

// enter counts a call in, unless there are already most.
func (f *flying) enter(c *call, most int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) >= most {
		return false
	}
	if f.calls == nil {
		f.calls = make(map[*call]struct{})
	}
	f.calls[c] = struct{}{}
	return true
}

func (f *flying) leave(c *call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.calls, c)
	if len(f.calls) == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// Wait returns when no call is under way, or with ctx's error. Calls that come
// in meanwhile are waited for too: stop taking them first.
func (p *Proxy) Wait(ctx context.Context) error {
	f := &p.flying
	f.mu.Lock()
	if len(f.calls) == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CutOff logs every call that is still under way when the process ends without
// it: what SFM made of it is not known.
func (p *Proxy) CutOff() {
	f := &p.flying
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.calls {
		// The rest of a call belongs to its own goroutine, which is still at it.
		p.log.Warn("call cut off, its outcome is not known", slog.String("request_id", c.id), slog.String("method", label(c.in.Method)))
	}
}
