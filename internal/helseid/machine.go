package helseid

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/dpop"
)

// MachineToken gets a token of the client itself (RFC 6749 §4.4), which names no organization, for another API than
// SFM's: a register that a command asks. What comes back must carry the scopes, the audience (any, with "": not every
// API's is known) and our key, and name no person. HELSEID_RESOURCE is SFM's and not sent.
func (c *Client) MachineToken(ctx context.Context, scopes []string, audience string) (*Grant, error) {
	if len(scopes) == 0 {
		return nil, errors.New("BUG: a token of the client itself must be asked for by scope")
	}
	key := c.proofKey()
	a, err := c.call(ctx, query{
		name:     "client_credentials",
		endpoint: func(md *metadata) string { return md.token },
		form:     url.Values{"grant_type": {"client_credentials"}, "scope": {join(scopes)}},
		proof:    key,
	})
	if err != nil {
		return nil, err
	}
	t, err := c.readMachineToken(a, scopes, audience, key)
	if err != nil {
		return nil, err
	}
	return &Grant{
		Sent: a.sent, Lifetime: t.lifetime,
		Token: &oauth2.Token{AccessToken: t.access, TokenType: c.tokenType(), Expiry: a.sent.Round(0).Add(t.lifetime)},
	}, nil
}

func (c *Client) readMachineToken(a *answer, scopes []string, audience string, key *dpop.Key) (*checkedToken, error) {
	t, err := parseToken(a.members, c.tokenType())
	if err != nil {
		return nil, err
	}
	if err := checkTerms(a.members, scopes); err != nil {
		return nil, err
	}
	_, claims, ok := parseJWT(t.access)
	if !ok {
		return nil, unusable("not-jwt")
	}
	granted := claims.list("scope")
	switch {
	case audience != "" && !slices.Contains(claims.audience(), audience):
		return nil, mismatch("aud")
	case slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(granted, scope) }):
		return nil, mismatch("scope")
	case thumbprint(claims) != thumbprintOf(key):
		return nil, mismatch(claimThumbprint)
	case claims.has(c.names.pid):
		return nil, mismatch(c.names.pid)
	}
	t.lifetime = sureLife(t.lifetime, claims, a.sent.Add(c.clock.offset()))
	return t, nil
}
