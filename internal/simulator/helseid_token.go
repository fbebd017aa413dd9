package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// tokenCall is one token request on its way through the judges.
type tokenCall struct {
	sim     *Simulator
	x       *exchange
	client  *registeredClient
	details details // what the client assertion asks for
	jkt     string  // the proof's key; "" = a bearer token
	record  *TokenRequest
}

// serveToken is the token endpoint.
func (s *Simulator) serveToken(x *exchange, fault Fault) {
	record := TokenRequest{Endpoint: "token", Grant: x.form.Get("grant_type"), InFlight: x.inFlight}
	record.Login, record.Ordinal = s.describeRefresh(x.form.Get("refresh_token"))
	answer, refused := s.judgeToken(x, &record, fault.StaleNonce)
	s.record(record, refused)
	if s.givesNonce(x, refused) {
		x.answer.header.Set("DPoP-Nonce", s.nonces.issue(s.now()))
	}
	if refused != nil {
		x.writeRefusal(refused)
		return
	}
	x.writeJSON(http.StatusOK, answer)
}

func (s *Simulator) givesNonce(x *exchange, refused *refusal) bool {
	if refused != nil && refused.code == codeUseNonce {
		return true
	}
	return x.request.Header.Get("DPoP") != "" && !s.knobs().HelseID.NoNonceOnSuccess
}

// judgeToken judges in the order of the real server: who asks, with which key,
// for what; the code or refresh token last, so that no refusal before costs it.
func (s *Simulator) judgeToken(x *exchange, record *TokenRequest, stale bool) (map[string]any, *refusal) {
	client, assertion, fault := s.authenticateClient(x)
	if client != nil {
		record.Client = client.ID
	}
	if fault != nil {
		return nil, fault
	}
	judge, fault := findGrant(client, x.form.Get("grant_type"))
	if fault != nil {
		return nil, fault
	}
	call := &tokenCall{sim: s, x: x, client: client, record: record}
	if call.jkt, fault = s.checkHelseIDProof(x, client, stale); fault != nil {
		return nil, fault
	}
	if x.form.Get("grant_type") == GrantCode && hasDetails(assertion.claims) {
		return nil, s.hid(1009, "organization claims in the client assertion are not allowed with authorization_code; pass them at the refresh, or in a request object")
	}
	call.details, fault = s.assertionDetails(client, assertion.claims)
	record.Tenant = call.details.tenant
	if fault != nil {
		return nil, fault
	}
	return judge(call)
}

func findGrant(client *registeredClient, grant string) (func(*tokenCall) (map[string]any, *refusal), *refusal) {
	judges := map[string]func(*tokenCall) (map[string]any, *refusal){
		GrantCode:              (*tokenCall).code,
		GrantRefresh:           (*tokenCall).refresh,
		GrantClientCredentials: (*tokenCall).clientCredentials,
		GrantTokenExchange:     (*tokenCall).tokenExchange,
	}
	judge, known := judges[grant]
	if !known {
		return nil, refuse("unsupported_grant_type", "grant_type %q is missing or not supported", grant)
	}
	if !client.mayUse(grant) {
		return nil, refuse("unauthorized_client", "the client is not registered for grant_type %s", grant)
	}
	return judge, nil
}

// code redeems an authorization code (RFC 6749 section 4.1.3, RFC 7636).
func (c *tokenCall) code() (map[string]any, *refusal) {
	if c.x.form.Has("scope") {
		return nil, refuse("invalid_request", "scope is not allowed with authorization_code; it was given at the PAR endpoint")
	}
	issued, fault := c.sim.redeem(c.x.form.Get("code"))
	if fault != nil {
		return nil, fault
	}
	request := issued.request
	if fault := c.checkCode(request); fault != nil {
		return nil, fault
	}
	if fault := checkResources(c.x.form["resource"], request.scopes); fault != nil {
		return nil, fault
	}
	login, token := c.sim.beginLogin(issued, c.client, c.jkt)
	c.record.Login, c.record.Ordinal, c.record.Tenant = login.number, 1, request.details.tenant
	return c.sim.mint(mintage{
		client: c.client, login: login, person: &login.person, scopes: request.scopes, resources: c.resources(request.resources),
		details: request.details, jkt: c.jkt, nonce: request.nonce, refreshToken: token,
	}, c.record)
}

// redeem uses the code up. A second use revokes what the first one gave
// (RFC 6749 section 4.1.2).
func (s *Simulator) redeem(code string) (*issuedCode, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	issued, known := s.codes[code]
	switch {
	case !known:
		return nil, refuse("invalid_grant", "code is missing or not known")
	case issued.used:
		if issued.login != nil {
			issued.login.revoked = true
		}
		return nil, refuse("invalid_grant", "code was used before; every token from it is revoked")
	case s.now().After(issued.expires):
		return nil, refuse("invalid_grant", "code has expired")
	}
	issued.used = true
	return issued, nil
}

// verifierForm is RFC 7636 section 4.1's.
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

func (c *tokenCall) checkCode(request *authorizationRequest) *refusal {
	verifier := c.x.form.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	switch {
	case request.client.ID != c.client.ID:
		return refuse("invalid_grant", "code was issued to another client")
	case c.x.form.Get("redirect_uri") != request.redirectURI:
		return refuse("invalid_grant", "redirect_uri is not the one of the authorization request")
	case !verifierForm.MatchString(verifier):
		return refuse("invalid_grant", "code_verifier is missing or not 43 to 128 unreserved characters")
	case subtle.ConstantTimeCompare([]byte(challenge), []byte(request.challenge)) != 1:
		return refuse("invalid_grant", "code_verifier does not fit the code_challenge")
	case request.dpopJKT != "" && request.dpopJKT != c.jkt:
		return refuse(codeInvalidProof, "the proof's key is not the one the code was bound to (dpop_jkt)")
	default:
		return nil
	}
}

