package tokencache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/store"
)

func TestEarlyRenewalInTheBackground(t *testing.T) {
	opts, count := defaults(), new(tally)
	opts.Observe = count.observe
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(55*time.Minute - 1)
		wantMade(t, m, 1)
		time.Sleep(1) // by the timer alone, since the token was used
		wantMade(t, m, 2)
		time.Sleep(time.Minute)
		want(t, c, m, 2)
		if diff := cmp.Diff(map[string]int{"fetched": 1, "renewed": 1, "hit": 1}, count.get()); diff != "" {
			t.Errorf("observed (-want +got):\n%s", diff)
		}
	})
}

func TestUnusedTokensAreRenewedOnceAndThenLeave(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(55 * time.Minute) // renewed: used since it came
		wantMade(t, m, 2)
		time.Sleep(59*time.Minute + 30*time.Second) // not again: unused; at the leeway still good
		wantMade(t, m, 2)
		if c.Entries() != 1 {
			t.Error("a good token has left")
		}
		time.Sleep(1)
		synctest.Wait()
		if c.Entries() != 0 {
			t.Error("an expired token has stayed")
		}
		wantMade(t, m, 2)
	})
}

func TestATokenWhoseCallerLeftIsNotRenewed(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, takes: 5 * time.Second}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := c.Token(ctx, keyA, m.mint); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		time.Sleep(2 * hour)
		wantMade(t, m, 1)
	})
}

func TestKeptTokensAreRenewedUnused(t *testing.T) {
	var open atomic.Bool
	open.Store(true)
	var c *Cache
	opts := defaults()
	opts.Keep = func(k Key) bool {
		c.Entries()
		c.ForgetSubject("another") // may call into the cache
		return k == keyA && open.Load()
	}
	inBubble(t, opts, func(t *testing.T, made *Cache) {
		c = made
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(5 * 55 * time.Minute)
		wantMade(t, m, 6)
		open.Store(false)
		time.Sleep(2 * hour)
		wantMade(t, m, 6)
		if c.Entries() != 0 {
			t.Error("the token has stayed")
		}
	})
}

func TestACallInTheSoonBandRenewsAndDoesNotWait(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(55 * time.Minute)
		wantMade(t, m, 2)
		time.Sleep(56 * time.Minute) // the second was not used until now
		wantMade(t, m, 2)
		m.slow(20 * time.Second)
		start := time.Now()
		for range 3 {
			want(t, c, m, 2)
		}
		if time.Since(start) != 0 {
			t.Error("the call waited")
		}
		wantMade(t, m, 3)
		time.Sleep(21 * time.Second)
		want(t, c, m, 3)
	})
}

// lateToken gives a cache with a token, number 2, that is late: 80 s of life, unused until now.
func lateToken(t *testing.T, c *Cache) *mill {
	t.Helper()
	m := &mill{lifetime: hour}
	want(t, c, m, 1)
	time.Sleep(55 * time.Minute)
	wantMade(t, m, 2)
	time.Sleep(hour - 80*time.Second)
	return m
}

func TestALateCallWaitsForTheRenewal(t *testing.T) {
	opts, count := defaults(), new(tally)
	opts.Observe = count.observe
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := lateToken(t, c)
		m.slow(2 * time.Second)
		start := time.Now()
		want(t, c, m, 3)
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("waited %v, want 2s", got)
		}
		time.Sleep(55 * time.Minute) // the call used what it waited for
		wantMade(t, m, 4)
		synctest.Wait()
		if diff := cmp.Diff(map[string]int{"fetched": 1, "joined": 1, "renewed": 3}, count.get()); diff != "" {
			t.Errorf("observed (-want +got):\n%s", diff)
		}
	})
}

func TestALateCallGoesOnWithTheOldToken(t *testing.T) {
	tests := map[string]struct {
		takes time.Duration
		err   error
		waits time.Duration
	}{
		"after 3 s":         {20 * time.Second, nil, 3 * time.Second},
		"when that failed":  {time.Second, errors.New("down"), time.Second},
		"when refused":      {time.Second, &refusedError{permanent: true}, time.Second},
		"failed after that": {20 * time.Second, errors.New("down"), 3 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, defaults(), func(t *testing.T, c *Cache) {
				m := lateToken(t, c)
				m.slow(test.takes)
				m.fail(test.err)
				start := time.Now()
				want(t, c, m, 2)
				if got := time.Since(start); got != test.waits {
					t.Errorf("waited %v, want %v", got, test.waits)
				}
				wantMade(t, m, 3)
			})
		})
	}
}

