package simulator

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// authorizationRequest is what a client pushed and a browser will fetch.
type authorizationRequest struct {
	client      *registeredClient
	redirectURI string
	scopes      []string
	resources   []string
	state       string
	nonce       string
	challenge   string // S256
	dpopJKT     string // the key the code will be bound to; "" = none
	prompt      string
	details     details // from a request object
	expires     time.Time
}

// servePush is the PAR endpoint (RFC 9126).
func (s *Simulator) servePush(x *exchange) {
	record := TokenRequest{Endpoint: "par"}
	pushed, fault := s.judgePush(x, &record)
	s.record(record, fault)
	if fault != nil {
		x.writeRefusal(fault)
		return
	}
	uri := requestURIPrefix + rand.Text()
	life := s.knobs().HelseID.RequestURISeconds
	pushed.expires = s.now().Add(time.Duration(life) * time.Second)
	s.mu.Lock()
	s.forgetExpired()
	s.pushed[uri] = pushed
	s.mu.Unlock()
	x.writeJSON(http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": life})
}

// forgetExpired drops requests and codes that were never used. The lock is held.
func (s *Simulator) forgetExpired() {
	longAgo := s.now().Add(-time.Hour)
	for uri, request := range s.pushed {
		if request.expires.Before(longAgo) {
			delete(s.pushed, uri)
		}
	}
	for code, issued := range s.codes {
		if issued.expires.Before(longAgo) {
			delete(s.codes, code)
		}
	}
}

func (s *Simulator) judgePush(x *exchange, record *TokenRequest) (*authorizationRequest, *refusal) {
	client, assertion, fault := s.authenticateClient(x)
	if client != nil {
		record.Client = client.ID
	}
	if fault != nil {
		return nil, fault
	}
	if hasDetails(assertion.claims) {
		return nil, s.hid(1007, "at PAR organization claims belong into a signed request object (authorization_details), not into the client assertion")
	}
	object, fault := s.requestObject(x, client)
	if fault != nil {
		return nil, fault
	}
	parameters, fault := mergeParameters(x.form, object)
	if fault != nil {
		return nil, fault
	}
	request, fault := s.readAuthorization(client, parameters)
	if fault != nil {
		return nil, fault
	}
	if request.details, fault = s.objectDetails(client, object); fault != nil {
		return nil, fault
	}
	record.Tenant = request.details.tenant
	if request.dpopJKT, fault = s.pushedKey(x, parameters.Get("dpop_jkt")); fault != nil {
		return nil, fault
	}
	return request, nil
}

func hasDetails(claims map[string]any) bool {
	return claims["assertion_details"] != nil || claims["authorization_details"] != nil
}

// requestObject reads the optional request object (RFC 9101); nil without one.
// HelseID's samples give it the assertion's typ.
func (s *Simulator) requestObject(x *exchange, client *registeredClient) (map[string]any, *refusal) {
	if !x.form.Has("request") {
		return nil, nil
	}
	parsed, err := s.verifyClientJWT(client, x.form.Get("request"), assertionTyp, "oauth-authz-req+jwt")
	if err != nil {
		return nil, refuse("invalid_request_object", "request: %v", err)
	}
	if id := text(parsed.claims, "client_id"); id != client.ID {
		return nil, refuse("invalid_request_object", "request: client_id is %q", id)
	}
	return parsed.claims, nil
}

// mergeParameters adds what only the request object says. Saying a thing twice
// in two ways is refused.
func mergeParameters(form url.Values, object map[string]any) (url.Values, *refusal) {
	merged := url.Values{}
	for name, values := range form {
		merged[name] = values
	}
	for name, value := range object {
		written, ok := value.(string)
		if !ok || slices.Contains([]string{"iss", "aud", "sub", "jti"}, name) {
			continue
		}
		if form.Has(name) && form.Get(name) != written {
			return nil, refuse("invalid_request", "%s in the form and in the request object differ", name)
		}
		merged.Set(name, written)
	}
	return merged, nil
}

func (s *Simulator) objectDetails(client *registeredClient, object map[string]any) (details, *refusal) {
	if _, misplaced := object["assertion_details"]; misplaced {
		return details{}, s.hid(1007, "a request object carries authorization_details, not assertion_details")
	}
	var found details
	if value, present := object["authorization_details"]; present {
		var fault *refusal
		if found, fault = s.readDetails(client, "authorization_details", value); fault != nil {
			return details{}, fault
		}
	}
	if s.knobs().HelseID.OrganizationAtLogin && !found.organization {
		return details{}, s.hid(1007, "this client must name the organization at log-in, in a signed request object")
	}
	return found, nil
}

// challengeForm is the base64url of a SHA-256 (RFC 7636 section 4.2).
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func (s *Simulator) readAuthorization(client *registeredClient, p url.Values) (*authorizationRequest, *refusal) {
	scopes := strings.Fields(p.Get("scope"))
	switch {
	case !client.mayUse(GrantCode):
		return nil, refuse("unauthorized_client", "the client is not registered for authorization_code")
	case p.Get("response_type") != "code":
		return nil, refuse("unsupported_response_type", "response_type is %q, code is wanted", p.Get("response_type"))
	case p.Has("response_mode") && p.Get("response_mode") != "query":
		return nil, refuse("invalid_request", "response_mode %q is not offered here; leave it out", p.Get("response_mode"))
	case !isRegistered(client.RedirectURIs, p.Get("redirect_uri")):
		return nil, refuse("invalid_request", "redirect_uri %q is not registered", p.Get("redirect_uri"))
	case p.Get("code_challenge_method") != "S256":
		return nil, refuse("invalid_request", "code_challenge_method is %q, S256 is wanted", p.Get("code_challenge_method"))
	case !challengeForm.MatchString(p.Get("code_challenge")):
		return nil, refuse("invalid_request", "code_challenge is not the base64url of a SHA-256")
	case len(scopes) == 0:
		return nil, refuse("invalid_scope", "scope is missing")
	}
	if fault := checkScopes(client, scopes); fault != nil {
		return nil, fault
	}
	if fault := checkResources(p["resource"], scopes); fault != nil {
		return nil, fault
	}
	return &authorizationRequest{
		client: client, redirectURI: p.Get("redirect_uri"), scopes: scopes, resources: p["resource"],
		state: p.Get("state"), nonce: p.Get("nonce"), challenge: p.Get("code_challenge"), prompt: p.Get("prompt"),
	}, nil
}

func checkScopes(client *registeredClient, scopes []string) *refusal {
	if unknown := client.unknownScopes(scopes); len(unknown) > 0 {
		return refuse("invalid_scope", "the client is not registered for %s", strings.Join(unknown, " "))
	}
	return nil
}

// checkResources wants each resource (RFC 8707) to be the API of some scope.
func checkResources(resources, scopes []string) *refusal {
	for _, resource := range resources {
		if !slices.ContainsFunc(scopes, func(scope string) bool { return audienceOf(scope) == resource }) {
			return refuse("invalid_target", "resource %q belongs to none of the scopes", resource)
		}
	}
	return nil
}

// pushedKey returns the key a code is to be bound to (RFC 9449 section 10):
// HelseID's clients need send neither parameter nor proof here, but what is sent
// must be right.
func (s *Simulator) pushedKey(x *exchange, parameter string) (string, *refusal) {
	if len(x.request.Header.Values("DPoP")) == 0 {
		return parameter, nil
	}
	p, fault := checkProof(x.request, proofRule{
		method: http.MethodPost, htu: s.options.Issuer + x.request.URL.EscapedPath(),
		back: helseidProofBack, ahead: helseidProofAhead, seen: s.proofs, now: s.now(),
	})
	if fault != nil {
		return "", refuse(fault.code, "%s", fault.text)
	}
	if parameter != "" && parameter != p.jkt {
		return "", refuse(codeInvalidProof, "dpop_jkt is not the thumbprint of the proof's key")
	}
	return p.jkt, nil
}

// isRegistered compares exactly, but for the port of loopback addresses, which
// is free in HelseID's test environment.
func isRegistered(registered []string, uri string) bool {
	if slices.Contains(registered, uri) {
		return true
	}
	portless, ok := withoutLoopbackPort(uri)
	return ok && slices.ContainsFunc(registered, func(one string) bool {
		known, ok := withoutLoopbackPort(one)
		return ok && known == portless
	})
}

func withoutLoopbackPort(uri string) (string, bool) {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Scheme != "http" || parsed.Fragment != "" || parsed.User != nil {
		return "", false
	}
	switch host := parsed.Hostname(); host {
	case "localhost", "127.0.0.1", "::1":
		return host + " " + parsed.EscapedPath() + "?" + parsed.RawQuery, true
	default:
		return "", false
	}
}
