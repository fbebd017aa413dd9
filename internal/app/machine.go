package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/selvbetjening"
)

// What the token for Adresseregisteret must have (sfm.md section 11). That of
// Selvbetjening's audience is not known.
const (
	addressScope    = "nhn:cp-api/access-v2-dpop"
	addressAudience = "nhn:cp-api"
)

// machine is the client speaking for itself, to the registers beside SFM. It is for
// commands only, so it needs no grant client-credentials in HELSEID_GRANT: that
// says what callers may use. It proves its key whatever SFM_API is.
type machine struct {
	cfg     *config.Config
	helseID *helseid.Client
	key     *dpop.Key
	base    *http.Transport
}

// newMachine signs with the given key.
func newMachine(cfg *config.Config, keys *helseid.KeyRing) (*machine, error) {
	house := &house{cfg: cfg}
	if err := house.buildRoots(); err != nil {
		return nil, err
	}
	m := &machine{cfg: cfg, base: proxy.NewTransport(proxy.TransportOptions{CA: house.roots, Proxy: cfg.Keep.Proxy()})}
	var err error
	if m.key, err = dpop.NewKey(); err != nil {
		return nil, fmt.Errorf("making the DPoP key: %w", err)
	}
	c := cfg.HelseID
	m.helseID, err = helseid.New(helseid.Options{
		Issuer: c.Issuer, ClientID: c.ClientID, Keys: keys, DPoP: dpop.NewRing(m.key), Nonces: new(dpop.Nonces), Transport: m.base,
		Tenancy: c.Tenancy, AssertionLifetime: c.AssertionLifetime, AssertionClaim: c.AssertionClaim,
		ClaimNames: c.ClaimNames, Timeout: c.Timeout, SystemClock: cfg.Keep.Clock == config.ClockSystem,
	})
	return m, err
}

// close lets go of the connections.
func (m *machine) close() { m.base.CloseIdleConnections() }

// transport authorizes requests by a token of the client itself.
func (m *machine) transport(scope, audience string) http.RoundTripper {
	return &machineTransport{
		mint: func(ctx context.Context) (*helseid.Grant, error) {
			return m.helseID.MachineToken(ctx, []string{scope}, audience)
		},
		send: &dpop.Transport{Base: m.base, Key: m.key, Nonces: new(dpop.Nonces), Now: m.helseID.Now},
		turn: make(chan struct{}, 1),
	}
}

// selvbetjening is HelseID Selvbetjening; without an address a fault.
func (m *machine) selvbetjening() (*selvbetjening.API, error) {
	if m.cfg.Tenants.SelvbetjeningURL == "" {
		return nil, config.Faults{{
			Variable: "SELVBETJENING_URL", Problem: "is needed here, and not known for this issuer",
			Mend: "set it to the address of HelseID Selvbetjening's API",
		}}
	}
	return selvbetjening.New(selvbetjening.Options{
		URL: m.cfg.Tenants.SelvbetjeningURL, Transport: m.transport(selvbetjening.Scope, ""),
	})
}

// addresses is Adresseregisteret; without an address a fault.
func (m *machine) addresses() (*register.Addresses, error) {
	if m.cfg.Tenants.AdresseregisteretURL == "" {
		return nil, config.Faults{{
			Variable: "ADRESSEREGISTERET_URL", Problem: "is needed here", Mend: "set it to the address of its CommunicationParty API",
		}}
	}
	return register.NewAddresses(register.Options{
		URL: m.cfg.Tenants.AdresseregisteretURL, Transport: m.transport(addressScope, addressAudience),
	})
}

// brreg is Enhetsregisteret, which wants no token.
func brreg(cfg *config.Config) (*register.Brreg, error) {
	house := &house{cfg: cfg}
	if err := house.buildRoots(); err != nil {
		return nil, err
	}
	return register.NewBrreg(register.Options{
		URL:       cfg.Tenants.BrregURL,
		Transport: proxy.NewTransport(proxy.TransportOptions{CA: house.roots, Proxy: cfg.Keep.Proxy()}),
	})
}

// machineTransport puts one token on every request, a new one when it runs out. A
// request that is answered 401 is sent once more, with another token or proof: such
// an answer is given before any work is done.
type machineTransport struct {
	mint  func(context.Context) (*helseid.Grant, error)
	send  http.RoundTripper // makes the proofs
	turn  chan struct{}     // held by the one who gets a token
	grant atomic.Pointer[helseid.Grant]
}

// RoundTrip implements [http.RoundTripper].
func (t *machineTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	for again := false; ; again = true {
		grant, err := t.token(req.Context())
		if err != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, err
		}
		out := req.Clone(req.Context())
		if again && req.GetBody != nil {
			if out.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		out.Header.Set("Authorization", "DPoP "+grant.Token.AccessToken)
		resp, err := t.send.RoundTrip(out)
		if err != nil || again || resp.StatusCode != http.StatusUnauthorized || req.Body != nil && req.GetBody == nil {
			return resp, err
		}
		if !nonceWanted(resp) {
			t.grant.CompareAndSwap(grant, nil)
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		_ = resp.Body.Close()
	}
}

// nonceWanted reports an answer that has nothing against the token itself.
func nonceWanted(resp *http.Response) bool {
	for _, challenge := range dpop.Challenges(resp.Header) {
		if challenge.Error == "use_dpop_nonce" {
			return true
		}
	}
	return false
}

// token is the token at hand, or a new one. Who waits for another's gets that.
func (t *machineTransport) token(ctx context.Context) (*helseid.Grant, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if g := t.grant.Load(); g != nil && time.Since(g.Sent) < g.Lifetime-min(30*time.Second, g.Lifetime/10) {
		return g, nil
	}
	// In a context of its own: what the caller traces of its request is not about
	// this one.
	own, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	g, err := t.mint(own)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	t.grant.Store(g)
	return g, nil
}
