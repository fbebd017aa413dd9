package app

import (
	"context"
	"errors"
	"testing"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/keepalive"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/tokencache"
)

// Only good answers to the POSTs of persons make an SFM session known, and from then on
// exactly its own token is renewed unasked.
func TestWhatMakesAnSFMSessionKnown(t *testing.T) {
	good := proxy.Answer{Ask: ask(), Method: "POST", Path: "/Session/create", Status: 200, Token: proxy.Token{
		AccessToken: "a", Held: &tokencache.Token{Sent: time.Now(), Lifetime: time.Hour},
	}}
	tests := map[string]struct {
		change func(*proxy.Answer)
		known  bool
	}{
		"as it should be": {func(*proxy.Answer) {}, true},
		"no content":      {func(a *proxy.Answer) { a.Status = 204 }, true},
		"redirected":      {func(a *proxy.Answer) { a.Status = 302 }, false},
		"interim":         {func(a *proxy.Answer) { a.Status = 103 }, false},
		"refused":         {func(a *proxy.Answer) { a.Status = 401 }, false},
		"a GET":           {func(a *proxy.Answer) { a.Method = "GET" }, false},
		"another path":    {func(a *proxy.Answer) { a.Path = "/PatientTicket" }, false},
		"a machine":       {func(a *proxy.Answer) { a.Ask.Person.Grant = config.GrantClientCredentials }, false},
		"an own token":    {func(a *proxy.Answer) { a.Ask.Person.Grant = config.GrantTokenExchange }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &sfmSessions{tokens: &tokens{}, upstreams: map[string]*proxy.Upstream{"basis": ask().Upstream}}
			var err error
			s.keeper, err = keepalive.New(keepalive.Options{
				Token: func(context.Context, keepalive.Key) (keepalive.Token, error) {
					return keepalive.Token{}, errors.New("none")
				},
				Post: func(context.Context, keepalive.Key, string, keepalive.Token) (int, error) { return 0, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.keeper.Close()
			a := good
			tt.change(&a)
			s.answered(a)
			if got := len(s.of(t.Context(), "session-1")) == 1; got != tt.known {
				t.Errorf("known: %v", got)
			}
			key := s.tokens.key(ask())
			if s.keeps(key) != tt.known {
				t.Errorf("its token is renewed: %v", !tt.known)
			}
			key.Thumbprint = "of an earlier key"
			if s.keeps(key) != tt.known {
				t.Error("a token that is bound to an earlier key counts for nothing")
			}
			key.Scopes = "c"
			if s.keeps(key) {
				t.Error("another service's token is renewed")
			}
		})
	}
}

// A call about a session is proven with the key of its own token.
func TestSessionCallsAreProvenWithTheTokensKey(t *testing.T) {
	key := proofKeys(t, 1)[0]
	ctx := bound(t.Context(), keepalive.Token{Held: proxy.Token{Key: key}})
	if ctx.Value(dpop.BoundTo{}) != any(key) {
		t.Error("another key, or none")
	}
	if ctx := bound(t.Context(), keepalive.Token{Held: proxy.Token{}}); ctx.Value(dpop.BoundTo{}) != nil {
		t.Error("a key for a token without one")
	}
}
