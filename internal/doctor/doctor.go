// Package doctor examines a set-up: does this configuration, with this key, at this HelseID, get tokens for these
// organizations, and is SFM there to take them? It is what `sidecar check` does.
//
// # What a step says
//
// Every step says what was tried, what came back, what that means and what to do about it. A step that needs another
// one which failed is skipped, and says so, so that the first thing to mend is the first thing that failed. Nothing
// waits for ever: each step has a limit of its own, and only the log-in waits for a person.
//
// # What it does to the world
//
// It asks HelseID for things that are thrown away: an authorization request that nobody opens, a refresh with a token
// that does not exist (to see the nonce handshake), one access token for each organization named. A log-in that it
// began is revoked at the end. SFM is asked for its metadata only, without a token, unless test tokens are used: then
// it is asked once which organizations it knows, too.
//
// # What is never shown
//
// No token, assertion, proof, code, nonce or key, and nothing that names a person. Of a token's claims organizations,
// journal, level, audience, scopes, end and bound key are shown ([helseid.Describe]). What another server says is cut,
// cleaned and masked by the helseid room before it gets here.
package doctor

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"sfm-sidecar/internal/helseid"
)

// HelseID is what the doctor needs of the identity provider; [helseid.Client] is one.
type HelseID interface {
	Endpoints(ctx context.Context) (helseid.Endpoints, error)
	Skew() (offset time.Duration, known bool)
	ProbeNonce(ctx context.Context, nonce string) (helseid.NonceProbe, error)
	Push(ctx context.Context, a helseid.Authorization) (authorizeURL string, lifetime time.Duration, err error)
	Exchange(ctx context.Context, code helseid.CodeGrant) (*helseid.Login, error)
	VerifyIDToken(ctx context.Context, raw, nonce string) (helseid.Person, error)
	CheckResponseIssuer(iss string) error
	ClientCredentials(ctx context.Context, r helseid.Request) (*helseid.Grant, error)
	// Refresh may return a grant beside an error, whose refresh token replaces the one that was sent.
	Refresh(ctx context.Context, refreshToken string, r helseid.Request) (*helseid.Grant, error)
	Revoke(ctx context.Context, refreshToken string) error
}

// Options say what is examined. Zero values leave the matching steps out, or have them say why they were skipped.
type Options struct {
	// Warnings are what the configuration itself warns about, one a line.
	Warnings []string
	Key      Key

	Issuer, ClientID string
	// SingleTenant says that the client is one organization's own (HELSEID_TENANCY=single): it sends a child at most.
	SingleTenant bool
	HelseID      HelseID // required
	// WithForm is a HelseID that writes a parent without child in the form given ("colon", "bare"). Needed to learn.
	WithForm func(form string) (HelseID, error)
	// ParentOnlyForm is the one that is configured.
	ParentOnlyForm string

	DPoP        bool // SFM_API=v2: tokens are bound to a key, and HelseID wants nonces
	SystemClock bool // the clock is never corrected
	// Machine and Person are whether tokens can be had for the client alone, and by a log-in.
	Machine, Person bool

	Authorization Authorization
	// Login says that a person is there to log in. Doorway is where the browser comes back to; if nil, NoDoorway is why
	// there is none.
	Login     bool
	Doorway   Doorway
	NoDoorway error
	// Invite tells the person which address to open, and how long the doctor waits. Needed with Login.
	Invite func(address string, wait time.Duration)

	Tenants []Tenant
	// Request is how a token for a tenant is asked for, without the person. Needed with Tenants.
	Request func(t helseid.Tenant, person bool) helseid.Request

	// Store examines the store that replicas share; nil = there is none.
	Store func(ctx context.Context) Store

	Upstreams []Upstream
	// Plain reaches the upstreams without a token. Needed with Upstreams.
	Plain http.RoundTripper

	// TestTokens are used in place of the client's own; nil = the client is examined.
	TestTokens *TestTokens
	// Registration is HelseID Selvbetjening; nil = it is not asked.
	Registration Registrar
	// Learn answers the open questions, too.
	Learn bool
}

// Authorization is what every log-in asks for.
type Authorization struct {
	RedirectURI, PostLogoutRedirectURI string
	Scopes                             []string
	Extra                              url.Values
	// NamesTenant says that the log-in is for the first tenant, in a request object.
	NamesTenant bool
}

// Tenant is one that was named on the command line, and how.
type Tenant struct {
	Label string
	helseid.Tenant
	// Unlisted says that a sidecar with this configuration refuses calls for it: it is not in the registry.
	Unlisted bool
}

