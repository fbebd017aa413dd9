package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
)

// maxForm bounds a form posted to HelseID; an assertion is below 4 KiB.
const maxForm = 128 << 10

// refusal is an OAuth error answer (RFC 6749 section 5.2). The text is for the
// developer at the other end: it says exactly what was wrong and quotes no
// token, assertion or proof.
type refusal struct {
	status int // 0 = 400
	code   string
	text   string
}

// Error makes a refusal an error.
func (f *refusal) Error() string { return f.code + ": " + f.text }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

// exchange is one call to HelseID. Answers are gathered in answer and leave when
// everything about the call is settled and recorded, so that a client that has
// its answer also finds it in [Simulator.TokenRequests].
type exchange struct {
	request *http.Request
	form    url.Values // the body of a POST
	fault   *refusal   // why there is no form
	// inFlight is what TokenRequest.InFlight tells.
	inFlight int
	answer   bufferedAnswer
}

// bufferedAnswer is a [http.ResponseWriter] that keeps the answer.
type bufferedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *bufferedAnswer) Header() http.Header { return b.header }

func (b *bufferedAnswer) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

func (b *bufferedAnswer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

func (b *bufferedAnswer) send(w http.ResponseWriter) {
	for name, values := range b.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(b.body.Len()))
	w.WriteHeader(max(b.status, http.StatusOK))
	_, _ = w.Write(b.body.Bytes()) // the client may have left
}

// HelseID returns the HelseID stand-in, to be mounted at the options' issuer. The
// registers are served beside it.
func (s *Simulator) HelseID() http.Handler {
	return s.withControl(s.withRegisters(s.serveHelseID))
}

// serveHelseID meets the faults, routes, and sends the answer last.
func (s *Simulator) serveHelseID(w http.ResponseWriter, r *http.Request) {
	x := &exchange{request: r, answer: bufferedAnswer{header: http.Header{}}}
	x.readForm(w)
	leave := s.enterRefresh(x)
	early := s.takeHelseIDFault(r.URL.Path, false)
	if !early.pause(r.Context()) {
		leave()
		return // the client left; nothing was done
	}
	if early.spoilsBefore() {
		leave()
		early.spoil(w)
		return
	}
	s.route(x, early)
	leave()
	if x.answer.status < 400 {
		late := s.takeHelseIDFault(r.URL.Path, true)
		if !late.pause(r.Context()) {
			return
		}
		if late != (Fault{}) {
			late.spoilAnswer(w, &x.answer)
			return
		}
	}
	x.answer.send(w)
}

func (s *Simulator) route(x *exchange, fault Fault) {
	x.answer.header.Set("Cache-Control", "no-store")
	switch path := x.request.URL.Path; path {
	case "/.well-known/openid-configuration":
		x.writeJSON(http.StatusOK, s.discovery())
	case "/.well-known/openid-configuration/jwks":
		x.writeJSON(http.StatusOK, s.jwks())
	case "/connect/par":
		s.servePush(x)
	case "/connect/authorize":
		s.serveAuthorize(x)
	case "/connect/token":
		s.serveToken(x, fault)
	case "/connect/revocation":
		s.serveRevocation(x)
	case "/connect/endsession":
		s.serveEndSession(x)
	default:
		x.writeJSON(http.StatusNotFound, map[string]any{"error": "not_found", "error_description": "the simulator has no " + path})
	}
}

// readForm reads the body of a POST once, for everybody who wants it.
func (x *exchange) readForm(w http.ResponseWriter) {
	if x.request.Method != http.MethodPost {
		x.fault = refuse("invalid_request", "the method is %s, POST is wanted", x.request.Method)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, x.request.Body, maxForm))
	if err != nil {
		x.fault = refuse("invalid_request", "the body could not be read, or is larger than %d bytes", maxForm)
		return
	}
	media, _, _ := mime.ParseMediaType(x.request.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" {
		x.fault = refuse("invalid_request", "the Content-Type is %q, application/x-www-form-urlencoded is wanted", media)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		x.fault = refuse("invalid_request", "the body is not a well-formed form")
		return
	}
	for name, values := range form { // RFC 6749 section 3.2, but for RFC 8707's resource
		if len(values) > 1 && name != "resource" {
			x.fault = refuse("invalid_request", "the parameter %q comes %d times", name, len(values))
			return
		}
	}
	x.form = form
}

