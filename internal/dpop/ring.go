package dpop

import (
	"context"
	"sync/atomic"
)

// Ring holds the key that new tokens are bound to, and the keys it replaced for as long as tokens may be bound to those.
// A token is proven with its own key, whichever is in use by then. Make one with [NewRing]; it is safe for concurrent
// use, and reading it waits for nobody.
type Ring struct{ held atomic.Pointer[held] }

// held is what a ring holds at one moment. It is never changed.
type held struct {
	keys        []*Key // that in use first
	thumbprints []string
}

// NewRing makes a ring; see [Ring.Replace].
func NewRing(current *Key, earlier ...*Key) *Ring {
	r := new(Ring)
	r.Replace(current, earlier...)
	return r
}

// Replace takes a key into use, and keeps these earlier ones, the latest first. All others are dropped.
func (r *Ring) Replace(current *Key, earlier ...*Key) {
	if current == nil {
		panic("BUG: a ring without a key in use")
	}
	h := &held{keys: append([]*Key{current}, earlier...)}
	for _, k := range h.keys {
		h.thumbprints = append(h.thumbprints, k.Thumbprint())
	}
	r.held.Store(h)
}

// Current is the key in use.
func (r *Ring) Current() *Key { return r.held.Load().keys[0] }

// Find is the key with a thumbprint, or nil if the ring does not hold it (any more).
func (r *Ring) Find(thumbprint string) *Key {
	for _, k := range r.held.Load().keys {
		if k.thumbprint == thumbprint {
			return k
		}
	}
	return nil
}

// Thumbprints are those of the keys held: that in use first, then the earlier ones. They must not be changed.
func (r *Ring) Thumbprints() []string { return r.held.Load().thumbprints }

// BoundTo is under what a request's context names the *Key that its token is bound to; see [WithKey]. It is there for
// contexts of one's own.
type BoundTo struct{}

// WithKey is a context whose requests have a token that is bound to k.
func WithKey(ctx context.Context, k *Key) context.Context {
	return context.WithValue(ctx, BoundTo{}, k)
}
