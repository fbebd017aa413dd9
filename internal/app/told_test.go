//go:build unix

package app_test

import (
	"net/http"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// wantForgotten wants a replica to hold nothing any more of sessions.
func (w *world) wantForgotten() {
	w.t.Helper()
	begun := time.Now()
	for _, series := range []string{"sfm_sidecar_token_cache_entries", "sfm_sidecar_sessions", keptOpen} {
		eventually(w.t, series+" is 0", func() bool { return w.metric(series) == 0 })
	}
	if took := time.Since(begun); took > 5*time.Second {
		w.t.Errorf("that took %v", took)
	}
}

// Every replica forgets the tokens of a session that ends at another, though nobody calls
// there any more; what it keeps of others stays. So it is when a command ended it.
func TestEndIsToldToReplicas(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	a := newWorld(t, setup{env: v.env(server)})
	b, c := a.replica(), a.replica()
	tenants := simulator.Tenants()
	doctor, again, locum := a.logIn("lege"), a.logIn("lege"), a.logIn("vikar")
	for _, handle := range []string{doctor, again, locum} {
		for _, w := range []*world{a, c} {
			w.wantCode(w.call(handle, 0), "")
			w.wantCode(w.call(handle, 1), "")
		}
	}
	c.sfmSession(doctor, tenants[0])
	if n := c.metric(keptOpen); n != 1 {
		t.Errorf("%v SFM sessions are kept", n)
	}
	if n := a.metric("sfm_sidecar_token_cache_entries"); n != 6 {
		t.Errorf("%v tokens are held", n)
	}
	logOut := func(handle string) {
		if end := b.send(b.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle)); end.status != http.StatusOK {
			t.Fatalf("ending: %d", end.status)
		}
	}
	logOut(doctor)
	for _, w := range []*world{a, c} {
		eventually(t, "two sessions are left", func() bool {
			return w.metric("sfm_sidecar_token_cache_entries") == 4 && w.metric("sfm_sidecar_sessions") == 2
		})
	}
	logOut(locum)
	if code, stdout, stderr := b.operate("", "end", "--all", "--yes"); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, w := range []*world{a, b, c} {
		w.wantForgotten()
	}
	for _, handle := range []string{doctor, again, locum} {
		a.wantEnded(a.call(handle, 0))
	}
	if n := v.PubSubNumSub(t.Context(), v.PubSubChannels(t.Context(), "sfm:told-session:*").Val()...).Val(); len(n) != 1 {
		t.Errorf("%d channels tell of ends, want one", len(n))
	}
}