func (x *exchange) writeJSON(status int, value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic("BUG: an answer that is no JSON: " + err.Error())
	}
	x.answer.header.Set("Content-Type", "application/json")
	x.answer.WriteHeader(status)
	x.answer.body.Write(encoded)
}

func (x *exchange) writeRefusal(f *refusal) {
	status := f.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	x.writeJSON(status, map[string]any{"error": f.code, "error_description": f.text})
}

// discovery is the metadata document (OpenID Connect Discovery 1.0 section 3),
// with the keys and values that HelseID's has. Endpoints that exist only there
// are listed as well; this stand-in answers 404 to them.
func (s *Simulator) discovery() map[string]any {
	at := func(path string) string { return s.options.Issuer + path }
	return map[string]any{
		"issuer":                                s.options.Issuer,
		"jwks_uri":                              at("/.well-known/openid-configuration/jwks"),
		"authorization_endpoint":                at("/connect/authorize"),
		"token_endpoint":                        at("/connect/token"),
		"userinfo_endpoint":                     at("/connect/userinfo"),
		"end_session_endpoint":                  at("/connect/endsession"),
		"check_session_iframe":                  at("/connect/checksession"),
		"revocation_endpoint":                   at("/connect/revocation"),
		"introspection_endpoint":                at("/connect/introspect"),
		"device_authorization_endpoint":         at("/connect/deviceauthorization"),
		"backchannel_authentication_endpoint":   at("/connect/ciba"),
		"pushed_authorization_request_endpoint": at("/connect/par"),
		"expired_jwks_uri":                      at("/connect/expiredjwks"),
		"available_idps":                        at("/connect/availableidps"),
		"require_pushed_authorization_requests": false, // so does HelseID's; its documents demand it all the same
		"frontchannel_logout_supported":         true,
		"frontchannel_logout_session_supported": true,
		"backchannel_logout_supported":          true,
		"backchannel_logout_session_supported":  true,
		"grant_types_supported": []string{GrantCode, GrantClientCredentials, GrantRefresh, "implicit",
			"urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba", GrantTokenExchange},
		"response_types_supported":                       []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"},
		"response_modes_supported":                       []string{"form_post", "query", "fragment"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"id_token_signing_alg_values_supported":          []string{"RS256"},
		"subject_types_supported":                        []string{"public"},
		"code_challenge_methods_supported":               []string{"plain", "S256"},
		"request_parameter_supported":                    true,
		"request_object_signing_alg_values_supported":    []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512"},
		"prompt_values_supported":                        []string{"none", "login", "consent", "select_account"},
		"authorization_response_iss_parameter_supported": true,
		"dpop_signing_alg_values_supported":              []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"},
		"scopes_supported": []string{"openid", "profile", "offline_access",
			"helseid://scopes/client/info", "helseid://scopes/client/client_name",
			"helseid://scopes/identity/assurance_level", "helseid://scopes/identity/pid", "helseid://scopes/identity/pid_pseudonym",
			"helseid://scopes/identity/security_level", "helseid://scopes/identity/network",
			"nhn:tillitsrammeverk:parameters", "nhn:sfm:journal-id", "helseid://scopes/hpr/hpr_number"},
		"claims_supported": []string{"name", "family_name", "given_name", "middle_name",
			"helseid://claims/identity/assurance_level", claimPID, "helseid://claims/identity/pid_pseudonym",
			"helseid://claims/identity/security_level", "helseid://claims/identity/network",
			"helseid://claims/hpr/hpr_number", "helseid://claims/client/client_name", "helseid://claims/client/client_tenancy",
			"helseid://claims/client/claims/orgnr_parent", "helseid://claims/client/claims/orgnr_child",
			"helseid://claims/client/claims/orgnr_supplier", "client_amr"},
	}
}

// jwks publishes every signing key there has been, the newest first.
func (s *Simulator) jwks() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []any{}
	for i := len(s.keys) - 1; i >= 0; i-- {
		jwk, err := publicJWK(s.keys[i].key.Public())
		if err != nil {
			panic("BUG: HelseID's own key has no JWK: " + err.Error())
		}
		jwk["use"], jwk["alg"], jwk["kid"] = "sig", "RS256", s.keys[i].kid
		keys = append(keys, jwk)
	}
	return map[string]any{"keys": keys}
}
