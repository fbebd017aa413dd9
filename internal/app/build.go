package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/control"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
	"sfm-sidecar/internal/tokencache"
)

// house is the rooms, built bottom-up in the order of its fields. It is the only
// place where they meet.
type house struct {
	visits  bool // it serves nobody, and is gone soon
	cfg     *config.Config
	log     *slog.Logger
	version string
	metrics *telemetry.Metrics
	witness *witness
	callers *callers
	roots   *x509.CertPool

	kept    identity   // what sessions that survive a restart need; empty where none does
	key     *dpop.Ring // nil with SFM_API=v1
	fleet   *fleetKeys // follows the key that replicas share; nil where they share none
	keys    *helseid.KeyRing
	helseID *helseid.Client
	store   store.Store
	shared  *store.Redis // the same, where replicas share it
	// toldNotShared is when it was told last that tokens are not shared, in Unix nanoseconds.
	toldNotShared atomic.Int64
	sessions      *session.Manager
	tenants       *tenantmap.Map
	registry      *registry
	cache         *tokencache.Cache
	sfm           *sfmSessions
	proxy         *proxy.Proxy
	traces        *telemetry.Traces // nil while none are wanted
}

// site is what the rooms must know of the process around them.
type site struct {
	version string
	port    string // where a browser finds the sidecar's pages
	// draining is asked at every call; stopping is closed when the end begins.
	draining func() bool
	stopping <-chan struct{}
}

// build makes the rooms.
func build(cfg *config.Config, log *slog.Logger, at site) (*house, error) {
	h := &house{cfg: cfg, log: log, version: at.version, metrics: telemetry.NewMetrics(at.version)}
	steps := []func() error{
		func() (err error) { h.witness, err = newWitness(at.version, cfg.SFM.Upstreams); return err },
		h.buildCallers, h.buildRoots, h.buildTraces, h.buildStore, h.buildKeys, h.buildHelseID,
		func() error { return h.buildSessions(at.port) },
		h.buildTenants, h.buildCache, h.buildSFMSessions,
		func() error { return h.buildProxy(at) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			h.closeStore()
			h.closeTraces()
			return nil, err
		}
	}
	h.metrics.CacheEntries(h.cache.Entries)
	h.metrics.ClientKeyNotAfter(func() time.Time { return h.keys.Current().NotAfter() })
	h.metrics.Sessions(h.countSessions)
	h.sessions.Hear() // the rooms that it calls are there
	return h, nil
}

func (h *house) buildCallers() (err error) {
	h.callers, err = newCallers(h.cfg.Listen.AllowedUIDs)
	return err
}

// buildRoots adds SIDECAR_CA_FILE to the system's certificates; nil is the system's.
func (h *house) buildRoots() error {
	if h.cfg.Keep.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(h.cfg.Keep.CAFile)
	if err != nil {
		return fmt.Errorf("SIDECAR_CA_FILE: %w", err)
	}
	if h.roots, err = x509.SystemCertPool(); err != nil {
		h.roots = x509.NewCertPool()
	}
	if !h.roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("SIDECAR_CA_FILE: %s holds no certificate in PEM form", h.cfg.Keep.CAFile)
	}
	return nil
}

func (h *house) buildKeys() (err error) {
	if h.cfg.SFM.API == config.APIv2 {
		if h.key, err = h.dpopKey(); err != nil {
			return fmt.Errorf("making the DPoP key: %w", err)
		}
	}
	h.keys, err = clientKeys(h.cfg.HelseID)
	return err
}

func (h *house) buildHelseID() (err error) {
	c := h.cfg.HelseID
	h.helseID, err = helseid.New(helseid.Options{
		Issuer: c.Issuer, ClientID: c.ClientID, Keys: h.keys, DPoP: h.key, Nonces: new(dpop.Nonces),
		Transport: h.traces.HelseID(proxy.NewTransport(proxy.TransportOptions{CA: h.roots, Proxy: h.cfg.Keep.Proxy()})),
		Tenancy:   c.Tenancy, AssertionLifetime: c.AssertionLifetime, AssertionClaim: c.AssertionClaim,
		ParentOnlyForm: c.ParentOnlyForm, Resource: c.Resource, SupplierOrgnr: c.SupplierOrgnr,
		SubjectAudience: c.SubjectAudience,
		ClaimNames:      c.ClaimNames, Timeout: c.Timeout, Concurrency: c.Concurrency,
		SystemClock: h.cfg.Keep.Clock == config.ClockSystem,
		Observe: helseid.Events{
			Begin: h.tokenRequestBegins, Request: h.tokenRequestEnded,
			NonceChallenge: func() { h.metrics.NonceChallenge("helseid") },
			Skew:           func(d time.Duration) { h.metrics.Skew("helseid", d) },
			Warn:           h.warn,
		},
	})
	return err
}

