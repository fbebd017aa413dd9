package simulator

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

// helseidProofBack and helseidProofAhead are the window for a proof's iat at
// HelseID. The real one is not known; this is an assertion's usual lifetime.
const (
	helseidProofBack  = 10 * time.Second
	helseidProofAhead = 5 * time.Second
)

// nonceBook remembers the nonces that HelseID gave out (RFC 9449 section 8).
// Its zero value is ready.
type nonceBook struct {
	mu     sync.Mutex // guards the rest
	issued map[string]time.Time
	order  []string // oldest first
}

// maxNonces bounds the book; the oldest nonce becomes stale early.
const maxNonces = 50_000

func (b *nonceBook) issue(now time.Time) string {
	nonce := rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.issued == nil {
		b.issued = map[string]time.Time{}
	}
	if len(b.order) >= maxNonces {
		delete(b.issued, b.order[0])
		b.order = b.order[1:]
	}
	b.issued[nonce] = now
	b.order = append(b.order, nonce)
	return nonce
}

// good reports whether nonce was issued here within life, and forgets it when
// it is good only once.
func (b *nonceBook) good(nonce string, now time.Time, knobs HelseIDKnobs) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	issued, known := b.issued[nonce]
	if !known {
		return false
	}
	life := time.Duration(knobs.NonceSeconds) * time.Second
	single := knobs.SingleUseNonce || knobs.NonceSeconds <= 0
	if knobs.NonceSeconds <= 0 {
		life = 10 * time.Minute
	}
	if single || now.Sub(issued) > life {
		delete(b.issued, nonce)
	}
	return now.Sub(issued) <= life
}

// checkHelseIDProof judges the proof of a token request. The nonce handshake is
// always on: the first request of a client is refused with use_dpop_nonce.
// No proof and none needed is "" without a refusal.
func (s *Simulator) checkHelseIDProof(x *exchange, client *registeredClient, stale bool) (string, *refusal) {
	if len(x.request.Header.Values("DPoP")) == 0 && !client.DPoP {
		return "", nil
	}
	now, knobs := s.now(), s.knobs().HelseID
	p, fault := checkProof(x.request, proofRule{
		method: x.request.Method,
		htu:    s.options.Issuer + x.request.URL.EscapedPath(),
		back:   helseidProofBack, ahead: helseidProofAhead,
		seen: s.proofs, now: now,
		nonceOK: func(nonce string) bool { return !stale && s.nonces.good(nonce, now, knobs) },
	})
	if fault != nil {
		return "", &refusal{status: http.StatusBadRequest, code: fault.code, text: fault.text}
	}
	return p.jkt, nil
}
