package simulator

import (
	"slices"
	"sync"
)

// sfmNonces are the nonces SFM hands out when the knob asks for them (RFC 9449 section 9).
type sfmNonces struct {
	mu     sync.Mutex
	nonces []string // newest first; guarded by mu
	spent  int      // accepted calls under the newest; guarded by mu
}

func newSFMNonces() *sfmNonces { return &sfmNonces{nonces: []string{randomHex(16)}} }

func (n *sfmNonces) newest() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nonces[0]
}

func (n *sfmNonces) good(nonce string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.nonces, nonce)
}

// spend counts an accepted call; every so many there is a new nonce, and keep former ones stay good.
func (n *sfmNonces) spend(every, keep int) {
	n.mu.Lock()
	n.spent++
	due := every > 0 && n.spent >= every
	n.mu.Unlock()
	if due {
		n.renew(keep)
	}
}

// renew makes a new nonce and keeps so many of the former ones.
func (n *sfmNonces) renew(keep int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := n.nonces[:min(max(keep, 0), len(n.nonces))]
	n.nonces = append([]string{randomHex(16)}, kept...)
	n.spent = 0
}