// A renewal that takes long, or fails late, does not cost the call the token that was
// there when it came.
func TestALateCallDoesNotUseItsTokenUp(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := lateToken(t, c)
		time.Sleep(49 * time.Second) // 31 s left, the leeway is 30 s
		m.slow(8 * time.Second)
		start := time.Now()
		want(t, c, m, 2)
		if got := time.Since(start); got < 500*time.Millisecond || got > 501*time.Millisecond {
			t.Errorf("waited %v, want half a second", got)
		}
		wantMade(t, m, 3)
	})
}

// A laptop that was closed while a late call waits: its token has run out meanwhile.
func TestALateCallWhoseTokenExpiresMeanwhileWaitsOn(t *testing.T) {
	tests := map[string]struct {
		takes, waits time.Duration
	}{
		"for the renewal":         {8 * time.Second, 8 * time.Second},
		"but no longer than Wait": {50 * time.Second, 10 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var jump atomic.Int64
			opts := defaults()
			opts.Wall = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
			inBubble(t, opts, func(t *testing.T, c *Cache) {
				m := lateToken(t, c)
				m.slow(test.takes)
				start := time.Now()
				time.AfterFunc(time.Second, func() { jump.Store(int64(time.Minute)) })
				if test.takes == test.waits {
					want(t, c, m, 3)
				} else {
					wantError(t, c, m.mint, "helseid-unavailable", "slow")
				}
				if got := time.Since(start); got != test.waits {
					t.Errorf("waited %v, want %v", got, test.waits)
				}
				wantMade(t, m, 3) // it joined the renewal
			})
		})
	}
}

// With an early renewal that is set to less than 90 s, a token is late before its timer fires.
func TestTheTimerFindsARenewalUnderWay(t *testing.T) {
	opts := defaults()
	opts.RefreshBefore = time.Minute
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(hour - 80*time.Second)
		m.slow(40 * time.Second)
		want(t, c, m, 1)
		wantMade(t, m, 2)
		time.Sleep(20 * time.Second)
		wantMade(t, m, 2)
		time.Sleep(20 * time.Second)
		want(t, c, m, 2)
	})
}

func TestALateCallerThatLeaves(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := lateToken(t, c)
		m.slow(20 * time.Second)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := c.Token(ctx, keyA, m.mint); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the caller's own", err)
		}
	})
}

func TestNeverEarly(t *testing.T) {
	opts := defaults()
	opts.RefreshBefore = 0
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(hour - 30*time.Second)
		want(t, c, m, 1)
		wantMade(t, m, 1)
		time.Sleep(1)
		want(t, c, m, 2)
	})
}

// A token that no renewal prolongs is used to its end, and nobody waits for another before that.
func TestTheLastTokenIsNotRenewed(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		last := func(ctx context.Context) (*Token, error) {
			token, err := m.mint(ctx)
			token.Last = true
			return token, err
		}
		for _, sleep := range []time.Duration{0, 56 * time.Minute, 3*time.Minute + 30*time.Second} { // fresh, soon, late for others
			time.Sleep(sleep)
			if token, err := c.Token(t.Context(), keyA, last); err != nil || token.AccessToken != "t1" {
				t.Fatal(token, err)
			}
			wantMade(t, m, 1)
		}
		time.Sleep(time.Minute)
		wantMade(t, m, 1)
		if n := c.Entries(); n != 0 {
			t.Errorf("%d entries after the end", n)
		}
		if token, err := c.Token(t.Context(), keyA, last); err != nil || token.AccessToken != "t2" {
			t.Fatal(token, err)
		}
	})
}

