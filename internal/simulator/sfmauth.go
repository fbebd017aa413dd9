package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// The window in which a proof's iat must lie: that of NHN's own reference API (valid 1 s, 5 s of clock skew).
const (
	proofBack  = 6 * time.Second
	proofAhead = 5 * time.Second
)

const (
	codeInvalidToken      = "invalid_token"
	codeInsufficientScope = "insufficient_scope"
)

// sfmCaller is who calls, as the token and the proof say.
type sfmCaller struct {
	claims, proof map[string]any
	tenant        Tenant
	subject       string
	machine       bool
	jkt           string // of the proof; "" in API version 1
	tokenHash     string
	expires       time.Time
}

// scheme is the one authentication scheme of the API version in use. NHN's rule: an endpoint takes one or the other.
func (c *sfmCall) scheme() string {
	if c.knobs.Bearer {
		return "Bearer"
	}
	return "DPoP"
}

func (c *sfmCall) denied(code, text string) *sfmRefusal {
	return &sfmRefusal{status: http.StatusUnauthorized, code: code, text: text, issue: "login", challenge: c.scheme()}
}

// authenticate judges token and proof (RFC 9449 section 7, RFC 6750 section 2.1). It reads nothing of the body.
func (c *sfmCall) authenticate() *sfmRefusal {
	if c.op != nil && c.op.open {
		c.note(func(o *Operation) { o.Accepted = true })
		return nil
	}
	raw, refusal := c.presentedToken()
	if refusal != nil {
		return refusal
	}
	claims, err := c.sim.verifyAccessToken(raw)
	if err != nil {
		return c.denied(codeInvalidToken, "the access token: "+err.Error())
	}
	c.caller = callerOf(claims, raw)
	if refusal := c.checkProof(raw); refusal != nil {
		return refusal
	}
	c.noteCaller()
	if refusal := c.checkClaims(); refusal != nil {
		return refusal
	}
	if c.sim.takeCount(rejectTokens) {
		return c.denied(codeInvalidToken, "the token is refused by order of the knob reject_tokens")
	}
	c.accept()
	return nil
}

// presentedToken takes the token out of the one Authorization header. The scheme's name is compared as written, as
// NHN's reference API does.
func (c *sfmCall) presentedToken() (string, *sfmRefusal) {
	values := c.r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", c.denied(codeInvalidToken, "there is no Authorization header; "+c.scheme()+" is wanted")
	}
	if len(values) > 1 {
		return "", c.denied(codeInvalidToken, "there is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if scheme != c.scheme() {
		return "", c.denied(codeInvalidToken, "the authentication scheme must be exactly "+c.scheme()+" here; an API takes either DPoP or Bearer, never both")
	}
	if token == "" || strings.ContainsAny(token, " ,") {
		return "", c.denied(codeInvalidToken, "the Authorization header must be the scheme, one space and the token")
	}
	return token, nil
}

func callerOf(claims map[string]any, raw string) sfmCaller {
	caller := sfmCaller{
		claims:    claims,
		tenant:    tenantOf(claims),
		subject:   text(claims, "sub"),
		machine:   text(claims, claimPID) == "",
		tokenHash: shortHash(raw),
	}
	if exp, ok := seconds(claims, "exp"); ok {
		caller.expires = time.UnixMilli(int64(exp * 1000))
	}
	return caller
}

func (c *sfmCall) checkProof(raw string) *sfmRefusal {
	if c.knobs.Bearer {
		return nil
	}
	p, fault := checkProof(c.r, c.proofRule(raw))
	if fault == nil {
		c.caller.proof, c.caller.jkt = p.claims, p.jkt
		return nil
	}
	return c.denied(fault.code, fault.text)
}

func (c *sfmCall) proofRule(raw string) proofRule {
	rule := proofRule{
		method: c.r.Method, htu: c.origin() + c.path, accessToken: raw,
		back: proofBack, ahead: proofAhead, seen: c.sim.sfm.replays, now: c.now,
	}
	if c.knobs.RequireNonce {
		rule.nonceOK = c.nonceOK
	}
	return rule
}

func (c *sfmCall) nonceOK(nonce string) bool {
	if c.sim.takeCount(staleNonces) {
		c.sim.sfm.nonces.renew(0)
	}
	return c.sim.sfm.nonces.good(nonce)
}

// noteCaller enters who calls into the ledger, also for a call that is refused afterwards.
func (c *sfmCall) noteCaller() {
	iat, _ := seconds(c.caller.proof, "iat")
	c.note(func(o *Operation) {
		o.Tenant, o.Subject, o.Machine = c.caller.tenant, c.caller.subject, c.caller.machine
		o.TokenHash = c.caller.tokenHash
		o.TokenMarginS = int64(c.caller.expires.Sub(c.now) / time.Second)
		if c.caller.proof != nil {
			o.JTIHash = shortHash(text(c.caller.proof, "jti"))
			o.ProofAgeMS = c.now.UnixMilli() - int64(iat*1000)
		}
	})
}

func (c *sfmCall) accept() {
	if c.knobs.RequireNonce && !c.knobs.Bearer {
		c.sim.sfm.nonces.spend(c.knobs.NonceEvery, c.knobs.NonceKeep)
	}
	c.note(func(o *Operation) { o.Accepted = true })
	c.sim.sfm.seen.add(Seen{
		Method: c.r.Method, Path: c.path,
		TokenClaims: redacted(c.caller.claims), ProofClaims: redacted(c.caller.proof),
	})
}

// shortHash tells two secrets apart in a list that people read.
func shortHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:8])
}
