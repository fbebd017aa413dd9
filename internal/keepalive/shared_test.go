package keepalive

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// All replicas tell the same of a session, and one of them keeps it.
func TestOneOfManyKeeps(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		a := f.replicas[0]
		f.create(a, keyA)
		f.wantStates(Open)
		if since := f.replicas[1].Of(t.Context(), "person-1")[0].Since; !since.Equal(a.o.Now()) {
			t.Errorf("open since %v", since)
		}
		f.wantKept(1, 0, 0)
		time.Sleep(5 * fleetLife)
		f.wantStates(Open)
		f.wantKept(1, 0, 0)
		posts := f.sent()
		if len(posts) < 5 || len(posts) > 7 {
			t.Errorf("sent %q in five lives", posts)
		}
		for _, p := range posts {
			if !strings.HasPrefix(p, "a: refresh") {
				t.Errorf("sent %q", p)
			}
		}
		if f.taken != 0 {
			t.Errorf("taken over %d times from one that lives", f.taken)
		}
	})
}

// When the keeper dies, another goes on in time, with a token that SFM does not hold.
func TestTakenOver(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 7 * time.Minute, 8 * time.Minute, 9*time.Minute + 22*time.Second, 9*time.Minute + 30*time.Second} {
		inFleet(t, 3, func(t *testing.T, f *fleet) {
			f.create(f.replicas[0], keyA)
			f.create(f.replicas[0], keyB)
			time.Sleep(after)
			f.replicas[0].die()
			f.sent()
			time.Sleep(3 * fleetLife)
			f.wantStates(Open, Open)
			if f.taken != 1 || f.lost != 0 {
				t.Errorf("died after %v: taken over %d times, %d lost", after, f.taken, f.lost)
			}
			seen := map[string]bool{}
			for _, p := range f.sent() {
				if seen[p] {
					t.Errorf("sent twice: %s", p)
				}
				seen[p] = true
			}
		})
	}
}

// The note moves with each look, and in time for whoever takes over.
func TestNoteLeavesTime(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		f.replicas[0].die()
		in := f.shelf.noted("person-1")
		if in < fleetLife*3/4+30*time.Second || in > fleetLife*19/20 {
			t.Errorf("the keeper is missed after %v of %v", in, fleetLife)
		}
	})
}

// A claimer that dies, too, is replaced.
func TestClaimerDies(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		f.replicas[0].die()
		time.Sleep(9 * time.Minute)
		other := &desk{shelf: f.shelf}
		if claimed, _, err := other.Claim(t.Context(), claimLease); len(claimed) != 1 || err != nil {
			t.Fatalf("claimed %q, %v", claimed, err)
		}
		f.join(Options{})
		time.Sleep(claimLease - time.Second)
		f.wantKept(0, 0)
		time.Sleep(claimEvery + 3*time.Second)
		f.wantKept(0, 1)
		f.wantStates(Open)
	})
}

// Nobody was there in time: the session is lost, and that is told once.
func TestTakenOverTooLate(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		f.replicas[0].die()
		f.sent()
		time.Sleep(fleetLife + time.Minute)
		b := f.join(Options{})
		f.wantStates(Lost)
		if since := b.Of(t.Context(), "person-1")[0].Since; !since.Equal(b.o.Now().Add(-time.Minute)) {
			t.Errorf("lost %v ago", b.o.Now().Sub(since))
		}
		time.Sleep(time.Hour)
		f.wantSent()
		if f.lost != 1 {
			t.Errorf("the loss was told %d times", f.lost)
		}
		if _, notes := f.shelf.left(); notes != 0 {
			t.Error("there is nothing to be done any more")
		}
		b.die()
		f.join(Options{})
		time.Sleep(remembered - 2*time.Hour)
		f.wantStates(Lost)
		time.Sleep(2 * time.Hour)
		f.wantStates()
		f.wantNothingLeft()
		if f.lost != 1 {
			t.Errorf("the loss was told %d times", f.lost)
		}
	})
}

