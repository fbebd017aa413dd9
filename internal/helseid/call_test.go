package helseid

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func TestNonceHandshake(t *testing.T) {
	f := newFake(t)
	f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			askNonce(w, "nonce-1")
			return
		}
		w.Header().Set("DPoP-Nonce", "nonce-2")
		f.grant(w, nil, nil)
	}
	c := f.client(nil)
	for range 2 {
		if _, err := refresh(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	posts := f.posts()
	if len(posts) != 3 || f.challenges != 1 {
		t.Fatalf("%d requests and %d challenges, want 3 and 1", len(posts), f.challenges)
	}
	seen := map[string]bool{}
	var nonces []any
	for _, p := range posts {
		claims := proofClaims(t, p)
		nonces = append(nonces, claims["nonce"])
		if claims["htm"] != "POST" || claims["htu"] != testIssuer+"/connect/token" || claims["ath"] != nil {
			t.Error("wrong proof")
		}
		for _, single := range []string{p.form.Get("client_assertion"), claims["jti"].(string)} {
			if seen[single] {
				t.Error("an assertion or a proof was used twice")
			}
			seen[single] = true
		}
		if p.form.Get("refresh_token") != "first-refresh" {
			t.Error("the repeat lost its form")
		}
	}
	if diff := cmp.Diff([]any{nil, "nonce-1", "nonce-2"}, nonces); diff != "" {
		t.Error("nonces (-want +got):\n", diff)
	}
	if diff := cmp.Diff([]string{"refresh_token ok", "refresh_token ok"}, f.requests); diff != "" {
		t.Error("the challenge must not count as a failure:\n", diff)
	}
}

// Each reason for a repeat counts once per call.
func TestRepeats(t *testing.T) {
	nonce := func(w http.ResponseWriter) { askNonce(w, "stale") }
	proof := func(w http.ResponseWriter) { writeError(w, 400, errInvalidProof, "") }
	for name, tc := range map[string]struct {
		answers []func(http.ResponseWriter) // the last is given for ever
		posts   int
		oauth   string // "" = granted in the end
	}{
		"stale nonce for ever":       {[]func(http.ResponseWriter){nonce}, 2, errUseNonce},
		"bad proof once":             {[]func(http.ResponseWriter){proof, nil}, 2, ""},
		"bad proof for ever":         {[]func(http.ResponseWriter){proof}, 2, errInvalidProof},
		"nonce, then bad proof":      {[]func(http.ResponseWriter){nonce, proof, nil}, 3, ""},
		"bad proof, then nonce":      {[]func(http.ResponseWriter){proof, nonce, nil}, 3, ""},
		"nonce, bad proof, nonce":    {[]func(http.ResponseWriter){nonce, proof, nonce}, 3, errUseNonce},
		"nonce asked without giving": {[]func(http.ResponseWriter){func(w http.ResponseWriter) { writeError(w, 400, errUseNonce, "") }}, 1, errUseNonce},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
				if answer := tc.answers[min(n, len(tc.answers))-1]; answer != nil {
					answer(w)
					return
				}
				f.grant(w, nil, nil)
			}
			_, err := refresh(t.Context(), f.client(nil))
			if tc.oauth == "" && err != nil {
				t.Fatal(err)
			} else if tc.oauth != "" && wantError(t, err, codeRefused).OAuthError() != tc.oauth {
				t.Error("wrong refusal")
			}
			if n := len(f.posts()); n != tc.posts {
				t.Errorf("%d requests, want %d", n, tc.posts)
			}
		})
	}
}

func TestBearerIgnoresChallenges(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { askNonce(w, "n") }
	_, err := refresh(t.Context(), f.client(func(o *Options) { o.DPoP = nil }))
	wantError(t, err, codeRefused)
	if len(f.posts()) != 1 || f.challenges != 0 {
		t.Error("a client without DPoP repeated its request")
	}
}

