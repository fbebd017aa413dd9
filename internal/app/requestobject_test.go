package app_test

import (
	"fmt"
	"net/http"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// atLogin is a world whose HelseID lets nobody log in without organization.
func atLogin(t *testing.T, env ...string) *world {
	t.Helper()
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.OrganizationAtLogin = true
	return newWorld(t, setup{env: env, sim: simulator.Options{Knobs: &knobs}})
}

// naming is the body of a log-in for a tenant.
func naming(t simulator.Tenant, more string) string {
	return fmt.Sprintf(`{"tenant":{"parent":%q,"child":%q,"journal":%q}%s}`, t.Parent, t.Child, t.Journal, more)
}

func TestLogInForATenant(t *testing.T) {
	for _, tenant := range simulator.Tenants()[:2] { // one with a child, one without
		t.Run(tenant.Parent, func(t *testing.T) {
			t.Parallel()
			w := atLogin(t, "HELSEID_LOGIN_TENANT=request-object")
			handle, link := w.begin(naming(tenant, `,"expect":{"sub":"sub-7f3b2c90"}`))
			if page := w.browse(link, "lege"); page.status != http.StatusOK {
				t.Fatalf("the log-in: %d %s", page.status, page.header.Get("Sidecar-Error"))
			}
			for range 2 {
				if a := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenant)...)); a.status != http.StatusOK {
					t.Fatalf("%d %s %s", a.status, a.header.Get("Sidecar-Error"), a.body)
				}
			}
			checkLedger(t, w, []simulator.Tenant{tenant}, 2)
			pushed := w.pushed("granted")
			if len(pushed) != 1 || pushed[0].Tenant != tenant {
				t.Errorf("%d log-ins were pushed, not one for the tenant", len(pushed))
			}
		})
	}
}

// pushed are the authorization requests that ended so.
func (w *world) pushed(outcome string) (found []simulator.TokenRequest) {
	for _, r := range w.sim.TokenRequests() {
		if r.Endpoint == "par" && r.Outcome == outcome {
			found = append(found, r)
		}
	}
	return found
}

func TestLogInForATenantRefused(t *testing.T) {
	t.Parallel()
	w := atLogin(t, "HELSEID_LOGIN_TENANT=request-object")
	tenant := simulator.Tenants()[0]
	for name, tt := range map[string]struct {
		body, code string
	}{
		"no tenant":         {"{}", "request-invalid"},
		"an alias":          {`{"tenant":"sentrum"}`, "tenant-unknown"},
		"eight digits":      {`{"tenant":{"parent":"10010012","journal":"5f3a0001-0000-4000-8000-00000a11ce00"}}`, "tenant-invalid"},
		"no journal":        {`{"tenant":{"parent":"100100126"}}`, "tenant-missing"},
		"not among tenants": {naming(tenant, fmt.Sprintf(`,"tenants":[{"parent":%q,"journal":%q}]`, tenant.Parent, tenant.Journal)), "request-invalid"},
		"with a hand-over":  {naming(tenant, `,"refresh_token":"synthetic"`), "request-invalid"},
	} {
		if got := w.send(w.request(http.MethodPost, "/_sidecar/sessions", tt.body)).header.Get("Sidecar-Error"); got != tt.code {
			t.Errorf("%s: %q, want %s", name, got, tt.code)
		}
	}
	if n := len(w.sim.TokenRequests()); n != 0 {
		t.Errorf("HelseID was asked %d times", n)
	}
}

// A parent that has not delegated is refused at log-in already, and the EPJ learns
// it from the session.
func TestLogInForATenantThatHelseIDRefuses(t *testing.T) {
	t.Parallel()
	w := atLogin(t, "HELSEID_LOGIN_TENANT=request-object")
	tenant := simulator.Tenants()[0]
	tenant.Parent = simulator.ParentNotDelegated
	handle, link := w.begin(naming(tenant, ""))
	if page := w.browse(link, "lege"); page.header.Get("Sidecar-Error") != "tenant-not-delegated" {
		t.Errorf("the page: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	if got := w.send(task(w, handle)).header.Get("Sidecar-Error"); got != "login-failed" {
		t.Errorf("a call: %s", got)
	}
}

// Without the setting, such a HelseID lets nobody in, and a tenant is refused.
func TestLogInWithoutTheSetting(t *testing.T) {
	t.Parallel()
	w := atLogin(t)
	_, link := w.begin("{}")
	if page := w.browse(link, "lege"); page.header.Get("Sidecar-Error") != "helseid-refused" || len(w.pushed("refused")) != 1 {
		t.Errorf("the page: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", naming(simulator.Tenants()[0], "")))
	if got := a.header.Get("Sidecar-Error"); got != "request-invalid" {
		t.Errorf("naming a tenant: %s", got)
	}
}
