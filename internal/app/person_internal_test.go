package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
	"sfm-sidecar/internal/tenantmap"
)

// fakeHelseID refreshes for one person. What it does not need to answer, it does
// not have.
type fakeHelseID struct {
	session.HelseID
	requests []helseid.Request
}

func (f *fakeHelseID) Refresh(_ context.Context, _ string, r helseid.Request) (*helseid.Grant, error) {
	f.requests = append(f.requests, r)
	return &helseid.Grant{
		Token: &oauth2.Token{AccessToken: "access", TokenType: "DPoP"}, Sent: time.Now(), Lifetime: time.Hour, IDToken: "id-token",
	}, nil
}

func (*fakeHelseID) VerifyIDToken(context.Context, string, string) (helseid.Person, error) {
	return helseid.Person{Subject: "sub-1", PID: "synthetic-pid", SecurityLevel: "4"}, nil
}

func newSessions(t *testing.T, h session.HelseID) *session.Manager {
	t.Helper()
	m, err := session.New(session.Options{Store: store.NewMemory(), HelseID: h, Idle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// logIn is the handle of an active session of one owner, perhaps limited.
func logIn(t *testing.T, m *session.Manager, owner string, limit ...session.Tenant) string {
	t.Helper()
	handle, err := m.Adopt(t.Context(), "refresh-token", session.Begin{Owner: owner, Tenants: limit})
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

func TestFindPerson(t *testing.T) {
	sessions := newSessions(t, new(fakeHelseID))
	handle, others := logIn(t, sessions, "1000"), logIn(t, sessions, "1001")
	both := []string{config.GrantUser, config.GrantClientCredentials}
	machine := []string{config.GrantClientCredentials}
	tests := map[string]struct {
		grants []string
		header []string // names and values
		grant  string
		code   string
	}{
		"session":                        {both, []string{"Sfm-Session", handle}, "user", ""},
		"session, grant named":           {both, []string{"Sfm-Session", handle, "Sfm-Grant", "user"}, "user", ""},
		"the first grant is the default": {machine, nil, "client-credentials", ""},
		"machine, grant named":           {both, []string{"Sfm-Grant", "client-credentials"}, "client-credentials", ""},
		"another kind of Authorization":  {machine, []string{"Authorization", "Basic eDp5"}, "client-credentials", ""},

		"no session":                     {both, nil, "", "session-required"},
		"session of another user":        {both, []string{"Sfm-Session", others}, "", "session-unknown"},
		"session twice":                  {both, []string{"Sfm-Session", handle, "Sfm-Session", handle}, "", "request-invalid"},
		"session of a machine":           {both, []string{"Sfm-Session", handle, "Sfm-Grant", "client-credentials"}, "", "grant-mismatch"},
		"empty session of a machine":     {machine, []string{"Sfm-Session", ""}, "", "grant-mismatch"},
		"grant not configured":           {machine, []string{"Sfm-Grant", "user"}, "", "grant-mismatch"},
		"grant in another letter case":   {both, []string{"Sfm-Grant", "User", "Sfm-Session", handle}, "", "grant-mismatch"},
		"grant empty":                    {both, []string{"Sfm-Grant", ""}, "", "request-invalid"},
		"grant twice":                    {both, []string{"Sfm-Grant", "user", "Sfm-Grant", "user"}, "", "request-invalid"},
		"token of the caller":            {both, []string{"Sfm-Session", handle, "Authorization", "Bearer x"}, "", "grant-mismatch"},
		"token in another letter case":   {machine, []string{"Authorization", "dpop x"}, "", "grant-mismatch"},
		"token behind something else":    {machine, []string{"Authorization", "Basic x", "Authorization", "Bearer x"}, "", "grant-mismatch"},
		"a scheme alone is a token, too": {machine, []string{"Authorization", "Bearer"}, "", "grant-mismatch"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &persons{grants: tt.grants, sessions: sessions, owner: func(*http.Request) string { return "1000" }}
			r := httptest.NewRequest(http.MethodGet, "/basis/Task", nil)
			for i := 0; i+1 < len(tt.header); i += 2 {
				r.Header.Add(tt.header[i], tt.header[i+1])
			}
			person, err := p.find(r)
			if tt.code != "" {
				wantRefusal(t, err, tt.code)
				if person.ID != "" || person.Grant != "" {
					t.Error("a person beside an error")
				}
				return
			}
			if err != nil || person.Grant != tt.grant {
				t.Fatalf("grant %q, want %q (%v)", person.Grant, tt.grant, err)
			}
			if hasID := person.ID != ""; hasID != (tt.grant == config.GrantUser) {
				t.Errorf("names a session: %v", hasID)
			}
			if person.ID == handle || tt.grant == config.GrantUser && person.ID != sessions.ID(handle) {
				t.Error("the person's ID is not the session's")
			}
		})
	}
}

func TestPersonIsLimitedToTheSessionsTenants(t *testing.T) {
	one := tenantmap.Tenant{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}
	upper, other := one, one
	upper.Journal, other.Child = strings.ToUpper(one.Journal), ""
	sessions := newSessions(t, new(fakeHelseID))
	p := &persons{grants: []string{config.GrantUser}, sessions: sessions, owner: func(*http.Request) string { return "" }}
	for name, limit := range map[string][]session.Tenant{"limited": {session.Tenant(one)}, "free": nil} {
		r := httptest.NewRequest(http.MethodGet, "/basis/Task", nil)
		r.Header.Set(session.Header, logIn(t, sessions, "", limit...))
		person, err := p.find(r)
		if err != nil {
			t.Fatal(err)
		}
		if !person.Allows(one) || !person.Allows(upper) || person.Allows(other) != (limit == nil) {
			t.Errorf("%s: allows %v, %v, another one %v", name, person.Allows(one), person.Allows(upper), person.Allows(other))
		}
	}
}

// wantRefusal checks an error's code, and that it can be told.
func wantRefusal(t *testing.T, err error, code string) {
	t.Helper()
	c, ok := errors.AsType[interface {
		error
		Code() string
		Detail() string
	}](err)
	if !ok || c.Code() != code || c.Detail() == "" || !strings.HasPrefix(c.Error(), code) {
		t.Errorf("error %v, want code %s with a detail", err, code)
	}
}
