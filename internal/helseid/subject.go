package helseid

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The types of RFC 8693 §2.1 and §3: what is exchanged, and how it is said.
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT            = "urn:ietf:params:oauth:token-type:jwt" // what HelseID's access tokens are as well
)

// accessTokenTypes are the `typ` of HelseID's access tokens: RFC 9068 §2.1, and the older form.
var accessTokenTypes = []string{"at+jwt", "application/at+jwt", "jwt"}

// Subject is the person of an access token that was issued to somebody else's call and that [Client.VerifySubject]
// found good. Only such a token can be exchanged, so there is no other way to make a Subject. Its values are never
// written to a log.
type Subject struct {
	PID           string // national identity number; never ""
	SecurityLevel string // always "4"
	Expires       time.Time

	raw string // the token itself
}

// VerifySubject checks a caller's own access token before it is exchanged: that HelseID signed it, for the audience
// Options.SubjectAudience, that it is an access token, has not expired (by HelseID's clock), and names a person who
// logged in at level 4. Refusals are subject-token-invalid, whose reason names what is wrong and no value;
// clock-skew; or helseid-unavailable when HelseID's keys can't be had.
//
// A token that is bound to a key of the caller (cnf.jkt, RFC 9449 §6.1) is taken like any other. The proof that goes
// with it is made for another server's address, and HelseID asks for none: the client that exchanges a token is the
// one that must be known.
func (c *Client) VerifySubject(ctx context.Context, raw string) (Subject, error) {
	if c.opt.SubjectAudience == "" {
		return Subject{}, errors.New("BUG: no audience is set for the callers' tokens")
	}
	_, claims, ok := parseJWT(raw)
	if !ok {
		return Subject{}, subjectInvalid("not-jwt", "is not a JWT as HelseID makes them")
	}
	s := Subject{
		PID: claims.text(c.names.pid), SecurityLevel: claims.textOrNumber(claimLevel),
		Expires: time.Unix(claims.unixTime("exp"), 0), raw: raw,
	}
	switch { // what is cheap first; nothing of it is believed before the signature is checked
	case !isAccessToken(raw, claims):
		return Subject{}, subjectInvalid("typ", "is not an access token")
	case claims.text("iss") != c.opt.Issuer:
		return Subject{}, subjectInvalid("iss", "was not issued by this sidecar's HelseID")
	case !slices.Contains(claims.audience(), c.opt.SubjectAudience):
		return Subject{}, subjectInvalid("aud", "is not for the audience in HELSEID_SUBJECT_AUDIENCE")
	}
	if err := c.checkSubjectSignature(ctx, raw); err != nil {
		return Subject{}, err
	}
	if err := c.checkSubjectTimes(claims); err != nil {
		return Subject{}, err
	}
	switch {
	case s.PID == "":
		return Subject{}, subjectInvalid("pid", "names no person ("+c.names.pid+")")
	case s.SecurityLevel != wantedLevel:
		return Subject{}, subjectInvalid("security_level", "is not from a log-in at security level 4")
	}
	return s, nil
}

// isAccessToken tells access tokens from the other JWTs that HelseID signs. An ID token may have the same `typ`, and
// its audience is a client that may be named like an API; but it has no scope.
func isAccessToken(raw string, claims members) bool {
	head, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	header, err := parseMembers(decoded)
	if err != nil {
		return false
	}
	typ := strings.ToLower(header.text("typ")) // RFC 7515 §4.1.9: media types know no letter case
	return slices.Contains(accessTokenTypes, typ) && len(claims.list("scope")) > 0 && !claims.has("nonce")
}

func (c *Client) checkSubjectSignature(ctx context.Context, raw string) error {
	jws, err := jose.ParseSignedCompact(raw, signedWith)
	if err != nil {
		return subjectInvalid("not-jwt", "is not a JWT as HelseID makes them")
	}
	_, err = c.keys.VerifySignature(ctx, jws)
	switch {
	case errors.Is(err, errSignature), errors.Is(err, errUnknownKey):
		return subjectInvalid("signature", "was not signed by HelseID")
	case err != nil:
		return err // HelseID's keys can't be had, or the caller left
	}
	return nil
}