// Who the EPJ speaks to last keeps all of the person's; the other one notices.
func TestTheLastToHearKeeps(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.replicas[0], f.replicas[1]
		f.create(a, keyA)
		time.Sleep(time.Minute)
		f.create(b, keyB)
		f.wantKept(1, 2)
		time.Sleep(fleetLife)
		f.wantKept(0, 2)
		a.Answered(keyB, "/api/v2/Session/refresh", f.token(keyB))
		time.Sleep(fleetLife)
		f.wantKept(2, 0)
		f.wantStates(Open, Open)
		if of := b.Of(t.Context(), "person-1"); !of[0].Since.Equal(f.begun.Add(time.Hour)) || !of[1].Since.Equal(f.begun.Add(time.Hour+time.Minute)) {
			t.Errorf("open since %v", of)
		}
		f.sent()
		time.Sleep(fleetLife)
		for _, p := range f.sent() {
			if !strings.HasPrefix(p, "a: ") {
				t.Errorf("sent %q", p)
			}
		}
	})
}

// The EPJ may make another replica the keeper while SFM is being called.
func TestNeverTwoCallsAtOnce(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.set(func() { f.took = 25 * time.Second })
		f.create(f.replicas[0], keyA)
		time.Sleep(fleetLife*4/5 + time.Second) // the first calls
		f.wantSent("a: refresh token-2")
		held := f.token(keyA)
		f.set(func() { f.tokens[keyA.folded()] = Token{} })
		f.token(keyA)
		f.replicas[1].Answered(keyA, "/api/v2/Session/refresh", held)
		time.Sleep(20 * time.Second)
		f.wantSent()
		time.Sleep(time.Minute)
		f.wantSent("b: refresh token-3")
	})
}

// While the book can't be had, its keeper goes on from memory, and an EPJ opens sessions.
// It waits for nothing. When the book is back, it is told.
func TestWithoutTheBook(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.replicas[0], f.replicas[1]
		f.create(a, keyA)
		for _, r := range f.replicas {
			r.desk.set(true, 500*time.Millisecond)
		}
		begun := time.Now()
		a.Answered(keyB, "/api/v2/Session/create", f.token(keyB))
		if took := time.Since(begun); took != 0 {
			t.Errorf("the EPJ waited %v", took)
		}
		time.Sleep(3*fleetLife + time.Minute)
		if n := len(f.sent()); n < 6 {
			t.Errorf("%d refreshes of two sessions in three lives", n)
		}
		if of := a.Of(t.Context(), "person-1"); len(of) != 2 || of[0].State != Open || of[1].State != Open {
			t.Errorf("from memory: %v", of)
		}
		if of := b.Of(t.Context(), "person-1"); len(of) != 0 {
			t.Errorf("from another's memory: %v", of)
		}
		for _, r := range f.replicas {
			r.desk.set(false, 0)
		}
		time.Sleep(lastPause)
		f.wantStates(Open, Open)
		a.die()
		f.sent()
		time.Sleep(3 * fleetLife)
		f.wantKept(0, 2)
		f.wantStates(Open, Open)
	})
}

// Switched off, all know of a session, and nobody keeps it.
func TestOffInAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{t: t, pages: map[string]leaf{}, notes: map[string]memo{"person-1": {}}}
		f := &fleet{t: t, begun: time.Now(), shelf: s, tokens: map[Key]Token{}, under: map[Key]int{}, status: 204}
		a, b := f.join(Options{Off: true}), f.join(Options{Off: true})
		defer a.Close()
		defer b.Close()
		f.create(a, keyA)
		f.wantStates(Open)
		if s.notes["person-1"].mark != 0 {
			t.Error("it is noted that something is to be done")
		}
		time.Sleep(fleetLife)
		f.wantStates(Lost)
		f.wantSent()
		b.End(t.Context(), "person-1")
		f.wantSent("b: end token-2")
		f.wantStates()
	})
}

