package helseid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/dpop"
)

// Audience of SFM's API (contract: what a token is compared with when the request names no other).
const sfmAudience = "e-helse:sfm.api"

const (
	defaultTimeout     = 10 * time.Second
	defaultConcurrency = 16
	defaultAssertion   = 10 * time.Second
	maxAssertion       = 60 * time.Second // HelseID's own bound
	// refreshLimit is how long a refresh may take once its bytes were sent: giving it up could lose the rotated token.
	refreshLimit = 60 * time.Second
)

// Options says which client of which HelseID this is.
type Options struct {
	Issuer   string   // required; https, or http on a loopback host; compared to the letter
	ClientID string   // required
	Keys     *KeyRing // required; signs the assertions

	DPoP   *dpop.Ring   // proves possession (RFC 9449). If nil, tokens are Bearer and no proof is sent at all
	Nonces *dpop.Nonces // if nil, an own one; may be shared with the transport to SFM, it is kept per origin

	// Transport reaches HelseID. If nil, HTTP/1.1 with the environment's proxy. It should not speak HTTP/2, over which
	// net/http may send a request twice by itself.
	Transport http.RoundTripper

	Tenancy           string            // TenancyMulti (if "") or TenancySingle
	AssertionLifetime time.Duration     // if 0, 10 s; at most 60 s, at least 1 s
	AssertionClaim    string            // ClaimAssertionDetails (if "") or ClaimAuthorizationDetails
	ParentOnlyForm    string            // ParentOnlyColon (if "") or ParentOnlyBare
	Resource          string            // RFC 8707, sent alike in every request; "" = not sent
	SubjectAudience   string            // that a caller's own token must have (VerifySubject); "" = none is verified
	SupplierOrgnr     string            // warn when a token names another supplier; "" = not looked at
	ClaimNames        map[string]string // other names for the claims "parent", "child", "journal", "pid"

	Timeout     time.Duration // how long one call may take; if 0, 10 s
	Concurrency int           // calls at once; if 0, 16

	SystemClock bool             // never correct the clock
	Wall        func() time.Time // for tests; if nil, time.Now
	Observe     Events
}

// Events is what leaves this room besides answers. Each may be nil; each must be quick and safe for concurrent use.
type Events struct {
	// Request ends: grant is authorization_code, refresh_token, client_credentials, token_exchange, par or
	// revocation; outcome is "ok",
	// "canceled" or the code of the refusal. The nonce handshake is part of one request; one that the brake or an
	// outage kept from being sent counts too.
	Request func(ctx context.Context, grant, outcome string, took time.Duration)
	// Begin is told that such a request begins; what it returns is its context, which
	// Request gets too. If nil, the context stays as it is.
	Begin func(ctx context.Context, grant string) context.Context
	// NonceChallenge is HelseID asking for a nonce.
	NonceChallenge func()
	// Skew is the median offset of HelseID's clock to ours, positive when ours is behind.
	Skew func(time.Duration)
	// Warn is for the operator's log; attributes hold no secrets.
	Warn func(msg string, attrs ...slog.Attr)
}

// Client is one HelseID client. Safe for concurrent use. It starts no goroutine until asked something, and keeps none.
type Client struct {
	opt      Options
	http     *http.Client
	names    claimNames
	clock    clock
	brake    brake
	slots    chan struct{}
	metadata kept[*metadata]
	keys     keySet // HelseID's; ours are opt.Keys
	// bound says that HelseID was seen to bind refresh tokens to the key that they were obtained with.
	bound atomic.Bool
	// granted is the last key that a token was granted for.
	granted atomic.Pointer[dpop.Key]
}