func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var good atomic.Bool
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			if good.Load() {
				f.grant(w, nil, nil)
				return
			}
			writeError(w, 401, errInvalidClient, "")
		}
		ring := NewKeyRing(testKey(t))
		c := f.client(func(o *Options) { o.Keys = ring })
		ask := func() error { _, err := refresh(t.Context(), c); return err }
		all := func(n int) { // n callers at once, all refused
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if e, ok := errors.AsType[*Error](ask()); !ok || e.Code() != codeNotApproved {
						t.Error("a braked request was not refused as client-not-approved")
					}
				})
			}
			wg.Wait()
		}
		step := func(what string, want int) {
			t.Helper()
			if got := len(f.posts()); got != want {
				t.Fatalf("%s: %d requests, want %d", what, got, want)
			}
		}
		wantError(t, ask(), codeNotApproved)
		all(20)
		_, _, err := c.Push(t.Context(), testAuthorization())
		wantError(t, err, codeNotApproved)
		step("braked", 1)
		time.Sleep(29 * time.Second)
		all(1)
		step("still braked", 1)
		time.Sleep(2 * time.Second)
		all(20)
		step("one probe", 2)
		time.Sleep(31 * time.Second)
		good.Store(true)
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err != nil {
			t.Fatal("success does not lift the brake")
		}
		step("lifted", 4)
		good.Store(false)
		wantError(t, ask(), codeNotApproved)
		step("again", 5)
		good.Store(true)
		ring.Replace(testKey(t))
		if err := ask(); err != nil {
			t.Fatal("a new key does not lift the brake")
		}
		step("new key", 6)
	})
}

func TestOnlyOneProbeAtATime(t *testing.T) {
	var b brake
	refusal := &Error{code: codeNotApproved}
	synctest.Test(t, func(t *testing.T) {
		b.leave(0, rejected, refusal)
		time.Sleep(brakeTime)
		if b.enter(0) != nil || b.enter(0) != refusal {
			t.Fatal("there must be exactly one probe")
		}
		b.leave(0, inconclusive, nil)
		if b.enter(0) != nil || b.enter(0) != refusal {
			t.Fatal("a probe without an answer makes room for the next")
		}
		b.leave(0, rejected, refusal)
		if b.enter(0) != refusal {
			t.Fatal("a refused probe pulls the brake again")
		}
		time.Sleep(brakeTime)
		if b.enter(0) != nil {
			t.Fatal("there must be a probe")
		}
		b.leave(0, accepted, nil)
		for range 2 {
			if b.enter(0) != nil {
				t.Fatal("a granted probe must lift the brake for all")
			}
		}
		b.leave(0, rejected, refusal)
		for range 2 {
			if b.enter(1) != nil {
				t.Fatal("another key must lift the brake for all")
			}
		}
	})
}

// A tenant's refusal proves that the client is fine, and must not stop others.
func TestTenantRefusalIsNoBrake(t *testing.T) {
	f := newFake(t)
	f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			writeError(w, 400, errInvalidClient, "HID-1001")
			return
		}
		f.grant(w, nil, nil)
	}
	c := f.client(nil)
	_, err := refresh(t.Context(), c)
	wantError(t, err, codeNotDelegated)
	if _, err := refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// acceptOnly makes the fake answer invalid_client to every key but those of the set.
func (f *fake) acceptOnly(kids func() map[string]bool) {
	f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
		jws, err := jose.ParseSignedCompact(r.PostForm.Get("client_assertion"), signedWith)
		if err != nil || !kids()[jws.Signatures[0].Header.KeyID] {
			writeError(w, 401, errInvalidClient, "")
			return
		}
		f.grant(w, nil, nil)
	}
}

func TestNewKeyIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var mu sync.Mutex
		valid := map[string]bool{"old": true}
		f.acceptOnly(func() map[string]bool {
			mu.Lock()
			defer mu.Unlock()
			return map[string]bool{"old": valid["old"], "new": valid["new"]}
		})
		key := func(kid string) *ClientKey {
			k, err := ParseKeys(testJWK(t, kid))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		ring := NewKeyRing(key("old"))
		c := f.client(func(o *Options) { o.Keys = ring })
		ask := func() error { _, err := refresh(t.Context(), c); return err }
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		ring.Replace(key("new"))
		if err := ask(); err != nil || ring.Current().KeyID() != "old" || len(f.posts()) != 3 || len(f.warnings) != 1 {
			t.Fatalf("the old key must go on at once, with a warning: %v, in use %s, %d requests, %d warnings",
				err, ring.Current().KeyID(), len(f.posts()), len(f.warnings))
		}
		if err := ask(); err != nil || len(f.posts()) != 4 {
			t.Fatal("the key set aside is still tried")
		}
		// HelseID learns the new key and forgets the old one: the sidecar finds back by itself.
		mu.Lock()
		valid = map[string]bool{"new": true}
		mu.Unlock()
		wantError(t, ask(), codeNotApproved)
		time.Sleep(brakeTime)
		if err := ask(); err != nil || ring.Current().KeyID() != "new" {
			t.Fatal("the key set aside got no second chance", err)
		}
	})
}