// While the server is down, the old token is used to its end, and the tries become fewer; then the error is told.
func TestRenewalThatFails(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		down := errors.New("down")
		want(t, c, m, 1)
		start := time.Now()
		m.fail(down)
		tries := []time.Duration{0, 10, 30, 70, 130, 190, 250} // seconds after the first, pauses 10, 20, 40, 60, 60, 60
		for i, after := range tries {
			time.Sleep(time.Until(start.Add(55*time.Minute + after*time.Second - 1)))
			wantMade(t, m, int64(1+i))
			want(t, c, m, 1) // calls start no further try
			wantMade(t, m, int64(1+i))
			time.Sleep(1)
			wantMade(t, m, int64(2+i))
			want(t, c, m, 1)
		}
		made := m.made.Load()
		time.Sleep(time.Until(start.Add(hour - 30*time.Second)))
		want(t, c, m, 1)
		time.Sleep(1)
		if _, err := c.Token(t.Context(), keyA, m.mint); !errors.Is(err, down) {
			t.Errorf("error %v, want the mint's own", err)
		}
		if _, err := c.Token(t.Context(), keyA, m.mint); !errors.Is(err, down) {
			t.Errorf("error %v, want the mint's own", err)
		}
		wantMade(t, m, made+2)
		m.fail(nil)
		want(t, c, m, int(made)+3)
	})
}

func TestRenewalThatRecovers(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		m.fail(errors.New("down"))
		time.Sleep(55 * time.Minute)
		wantMade(t, m, 2)
		m.fail(nil)
		time.Sleep(10 * time.Second)
		wantMade(t, m, 3)
		want(t, c, m, 3)
	})
}

func TestRetryAfterDelaysTheNextTry(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		m.fail(&refusedError{after: 45 * time.Second})
		time.Sleep(55 * time.Minute)
		wantMade(t, m, 2)
		time.Sleep(45*time.Second - 1)
		want(t, c, m, 1)
		wantMade(t, m, 2)
		time.Sleep(1)
		wantMade(t, m, 3)
	})
}

// The laptop sleeps: the wall clock jumps, the monotonic clock and with it all timers stand still.
func TestSleep(t *testing.T) {
	for _, slept := range []time.Duration{20 * time.Minute, 56 * time.Minute, hour - 29*time.Second, 9 * hour} {
		t.Run(slept.String(), func(t *testing.T) {
			var jump atomic.Int64
			opts := defaults()
			opts.Wall = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
			inBubble(t, opts, func(t *testing.T, c *Cache) {
				m := &mill{lifetime: hour, wall: opts.Wall}
				want(t, c, m, 1)
				jump.Store(int64(slept))
				switch {
				case slept < 55*time.Minute:
					want(t, c, m, 1)
					wantMade(t, m, 1)
				case slept < hour-30*time.Second:
					want(t, c, m, 1)
					wantMade(t, m, 2)
					want(t, c, m, 2)
				default:
					want(t, c, m, 2)
				}
			})
		})
	}
}

func TestATimerAfterASleepFetchesNothingForAnExpiredToken(t *testing.T) {
	var jump atomic.Int64
	opts := defaults()
	opts.Wall = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, wall: opts.Wall}
		want(t, c, m, 1)
		jump.Store(int64(9 * hour))
		time.Sleep(55 * time.Minute)
		wantMade(t, m, 1)
		if c.Entries() != 0 {
			t.Error("the expired token has stayed")
		}
	})
}

// Someone sets the wall clock back: the monotonic clock goes on.
func TestWallClockSetBack(t *testing.T) {
	for name, monotonic := range map[string]bool{"sent with a monotonic reading": true, "sent by the wall clock only": false} {
		t.Run(name, func(t *testing.T) {
			var jump atomic.Int64
			opts := defaults()
			opts.RefreshBefore = 0
			opts.Wall = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
			inBubble(t, opts, func(t *testing.T, c *Cache) {
				m := &mill{lifetime: hour}
				if !monotonic {
					m.wall = opts.Wall
				}
				want(t, c, m, 1)
				jump.Store(int64(-5 * hour))
				time.Sleep(hour - 30*time.Second)
				want(t, c, m, 1)
				time.Sleep(1)
				synctest.Wait()
				want(t, c, m, 2)
			})
		})
	}
}

