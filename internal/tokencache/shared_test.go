package tokencache

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/store"
)

// dead is a store that can not be read.
type dead struct{ store.Store }

var errDead = errors.New("the store is down")

func (dead) Get(context.Context, store.Key) (store.Entry, error) { return store.Entry{}, errDead }

func fleet(t *testing.T, n int, s store.Store) (caches []*Cache, told []*tally) {
	t.Helper()
	for range n {
		count := new(tally)
		c, err := New(Options{RefreshBefore: 5 * time.Minute, Leeway: 30 * time.Second, Observe: count.observe, Shared: &Shared{Store: s}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		caches, told = append(caches, c), append(told, count)
	}
	return caches, told
}

func (c *tally) of(result string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[result]
}

// Replicas that need a token at once fetch it once, and renew it once.
func TestSharedFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mill{lifetime: hour}
		m.slow(time.Second)
		caches, told := fleet(t, 5, store.NewMemory())
		k := Key{Parent: "p"}
		got := make(chan string)
		for _, c := range caches {
			go func() {
				token, err := c.Token(t.Context(), k, m.mint)
				if err != nil {
					t.Error(err)
					token = &Token{}
				}
				got <- token.AccessToken
			}()
		}
		for range caches {
			if token := <-got; token != "t1" {
				t.Errorf("%s, want t1", token)
			}
		}
		fetched, shared := 0, 0
		for _, count := range told {
			fetched, shared = fetched+count.of("fetched"), shared+count.of("shared")
		}
		if fetched != 1 || shared != 4 || m.made.Load() != 1 {
			t.Errorf("%d fetched, %d shared, %d minted", fetched, shared, m.made.Load())
		}
		time.Sleep(hour - 2*time.Minute)
		if m.made.Load() != 2 {
			t.Errorf("%d minted after the renewal, want 2", m.made.Load())
		}
		for _, c := range caches {
			if token, err := c.Token(t.Context(), k, m.mint); err != nil || token.AccessToken != "t2" {
				t.Errorf("after the renewal: %v %v", token, err)
			}
		}
	})
}

// A token that the receiver refused is not taken from the store again, and one that
// another replica got instead is.
func TestSharedForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mill{lifetime: hour}
		caches, _ := fleet(t, 2, store.NewMemory())
		k := Key{Parent: "p"}
		for _, c := range caches {
			token, err := c.Token(t.Context(), k, m.mint)
			if err != nil || token.AccessToken != "t1" || !c.Forget(k, token) {
				t.Fatalf("%v %v", token, err)
			}
		}
		for _, c := range caches {
			if token, err := c.Token(t.Context(), k, m.mint); err != nil || token.AccessToken != "t2" {
				t.Errorf("%v %v, want t2", token, err)
			}
		}
	})
}

// A store that is down, damaged or behind costs fetches, and never a call.
func TestSharedMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := Key{Parent: "p"}
		for what, prepare := range map[string]func(*Shared) store.Store{
			"down": func(s *Shared) store.Store { return dead{s.Store} },
			"broken": func(s *Shared) store.Store {
				_ = s.Store.Put(t.Context(), s.name(k), []byte("{"), hour)
				return s.Store
			},
			"over": func(s *Shared) store.Store {
				_ = s.put(t.Context(), k, &Token{AccessToken: "old", Type: "DPoP", Sent: time.Now().Add(-hour + time.Second), Lifetime: hour}, 0)
				return s.Store
			},
			"another's": func(s *Shared) store.Store {
				_ = s.put(t.Context(), Key{Child: "p"}, &Token{AccessToken: "other", Type: "DPoP", Sent: time.Now(), Lifetime: hour}, 0)
				return s.Store
			},
		} {
			m := &mill{lifetime: hour}
			caches, _ := fleet(t, 1, prepare(&Shared{Store: store.NewMemory()}))
			if token, err := caches[0].Token(t.Context(), k, m.mint); err != nil || token.AccessToken != "t1" {
				t.Errorf("%s: %v %v", what, token, err)
			}
		}
	})
}

// limping is a store that does not do everything, in its own words.
type limping struct {
	store.Store
	fails  *int // reads, from the first on
	locked bool
}

var errSlow = &store.Failure{Op: "get", Reason: store.Slow, Err: context.DeadlineExceeded}

func (l limping) Get(ctx context.Context, k store.Key) (store.Entry, error) {
	if *l.fails > 0 {
		*l.fails--
		return store.Entry{}, errSlow
	}
	return l.Store.Get(ctx, k)
}

