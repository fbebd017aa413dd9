package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

// LoginOptions are what an EPJ may say of a log-in (OpenID Connect Core 3.1.2.1).
type LoginOptions struct {
	Prompt    string `json:"prompt,omitempty"`
	ACRValues string `json:"acr_values,omitempty"`
	LoginHint string `json:"login_hint,omitempty"`
	// MaxAuthAge is max_age in seconds; nil does not ask for any.
	MaxAuthAge *int64 `json:"max_auth_age,omitempty"`
	// RedirectURI is the EPJ's own callback; empty is the sidecar's.
	RedirectURI string `json:"redirect_uri,omitempty"`
	// Tenant is whom the log-in is for, where HelseID wants to know that already
	// then; zero where it is chosen at each refresh. It does not limit the session.
	Tenant Tenant `json:"tenant,omitzero"`
}

// Begin is a request for a new log-in.
type Begin struct {
	LoginOptions
	Expect  Expect
	Tenants []Tenant
	// Owner is the operating system's user that asks, where users are told apart.
	Owner string
}

// Begun is a log-in that waits for its person.
type Begun struct {
	// Handle is the session's secret name. This is the only time it is seen.
	Handle string
	// LoginURL is what the EPJ opens in the system browser.
	LoginURL string
	// ExpiresIn is how long the person has.
	ExpiresIn time.Duration
}

// Begin starts a log-in. With the sidecar's own callback nothing is sent to
// HelseID before the browser opens the link: a pushed request lives shorter
// than a person may take to get there. With the EPJ's own callback the request
// is pushed at once, and binding its state to the browser is the EPJ's duty.
func (m *Manager) Begin(ctx context.Context, b Begin) (Begun, error) {
	if err := b.Expect.check(); err != nil {
		return Begun{}, err
	}
	if err := m.begun.admit(time.Now()); err != nil {
		return Begun{}, err
	}
	if b.RedirectURI == "" && m.o.RedirectURI != m.o.BaseURL+CallbackPath {
		b.RedirectURI = m.o.RedirectURI // the registered address is the EPJ's, not ours
	}
	handle, link := secret(), secret()
	id := m.ID(handle)
	r := &record{
		State: Pending, Begun: m.now(), Owner: b.Owner,
		Tenants: b.Tenants, Expect: b.Expect, Options: b.LoginOptions,
	}
	if err := m.write(ctx, id, r, terms{}); err != nil {
		m.begun.giveBack() // nothing waits for a person
		return Begun{}, err
	}
	if b.RedirectURI != "" {
		location, lifetime, err := m.push(ctx, id, r, "")
		if err != nil {
			return Begun{}, err
		}
		return Begun{Handle: handle, LoginURL: location, ExpiresIn: min(lifetime, PendingLifetime)}, nil
	}
	if err := m.o.Store.Put(ctx, m.linkKey(link), []byte(id), PendingLifetime); err != nil {
		return Begun{}, storeError(err)
	}
	return Begun{Handle: handle, LoginURL: m.o.BaseURL + LoginPath + link, ExpiresIn: PendingLifetime}, nil
}

// Paths of the pages that a browser opens.
const (
	LoginPath    = "/_sidecar/login/"
	CallbackPath = "/_sidecar/callback"
	LogoutPath   = "/_sidecar/logout/"
)

// attemptLifetime is how long a state is known: longer than a person has, so that
// one who comes too late is told so.
const attemptLifetime = 2 * PendingLifetime

func (m *Manager) linkKey(link string) store.Key   { return store.Key{Kind: "link", ID: m.ID(link)} }
func (m *Manager) stateKey(state string) store.Key { return store.Key{Kind: "state", ID: m.ID(state)} }

// Opened is what a browser that opened the log-in link is told.
type Opened struct {
	// Location is HelseID's log-in page.
	Location string
	// Browser is the value of the cookie that binds this browser.
	Browser string
}

// Open answers a browser that opened a log-in link; browser is the value of the
// cookie it sent, or "". The first browser is bound to the log-in; it may open
// the link again (a reload, the back button), another may not.
func (m *Manager) Open(ctx context.Context, link, browser string) (Opened, error) {
	id, err := m.o.Store.Get(ctx, m.linkKey(link))
	if err != nil {
		return Opened{}, unlessMissing(err, loginFailed("expired", "this log-in link is unknown or too old"))
	}
	if len(browser) != len(secret()) {
		browser = secret() // none, or none of ours: cookies are shared by all ports of a host
	}
	var r record
	err = m.update(ctx, string(id.Value), func(stored *record) error {
		if err := stored.bind(m.ID(browser), m.now()); err != nil {
			return err
		}
		r = *stored
		return nil
	})
	if err != nil {
		return Opened{}, err
	}
	location, _, err := m.push(ctx, string(id.Value), &r, r.Browser)
	if lasting(err) {
		err = m.fail(ctx, string(id.Value), err)
	}
	return Opened{Location: location, Browser: browser}, err
}

