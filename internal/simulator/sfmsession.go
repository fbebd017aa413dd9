package simulator

import (
	"cmp"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// ticketLife is how long a patient ticket is good after its last use.
const ticketLife = time.Hour

// ticketCap bounds the tickets; beyond it they are all forgotten.
const ticketCap = 10_000

// The states of an SFM session.
const (
	SFMSessionOpen    = "open"
	SFMSessionExpired = "expired" // its token ran out before a refresh came
	SFMSessionEnded   = "ended"
)

// SFMSession is a session at SFM's gateway: the link between a person's access token and the browser that shows SFM's
// portals. A person has one per parent organization.
type SFMSession struct {
	ID      string `json:"id"`
	Subject string `json:"sub"`
	Parent  string `json:"parent"`
	State   string `json:"state"`
	// ExpiresAt is when the token runs out that the session holds.
	Created   time.Time `json:"created"`
	ExpiresAt time.Time `json:"expires_at"`
	// Creates counts Session/create, for one person may sit at several machines; Refreshes counts Session/refresh,
	// and NewTokens those that brought another token than the session had. A refresh without a new token is answered
	// well but does not make the session last any longer.
	Creates   int `json:"creates"`
	Refreshes int `json:"refreshes"`
	NewTokens int `json:"new_tokens"`

	ended          bool
	tokenHash, jkt string
}

func (s *SFMSession) stateAt(now time.Time) string {
	switch {
	case s.ended:
		return SFMSessionEnded
	case !now.Before(s.ExpiresAt):
		return SFMSessionExpired
	default:
		return SFMSessionOpen
	}
}

// sessionKey is what a person has one session for.
type sessionKey struct{ person, parent string }

// ticketKey is what a ticket stands for. The patient is a hash.
type ticketKey struct{ person, parent, patient string }

type ticket struct {
	value   string
	expires time.Time
}

// sfmGateway is the state of the session gateway.
type sfmGateway struct {
	mu       sync.Mutex
	sessions map[sessionKey]*SFMSession // guarded by mu
	tickets  map[ticketKey]ticket       // guarded by mu
}

func newSFMGateway() *sfmGateway {
	return &sfmGateway{sessions: map[sessionKey]*SFMSession{}, tickets: map[ticketKey]ticket{}}
}

// SFMSessions returns all sessions at SFM's gateway, by time of creation.
func (s *Simulator) SFMSessions() []SFMSession {
	now := s.now()
	g := s.sfm.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	list := []SFMSession{}
	for _, session := range g.sessions {
		shown := *session
		shown.State = session.stateAt(now)
		list = append(list, shown)
	}
	slices.SortFunc(list, func(a, b SFMSession) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return list
}

func (c *sfmCall) sessionKey() sessionKey {
	return sessionKey{person: c.caller.subject, parent: c.caller.tenant.Parent}
}

// createSession opens the caller's session, or joins the open one from one more machine.
func createSession(c *sfmCall) sfmAnswer {
	var wanted struct {
		Nonce string `json:"nonce"`
	}
	err := json.Unmarshal(c.body, &wanted)
	if hash, decodeErr := base64.StdEncoding.DecodeString(wanted.Nonce); err != nil || decodeErr != nil || len(hash) != sha512.Size {
		return refused(invalid("the body must be {\"nonce\": base64 of the SHA-512 of the nonce}", "nonce"))
	}
	id := c.openSession()
	portal := func(name string) string { return "https://" + name + ".sfm.example/v30" }
	return jsonAnswer(http.StatusOK, jsonType, resource{
		"id": id, "code": randomHex(32), "apiAddress": portal("server"), "clientAddress": portal("client"),
		"metadata": resource{
			"patientportal": portal("client"), "enterpriseportal": portal("enterprise-portal"),
			"healthcareportal": portal("health-personnel-portal"), "displayportal": portal("display-portal"),
		},
	})
}

func (c *sfmCall) openSession() string {
	g := c.sim.sfm.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	session := g.sessions[c.sessionKey()]
	if session == nil || session.stateAt(c.now) != SFMSessionOpen {
		session = &SFMSession{ID: newUUID(), Subject: c.caller.subject, Parent: c.caller.tenant.Parent, Created: c.now, jkt: c.caller.jkt}
		g.sessions[c.sessionKey()] = session
	}
	session.Creates++
	session.tokenHash, session.ExpiresAt = c.caller.tokenHash, c.caller.expires
	return session.ID
}

// refreshSession gives the session a new token. A session that has ended or never was is not found; one whose token
// ran out is lost, and only a new one helps.
func refreshSession(c *sfmCall) sfmAnswer {
	return c.withSession(func(session *SFMSession) {
		session.Refreshes++
		if session.tokenHash != c.caller.tokenHash {
			session.NewTokens++
			session.tokenHash, session.ExpiresAt = c.caller.tokenHash, c.caller.expires
		}
	})
}

func endSession(c *sfmCall) sfmAnswer {
	return c.withSession(func(session *SFMSession) { session.ended = true })
}

// withSession changes the caller's open session and answers without a body, or refuses.
func (c *sfmCall) withSession(change func(*SFMSession)) sfmAnswer {
	g := c.sim.sfm.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	session := g.sessions[c.sessionKey()]
	if session == nil || session.ended {
		return refused(&sfmRefusal{status: http.StatusNotFound, code: "session-unknown", issue: "not-found", text: "this person has no SFM session for this parent organization, or it was ended; create one"})
	}
	if session.stateAt(c.now) == SFMSessionExpired {
		return refused(&sfmRefusal{status: http.StatusConflict, code: "session-expired", issue: "expired", text: "the SFM session's token ran out before it was refreshed; create a new session"})
	}
	if c.knobs.BindSessionKey && session.jkt != c.caller.jkt {
		return refused(&sfmRefusal{status: http.StatusConflict, code: "session-key", issue: "conflict", text: "the SFM session was created under another DPoP key"})
	}
	change(session)
	return sfmAnswer{status: http.StatusNoContent}
}

// patientTicket gives the caller's ticket for a patient: the same one as long as it is in use. Expires tells the
// ticket's lifetime, not that of the answer.
func patientTicket(c *sfmCall) sfmAnswer {
	var wanted struct {
		PatientPID string `json:"patientPid"`
	}
	if err := json.Unmarshal(c.body, &wanted); err != nil || wanted.PatientPID == "" {
		return refused(invalid("the body must be {\"patientPid\": \"…\"}", "patientPid"))
	}
	given := c.sim.sfm.gateway.ticket(ticketKey{c.caller.subject, c.caller.tenant.Parent, shortHash(wanted.PatientPID)}, c.now)
	var value any = given.value
	if strings.Contains(c.r.Header.Get("Accept"), "application/json") {
		value = resource{"patientTicket": given.value}
	}
	answer := jsonAnswer(http.StatusOK, jsonType, value)
	answer.header.Set("Expires", given.expires.UTC().Format(http.TimeFormat))
	return answer
}

func (g *sfmGateway) ticket(key ticketKey, now time.Time) ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.tickets) >= ticketCap {
		clear(g.tickets)
	}
	given := g.tickets[key]
	if !now.Before(given.expires) {
		given.value = randomHex(32)
	}
	given.expires = now.Add(ticketLife)
	g.tickets[key] = given
	return given
}
