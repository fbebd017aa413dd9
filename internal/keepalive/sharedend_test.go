package keepalive

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a fleet does when a person, an SFM session or a replica ends.

// A replica that ends hands over at once.
func TestHandedOver(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		f.replicas[0].Close()
		time.Sleep(claimEvery + 2*time.Second)
		f.wantKept(0, 1)
		f.replicas[1].Close()
		time.Sleep(time.Minute)
		f.join(Options{}) // the only one is started again
		time.Sleep(time.Second)
		f.wantKept(0, 0, 1)
		f.wantStates(Open)
		f.wantSent()
	})
}

// It does so in the middle of a call to SFM, too.
func TestHandedOverWhileCalling(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.set(func() { f.took = time.Hour })
		f.create(f.replicas[0], keyA)
		time.Sleep(fleetLife*4/5 + 2*time.Second)
		f.wantSent("a: refresh token-2")
		f.set(func() { f.took = 0 })
		f.replicas[0].Close()
		time.Sleep(claimEvery + 2*time.Second)
		f.wantSent("b: refresh token-2")
	})
}

// A call that SFM answers within a moment is not cut, and not made again.
func TestHandedOverAfterACall(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.set(func() { f.took = 2 * time.Second })
		f.create(f.replicas[0], keyA)
		time.Sleep(fleetLife*4/5 + time.Second)
		f.wantSent("a: refresh token-2")
		begun := time.Now()
		f.replicas[0].Close()
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("the end took %v", took)
		}
		time.Sleep(claimEvery + 2*time.Second)
		f.wantKept(0, 1)
		time.Sleep(fleetLife / 2)
		f.wantSent()
	})
}

// What the token took is not to be had for the call.
func TestCallIsBounded(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		f.set(func() { f.took, f.fetching = time.Hour, refreshTimeout-time.Second })
		for len(f.sent()) == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		f.set(func() {
			if n := f.under[keyA.folded()]; n != 0 {
				t.Errorf("%d calls go on", n)
			}
		})
	})
}

// A log-out at another replica, in any moment of what the keeper does about a session that was
// just opened, leaves neither page nor note, whenever the keeper hears of it.
func TestLogOutWhileNoting(t *testing.T) {
	for moment := 300 * time.Millisecond; moment < 600*time.Millisecond; moment += 10 * time.Millisecond { // the page is there
		for _, delay := range []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond} {
			for _, heard := range []time.Duration{0, 50 * time.Millisecond, 110 * time.Millisecond, 300 * time.Millisecond} {
				inFleet(t, 2, func(t *testing.T, f *fleet) {
					a, b := f.replicas[0], f.replicas[1]
					a.desk.set(false, 100*time.Millisecond)
					b.desk.set(false, delay)
					a.Answered(keyA, "/api/v2/Session/create", f.token(keyA))
					time.Sleep(moment)
					go b.End(t.Context(), "person-1")
					time.Sleep(heard)
					a.desk.set(false, 0)
					a.ForgetHere("person-1")
					time.Sleep(2 * time.Second)
					if pages, notes := f.shelf.left(); pages+notes > 0 {
						t.Errorf("ended after %v, %v each way, heard %v later: %d pages and %d notes are left", moment, delay, heard, pages, notes)
					}
				})
			}
		}
	}
}

// A log-out cuts such a call at once.
func TestLogOutWhileCalling(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.set(func() { f.took = time.Hour })
		f.create(f.replicas[0], keyA)
		time.Sleep(fleetLife*4/5 + 2*time.Second)
		f.wantSent("a: refresh token-2")
		f.set(func() { f.took = 0 })
		f.replicas[0].Forget("person-1")
		f.wantNothingLeft()
		f.set(func() {
			if n := f.under[keyA.folded()]; n != 0 {
				t.Errorf("%d calls go on", n)
			}
		})
	})
}

// What the EPJ ends through another replica is not kept any longer.
func TestEndedElsewhere(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.replicas[0], f.replicas[1]
		f.create(a, keyA)
		f.create(a, keyB)
		b.Answered(keyB, "/api/v2/Session/end", f.token(keyB))
		f.wantStates(Open)
		time.Sleep(fleetLife)
		f.wantKept(1, 0)
		for _, p := range f.sent() {
			if p != "a: refresh token-3" {
				t.Errorf("sent %q", p)
			}
		}
		b.Answered(keyA, "/api/v2/Session/end", f.token(keyA))
		f.wantStates()
		f.wantNothingLeft()
		time.Sleep(2 * fleetLife)
		f.wantSent()
		f.wantKept(0, 0)
	})
}

// A replica that hears of an end lets go, and leaves the book alone. Should the session
// go on after all, it is kept again before its token ends.
func TestForgetHere(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		synctest.Wait()
		before := f.shelf.changes()
		for _, r := range f.replicas {
			r.ForgetHere("person-1")
			r.ForgetHere("nobody")
		}
		f.wantKept(0, 0)
		if n := f.shelf.changes(); n != before {
			t.Errorf("the book was written %d times", n-before)
		}
		time.Sleep(fleetLife)
		synctest.Wait()
		if n := f.takeOvers(); n != 1 {
			t.Errorf("taken over %d times", n)
		}
		f.wantStates(Open)
		if n := f.losses(); n != 0 {
			t.Errorf("%d were lost", n)
		}
	})
}