// Replicas come, die and stand still, the book fails now and then, and the EPJ speaks to
// any of them: never do two call SFM about one session at once, and no session is lost
// while somebody is there to keep it.
func TestFleetThroughTroubles(t *testing.T) {
	for seed := range uint64(15) {
		inFleet(t, 3, func(t *testing.T, f *fleet) {
			dice := rand.New(rand.NewPCG(seed, 6))
			keys := []Key{keyA, keyB, {Session: "person-2", Tenant: tenantA, Upstream: "session"}}
			for _, k := range keys {
				f.create(f.replicas[dice.IntN(3)], k)
			}
			for range 60 {
				time.Sleep(time.Duration(dice.IntN(240)) * time.Second)
				var living []*replica
				for _, r := range f.replicas {
					if !r.dead {
						r.desk.set(false, 0)
						living = append(living, r)
					}
				}
				r := living[dice.IntN(len(living))]
				die := dice.IntN(6)
				f.note("%s: %d", r.name, die)
				switch key := keys[dice.IntN(len(keys))]; die {
				case 0:
					f.join(Options{})
					r.die()
				case 1:
					f.join(Options{})
					r.dead = true
					r.Close()
				case 2:
					r.Answered(key, "/api/v2/Session/refresh", f.token(key))
				case 3:
					r.desk.set(false, 400*time.Millisecond)
				case 4:
					f.set(func() { f.cutOff = time.Now().Add(time.Minute) })
					for _, r := range living {
						r.desk.set(true, 0)
					}
					time.Sleep(time.Duration(dice.IntN(15)) * time.Second)
					for _, r := range living {
						r.desk.set(false, 0)
					}
				}
				if f.losses() != 0 {
					t.Fatalf("seed %d: %v: lost\n%s", seed, time.Since(f.begun), strings.Join(f.story, "\n"))
				}
			}
			for _, k := range keys {
				open := 0
				for _, r := range f.replicas {
					if !r.dead {
						open = max(open, len(r.Of(t.Context(), k.Session)))
					}
				}
				if open == 0 {
					t.Errorf("seed %d: a session is forgotten", seed)
				}
			}
		})
	}
}

// A page that somebody has spoiled is as good as none.
func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"keeper":"a","sessions":[{"parent":"1","journal":"J","state":"open"}]}`))
	f.Add([]byte(`{"sessions":[{"expires":"9999-12-31T23:59:59Z"}],"until":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := readPage(b)
		p.prune(time.Now())
		if p.life(time.Now()) <= 0 {
			t.Error("a page without a life")
		}
		if again := readPage(p.bytes()); !again.same(p) {
			t.Errorf("%+v came back as %+v", p, again)
		}
	})
}

// Whoever writes a page that is being claimed has acted: the claim is given up.
func TestClaimOfAPageThatIsWritten(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		b := f.replicas[1]
		b.desk.change(func() { b.desk.turns = 1 })
		if err := b.reconcile(t.Context(), &person{session: "person-1", turn: make(chan struct{}, 1)}, errand{claim: true}); !errors.Is(err, ErrTurned) {
			t.Errorf("%v, want ErrTurned", err)
		}
		f.wantKept(1, 0)
	})
}

// Who can't sign because others write all the time does not call SFM.
func TestNoCallWithoutASignature(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		a := f.replicas[0]
		f.create(a, keyA)
		a.desk.change(func() { a.desk.turns = 2 * turns })
		time.Sleep(fleetLife * 4 / 5)
		f.wantSent()
		time.Sleep(3 * busyPause)
		f.wantSent("a: refresh token-2")
	})
}

// A keeper that was cut off from the book has gone on; who took over from it lets go
// again, and tells of no loss.
func TestCutOffKeeper(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a, b := f.replicas[0], f.replicas[1]
		f.create(a, keyA)
		time.Sleep(fleetLife * 3 / 5)
		a.desk.set(true, 0)
		b.desk.set(true, 0)
		time.Sleep(fleetLife * 3 / 5)
		f.wantSent("a: refresh token-2")
		b.desk.set(false, 0)
		for f.takeOvers() == 0 {
			time.Sleep(time.Second)
		}
		b.Look(keyA) // whatever wakes it
		synctest.Wait()
		a.desk.set(false, 0)
		time.Sleep(time.Minute)
		f.wantKept(1, 0)
		f.wantStates(Open)
		if n := f.losses(); n != 0 {
			t.Errorf("%d losses are told", n)
		}
	})
}

