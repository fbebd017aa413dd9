package helseid

import (
	"sync"
	"time"
)

// brakeTime is how long nothing is asked after HelseID refused the client itself.
const brakeTime = 30 * time.Second

// brake stops all requests that need the client's own authentication once HelseID has answered invalid_client: a
// thousand tenants asking with a wrong key help nobody and look like an attack. After brakeTime one request at a time
// may probe. Success, or a new client key, lifts it. The zero value is lifted.
type brake struct {
	mu      sync.Mutex // guards all
	refusal *Error     // remembered; nil = lifted
	until   time.Time
	probing bool
	keys    int // generation of the key ring that was refused
}

// verdict is what a request says about the client's authentication.
type verdict int

const (
	inconclusive verdict = iota // no answer, or one that came before the client was looked at
	accepted
	rejected
)

// enter lets a request through, or returns the remembered refusal. Who is let through calls leave.
func (b *brake) enter(keys int) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal != nil && b.keys != keys {
		b.refusal, b.probing = nil, false
	}
	switch {
	case b.refusal == nil:
		return nil
	case b.probing || time.Now().Before(b.until):
		return b.refusal
	}
	b.probing = true
	return nil
}

// leave tells how a request that was let through ended. refusal is looked at only when HelseID rejected the client.
func (b *brake) leave(keys int, v verdict, refusal *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal != nil && b.keys != keys && v != accepted {
		return // about a key that has been replaced since
	}
	// Requests that were already under way when the brake was pulled end here too; letting them end the probe early
	// costs one more probe at worst.
	b.probing = false
	switch v {
	case accepted:
		b.refusal = nil
	case rejected:
		b.refusal, b.until, b.keys = refusal, time.Now().Add(brakeTime), keys
	}
}
