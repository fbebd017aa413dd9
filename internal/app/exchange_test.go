package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// subjectAudience is the API of the callers' own tokens in these tests.
const subjectAudience = "epj:api"

// exchanging is a sidecar whose only grant is token exchange, but for more.
func exchanging(more ...string) setup {
	return setup{
		env: append([]string{"HELSEID_GRANT=token-exchange", "HELSEID_SUBJECT_AUDIENCE=" + subjectAudience}, more...),
		client: func(c *simulator.Client) {
			c.Grants, c.Audience = append(c.Grants, simulator.GrantTokenExchange), subjectAudience
		},
	}
}

// subject is a caller's own token; if of names no audience, it is the right one.
func (w *world) subject(of simulator.Subject) string {
	w.t.Helper()
	if of.Audience == "" {
		of.Audience = subjectAudience
	}
	token, err := w.sim.SubjectToken(of)
	if err != nil {
		w.t.Fatal(err)
	}
	seen.secret(token)
	return token
}

// onBehalf is a call with a caller's own token.
func (w *world) onBehalf(token string, tenant simulator.Tenant, more ...string) *http.Request {
	w.t.Helper()
	return w.request(http.MethodGet, "/basis/Task?PatientNiN=marked", "",
		append(append(headers("", tenant), "Authorization", "Bearer "+token), more...)...)
}

// exchanges are the token exchanges that HelseID granted.
func (w *world) exchanges() (granted []simulator.TokenRequest) {
	for _, r := range w.sim.TokenRequests() {
		if r.Grant == simulator.GrantTokenExchange && r.Outcome == "granted" {
			granted = append(granted, r)
		}
	}
	return granted
}

func TestTokenExchange(t *testing.T) {
	single := exchanging("HELSEID_TENANCY=single")
	grants := single.client
	single.client = func(c *simulator.Client) {
		grants(c)
		c.Tenancy, c.Parent, c.SFMID = simulator.TenancySingle, "100100126", simulator.Tenants()[0].Journal
	}
	v1 := exchanging("SFM_API=v1")
	v1.client = func(c *simulator.Client) { grants(c); c.DPoP = false }
	tests := map[string]struct {
		setup   setup
		knobs   func(*simulator.Knobs)
		subject simulator.Subject
		scheme  string
		tenants []simulator.Tenant
	}{
		"Bearer":                  {setup: exchanging()},
		"DPoP, bound to a key":    {setup: exchanging(), subject: simulator.Subject{JKT: "a-key-of-the-callers-own"}, scheme: "DPoP"},
		"several audiences":       {setup: exchanging(), subject: simulator.Subject{Claims: map[string]any{"aud": []string{"x", subjectAudience}}}},
		"resource":                {setup: exchanging("HELSEID_RESOURCE=e-helse:sfm.api")},
		"authorization_details":   {setup: exchanging("HELSEID_ASSERTION_CLAIM=authorization_details")},
		"nonces good once":        {setup: exchanging(), knobs: func(k *simulator.Knobs) { k.HelseID.SingleUseNonce = true }},
		"clock 90 s behind":       {setup: exchanging(), knobs: func(k *simulator.Knobs) { k.ClockOffset = 90 }},
		"migration, own scope":    {setup: exchanging("SFM_UPSTREAMS=basis={SFM},migration={SFM}"), knobs: func(k *simulator.Knobs) { k.SFM.StrictScopes = true }},
		"API v1, Bearer":          {setup: v1, knobs: func(k *simulator.Knobs) { k.SFM.Bearer = true }},
		"single tenancy":          {setup: single, tenants: simulator.Tenants()[:1]},
		"SFM refuses the token":   {setup: exchanging(), knobs: func(k *simulator.Knobs) { k.SFM.RejectTokens = 1 }},
		"SFM wants its own nonce": {setup: exchanging(), knobs: func(k *simulator.Knobs) { k.SFM.RequireNonce = true }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.knobs != nil {
				knobs := simulator.DefaultKnobs()
				tt.knobs(&knobs)
				tt.setup.sim.Knobs = &knobs
			}
			w := newWorld(t, tt.setup)
			if tt.tenants == nil {
				tt.tenants = simulator.Tenants()[:2]
			}
			tt.subject.Person = "lege"
			token := w.subject(tt.subject)
			for i, tenant := range append(tt.tenants, tt.tenants...) {
				r := w.onBehalf(token, tenant)
				if tt.scheme != "" {
					r.Header.Set("Authorization", tt.scheme+" "+token)
					r.Header.Set("DPoP", "a proof for another address")
				}
				if a := w.send(r); a.status != http.StatusOK {
					t.Fatalf("call %d: %d %s %s", i, a.status, a.header.Get("Sidecar-Error"), a.body)
				}
			}
			checkLedger(t, w, tt.tenants, 2*len(tt.tenants))
			for _, op := range w.sim.Ledger() {
				if op.Accepted && (op.Subject != "sub-7f3b2c90" || op.Machine) {
					t.Errorf("call %d came for another person", op.Number)
				}
			}
			again := 0
			if name == "SFM refuses the token" {
				again = 1
			}
			if n := len(w.exchanges()); n != len(tt.tenants)+again {
				t.Errorf("HelseID exchanged %d tokens, want one for each tenant", n)
			}
			if n := w.metric(`sfm_sidecar_token_requests_total{grant="token_exchange",outcome="ok"}`); int(n) != len(tt.tenants)+again {
				t.Errorf("the metric says %v", n)
			}
		})
	}
}

func TestSubjectTokensRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, exchanging())
	good := w.subject(simulator.Subject{Person: "lege"})
	parts := strings.Split(good, ".")
	other := strings.Split(w.subject(simulator.Subject{Person: "vikar"}), ".")
	claims := func(name string, value any) string {
		return w.subject(simulator.Subject{Person: "lege", Claims: map[string]any{name: value}})
	}
	tests := map[string]struct {
		token, reason string
		header        []string // "" token: in place of it
		code          string   // if "", subject-token-invalid
		status        int      // if 0, 401
	}{
		"forged":             {token: w.subject(simulator.Subject{Person: "lege", Forged: true}), reason: "signature"},
		"another's payload":  {token: parts[0] + "." + other[1] + "." + parts[2], reason: "signature"},
		"wrong audience":     {token: w.subject(simulator.Subject{Person: "lege", Audience: "another:api"}), reason: "aud"},
		"SFM's own audience": {token: w.subject(simulator.Subject{Person: "lege", Audience: "e-helse:sfm.api"}), reason: "aud"},
		"expired":            {token: w.subject(simulator.Subject{Person: "lege", Life: -time.Minute}), reason: "exp"},
		"level 3":            {token: w.subject(simulator.Subject{Person: "lav"}), reason: "security_level"},
		"other issuer":       {token: claims("iss", "https://helseid.example"), reason: "iss"},
		"no person":          {token: claims("helseid://claims/identity/pid", nil), reason: "pid"},
		"ID token":           {token: w.subject(simulator.Subject{Person: "lege", Type: "JWT", Claims: map[string]any{"scope": nil}}), reason: "typ"},
		"log-out token":      {token: w.subject(simulator.Subject{Person: "lege", Type: "logout+jwt"}), reason: "typ"},
		"opaque":             {token: "2YotnFZFEjr1zCsicMWpAA", reason: "not-jwt"},

		"none":              {code: "subject-token-required"},
		"scheme alone":      {header: []string{"Authorization", "Bearer"}, code: "subject-token-required"},
		"name and password": {header: []string{"Authorization", "Basic eDp5"}, code: "subject-token-required"},
		"two":               {token: good, header: []string{"Authorization", "Bearer x"}, code: "request-invalid", status: 400},
		"too long":          {token: strings.Repeat("x", 20_000), code: "request-invalid", status: 400},
		"session":           {header: []string{"Sfm-Session", "synthetic"}, code: "grant-mismatch", status: 400},
		"session as well":   {token: good, header: []string{"Sfm-Session", "synthetic"}, code: "grant-mismatch", status: 400},
		"another grant":     {token: good, header: []string{"Sfm-Grant", "user"}, code: "grant-mismatch", status: 400},
	}
	for name, tt := range tests {
		r := w.request(http.MethodGet, "/basis/Task", "", headers("", simulator.Tenants()[0])...)
		if tt.token != "" {
			r.Header.Set("Authorization", "Bearer "+tt.token)
		}
		for i := 0; i+1 < len(tt.header); i += 2 {
			r.Header.Add(tt.header[i], tt.header[i+1])
		}
		if tt.code == "" {
			tt.code = "subject-token-invalid"
		}
		if tt.status == 0 {
			tt.status = http.StatusUnauthorized
		}
		series := fmt.Sprintf("sfm_sidecar_refusals_total{code=%q}", tt.code)
		before := w.metric(series)
		a := w.send(r)
		if a.header.Get("Sidecar-Error") != tt.code || a.status != tt.status {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.header.Get("Sidecar-Error"), tt.status, tt.code)
			continue
		}
		if p := problemOf(t, a); p.Reason != tt.reason || p.Origin != "caller" || p.Retryable {
			t.Errorf("%s: reason %q of %s, want %q", name, p.Reason, p.Origin, tt.reason)
		}
		if w.metric(series) != before+1 {
			t.Errorf("%s: not counted", name)
		}
	}
	if a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", "{}")); a.header.Get("Sidecar-Error") != "grant-mismatch" {
		t.Errorf("a log-in without the grant user: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	if n, m := len(w.sim.Ledger()), len(w.exchanges()); n != 0 || m != 0 {
		t.Errorf("%d calls reached SFM, %d tokens were exchanged", n, m)
	}
	if a := w.send(w.onBehalf(good, simulator.Tenants()[0])); a.status != http.StatusOK {
		t.Errorf("the good one: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
}

// What HelseID answers is held against the caller's person too.
func TestExchangedTokenMustBeTheCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, exchanging())
	token, tenants := w.subject(simulator.Subject{Person: "lege"}), simulator.Tenants()
	for i, tt := range []struct {
		claim string
		value any
	}{
		{"helseid://claims/identity/pid", simulator.Persons()[1].PID}, {"helseid://claims/identity/pid", nil},
		{"helseid://claims/identity/security_level", "3"}, {"nhn:sfm:journal-id", tenants[40].Journal}, {"cnf", nil},
	} {
		w.sim.SetKnobs(claim(tt.claim, tt.value))
		if got := w.send(w.onBehalf(token, tenants[i])).header.Get("Sidecar-Error"); got != "token-mismatch" {
			t.Errorf("%s: %q", tt.claim, got)
		}
	}
	if n := len(w.sim.Ledger()); n != 0 {
		t.Errorf("SFM received %d calls", n)
	}
}