func (l limping) Lock(ctx context.Context, k store.Key) (store.Hold, error) {
	if l.locked {
		return nil, errSlow
	}
	return l.Store.Lock(ctx, k)
}

// Whose mint needs the store is refused while that is down, and not minted beside what
// another replica has minted already. One call that failed is no outage.
func TestSharedNeeded(t *testing.T) {
	tests := map[string]struct {
		fails           int
		locked, machine bool
		there, want     string
	}{
		"all works":                 {0, false, false, "other", "other"},
		"one read fails":            {1, false, false, "other", "other"},
		"one read fails, and new":   {1, false, false, "", "t1"},
		"not read under the lock":   {2, false, false, "other", ""},
		"no lock":                   {0, true, false, "", ""},
		"nothing works":             {9, true, false, "other", ""},
		"a machine asks by itself":  {9, true, true, "other", "t1"},
		"a machine without a lock":  {0, true, true, "", "t1"},
		"a machine, one read fails": {1, false, true, "other", "t1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, k := &mill{lifetime: hour}, Key{Subject: "s"}
				s := &Shared{Store: limping{store.NewMemory(), &test.fails, test.locked}, Needed: func(Key) bool { return !test.machine }}
				if test.there != "" {
					if err := s.put(t.Context(), k, &Token{AccessToken: test.there, Type: "DPoP", Sent: time.Now(), Lifetime: hour}, 0); err != nil {
						t.Fatal(err)
					}
				}
				c := newCache(t, Options{Shared: s})
				if test.want == "" {
					wantErrorFor(t, c, k, m.mint)
					return
				}
				if token, err := c.Token(t.Context(), k, m.mint); err != nil || token.AccessToken != test.want {
					t.Errorf("%v %v", token, err)
				}
			})
		})
	}
}

// wantErrorFor wants the refusal that says that the store is down.
func wantErrorFor(t *testing.T, c *Cache, k Key, mint Mint) {
	t.Helper()
	_, err := c.Token(t.Context(), k, mint)
	own, ok := errors.AsType[*Error](err)
	if !ok || own.Code() != "store-unavailable" || own.RetryAfter() != retryAfter || !errors.Is(err, errSlow) ||
		own.Detail() != "the shared store did not answer" {
		t.Errorf("error %v", err)
	}
}

// A token's life counts by the common time, whatever the clock of a replica says.
func TestSharedClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, k := store.NewMemory(), &mill{lifetime: hour}, Key{Parent: "p"}
		common := time.Now
		ahead := &Shared{Store: s, Now: func() time.Time { return common().Add(5 * time.Minute) }}
		level := &Shared{Store: s, Now: func() time.Time { return common().Add(5 * time.Minute) }}
		token, _ := m.mint(t.Context())
		if err := ahead.put(t.Context(), k, token, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		got, err := level.get(t.Context(), k)
		if err != nil || !got.Sent.Equal(token.Sent.Round(0)) {
			t.Errorf("sent %v, want %v (%v)", got.Sent, token.Sent, err)
		}
		// One whose clock was not set right yet believes it older or younger by its fault.
		behind := &Shared{Store: s}
		if got, err = behind.get(t.Context(), k); err != nil || got.Sent.Sub(token.Sent) != 5*time.Minute {
			t.Errorf("sent %v (%v)", got.Sent, err)
		}
	})
}

// What is forgotten with its subject leaves the store, too, and a flight that lands
// after that leaves nothing there.
func TestSharedForgottenSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, k := store.NewMemory(), &mill{lifetime: hour}, Key{Subject: "s"}
		caches, _ := fleet(t, 1, s)
		if _, err := caches[0].Token(t.Context(), k, m.mint); err != nil || s.Len(kindToken) != 1 {
			t.Fatalf("%d stored, %v", s.Len(kindToken), err)
		}
		m.slow(time.Second)
		go func() { _, _ = caches[0].Token(t.Context(), Key{Subject: "s", Parent: "p"}, m.mint) }()
		synctest.Wait()
		caches[0].ForgetSubject("s")
		time.Sleep(2 * time.Second)
		if n := s.Len(kindToken); n != 0 {
			t.Errorf("%d tokens are left", n)
		}
	})
}

