package tokencache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const hour = time.Hour

// mill is a mint for tests: it counts, takes its time, and fails when told to.
type mill struct {
	lifetime time.Duration
	wall     func() time.Time // if not nil, Sent is this wall clock's, without a monotonic reading
	made     atomic.Int64

	mu    sync.Mutex // guards what follows
	takes time.Duration
	err   error
}

func (m *mill) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// slow sets how long each further mint takes.
func (m *mill) slow(takes time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.takes = takes
}

func (m *mill) mint(ctx context.Context) (*Token, error) {
	number := m.made.Add(1)
	m.mu.Lock()
	err, takes, sent := m.err, m.takes, time.Now()
	if m.wall != nil {
		sent = m.wall().Round(0)
	}
	m.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, fmt.Errorf("milling: %w", ctx.Err())
		}
	}
	if err != nil {
		return nil, err
	}
	return &Token{AccessToken: fmt.Sprint("t", number), Type: "DPoP", Sent: sent, Lifetime: m.lifetime}, nil
}

// tally counts what Observe is told.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) observe(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[result]++
}

func (c *tally) get() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// middle is a jitter that changes nothing.
func middle() float64 { return 0.5 }

// defaults are the product's own.
func defaults() Options {
	return Options{Entries: 100, RefreshBefore: 5 * time.Minute, Leeway: 30 * time.Second, Wait: 10 * time.Second, FetchTimeout: time.Minute, Jitter: middle}
}

func newCache(t testing.TB, opts Options) *Cache {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// inBubble runs a test where time is synctest's, and closes the cache before the bubble ends; a goroutine or timer that
// is left over then makes the bubble fail.
func inBubble(t *testing.T, opts Options, test func(t *testing.T, c *Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newCache(t, opts))
	})
}

var keyA = Key{Issuer: "https://helseid.example", Subject: "s1", Parent: "100100126", Journal: "j"}

// want asks for a token and fails unless it is the one with that number.
func want(t *testing.T, c *Cache, m *mill, number int) {
	t.Helper()
	token, err := c.Token(t.Context(), keyA, m.mint)
	if err != nil {
		t.Fatal(err)
	}
	if token.AccessToken != fmt.Sprint("t", number) {
		t.Fatalf("token number %s, want t%d", token.AccessToken, number)
	}
}

func wantMade(t *testing.T, m *mill, number int64) {
	t.Helper()
	synctest.Wait()
	if got := m.made.Load(); got != number {
		t.Fatalf("%d mints, want %d", got, number)
	}
}

// wantError asks for a token and checks the refusal's code and reason.
func wantError(t *testing.T, c *Cache, mint Mint, code, reason string) {
	t.Helper()
	token, err := c.Token(t.Context(), keyA, mint)
	refusal, ok := errors.AsType[*Error](err)
	if token != nil || !ok || refusal.Code() != code || refusal.Reason() != reason {
		t.Fatalf("error %v, want %s (%s)", err, code, reason)
	}
	if refusal.RetryAfter() <= 0 || refusal.Detail() == "" {
		t.Errorf("%s has no retry-after or no detail", code)
	}
}

