package store

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// restAfter is how many calls in a row must fail before a server rests.
	restAfter = 3
	// firstRest and longestRest bound how long: each rest is twice the one before.
	firstRest   = 250 * time.Millisecond
	longestRest = time.Second
)

// breaker spares a server that fails, and those who would wait for it: after a few
// failures in a row calls are refused at once, and now and then one is let through
// to see. It is some forty lines; the libraries that can be had count in windows,
// know many states and settings, and none of them takes this one.
type breaker struct {
	mu     sync.Mutex // guards what follows
	failed int        // in a row
	rest   time.Duration
	until  time.Time
	trying bool      // one call is let through
	since  time.Time // of the first rest in a row
}

// allow says whether a call may go. Whoever may must tell its end.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < restAfter {
		return true
	}
	if b.trying || now.Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

// ended notes how a call that was begun at a time ended now; "" is a good end. It
// returns whether the server begins to rest, or is back after one.
func (b *breaker) ended(begun, now time.Time, why Reason) (resting, back bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed >= restAfter && !begun.After(b.since) {
		return false, false // under way since before the rest, it says nothing of what came after
	}
	b.trying = false
	if why == Cancelled { // says nothing
		return false, false
	}
	if !why.down() {
		back = b.failed >= restAfter
		b.failed, b.rest = 0, 0
		return false, back
	}
	b.failed++
	if b.failed < restAfter {
		return false, false
	}
	resting = b.rest == 0
	if resting {
		b.since = now
	}
	b.rest = min(max(2*b.rest, firstRest), longestRest)
	b.until = now.Add(b.rest*4/5 + rand.N(b.rest*2/5)) // ±20 %: a fleet must not come back as one
	return resting, false
}

// restingSince is when the server ceased to be asked freely; zero while it is.
func (b *breaker) restingSince() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < restAfter {
		return time.Time{}
	}
	return b.since
}