func TestEvictionStopsTheTimer(t *testing.T) {
	opts := defaults()
	opts.Entries = 3
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		var all []*entry
		for i := range 10 {
			k := Key{Subject: fmt.Sprint("s", i)}
			if _, err := c.Token(t.Context(), k, m.mint); err != nil {
				t.Fatal(err)
			}
			e, _ := c.entries.Peek(k)
			all = append(all, e)
		}
		for i, e := range all[:7] {
			if e.timer.Stop() {
				t.Errorf("the timer of entry %d still ran", i)
			}
		}
		if c.Entries() != 3 || len(c.subjects) != 3 {
			t.Errorf("%d entries of %d subjects, want 3", c.Entries(), len(c.subjects))
		}
		time.Sleep(55 * time.Minute)
		wantMade(t, m, 13) // only the three that are held are renewed
	})
}

func TestForget(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		token := func() *Token {
			token, err := c.Token(t.Context(), keyA, m.mint)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		forget := func(token *Token, want bool) {
			t.Helper()
			if got := c.Forget(keyA, token); got != want {
				t.Errorf("Forget = %v, want %v", got, want)
			}
		}
		first := token()
		forget(nil, false)
		forget(first, true)
		forget(first, true) // nothing is held: another call may go and get one
		want(t, c, m, 2)
		forget(first, true) // gone already, and the newer one stays
		want(t, c, m, 2)
		second := token()
		forget(second, false)
		time.Sleep(5*time.Minute - 1)
		forget(second, false)
		want(t, c, m, 2)
		time.Sleep(1)
		forget(second, true)
		want(t, c, m, 3)
		if !c.Forget(Key{Subject: "s2"}, second) {
			t.Error("the pause of one key holds for another")
		}
		time.Sleep(54 * time.Minute) // the timers of the forgotten ones do nothing
		wantMade(t, m, 3)
	})
}

func TestForgetSubject(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		refusing := &mill{lifetime: hour}
		refusing.fail(&refusedError{permanent: true})
		for _, subject := range []string{"s1", "s2", ""} {
			for _, parent := range []string{"100100126", "999944582"} {
				if _, err := c.Token(t.Context(), Key{Subject: subject, Parent: parent}, m.mint); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Token(t.Context(), Key{Subject: subject}, refusing.mint); err == nil {
				t.Fatal("not refused")
			}
		}
		c.ForgetSubject("s1")
		if c.Entries() != 4 || c.refusals.Len() != 2 {
			t.Errorf("%d tokens and %d refusals are left, want 4 and 2", c.Entries(), c.refusals.Len())
		}
		if _, err := c.Token(t.Context(), Key{Subject: "s1"}, m.mint); err != nil {
			t.Error("the refusal is still remembered")
		}
		c.ForgetSubject("nobody")
	})
}

// What ended at another replica is forgotten here alone: of what replicas share only who
// ends it takes anything away.
func TestForgetHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := store.NewMemory(), &mill{lifetime: hour}
		caches, _ := fleet(t, 1, s)
		c, refusing := caches[0], &mill{lifetime: hour}
		refusing.fail(&refusedError{permanent: true})
		for _, k := range []Key{{Subject: "s1"}, {Subject: "s1", Parent: "p"}, {Subject: "s2"}, {}} {
			if _, err := c.Token(t.Context(), k, m.mint); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Token(t.Context(), Key{Subject: "s1", Parent: "refused"}, refusing.mint); err == nil {
			t.Fatal("not refused")
		}
		c.ForgetHere("nobody")
		if n := c.Entries(); n != 4 {
			t.Errorf("%d tokens are held, want 4", n)
		}
		c.ForgetHere("s1")
		if c.Entries() != 2 || c.refusals.Len() != 0 {
			t.Errorf("%d tokens and %d refusals are held, want 2 and 0", c.Entries(), c.refusals.Len())
		}
		synctest.Wait()
		if tokens := s.Len(kindToken); tokens != 4 {
			t.Errorf("%d tokens are shared, want 4", tokens)
		}
		m.slow(time.Second)
		go func() { _, _ = c.Token(t.Context(), Key{Subject: "s3"}, m.mint) }()
		synctest.Wait()
		c.ForgetHere("s3") // of which there is nothing yet but what is under way
		time.Sleep(2 * time.Second)
		if n := c.Entries(); n != 2 {
			t.Errorf("%d tokens are held, want 2", n)
		}
	})
}