func (h *house) buildSessions(port string) (err error) {
	redirect, base := pageAddresses(h.cfg.HelseID.RedirectURI, port)
	h.sessions, err = session.New(session.Options{
		Store: h.counted(), Lister: h.lister(), Shared: h.shared != nil, Teller: h.teller(), Presence: h.presence(), HelseID: h.helseID, Secret: h.kept.Secret, Scopes: h.cfg.AllLoginScopes(),
		RedirectURI: redirect, BaseURL: base, Params: h.loginParams(),
		PostLogoutRedirectURI: h.cfg.HelseID.PostLogoutRedirectURI,
		Idle:                  h.cfg.Keep.SessionIdle,
		Decoded:               sessionsBeside(h.cfg.Keep.CacheEntries),
		Now:                   h.helseID.Now,
		Ended:                 func(id string) { h.cache.ForgetSubject(id); h.sfm.keeper.Forget(id) },
		Heard:                 func(id string) { h.cache.ForgetHere(id); h.sfm.keeper.ForgetHere(id) },
		Ending:                func(ctx context.Context, id string) []string { return h.sfm.logOut(ctx, id) },
	})
	return err
}

// sessionsBeside is how many sessions are kept in memory beside so many tokens: enough for
// persons who work in two organizations each. Fewer than 10 000 would save little.
func sessionsBeside(tokens int) int { return max(10_000, tokens/2) }

// loginParams are the log-in options of the whole deployment.
func (h *house) loginParams() url.Values {
	params := maps.Clone(h.cfg.HelseID.LoginParams)
	if params == nil {
		params = url.Values{}
	}
	if h.cfg.HelseID.ACRValues != "" {
		params.Set("acr_values", h.cfg.HelseID.ACRValues)
	}
	return params
}

// pageAddresses are the redirect address and where a browser reaches the pages.
// The two share an origin whenever the redirect address is our own page, since a
// cookie given on the one must come along to the other.
func pageAddresses(redirect, port string) (redirectURI, base string) {
	base = "http://localhost:" + port
	if redirect == "" {
		return base + session.CallbackPath, base
	}
	if u, err := url.Parse(redirect); err == nil && u.Path == session.CallbackPath {
		return redirect, u.Scheme + "://" + u.Host
	}
	return redirect, base
}

func (h *house) buildTenants() (err error) {
	h.tenants, err = tenantmap.New(tenantmap.Options{
		CheckDigit: h.cfg.Tenants.OrgnrCheck, Listed: h.cfg.Tenants.Policy == config.PolicyListed,
		Warn: func(field string) {
			h.log.Warn("an organization number fails its check digit", "field", field)
		},
	})
	if err == nil {
		h.registry, err = openRegistry(h.cfg.Tenants, h.tenants, h.log, h.metrics)
	}
	return err
}

func (h *house) buildCache() (err error) {
	keep := h.cfg.Keep
	var shared *tokencache.Shared
	if h.shared != nil {
		shared = &tokencache.Shared{
			Store: h.store, Now: h.helseID.Now, Learn: h.learnTime, Failed: h.tokenNotShared,
			Needed: func(k tokencache.Key) bool { return k.Grant == config.GrantUser }, // whose log-in stands there
		}
	}
	h.cache, err = tokencache.New(tokencache.Options{
		Shared: shared, Thumbprints: h.thumbprints, Entries: keep.CacheEntries, RefreshBefore: keep.RefreshBefore, Leeway: keep.ExpiryLeeway,
		Wait: h.cfg.HelseID.Timeout, FetchTimeout: fetchTimeout, Observe: h.metrics.TokenCache,
		Keep: func(k tokencache.Key) bool { return h.sfm.keeps(k) },
		Minted: func(k tokencache.Key, _ *tokencache.Token) {
			h.witness.minted(tenantmap.Tenant{Parent: k.Parent, Child: k.Child, Journal: k.Journal})
			h.sfm.minted(k)
		},
	})
	return err
}

