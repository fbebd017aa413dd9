//go:build unix

package app_test

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// TestFleet has persons call at replicas in turn, with tokens that live 5 s, while the
// store is paused for a second and a half: no refresh token comes twice, no token is
// another's, and what fails says store-unavailable.
func TestFleet(t *testing.T) {
	const replicas, people, lasts = 3, 5, 9 * time.Second
	server := startShared(t)
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.AccessTokenSeconds = 5
	persons := crowd()[:people]
	fleet := []*world{newWorld(t, setup{env: append(server.env(), "LOG_LEVEL=warn"), sim: simulator.Options{Persons: persons, Knobs: &knobs}})}
	for len(fleet) < replicas {
		fleet = append(fleet, fleet[0].replica())
	}
	handles := fleet[0].logInAll(persons)
	var wrong faults
	var all sync.WaitGroup
	var mu sync.Mutex // guards codes
	codes := map[string]int{}
	end := time.Now().Add(lasts)
	for p := range persons {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				w := fleet[n%replicas]
				id := fmt.Sprintf("fleet-%d-%d", p, n)
				a, err := w.do(w.request(http.MethodGet, "/basis/Task", "", append(headers(handles[p], simulator.Tenants()[n%2]), "X-Request-Id", id)...))
				code := a.header.Get("Sidecar-Error")
				if err != nil || code != "" && code != "store-unavailable" || code == "" && a.status != http.StatusOK {
					wrong.add(fmt.Sprintf("%s: %d %s %v", id, a.status, code, err))
				}
				mu.Lock()
				codes[code]++
				mu.Unlock()
				<-time.After(10 * time.Millisecond) // the person's own pace
			}
		})
	}
	<-time.After(lasts / 3)
	server.signal(syscall.SIGSTOP)
	<-time.After(1500 * time.Millisecond)
	server.signal(syscall.SIGCONT)
	all.Wait()
	wrong.report(t)
	refreshes := len(fleet[0].refreshes())
	t.Logf("answers %v, %d refreshes of %d pairs in %v", codes, refreshes, people*2, lasts)
	if n := fleet[0].sim.Reuses(); n != 0 || fleet[0].sim.MaxConcurrentRefreshes() != 1 {
		t.Errorf("%d refresh tokens were used twice; up to %d refreshes of one log-in at once", n, fleet[0].sim.MaxConcurrentRefreshes())
	}
	for _, op := range fleet[0].sim.Ledger() {
		var p, n int
		if _, err := fmt.Sscanf(op.RequestID, "fleet-%d-%d", &p, &n); err != nil || op.Accepted && (op.Subject != persons[p].Subject || op.Tenant != simulator.Tenants()[n%2]) {
			t.Fatalf("%s: SFM saw another person or tenant", op.RequestID)
		}
	}
}
