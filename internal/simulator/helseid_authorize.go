package simulator

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the log-in page
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

//go:embed login.html
var loginHTML string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

// loginView is what the page shows: a fault, persons to choose from, or a text.
type loginView struct {
	Title, Fault, Text   string
	ClientID, RequestURI string
	Persons              []Person
}

// autoDeny in ?auto= is the person who cancels.
const autoDeny = "deny"

// issuedCode is an authorization code. It can be redeemed once.
type issuedCode struct {
	request *authorizationRequest
	person  Person
	at      time.Time // of the log-in
	expires time.Time
	used    bool
	login   *login // what became of it, once used
}

// serveAuthorize is the authorization endpoint: it shows who can log in, or,
// with ?auto=<person>, logs that person in at once.
func (s *Simulator) serveAuthorize(x *exchange) {
	query := x.request.URL.Query()
	request, problem := s.findPushed(query)
	if problem != "" { // without a trusted redirect_uri there is nowhere to send it
		x.writePage(http.StatusBadRequest, loginView{Title: "This log-in cannot begin", Fault: problem})
		return
	}
	chosen := query.Get("auto")
	switch {
	case chosen == autoDeny:
		s.finish(x, request, url.Values{"error": {"access_denied"}, "error_description": {"the person cancelled the log-in"}})
	case chosen == "" && request.prompt == "none":
		s.finish(x, request, url.Values{"error": {"login_required"}, "error_description": {"nobody is logged in here, and prompt is none"}})
	case chosen == "":
		x.writePage(http.StatusOK, loginView{
			Title: "Log in", ClientID: request.client.ID, RequestURI: query.Get("request_uri"), Persons: s.options.Persons,
		})
	default:
		s.logIn(x, request, chosen)
	}
}

// findPushed returns the request of a request_uri, or what is wrong with the
// address the browser was sent to.
func (s *Simulator) findPushed(query url.Values) (*authorizationRequest, string) {
	for name, values := range query {
		if !slices.Contains([]string{"client_id", "request_uri", "auto"}, name) {
			return nil, "The address has the parameter " + name + ". Push the request first (PAR); the browser then brings client_id and request_uri only."
		}
		if len(values) > 1 {
			return nil, "The parameter " + name + " comes more than once."
		}
	}
	if !strings.HasPrefix(query.Get("request_uri"), requestURIPrefix) {
		return nil, "request_uri is missing or not from the PAR endpoint. Pushed authorization requests are mandatory."
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	request, known := s.pushed[query.Get("request_uri")]
	switch {
	case !known:
		return nil, "request_uri is not known, or was used for a log-in already."
	case s.now().After(request.expires):
		return nil, "request_uri has expired. Begin the log-in again."
	case query.Get("client_id") != request.client.ID:
		return nil, "client_id is not the client that pushed this request."
	default:
		return request, ""
	}
}

func (s *Simulator) logIn(x *exchange, request *authorizationRequest, id string) {
	person, known := s.people[id]
	if !known {
		x.writePage(http.StatusBadRequest, loginView{Title: "Nobody of that name", Fault: "The simulator knows no person " + id + "."})
		return
	}
	knobs := s.knobs().HelseID
	if knobs.SecurityLevel != "" {
		person.SecurityLevel = knobs.SecurityLevel
	}
	now := s.now()
	code := rand.Text()
	s.mu.Lock()
	s.codes[code] = &issuedCode{
		request: request, person: person, at: now,
		expires: now.Add(time.Duration(knobs.CodeSeconds) * time.Second),
	}
	s.mu.Unlock()
	s.finish(x, request, url.Values{
		"code": {code}, "scope": {strings.Join(request.scopes, " ")}, "session_state": {rand.Text()},
	})
}

// finish uses up the request_uri and sends the browser back, with state and iss
// (RFC 9207).
func (s *Simulator) finish(x *exchange, request *authorizationRequest, answer url.Values) {
	s.mu.Lock()
	delete(s.pushed, x.request.URL.Query().Get("request_uri"))
	s.mu.Unlock()
	if request.state != "" {
		answer.Set("state", request.state)
	}
	switch issuer := s.knobs().HelseID.CallbackIssuer; issuer {
	case "":
		answer.Set("iss", s.options.Issuer)
	case "missing":
	default:
		answer.Set("iss", issuer)
	}
	x.redirect(request.redirectURI, answer)
}

// redirect adds answer to the query of a registered address.
func (x *exchange) redirect(to string, answer url.Values) {
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	if len(answer) == 0 {
		separator = ""
	}
	x.answer.header.Set("Location", to+separator+answer.Encode())
	x.answer.WriteHeader(http.StatusFound)
}

func (x *exchange) writePage(status int, view loginView) {
	var page bytes.Buffer
	if err := loginPage.Execute(&page, view); err != nil {
		panic("BUG: the log-in page does not render: " + err.Error())
	}
	x.answer.header.Set("Content-Type", "text/html; charset=utf-8")
	x.answer.header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	x.answer.header.Set("Referrer-Policy", "no-referrer")
	x.answer.WriteHeader(status)
	x.answer.body.Write(page.Bytes())
}
