package store

import (
	"testing"
	"testing/synctest"
	"time"
)

// asked is a call that must be let through; it returns its era.
func asked(t *testing.T, b *breaker) (era int) {
	t.Helper()
	era, ok := b.allow()
	if !ok {
		t.Fatal("refused")
	}
	return era
}

// refused fails the test when a call is let through.
func refused(t *testing.T, b *breaker) {
	t.Helper()
	if _, ok := b.allow(); ok {
		t.Error("a call was let through")
	}
}

// resting is a breaker whose server has just begun to rest, and the era before that.
func resting(t *testing.T) (b *breaker, before int) {
	t.Helper()
	b = new(breaker)
	for range restAfter {
		before = asked(t, b)
		b.ended(before, Unreachable)
	}
	refused(t, b)
	return b, before
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(breaker)
		// Failures that are not in a row, and those of the caller, are nothing.
		for _, why := range []Reason{Slow, Unreachable, "", Slow, Full, Slow, Slow, ReadOnly, Slow, Cancelled, Unreachable} {
			if c := b.ended(asked(t, b), why); c != (change{}) {
				t.Fatalf("after %q: %+v", why, c)
			}
		}
		early := asked(t, b)
		if c := b.ended(asked(t, b), Slow); c != (change{rests: true, tell: true}) {
			t.Fatalf("after the third failure in a row: %+v", c)
		}
		since := time.Now()
		for rest := firstRest; rest <= 4*longestRest; rest *= 2 {
			want := min(rest, longestRest)
			begun, era, ok := time.Now(), 0, false
			for ; !ok; era, ok = b.allow() {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(begun); took < want*4/5 || took > want*6/5+time.Millisecond {
				t.Errorf("rested %v, want about %v", took, want)
			}
			b.ended(early, Slow)
			refused(t, b)
			b.ended(era, Cancelled) // whoever tried has left
			if c := b.ended(asked(t, b), Unreachable); c != (change{rests: true}) {
				t.Errorf("after one more failure: %+v", c)
			}
			if b.restingSince() != since {
				t.Errorf("rests since %v, want %v", b.restingSince(), since)
			}
		}
		time.Sleep(2 * longestRest)
		if c := b.ended(asked(t, b), Refused); c != (change{back: true}) || !b.restingSince().IsZero() {
			t.Errorf("after an answer: %+v, rests since %v", c, b.restingSince())
		}
		for range 10 {
			asked(t, b)
		}
	})
}

// A call that was let through at the very moment of the third failure is no trial.
func TestBreakerSameMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(breaker)
		for range restAfter - 1 {
			b.ended(asked(t, b), Unreachable)
		}
		third, late := asked(t, b), asked(t, b)
		if c := b.ended(third, Unreachable); !c.rests {
			t.Fatal("no rest")
		}
		if c := b.ended(late, ""); c.back || b.restingSince().IsZero() {
			t.Error("a call from before the rest ended it")
		}
		refused(t, b)
	})
}

// Calls from before a rest that fail when it is over do not bring another.
func TestBreakerLateFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, before := resting(t)
		time.Sleep(2 * firstRest)
		trial := asked(t, b)
		b.ended(before, Slow)
		refused(t, b) // the trial is still under way
		if c := b.ended(trial, ""); !c.back {
			t.Fatal("not back")
		}
		for range restAfter {
			if c := b.ended(before, Slow); c.rests {
				t.Error("calls from before the rest bring another, though the server is back")
			}
		}
		asked(t, b)
	})
}

// Of a server that fails now and then the log is told seldom, and in the end.
func TestBreakerTellsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, calls, rests, told, back := new(breaker), 0, 0, 0, 0
		for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) {
			era, ok := b.allow()
			if !ok {
				continue
			}
			why := Unreachable
			if calls++; calls%4 == 0 {
				why = ""
			}
			c := b.ended(era, why)
			for n, is := range map[*int]bool{&rests: c.rests, &told: c.tell, &back: c.back} {
				if is {
					*n++
				}
			}
		}
		if rests < 100 || told < 5 || told > 6 || back != told {
			t.Errorf("of %d rests %d were told of, and %d ends", rests, told, back)
		}
	})
}

// A rest that began too soon after another to be told of is told of when it goes on.
func TestBreakerTellsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := resting(t)
		first := time.Now()
		time.Sleep(2 * firstRest)
		if c := b.ended(asked(t, b), ""); !c.back {
			t.Fatal("not told of the end of a rest that was told of")
		}
		for range restAfter {
			if c := b.ended(asked(t, b), Slow); c.tell {
				t.Error("told of a second rest at once")
			}
		}
		since := time.Now()
		var told []time.Duration
		for range 3 * tellAgain / longestRest {
			time.Sleep(2 * longestRest)
			if b.ended(asked(t, b), Slow).tell {
				told = append(told, time.Since(first))
			}
		}
		if len(told) != 1 || told[0] < tellAgain || told[0] > tellAgain+2*longestRest {
			t.Errorf("told of the second rest after %v", told)
		}
		if b.restingSince() != since {
			t.Errorf("rests since %v, want %v", b.restingSince(), since)
		}
	})
}

// Nobody is told of the end of a rest that nobody was told of.
func TestBreakerQuietEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := resting(t)
		time.Sleep(2 * firstRest)
		b.ended(asked(t, b), "")
		for range restAfter {
			b.ended(asked(t, b), Slow)
		}
		time.Sleep(2 * firstRest)
		if c := b.ended(asked(t, b), ""); c != (change{}) || !b.restingSince().IsZero() {
			t.Errorf("%+v, rests since %v", c, b.restingSince())
		}
	})
}
