package helseid

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/dpop"
)

// What this file holds is for the doctor (`sidecar check`): it shows what a client sees and asks nothing that the
// ordinary calls depend on.

// Endpoints are the addresses of HelseID's metadata that we use; "" = not offered.
type Endpoints struct {
	Authorization, Token, PAR, JWKS, Revocation, EndSession string
}

// Endpoints reads HelseID's metadata, or returns what is remembered of it for a day. Errors are those of every call.
func (c *Client) Endpoints(ctx context.Context) (Endpoints, error) {
	md, err := c.metadata.get(ctx)
	if err != nil {
		return Endpoints{}, err
	}
	return Endpoints{
		Authorization: md.authorization, Token: md.token, PAR: md.par, JWKS: md.jwks,
		Revocation: md.revocation, EndSession: md.endSession,
	}, nil
}

// Skew is the median offset of HelseID's clock to the machine's, positive when the machine is behind, whether it is
// corrected or not. Its grain is a second. known is false until HelseID has answered.
func (c *Client) Skew() (offset time.Duration, known bool) {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	return median(c.clock.samples), len(c.clock.samples) > 0
}

// NonceProbe is what HelseID did with the nonce of one request.
type NonceProbe struct {
	// Challenged says that HelseID answered use_dpop_nonce at first.
	Challenged bool
	// Next is the newest nonce that HelseID gave with it; "" = none. It is no secret, but of no use to a reader.
	Next string
}

// ProbeNonce makes a token request that can't succeed, a refresh with a token that does not exist, to see how HelseID
// takes the nonce of its proof; "" = none is sent. It neither uses nor changes what this client remembers of nonces,
// clock and refusals, nor is it observed. The error is HelseID's refusal of the request, normally [Error.InvalidGrant]:
// HelseID looks at client and proof before it looks at the token.
func (c *Client) ProbeNonce(ctx context.Context, nonce string) (NonceProbe, error) {
	if c.opt.DPoP == nil {
		return NonceProbe{}, errors.New("BUG: without DPoP there is no nonce to probe")
	}
	md, err := c.metadata.get(ctx)
	if err != nil {
		return NonceProbe{}, err
	}
	endpoint, err := url.Parse(md.token)
	if err != nil {
		return NonceProbe{}, errors.New("BUG: HelseID's token endpoint was read and is no address")
	}
	var challenged atomic.Bool
	o := c.opt
	o.Nonces, o.Observe = new(dpop.Nonces), Events{NonceChallenge: func() { challenged.Store(true) }}
	if nonce != "" {
		o.Nonces.Learn(dpop.Origin(endpoint), nonce)
	}
	twin, err := New(o)
	if err != nil {
		return NonceProbe{}, err
	}
	_, err = twin.token(ctx, query{name: "probe", proof: c.proofKey(), form: url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"sidecar-check-no-such-token"},
	}})
	return NonceProbe{Challenged: challenged.Load(), Next: o.Nonces.Last(dpop.Origin(endpoint))}, err
}
