package helseid

import (
	"context"
	"errors"

	"sfm-sidecar/internal/dpop"
)

// proofKey is the key for a new token, nil where tokens are bound to none.
func (c *Client) proofKey() *dpop.Key {
	if c.opt.DPoP == nil {
		return nil
	}
	return c.opt.DPoP.Current()
}

func thumbprintOf(key *dpop.Key) string {
	if key == nil {
		return ""
	}
	return key.Thumbprint()
}

// former is the key that a refresh token was obtained with, where that is still held and another than the one in use.
func (c *Client) former(r Request) *dpop.Key {
	if r.Obtained == "" || c.opt.DPoP == nil || r.Obtained == c.opt.DPoP.Current().Thumbprint() {
		return nil
	}
	return c.opt.DPoP.Find(r.Obtained)
}

// refresh sends a refresh token with the key in use. A confidential client's refresh token is bound to the client, not to
// the key (RFC 9449 §5). Should HelseID bind it all the same, it refuses the proof, which is looked at before the token is
// redeemed; then the token is sent with its own key, and all refreshes after that begin so. A refusal of the token itself
// is final: it is never sent again.
func (c *Client) refresh(ctx context.Context, q query, r Request) (*Grant, error) {
	own := c.former(r)
	if own != nil && c.bound.Load() {
		q.proof = own
		return c.grant(ctx, q, r)
	}
	g, err := c.grant(ctx, q, r)
	if own == nil || !refusedProof(err) {
		return g, c.lostKey(r, err)
	}
	q.proof = own
	g, err = c.grant(ctx, q, r)
	if g != nil && !c.bound.Swap(true) {
		c.warn("HelseID binds refresh tokens to the DPoP key: log-ins go on with the key they began with, for as long as that is kept")
	}
	return g, err
}

// lostKey reads a refusal of the proof for a refresh token whose own key is no longer held: if HelseID takes the key in
// use elsewhere, the refusal is about the token, and the person must log in again.
func (c *Client) lostKey(r Request, err error) error {
	if !refusedProof(err) || r.Obtained == "" || c.opt.DPoP == nil {
		return err
	}
	current := c.opt.DPoP.Current()
	if c.opt.DPoP.Find(r.Obtained) != nil || !c.bound.Load() && c.granted.Load() != current {
		return err
	}
	e, _ := errors.AsType[*Error](err)
	over := *e
	over.invalidGrant = true
	return &over
}

// refusedProof says that HelseID refused the proof, and not for its time.
func refusedProof(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.oauth == errInvalidProof && e.code != codeClockSkew
}
