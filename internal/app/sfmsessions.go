package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/control"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/keepalive"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
	"sfm-sidecar/internal/tokencache"
)

// sfmSessions joins the keeping of SFM's sessions to the other rooms: what SFM answers
// comes from the front door, tokens from the cache, and the calls leave with the same
// key, nonces and connections as those of the EPJ.
//
// Only persons who logged in here have SFM sessions that are kept: a machine has
// nobody to log out, and a caller's own token can't be renewed.
type sfmSessions struct {
	keeper    *keepalive.Keeper
	tokens    *tokens
	upstreams map[string]*proxy.Upstream
	transport http.RoundTripper
	// challenged is told when SFM asked for another nonce.
	challenged func()
	// keyless is why this process can't prove a token of the fleet's; nil = it can.
	keyless error
}

func (h *house) buildSFMSessions() (err error) {
	h.sfm = &sfmSessions{
		tokens: h.tokens(), upstreams: make(map[string]*proxy.Upstream), transport: h.transport(),
		challenged: func() { h.metrics.NonceChallenge("sfm") },
	}
	for _, u := range h.upstreams() {
		h.sfm.upstreams[u.Name] = &u
	}
	h.sfm.keeper, err = keepalive.New(keepalive.Options{
		Token: h.sfm.token, Post: h.sfm.post, Off: !h.cfg.SFM.SessionKeepalive, Book: h.sfmBook(), Now: h.helseID.Now,
		Observe: keepalive.Events{Refreshed: h.sfmRefreshed, Failed: h.sfmFailed, Lost: h.sfmLost, TakenOver: h.sfmTakenOver},
	})
	if err == nil {
		h.metrics.SFMSessions(h.sfm.keeper.Count)
	}
	return err
}

func (h *house) sfmRefreshed(k keepalive.Key) {
	h.metrics.SFMSessionRefresh("refreshed")
	h.log.Debug("SFM took a new token for its session", "upstream", k.Upstream, "session", k.Session)
}

func (h *house) sfmFailed(k keepalive.Key, err error) {
	h.metrics.SFMSessionRefresh("failed")
	h.log.Warn("SFM got no new token for its session; it is tried again while the old one lives",
		"upstream", k.Upstream, "session", k.Session, "cause", err)
}

func (h *house) sfmLost(k keepalive.Key, err error) {
	h.metrics.SFMSessionRefresh("lost")
	cause := "no new token came in time"
	if err != nil {
		cause = err.Error()
	}
	h.log.Warn("an SFM session is lost: its token ran out; the EPJ must open a new one",
		"upstream", k.Upstream, "session", k.Session, "cause", cause)
}

func (h *house) sfmTakenOver(session string) {
	h.log.Info("SFM sessions are kept here from now on: the replica that kept them has ended, or does not answer", "session", session)
}

// answered is the proxy's Answered option: good answers to the POSTs of persons may be
// about SFM's sessions.
func (s *sfmSessions) answered(a proxy.Answer) {
	good := a.Status >= http.StatusOK && a.Status < http.StatusMultipleChoices
	if !good || a.Method != http.MethodPost || a.Ask.Person.Grant != config.GrantUser {
		return
	}
	s.keeper.Answered(keepalive.Key{
		Session: a.Ask.Person.ID, Tenant: keepalive.Tenant(a.Ask.Tenant), Upstream: a.Ask.Upstream.Name,
	}, a.Path, kept(a.Token))
}

// kept is a token as the keeping of sessions knows it.
func kept(t proxy.Token) keepalive.Token {
	k := keepalive.Token{AccessToken: t.AccessToken, Held: t}
	if held, ok := t.Held.(*tokencache.Token); ok {
		k.Expires = held.Sent.Add(held.Lifetime)
	}
	return k
}

// ask is what the token of an SFM session must be good for.
func (s *sfmSessions) ask(k keepalive.Key) proxy.Ask {
	return proxy.Ask{
		Tenant: tenantmap.Tenant(k.Tenant), Person: proxy.Person{ID: k.Session, Grant: config.GrantUser},
		Upstream: s.upstreams[k.Upstream],
	}
}

// token is the keeper's Token option.
func (s *sfmSessions) token(ctx context.Context, k keepalive.Key) (keepalive.Token, error) {
	if s.upstreams[k.Upstream] == nil { // another replica has it, by its configuration
		return keepalive.Token{}, errors.New("the session's service is not configured here")
	}
	if s.keyless != nil {
		return keepalive.Token{}, s.keyless
	}
	t, err := s.tokens.Token(ctx, s.ask(k))
	if over, ok := errors.AsType[*session.Error](err); ok && (over.Code() == "session-expired" || over.Code() == "session-unknown") {
		return keepalive.Token{}, fmt.Errorf("%w: %w", keepalive.ErrEnded, err)
	}
	if err != nil {
		return keepalive.Token{}, err
	}
	if scheme := s.upstreams[k.Upstream].Scheme; !strings.EqualFold(t.Type, scheme) {
		return keepalive.Token{}, errors.New("the token's type is not the one this API wants")
	}
	return kept(t), nil
}

