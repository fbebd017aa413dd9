// Package config holds what the operator may say, and nothing of what is done
// with it.
//
// Everything is said in environment variables, or in a file of NAME=value lines
// that SIDECAR_ENV_FILE names (the environment wins). [Load] turns them into a
// [Config], or into [Faults]: all that is wrong, each with its variable and its
// mend, so that one round of mending is enough. A variable that merely looks
// misspelt is a [Warning].
//
// # How a variable gets here
//
// A field's env tag names its variable and envDefault its default; the table in
// docs.go says what it means. The three together make docs/configuration.md and
// the tables that the command "sidecar env" prints, so neither can fall behind.
// An empty value is an unset one. A variable whose field is a [Secret] has a
// twin, NAME_FILE, that names a file with the value.
//
// # Who reads it
//
// Only the wiring (internal/app) sees this package. Every other room has a small
// options struct of its own, so that each can be read and tested alone.
package config

//go:generate go test -run ^TestMarkdown$ -update .

import (
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// The values that variables with a fixed choice may have.
const (
	TenancyMulti  = "multi"  // both organization numbers and the journal-id are sent
	TenancySingle = "single" // a client of one organization: only a child is sent

	GrantUser              = "user"               // a person logs in
	GrantClientCredentials = "client-credentials" // machine to machine
	GrantTokenExchange     = "token-exchange"     // RFC 8693 on the caller's own token

	APIv1 = "v1" // old scopes, Bearer tokens
	APIv2 = "v2" // scopes that end in "api2", DPoP

	LoginTenantNone          = "none"           // log in without organization
	LoginTenantRequestObject = "request-object" // organization in a signed request object

	ClockCorrect = "correct" // times are shifted by the measured offset to HelseID
	ClockSystem  = "system"  // the machine's clock as it is

	PolicyAny    = "any"    // every well-formed tenant
	PolicyListed = "listed" // only tenants in the registry

	StoreMemory  = "memory"  // sessions and tokens live and die with the process
	StoreKeyring = "keyring" // sessions live on in the operating system's key store
)

// SFMAudience is the audience of a token for SFM, and so the default audience of
// every upstream.
const SFMAudience = "e-helse:sfm.api"

// Config is the whole configuration, checked and with every default in place.
// It must not be modified once [Load] has returned it.
type Config struct {
	HelseID HelseID
	SFM     SFM
	Tenants Tenants
	Listen  Listen
	Keep    Keep
	Log     Log
	Traces  Traces
}

// HelseID is what the sidecar needs to know about the token issuer and about
// itself as its client.
type HelseID struct {
	Issuer                string            `env:"HELSEID_ISSUER,required"` // exactly as written
	ClientID              string            `env:"HELSEID_CLIENT_ID,required"`
	ClientJWK             Secret            `env:"HELSEID_CLIENT_JWK,required"` // unparsed; also filled from the file
	ClientJWKFile         string            `env:"-"`                           // the file to watch, when the key came from one
	Tenancy               string            `env:"HELSEID_TENANCY" envDefault:"multi"`
	Grants                []string          `env:"HELSEID_GRANT" envDefault:"user"` // the first is the default
	Scopes                []string          `env:"HELSEID_SCOPES"`                  // by SFM.API when unset
	LoginScopes           []string          `env:"HELSEID_LOGIN_SCOPES" envDefault:"openid profile offline_access helseid://scopes/identity/pid helseid://scopes/identity/security_level helseid://scopes/identity/assurance_level helseid://scopes/hpr/hpr_number"`
	Resource              string            `env:"HELSEID_RESOURCE"`
	ACRValues             string            `env:"HELSEID_ACR_VALUES"`
	LoginParams           url.Values        `env:"HELSEID_LOGIN_PARAMS"`
	LoginTenant           string            `env:"HELSEID_LOGIN_TENANT" envDefault:"none"`
	RedirectURI           string            `env:"HELSEID_REDIRECT_URI"` // "" = the default, made from the callback port
	PostLogoutRedirectURI string            `env:"HELSEID_POST_LOGOUT_REDIRECT_URI"`
	SubjectAudience       string            `env:"HELSEID_SUBJECT_AUDIENCE"`
	AssertionLifetime     time.Duration     `env:"HELSEID_ASSERTION_LIFETIME" envDefault:"10s"`
	AssertionClaim        string            `env:"HELSEID_ASSERTION_CLAIM" envDefault:"assertion_details"`
	ParentOnlyForm        string            `env:"HELSEID_PARENT_ONLY_FORM" envDefault:"colon"`
	ClaimNames            map[string]string `env:"HELSEID_CLAIM_NAMES"` // keys: parent, child, journal, pid
	SupplierOrgnr         string            `env:"HELSEID_SUPPLIER_ORGNR"`
	Timeout               time.Duration     `env:"HELSEID_TIMEOUT" envDefault:"10s"`
	Concurrency           int               `env:"SIDECAR_HELSEID_CONCURRENCY" envDefault:"16"`
}

// SFM is where the calls go and which tokens they carry.
type SFM struct {
	API               string              `env:"SFM_API" envDefault:"v2"`
	Upstreams         []Upstream          `env:"SFM_UPSTREAMS,required"`
	UpstreamScopes    map[string][]string `env:"SFM_UPSTREAM_SCOPES"`    // as written; resolved in Upstreams
	UpstreamAudiences map[string]string   `env:"SFM_UPSTREAM_AUDIENCES"` // as written; resolved in Upstreams
	ResponseTimeout   time.Duration       `env:"SFM_RESPONSE_TIMEOUT" envDefault:"120s"`
	SessionKeepalive  bool                `env:"SFM_SESSION_KEEPALIVE" envDefault:"true"`
}

// Upstream is one API that calls are passed on to.
type Upstream struct {
	Name     string   `env:"-"` // "" = mounted at /
	URL      *url.URL `env:"-"` // normalised: see parseUpstreamURL
	Scopes   []string `env:"-"` // what its token must carry
	Audience string   `env:"-"` // whom its token must be for
}

// Tenants is which organizations and journals may be named, and by whom they are
// known.
type Tenants struct {
	File                 string `env:"TENANTS_FILE"`
	Policy               string `env:"TENANTS_POLICY"` // PolicyListed with a file, else PolicyAny
	OrgnrCheck           string `env:"SIDECAR_ORGNR_CHECK" envDefault:"warn"`
	BrregURL             string `env:"BRREG_URL" envDefault:"https://data.brreg.no/enhetsregisteret/api"`
	AdresseregisteretURL string `env:"ADRESSEREGISTERET_URL"`
	SelvbetjeningURL     string `env:"SELVBETJENING_URL"` // by HelseID.Issuer when unset; "" = none is known
}

// Listen is where the sidecar answers, and to whom.
type Listen struct {
	Address           string   `env:"SIDECAR_LISTEN" envDefault:"127.0.0.1:8080"` // host:port or unix:/path
	Callback          string   `env:"SIDECAR_CALLBACK_LISTEN"`                    // host:port; Address if that is TCP; "" = none
	Admin             string   `env:"SIDECAR_ADMIN_LISTEN" envDefault:"127.0.0.1:9090"`
	UnsafeAny         bool     `env:"SIDECAR_UNSAFE_LISTEN_ANY" envDefault:"false"`
	AllowedHosts      []string `env:"SIDECAR_ALLOWED_HOSTS"`   // lower case
	AllowedOrigins    []string `env:"SIDECAR_ALLOWED_ORIGINS"` // lower case
	CallerKey         Secret   `env:"SIDECAR_CALLER_KEY"`
	UnsafeNoCallerKey bool     `env:"SIDECAR_UNSAFE_NO_CALLER_KEY" envDefault:"false"`
	AllowedUIDs       []string `env:"SIDECAR_ALLOWED_UIDS"` // numbers or user names
	AllowedSIDs       []string `env:"SIDECAR_ALLOWED_SIDS"`
	EnableQuit        bool     `env:"SIDECAR_ENABLE_QUIT" envDefault:"false"`
}

// Keep is what is remembered for how long, and how the process behaves.
type Keep struct {
	Store           Secret        `env:"SIDECAR_STORE" envDefault:"memory"` // an address may hold a password
	StoreKey        Secret        `env:"SIDECAR_STORE_KEY"`
	StoreTimeout    time.Duration `env:"SIDECAR_STORE_TIMEOUT" envDefault:"500ms"`
	SessionStore    string        `env:"SIDECAR_SESSION_STORE" envDefault:"memory"`
	SessionIdle     time.Duration `env:"SIDECAR_SESSION_IDLE" envDefault:"12h"`
	CacheEntries    int           `env:"SIDECAR_CACHE_ENTRIES" envDefault:"100000"`
	RefreshBefore   time.Duration `env:"SIDECAR_REFRESH_BEFORE" envDefault:"5m"` // 0 = never early
	ExpiryLeeway    time.Duration `env:"SIDECAR_EXPIRY_LEEWAY" envDefault:"30s"`
	Clock           string        `env:"SIDECAR_CLOCK" envDefault:"correct"`
	CAFile          string        `env:"SIDECAR_CA_FILE"`
	MinSigtermDelay time.Duration `env:"SIDECAR_MIN_SIGTERM_DELAY" envDefault:"0s"`
	MaxSigtermDelay time.Duration `env:"SIDECAR_MAX_SIGTERM_DELAY"`       // SFM.ResponseTimeout + 10 s when unset
	WarmUp          time.Duration `env:"SIDECAR_WARM_UP" envDefault:"0s"` // 0 = none
	HTTPSProxy      Secret        `env:"HTTPS_PROXY"`                     // a proxy's URL may hold a password
	NoProxy         string        `env:"NO_PROXY"`
	EnvFile         string        `env:"SIDECAR_ENV_FILE"`
	AuditFile       string        `env:"SIDECAR_AUDIT_FILE"`
}

// Log is how the sidecar tells what it does.
type Log struct {
	Level  string `env:"LOG_LEVEL" envDefault:"info"`
	Format string `env:"LOG_FORMAT" envDefault:"auto"`
}

// AllLoginScopes returns the scopes to ask for at log-in: the log-in scopes, then
// the general ones, then those of every upstream, each once and always in the
// same order. HelseID grants at a refresh only what was asked for at log-in.
func (c *Config) AllLoginScopes() []string {
	var all []string
	seen := make(map[string]bool)
	add := func(scopes []string) {
		for _, scope := range scopes {
			if !seen[scope] {
				seen[scope] = true
				all = append(all, scope)
			}
		}
	}
	add(c.HelseID.LoginScopes)
	add(c.HelseID.Scopes)
	for _, upstream := range c.SFM.Upstreams {
		add(upstream.Scopes)
	}
	return all
}

// Proxy returns the function that an http.Transport asks for the proxy of a
// request, by HTTPSProxy and NoProxy. It is used in place of
// http.ProxyFromEnvironment, which would not see what SIDECAR_ENV_FILE says.
// Requests to loopback hosts never go through a proxy.
func (k Keep) Proxy() func(*http.Request) (*url.URL, error) {
	settings := httpproxy.Config{HTTPSProxy: k.HTTPSProxy.Reveal(), NoProxy: k.NoProxy}
	pick := settings.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return pick(r.URL) }
}
