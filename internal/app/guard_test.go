package app_test

import (
	"net/http"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// A journal comes to be only where its making was meant, and is joined only where it is.
func TestJournalGuardAtSFM(t *testing.T) {
	w := newWorld(t, setup{})
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.StrictJournals, k.SFM.RequireNonce = true, true })
	tenant := simulator.Tenants()[0]
	handle := w.logIn("lege")
	write := func(path, body, intent, id string) answer {
		t.Helper()
		h := append(headers(handle, tenant), "X-Request-Id", id, "Content-Type", "application/fhir+json")
		if intent != "" {
			h = append(h, "Sfm-Journal-Intent", intent)
		}
		return w.send(w.request(http.MethodPost, path, body, h...))
	}
	first := string(simulator.SampleOrganization(tenant, tenant.Child, "8190101"))
	second := string(simulator.SampleOrganization(tenant, tenant.Parent, ""))
	bundle := `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":` + first + `,"request":{"method":"POST","url":"Organization"}}]}`
	for _, step := range []struct{ path, body, intent, reason string }{
		{"/basis/Organization", first, "", "intent-missing"},
		{"/basis/", bundle, "", "intent-missing"},
		{"/basis/Organization", first, "existing", "journal-unknown"},
		{"/basis/", bundle, "existing", "journal-unknown"},
		{"/basis/Organization", first, "new", ""},
		{"/basis/Organization", first, "new", "journal-exists"},
		{"/basis/", bundle, "new", "journal-exists"},
		{"/basis/Organization", first, "", "intent-missing"},
		{"/basis/Organization", second, "existing", ""},
	} {
		id := "guard-" + strings.ToLower(step.intent+step.reason)
		before := len(w.operations(id))
		a := write(step.path, step.body, step.intent, id)
		if step.reason == "" {
			if a.status != http.StatusCreated || len(w.operations(id)) == before {
				t.Errorf("%s with intent %s: %d %s", step.path, step.intent, a.status, a.body)
			}
			continue
		}
		p := problemOf(t, a)
		if a.status != http.StatusConflict || p.Reason != step.reason || p.Retryable {
			t.Errorf("%s with intent %q: %d, reason %q (%s)", step.path, step.intent, a.status, p.Reason, p.Detail)
		}
		if len(w.operations(id)) != before {
			t.Errorf("%s with intent %q reached SFM under the EPJ's request id", step.path, step.intent)
		}
	}
	created := 0
	for _, o := range w.sim.Ledger() {
		if o.WorkDone && o.Method == http.MethodPost && strings.HasSuffix(o.Path, "/Organization") {
			created++
		}
	}
	if created != 2 {
		t.Errorf("%d organizations were written", created)
	}
	if n := w.metric(`sfm_sidecar_refusals_total{code="journal-guard"}`); n != 7 {
		t.Errorf("the metric counts %v refusals", n)
	}
	if n := w.metric(`sfm_sidecar_requests_total{code="200",method="GET",upstream="basis"}`); n != 0 {
		t.Errorf("%v of the guard's GETs are counted as the EPJ's", n)
	}
}

// The demo's other SFM, which makes every journal on first use, leaves nothing to be new.
func TestGuardWhereEveryJournalExists(t *testing.T) {
	w, tenant := newWorld(t, setup{}), simulator.Tenants()[1]
	h := append(headers(w.logIn("lege"), tenant), "Sfm-Journal-Intent", "new")
	if p := problemOf(t, w.send(w.request(http.MethodPost, "/basis/Organization", string(simulator.SampleOrganization(tenant, tenant.Parent, "")), h...))); p.Reason != "journal-exists" {
		t.Errorf("reason %q", p.Reason)
	}
}