// After an outage nobody takes over from those who live.
func TestOutage(t *testing.T) {
	for range 12 {
		inFleet(t, 3, func(t *testing.T, f *fleet) {
			f.create(f.replicas[0], keyA)
			time.Sleep(fleetLife * 3 / 5)
			for _, down := range []bool{true, false} {
				for _, r := range f.replicas {
					r.desk.set(down, 0)
				}
				time.Sleep(fleetLife * 3 / 5)
			}
			f.wantKept(1, 0, 0)
			if n := f.takeOvers(); n != 0 {
				t.Errorf("taken over %d times", n)
			}
		})
	}
}

// A keeper that is late but alive says so.
func TestLateKeeper(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.create(f.replicas[0], keyA)
		_, err := f.replicas[0].desk.Due(t.Context(), "person-1", 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(claimEvery + 2*time.Second)
		f.replicas[0].die()
		if in := f.shelf.noted("person-1"); in < time.Minute {
			t.Errorf("the next look is due in %v", in)
		}
	})
}

// What the book does not know yet, the EPJ is told all the same, and it is not ended twice.
func TestSlowBook(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		a := f.replicas[0]
		a.desk.set(false, time.Second)
		f.create(a, keyA)
		f.wantStates(Open)
		time.Sleep(time.Minute)
		a.Answered(keyA, "/api/v2/Session/end", f.token(keyA))
		f.wantStates()
		f.create(a, keyB)
		time.Sleep(time.Minute)
		a.Answered(keyB, "/api/v2/Session/end", f.token(keyB))
		if failures := a.End(t.Context(), "person-1"); len(failures) != 0 {
			t.Errorf("%d could not be ended", len(failures))
		}
		f.wantSent()
		time.Sleep(time.Minute)
		f.wantNothingLeft()
	})
}

// Whatever is being written to the book when the person logs out, nothing of it comes
// Ended and opened again while the book could not be had.
func TestReopenedWithoutTheBook(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		a := f.replicas[0]
		f.create(a, keyA)
		a.desk.set(true, 0)
		a.Answered(keyA, "/api/v2/Session/end", f.token(keyA))
		a.Answered(keyA, "/api/v2/Session/create", f.token(keyA))
		time.Sleep(10 * time.Second)
		a.desk.set(false, 0)
		time.Sleep(time.Minute)
		f.wantStates(Open)
		f.wantKept(1, 0)
	})
}

// What need not be remembered leaves a page that goes on.
func TestPageIsPruned(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		a := f.replicas[0]
		f.create(a, keyB)
		f.set(func() { f.status = 503 })
		time.Sleep(fleetLife)
		f.set(func() { f.status = 204 })
		f.create(a, keyA)
		f.wantStates(Lost, Open)
		time.Sleep(remembered + fleetLife)
		if lines := f.shelf.lines("person-1"); len(lines) != 1 {
			t.Errorf("%d sessions are in the page", len(lines))
		}
	})
}

// Replicas of two versions read each other's pages while one is rolled out.
func TestPageStays(t *testing.T) {
	const written = `{"keeper":"k","poster":"p","until":"2026-01-02T03:04:05Z","sessions":[{"parent":"100100126","child":"999944582","journal":"j",` +
		`"upstream":"session","path":"/Session","state":"open","since":"2026-01-02T03:04:05Z","sum":"s","expires":"2026-01-02T04:04:05Z"}]}`
	var p page
	if err := json.Unmarshal([]byte(written), &p); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(&p); err != nil || string(again) != written {
		t.Errorf("a page was\n%s\nand is now\n%s (%v)", written, again, err)
	}
}