// lasting says that opening the link again would end the same way, so that the
// EPJ should learn of it now: the client or its key is wrong, say. A HelseID that
// is down is not lasting; the person may reload the page.
func lasting(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && e.Permanent()
}

// bind ties a pending log-in to the browser with this cookie hash.
func (r *record) bind(browser string, now time.Time) error {
	if err := r.awaits(now, loginFailed("replayed", "this log-in link has been used")); err != nil {
		return err
	}
	if r.Browser != "" && !equal(r.Browser, browser) {
		return loginFailed("browser-changed", "another browser began this log-in")
	}
	r.Browser = browser
	return nil
}

// attempt is one authorization request, filed under its state.
type attempt struct {
	Session     string `json:"session"`
	Verifier    string `json:"verifier,omitempty"`
	Nonce       string `json:"nonce,omitempty"`
	RedirectURI string `json:"redirect_uri,omitempty"`
	// Browser is the hash of the cookie, or empty with the EPJ's own callback.
	Browser string `json:"browser,omitempty"`
	// Pushed is when, by HelseID's clock.
	Pushed time.Time `json:"pushed,omitzero"`
	// Login is what HelseID gave for the code, while its keys can't be had to
	// check the ID token.
	Login *helseid.Login `json:"login,omitempty"`
	// Used is when a state came back, by the clock of records, and From the replica to
	// which, as in a [spentNote]. Of one that was used its session alone is left besides.
	Used time.Time `json:"used_at,omitzero"`
	From string    `json:"used_by,omitempty"`
}

// push sends the authorization request to HelseID (RFC 9126) with PKCE
// (RFC 7636), state and nonce, and returns where the browser goes, and for how
// long HelseID waits there.
func (m *Manager) push(ctx context.Context, id string, r *record, browser string) (string, time.Duration, error) {
	state := secret()
	a := attempt{
		Session: id, Verifier: oauth2.GenerateVerifier(), Nonce: secret(), Browser: browser, Pushed: m.o.Now(),
		RedirectURI: r.Options.RedirectURI,
	}
	if a.RedirectURI == "" {
		a.RedirectURI = m.o.RedirectURI
	}
	if err := m.putAttempt(ctx, state, a); err != nil {
		return "", 0, err
	}
	return m.o.HelseID.Push(ctx, helseid.Authorization{
		RedirectURI: a.RedirectURI, State: state, Nonce: a.Nonce,
		Challenge: oauth2.S256ChallengeFromVerifier(a.Verifier),
		Scopes:    m.o.Scopes, Extra: m.parameters(r.Options), Tenant: helseid.Tenant(r.Options.Tenant),
	})
}

// parameters are the deployment's own and, winning over them, the log-in's.
func (m *Manager) parameters(o LoginOptions) url.Values {
	v := maps.Clone(m.o.Params)
	if v == nil {
		v = url.Values{}
	}
	for name, value := range map[string]string{
		"prompt": o.Prompt, "acr_values": o.ACRValues, "login_hint": o.LoginHint,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if o.MaxAuthAge != nil {
		v.Set("max_age", strconv.FormatInt(*o.MaxAuthAge, 10))
	}
	return v
}

// Expect says who must log in; at most one field is set.
type Expect struct {
	PID       string `json:"pid,omitempty"`
	Subject   string `json:"sub,omitempty"`
	HPRNumber string `json:"hpr_number,omitempty"`
}

func (e Expect) check() error {
	set := slices.DeleteFunc([]string{e.PID, e.Subject, e.HPRNumber}, func(s string) bool { return s == "" })
	if len(set) > 1 {
		return &Error{Kind: codeInvalid, Text: "expect takes one of pid, sub and hpr_number"}
	}
	return nil
}

// matches refuses a person other than the expected one.
func (e Expect) matches(p helseid.Person) error {
	for _, pair := range [][2]string{{e.PID, p.PID}, {e.Subject, p.Subject}, {e.HPRNumber, p.HPRNumber}} {
		if pair[0] != "" && !equal(pair[0], pair[1]) {
			return &Error{Kind: codePerson, Text: "another person than the expected one logged in"}
		}
	}
	return nil
}

// Allows says whether the session may be used for this combination.
func (s Session) Allows(t Tenant) bool {
	return len(s.Tenants) == 0 || slices.ContainsFunc(s.Tenants, func(one Tenant) bool {
		return one.Parent == t.Parent && one.Child == t.Child && strings.EqualFold(one.Journal, t.Journal)
	})
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
