package app_test

import (
	"net/http"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// A refresh that comes back for somebody else gives no token and ends the
// session: persons are never mixed.
func TestAnotherPersonsTokenEndsTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, tenants := w.logIn("lege"), simulator.Tenants()
	w.sim.SetKnobs(claim("helseid://claims/identity/pid", simulator.Persons()[1].PID))
	for i, want := range []string{"token-mismatch", "session-expired"} {
		a := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenants[i])...))
		if got := a.header.Get("Sidecar-Error"); got != want {
			t.Errorf("call %d: %d %s, want %s", i, a.status, got, want)
		}
	}
	if n := len(w.sim.Ledger()); n != 0 {
		t.Errorf("SFM received %d calls", n)
	}
}

// A token that lacks the person is refused, but it is nobody else's.
func TestTokenWithoutPersonLeavesTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, tenants := w.logIn("lege"), simulator.Tenants()
	w.sim.SetKnobs(claim("helseid://claims/identity/pid", nil))
	if got := w.send(task(w, handle)).header.Get("Sidecar-Error"); got != "token-mismatch" {
		t.Errorf("without a person: %s", got)
	}
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.ClaimOverrides = nil })
	a := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenants[1])...))
	if a.status != http.StatusOK {
		t.Errorf("the session is gone: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
}