// checkSubjectTimes goes by HelseID's clock. Fetching the keys may have been what told us the time, so it comes late.
func (c *Client) checkSubjectTimes(claims members) error {
	now, what := c.Now(), ""
	ahead := func(name string) bool {
		return claims.has(name) && time.Unix(claims.unixTime(name), 0).After(now.Add(issuedAtLeeway))
	}
	switch {
	case !now.Before(time.Unix(claims.unixTime("exp"), 0)):
		what = "exp"
	case ahead("nbf"):
		what = "nbf"
	case ahead("iat"):
		what = "iat"
	default:
		return nil
	}
	if c.clock.far() {
		return &Error{code: codeClockSkew, reason: what, detail: "this machine's clock is more than 5 minutes off HelseID's"}
	}
	if what == "exp" {
		return subjectInvalid(what, "has expired, or does not say when it does")
	}
	return subjectInvalid(what, "is not good yet")
}

// TokenExchange trades a caller's own access token for one that names r.Tenant and the same person (RFC 8693 §2.1). No
// actor_token is sent: the actor is the client itself. What comes back is compared with r and with the person of s. It
// is good for no longer than s is: who may no longer call with a token may not go on with what it was exchanged for.
// Grant.Last says so when that was the shorter of the two lives.
//
// It has nothing to do with [Client.Exchange], which redeems the code of a log-in.
func (c *Client) TokenExchange(ctx context.Context, s Subject, r Request) (*Grant, error) {
	if s.raw == "" || s.PID == "" || r.NoTenant {
		return nil, errors.New("BUG: token exchange needs a verified subject and a tenant")
	}
	r.PID = s.PID
	form := url.Values{
		"grant_type": {grantTokenExchange}, "subject_token": {s.raw}, "subject_token_type": {typeAccessToken},
		"scope": {or(r.Scope, join(r.Wanted))},
	}
	g, err := c.grant(ctx, query{name: "token_exchange", form: form}, r)
	if err != nil {
		return nil, c.exchangeRefused(err, s)
	}
	left := s.Expires.Sub(g.Sent.Add(c.clock.offset()))
	if left <= 0 {
		return nil, subjectInvalid("exp", "expired while it was exchanged")
	}
	if left <= g.Lifetime {
		g.Lifetime, g.Last = left, true
		g.Token.Expiry = g.Sent.Round(0).Add(left)
	}
	return g, nil
}

// exchangeRefused tells what is the subject's fault. RFC 8693 §2.2.2 has invalid_request for a subject token that is
// not accepted, which alone says nothing: it is also HelseID's word for anything else in the request. But if the token
// has just come to its end, that is why.
func (c *Client) exchangeRefused(err error, s Subject) error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return err
	case e.oauth == errInvalidRequest && e.hid == "" && s.Expires.Sub(c.Now()) < clockResolution:
		refused := subjectInvalid("exp", "expired while it was exchanged")
		refused.oauth = e.oauth
		return refused
	case e.invalidGrant:
		refused := *e
		refused.code, refused.reason = codeSubjectInvalid, "refused"
		return &refused
	}
	return err
}

// subjectInvalid builds a subject-token-invalid; what ends the sentence.
func subjectInvalid(reason, what string) *Error {
	return &Error{code: codeSubjectInvalid, reason: reason, detail: "the caller's access token " + what}
}

// String hides the person and the token.
func (Subject) String() string { return "helseid.Subject" }

// GoString hides the person and the token.
func (Subject) GoString() string { return "helseid.Subject" }

// LogValue hides the person and the token.
func (Subject) LogValue() slog.Value { return slog.StringValue("helseid.Subject") }