// refresh redeems a refresh token, for the organizations in the assertion or,
// without any, those of the log-in.
func (c *tokenCall) refresh() (map[string]any, *refusal) {
	value := c.x.form.Get("refresh_token")
	login, fault := c.sim.findLogin(value, c.client)
	if fault != nil {
		c.record.Reuse = login != nil
		return nil, fault
	}
	if code := c.sim.knobs().HelseID.BindRefreshToken; code != "" && login.jkt != c.jkt {
		return nil, refuse(code, "refresh_token is bound to another DPoP key than the one that signed the proof")
	}
	scopes, fault := c.narrowed(login.scopes)
	if fault != nil {
		return nil, fault
	}
	c.inherit(login.details.tenant)
	token, login, fault := c.sim.rotate(value, c.client)
	if fault != nil {
		c.record.Reuse = login != nil
		return nil, fault
	}
	return c.sim.mint(mintage{
		client: c.client, login: login, person: &login.person, scopes: scopes, resources: c.resources(login.resources),
		details: c.details, jkt: c.jkt, refreshToken: token, renewal: true,
	}, c.record)
}

// narrowed are the scopes a refresh asks for; never more than the log-in's.
func (c *tokenCall) narrowed(granted []string) ([]string, *refusal) {
	scopes := granted
	if c.x.form.Has("scope") {
		scopes = strings.Fields(c.x.form.Get("scope"))
	}
	for _, scope := range scopes {
		if !slices.Contains(granted, scope) {
			return nil, refuse("invalid_scope", "scope %q was not granted at the log-in", scope)
		}
	}
	return scopes, checkResources(c.x.form["resource"], scopes)
}

// inherit takes the organization and the journal of the log-in's request object
// where the assertion names none.
func (c *tokenCall) inherit(before Tenant) {
	if !c.details.organization {
		c.details.tenant.Parent, c.details.tenant.Child = before.Parent, before.Child
	}
	if c.details.tenant.Journal == "" {
		c.details.tenant.Journal = before.Journal
	}
}

// resources are those of this request, or of the log-in when it names none.
func (c *tokenCall) resources(before []string) []string {
	if c.x.form.Has("resource") {
		return c.x.form["resource"]
	}
	return before
}

// clientCredentials gives a token without a person.
func (c *tokenCall) clientCredentials() (map[string]any, *refusal) {
	scopes := strings.Fields(c.x.form.Get("scope"))
	if len(scopes) == 0 {
		for _, scope := range c.client.Scopes {
			if !isIdentityScope(scope) {
				scopes = append(scopes, scope)
			}
		}
	}
	if at := slices.IndexFunc(scopes, isIdentityScope); at >= 0 {
		return nil, refuse("invalid_scope", "scope %q is about a person; client_credentials has none", scopes[at])
	}
	return c.withoutLogin(scopes, nil)
}

// tokenExchange gives a token for the next API, about the person of a token that
// was issued for this client's own (RFC 8693).
func (c *tokenCall) tokenExchange() (map[string]any, *refusal) {
	if got := c.x.form.Get("subject_token_type"); got != "urn:ietf:params:oauth:token-type:access_token" {
		return nil, refuse("invalid_request", "subject_token_type is %q, urn:ietf:params:oauth:token-type:access_token is wanted", got)
	}
	claims, err := c.sim.verifyAccessToken(c.x.form.Get("subject_token"))
	if err != nil {
		return nil, refuse("invalid_request", "subject_token: %v", err)
	}
	if c.client.Audience == "" || !hasAudience(claims["aud"], c.client.Audience) {
		return nil, refuse("invalid_request", "subject_token was not issued for this client's own API (%q)", c.client.Audience)
	}
	scopes := strings.Fields(c.x.form.Get("scope"))
	if len(scopes) == 0 {
		return nil, refuse("invalid_scope", "scope is missing")
	}
	answer, fault := c.withoutLogin(scopes, personOf(claims))
	if fault == nil {
		answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token" // RFC 8693 section 2.2.1
	}
	return answer, fault
}

func (c *tokenCall) withoutLogin(scopes []string, person *Person) (map[string]any, *refusal) {
	if fault := checkScopes(c.client, scopes); fault != nil {
		return nil, fault
	}
	if fault := checkResources(c.x.form["resource"], scopes); fault != nil {
		return nil, fault
	}
	return c.sim.mint(mintage{
		client: c.client, person: person, scopes: scopes, resources: c.x.form["resource"], details: c.details, jkt: c.jkt,
	}, c.record)
}

// hasAudience takes both writings of aud, with any number of audiences.
func hasAudience(aud any, wanted string) bool {
	if list, ok := aud.([]any); ok {
		return slices.Contains(list, any(wanted))
	}
	return aud == wanted
}

// personOf reads the person out of one of our own tokens.
func personOf(claims map[string]any) *Person {
	return &Person{
		Subject: text(claims, "sub"), Name: text(claims, "name"), PID: text(claims, claimPID), HPRNumber: text(claims, claimHPR),
		SecurityLevel: text(claims, claimLevel), AssuranceLevel: text(claims, claimAssurance),
	}
}
