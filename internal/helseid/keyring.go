package helseid

import (
	"sync"
	"time"
)

// KeyRing holds the client key in use and the one it replaced. A new key may reach us before HelseID knows it, or be
// the wrong one altogether; then the old one goes on. Safe for concurrent use.
type KeyRing struct {
	mu         sync.Mutex // guards all
	current    *ClientKey
	other      *ClientKey // the one replaced, or the one set aside; may be nil
	worked     map[*ClientKey]bool
	generation int       // counts Replace
	since      time.Time // when current came into use
}

// NewKeyRing starts with one key.
func NewKeyRing(k *ClientKey) *KeyRing {
	return &KeyRing{current: k, worked: make(map[*ClientKey]bool), since: time.Now()}
}

// Current is the key that signs now.
func (r *KeyRing) Current() *ClientKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// InUse is the key that signs now, and since when it does.
func (r *KeyRing) InUse() (k *ClientKey, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current, r.since
}

// Replace takes a new key into use and keeps the old one at hand. The same key again (same thumbprint, kid and alg)
// changes nothing but when it ends, unless it had been set aside: then it gets another chance.
func (r *KeyRing) Replace(k *ClientKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.thumbprint == r.current.thumbprint && k.kid == r.current.kid && k.alg == r.current.alg {
		r.current.notAfter.Store(k.notAfter.Load())
		return
	}
	old := r.current
	r.worked = map[*ClientKey]bool{old: r.worked[old]}
	r.current, r.other, r.since = k, old, time.Now()
	r.generation++
}

// use returns the key to sign with and the generation it belongs to.
func (r *KeyRing) use() (*ClientKey, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current, r.generation
}

// accepted notes that HelseID took an assertion by k.
func (r *KeyRing) accepted(k *ClientKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k == r.current || k == r.other {
		r.worked[k] = true
	}
}

// rejected notes that HelseID answered invalid_client to k. It reports whether asking again at once is worth it: a
// key that worked is now in use instead. setAside is then the new key that was put away, nil if another call did so.
// When neither key is known to work they take turns, one for each probe.
func (r *KeyRing) rejected(k *ClientKey) (again bool, setAside *ClientKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k != r.current {
		return r.worked[r.current], nil
	}
	delete(r.worked, k)
	if r.other == nil {
		return false, nil
	}
	r.current, r.other, r.since = r.other, k, time.Now()
	if r.worked[r.current] {
		return true, k
	}
	return false, nil
}