// Key is what is known of the client's key.
type Key struct {
	Algorithm, Strength, ID, Thumbprint string
	NotAfter                            time.Time // when its registration ends, as its file tells; zero = it does not
	// File it was read from; "" = none. Exposed is what is wrong with who may read or change it; "" = nothing, or it
	// can't be told on this system.
	File, Mode, Exposed string
}

// Names of the steps, by which others depend on them.
const (
	stepConfiguration = "configuration"
	stepRegistry      = "registry"
	stepKey           = "client key"
	stepDiscovery     = "discovery"
	stepClock         = "clock"
	stepPAR           = "authorization request"
	stepNonce         = "nonce handshake"
	stepLogin         = "log-in"
	stepToken         = "token"
	stepTestToken     = "test token"
	stepStore         = "store"
	stepUpstream      = "upstream"
	stepSFMCall       = "call with test token"
	stepRegistration  = "registration"
)

// Limits of the steps.
const (
	shortLimit = 20 * time.Second
	// tokenLimit holds a refresh, which HelseID may take a minute for and which must not be given up (its answer carries
	// the next refresh token).
	tokenLimit = 70 * time.Second
	// LoginLimit is how long a person has to log in.
	LoginLimit = 5 * time.Minute
)

// examination is one run.
type examination struct {
	o      Options
	report *Report
	broken map[string]bool // steps that failed or were skipped

	login  *login
	grants []seenGrant
	nonce  string // the newest that HelseID gave to a probe
	tests  []testToken
}

// Run examines everything that the options name. It ends early only with ctx.
func Run(ctx context.Context, o Options) *Report {
	e := &examination{o: o, report: &Report{}, broken: map[string]bool{}}
	e.run(ctx, step{name: stepConfiguration, tried: "reading the environment", look: e.configuration})
	e.run(ctx, step{name: stepKey, tried: "reading the client's private key and signing with it", look: e.key})
	e.run(ctx, step{
		name: stepDiscovery, look: e.discovery,
		tried: "GET " + o.Issuer + "/.well-known/openid-configuration",
	})
	e.run(ctx, step{
		name: stepClock, needs: []string{stepDiscovery}, look: e.clock,
		tried: "comparing this machine's clock with HelseID's header Date",
	})
	e.store(ctx)
	e.listed(ctx)
	if o.TestTokens != nil {
		e.testTokens(ctx)
	} else {
		e.client(ctx)
	}
	e.upstreams(ctx)
	if o.TestTokens != nil {
		e.callSFM(ctx)
	}
	if o.Learn {
		e.learn(ctx)
	}
	e.logOut(ctx)
	return e.report
}

// client examines the client itself.
func (e *examination) client(ctx context.Context) {
	e.run(ctx, step{
		name: stepPAR, needs: []string{stepClock}, look: e.pushed,
		tried: "pushing an authorization request (PAR) that nobody will open, with redirect_uri " + e.o.Authorization.RedirectURI,
	})
	e.run(ctx, step{
		name: stepNonce, needs: []string{stepClock}, look: e.handshake,
		tried: "a token request that can't succeed (a refresh with a token that does not exist), without a nonce",
	})
	e.registration(ctx)
	if e.o.Login {
		e.run(ctx, step{
			name: stepLogin, needs: []string{stepPAR, stepNonce}, look: e.logIn, limit: LoginLimit + shortLimit,
			tried: "log-in of a person, back at " + e.o.Authorization.RedirectURI,
		})
	}
	e.tokens(ctx)
}

// step is one thing to look at.
type step struct {
	name, subject string
	needs         []string // steps that must have gone well
	tried         string
	limit         time.Duration // if 0, shortLimit
	look          func(ctx context.Context) Finding
}

// run looks, unless something that the step needs did not go well.
func (e *examination) run(ctx context.Context, s step) Finding {
	f := e.look(ctx, s)
	if f.Status == Failed || f.Status == Skipped {
		e.broken[s.name] = true
	}
	e.report.Steps = append(e.report.Steps, Step{Name: s.name, Subject: s.subject, Tried: s.tried, Finding: f})
	return f
}

func (e *examination) look(ctx context.Context, s step) Finding {
	if at := slices.IndexFunc(s.needs, func(name string) bool { return e.broken[name] }); at >= 0 {
		return skipped("it needs the step " + quoted(s.needs[at]) + ", which did not go well; mend that first")
	}
	if ctx.Err() != nil {
		return skipped("the check was ended before it came to this")
	}
	if s.limit == 0 {
		s.limit = shortLimit
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	return s.look(ctx)
}

func quoted(s string) string { return "“" + s + "”" }
