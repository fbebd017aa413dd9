package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// tokenService answers as HelseID's test token service does, with tokens that its
// mint makes of what was asked for.
func tokenService(t *testing.T, mint func(wish map[string]any) (status int, answer any)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/ttt/v2/create-test-token-with-key" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if r.Header.Get("X-Auth-Key") != simulatedTestKey {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"isError":true,"successResponse":null,"errorResponse":{"errorMessage":"no such key"}}`)
			return
		}
		var wish map[string]any
		if err := json.NewDecoder(r.Body).Decode(&wish); err != nil {
			t.Error(err)
		}
		status, answer := mint(wish)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/ttt"
}

func keyFile(t *testing.T, key string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func granted(token string) map[string]any {
	return map[string]any{"isError": false, "errorResponse": nil, "successResponse": map[string]any{"accessTokenJwt": token, "dPoPProof": nil}}
}

// unsigned is a token that says what it should, and that nobody signed: SFM must
// refuse it, which the check explains.
const unsigned = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJlLWhlbHNlOnNmbS5hcGkifQ.c2lnbmF0dXJl"

func TestCheckWithTestTokens(t *testing.T) {
	t.Parallel()
	c := newClinic(t, setup{})
	tenant := simulator.Tenants()[0]
	var wished map[string]any
	service := tokenService(t, func(wish map[string]any) (int, any) {
		wished = wish
		return http.StatusOK, granted(unsigned)
	})
	r := c.check("--test-tokens", service, "--test-token-key-file", keyFile(t, simulatedTestKey), named(tenant))
	if r.status("test token") != "ok" || r.status("authorization request") != "absent" || len(c.sim.TokenRequests()) != 0 {
		t.Errorf("%s", r.stdout)
	}
	client, _ := wished["clientClaimsParameters"].(map[string]any)
	if client["sfmJournalId"] != tenant.Journal || client["orgnrParent"] != tenant.Parent || client["orgnrChild"] != tenant.Child ||
		client["clientTenancy"] != "multi-tenant" || len(client["cnfJkt"].(string)) != 43 || wished["audience"] != "e-helse:sfm.api" {
		t.Errorf("asked for %v", wished)
	}
	if said := r.said("call with test token"); r.status("call with test token") != "failed" || !strings.Contains(said, "401") || r.code != 1 {
		t.Errorf("%s", said)
	}
	seen := c.sim.Ledger()
	if len(seen) == 0 || seen[len(seen)-1].Path != "/Organization" {
		t.Errorf("SFM was not called: %+v", seen)
	}
}

func TestCheckTestTokenServiceRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		key    string
		status int
		answer any
		says   string
	}{
		"key":      {key: "another", says: "API key"},
		"wish":     {key: simulatedTestKey, status: 400, answer: map[string]any{"isError": true, "errorResponse": map[string]any{"errorMessage": "unknown parameter for 13827015061"}}, says: "unknown parameter"},
		"error":    {key: simulatedTestKey, status: 200, answer: map[string]any{"isError": true}, says: "does not take what was asked for"},
		"empty":    {key: simulatedTestKey, status: 200, answer: map[string]any{}, says: "without a token"},
		"no token": {key: simulatedTestKey, status: 200, answer: granted("opaque"), says: "no JWT"},
		"trouble":  {key: simulatedTestKey, status: 500, answer: "?", says: "500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, setup{})
			service := tokenService(t, func(map[string]any) (int, any) { return test.status, test.answer })
			r := c.check("--test-tokens", service, "--test-token-key-file", keyFile(t, test.key), named(simulator.Tenants()[0]))
			if said := r.said("test token"); r.code != 1 || !strings.Contains(said, test.says) {
				t.Errorf("exit code %d: %s", r.code, said)
			}
			if r.status("call with test token") != "absent" {
				t.Error("SFM was called without a token")
			}
		})
	}
}

// The stand-in for the test token service signs, and SFM takes what it signed.
func TestCheckWithGoodTestTokens(t *testing.T) {
	t.Parallel()
	for name, knobs := range map[string]func(*simulator.Knobs){
		"plain": func(*simulator.Knobs) {},
		"nonce": func(k *simulator.Knobs) { k.SFM.RequireNonce = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, setup{env: []string{"HELSEID_SUPPLIER_ORGNR=" + simulator.Supplier}})
			c.sim.SetKnobs(knobs)
			tenants := simulator.Tenants()[:2]
			r := c.check("--test-tokens", c.sim.TestTokens, "--test-token-key-file", keyFile(t, simulator.TestTokenKey), named(tenants[0]), named(tenants[1]))
			if r.code != 0 || r.status("test token") != "ok" || r.status("call with test token") != "ok" {
				t.Errorf("exit code %d: %s", r.code, r.stdout)
			}
		})
	}
}