// New checks the options. It does not speak to HelseID: the sidecar must start without it.
func New(o Options) (*Client, error) {
	o.setDefaults()
	names, err := newClaimNames(o.ClaimNames, o.Tenancy)
	if err := errors.Join(o.check(), err); err != nil {
		return nil, fmt.Errorf("setting up the HelseID client: %w", err)
	}
	c := &Client{
		opt:   o,
		names: names,
		http: &http.Client{
			Transport: o.Transport,
			// Go's client would post the assertion once more, to wherever the redirect points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots: make(chan struct{}, o.Concurrency),
	}
	c.clock.wall, c.clock.system = o.Wall, o.SystemClock
	c.metadata.fetch, c.metadata.limit = c.fetchMetadata, o.Timeout
	c.keys.kept.fetch, c.keys.kept.limit = c.fetchKeys, o.Timeout
	return c, nil
}

func (o *Options) setDefaults() {
	o.Tenancy = or(o.Tenancy, TenancyMulti)
	o.AssertionClaim = or(o.AssertionClaim, ClaimAssertionDetails)
	o.ParentOnlyForm = or(o.ParentOnlyForm, ParentOnlyColon)
	o.AssertionLifetime = or(o.AssertionLifetime, defaultAssertion)
	o.Timeout = or(o.Timeout, defaultTimeout)
	o.Concurrency = or(o.Concurrency, defaultConcurrency)
	if o.Nonces == nil {
		o.Nonces = new(dpop.Nonces)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Transport == nil {
		o.Transport = newTransport(o.Concurrency)
	}
}

func (o *Options) check() error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	u, err := parseEndpoint(o.Issuer, true)
	fault(err != nil, "Issuer must be an https URL (http only on a loopback host)")
	fault(err == nil && u.RawQuery != "", "Issuer must have no query")
	fault(o.ClientID == "", "ClientID is empty")
	fault(o.Keys == nil || o.Keys.Current() == nil, "Keys has no key")
	fault(o.Tenancy != TenancyMulti && o.Tenancy != TenancySingle, "Tenancy must be multi or single")
	fault(o.AssertionClaim != ClaimAssertionDetails && o.AssertionClaim != ClaimAuthorizationDetails,
		"AssertionClaim must be assertion_details or authorization_details")
	fault(o.ParentOnlyForm != ParentOnlyColon && o.ParentOnlyForm != ParentOnlyBare,
		"ParentOnlyForm must be colon or bare")
	fault(o.AssertionLifetime < time.Second || o.AssertionLifetime > maxAssertion,
		"AssertionLifetime must be between 1s and 60s")
	fault(o.Timeout < 0, "Timeout is negative")
	fault(o.Concurrency < 0, "Concurrency is negative")
	return errors.Join(faults...)
}

func or[T comparable](value, otherwise T) T {
	if value == *new(T) {
		return otherwise
	}
	return value
}

func newTransport(connections int) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// Now is the time as HelseID sees it, to the second: the wall clock and the measured offset (never more than five
// minutes; none with Options.SystemClock). Proofs to SFM are dated with it too.
func (c *Client) Now() time.Time { return c.clock.now() }

// learn takes what every answer says about HelseID's clock.
func (c *Client) learn(a *answer) {
	before, after, ok := c.clock.sample(a.header, a.sent, a.received)
	if !ok {
		return
	}
	if c.opt.Observe.Skew != nil {
		c.opt.Observe.Skew(after)
	}
	if before.Abs() <= clockWarn && after.Abs() > clockWarn {
		c.warn("this machine's clock is off HelseID's",
			slog.Duration("offset", after.Round(100*time.Millisecond)),
			slog.Duration("applied", c.clock.offset().Round(100*time.Millisecond)))
	}
}

func (c *Client) warn(msg string, attrs ...slog.Attr) {
	if c.opt.Observe.Warn != nil {
		c.opt.Observe.Warn(msg, attrs...)
	}
}

// observe reports how a request ended.
func (c *Client) observe(ctx context.Context, name string, began time.Time, err error) {
	if c.opt.Observe.Request == nil {
		return
	}
	outcome := "ok"
	if e, ok := errors.AsType[*Error](err); ok {
		outcome = e.code
	} else if errors.Is(err, context.Canceled) {
		outcome = "canceled"
	} else if err != nil {
		outcome = "internal"
	}
	c.opt.Observe.Request(ctx, name, outcome, time.Since(began))
}

// join writes scopes as OAuth wants them.
func join(scopes []string) string { return strings.Join(scopes, " ") }