// Each border between two ages, from both sides: what a call gets, and whether it makes the cache fetch.
func TestAges(t *testing.T) {
	const tick = time.Nanosecond
	tests := []struct {
		name       string
		opts       func(*Options)
		lifetime   time.Duration
		soon, late time.Duration // life left; 0 = no such age
		leeway     time.Duration
	}{
		{"an hour", func(*Options) {}, hour, 5 * time.Minute, 90 * time.Second, 30 * time.Second},
		{"ten minutes: 20, 10 and 5 percent", func(*Options) {}, 10 * time.Minute, 2 * time.Minute, time.Minute, 30 * time.Second},
		{"a minute", func(*Options) {}, time.Minute, 12 * time.Second, 6 * time.Second, 3 * time.Second},
		{"never early", func(o *Options) { o.RefreshBefore = 0 }, hour, 0, 0, 30 * time.Second},
		{"no leeway", func(o *Options) { o.Leeway = 0 }, hour, 5 * time.Minute, 90 * time.Second, tick},
		{"most jitter down", func(o *Options) { o.Jitter = func() float64 { return 0 } }, hour, 270 * time.Second, 90 * time.Second, 30 * time.Second},
		{"most jitter up", func(o *Options) { o.Jitter = func() float64 { return 1 } }, hour, 330 * time.Second, 90 * time.Second, 30 * time.Second},
		{"never above 20 percent", func(o *Options) { o.Jitter = func() float64 { return 1 } }, 10 * time.Minute, 108 * time.Second, time.Minute, 30 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := defaults()
			test.opts(&opts)
			ages := func(left time.Duration) (age age) {
				synctest.Test(t, func(t *testing.T) {
					c := newCache(t, opts)
					e, err := c.newEntry(&flight{}, &Token{AccessToken: "t", Sent: time.Now(), Lifetime: test.lifetime})
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(test.lifetime - left)
					age = c.age(e)
				})
				return age
			}
			type border struct {
				left time.Duration
				want age
			}
			borders := []border{{test.lifetime, fresh}, {test.leeway - tick, expired}, {0, expired}, {-hour, expired}}
			if test.soon > 0 {
				borders = append(borders, border{test.soon + tick, fresh}, border{test.soon, soon},
					border{test.late, soon}, border{test.late - tick, late}, border{test.leeway, late})
			} else {
				borders = append(borders, border{test.leeway, fresh})
			}
			for _, b := range borders {
				if got := ages(b.left); got != b.want {
					t.Errorf("with %v left: age %d, want %d", b.left, got, b.want)
				}
			}
		})
	}
}

func TestJitterIsSpread(t *testing.T) {
	for _, lifetime := range []time.Duration{hour, 10 * time.Minute} { // the second is bound by the 20 %
		base := min(5*time.Minute, lifetime/5)
		opts := defaults()
		seen := map[time.Duration]bool{}
		for i := range 100 {
			opts.Jitter = func() float64 { return float64(i) / 100 }
			got := opts.bands(lifetime).soon
			if got < base*9/10-1 || got > base*11/10 || got > lifetime/5 {
				t.Fatalf("renewal %v before the end of %v", got, lifetime)
			}
			seen[got] = true
		}
		if len(seen) < 50 {
			t.Errorf("100 throws give %d different moments for %v", len(seen), lifetime)
		}
	}
}

// FuzzBands: whatever is configured and whatever comes, the limits of the policy hold.
func FuzzBands(f *testing.F) {
	f.Add(int64(5*time.Minute), int64(30*time.Second), int64(hour), 0.5)
	f.Add(int64(0), int64(0), int64(1), 0.0)
	f.Fuzz(func(t *testing.T, before, leeway, lifetime int64, jitter float64) {
		if before < 0 || leeway < 0 || lifetime <= 0 || !(jitter >= 0 && jitter < 1) {
			return
		}
		opts := Options{RefreshBefore: time.Duration(before), Leeway: time.Duration(leeway), Jitter: func() float64 { return jitter }}
		b := opts.bands(time.Duration(lifetime))
		if b.leeway > opts.Leeway || int64(b.leeway) > lifetime/20 || b.leeway < 0 {
			t.Errorf("leeway %v", b.leeway)
		}
		if int64(b.soon) > lifetime/5 || float64(b.soon) > 1.1*float64(before)+1 || b.soon < 0 || (before == 0) != (b.soon == 0 && b.late == 0) && lifetime >= 10 {
			t.Errorf("soon %v", b.soon)
		}
		if b.late > 90*time.Second || int64(b.late) > lifetime/10 || b.late < 0 {
			t.Errorf("late %v", b.late)
		}
	})
}

func TestOneFetchForManyCallers(t *testing.T) {
	opts, count := defaults(), new(tally)
	opts.Observe = count.observe
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, takes: 2 * time.Second}
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				token, err := c.Token(t.Context(), keyA, m.mint)
				if err != nil || token.AccessToken != "t1" {
					t.Error("a caller did not get the one token")
				}
			})
		}
		group.Wait()
		wantMade(t, m, 1)
		want(t, c, m, 1)
		if diff := cmp.Diff(map[string]int{"fetched": 1, "joined": 999, "hit": 1}, count.get()); diff != "" {
			t.Errorf("observed (-want +got):\n%s", diff)
		}
	})
}