func TestForgetSubjectWhileAFlightIsUnderWay(t *testing.T) {
	for name, failure := range map[string]error{"token": nil, "refusal": &refusedError{permanent: true}} {
		t.Run(name, func(t *testing.T) {
			opts, count := defaults(), new(tally)
			opts.Observe = count.observe
			inBubble(t, opts, func(t *testing.T, c *Cache) {
				m := &mill{lifetime: hour, takes: 5 * time.Second}
				m.fail(failure)
				var group sync.WaitGroup
				group.Go(func() {
					token, err := c.Token(t.Context(), keyA, m.mint)
					if failure == nil && (err != nil || token.AccessToken != "t1") || !errors.Is(err, failure) {
						t.Errorf("the caller that waited got error %v, want %v", err, failure)
					}
				})
				time.Sleep(time.Second)
				c.ForgetSubject(keyA.Subject)
				m.fail(nil)
				time.Sleep(time.Second)
				group.Go(func() { // must not join what belongs to the time before
					if token, err := c.Token(t.Context(), keyA, m.mint); err != nil || token.AccessToken != "t2" {
						t.Errorf("the call after that got error %v", err)
					}
				})
				time.Sleep(4 * time.Second) // the first has landed, the second has not
				synctest.Wait()
				if c.Entries() != 0 || c.refusals.Len() != 0 {
					t.Error("the outcome of a forgotten flight was kept")
				}
				group.Wait()
				want(t, c, m, 2)
			})
		})
	}
}

// A renewal that was under way must not bring a session back either.
func TestForgetSubjectWhileARenewalIsUnderWay(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		m.slow(5 * time.Second)
		time.Sleep(55*time.Minute + time.Second)
		wantMade(t, m, 2)
		c.ForgetSubject(keyA.Subject)
		time.Sleep(hour)
		synctest.Wait()
		if c.Entries() != 0 {
			t.Error("the renewed token was kept")
		}
		wantMade(t, m, 2)
	})
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	opts := defaults()
	opts.Entries = 8
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: 2 * time.Minute, takes: 10 * time.Millisecond}
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				for j := range 100 {
					k := Key{Subject: fmt.Sprint("s", j%4), Parent: fmt.Sprint(j % 3)}
					token, err := c.Token(t.Context(), k, m.mint)
					if err != nil {
						t.Error(err)
						return
					}
					switch {
					case j%17 == i:
						c.Forget(k, token)
					case j%29 == i:
						c.ForgetSubject(k.Subject)
					}
					time.Sleep(time.Duration(i*j) * 20 * time.Millisecond)
				}
			})
		}
		group.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		listed := 0
		for _, keys := range c.subjects {
			listed += len(keys)
		}
		if listed != c.Entries() || c.Entries() > 8 {
			t.Errorf("%d keys listed by subject, %d entries", listed, c.Entries())
		}
	})
}

func BenchmarkHit(b *testing.B) {
	c := newCache(b, Options{RefreshBefore: 5 * time.Minute, Leeway: 30 * time.Second})
	m := &mill{lifetime: 1000 * hour}
	keys := make([]Key, 100)
	for i := range keys {
		keys[i] = keyA
		keys[i].Child = fmt.Sprint(i)
		if _, err := c.Token(b.Context(), keys[i], m.mint); err != nil {
			b.Fatal(err)
		}
	}
	ctx, mint := b.Context(), Mint(m.mint)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Token(ctx, keys[i%len(keys)], mint); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHitInParallel(b *testing.B) {
	c := newCache(b, Options{RefreshBefore: 5 * time.Minute, Leeway: 30 * time.Second})
	m := &mill{lifetime: 1000 * hour}
	ctx, mint := b.Context(), Mint(m.mint)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Token(ctx, keyA, mint); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func TestMintedTellsOfEveryTokenThatIsKept(t *testing.T) {
	var c *Cache
	var told []string
	opts := defaults()
	opts.Minted = func(k Key, token *Token) {
		c.Entries() // may call into the cache
		if got, err := c.Token(context.Background(), k, nil); err != nil || got != token || k != keyA {
			t.Errorf("the token is not held: %v", err)
		}
		told = append(told, token.AccessToken)
	}
	inBubble(t, opts, func(t *testing.T, made *Cache) {
		c = made
		m := &mill{lifetime: hour}
		want(t, c, m, 1)
		time.Sleep(55 * time.Minute) // renewed
		synctest.Wait()
		want(t, c, m, 2)
		if diff := cmp.Diff([]string{"t1", "t2"}, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
