package app

import (
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/tenantmap"
	"sfm-sidecar/internal/tokencache"
)

// ask is what a person's call of one tenant wants.
func ask() proxy.Ask {
	return proxy.Ask{
		Tenant:   tenantmap.Tenant{Parent: "100100126", Child: "999944582", Journal: "7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35"},
		Person:   proxy.Person{ID: "session-1", Grant: config.GrantUser},
		Upstream: &proxy.Upstream{Name: "basis", URL: new(url.URL), Scopes: []string{"b", "a"}, Audience: "e-helse:sfm.api"},
	}
}

func TestKeyHoldsWhatMakesTokensDifferent(t *testing.T) {
	proofKey, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	maker := &tokens{issuer: "https://helseid.example", clientID: "client", resource: "r", keys: dpop.NewRing(proofKey)}
	want := tokencache.Key{
		Issuer: "https://helseid.example", ClientID: "client", Grant: "user", Subject: "session-1",
		Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35",
		Scopes: "a b", Resource: "r", Audience: "e-helse:sfm.api", Thumbprint: proofKey.Thumbprint(),
	}
	if diff := cmp.Diff(want, maker.key(ask())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tests := map[string]struct {
		change func(*proxy.Ask)
		same   bool
	}{
		"another parent":       {change: func(a *proxy.Ask) { a.Tenant.Parent = "313325016" }},
		"another child":        {change: func(a *proxy.Ask) { a.Tenant.Child = "312232326" }},
		"no child":             {change: func(a *proxy.Ask) { a.Tenant.Child = "" }},
		"another journal":      {change: func(a *proxy.Ask) { a.Tenant.Journal = "00000000-0000-4000-8000-000000000000" }},
		"another session":      {change: func(a *proxy.Ask) { a.Person.ID = "session-2" }},
		"a machine":            {change: func(a *proxy.Ask) { a.Person = proxy.Person{Grant: config.GrantClientCredentials} }},
		"another audience":     {change: func(a *proxy.Ask) { a.Upstream.Audience = "nhn:other-api" }},
		"another scope":        {change: func(a *proxy.Ask) { a.Upstream.Scopes = []string{"c"} }},
		"a scope less":         {change: func(a *proxy.Ask) { a.Upstream.Scopes = []string{"a"} }},
		"another letter case":  {change: func(a *proxy.Ask) { a.Tenant = a.Tenant.Folded() }, same: true},
		"scopes turned about":  {change: func(a *proxy.Ask) { a.Upstream.Scopes = []string{"a", "b"} }, same: true},
		"a scope twice":        {change: func(a *proxy.Ask) { a.Upstream.Scopes = []string{"a", "b", "a"} }, same: true},
		"another upstream":     {change: func(a *proxy.Ask) { a.Upstream.Name = "session" }, same: true},
		"another limit of it":  {change: func(a *proxy.Ask) { a.Person.Allows = func(tenantmap.Tenant) bool { return true } }, same: true},
		"nothing is different": {change: func(*proxy.Ask) {}, same: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := ask()
			tt.change(&a)
			if same := maker.key(a) == want; same != tt.same {
				t.Errorf("the same key: %v, want %v", same, tt.same)
			}
		})
	}
	a := ask()
	_ = maker.key(a)
	if !slices.Equal(a.Upstream.Scopes, []string{"b", "a"}) {
		t.Error("the upstream's own scopes were sorted")
	}
}

// Contract 7.7: a refresh names scopes only where several were asked for at log-in.
func TestScopesThatAreAskedFor(t *testing.T) {
	tests := map[string]struct {
		narrow bool
		grant  string
		want   string
	}{
		"one scope of SFM":            {grant: config.GrantUser, want: ""},
		"several":                     {narrow: true, grant: config.GrantUser, want: "b a openid offline_access"},
		"a machine":                   {grant: config.GrantClientCredentials, want: "b a"},
		"a caller's token":            {narrow: true, grant: config.GrantTokenExchange, want: "b a"},
		"a machine, several by users": {narrow: true, grant: config.GrantClientCredentials, want: "b a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			maker := &tokens{narrow: tt.narrow, loginScopes: []string{"openid", "offline_access"}}
			a := ask()
			a.Person.Grant = tt.grant
			want := helseid.Request{
				Tenant: helseid.Tenant(a.Tenant), // as written, in its letter case
				Wanted: []string{"b", "a"}, Audience: "e-helse:sfm.api", Scope: tt.want,
			}
			if diff := cmp.Diff(want, maker.request(a)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMintRefreshesTheSession(t *testing.T) {
	fake := new(fakeHelseID)
	sessions := newSessions(t, fake)
	handle := logIn(t, sessions, "")
	maker := &tokens{sessions: sessions}
	a := ask()
	a.Person.ID = sessions.ID(handle)
	token, err := maker.mint(a)(t.Context())
	if err != nil || token.AccessToken != "access" || token.Type != "DPoP" || token.Lifetime != time.Hour {
		t.Errorf("%v, %v", token, err)
	}
	got := fake.requests[len(fake.requests)-1]
	if got.PID != "synthetic-pid" || got.Tenant.Child != "999944582" || got.NoTenant {
		t.Errorf("the refresh was for child %s, without tenant: %v", got.Tenant.Child, got.NoTenant)
	}
}

func TestGrantAsTheCacheKeepsIt(t *testing.T) {
	var warned []string
	maker := &tokens{warn: func(_ string, attrs ...slog.Attr) { warned = append(warned, attrs[0].Value.String()) }}
	sent := time.Now()
	token, err := maker.cached(&helseid.Grant{
		Token: &oauth2.Token{AccessToken: "access", TokenType: "DPoP"}, Sent: sent, Lifetime: time.Hour, Warnings: []string{"odd"},
	}, nil)
	want := &tokencache.Token{AccessToken: "access", Type: "DPoP", Sent: sent, Lifetime: time.Hour}
	if err != nil || *token != *want {
		t.Errorf("%v, %v", token, err)
	}
	if !slices.Equal(warned, []string{"odd"}) {
		t.Errorf("warned of %v", warned)
	}
	last, err := maker.cached(&helseid.Grant{Token: &oauth2.Token{AccessToken: "access"}, Sent: sent, Lifetime: time.Minute, Last: true}, nil)
	if err != nil || !last.Last {
		t.Errorf("%v, %v: that it is the last is lost", last, err)
	}
	refused := errors.New("refused")
	if token, err := maker.cached(&helseid.Grant{RefreshToken: "kept elsewhere"}, refused); token != nil || !errors.Is(err, refused) {
		t.Errorf("a refused grant gave %v, %v", token, err)
	}
}