func TestNewKeyWithoutAProvenOldOne(t *testing.T) {
	f := newFake(t)
	f.acceptOnly(func() map[string]bool { return nil })
	ring := NewKeyRing(testKey(t))
	ring.Replace(testKey(t))
	c := f.client(func(o *Options) { o.Keys = ring })
	_, err := refresh(t.Context(), c)
	wantError(t, err, codeNotApproved)
	if len(f.posts()) != 1 || len(f.warnings) != 0 {
		t.Errorf("%d requests, %d warnings: nothing is known to work, so nothing is worth repeating", len(f.posts()), len(f.warnings))
	}
}

// slow answers after d, or never when the client is gone.
func (f *fake) slow(d time.Duration) {
	f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			f.grant(w, nil, nil)
		case <-r.Context().Done():
		}
	}
}

func TestTimeLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		delay  time.Duration
		ask    func(context.Context, *Client) error
		took   time.Duration
		reason string // "" = granted
	}{
		"ordinary call": {30 * time.Second, func(ctx context.Context, c *Client) error {
			_, err := c.ClientCredentials(ctx, Request{Tenant: testTenant})
			return err
		}, 10 * time.Second, "timeout"},
		"refresh, late": {30 * time.Second, func(ctx context.Context, c *Client) error {
			_, err := refresh(ctx, c)
			return err
		}, 30 * time.Second, ""},
		"refresh, never": {time.Hour, func(ctx context.Context, c *Client) error {
			_, err := refresh(ctx, c)
			return err
		}, 60 * time.Second, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.slow(tc.delay)
				began := time.Now()
				err := tc.ask(t.Context(), f.client(nil))
				if took := time.Since(began); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if tc.reason == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if e := wantError(t, err, codeUnavailable); e.Reason() != tc.reason || !e.NoAnswer() {
					t.Errorf("reason %s, no answer %v", e.Reason(), e.NoAnswer())
				}
			})
		})
	}
}

// A refresh that can't be sent is an ordinary call: nothing is lost by giving it up.
func TestUnsentRefreshIsGivenUpEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(nil)
		if _, err := refresh(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		f.transport.CloseIdleConnections()
		f.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		began := time.Now()
		_, err := refresh(t.Context(), c)
		e := wantError(t, err, codeUnavailable)
		if took := time.Since(began); took != 10*time.Second || e.NoAnswer() || e.Reason() != "timeout" {
			t.Errorf("took %v, no answer %v, reason %s", took, e.NoAnswer(), e.Reason())
		}
	})
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.slow(5 * time.Second)
		c := f.client(nil)
		for name, ask := range map[string]func(context.Context) error{
			"ordinary": func(ctx context.Context) error {
				_, err := c.ClientCredentials(ctx, Request{Tenant: testTenant})
				return err
			},
			"refresh": func(ctx context.Context) error { _, err := refresh(ctx, c); return err },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			err := ask(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			// A refresh that was sent must not be forgotten even then.
			if e, coded := errors.AsType[*Error](err); coded != (name == "refresh") || coded && !e.NoAnswer() {
				t.Errorf("%s: coded %v", name, coded)
			}
		}
	})
}

func TestConcurrencyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var now, most atomic.Int32
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for {
				old := most.Load()
				if n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			time.Sleep(4 * time.Second)
			f.grant(w, nil, nil)
		}
		c := f.client(func(o *Options) { o.Concurrency = 2 })
		var wg sync.WaitGroup
		var good, refused atomic.Int32
		for range 8 {
			wg.Go(func() {
				_, err := refresh(t.Context(), c)
				if e, ok := errors.AsType[*Error](err); ok && e.Code() == codeLimitReached && e.RetryAfter() > 0 && !e.NoAnswer() {
					refused.Add(1)
				} else if err == nil {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		// Two at a time, four seconds each; who has no slot after ten seconds is told so.
		if most.Load() != 2 || good.Load() != 6 || refused.Load() != 2 {
			t.Errorf("at once %d, granted %d, refused %d; want 2, 6, 2", most.Load(), good.Load(), refused.Load())
		}
	})
}
