package simulator

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// claimHPR is the last claim name; the others stand with SFM, which reads them.
const claimHPR = "helseid://claims/hpr/hpr_number"

// mintage is what a granted token request leads to.
type mintage struct {
	client       *registeredClient
	login        *login  // nil = no log-in behind it
	person       *Person // nil = a machine
	scopes       []string
	resources    []string // the only audiences; nil = those of the scopes
	details      details
	jkt          string
	nonce        string // for the ID token of the code exchange
	refreshToken string // "" = none
	renewal      bool   // a refresh token was redeemed
}

// mint makes the token answer (RFC 6749 section 5.1, with HelseID's members).
func (s *Simulator) mint(m mintage, record *TokenRequest) (map[string]any, *refusal) {
	knobs := s.knobs().HelseID
	m.scopes = withinResources(m.scopes, m.resources)
	granted, rejected := s.rejectScopes(m, knobs)
	m.scopes, record.Rejected = granted, rejected
	access, err := s.accessToken(m, knobs)
	if err != nil {
		panic("BUG: signing an access token: " + err.Error())
	}
	answer := map[string]any{
		"access_token": access, "token_type": tokenType(m.jkt, knobs),
		"expires_in": knobs.AccessTokenSeconds, "scope": strings.Join(granted, " "),
	}
	if len(rejected) > 0 && !knobs.OmitRejectedScope {
		answer["rejected_scope"] = strings.Join(rejected, " ")
	}
	switch knobs.ExpiresIn {
	case nil:
	case "missing":
		delete(answer, "expires_in")
	default:
		answer["expires_in"] = knobs.ExpiresIn
	}
	if m.login == nil {
		return answer, nil
	}
	s.addLoginTokens(answer, m, knobs)
	return answer, nil
}

// addLoginTokens adds the ID token and the refresh token.
func (s *Simulator) addLoginTokens(answer map[string]any, m mintage, knobs HelseIDKnobs) {
	if slices.Contains(m.scopes, "openid") && !knobs.OmitIDToken {
		idToken, err := s.idToken(m, answer["access_token"].(string), knobs)
		if err != nil {
			panic("BUG: signing an ID token: " + err.Error())
		}
		answer["id_token"] = idToken
	}
	if m.refreshToken != "" && !(knobs.OmitRefreshToken && m.renewal) {
		answer["refresh_token"] = m.refreshToken
		answer["rt_expires_in"] = int(m.login.expires.Sub(s.now()).Seconds())
	}
}

func tokenType(jkt string, knobs HelseIDKnobs) string {
	switch {
	case knobs.TokenType != "":
		return knobs.TokenType
	case jkt != "":
		return "DPoP"
	default:
		return "Bearer"
	}
}

// withinResources leaves the scopes of other APIs out (RFC 8707 section 2.2).
func withinResources(scopes, resources []string) []string {
	if len(resources) == 0 {
		return scopes
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool {
		audience := audienceOf(scope)
		return audience != "" && !slices.Contains(resources, audience)
	})
}

// rejectScopes takes away SFM's scopes where the organization has not signed the
// terms of use, and those the knobs name.
func (s *Simulator) rejectScopes(m mintage, knobs HelseIDKnobs) ([]string, []string) {
	org, known := s.delegation(m.details.tenant.Parent)
	unsigned := known && !org.Terms
	var granted, rejected []string
	for _, scope := range m.scopes {
		if slices.Contains(knobs.DropScopes, scope) || (unsigned && audienceOf(scope) != "") {
			rejected = append(rejected, scope)
		} else {
			granted = append(granted, scope)
		}
	}
	return granted, rejected
}

// accessToken makes the JWT for the API (RFC 9068's typ, HelseID's claims).
func (s *Simulator) accessToken(m mintage, knobs HelseIDKnobs) (string, error) {
	if knobs.OpaqueAccessToken {
		return rand.Text(), nil
	}
	now := s.now().Unix()
	claims := map[string]any{
		"iss": s.options.Issuer, "nbf": now, "iat": now, "exp": now + int64(knobs.AccessTokenSeconds),
		"jti": rand.Text(), "client_id": m.client.ID, "client_amr": "private_key_jwt", "helseid://claims/client/amr": "rsa_private_key",
		"helseid://claims/client/client_name": m.client.ID, claimTenancy: m.client.tenancyClaim(),
		"scope": slices.Concat([]string{}, m.scopes), // an array in the JWT, a text in the answer
	}
	switch audiences := audiencesOf(m.scopes); len(audiences) {
	case 0:
	case 1:
		claims["aud"] = audiences[0]
	default:
		claims["aud"] = audiences
	}
	if m.jkt != "" {
		claims["cnf"] = map[string]any{"jkt": m.jkt} // RFC 9449 section 6.1
	}
	s.addOrganization(claims, m)
	addPerson(claims, m)
	overrideClaims(claims, knobs.ClaimOverrides)
	return s.signToken("at+jwt", claims)
}

