// Package session answers which person is calling.
//
// A person logs in once, at HelseID, without naming an organization. What is
// kept of the log-in is the refresh token; the access token that comes with it
// is never looked at, since it names no tenant. Whenever a tenant needs an
// access token, the session's refresh token is spent for it and its successor
// is stored before anything else happens: HelseID may rotate refresh tokens,
// and one that is sent twice can cost the person the whole log-in. So all
// refreshes of one session, whatever the tenant, go one after the other.
//
// The caller holds a handle with 256 random bits. It is shown once and never
// stored or logged: everything here is filed under a keyed hash of it, the
// session's ID.
package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

const (
	// PendingLifetime is how long a person has to finish a log-in.
	PendingLifetime = 10 * time.Minute
	// remembered is how long an ended session is known as expired.
	remembered = 24 * time.Hour
	// exchangeLimit bounds a call to HelseID that must not end with its caller:
	// its answer may carry the only copy of a rotated refresh token.
	exchangeLimit = 130 * time.Second
	// decodedSessions is the default of Options.Decoded.
	decodedSessions = 10_000
)

// Tenant is a combination that a session may be limited to. Journal is compared
// in any letter case.
type Tenant struct {
	Parent  string `json:"parent"`
	Child   string `json:"child,omitempty"`
	Journal string `json:"journal"`
}

// HelseID is what a session needs of the identity provider; [helseid.Client]
// is one.
type HelseID interface {
	Push(ctx context.Context, a helseid.Authorization) (authorizeURL string, lifetime time.Duration, err error)
	Exchange(ctx context.Context, code helseid.CodeGrant) (*helseid.Login, error)
	// Refresh may return a grant beside an error: the answer was refused, yet
	// it carried a new refresh token that replaces the one that was sent.
	Refresh(ctx context.Context, refreshToken string, r helseid.Request) (*helseid.Grant, error)
	// VerifyIDToken checks an ID token; nonce "" means that none was sent.
	VerifyIDToken(ctx context.Context, raw, nonce string) (helseid.Person, error)
	CheckResponseIssuer(iss string) error
	Revoke(ctx context.Context, refreshToken string) error
	EndSession(ctx context.Context, idTokenHint, postLogoutURI, state string) (string, error)
}

// Options are what a [Manager] is made of. All but those with a stated default
// are required.
type Options struct {
	Store   store.Store
	HelseID HelseID
	// Lister is the store, where it can tell what is in it. If nil, nobody can list
	// sessions.
	Lister store.Lister
	// Shared says that other replicas work with the same store, that it may be down
	// while HelseID is not, and that what it says can be remembered while it tells of
	// no change.
	Shared bool
	// Secret keys the hashes under which sessions are filed. It must be
	// the same in all replicas. If nil, a random one that lives as long as the process.
	Secret []byte
	// Scopes are asked for at log-in.
	Scopes []string
	// RedirectURI is where HelseID sends the browser after a log-in, as registered
	// there: the sidecar's own page, BaseURL and CallbackPath, or else an address
	// of the EPJ's.
	RedirectURI string
	// BaseURL is where a browser reaches the sidecar's pages: scheme and host.
	BaseURL string
	// PostLogoutRedirectURI is where HelseID sends the browser after log-out.
	// If empty, HelseID shows its own page.
	PostLogoutRedirectURI string
	// Params are added to every authorization request.
	Params url.Values
	// Idle ends a session that was unused this long.
	Idle time.Duration
	// Decoded bounds the decoded records kept beside the store. If 0, 10 000.
	Decoded int
	// Now is the time as HelseID sees it. If nil, time.Now.
	Now func() time.Time
	// Teller is the store, where other replicas can be told at once of a session that
	// ended. If nil, they find that out when they next ask.
	Teller store.Teller
	// Presence is the store, where it can tell whether another replica is there. If nil,
	// what one left undone is taken up only when it can't be at it any more.
	Presence store.Presence
	// Ended is told the ID of each session that ends, so that its tokens can be
	// forgotten. May be nil.
	Ended func(id string)
	// Heard is told the ID of each session of which another replica says that it ended,
	// known here or not: what this process holds of it is to be forgotten, and nothing that
	// replicas share. May be nil.
	Heard func(id string)
	// Ending is told the ID of a session whose person logs out, while its tokens can
	// still be had, and says what could not be done, in words for the EPJ. It must
	// take a few seconds at most; the session ends in any case. May be nil.
	Ending func(ctx context.Context, id string) (undone []string)
}

// Manager keeps the sessions. It is safe for concurrent use.
type Manager struct {
	o          Options
	decoded    *lru.Cache[string, *decoded]
	begun      beginnings
	unsaved    unsaved
	attendance store.Attendance // nil without Options.Presence
	searches   searches
	background *background
}

// New returns a Manager. Its end is [Manager.Close].
func New(o Options) (*Manager, error) {
	if o.Store == nil || o.HelseID == nil {
		return nil, errors.New("session: a store and HelseID are required")
	}
	if o.Secret == nil {
		o.Secret = make([]byte, 32)
		_, _ = rand.Read(o.Secret) // never fails: crypto/rand
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Decoded == 0 {
		o.Decoded = decodedSessions
	}
	cache, err := lru.NewWithEvict(o.Decoded, func(_ string, d *decoded) { d.unfollow() })
	if err != nil {
		return nil, err
	}
	m := &Manager{o: o, decoded: cache, background: newBackground()}
	if o.Presence != nil {
		m.attendance = o.Presence.Attend()
	}
	return m, nil
}

// Session is an active log-in.
type Session struct {
	// ID files the session; it is not the handle and opens nothing.
	ID string
	// PID is the national identity number of the person. It is compared with
	// every token, and never shown.
	PID string
	// Tenants are the only ones the session may use; none means any.
	Tenants []Tenant
}

// ByHandle finds the active session of a handle that was made by owner ("" where
// the operating system's users are not told apart), and notes its use.
// Everything but an active session is an [*Error].
func (m *Manager) ByHandle(ctx context.Context, handle, owner string) (Session, error) {
	id := m.ID(handle)
	d, err := m.recordForCall(ctx, id)
	if err != nil {
		return Session{}, err
	}
	if d.record.Owner != owner {
		return Session{}, errUnknown
	}
	if err := d.record.usable(m.now()); err != nil {
		return Session{}, err
	}
	if err := m.touch(ctx, id, d); err != nil {
		return Session{}, err
	}
	return Session{ID: id, PID: d.record.Person.PID, Tenants: d.record.Tenants}, nil
}

// now is the time that is compared with those in records. Replicas agree on it, whatever
// their own clocks say.
func (m *Manager) now() time.Time {
	if m.o.Shared {
		return m.o.Now()
	}
	return time.Now()
}

// ID is the keyed hash under which a handle is filed.
func (m *Manager) ID(handle string) string {
	mac := hmac.New(sha256.New, m.o.Secret)
	mac.Write([]byte(handle))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// secret is a new random value of 256 bits.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}
