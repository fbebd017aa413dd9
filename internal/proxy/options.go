package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/tenantmap"
)

// defaultMaxCalls bounds the calls at once. Each may hold 64 KiB of body and a
// connection; an EPJ with more than this at once has lost control of itself.
const defaultMaxCalls = 4096

// MaxHeaderBytes is the bound of a request's header section that servers in
// front of a Proxy should set (http.Server.MaxHeaderBytes).
const MaxHeaderBytes = 64 << 10

// Upstream is one of SFM's services, and all that must agree about it.
type Upstream struct {
	// Name is the first segment of the local path; empty: mounted at /.
	Name string
	// URL is where it is: http or https, a lower-case host without default
	// port, perhaps a base path; no user, query or fragment.
	URL *url.URL
	// Scopes and Audience of the token it wants. Not read here: they travel
	// with the Ask to whoever obtains tokens.
	Scopes   []string
	Audience string
	// Scheme is "DPoP" or "Bearer": how the token is sent.
	Scheme string
}

// Person is who calls, as far as the token's making needs it.
type Person struct {
	// ID identifies the session or the caller's own token, never the handle or
	// the token itself. Empty: no person.
	ID string
	// Grant is the grant the call came under.
	Grant string
	// Allows says whether the session may act for a tenant. If nil, any.
	Allows func(tenantmap.Tenant) bool
	// Held is for the one who gave the person: it comes along in the Ask.
	Held any
}

// Ask is what a token must be good for.
type Ask struct {
	Tenant   tenantmap.Tenant
	Person   Person
	Upstream *Upstream
}

// Token is an access token. It is never logged.
type Token struct {
	AccessToken string
	// Type is the token's scheme as HelseID named it, in any letter case.
	Type string
	// Source says in one word how it was come by: hit, joined or fetched. It is for
	// the log.
	Source string
	// Until is the last moment at which it may be sent; zero: any.
	Until time.Time
	// Key is the key that the token is bound to, with which the call is proven. If nil,
	// the Transport's own.
	Key *dpop.Key
	// Held is for the one who gave the token: it comes back in Forget.
	Held any
}

// Tokens gives access tokens; it must be safe for concurrent use.
type Tokens interface {
	// Token returns a token good for exactly the Ask.
	Token(context.Context, Ask) (Token, error)
	// Forget drops exactly this token after SFM called it invalid. False: it
	// is kept, and the call must not be tried again.
	Forget(Ask, Token) bool
}

// Tenants finds the tenant in a request's headers.
type Tenants interface {
	Lookup(http.Header) (tenantmap.Tenant, error)
}

// Events tells what happened. Each may be nil; each must be quick and safe for
// concurrent use. None ever carries a path, a query or a person, and none but
// Refused a tenant.
type Events struct {
	// Refusal is called once per answer that the sidecar made, with its code.
	Refusal func(code string)
	// Refused is called beside it for each refusal of a call on the listeners that
	// a Proxy serves itself.
	Refused func(Refused)
	// Done is called once per call that was not for the control room, with the
	// context of its request.
	Done func(context.Context, Call)
	// NonceChallenge is called when SFM asked for a proof with its nonce.
	NonceChallenge func()
}

// Refused is a refusal as it may be shown to whoever runs the sidecar.
type Refused struct {
	At time.Time
	// Code, Title, Hint, Origin, Reason, HID and RequestID are the problem
	// document's members.
	Code, Title, Hint, Origin, Reason, HID, RequestID string
	// Tenant is the zero Tenant when the call was refused before it was known,
	// Upstream empty.
	Tenant   tenantmap.Tenant
	Upstream string
}

// Call sums up a call that ended.
type Call struct {
	// Upstream is empty when the call was refused before it was known.
	Upstream string
	// Method is a method of RFC 9110 or 5789, or "OTHER".
	Method string
	// Status is what the caller got; 499 when it left before.
	Status int
	// Whole is the time from arrival to end.
	Whole time.Duration
	// Added is what the sidecar added to it: see stopwatch.
	Added time.Duration
	// Refusal is the code of what was refused, or of what a caller that had left
	// would have been told; mostly empty.
	Refusal string
	// Source is where the token came from: see Token.
	Source string
}

