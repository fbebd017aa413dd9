package simulator

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// TestTokenKey is the key of the test token service in the default world.
const TestTokenKey = "simulated-auth-key"

// testTokens is the stand-in for HelseID's test token service (TTT): a token with
// whatever claims are asked for, signed with HelseID's own key. It is where a
// token comes from as long as no client is registered. What it does not simulate
// it refuses, so that nobody believes to have tested it.
func (c *registerCall) testTokens() {
	switch {
	case c.path != "/v2/create-test-token-with-key":
		c.problem(http.StatusNotFound, "the simulator has no %s", c.path)
	case !c.onlyMethods(http.MethodPost):
	case subtle.ConstantTimeCompare([]byte(c.r.Header.Get("X-Auth-Key")), []byte(c.sim.options.TestTokenKey)) != 1:
		c.testTokenFault(http.StatusUnauthorized, errors.New("X-Auth-Key is missing or wrong"))
	case c.jsonBody():
		c.createTestToken()
	}
}

func (c *registerCall) testTokenFault(status int, err error) {
	c.write(status, "application/json", map[string]any{
		"isError": true, "successResponse": nil, "errorResponse": map[string]any{"errorMessage": err.Error()},
	})
}

func (c *registerCall) createTestToken() {
	body, err := decodeObject(c.body)
	if err != nil {
		c.testTokenFault(http.StatusBadRequest, fmt.Errorf("the body %w", err))
		return
	}
	token, err := c.sim.testToken(body)
	if err != nil {
		c.testTokenFault(http.StatusBadRequest, err)
		return
	}
	c.writeJSON(map[string]any{
		"isError": false, "successResponse": map[string]any{"accessTokenJwt": token, "dPoPProof": nil}, "errorResponse": nil,
	})
}

// The members of a request. Those of notSimulated may be there when they ask for
// nothing.
var (
	testTokenMembers = []string{
		"audience", "clientClaimsParametersGeneration", "userClaimsParametersGeneration",
		"clientClaimsParameters", "userClaimsParameters", "expirationParameters", "headerParameters", "apiSpecificClaims",
		"signJwtWithInvalidSigningKey", "setInvalidIssuer", "setInvalidAudience",
		// Older than the generations, and sent beside them by NHN's samples; they decide nothing here.
		"withoutDefaultClientClaims", "withoutDefaultUserClaims",
	}
	notSimulated = []string{
		"getPersonFromPersontjenesten", "onlySetNameForPerson", "getHprNumberFromHprregisteret", "setPidPseudonym", "setSubject",
		"createTillitsrammeverkClaims", "tillitsrammeverkClaimsParameters", "createDPoPTokenWithDPoPProof", "dPoPProofParameters",
	}
)

// testToken makes the token that body asks for.
func (s *Simulator) testToken(body map[string]any) (string, error) {
	if err := checkTestTokenMembers(body); err != nil {
		return "", err
	}
	audience := text(body, "audience")
	if audience == "" {
		return "", errors.New("audience is missing")
	}
	now := s.now()
	claims := map[string]any{"iss": s.options.Issuer, "aud": audience, "nbf": now.Unix(), "iat": now.Unix(), "jti": rand.Text()}
	exp, err := testTokenExpiry(body, now)
	if err != nil {
		return "", err
	}
	claims["exp"] = exp.Unix()
	if body["setInvalidIssuer"] == true {
		claims["iss"] = "https://invalid-issuer.example.invalid"
	}
	if body["setInvalidAudience"] == true {
		claims["aud"] = "invalid-audience"
	}
	if err := addTestClaims(claims, body); err != nil {
		return "", err
	}
	typ := "at+jwt"
	if header, ok := body["headerParameters"].(map[string]any); ok && text(header, "typ") != "" {
		typ = text(header, "typ")
	}
	if body["signJwtWithInvalidSigningKey"] == true {
		return s.signForged(typ, claims)
	}
	return s.signToken(typ, claims)
}

func checkTestTokenMembers(body map[string]any) error {
	for name, value := range body {
		switch {
		case slices.Contains(testTokenMembers, name):
		case !slices.Contains(notSimulated, name):
			return fmt.Errorf("unknown member %q", name)
		case value == true:
			return fmt.Errorf("%s is not simulated", name)
		}
	}
	return nil
}

// maxTestTokenLife is ten years.
const maxTestTokenLife = 10 * secretYear * time.Second

// testTokenExpiry reads expirationParameters. NHN's samples send the smallest
// number there is for "not given", so only what is above 0 counts.
func testTokenExpiry(body map[string]any, now time.Time) (time.Time, error) {
	parameters, isObject := body["expirationParameters"].(map[string]any)
	if !isObject {
		if body["expirationParameters"] != nil {
			return time.Time{}, errors.New("expirationParameters is no object")
		}
		return now.Add(time.Hour), nil
	}
	if parameters["setExpirationTimeAsExpired"] == true {
		return now.Add(-time.Minute), nil
	}
	for name, unit := range map[string]time.Duration{"expirationTimeInSeconds": time.Second, "expirationTimeInDays": 24 * time.Hour} {
		if parameters[name] == nil {
			continue
		}
		number, ok := parameters[name].(json.Number)
		if !ok {
			return time.Time{}, fmt.Errorf("%s is no number", name)
		}
		whole, err := strconv.Atoi(number.String())
		if err != nil || whole > int(maxTestTokenLife/unit) {
			return time.Time{}, fmt.Errorf("%s is no whole number, or too large", name)
		}
		if whole > 0 {
			return now.Add(time.Duration(whole) * unit), nil
		}
	}
	return now.Add(time.Hour), nil
}

// signForged signs by a key that is not HelseID's, under the kid of one that is.
func (s *Simulator) signForged(typ string, claims map[string]any) (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", fmt.Errorf("making a key that is not HelseID's: %w", err)
	}
	s.mu.Lock()
	kid := s.keys[len(s.keys)-1].kid
	s.mu.Unlock()
	return sign(key, "RS256", kid, map[string]any{"typ": typ}, claims)
}
