package simulator

import (
	"fmt"
	"slices"
	"time"
)

const (
	assertionType    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionTyp     = "client-authentication+jwt"
	maxAssertionLife = 60 * time.Second
	// clockLeeway is how far ahead of HelseID's clock iat and nbf may be. For exp
	// there is none.
	clockLeeway = 5 * time.Second
)

// authenticateClient judges private_key_jwt (RFC 7523 section 3, with HelseID's
// own rules). A good assertion's jti is used up here, before the proof is
// looked at: the second request of the nonce handshake needs a new assertion.
func (s *Simulator) authenticateClient(x *exchange) (*registeredClient, *jws, *refusal) {
	if x.fault != nil {
		return nil, nil, x.fault
	}
	if x.form.Has("client_secret") || x.request.Header.Get("Authorization") != "" {
		return nil, nil, refuse("invalid_client", "client secrets are not accepted; use private_key_jwt")
	}
	id := x.form.Get("client_id")
	client := s.client(id)
	if client == nil {
		return nil, nil, refuse("invalid_client", "client_id is missing or not registered")
	}
	if got := x.form.Get("client_assertion_type"); got != assertionType {
		return client, nil, refuse("invalid_client", "client_assertion_type is %q, %s is wanted", got, assertionType)
	}
	assertion, err := s.verifyClientJWT(client, x.form.Get("client_assertion"), assertionTyp)
	if err != nil {
		return client, nil, refuse("invalid_client", "client_assertion: %v", err)
	}
	return client, assertion, nil
}

// verifyClientJWT judges a JWT that a client signed for HelseID: an assertion,
// or a request object (which may be of one of two types).
func (s *Simulator) verifyClientJWT(client *registeredClient, raw string, types ...string) (*jws, error) {
	parsed, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	if typ := text(parsed.header, "typ"); !slices.Contains(types, typ) {
		return nil, fmt.Errorf("typ is %q, %s is wanted", typ, types[0])
	}
	if err := s.verifyClientSignature(client, parsed); err != nil {
		return nil, err
	}
	if err := checkClientClaims(client, parsed, s.options.Issuer); err != nil {
		return nil, err
	}
	now := s.now()
	if err := checkClientTimes(parsed.claims, now); err != nil {
		return nil, err
	}
	jti := text(parsed.claims, "jti")
	if jti == "" {
		return nil, fmt.Errorf("jti is missing or not a string")
	}
	if !s.assertions.first(client.ID+" "+jti, now) {
		return nil, fmt.Errorf("jti was seen before; sign a new JWT for every request, also for the repeat with a DPoP nonce")
	}
	return parsed, nil
}

func (s *Simulator) verifyClientSignature(client *registeredClient, parsed *jws) error {
	kid := text(parsed.header, "kid")
	key, known := client.keys[kid]
	if !known {
		return fmt.Errorf("kid %q is none of the client's registered keys", kid)
	}
	if !s.now().Before(s.secretExpiry(key)) {
		return fmt.Errorf("the key with kid %q has expired; post a new one at Selvbetjening before that", kid)
	}
	if key.alg != "" && key.alg != parsed.alg() {
		return fmt.Errorf("alg is %q, the key is registered for %s", parsed.alg(), key.alg)
	}
	return parsed.verify(key.public)
}

func checkClientClaims(client *registeredClient, parsed *jws, issuer string) error {
	if iss := text(parsed.claims, "iss"); iss != client.ID {
		return fmt.Errorf("iss is %q, it must be the client_id", iss)
	}
	_, hasSub := parsed.claims["sub"]
	isAssertion := text(parsed.header, "typ") == assertionTyp // a request object may do without
	if sub := text(parsed.claims, "sub"); (hasSub || isAssertion) && sub != client.ID {
		return fmt.Errorf("sub is %q, it must be the client_id", sub)
	}
	if !isAudience(parsed.claims["aud"], issuer) {
		return fmt.Errorf("aud must be the issuer %s and nothing else (not the token endpoint)", issuer)
	}
	return nil
}

// isAudience takes the two writings of RFC 7519 section 4.1.3 for one audience.
func isAudience(aud any, wanted string) bool {
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	return aud == wanted
}

func checkClientTimes(claims map[string]any, now time.Time) error {
	at := float64(now.UnixMilli()) / 1000
	exp, ok := seconds(claims, "exp")
	if !ok {
		return fmt.Errorf("exp is missing or not a number")
	}
	iat, ok := seconds(claims, "iat")
	if !ok {
		return fmt.Errorf("iat is missing or not a number")
	}
	nbf, hasNBF := seconds(claims, "nbf")
	switch {
	case claims["nbf"] != nil && !hasNBF:
		return fmt.Errorf("nbf is not a number")
	case exp-iat > maxAssertionLife.Seconds():
		return fmt.Errorf("exp is %.0f s after iat, at most 60 s are accepted", exp-iat)
	case exp <= at:
		return fmt.Errorf("it expired %.1f s ago; is the clock right?", at-exp)
	case iat > at+clockLeeway.Seconds():
		return fmt.Errorf("iat is %.1f s in the future; is the clock right?", iat-at)
	case hasNBF && nbf > at+clockLeeway.Seconds():
		return fmt.Errorf("nbf is %.1f s in the future; is the clock right?", nbf-at)
	default:
		return nil
	}
}
