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
	// tellAgain is how long it is at least between two rests that are told of: a server
	// that fails now and then would fill the log.
	tellAgain = 10 * time.Second
)

// breaker spares a server that fails, and those who would wait for it: after a few
// failures in a row calls are refused at once, and now and then one is let through
// to see. It is some fifty lines; the libraries that can be had count in windows,
// know many states and settings, and none of them takes this one.
type breaker struct {
	mu     sync.Mutex // guards what follows
	failed int        // in a row
	era    int        // each rest begins one
	rest   time.Duration
	until  time.Time
	trying bool      // one call is let through
	since  time.Time // of the first rest in a row
	told   time.Time // when a rest was told of last
	known  bool      // of the rests in a row: one was told of
}

// change is what the end of a call changed.
type change struct {
	rests bool // the server begins a rest, the first or one more in a row
	tell  bool // of that rest
	back  bool // the server is back after rests of which one was told
}

// allow says whether a call may go. Whoever may must tell its end, with the era.
func (b *breaker) allow() (era int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < restAfter {
		return b.era, true
	}
	if b.trying || time.Now().Before(b.until) {
		return b.era, false
	}
	b.trying = true
	return b.era, true
}

// ended notes how a call that was allowed in an era ended; "" is a good end.
func (b *breaker) ended(era int, why Reason) change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era != b.era {
		return change{} // under way since before a rest, it says nothing of what came after
	}
	b.trying = false
	if why == Cancelled { // says nothing
		return change{}
	}
	if !why.down() {
		back := b.known
		b.failed, b.rest, b.known = 0, 0, false
		return change{back: back}
	}
	b.failed++
	if b.failed < restAfter {
		return change{}
	}
	return b.begin(time.Now())
}

// begin begins a rest; b.mu is held.
func (b *breaker) begin(now time.Time) change {
	if b.rest == 0 {
		b.since = now
	}
	b.era++
	b.rest = min(max(2*b.rest, firstRest), longestRest)
	b.until = now.Add(b.rest*4/5 + rand.N(b.rest*2/5)) // ±20 %: a fleet must not come back as one
	tell := !b.known && now.Sub(b.told) >= tellAgain
	if tell {
		b.told, b.known = now, true
	}
	return change{rests: true, tell: tell}
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