// A subject that ends at one replica leaves none of its tokens in the store, whoever
// fetched them; those of others stay. One that is fetched in that moment goes, too.
func TestSharedSubjectEndsEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := store.NewMemory(), &mill{lifetime: hour}
		caches, _ := fleet(t, 3, s)
		for i, c := range caches {
			for _, k := range []Key{{Subject: "s", Parent: string(rune('a' + i))}, {Subject: "other", Parent: string(rune('a' + i))}, {Parent: "machine"}} {
				if _, err := c.Token(t.Context(), k, m.mint); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := s.Len(kindToken); n != 7 {
			t.Fatalf("%d tokens are shared, want 7", n)
		}
		m.slow(time.Second)
		go func() { _, _ = caches[1].Token(t.Context(), Key{Subject: "s", Parent: "z"}, m.mint) }()
		synctest.Wait()
		caches[0].ForgetSubject("s")
		synctest.Wait()
		if n := s.Len(kindToken); n != 4 {
			t.Errorf("%d tokens are left, want 4", n)
		}
		time.Sleep(2 * time.Second)
		if n := s.Len(kindToken); n != 4 {
			t.Errorf("%d tokens are left after a late fetch, want 4", n)
		}
		if n := s.Len(kindSubject); n != 2 {
			t.Errorf("%d lists, want that of the other subject and the mark", n)
		}
		time.Sleep(3 * time.Minute)
		if n := s.Len(kindSubject); n != 1 {
			t.Errorf("%d lists, the mark is left", n)
		}
	})
}

// The list of a subject does not grow with each renewal, and ends with its tokens.
func TestSharedListIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := store.NewMemory(), &mill{lifetime: time.Minute}
		caches, _ := fleet(t, 1, s)
		for i := range 30 {
			for _, parent := range []string{"a", string(rune('b' + i))} {
				if _, err := caches[0].Token(t.Context(), Key{Subject: "s", Parent: parent}, m.mint); err != nil {
					t.Fatal(err)
				}
			}
			l, err := caches[0].opts.Shared.changeList(t.Context(), "s", func(*subjectTokens, time.Time) time.Duration { return 0 })
			if err != nil || len(l.Until) > 4 {
				t.Fatalf("%d tokens are listed, %v", len(l.Until), err)
			}
			time.Sleep(40 * time.Second)
		}
		time.Sleep(time.Hour)
		if n := s.Len(kindToken) + s.Len(kindSubject); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

// unlisted is a store that takes no list.
type unlisted struct{ store.Store }

func (unlisted) PutIf(context.Context, store.Key, []byte, time.Duration, uint64) error {
	return errDead
}

// A token that can't be listed is not left where nobody would find it.
func TestSharedNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := store.NewMemory(), &mill{lifetime: hour}
		caches, _ := fleet(t, 1, unlisted{s})
		if _, err := caches[0].Token(t.Context(), Key{Subject: "s"}, m.mint); err != nil {
			t.Fatal(err)
		}
		if n := s.Len(kindToken); n != 0 {
			t.Errorf("%d tokens are left", n)
		}
	})
}

// The end of a process waits for what it removes.
func TestSharedRemovedAtTheEnd(t *testing.T) {
	s, m := store.NewMemory(), &mill{lifetime: hour}
	caches, _ := fleet(t, 1, s)
	if _, err := caches[0].Token(t.Context(), Key{Subject: "s"}, m.mint); err != nil {
		t.Fatal(err)
	}
	caches[0].ForgetSubject("s")
	caches[0].Close()
	if n := s.Len(kindToken); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

// A renewal takes from the store only what need not be renewed itself.
func TestSharedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, k := store.NewMemory(), &mill{lifetime: hour}, Key{Parent: "p"}
		caches, told := fleet(t, 1, s)
		if _, err := caches[0].Token(t.Context(), k, m.mint); err != nil {
			t.Fatal(err)
		}
		other := &Token{AccessToken: "other", Type: "DPoP", Sent: time.Now().Add(-90 * time.Second), Lifetime: hour}
		if err := caches[0].opts.Shared.put(t.Context(), k, other, 1<<60); err != nil {
			t.Fatal(err)
		}
		time.Sleep(hour - 2*time.Minute)
		if told[0].of("renewed") != 1 || m.made.Load() != 2 {
			t.Errorf("%d renewed, %d minted; what was as old was taken for new", told[0].of("renewed"), m.made.Load())
		}
	})
}

