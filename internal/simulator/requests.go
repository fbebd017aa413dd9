package simulator

import (
	"slices"
	"time"
)

// TokenRequest is one call to HelseID's token, PAR or revocation endpoint, as it
// was judged. It holds no token, assertion, proof, code or person.
type TokenRequest struct {
	Time     time.Time `json:"time"`     // of HelseID's clock
	Endpoint string    `json:"endpoint"` // token, par or revocation
	Grant    string    `json:"grant,omitempty"`
	Client   string    `json:"client,omitempty"`
	Tenant   Tenant    `json:"tenant"`             // what was asked for
	Outcome  string    `json:"outcome"`            // granted or refused
	Error    string    `json:"error,omitempty"`    // OAuth error
	Text     string    `json:"text,omitempty"`     // error_description
	Rejected []string  `json:"rejected,omitempty"` // rejected_scope
	// Login numbers the log-in that a refresh or code belongs to, from 1; Ordinal
	// numbers its refresh tokens: the one of the code exchange is 1.
	Login   int `json:"login,omitempty"`
	Ordinal int `json:"ordinal,omitempty"`
	// InFlight counts the refreshes of the same log-in that were being answered
	// when this one came, itself included.
	InFlight int `json:"in_flight,omitempty"`
	// Reuse says that a refresh token came a second time after it was rotated.
	Reuse bool `json:"reuse,omitempty"`
}

// maxRequests bounds the record of a simulator that runs for long; the oldest
// half is forgotten when it is full.
const maxRequests = 100_000

// TokenRequests returns the judged requests since the start, or the last reset,
// in the order in which they were settled.
func (s *Simulator) TokenRequests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Reuses counts how often a refresh token was used after it had been rotated.
func (s *Simulator) Reuses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reuses
}

// MaxConcurrentRefreshes is the largest number of refreshes of one log-in that
// were under way at the same moment. A client that serializes them gives 1.
func (s *Simulator) MaxConcurrentRefreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxInFly
}

// ResetTokenRequests forgets the record and its counts; log-ins stay.
func (s *Simulator) ResetTokenRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.reuses, s.maxInFly = nil, 0, 0
}

func (s *Simulator) record(request TokenRequest, fault *refusal) {
	request.Time, request.Outcome = s.now(), "granted"
	if fault != nil {
		request.Outcome, request.Error, request.Text = "refused", fault.code, fault.text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= maxRequests {
		s.requests = slices.Clone(s.requests[maxRequests/2:])
	}
	s.requests = append(s.requests, request)
	if request.Reuse {
		s.reuses++
	}
}

// enterRefresh counts x among the refreshes of its log-in that are under way,
// from arrival (before any delay) until the returned function is called.
func (s *Simulator) enterRefresh(x *exchange) func() {
	if x.fault != nil || x.form.Get("grant_type") != GrantRefresh {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token, known := s.refresh[x.form.Get("refresh_token")]
	if !known {
		return func() {}
	}
	login := token.login
	login.inFlight++
	x.inFlight = login.inFlight
	s.maxInFly = max(s.maxInFly, login.inFlight)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		login.inFlight--
	}
}
