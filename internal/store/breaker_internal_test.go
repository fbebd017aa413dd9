package store

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(breaker)
		fail := func(why Reason) (resting bool) {
			begun := time.Now()
			if !b.allow(begun) {
				t.Fatalf("refused before %q", why)
			}
			time.Sleep(time.Millisecond)
			resting, _ = b.ended(begun, time.Now(), why)
			return resting
		}
		// Failures that are not in a row, and those of the caller, are nothing.
		for _, why := range []Reason{Slow, Unreachable, "", Slow, Full, Slow, Slow, ReadOnly, Slow, Cancelled, Unreachable} {
			if fail(why) {
				t.Fatalf("rests after %q", why)
			}
		}
		early := time.Now()
		if !b.allow(early) {
			t.Fatal("refused after two failures")
		}
		if !fail(Slow) {
			t.Fatal("does not rest after the third in a row")
		}
		if _, back := b.ended(early, time.Now(), ""); back || b.allow(time.Now()) {
			t.Error("back by a call that was begun before the rest")
		}
		for rest := firstRest; rest <= 4*longestRest; rest *= 2 {
			want := min(rest, longestRest)
			begun := time.Now()
			for !b.allow(time.Now()) {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(begun); took < want*4/5 || took > want*6/5+time.Millisecond {
				t.Errorf("rested %v, want about %v", took, want)
			}
			b.ended(early, time.Now(), Slow)
			if b.allow(time.Now()) {
				t.Error("a second call was let through")
			}
			b.ended(time.Now(), time.Now(), Cancelled) // whoever tried has left
			if !b.allow(time.Now()) {
				t.Error("nobody tries any more")
			}
			if resting, _ := b.ended(time.Now(), time.Now(), Unreachable); resting {
				t.Error("told of the same rest again")
			}
		}
		time.Sleep(2 * longestRest)
		b.allow(time.Now())
		if _, back := b.ended(time.Now(), time.Now(), Refused); !back {
			t.Error("not back, though it answered")
		}
		for range 10 {
			if !b.allow(time.Now()) {
				t.Error("rests after it came back")
			}
		}
	})
}