// Answer is an answer of SFM and the call it belongs to. A call that has an extra
// attempt has two.
type Answer struct {
	Ask   Ask
	Token Token
	// Method and Path as they were sent, Path escaped, after the upstream's name, and
	// without query.
	Method, Path string
	Status       int
}

// Options says what a Proxy is made of.
type Options struct {
	// Upstreams must not be empty. One without a name must be the only one.
	Upstreams []Upstream
	// Tenants, Tokens and Transport are required. Transport sends what has its
	// Authorization; normally a dpop.Transport over NewTransport's.
	Tenants   Tenants
	Tokens    Tokens
	Transport http.RoundTripper
	// Person finds who calls. If nil, no call has a person.
	Person func(*http.Request) (Person, error)
	// Control serves all of /_sidecar/; its errors are rendered here. If nil,
	// there is no such call.
	Control func(http.ResponseWriter, *http.Request) error
	// Answered is told of every answer of SFM, before its caller gets it, even one
	// who has left. It must be quick and safe for concurrent use; its path is not for
	// logs. If nil, nobody is told.
	Answered func(Answer)
	// Gate says who may call.
	Gate Gate
	// Created says whether a journal, its id in lower case, is known to have been
	// made, so that no call may mean to make it. If nil, none is.
	Created func(journal string) bool
	// Draining, when it says true, has new calls refused. If nil, never.
	Draining func() bool
	// MaxCalls bounds the calls at once. If zero, 4096.
	MaxCalls int
	// Log gets one line per call. If nil, none.
	Log     *slog.Logger
	Observe Events
}

// Proxy is the application listener's handler. It is safe for concurrent use.
type Proxy struct {
	upstreams map[string]*upstream
	tenants   Tenants
	person    func(*http.Request) (Person, error)
	tokens    Tokens
	transport http.RoundTripper
	controls  func(http.ResponseWriter, *http.Request) error
	answered  func(Answer)
	gate      *gate
	created   func(journal string) bool
	draining  func() bool
	maxCalls  int
	log       *slog.Logger
	observe   Events

	reverse *httputil.ReverseProxy
	flying  flying
}

// New builds a Proxy. Its error names every option that does not fit.
func New(o Options) (*Proxy, error) {
	g, gateErr := newGate(o.Gate)
	ups, upErr := newUpstreams(o.Upstreams)
	if err := errors.Join(required(o), gateErr, upErr); err != nil {
		return nil, fmt.Errorf("building the proxy: %w", err)
	}
	p := &Proxy{
		upstreams: ups, tenants: o.Tenants, person: o.Person, tokens: o.Tokens,
		transport: o.Transport, controls: o.Control, answered: o.Answered, gate: g,
		created: o.Created, draining: o.Draining, maxCalls: o.MaxCalls, log: o.Log, observe: o.Observe,
	}
	if p.maxCalls <= 0 {
		p.maxCalls = defaultMaxCalls
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.reverse = p.newReverse()
	return p, nil
}

func required(o Options) error {
	var faults []error
	for name, missing := range map[string]bool{
		"Tenants": o.Tenants == nil, "Tokens": o.Tokens == nil, "Transport": o.Transport == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("option %s is missing", name))
		}
	}
	return errors.Join(faults...)
}

// flushAfter is how long part of an answer of known length may be held back for
// more of it, so that small answers leave in one packet. Answers of unknown
// length, and event streams, are flushed as they come.
const flushAfter = 5 * time.Millisecond

// newReverse makes the ReverseProxy. It says nothing by itself: its messages
// could quote what SFM sent.
func (p *Proxy) newReverse() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      attempts{},
		ModifyResponse: modify,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { callOf(r.Context()).failed = err },
		FlushInterval:  flushAfter,
		BufferPool:     buffers{},
		ErrorLog:       log.New(io.Discard, "", 0),
	}
}
