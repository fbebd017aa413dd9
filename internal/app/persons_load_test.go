package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

const (
	manyPersons = 200
	manyTenants = 20
	// again is for how many of the tenants each person calls once more, when all
	// calls are answered: many of those tokens have run out by then.
	again = 2
)

// crowd is made-up persons.
func crowd() []simulator.Person { return simulator.Crowd(manyPersons) }

// TestPersonsAreNeverMixed has 200 persons call for 20 tenants each, all at once,
// with tokens that live 5 seconds: what SFM saw is compared with who sent what.
// It takes the machine for itself, like TestLoad.
func TestPersonsAreNeverMixed(t *testing.T) {
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.AccessTokenSeconds = 5
	persons, tenants := crowd(), simulator.Tenants()[:manyTenants]
	w := newWorld(t, setup{
		sim: simulator.Options{Persons: persons, Knobs: &knobs},
		// Without renewal in the background, which would be most of the work.
		env: []string{"HELSEID_TIMEOUT=5m", "SIDECAR_HELSEID_CONCURRENCY=64", "SIDECAR_REFRESH_BEFORE=0", "LOG_LEVEL=warn"},
	})
	w.client.Timeout = 5 * time.Minute
	w.client.Transport = &http.Transport{MaxIdleConnsPerHost: 400, MaxConnsPerHost: 400}
	begun := time.Now()
	handles := w.logInAll(persons)
	t.Logf("%d log-ins in %v", len(persons), time.Since(begun).Round(time.Millisecond))
	w.sim.ResetTokenRequests()
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.OmitIDToken = true }) // nobody reads those of a refresh

	begun = time.Now()
	var wrong faults
	for round, tenants := range [][]simulator.Tenant{tenants, tenants[:again]} {
		var all sync.WaitGroup
		for p := range persons {
			for n, tenant := range tenants {
				id := crowdID(p, n, round)
				r := w.request(http.MethodPost, "/basis/echo/"+id, id, append(headers(handles[p], tenant), "X-Request-Id", id)...)
				all.Go(func() {
					a, err := w.do(r)
					s := shot{a, err}
					if err != nil || a.status != http.StatusOK || a.header.Get("Sidecar-Request-Id") != id {
						wrong.add(fmt.Sprintf("%s: %d %s %v", id, a.status, a.header.Get("Sidecar-Error"), s.err))
					}
				})
			}
		}
		all.Wait()
		<-time.After(time.Until(begun.Add(6 * time.Second))) // a fast machine lets the first tokens run out
	}
	t.Logf("%d calls in %v, with %d refreshes", manyPersons*(manyTenants+again), time.Since(begun).Round(time.Millisecond), len(w.refreshes()))
	wrong.report(t)
	w.checkPersons(persons, tenants)
}

func crowdID(person, tenant, round int) string {
	return fmt.Sprintf("crowd-%03d-%02d-%d", person, tenant, round)
}

// logInAll logs all persons in, some at a time.
func (w *world) logInAll(persons []simulator.Person) []string {
	w.t.Helper()
	handles := make([]string, len(persons))
	var all sync.WaitGroup
	turn := make(chan struct{}, 16)
	for i, p := range persons {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			handles[i] = w.logIn(p.ID)
		})
	}
	all.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
	return handles
}

// faults are collected from many goroutines.
type faults struct {
	mu  sync.Mutex // guards all
	all []string
}

func (f *faults) add(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, text)
}

func (f *faults) report(t *testing.T) {
	t.Helper()
	for _, text := range f.all[:min(len(f.all), 5)] {
		t.Error(text)
	}
	if len(f.all) > 0 {
		t.Fatalf("%d calls went wrong", len(f.all))
	}
}

// checkPersons holds what SFM saw against who sent what: every call once, by the
// very person and for the very tenant, with that person's own body, and no token
// for two.
func (w *world) checkPersons(persons []simulator.Person, tenants []simulator.Tenant) {
	w.t.Helper()
	type owner struct {
		subject string
		tenant  simulator.Tenant
	}
	owners, calls := map[string]owner{}, map[string]bool{}
	for _, op := range w.sim.Ledger() {
		var p, n, round int
		if !op.Accepted && op.TokenMarginS <= 0 {
			continue // the machine stood still between the sidecar and SFM; the call came again, as its answer shows
		}
		if _, err := fmt.Sscanf(op.RequestID, "crowd-%d-%d-%d", &p, &n, &round); err != nil || !op.Accepted || calls[op.RequestID] {
			w.t.Fatalf("SFM saw a call that was not made so, twice, or refused it: %s %s", op.RequestID, op.Refusal)
		}
		calls[op.RequestID] = true
		sum := sha256.Sum256([]byte(op.RequestID))
		if op.Subject != persons[p].Subject || op.Tenant != tenants[n] || op.BodySHA256 != hex.EncodeToString(sum[:]) {
			w.t.Fatalf("%s: SFM saw another person, tenant or body", op.RequestID)
		}
		who := owner{op.Subject, op.Tenant}
		if known, ok := owners[op.TokenHash]; ok && known != who {
			w.t.Fatalf("%s: a token of two persons or tenants", op.RequestID)
		}
		owners[op.TokenHash] = who
	}
	if want := len(persons) * (len(tenants) + again); len(calls) != want {
		w.t.Errorf("%d calls reached SFM, want %d", len(calls), want)
	}
	if len(owners) <= len(persons)*len(tenants) {
		w.t.Errorf("%d tokens were used: none ran out", len(owners))
	}
	if w.sim.Reuses() != 0 || w.sim.MaxConcurrentRefreshes() != 1 {
		w.t.Errorf("%d refresh tokens were used twice; up to %d refreshes of one log-in at once", w.sim.Reuses(), w.sim.MaxConcurrentRefreshes())
	}
}