func TestEveryFieldOfTheKeyCounts(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		keys := []Key{{}, {Issuer: "x"}, {ClientID: "x"}, {Grant: "x"}, {Subject: "x"}, {Parent: "x"}, {Child: "x"}, {Journal: "x"}, {Scopes: "x"}, {Resource: "x"}, {Audience: "x"}, {Thumbprint: "x"}}
		m := &mill{lifetime: hour}
		seen := map[string]bool{}
		for range 2 {
			for _, k := range keys {
				token, err := c.Token(t.Context(), k, m.mint)
				if err != nil {
					t.Fatal(err)
				}
				seen[token.AccessToken] = true
			}
		}
		wantMade(t, m, int64(len(keys)))
		if len(seen) != len(keys) || c.Entries() != len(keys) {
			t.Errorf("%d tokens, %d entries, want %d", len(seen), c.Entries(), len(keys))
		}
	})
}

func TestACallerThatLeavesStopsNothing(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		type label struct{}
		m := &mill{lifetime: hour, takes: 5 * time.Second}
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), label{}, "trace"))
		var inMint any
		go func() {
			time.Sleep(time.Second)
			leave()
		}()
		start := time.Now()
		_, err := c.Token(ctx, keyA, func(ctx context.Context) (*Token, error) {
			inMint = ctx.Value(label{})
			return m.mint(ctx)
		})
		if !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("error %v after %v, want the caller's own after 1s", err, time.Since(start))
		}
		want(t, c, m, 1) // joins the flight of the one who left
		wantMade(t, m, 1)
		if inMint != "trace" {
			t.Error("the mint did not get the values of the caller's context")
		}
	})
}

func TestACallerThatHasLeftStartsNothing(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, err := c.Token(ctx, keyA, m.mint); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context", err)
		}
		wantMade(t, m, 0)
	})
}

func TestASlowFlightGoesOnAndIsKept(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, takes: 25 * time.Second}
		start := time.Now()
		for _, after := range []time.Duration{10 * time.Second, 20 * time.Second} {
			wantError(t, c, m.mint, "helseid-unavailable", "slow")
			if got := time.Since(start); got != after {
				t.Fatalf("waited until %v, want %v", got, after)
			}
		}
		time.Sleep(6 * time.Second)
		want(t, c, m, 1)
		wantMade(t, m, 1)
	})
}

func TestAFlightEndsWithItsTimeout(t *testing.T) {
	opts := defaults()
	opts.Wait, opts.FetchTimeout = 2*time.Minute, time.Minute
	inBubble(t, opts, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, takes: 5 * time.Minute}
		start := time.Now()
		wantError(t, c, m.mint, "helseid-unavailable", "slow")
		if got := time.Since(start); got != time.Minute {
			t.Errorf("the flight took %v, want a minute", got)
		}
		m.slow(0)
		want(t, c, m, 2)
	})
}

// refusedError is what a mint says that knows more.
type refusedError struct {
	permanent bool
	after     time.Duration
}

func (e *refusedError) Error() string             { return "refusing" }
func (e *refusedError) Code() string              { return "tenant-not-delegated" }
func (e *refusedError) Permanent() bool           { return e.permanent }
func (e *refusedError) RetryAfter() time.Duration { return e.after }