// fetchTimeout bounds obtaining a token: a refresh may take 60 s and be sent
// twice (contract 7.3), after others of the same person.
const fetchTimeout = 3 * time.Minute

func (h *house) buildProxy(at site) (err error) {
	persons := &persons{
		grants: h.cfg.HelseID.Grants, sessions: h.sessions, owner: h.callers.owner,
		subjects: newSubjects(h.helseID.VerifySubject, h.helseID.Now),
	}
	controls := control.New(control.Options{
		Sessions: h.sessions, Parse: h.tenants.Parse, Alias: h.tenants.Alias, Owner: h.callers.owner, Stopping: at.stopping,
		SFMSessions:   h.sfm.of,
		LogIn:         slices.Contains(persons.grants, config.GrantUser),
		TenantAtLogIn: h.cfg.HelseID.LoginTenant == config.LoginTenantRequestObject,
		Problem:       func(r *http.Request, err error) any { return h.proxy.Problem(r, err) },
	})
	h.proxy, err = proxy.New(proxy.Options{
		Upstreams: h.upstreams(), Tenants: h.tenants, Person: persons.find, Tokens: h.tokens(),
		Transport: h.sfm.transport, Answered: func(a proxy.Answer) { h.witness.answer(a); h.sfm.answered(a) }, Control: controls.Serve, Created: h.registry.created, Draining: at.draining, Log: h.log,
		Gate: proxy.Gate{
			AllowedHosts: h.cfg.Listen.AllowedHosts, AllowedOrigins: h.cfg.Listen.AllowedOrigins,
			CallerKey: h.cfg.Listen.CallerKey.Reveal(), Caller: h.callers.check, BrowserPage: control.BrowserPage,
		},
		Observe: proxy.Events{
			Refusal:        h.metrics.Refusal,
			Refused:        h.witness.refused,
			Done:           h.callEnded,
			NonceChallenge: func() { h.metrics.NonceChallenge("sfm") },
		},
	})
	return err
}

// upstreams carry the scheme that goes with the API generation, so that the two
// can't be chosen apart.
func (h *house) upstreams() []proxy.Upstream {
	scheme := "DPoP"
	if h.key == nil {
		scheme = "Bearer"
	}
	var ups []proxy.Upstream
	for _, u := range h.cfg.SFM.Upstreams {
		ups = append(ups, proxy.Upstream{Name: u.Name, URL: u.URL, Scopes: u.Scopes, Audience: u.Audience, Scheme: scheme})
	}
	return ups
}

// transport is what finally sends to SFM.
func (h *house) transport() http.RoundTripper {
	base := proxy.NewTransport(proxy.TransportOptions{
		ResponseTimeout: h.cfg.SFM.ResponseTimeout, CA: h.roots, Proxy: h.cfg.Keep.Proxy(),
	})
	if h.key == nil {
		return h.traces.SFM(base)
	}
	return h.traces.SFM(&dpop.Transport{Base: base, Keys: h.key, Nonces: new(dpop.Nonces), Now: h.helseID.Now})
}

// thumbprints are those of the keys that tokens may be bound to, that in use first.
func (h *house) thumbprints() []string {
	if h.key == nil {
		return nil
	}
	return h.key.Thumbprints()
}

// followKeys takes up the keys of the fleet, where there is one, until ctx ends.
func (h *house) followKeys(ctx context.Context) {
	if h.fleet != nil {
		h.fleet.changed = h.cache.Rekeyed
		h.fleet.follow(ctx)
	}
}

func (h *house) tokens() *tokens {
	return &tokens{
		keys: h.key, cache: h.cache, sessions: h.sessions, helseID: h.helseID, warn: h.warn, traces: h.traces,
		issuer: h.cfg.HelseID.Issuer, clientID: h.cfg.HelseID.ClientID, resource: h.cfg.HelseID.Resource,
		loginScopes: h.cfg.HelseID.LoginScopes,
		narrow:      len(h.cfg.AllLoginScopes())-len(h.cfg.HelseID.LoginScopes) > 1,
	}
}

// warn logs what a deeper room noticed: constant text and safe attributes.
func (h *house) warn(msg string, attrs ...slog.Attr) {
	h.log.LogAttrs(context.Background(), slog.LevelWarn, msg, attrs...) //nolint:sloglint // constant where it is said
}

// close stops what runs in the background.
func (h *house) close() {
	h.sfm.keeper.Close()
	h.cache.Close()
	h.sessions.Close()
	h.closeStore()
	h.closeTraces()
}
