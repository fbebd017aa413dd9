package app

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"sfm-sidecar/internal/doctor"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/selvbetjening"
)

// registrar is HelseID Selvbetjening for this client, nil where no address of it
// is known.
func (h *house) registrar() (doctor.Registrar, error) {
	if h.cfg.Tenants.SelvbetjeningURL == "" {
		return nil, nil
	}
	return selvbetjening.New(selvbetjening.Options{
		URL: h.cfg.Tenants.SelvbetjeningURL, Timeout: visitTimeout,
		Transport: &machineCalls{sends: h.transport(), now: time.Now, fetch: func(ctx context.Context) (*helseid.Grant, error) {
			return h.helseID.MachineToken(ctx, []string{selvbetjening.Scope}, "")
		}},
	})
}

// machineCalls gives each request the client's own token, and a proof for it. It
// fetches one token for all of them (HelseID requirement FK3).
type machineCalls struct {
	sends http.RoundTripper // makes the proof
	fetch func(context.Context) (*helseid.Grant, error)
	now   func() time.Time

	mu   sync.Mutex // guards held; kept while fetching
	held *helseid.Grant
}

// RoundTrip sends a request without a body. One that is answered with a nonce is
// sent once more (RFC 9449 section 9): it did no work.
func (m *machineCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	grant, err := m.token(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", grant.Token.TokenType+" "+grant.Token.AccessToken)
	resp, err := m.sends.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || r.Body != nil ||
		!strings.Contains(resp.Header.Get("WWW-Authenticate"), "use_dpop_nonce") {
		return resp, err
	}
	resp.Body.Close()
	return m.sends.RoundTrip(r)
}

// leastLife is how long a token must live to be sent.
const leastLife = 30 * time.Second

func (m *machineCalls) token(ctx context.Context) (*helseid.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held != nil && m.now().Add(leastLife).Before(m.held.Token.Expiry) {
		return m.held, nil
	}
	grant, err := m.fetch(ctx)
	if err == nil {
		m.held = grant
	}
	return grant, err
}