// The registration of the client, as HelseID Selvbetjening tells it, is compared
// with the configuration.
func TestCheckComparesTheRegistration(t *testing.T) {
	t.Parallel()
	first := simulator.Tenants()[0]
	for name, test := range map[string]struct {
		env     []string
		client  func(*simulator.Client)
		knobs   func(*simulator.Knobs)
		tenant  simulator.Tenant
		subject string
		status  string
		says    string
	}{
		"scopes":          {subject: "scopes", status: "ok"},
		"scope missing":   {subject: "scopes", status: "failed", says: "not registered: other.api/scope", env: []string{"SFM_UPSTREAM_SCOPES=basis=other.api/scope"}},
		"port differs":    {subject: "redirect addresses", status: "warning", says: "only the port"},
		"address":         {subject: "redirect addresses", status: "ok", client: func(c *simulator.Client) { c.RedirectURIs = []string{"https://epj.example/back"} }, env: []string{"HELSEID_REDIRECT_URI=https://epj.example/back"}},
		"post-logout":     {subject: "redirect addresses", status: "failed", says: "post-logout address https://epj.example/out", env: []string{"HELSEID_POST_LOGOUT_REDIRECT_URI=https://epj.example/out"}},
		"no children":     {subject: "sub-units", status: "skipped"},
		"Active":          {subject: "tenants", status: "ok"},
		"delegation":      {subject: "tenants", status: "failed", says: "delegation in Altinn", tenant: simulator.Tenant{Parent: simulator.ParentNotDelegated, Journal: first.Journal}},
		"terms":           {subject: "tenants", status: "failed", says: "agreement", tenant: simulator.Tenant{Parent: simulator.ParentWithoutTerms, Journal: first.Journal}},
		"list of tenants": {subject: "tenants", status: "skipped", knobs: func(k *simulator.Knobs) { k.Selvbetjening.NoTenants = true }},
		"key":             {subject: "key", status: "ok"},
		"key ends":        {subject: "key", status: "warning", says: "keys rotate", knobs: func(k *simulator.Knobs) { k.Selvbetjening.FirstSecretSeconds = 7 * 24 * 3600 }},
		"no answer":       {status: "warning", says: "could not be compared", knobs: func(k *simulator.Knobs) { k.Selvbetjening.Fault.Status = 500 }},
		"not allowed": {status: "skipped", says: "may not ask", client: func(c *simulator.Client) {
			c.Scopes = slices.DeleteFunc(c.Scopes, func(s string) bool { return s == "nhn:selvbetjening/client" })
		}},
		"nonce": {status: "ok", knobs: func(k *simulator.Knobs) { k.Selvbetjening.RequireNonce = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, setup{env: test.env, client: test.client})
			c.env = append(c.env, "SELVBETJENING_URL="+c.sim.Selvbetjening)
			if test.knobs != nil {
				c.sim.SetKnobs(test.knobs)
			}
			tenant := first
			if test.tenant.Parent != "" {
				tenant = test.tenant
			}
			r := c.check(named(tenant))
			for _, s := range r.Steps {
				if s.Name != "registration" || s.Subject != test.subject {
					continue
				}
				text := s.Found + s.Means + s.Do + fmt.Sprint(s.Details)
				if s.Status != test.status || !strings.Contains(text, test.says) {
					t.Errorf("%s: %s", s.Status, text)
				}
				return
			}
			t.Errorf("no such step: %s %s", r.stdout, r.stderr)
		})
	}
}

// A scope that waits for approval is named with the reason.
func TestCheckNamesPendingScopes(t *testing.T) {
	t.Parallel()
	c := newClinic(t, setup{env: machine})
	c.env = append(c.env, "SELVBETJENING_URL="+c.sim.Selvbetjening)
	c.sim.SetKnobs(func(k *simulator.Knobs) {
		k.Selvbetjening.PendingScopes = map[string]string{simulator.SFMScope: "the owner has not answered"}
	})
	r := c.check(named(simulator.Tenants()[0]))
	said := ""
	for _, s := range r.Steps {
		if s.Name == "registration" && s.Subject == "scopes" {
			said = s.Status + " " + s.Found
		}
	}
	if said != "failed pending: "+simulator.SFMScope+" (the owner has not answered)" || r.status("token") != "failed" || r.code != 1 {
		t.Errorf("%q %s", said, r.stdout)
	}
}

// A host that does not look like a test environment gets no test token.
func TestCheckKeepsTestTokensFromProduction(t *testing.T) {
	t.Parallel()
	c := newClinic(t, setup{env: []string{"SFM_UPSTREAMS=basis=https://base-fhir.invalid"}})
	service := tokenService(t, func(map[string]any) (int, any) { return http.StatusOK, granted(unsigned) })
	r := c.check("--test-tokens", service, "--test-token-key-file", keyFile(t, simulatedTestKey), named(simulator.Tenants()[0]))
	if r.status("call with test token") != "skipped" {
		t.Errorf("%s", r.said("call with test token"))
	}
}