// keeps is the cache's Keep option: a token on which an open SFM session depends is
// renewed although nobody asks for it.
func (s *sfmSessions) keeps(k tokencache.Key) bool { return len(s.depending(k)) > 0 }

// minted is the cache's Minted option.
func (s *sfmSessions) minted(k tokencache.Key) {
	for _, open := range s.depending(k) {
		s.keeper.Look(open)
	}
}

// depending are the open SFM sessions that live by the tokens of a key, whichever of our
// keys those are bound to.
func (s *sfmSessions) depending(k tokencache.Key) []keepalive.Key {
	var all []keepalive.Key
	for _, open := range s.keeper.Open(k.Subject) {
		if s.upstreams[open.Upstream] == nil {
			continue // another replica's configuration has it
		}
		its := s.tokens.key(s.ask(open))
		its.Thumbprint = k.Thumbprint
		if its == k {
			all = append(all, open)
		}
	}
	return all
}

// post is the keeper's Post option, in a span of its own.
func (s *sfmSessions) post(ctx context.Context, k keepalive.Key, path string, t keepalive.Token) (int, error) {
	ctx, span := s.tokens.traces.Start(ctx, "call about an SFM session", telemetry.AttrUpstream, k.Upstream)
	status, err := s.insist(ctx, k, path, t)
	how := outcome(err)
	if err == nil && (status < http.StatusOK || status >= http.StatusMultipleChoices) {
		how = "refused"
	}
	span.End(how)
	return status, err
}

// bound is a context for calls with a token, which are proven with its own key.
func bound(ctx context.Context, t keepalive.Token) context.Context {
	if held, ok := t.Held.(proxy.Token); ok && held.Key != nil {
		return dpop.WithKey(ctx, held.Key)
	}
	return ctx
}

// insist makes a call about a session. There is one extra attempt at most, and only after
// a 401 that asks for another nonce.
func (s *sfmSessions) insist(ctx context.Context, k keepalive.Key, path string, t keepalive.Token) (int, error) {
	u := s.upstreams[k.Upstream]
	address := u.URL.Scheme + "://" + u.URL.Host + strings.TrimRight(u.URL.EscapedPath(), "/") + path
	for again := true; ; again = false {
		status, challenge, err := s.send(bound(ctx, t), address, u.Scheme, t.AccessToken)
		switch {
		case err != nil:
			return 0, err
		case challenge == "use_dpop_nonce" && again:
			s.challenged()
			continue
		case challenge == "invalid_token":
			if sent, ok := t.Held.(proxy.Token); ok {
				s.tokens.Forget(s.ask(k), sent) // the next try gets another
			}
		}
		return status, nil
	}
}

// send makes one attempt. challenge is the error that came with a 401.
func (s *sfmSessions) send(ctx context.Context, address, scheme, token string) (status int, challenge string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return 0, "", errors.New("the session's address is none") // the parser's words quote it
	}
	r.Header.Set("Authorization", scheme+" "+token)
	r.Header.Set("User-Agent", "sfm-sidecar")
	res, err := s.transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // so that the connection can be used again
	if res.StatusCode == http.StatusUnauthorized {
		for _, c := range dpop.Challenges(res.Header) {
			if c.Error == "use_dpop_nonce" || c.Error == "invalid_token" {
				return res.StatusCode, c.Error, nil
			}
		}
	}
	return res.StatusCode, "", nil
}

// of is the control room's SFMSessions option.
func (s *sfmSessions) of(ctx context.Context, id string) []control.SFMSession {
	var all []control.SFMSession
	for _, known := range s.keeper.Of(ctx, id) {
		all = append(all, control.SFMSession{
			Tenant: session.Tenant(known.Tenant), State: string(known.State), Since: known.Since,
		})
	}
	return all
}

// logOut ends a person's SFM sessions and says which could not be ended.
func (s *sfmSessions) logOut(ctx context.Context, id string) []string {
	var undone []string
	for _, f := range s.keeper.End(ctx, id) {
		t, why := f.Key.Tenant, "it could not be reached with this tenant's token"
		if answer, ok := errors.AsType[*keepalive.StatusError](f.Err); ok {
			why = answer.Error()
		}
		if s.keyless != nil {
			why = "the store gives no DPoP key, see sidecar check"
		}
		undone = append(undone, fmt.Sprintf(
			"SFM could not be told to end its session (parent %s, child %s, journal %s): %s; it runs out with its token", t.Parent, orNone(t.Child), t.Journal, why))
	}
	return undone
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