// Log-out at any replica ends all, each with its own token, and leaves nothing behind.
func TestLogOutElsewhere(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.replicas[0], f.replicas[1]
		f.create(a, keyA)
		f.create(a, keyB)
		if failures := b.End(t.Context(), "person-1"); len(failures) != 0 {
			t.Errorf("%d could not be ended", len(failures))
		}
		posts := f.sent()
		if joined := strings.Join(posts, ", "); len(posts) != 2 || !strings.Contains(joined, "b: end token-1") || !strings.Contains(joined, "b: end token-2") {
			t.Errorf("sent %q", posts)
		}
		f.wantNothingLeft()
		f.wantStates()
		time.Sleep(2 * fleetLife)
		f.wantSent()
		f.wantKept(0, 0)
		f.wantNothingLeft()
	})
}

// Log-out while the book can't be had ends what is known here; the rest goes later.
func TestLogOutWithoutTheBook(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a := f.replicas[0]
		f.create(a, keyA)
		a.desk.set(true, 0)
		a.Answered(keyB, "/Session/create", f.token(keyB))
		a.Answered(keyB, "/Session/end", f.token(keyB))
		f.set(func() { f.status = 503 })
		if failures := a.End(t.Context(), "person-1"); len(failures) != 1 {
			t.Errorf("%d could not be ended", len(failures))
		}
		f.wantSent("a: end token-1")
		a.desk.set(false, 0)
		time.Sleep(lastPause)
		f.wantNothingLeft()
		f.wantStates()
	})
}

// A person's session that ends otherwise takes its page along.
func TestForgottenInTheBook(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		f.replicas[1].Forget("person-1")
		f.wantNothingLeft()
		f.replicas[0].Forget("person-1")
		f.create(f.replicas[0], keyA)
		f.set(func() { f.tokenErr = ErrEnded })
		time.Sleep(fleetLife)
		f.wantNothingLeft()
		f.wantSent()
	})
}

// What was ended while the book could not be had is struck out later.
func TestEndWithoutTheBook(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.replicas[0], f.replicas[1]
		f.create(a, keyA)
		f.create(a, keyB)
		b.desk.set(true, 0)
		b.Answered(keyA, "/api/v2/Session/end", f.token(keyA))
		time.Sleep(time.Minute)
		b.desk.set(false, 0)
		time.Sleep(lastPause)
		f.wantStates(Open)
		b.Answered(keyB, "/api/v2/Session/end", f.token(keyB))
		b.Close() // at once
		f.wantNothingLeft()
	})
}

// One that keeps nothing ends what others keep, and leaves nothing of it behind.
func TestEndedByOneThatKeepsNothing(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		b := f.join(Options{Off: true})
		if failures := b.End(t.Context(), "person-1"); len(failures) != 0 {
			t.Errorf("%d could not be ended", len(failures))
		}
		f.wantSent("b: end token-1")
		f.wantNothingLeft()
		time.Sleep(fleetLife)
		f.wantSent()
		f.wantKept(0, 0)
	})
}

// back, and nothing stays.
func TestLogOutAmidst(t *testing.T) {
	for _, book := range []string{"slow", "slow, and empty", "slow, and failing"} {
		for after := time.Duration(0); after < 10*time.Second; after += 250 * time.Millisecond {
			for _, how := range []string{"end", "forget"} {
				inFleet(t, 1, func(t *testing.T, f *fleet) {
					f.logOutAmidst(book, after, how)
					if t.Failed() {
						t.Fatalf("%s after %v, with a book that is %s", how, after, book)
					}
				})
			}
		}
	}
}

func (f *fleet) logOutAmidst(book string, after time.Duration, how string) {
	f.t.Helper()
	const slow = 990 * time.Millisecond
	a := f.replicas[0]
	if book != "slow, and empty" {
		f.create(a, keyB)
		time.Sleep(time.Minute)
	}
	a.desk.set(book == "slow, and failing", slow)
	if book != "slow, and empty" {
		a.Answered(keyB, "/api/v2/Session/end", f.token(keyB))
	}
	a.Answered(keyA, "/api/v2/Session/create", f.token(keyA))
	time.Sleep(after)
	f.sent()
	a.desk.set(false, slow)
	if how == "forget" {
		a.Forget("person-1")
	} else if failures := a.End(f.t.Context(), "person-1"); len(failures) != 0 {
		f.t.Errorf("%d could not be ended", len(failures))
	}
	if n := len(f.sent()); how == "end" && n != 1 {
		f.t.Errorf("%d calls end one session", n)
	}
	time.Sleep(noteLease / 2)
	f.wantNothingLeft()
	f.wantKept(0)
	time.Sleep(fleetLife)
	f.wantSent()
	f.wantNothingLeft()
}
