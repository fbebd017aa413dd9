package helseid

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const wellKnown = "/.well-known/openid-configuration"

func TestMetadataFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		change map[string]any
		reason string
	}{
		"another issuer":      {map[string]any{"issuer": testIssuer + "/"}, "metadata-issuer"},
		"no issuer":           {map[string]any{"issuer": nil}, "metadata-issuer"},
		"no token endpoint":   {map[string]any{"token_endpoint": nil}, "metadata-endpoint"},
		"no PAR endpoint":     {map[string]any{"pushed_authorization_request_endpoint": nil}, "metadata-endpoint"},
		"plain http":          {map[string]any{"token_endpoint": "http://helseid.example.com/token"}, "metadata-endpoint"},
		"relative":            {map[string]any{"token_endpoint": "/token"}, "metadata-endpoint"},
		"another scheme":      {map[string]any{"jwks_uri": "file:///etc/passwd"}, "metadata-endpoint"},
		"user in it":          {map[string]any{"jwks_uri": "https://a:b@example.com/jwks"}, "metadata-endpoint"},
		"fragment":            {map[string]any{"token_endpoint": testIssuer + "/t#x"}, "metadata-endpoint"},
		"bad optional one":    {map[string]any{"revocation_endpoint": "http://helseid.example.com/r"}, "metadata-endpoint"},
		"endpoint a number":   {map[string]any{"token_endpoint": 5}, "metadata-endpoint"},
		"too large":           {map[string]any{"x": strings.Repeat("x", maxAnswer)}, faultOversized},
		"https endpoints":     {map[string]any{"authorization_endpoint": "https://login.example.com/a"}, ""},
		"strange other types": {map[string]any{"grant_types_supported": 7, "scopes_supported": map[string]any{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.discovery = func() any { return merge(f.metadata(), tc.change) }
			_, err := refresh(t.Context(), f.client(nil))
			if tc.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := wantError(t, err, codeUnavailable); e.Reason() != tc.reason || e.RetryAfter() <= 0 || e.NoAnswer() {
				t.Errorf("reason %s, want %s; retry after %v", e.Reason(), tc.reason, e.RetryAfter())
			}
			if len(f.posts()) > 0 {
				t.Error("a request was sent")
			}
		})
	}
}

func TestIssuerOverHTTPSAllowsNoPlainEndpoint(t *testing.T) {
	if _, err := parseEndpoint("http://127.0.0.1/token", false); err == nil {
		t.Error("an https issuer may not send us to a plain endpoint, loopback or not")
	}
	for _, host := range []string{"localhost", "LOCALHOST", "127.0.0.1", "[::1]", "127.9.9.9"} {
		if _, err := parseEndpoint("http://"+host+":80/x", true); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestMetadataLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var down atomic.Bool
		f.discovery = func() any {
			if down.Load() {
				return nil
			}
			return f.metadata()
		}
		c := f.client(nil)
		if f.fetched(wellKnown) != 0 {
			t.Fatal("New speaks to HelseID")
		}
		ask := func() {
			t.Helper()
			if _, err := refresh(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		step := func(what string, want int) {
			t.Helper()
			if got := f.fetched(wellKnown); got != want {
				t.Fatalf("%s: %d fetches, want %d", what, got, want)
			}
		}
		ask()
		time.Sleep(23 * time.Hour)
		ask()
		step("within a day", 1)
		time.Sleep(2 * time.Hour)
		ask()
		step("after a day", 2)
		time.Sleep(25 * time.Hour)
		down.Store(true)
		for range 10 {
			ask() // by the stale copy
		}
		step("HelseID down, one try", 3)
		time.Sleep(time.Minute)
		ask()
		step("later one more", 4)
		down.Store(false)
		time.Sleep(time.Minute)
		ask()
		ask()
		step("up again", 5)
	})
}

// A thousand callers during an outage cost a handful of fetches, and each is told when to come back.
func TestOutageIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.discovery = func() any { return nil }
		c := f.client(nil)
		for range 60 { // a minute
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					_, err := refresh(t.Context(), c)
					if e, ok := errors.AsType[*Error](err); !ok || e.Code() != codeUnavailable || e.RetryAfter() <= 0 || e.RetryAfter() > longestPause {
						t.Error("not helseid-unavailable with a bounded Retry-After")
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
		}
		if n := f.fetched(wellKnown); n < 4 || n > 8 {
			t.Errorf("%d fetches in a minute of outage", n)
		}
	})
}

// A caller that leaves fails nobody else, and its fetch goes on.
func TestFetchBelongsToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.discovery = func() any { time.Sleep(3 * time.Second); return f.metadata() }
		c := f.client(nil)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := refresh(ctx, c); !errors.Is(err, context.Canceled) {
				t.Error("the one who left:", err)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				if _, err := refresh(t.Context(), c); err != nil {
					t.Error("the one who stayed:", err)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if f.fetched(wellKnown) != 1 {
			t.Errorf("%d fetches, want 1", f.fetched(wellKnown))
		}
	})
}

// A silent HelseID delays nobody for long who has an older copy.
func TestStaleCopyIsSoonUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var silent atomic.Bool
		f.discovery = func() any {
			if silent.Load() {
				time.Sleep(time.Minute)
			}
			return f.metadata()
		}
		c := f.client(nil)
		if _, err := refresh(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		silent.Store(true)
		began := time.Now()
		if _, err := refresh(t.Context(), c); err != nil || time.Since(began) != stalePatience {
			t.Errorf("took %v: %v", time.Since(began), err)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestMetadataTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.discovery = func() any { time.Sleep(time.Minute); return f.metadata() }
		began := time.Now()
		_, err := refresh(t.Context(), f.client(nil))
		if e := wantError(t, err, codeUnavailable); e.Reason() != "timeout" || e.NoAnswer() || time.Since(began) != 10*time.Second {
			t.Errorf("reason %s, no answer %v, took %v", e.Reason(), e.NoAnswer(), time.Since(began))
		}
		time.Sleep(time.Minute)
	})
}

// A fetch that hangs is given up, so that the next one can be made.
func TestHangingFetchIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var tries atomic.Int32
		f.discovery = func() any {
			if tries.Add(1) == 1 {
				time.Sleep(time.Hour)
			}
			return f.metadata()
		}
		c := f.client(nil)
		_, err := refresh(t.Context(), c)
		wantError(t, err, codeUnavailable)
		time.Sleep(2 * time.Second)
		if _, err := refresh(t.Context(), c); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
	})
}

func TestMetadataRedirectIsRefused(t *testing.T) {
	f := newFake(t)
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1/elsewhere", http.StatusTemporaryRedirect)
	})
	c := f.client(func(o *Options) { o.Transport = handlerTransport{moved} })
	_, err := refresh(t.Context(), c)
	if e := wantError(t, err, codeUnavailable); e.Reason() != "status" {
		t.Errorf("reason %s", e.Reason())
	}
}
