//go:build unix

package app_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// A store that takes no writes (its memory is used up, or it is a replica) refuses
// log-ins and refreshes, and nothing else: who has a token goes on, machines ask for
// themselves, and the refresh token that HelseID gave just before is not lost. A log-out
// is refused, too, but the log-in is revoked.
func TestStoreTakesNothing(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		begin, end, says string
		atRotation       bool // it begins between HelseID's answer and the write of it
	}{
		"full":      {"CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "maxmemory-policy noeviction", true},
		"read only": {"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "give the address of the primary", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			server := startShared(t)
			begin := func() { server.cli(strings.Fields(tt.begin)...) }
			end := func() { server.cli(strings.Fields(tt.end)...) }
			var atRotation atomic.Bool
			a := newWorld(t, setup{
				env: append(server.env(), "HELSEID_GRANT=user,client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true"),
				helseID: func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if strings.HasSuffix(r.URL.Path, "/connect/token") && atRotation.Load() {
							begin()
						}
						next.ServeHTTP(w, r)
					})
				},
			})
			b, doctor := a.replica(), simulator.Persons()[0]
			handle, leaving := a.logIn(doctor.ID), a.logIn(doctor.ID)
			a.wantRight(handle, doctor, 0)
			_, link := a.begin("{}")
			browser := a.newBrowser()
			back := browser.toCallback(link, "vikar")

			atRotation.Store(tt.atRotation)
			if !tt.atRotation {
				begin()
			}
			a.wantCode(a.call(handle, 1), "store-unavailable")
			atRotation.Store(false)
			for _, w := range []*world{a, b} {
				w.wantCode(w.call(handle, 2), "store-unavailable")
				w.wantCode(w.send(w.request(http.MethodPost, "/_sidecar/sessions", "{}")), "store-unavailable")
				machine := w.send(w.request(http.MethodGet, "/basis/Task", "",
					append(headers("", simulator.Tenants()[0]), "Sfm-Grant", "client-credentials")...))
				w.wantCode(machine, "")
			}
			a.wantRight(handle, doctor, 0)
			a.wantCode(browser.open(back), "store-unavailable")
			a.wantCode(a.send(a.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", leaving)), "store-unavailable")
			eventually(t, "the log-in is revoked all the same", func() bool {
				return slices.ContainsFunc(a.sim.TokenRequests(), func(r simulator.TokenRequest) bool { return r.Endpoint == "revocation" })
			})
			a.wantLogged(tt.says, "tokens can't be shared; each replica gets its own")
			if a.metric(`sfm_sidecar_store_errors_total{operation="put-if"}`) == 0 || a.metric(`sfm_sidecar_store_errors_total{operation="lock"}`) == 0 {
				t.Error("the errors are not counted")
			}
			if status := a.probe("/readyz"); status != http.StatusOK {
				t.Errorf("ready: %d", status)
			}

			end()
			for _, w := range []*world{b, a} {
				eventually(t, "the successor is stored", func() bool { return w.call(handle, 2).status == http.StatusOK })
				w.wantRight(handle, doctor, 3)
			}
			a.wantCode(a.call(leaving, 0), "session-expired")
			if page := browser.open(back); page.status != http.StatusOK {
				t.Errorf("the same callback: %d %s", page.status, page.header.Get("Sidecar-Error"))
			}
			if n := a.sim.Reuses(); n != 0 {
				t.Errorf("%d refresh tokens were used twice", n)
			}
		})
	}
}