// Both grants in one sidecar: each call is what it says, and neither helps out for
// the other.
func TestTwoGrantsAtOnce(t *testing.T) {
	t.Parallel()
	s := exchanging("HELSEID_GRANT=user,token-exchange")
	w := newWorld(t, s)
	handle, token, tenant := w.logIn("vikar"), w.subject(simulator.Subject{Person: "lege"}), simulator.Tenants()[0]
	var all sync.WaitGroup
	for i := range 40 {
		exchange := w.onBehalf(token, tenant, "Sfm-Grant", "token-exchange", "X-Request-Id", fmt.Sprint("exchange-", i))
		login := w.request(http.MethodGet, "/basis/Task", "", append(headers(handle, tenant), "X-Request-Id", fmt.Sprint("login-", i))...)
		for _, r := range []*http.Request{exchange, login} {
			all.Go(func() {
				if a, err := w.do(r); err != nil || a.status != http.StatusOK {
					t.Errorf("%d %s %v", a.status, a.header.Get("Sidecar-Error"), err)
				}
			})
		}
	}
	all.Wait()
	for _, op := range w.sim.Ledger() {
		want := "sub-1d54ae17"
		if strings.HasPrefix(op.RequestID, "exchange-") {
			want = "sub-7f3b2c90"
		}
		if op.Subject != want {
			t.Errorf("%s came for another person", op.RequestID)
		}
	}
	if n := len(w.exchanges()); n != 1 {
		t.Errorf("%d tokens were exchanged, want 1", n)
	}
	for name, r := range map[string]*http.Request{
		"a token under user":             w.onBehalf(token, tenant),
		"both under user":                w.onBehalf(token, tenant, "Sfm-Session", handle),
		"a session under token-exchange": w.request(http.MethodGet, "/basis/Task", "", append(headers(handle, tenant), "Sfm-Grant", "token-exchange")...),
		"both under token-exchange":      w.onBehalf(token, tenant, "Sfm-Session", handle, "Sfm-Grant", "token-exchange"),
	} {
		if got := w.send(r).header.Get("Sidecar-Error"); got != "grant-mismatch" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Every caller has a token of its own at SFM, whoever the person is: SFM's ledger
// says which token came with which call.
func TestCallersNeverShare(t *testing.T) {
	t.Parallel()
	const callers, calls = 12, 25
	w := newWorld(t, exchanging())
	persons, tenants := []string{"lege", "vikar", "sykepleier", "sekretar"}, simulator.Tenants()[:3]
	subjects := map[string]string{}
	for _, p := range simulator.Persons() {
		subjects[p.ID] = p.Subject
	}
	var all sync.WaitGroup
	for caller := range callers {
		token := w.subject(simulator.Subject{Person: persons[caller%len(persons)]})
		for i := range calls {
			r := w.onBehalf(token, tenants[i%len(tenants)], "X-Request-Id", fmt.Sprintf("caller-%02d-%d", caller, i))
			all.Go(func() {
				if a, err := w.do(r); err != nil || a.status != http.StatusOK {
					t.Errorf("%d %s %v", a.status, a.header.Get("Sidecar-Error"), err)
				}
			})
		}
	}
	all.Wait()
	owner, tokens := map[string]string{}, map[string]bool{} // by token hash; by caller and tenant
	for _, op := range w.sim.Ledger() {
		var caller, i int
		if _, err := fmt.Sscanf(op.RequestID, "caller-%d-%d", &caller, &i); err != nil {
			t.Fatal(err)
		}
		if op.Subject != subjects[persons[caller%len(persons)]] || op.Tenant.Parent != tenants[i%len(tenants)].Parent {
			t.Errorf("%s came for another person or tenant", op.RequestID)
		}
		mine := fmt.Sprint(caller, op.Tenant)
		if before, known := owner[op.TokenHash]; known && before != mine {
			t.Error("two callers, or two tenants, with one token")
		}
		owner[op.TokenHash], tokens[mine] = mine, true
	}
	if want := callers * len(tenants); len(owner) != want || len(tokens) != want || len(w.exchanges()) != want {
		t.Errorf("%d tokens for %d callers and tenants, %d exchanges; want %d of each", len(owner), len(tokens), len(w.exchanges()), want)
	}
}

// When the caller's token ends, so does what it was exchanged for, which by itself
// would live for an hour; and until then it is not renewed for nothing.
func TestExchangedTokenEndsWithTheCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, exchanging("SIDECAR_EXPIRY_LEEWAY=1ms"))
	token, tenant := w.subject(simulator.Subject{Person: "lege", Life: 4 * time.Second}), simulator.Tenants()[0]
	end, good := time.Now().Add(4*time.Second), 0
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for ; time.Now().Before(end.Add(time.Second)); <-look.C {
		a := w.send(w.onBehalf(token, tenant))
		switch code := a.header.Get("Sidecar-Error"); {
		case a.status == http.StatusOK:
			good++
		case code == "subject-token-invalid":
			if p := problemOf(t, a); p.Reason != "exp" || time.Until(end) > 1100*time.Millisecond { // exp has whole seconds
				t.Errorf("reason %q, %v before the end", p.Reason, time.Until(end))
			}
		default:
			t.Fatalf("%d %s", a.status, code)
		}
	}
	if n := len(w.exchanges()); n < 1 || n > 2 { // the second, if a call came within the last millisecond
		t.Errorf("%d exchanges, want 1", n)
	}
	if len(w.sim.Ledger()) != good || good == 0 {
		t.Errorf("%d calls were good, %d reached SFM", good, len(w.sim.Ledger()))
	}
	eventually(t, "the entry leaves the cache", func() bool { return w.metric("sfm_sidecar_token_cache_entries") == 0 })
	if a := w.send(w.onBehalf(token, tenant)); a.header.Get("Sidecar-Error") != "subject-token-invalid" {
		t.Errorf("after the end: %d", a.status)
	}
}