func TestPermanentRefusalsAreRemembered(t *testing.T) {
	for jitter, pause := range map[float64]time.Duration{0: 5 * time.Second, 0.5: 10 * time.Second, 1: 15 * time.Second} {
		opts := defaults()
		opts.Jitter = func() float64 { return jitter }
		inBubble(t, opts, func(t *testing.T, c *Cache) {
			m := &mill{lifetime: hour}
			refusal := &refusedError{permanent: true}
			m.fail(fmt.Errorf("minting: %w", refusal))
			refused := func() {
				t.Helper()
				if _, err := c.Token(t.Context(), keyA, m.mint); !errors.Is(err, refusal) {
					t.Fatalf("error %v, want the mint's own", err)
				}
			}
			refused()
			m.fail(nil)
			refused()
			time.Sleep(pause - time.Nanosecond)
			refused()
			wantMade(t, m, 1)
			other := keyA
			other.Child = "999944582"
			if _, err := c.Token(t.Context(), other, m.mint); err != nil {
				t.Error("another tenant was refused, too")
			}
			time.Sleep(time.Nanosecond)
			want(t, c, m, 3)
		})
	}
}

func TestOtherErrorsAreSharedButNotRemembered(t *testing.T) {
	for name, failure := range map[string]error{"plain": errors.New("down"), "not permanent": &refusedError{}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, defaults(), func(t *testing.T, c *Cache) {
				m := &mill{lifetime: hour, takes: time.Second}
				m.fail(failure)
				var group sync.WaitGroup
				for range 50 {
					group.Go(func() {
						if _, err := c.Token(t.Context(), keyA, m.mint); !errors.Is(err, failure) {
							t.Errorf("error %v, want the mint's own", err)
						}
					})
				}
				group.Wait()
				wantMade(t, m, 1)
				m.fail(nil)
				want(t, c, m, 2)
			})
		})
	}
}

func TestTokensThatAreNoGoodWhenTheyCome(t *testing.T) {
	now := func(life time.Duration, age time.Duration) Mint {
		return func(context.Context) (*Token, error) {
			return &Token{AccessToken: "t", Sent: time.Now().Add(-age), Lifetime: life}, nil
		}
	}
	tests := map[string]struct {
		mint   Mint
		reason string
	}{
		"nothing":          {func(context.Context) (*Token, error) { return nil, nil }, "token-missing"},
		"empty":            {func(context.Context) (*Token, error) { return &Token{Sent: time.Now(), Lifetime: hour}, nil }, "token-missing"},
		"no lifetime":      {now(0, 0), "lifetime-missing"},
		"negative":         {now(-time.Second, 0), "lifetime-missing"},
		"sent long ago":    {now(hour, hour), "expired-on-arrival"},
		"under the leeway": {now(hour, hour-30*time.Second+1), "expired-on-arrival"},
		"never sent":       {func(context.Context) (*Token, error) { return &Token{AccessToken: "t", Lifetime: hour}, nil }, "expired-on-arrival"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, defaults(), func(t *testing.T, c *Cache) {
				wantError(t, c, test.mint, "helseid-unavailable", test.reason)
				if c.Entries() != 0 {
					t.Error("it was kept")
				}
			})
		})
	}
}

func TestAMintThatPanics(t *testing.T) {
	var none map[string]int
	tests := map[string]struct {
		mint Mint
		want string
	}{
		"fault found by Go": {func(context.Context) (*Token, error) { none["x"] = 1; return nil, nil }, "assignment to entry in nil map"},
		"fault of ours":     {func(context.Context) (*Token, error) { panic("BUG: no key") }, "BUG: no key"},
		"anything else":     {func(context.Context) (*Token, error) { panic("secret-value") }, "a value of type string"},
		"an error":          {func(context.Context) (*Token, error) { panic(errors.New("secret-value")) }, "a value of type *errors.errorString"},
		"goroutine ended":   {func(context.Context) (*Token, error) { runtime.Goexit(); return nil, nil }, "without an answer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, defaults(), func(t *testing.T, c *Cache) {
				_, err := c.Token(t.Context(), keyA, test.mint)
				if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
					t.Errorf("error %v, want one with %q", err, test.want)
				}
				if p, ok := errors.AsType[*panicError](err); ok && !strings.Contains(p.Stack(), "TestAMintThatPanics") {
					t.Error("the stack does not lead to the mint")
				}
				want(t, c, &mill{lifetime: hour}, 1) // the key is not dead
			})
		})
	}
}

