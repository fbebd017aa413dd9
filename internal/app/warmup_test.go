package app_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// Every listed tenant's token is there before the sidecar says that it is ready; one
// that HelseID refuses does not matter to the others.
func TestWarmUp(t *testing.T) {
	t.Parallel()
	all := simulator.Tenants()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	wrong := all[0]
	wrong.Parent = "999999999" // delegates to nobody
	replaceFile(t, path, registryOf(map[string]simulator.Tenant{"first": all[0], "again": all[0], "second": all[1], "wrong": wrong}))
	w := newWorld(t, setup{env: []string{
		"TENANTS_FILE=" + path, "HELSEID_GRANT=client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true", "SIDECAR_WARM_UP=20s",
	}})
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.MachineTokens = true })
	eventually(t, "ready", func() bool { return w.probe("/readyz") == http.StatusOK })
	if n := w.metric("sfm_sidecar_token_cache_entries"); n != 2 {
		t.Errorf("%v tokens are there", n)
	}
	a := w.send(w.request(http.MethodGet, "/basis/echo", "", headers("", all[1])...))
	if a.status != http.StatusOK || w.metric(`sfm_sidecar_token_cache_total{result="hit"}`) != 1 {
		t.Errorf("the first call: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}

	// HelseID does not answer: the start is held up no longer than was said.
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.Fault = simulator.Fault{Path: "/connect/token", DelayMS: 60_000} })
	begun := time.Now()
	w.start(append(w.env, "SIDECAR_WARM_UP=500ms"))
	if got := w.probe("/startup"); got != http.StatusServiceUnavailable {
		t.Errorf("/startup at once: %d", got)
	}
	eventually(t, "ready, though HelseID is silent", func() bool { return w.probe("/readyz") == http.StatusOK })
	if took := time.Since(begun); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What the registry says was created can't be meant to be new.
func TestGuardAsksTheRegistry(t *testing.T) {
	t.Parallel()
	tenant := simulator.Tenants()[0]
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	replaceFile(t, path, "journals:\n  - {id: "+tenant.Journal+", created: true}\n"+registryOf(map[string]simulator.Tenant{"first": tenant}))
	w := newWorld(t, setup{env: []string{"TENANTS_FILE=" + path}})
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.StrictJournals = true })
	h := append(headers(w.logIn("lege"), tenant), "Sfm-Journal-Intent", "new")
	if p := problemOf(t, w.send(w.request(http.MethodPost, "/basis/Organization", string(simulator.SampleOrganization(tenant, tenant.Child, "")), h...))); p.Reason != "created" {
		t.Errorf("reason %q: %s", p.Reason, p.Detail)
	}
}
