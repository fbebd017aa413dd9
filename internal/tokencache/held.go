package tokencache

import (
	"iter"
	"time"
)

// Held is what may be told of a token that is held: all but the token.
type Held struct {
	Key Key
	// Until is the last moment at which it may be sent, by the clock that says less.
	Until time.Time
	// Failing says that the last try to renew it failed.
	Failing bool
}

// Held lists what is held and may still be sent, in no order. It copies one pointer per token while calls wait, so it is
// for looking at now and then, not for every call.
func (c *Cache) Held() iter.Seq[Held] {
	entries := c.entries.Values()
	return func(yield func(Held) bool) {
		for _, e := range entries {
			left := c.left(e) - e.bands.leeway
			if left <= 0 {
				continue
			}
			c.mu.Lock()
			failing := e.failures > 0
			c.mu.Unlock()
			if !yield(Held{Key: e.key, Until: time.Now().Add(left), Failing: failing}) {
				return
			}
		}
	}
}
