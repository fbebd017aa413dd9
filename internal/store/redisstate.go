package store

import (
	"sync"
	"time"
)

// State is how it stands with a shared store, as its own calls have shown: nobody is
// asked for it.
type State struct {
	// Kind is "server", "sentinel" or "cluster"; TLS is whether it is reached by it.
	Kind string
	TLS  bool
	// Resting is since when it, or a node of a cluster, is left alone for moments
	// because it fails; zero while it is not.
	Resting time.Time
	// Answered is when a call last went well, Failed when one last did not, and why;
	// zero: never. A call that rest refused says nothing of its own.
	Answered, Failed time.Time
	Reason           Reason
}

// State tells how it stands with the store.
func (r *Redis) State() State {
	s := r.health.now()
	s.Kind, s.TLS = r.engine.kind, r.engine.tls
	r.mu.Lock()
	defer r.mu.Unlock()
	for server, g := range r.breakers {
		since := g.restingSince()
		if since.IsZero() || server != "" && r.engine.replaced(r.life, server, g.asked) {
			continue // nobody asks a server any more that was replaced, so its rest would not end
		}
		if s.Resting.IsZero() || since.Before(s.Resting) {
			s.Resting = since
		}
	}
	return s
}

// guard is the breaker of a server, and a name that it was asked for last.
type guard struct {
	breaker
	asked string
}

func (r *Redis) breaker(server, name string) *breaker {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.breakers[server]
	if g == nil {
		g = new(guard)
		r.breakers[server] = g
	}
	g.asked = name
	return &g.breaker
}

// health remembers how calls ended.
type health struct {
	mu    sync.Mutex // guards state
	state State
}

func (h *health) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Answered = time.Now()
}

func (h *health) failed(why Reason) {
	if why == Resting || why == Cancelled {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Failed, h.state.Reason = time.Now(), why
}

func (h *health) now() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// unopened tells of an entry that was there and could not be opened.
func (r *Redis) unopened(err error) {
	if err != nil {
		r.health.failed(Sealed)
		r.o.Observe("open", Sealed, 0)
	}
}
