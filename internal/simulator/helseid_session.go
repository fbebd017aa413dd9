package simulator

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// login is what follows from one person logging in once: a family of refresh
// tokens of which at most one is good. Simulator.mu guards what changes.
type login struct {
	number    int // from 1
	sid       string
	client    *registeredClient
	person    Person
	scopes    []string
	resources []string
	details   details // from a request object
	jkt       string  // of the proof at the code exchange
	at        time.Time
	expires   time.Time // of every refresh token

	ordinal  int // of the newest refresh token
	inFlight int // refreshes under way
	revoked  bool
}

// refreshToken is one member of the family.
type refreshToken struct {
	login   *login
	ordinal int
	spent   bool
}

// beginLogin makes the log-in of a redeemed code and its first refresh token,
// "" without the scope offline_access.
func (s *Simulator) beginLogin(issued *issuedCode, client *registeredClient, jkt string) (*login, string) {
	life := time.Duration(s.knobs().HelseID.RefreshTokenSeconds) * time.Second
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLogins()
	s.logins++
	fresh := &login{
		number: s.logins, sid: rand.Text(), client: client, person: issued.person,
		scopes: issued.request.scopes, resources: issued.request.resources, details: issued.request.details, jkt: jkt,
		at: issued.at, expires: issued.at.Add(life), ordinal: 1,
	}
	issued.login = fresh
	if !slices.Contains(fresh.scopes, "offline_access") {
		return fresh, ""
	}
	token := newRefreshToken()
	s.refresh[token] = &refreshToken{login: fresh, ordinal: 1}
	return fresh, token
}

// maxRefreshTokens is when tokens of ended log-ins are forgotten.
const maxRefreshTokens = 50_000

// forgetLogins makes room; the lock is held. A forgotten token is answered as
// not known instead of expired, nothing else changes.
func (s *Simulator) forgetLogins() {
	if len(s.refresh) < maxRefreshTokens {
		return
	}
	for value, token := range s.refresh {
		if token.login.revoked || s.now().After(token.login.expires) {
			delete(s.refresh, value)
		}
	}
}

// describeRefresh tells the record whose refresh token came.
func (s *Simulator) describeRefresh(value string) (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, known := s.refresh[value]
	if !known {
		return 0, 0
	}
	return token.login.number, token.ordinal
}

// findLogin judges a refresh token without spending it. A log-in beside a
// refusal means that the token was spent before: the family is now revoked.
func (s *Simulator) findLogin(value string, client *registeredClient) (*login, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judgeRefreshToken(value, client)
}

// judgeRefreshToken is findLogin with the lock held.
func (s *Simulator) judgeRefreshToken(value string, client *registeredClient) (*login, *refusal) {
	token, known := s.refresh[value]
	switch {
	case !known:
		return nil, refuse("invalid_grant", "refresh_token is missing or not known")
	case token.login.client.ID != client.ID:
		return nil, refuse("invalid_grant", "refresh_token was issued to another client")
	case token.spent:
		// RFC 9700 section 4.14.2: either the client or a thief has a token it
		// should not have.
		token.login.revoked = true
		return token.login, refuse("invalid_grant", "refresh_token number %d of this log-in was rotated before and came again; the log-in is revoked", token.ordinal)
	case token.login.revoked:
		return nil, refuse("invalid_grant", "the log-in was revoked; the person must log in again")
	case s.now().After(token.login.expires):
		return nil, refuse("invalid_grant", "refresh_token has expired; the person must log in again")
	default:
		return token.login, nil
	}
}

// rotate spends a refresh token and returns the next. It judges once more: of
// two requests at once with the same one, the later loses here.
func (s *Simulator) rotate(value string, client *registeredClient) (string, *login, *refusal) {
	rotationOff := s.knobs().HelseID.RotationOff
	s.mu.Lock()
	defer s.mu.Unlock()
	login, fault := s.judgeRefreshToken(value, client)
	if fault != nil || rotationOff {
		return value, login, fault
	}
	s.refresh[value].spent = true
	login.ordinal++
	next := newRefreshToken()
	s.refresh[next] = &refreshToken{login: login, ordinal: login.ordinal}
	return next, login, nil
}

// Logins counts the log-ins that reached the code exchange.
func (s *Simulator) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// serveRevocation is RFC 7009's endpoint: a refresh token ends its whole log-in;
// a token that is not known is no error.
func (s *Simulator) serveRevocation(x *exchange) {
	record := TokenRequest{Endpoint: "revocation"}
	fault := s.judgeRevocation(x, &record)
	s.record(record, fault)
	if fault != nil {
		x.writeRefusal(fault)
		return
	}
	x.answer.WriteHeader(http.StatusOK)
}

func (s *Simulator) judgeRevocation(x *exchange, record *TokenRequest) *refusal {
	client, _, fault := s.authenticateClient(x)
	if client != nil {
		record.Client = client.ID
	}
	if fault != nil {
		return fault
	}
	if x.form.Get("token") == "" {
		return refuse("invalid_request", "token is missing")
	}
	record.Login, record.Ordinal = s.describeRefresh(x.form.Get("token"))
	s.mu.Lock()
	defer s.mu.Unlock()
	token, known := s.refresh[x.form.Get("token")]
	if known && token.login.client.ID == client.ID {
		token.login.revoked = true
	}
	return nil
}

// serveEndSession is the log-out page (OpenID Connect RP-Initiated Logout 1.0).
func (s *Simulator) serveEndSession(x *exchange) {
	query := x.request.URL.Query()
	hint, to := query.Get("id_token_hint"), query.Get("post_logout_redirect_uri")
	if hint == "" {
		x.writePage(http.StatusOK, loginView{Title: "Logged out", Text: "You are logged out."})
		return
	}
	claims, err := s.verifyOwn(hint, "JWT") // an expired one is as good (section 2)
	if err != nil {
		x.writePage(http.StatusBadRequest, loginView{Title: "Log-out failed", Fault: "id_token_hint: " + err.Error()})
		return
	}
	if to == "" {
		x.writePage(http.StatusOK, loginView{Title: "Logged out", Text: "You are logged out."})
		return
	}
	client := s.client(text(claims, "aud"))
	if client == nil || !isRegistered(client.PostLogoutRedirectURIs, to) {
		x.writePage(http.StatusBadRequest, loginView{Title: "Logged out, but", Fault: "post_logout_redirect_uri is not registered for the client."})
		return
	}
	answer := url.Values{}
	if state := query.Get("state"); state != "" {
		answer.Set("state", state)
	}
	x.redirect(to, answer)
}

// newRefreshToken is of a form that is found wherever it stands in clear.
func newRefreshToken() string { return "simulated-refresh-" + rand.Text() }
