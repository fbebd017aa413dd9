package helseid

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// idTokenAlgorithms are those that zitadel/oidc has to accept. HelseID announces RS256; FAPI 2.0 will move it on.
var idTokenAlgorithms = []string{"RS256", "PS256", "ES256", "PS384", "PS512", "ES384", "ES512"}

// issuedAtLeeway is how far ahead of our (corrected) clock an ID token may be issued: the Date header's seconds are
// whole ones.
const issuedAtLeeway = 5 * time.Second

// Person is who logged in, by HelseID's word. Its values are never written to a log.
type Person struct {
	Subject        string
	PID            string // national identity number; never ""
	Name           string
	HPRNumber      string // "" = none
	SecurityLevel  string // always "4"
	AssuranceLevel string
	SID            string    // HelseID's own session
	AuthTime       time.Time // zero = not told
}

// VerifyIDToken checks an ID token as OpenID Connect Core §3.1.3.7 has it, and that the person logged in at level 4.
// nonce is the one of the authorization request; "" = not compared, for the ID token of a refresh only (§12.2: it need
// not carry one). Refusals are login-failed (`id-token-invalid`, `level-too-low`), clock-skew, or helseid-unavailable
// when HelseID's keys can't be had.
//
// The check functions of zitadel/oidc are called in the order of its own rp.VerifyIDToken, whose package would bring
// logging and tracing libraries with it. Called one by one they also let us correct the clock, which that function
// can't. The claims are read by us: the library's decoder panics on an `aud` with a number in it.
func (c *Client) VerifyIDToken(ctx context.Context, raw, nonce string) (Person, error) {
	payload, claims, ok := parseJWT(raw)
	if !ok {
		return Person{}, loginFailed(reasonIDTokenInvalid, "HelseID's ID token is not a JWT")
	}
	if err := c.checkIDToken(ctx, idToken{raw, payload, claims}, nonce); err != nil {
		return Person{}, err
	}
	p := Person{
		Subject:        claims.text("sub"),
		PID:            claims.text(c.names.pid),
		Name:           claims.text("name"),
		HPRNumber:      claims.textOrNumber(claimHPR),
		SecurityLevel:  claims.textOrNumber(claimLevel),
		AssuranceLevel: claims.text(claimAssurance),
		SID:            claims.text("sid"),
	}
	if at := claims.unixTime("auth_time"); at > 0 {
		p.AuthTime = time.Unix(at, 0)
	}
	switch {
	case p.SecurityLevel != wantedLevel:
		return Person{}, loginFailed(reasonLevelTooLow, "SFM wants a log-in at security level 4")
	case p.PID == "":
		return Person{}, loginFailed(reasonIDTokenInvalid, "HelseID's ID token names no person ("+c.names.pid+")")
	}
	return p, nil
}

// idToken is an ID token taken apart.
type idToken struct {
	raw     string
	payload []byte
	claims  members
}

func (c *Client) checkIDToken(ctx context.Context, t idToken, nonce string) error {
	claims := &oidc.TokenClaims{
		Issuer:          t.claims.text("iss"),
		Subject:         t.claims.text("sub"),
		Audience:        t.claims.audience(),
		Expiration:      oidc.Time(t.claims.unixTime("exp")),
		IssuedAt:        oidc.Time(t.claims.unixTime("iat")),
		Nonce:           t.claims.text("nonce"),
		AuthorizedParty: t.claims.text("azp"),
	}
	keys := &witness{set: &c.keys}
	// The library adds an offset to time.Now, so this makes it use the corrected clock. Asked late: fetching the keys may
	// have been what told us the time.
	offset := func() time.Duration { return time.Until(c.Now()) }
	checks := []struct {
		what  string
		check func() error
	}{
		{"sub", func() error { return oidc.CheckSubject(claims) }},
		{"iss", func() error { return oidc.CheckIssuer(claims, c.opt.Issuer) }},
		{"aud", func() error { return oidc.CheckAudience(claims, c.opt.ClientID) }},
		{"azp", func() error { return oidc.CheckAuthorizedParty(claims, c.opt.ClientID) }},
		{"signature", func() error {
			return oidc.CheckSignature(ctx, t.raw, t.payload, claims, idTokenAlgorithms, keys)
		}},
		{"exp", func() error { return oidc.CheckExpiration(claims, offset()) }},
		{"iat", func() error { return oidc.CheckIssuedAt(claims, 0, offset()+issuedAtLeeway) }},
		{"nonce", func() error {
			if nonce == "" {
				return nil
			}
			return oidc.CheckNonce(claims, nonce)
		}},
	}
	for _, step := range checks {
		if err := step.check(); err != nil {
			return c.idTokenFault(step.what, err, keys.err)
		}
	}
	return nil
}

// idTokenFault names what is wrong in our own words: the library's texts hold the claims' values.
func (c *Client) idTokenFault(what string, err, keyErr error) error {
	if e, ok := errors.AsType[*Error](keyErr); ok {
		return e
	}
	if errors.Is(keyErr, context.Canceled) {
		return context.Canceled
	}
	timely := errors.Is(err, oidc.ErrExpired) || errors.Is(err, oidc.ErrIatInFuture)
	if timely && c.clock.far() {
		return &Error{code: codeClockSkew, reason: what, detail: "this machine's clock is more than 5 minutes off HelseID's"}
	}
	return loginFailed(reasonIDTokenInvalid, "HelseID's ID token has a wrong "+what)
}

// witness remembers why a signature was not accepted; zitadel/oidc flattens it to a text.
type witness struct {
	set oidc.KeySet
	err error
}

// VerifySignature asks the set.
func (w *witness) VerifySignature(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	payload, err := w.set.VerifySignature(ctx, jws)
	w.err = err
	return payload, err
}
