package helseid

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	clockSamples = 5
	// The Date header has whole seconds: an offset below one can't be told from rounding, and is not applied.
	clockResolution = time.Second
	clockWarn       = 2 * time.Second
	clockLimit      = 5 * time.Minute
	// A slow answer says little about the other side's clock.
	clockSlowest = 4 * time.Second
)

// clock is the wall clock shifted to HelseID's. Assertions live ten seconds and SFM takes proofs a few seconds old, so
// a laptop whose clock is wrong by a minute could do nothing at all. The offset is the median of the last few Date
// headers (RFC 9110 §6.6.1), so one odd answer does not move it.
type clock struct {
	wall   func() time.Time
	system bool // measure, never apply

	applied atomic.Int64 // nanoseconds added to the wall clock; read on every proof
	mu      sync.Mutex   // guards samples
	samples []time.Duration
}

// now is the corrected time.
func (c *clock) now() time.Time { return c.wall().Add(c.offset()) }

// offset is what is added to the wall clock.
func (c *clock) offset() time.Duration { return time.Duration(c.applied.Load()) }

// sample learns from one answer; it reports the median before and after, and whether anything was learned.
func (c *clock) sample(h http.Header, sent, received time.Time) (before, after time.Duration, ok bool) {
	date, err := http.ParseTime(h.Get("Date"))
	took := received.Sub(sent)
	if err != nil || took < 0 || took > clockSlowest || h.Get("Age") != "" { // Age: a cache's answer, with an old Date
		return 0, 0, false
	}
	// The second was cut off at the end, so the answer was made half a second later on average; and it was made half
	// way between question and answer, as far as we can know.
	theirs, ours := date.Add(time.Second/2), sent.Add(took/2)
	c.mu.Lock()
	defer c.mu.Unlock()
	before = median(c.samples)
	c.samples = append(c.samples, theirs.Sub(ours))
	c.samples = c.samples[max(0, len(c.samples)-clockSamples):]
	after = median(c.samples)
	if !c.system {
		c.applied.Store(int64(applicable(after)))
	}
	return before, after, true
}

// trustNewest drops all samples but the newest when that one is far from the rest: our clock, or HelseID's, has been
// set meanwhile. It is called when HelseID refuses something that it may judge by time; without that, the median would
// need several refused requests to follow.
func (c *clock) trustNewest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return
	}
	newest := c.samples[len(c.samples)-1]
	if (newest - median(c.samples)).Abs() <= clockWarn {
		return
	}
	c.samples = []time.Duration{newest}
	if !c.system {
		c.applied.Store(int64(applicable(newest)))
	}
}

// measured is the median offset, applied or not.
func (c *clock) measured() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return median(c.samples)
}

// far reports an offset that is more than we correct.
func (c *clock) far() bool { return c.measured().Abs() > clockLimit }

func applicable(offset time.Duration) time.Duration {
	if offset.Abs() < clockResolution {
		return 0
	}
	return min(max(offset, -clockLimit), clockLimit)
}

func median(samples []time.Duration) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[len(sorted)/2]
}
