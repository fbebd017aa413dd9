package simulator

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// registerNonce is how long a register's own nonce is good.
var registerNonce = HelseIDKnobs{NonceSeconds: 600}

// authorize judges token and proof (RFC 9449 section 7.1) and wants the audience
// and the scope; false when it refused. It looks at nothing else of the request.
func (c *registerCall) authorize(audience, scope string) bool {
	wantsNonce := c.sim.requiresNonce(c.record.Register)
	if wantsNonce {
		c.answer.header.Set("DPoP-Nonce", c.sim.registers.nonces.issue(c.sim.now()))
	}
	raw, err := c.token()
	if err != nil {
		return c.denied(codeInvalidToken, err.Error())
	}
	claims, err := c.sim.verifyAccessToken(raw)
	if err != nil {
		return c.denied(codeInvalidToken, "the access token: "+err.Error())
	}
	rule := proofRule{
		method: c.r.Method, htu: c.sim.options.Registers + c.r.URL.EscapedPath(), accessToken: raw,
		back: proofBack, ahead: proofAhead, seen: c.sim.registers.proofs[c.record.Register], now: c.sim.now(),
	}
	if wantsNonce {
		rule.nonceOK = func(nonce string) bool { return c.sim.registers.nonces.good(nonce, c.sim.now(), registerNonce) }
	}
	p, fault := checkProof(c.r, rule)
	if fault != nil {
		return c.denied(fault.code, fault.text)
	}
	if !c.allowed(claims, p.jkt, audience, scope) {
		return false
	}
	c.claims, c.record.Client = claims, text(claims, "client_id")
	return true
}

// token takes the token out of the one Authorization header.
func (c *registerCall) token() (string, error) {
	values := c.r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", errors.New("exactly one Authorization header is wanted, " + strconv.Itoa(len(values)) + " came")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if scheme != "DPoP" {
		return "", errors.New("the authentication scheme must be exactly DPoP")
	}
	if token == "" || strings.ContainsAny(token, " ,") {
		return "", errors.New("the Authorization header must be the scheme, one space and the token")
	}
	return token, nil
}

func (c *registerCall) allowed(claims map[string]any, jkt, audience, scope string) bool {
	confirmation, _ := claims["cnf"].(map[string]any)
	switch bound := text(confirmation, "jkt"); {
	case !slices.Contains(words(claims["aud"]), audience):
		return c.denied(codeInvalidToken, "aud does not hold "+audience)
	case bound == "":
		return c.denied(codeInvalidToken, "the token is not bound to a DPoP key: cnf.jkt is missing")
	case bound != jkt:
		return c.denied(codeInvalidToken, "cnf.jkt is the thumbprint of another key than the one that signed the proof")
	case !slices.Contains(words(claims["scope"]), scope):
		c.answer.header.Set("WWW-Authenticate", `DPoP error="`+codeInsufficientScope+`", scope="`+scope+`"`)
		c.problem(http.StatusForbidden, "the token lacks the scope %s", scope)
		return false
	default:
		return true
	}
}

// denied answers 401 with a challenge; it returns false.
func (c *registerCall) denied(code, why string) bool {
	c.answer.header.Set("WWW-Authenticate", `DPoP error="`+code+`", algs="ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512"`)
	c.problem(http.StatusUnauthorized, "%s: %s", code, why)
	return false
}