// A mint's own context.Canceled must not look as if the caller had left.
func TestCanceledIsOnlyEverTheCallersOwn(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		_, err := c.Token(t.Context(), keyA, func(context.Context) (*Token, error) {
			return nil, fmt.Errorf("asking: %w", context.Canceled)
		})
		if err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("error %v is taken for the caller's", err)
		}
	})
}

func TestClose(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, takes: 30 * time.Second}
		var group sync.WaitGroup
		group.Go(func() {
			_, err := c.Token(t.Context(), keyA, m.mint)
			if refusal, ok := errors.AsType[*Error](err); !ok || refusal.Code() != "draining" {
				t.Errorf("error %v, want draining", err)
			}
		})
		time.Sleep(time.Second)
		c.Close()
		group.Wait()
		c.Close()
		wantError(t, c, m.mint, "draining", "")
		wantMade(t, m, 1)
		if c.Entries() != 0 {
			t.Error("entries are left")
		}
	})
}

func TestCloseDoesNotWaitForAMintThatGoesOn(t *testing.T) {
	inBubble(t, defaults(), func(t *testing.T, c *Cache) {
		start := time.Now()
		time.AfterFunc(time.Second, c.Close)
		wantError(t, c, func(context.Context) (*Token, error) {
			time.Sleep(5 * time.Second)
			return &Token{AccessToken: "t", Sent: time.Now(), Lifetime: hour}, nil
		}, "draining", "")
		if got := time.Since(start); got != time.Second {
			t.Errorf("the caller waited %v, want 1s", got)
		}
		time.Sleep(hour)
		if c.Entries() != 0 {
			t.Error("a token was kept after the end")
		}
	})
}

func TestNewRefusesNegativeOptions(t *testing.T) {
	for _, opts := range []Options{{Entries: -1}, {RefreshBefore: -1}, {Leeway: -1}, {Wait: -1}, {FetchTimeout: -1}} {
		if _, err := New(opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
}

func TestZeroOptions(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cache) {
		m := &mill{lifetime: hour, takes: 9 * time.Second}
		want(t, c, m, 1)
		time.Sleep(hour - 10*time.Second)
		want(t, c, m, 1) // no leeway, never early
		time.Sleep(2 * time.Second)
		want(t, c, m, 2)
	})
}

func TestTokensDoNotPrint(t *testing.T) {
	token := &Token{AccessToken: "secret-token", Type: "DPoP", Lifetime: hour}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{token, *token, []any{token}} {
			if strings.Contains(fmt.Sprintf(format, value), "secret") {
				t.Errorf("%s of %T shows the token", format, value)
			}
		}
	}
}

// A person's fetches run one after the other, so their number is bounded; that of
// others, and of machines, is not touched by it.
func TestFetchesOfOneSubjectAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		release := make(chan struct{})
		mint := func(context.Context) (*Token, error) {
			<-release
			return &Token{AccessToken: "synthetic", Type: "DPoP", Sent: time.Now(), Lifetime: time.Hour}, nil
		}
		ask := func(subject string, i int) error {
			_, err := c.Token(t.Context(), Key{Subject: subject, Journal: fmt.Sprint(i)}, mint)
			return err
		}
		var wg sync.WaitGroup
		for i := range subjectFlights {
			wg.Go(func() { _ = ask("a", i) })
		}
		synctest.Wait()
		var refused *Error
		if err := ask("a", -1); !errors.As(err, &refused) || refused.Code() != "limit-reached" || refused.RetryAfter() == 0 {
			t.Errorf("one too many: %v", err)
		}
		for _, subject := range []string{"", "b"} {
			for i := range 2 * subjectFlights {
				if subject == "" || i < subjectFlights {
					wg.Go(func() {
						if err := ask(subject, i); err != nil {
							t.Errorf("subject %q: %v", subject, err)
						}
					})
				}
			}
		}
		wg.Go(func() { _ = ask("a", 0) }) // joins
		close(release)
		wg.Wait()
		if err := ask("a", -1); err != nil {
			t.Errorf("after the queue is gone: %v", err)
		}
	})
}
