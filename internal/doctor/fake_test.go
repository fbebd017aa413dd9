package doctor

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
)

// said is a refusal.
type said struct{ code, detail, reason, hid, oauth string }

func (s *said) Error() string      { return s.code + ": " + s.detail }
func (s *said) Code() string       { return s.code }
func (s *said) Detail() string     { return s.detail }
func (s *said) Reason() string     { return s.reason }
func (s *said) HID() string        { return s.hid }
func (s *said) OAuthError() string { return s.oauth }

var fruitless = &said{code: "helseid-refused", detail: "HelseID answered 400, invalid_grant", oauth: "invalid_grant"}

// fake is a HelseID that grants everything, unless a field says otherwise.
type fake struct {
	metadata, push, machine, refresh, exchange, verify error
	skew                                               time.Duration
	noDate                                             bool
	probe                                              func(nonce string) (helseid.NonceProbe, error)
	person                                             helseid.Person
	asked                                              []helseid.Request
	revoked                                            []string
	rotate                                             bool
}

const aToken = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJlLWhlbHNlOnNmbS5hcGkiLCJzY29wZSI6WyJhIl19.c2lnbmF0dXJl"

func (f *fake) Endpoints(context.Context) (helseid.Endpoints, error) {
	return helseid.Endpoints{Token: "https://helseid.example/token", Revocation: "https://helseid.example/revoke"}, f.metadata
}
func (f *fake) Skew() (time.Duration, bool) { return f.skew, !f.noDate }
func (f *fake) ProbeNonce(_ context.Context, nonce string) (helseid.NonceProbe, error) {
	if f.probe != nil {
		return f.probe(nonce)
	}
	return helseid.NonceProbe{Challenged: nonce == "", Next: "n"}, fruitless
}
func (f *fake) Push(context.Context, helseid.Authorization) (string, time.Duration, error) {
	return "https://helseid.example/authorize", time.Minute, f.push
}
func (f *fake) Exchange(context.Context, helseid.CodeGrant) (*helseid.Login, error) {
	if f.exchange != nil {
		return nil, f.exchange
	}
	return &helseid.Login{IDToken: "id", RefreshToken: "refresh-0", RefreshLifetime: time.Hour}, nil
}
func (f *fake) VerifyIDToken(context.Context, string, string) (helseid.Person, error) {
	return f.person, f.verify
}
func (f *fake) CheckResponseIssuer(iss string) error {
	if iss != "iss" {
		return &said{code: "login-failed", reason: "state-unknown", detail: "not from HelseID"}
	}
	return nil
}
func (f *fake) ClientCredentials(_ context.Context, r helseid.Request) (*helseid.Grant, error) {
	f.asked = append(f.asked, r)
	return f.granted("", f.machine)
}
func (f *fake) Refresh(_ context.Context, token string, r helseid.Request) (*helseid.Grant, error) {
	f.asked = append(f.asked, r)
	next := token
	if f.rotate {
		next = token + "+"
	}
	return f.granted(next, f.refresh)
}
func (f *fake) granted(refresh string, err error) (*helseid.Grant, error) {
	if err != nil {
		return nil, err
	}
	return &helseid.Grant{
		Token: &oauth2.Token{AccessToken: aToken, TokenType: "DPoP"}, Lifetime: time.Hour, RefreshToken: refresh,
	}, nil
}
func (f *fake) Revoke(_ context.Context, token string) error {
	f.revoked = append(f.revoked, token)
	return errors.New("never mind")
}

// back is a doorway through which somebody came, or nobody.
type back struct {
	Return
	nobody bool
}

func (b back) Await(ctx context.Context, _ string, open func()) (Return, error) {
	open()
	if b.nobody {
		<-ctx.Done()
		return Return{}, ctx.Err()
	}
	return b.Return, nil
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// options are those of a set-up where all is well, with one tenant and a log-in.
func options(f *fake) Options {
	if f.person.PID == "" {
		f.person = helseid.Person{PID: "13827015061", SecurityLevel: "4", HPRNumber: "1"}
	}
	return Options{
		Issuer: "https://helseid.example", ClientID: "epj", HelseID: f, DPoP: true, Person: true,
		Key:      Key{Algorithm: "ES256", Strength: "EC, P-256", ID: "kid", File: "client.jwk"},
		WithForm: func(string) (HelseID, error) { return f, nil }, ParentOnlyForm: "colon",
		Login: true, Doorway: back{Return: Return{Code: "code", Issuer: "iss"}}, Invite: func(string, time.Duration) {},
		Authorization: Authorization{RedirectURI: "http://localhost:8080/_sidecar/callback", Scopes: []string{"openid", "api/a"}},
		Tenants:       []Tenant{{Label: "here", Tenant: helseid.Tenant{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}}},
		Request: func(t helseid.Tenant, _ bool) helseid.Request {
			return helseid.Request{Tenant: t, Wanted: []string{"a"}}
		},
	}
}

// step finds a step of a report by name.
func (r *Report) step(name, subject string) Step {
	for _, s := range r.Steps {
		if s.Name == name && (subject == "" || s.Subject == subject) {
			return s
		}
	}
	return Step{Name: "absent"}
}
