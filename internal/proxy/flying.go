package proxy

import (
	"context"
	"sync"
)

// flying counts the calls under way, so that none is dropped at the end: a
// call whose caller has left may still be waiting for SFM.
type flying struct {
	mu   sync.Mutex // guards all below
	n    int
	idle chan struct{} // closed when n falls to zero; nil when nobody waits
}

// enter counts a call in, unless there are already most.
func (f *flying) enter(most int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n >= most {
		return false
	}
	f.n++
	return true
}

func (f *flying) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// Wait returns when no call is under way, or with ctx's error. Calls that come
// in meanwhile are waited for too: stop taking them first.
func (p *Proxy) Wait(ctx context.Context) error {
	f := &p.flying
	f.mu.Lock()
	if f.n == 0 {
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