// A token that another replica fetched is as old here as there: a late one is renewed
// before it is used, or used when that fails.
func TestSharedLate(t *testing.T) {
	for what, fails := range map[string]bool{"renewed": false, "HelseID is down": true} {
		synctest.Test(t, func(t *testing.T) {
			m := &mill{lifetime: hour}
			caches, _ := fleet(t, 2, store.NewMemory())
			k := Key{Parent: "p"}
			if _, err := caches[0].Token(t.Context(), k, m.mint); err != nil {
				t.Fatal(err)
			}
			caches[0].Close() // it would renew in time
			time.Sleep(hour - time.Minute)
			want := "t2"
			if fails {
				m.fail(errors.New("down"))
				want = "t1"
			}
			token, err := caches[1].Token(t.Context(), k, m.mint)
			if err != nil || token.AccessToken != want {
				t.Errorf("%s: %v %v, want %s", what, token, err, want)
			}
		})
	}
}

// The common time is learned before the age of another's token is judged by it.
func TestSharedTimeIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := &mill{lifetime: hour}, store.NewMemory()
		caches, _ := fleet(t, 2, s)
		k := Key{Parent: "p"}
		if _, err := caches[0].Token(t.Context(), k, m.mint); err != nil {
			t.Fatal(err)
		}
		off := -2 * time.Hour
		caches[1].opts.Shared.Now = func() time.Time { return time.Now().Add(off) }
		caches[1].opts.Shared.Learn = func(context.Context) { off = 0 }
		time.Sleep(10 * time.Minute)
		token, err := caches[1].Token(t.Context(), k, m.mint)
		if err != nil || time.Since(token.Sent) != 10*time.Minute {
			t.Errorf("%v, sent %v ago", err, time.Since(token.Sent))
		}
	})
}

// One that is due soon is used, and renewed meanwhile.
func TestSharedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mill{lifetime: hour}
		caches, _ := fleet(t, 2, store.NewMemory())
		k := Key{Parent: "p"}
		if _, err := caches[0].Token(t.Context(), k, m.mint); err != nil {
			t.Fatal(err)
		}
		caches[0].Close()
		time.Sleep(hour - 3*time.Minute)
		if token, err := caches[1].Token(t.Context(), k, m.mint); err != nil || token.AccessToken != "t1" {
			t.Errorf("%v %v, want t1", token, err)
		}
		synctest.Wait()
		if n := m.made.Load(); n != 2 {
			t.Errorf("%d minted, want 2", n)
		}
	})
}

// waiting is a store whose locks are never free.
type waiting struct{ store.Store }

func (waiting) Lock(ctx context.Context, _ store.Key) (store.Hold, error) {
	<-ctx.Done()
	return nil, &store.Failure{Op: "lock", Reason: store.Cancelled, Err: context.Cause(ctx)}
}

// A flight that ends while it waits says so, and does not blame the store.
func TestSharedFlightEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{
			Wait: time.Minute, FetchTimeout: time.Second,
			Shared: &Shared{Store: waiting{store.NewMemory()}, Needed: func(Key) bool { return true }},
		})
		m := &mill{lifetime: hour}
		_, err := c.Token(t.Context(), Key{Subject: "s"}, m.mint)
		if own, ok := errors.AsType[*Error](err); !ok || own.Code() != "helseid-unavailable" || own.Reason() != "slow" {
			t.Errorf("error %v", err)
		}
	})
}

// A call that has a late token in hand when its renewal has just landed goes on with the
// new one.
func TestLateTokenWasRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mill{lifetime: hour}
		caches, _ := fleet(t, 1, store.NewMemory())
		c, k := caches[0], Key{Parent: "p"}
		if _, err := c.Token(t.Context(), k, m.mint); err != nil {
			t.Fatal(err)
		}
		old, _ := c.entries.Peek(k)
		time.Sleep(hour - time.Minute) // it was renewed by itself meanwhile
		token, _, err := c.renewed(t.Context(), old, m.mint, time.Now().Add(time.Minute))
		if err != nil || token.AccessToken != "t2" || m.made.Load() != 2 {
			t.Errorf("%v, %v after %d fetches, want t2 after 2", token, err, m.made.Load())
		}
	})
}

// Replicas of two versions read what the other wrote while one is rolled out.
func TestSharedFormsStay(t *testing.T) {
	for written, into := range map[string]any{
		`{"access_token":"t","type":"DPoP","sent":"2026-01-02T03:04:05Z","lifetime":3600000000000,"last":true}`: new(stored),
		`{"gone":true,"until":{"one":1767323045}}`:                                                              new(subjectTokens),
	} {
		if err := json.Unmarshal([]byte(written), into); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(into); err != nil || string(again) != written {
			t.Errorf("%T was\n%s\nand is now\n%s (%v)", into, written, again, err)
		}
	}
}
