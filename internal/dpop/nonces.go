package dpop

import "sync"

const (
	// maxOrigins bounds what is remembered. A sidecar talks to a handful of servers; one that is forgotten costs one challenge.
	maxOrigins = 64
	// maxNonce is the longest nonce, in bytes, that is repeated to a server: it travels inside a header.
	maxNonce = 2048
)

// Nonces remembers the last nonce of each server (RFC 9449 sections 8 and 9). The zero value is ready for use, by many
// goroutines at once. What it holds is bounded, whatever the servers send.
type Nonces struct {
	mu   sync.RWMutex
	last map[string]string // by origin; guarded by mu
}

// Last gives the nonce that the server at origin sent last, or "".
func (n *Nonces) Last(origin string) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.last[origin]
}

// Learn notes a nonce that came from the server at origin. It ignores what is empty, longer than 2048 bytes, or not a
// nonce by the grammar of RFC 9449 section 8.1; the one before then stays.
func (n *Nonces) Learn(origin, nonce string) {
	if !validNonce(nonce) || n.Last(origin) == nonce { // most answers repeat the last one: no need to stop the readers
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil {
		n.last = make(map[string]string)
	}
	if _, known := n.last[origin]; !known && len(n.last) >= maxOrigins {
		for other := range n.last { // any of them
			delete(n.last, other)
			break
		}
	}
	n.last[origin] = nonce
}

// validNonce reports whether nonce is 1*NQCHAR: visible ASCII without quotation mark and backslash.
func validNonce(nonce string) bool {
	if nonce == "" || len(nonce) > maxNonce {
		return false
	}
	for i := range len(nonce) {
		if c := nonce[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
