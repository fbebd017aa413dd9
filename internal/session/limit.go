package session

import (
	"sync"
	"time"
)

// pendingLimit is how many log-ins may begin within one PendingLifetime: each
// takes about a kilobyte, and beginning one costs nothing.
const pendingLimit = 10_000

// beginnings remembers when the last log-ins began, and so whether one more may.
// The zero value is ready.
type beginnings struct {
	mu   sync.Mutex // guards what follows
	ring []time.Time
	next int
}

// admit notes a log-in that begins at now, or returns the refusal of one too
// many: the one that began pendingLimit log-ins ago still has time to finish.
func (b *beginnings) admit(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ring) < pendingLimit {
		b.ring = append(b.ring, now)
		return nil
	}
	if left := PendingLifetime - now.Sub(b.ring[b.next]); left > 0 {
		return &Error{Kind: codeLimit, Text: "too many log-ins were begun within ten minutes", after: left}
	}
	b.ring[b.next] = now
	b.next = (b.next + 1) % pendingLimit
	return nil
}

// giveBack takes back a log-in that was noted last and did not begin after all: of
// two that were noted at the same time it does not matter which.
func (b *beginnings) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ring) < pendingLimit {
		b.ring = b.ring[:len(b.ring)-1]
		return
	}
	b.next = (b.next + pendingLimit - 1) % pendingLimit
	b.ring[b.next] = time.Time{}
}
