package tokencache

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// What is told of tokens is who they are for and when they end, and whether their
// renewal fails; what can't be sent any more is not told of.
func TestHeld(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		if held := slices.Collect(c.Held()); len(held) != 0 {
			t.Fatalf("an empty cache holds %v", held)
		}
		want(t, c, m, 1)
		held := slices.Collect(c.Held())
		if len(held) != 1 || held[0].Key != keyA || held[0].Failing || !held[0].Until.Equal(time.Now().Add(hour-30*time.Second)) {
			t.Fatalf("held %+v", held)
		}
		for range c.Held() {
			break // whoever has seen enough may leave
		}
		m.fail(errors.New("down"))
		time.Sleep(56 * time.Minute)
		want(t, c, m, 1)
		if held := slices.Collect(c.Held()); len(held) != 1 || !held[0].Failing {
			t.Errorf("a failing renewal is not told of: %+v", held)
		}
		m.fail(nil)
		time.Sleep(time.Minute)
		if held := slices.Collect(c.Held()); len(held) != 1 || held[0].Failing {
			t.Errorf("after the renewal: %+v", held)
		}
		time.Sleep(2 * hour)
		if held := slices.Collect(c.Held()); len(held) != 0 {
			t.Errorf("what expired is told of: %+v", held)
		}
	})
}

// While a laptop slept, its timers did not run: what expired meanwhile is still in
// memory, and is not told of.
func TestHeldAfterSleep(t *testing.T) {
	slept := time.Duration(0)
	opts := defaults()
	opts.Wall = func() time.Time { return time.Now().Add(slept) }
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		want(t, c, &mill{lifetime: hour}, 1)
		slept = 2 * hour
		if held := slices.Collect(c.Held()); len(held) != 0 || c.Entries() != 1 {
			t.Errorf("told of %+v, %d in memory", held, c.Entries())
		}
	})
}