func audiencesOf(scopes []string) []string {
	var audiences []string
	for _, scope := range scopes {
		if audience := audienceOf(scope); audience != "" && !slices.Contains(audiences, audience) {
			audiences = append(audiences, audience)
		}
	}
	return audiences
}

func (s *Simulator) addOrganization(claims map[string]any, m mintage) {
	parent := m.details.tenant.Parent
	if m.client.Tenancy == TenancySingle {
		parent = m.client.Parent
	} else {
		claims[claimSupplier] = s.options.Supplier
	}
	for name, value := range map[string]string{
		claimParent: parent, claimChild: m.details.tenant.Child, claimJournal: m.details.tenant.Journal, claimSFMID: m.client.SFMID,
	} {
		if value != "" {
			claims[name] = value
		}
	}
}

// addPerson adds what the scopes allow to be known about the person. A token
// from token exchange tells all its subject told.
func addPerson(claims map[string]any, m mintage) {
	if m.person == nil {
		return
	}
	claims["sub"], claims["idp"], claims["amr"] = m.person.Subject, "testidp-oidc", []string{"pwd"}
	if m.login != nil {
		claims["sid"], claims["auth_time"] = m.login.sid, m.login.at.Unix()
	}
	for _, fact := range []struct{ scope, claim, value string }{
		{"profile", "name", m.person.Name},
		{"helseid://scopes/identity/pid", claimPID, m.person.PID},
		{"helseid://scopes/identity/security_level", claimLevel, m.person.SecurityLevel},
		{"helseid://scopes/identity/assurance_level", claimAssurance, m.person.AssuranceLevel},
		{"helseid://scopes/hpr/hpr_number", claimHPR, m.person.HPRNumber},
	} {
		if fact.value != "" && (m.login == nil || slices.Contains(m.login.scopes, fact.scope)) {
			claims[fact.claim] = fact.value
		}
	}
}

// idTokenLife is the ID token's: it is for the client to check at once.
const idTokenLife = 5 * time.Minute

// idToken makes the ID token (OpenID Connect Core 1.0 section 2). The nonce is
// in that of the code exchange only (section 12.2).
func (s *Simulator) idToken(m mintage, access string, knobs HelseIDKnobs) (string, error) {
	now := s.now()
	sum := sha256.Sum256([]byte(access))
	claims := map[string]any{
		"iss": s.options.Issuer, "aud": m.client.ID, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(idTokenLife).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
	}
	if m.nonce != "" {
		claims["nonce"] = m.nonce
	}
	addPerson(claims, m)
	overrideClaims(claims, knobs.IDTokenOverrides)
	return s.signToken("JWT", claims)
}

func overrideClaims(claims, with map[string]any) {
	maps.Copy(claims, with)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
}

// Subject says what token a caller of its own API presents for token exchange.
type Subject struct {
	Person   string        // Person.ID
	Audience string        // the API the token is for: Client.Audience
	JKT      string        // thumbprint of the DPoP key it is bound to; "" = a bearer token
	Life     time.Duration // if zero, an hour; may be negative
	// Type is the header's typ; if empty, at+jwt.
	Type string
	// Claims replaces claims of the token; nil removes the claim.
	Claims map[string]any
	// Forged has the token signed with a key that is not HelseID's, under the kid
	// of one that is.
	Forged bool
}

// SubjectToken makes an access token as another client of the same HelseID
// would have it, to be exchanged.
func (s *Simulator) SubjectToken(subject Subject) (string, error) {
	person, known := s.people[subject.Person]
	if !known {
		return "", fmt.Errorf("making a subject token: no person %q", subject.Person)
	}
	if subject.Audience == "" {
		return "", errors.New("making a subject token: no audience")
	}
	if subject.Life == 0 {
		subject.Life = time.Hour
	}
	now := s.now()
	claims := map[string]any{
		"iss": s.options.Issuer, "aud": subject.Audience, "nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(subject.Life).Unix(),
		"jti": rand.Text(), "client_id": "another-client", "scope": []string{"openid", subject.Audience + "/use"},
	}
	if subject.JKT != "" {
		claims["cnf"] = map[string]any{"jkt": subject.JKT}
	}
	addPerson(claims, mintage{person: &person})
	overrideClaims(claims, subject.Claims)
	if subject.Type == "" {
		subject.Type = "at+jwt"
	}
	if !subject.Forged {
		return s.signToken(subject.Type, claims)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", fmt.Errorf("making a subject token: %w", err)
	}
	s.mu.Lock()
	kid := s.keys[len(s.keys)-1].kid
	s.mu.Unlock()
	return sign(key, "RS256", kid, map[string]any{"typ": subject.Type}, claims)
}
