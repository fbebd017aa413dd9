package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tokencache"
)

// tokens gives the front door its tokens: from the cache, which asks whichever
// room the grant needs.
type tokens struct {
	cache    *tokencache.Cache
	sessions *session.Manager
	helseID  *helseid.Client

	// What every key of the cache has in common.
	issuer, clientID, resource string
	// keys are those that tokens are bound to; nil = to none.
	keys *dpop.Ring
	// loginScopes go with the scope parameter of a refresh, where one is sent.
	loginScopes []string
	// narrow says that a refresh must name its scopes, since several of SFM's
	// were asked for at log-in (contract 7.7).
	narrow bool
	warn   func(msg string, attrs ...slog.Attr)
	traces *telemetry.Traces
}

// Token implements [proxy.Tokens].
func (t *tokens) Token(ctx context.Context, a proxy.Ask) (proxy.Token, error) {
	began := time.Now()
	token, source, key, err := t.obtain(ctx, a)
	if err != nil || source != tokencache.Hit {
		t.traces.Waited(ctx, "wait for a token", began,
			telemetry.AttrGrant, a.Person.Grant, telemetry.AttrSource, string(source), telemetry.AttrOutcome, outcome(err))
	}
	if err != nil {
		return proxy.Token{}, err
	}
	return proxy.Token{
		AccessToken: token.AccessToken, Type: token.Type, Source: string(source), Until: t.cache.Until(token), Key: key, Held: token,
	}, nil
}

// errKeyGone is a key that was dropped again and again while a token was fetched for it.
var errKeyGone = errors.New("BUG: the DPoP key of each token was dropped while it was fetched")

// obtain gives a token and the key that it is bound to. One whose key was dropped between
// the two is asked for anew.
func (t *tokens) obtain(ctx context.Context, a proxy.Ask) (*tokencache.Token, tokencache.Source, *dpop.Key, error) {
	for range 3 {
		token, source, err := t.cache.Obtain(ctx, t.key(a), t.traced(a.Person.Grant, t.mint(a)))
		if err != nil || t.keys == nil {
			return token, source, nil, err
		}
		if key := t.keys.Find(token.Thumbprint); key != nil {
			return token, source, key, nil
		}
	}
	return nil, "", nil, errKeyGone
}

// Forget implements [proxy.Tokens].
func (t *tokens) Forget(a proxy.Ask, token proxy.Token) bool {
	held, ok := token.Held.(*tokencache.Token)
	return ok && t.cache.Forget(t.key(a), held)
}

// key is the whole of what makes two tokens different (contract 7.1).
func (t *tokens) key(a proxy.Ask) tokencache.Key {
	tenant := a.Tenant.Folded()
	return tokencache.Key{
		Issuer: t.issuer, ClientID: t.clientID, Grant: a.Person.Grant, Subject: a.Person.ID,
		Parent: tenant.Parent, Child: tenant.Child, Journal: tenant.Journal,
		Scopes: sorted(a.Upstream.Scopes), Resource: t.resource, Audience: a.Upstream.Audience,
		Thumbprint: t.thumbprint(),
	}
}

// thumbprint is that of the key which new tokens are bound to.
func (t *tokens) thumbprint() string {
	if t.keys == nil {
		return ""
	}
	return t.keys.Current().Thumbprint()
}

// mint is how the token of a call is obtained when the cache has none.
func (t *tokens) mint(a proxy.Ask) tokencache.Mint {
	r := t.request(a)
	switch a.Person.Grant {
	case config.GrantClientCredentials:
		return func(ctx context.Context) (*tokencache.Token, error) {
			return t.cached(t.helseID.ClientCredentials(ctx, r))
		}
	case config.GrantTokenExchange:
		subject, _ := a.Person.Held.(helseid.Subject) // the zero one is refused
		return func(ctx context.Context) (*tokencache.Token, error) {
			return t.cached(t.helseID.TokenExchange(ctx, subject, r))
		}
	}
	id := a.Person.ID
	return func(ctx context.Context) (*tokencache.Token, error) {
		return t.cached(t.sessions.Refresh(ctx, id, r))
	}
}

// traced makes a span of a fetch: it outlives the call that began it, and serves others
// too, so that it is not the same as waiting for it.
func (t *tokens) traced(grant string, mint tokencache.Mint) tokencache.Mint {
	if t.traces == nil {
		return mint
	}
	return func(ctx context.Context) (*tokencache.Token, error) {
		ctx, span := t.traces.Start(ctx, "fetch a token", telemetry.AttrGrant, grant)
		token, err := mint(ctx)
		span.End(outcome(err))
		return token, err
	}
}

// request is what HelseID is asked for. A refresh that names no scopes gets those
// of the log-in.
func (t *tokens) request(a proxy.Ask) helseid.Request {
	r := helseid.Request{
		Tenant: helseid.Tenant(a.Tenant),
		Wanted: a.Upstream.Scopes, Audience: a.Upstream.Audience,
	}
	switch {
	case a.Person.Grant != config.GrantUser:
		r.Scope = strings.Join(a.Upstream.Scopes, " ")
	case t.narrow:
		r.Scope = strings.Join(slices.Concat(a.Upstream.Scopes, t.loginScopes), " ")
	}
	return r
}

// cached is a grant's token as the cache keeps it.
func (t *tokens) cached(g *helseid.Grant, err error) (*tokencache.Token, error) {
	if err != nil {
		return nil, err
	}
	for _, w := range g.Warnings {
		t.warn("a token is good but not as it should be", slog.String("what", w))
	}
	return &tokencache.Token{
		AccessToken: g.Token.AccessToken, Type: g.Token.TokenType, Sent: g.Sent, Lifetime: g.Lifetime, Last: g.Last, Thumbprint: g.Thumbprint,
	}, nil
}

// sorted joins scopes in an order that does not depend on how they were written.
func sorted(scopes []string) string {
	s := slices.Clone(scopes)
	slices.Sort(s)
	return strings.Join(slices.Compact(s), " ")
}
