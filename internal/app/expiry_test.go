package app_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// TestShortLivedTokens lets tokens live three seconds while calls go on.
//
// How often may HelseID be asked? A token's life is what expires_in says, but its
// exp is in whole seconds, cut off, so that of three seconds only more than two are
// sure. The sidecar renews a token in the background when SIDECAR_REFRESH_BEFORE is
// left, at most a fifth of its life, and the jitter of 10 % only ever makes that
// later. So a renewal is sent no sooner than four fifths of two seconds, 1.6 s,
// after the request for the token before it; and within a time t there are at most
// 1 + t/1.6 s requests for each tenant. On the other hand a token that lives three
// seconds can't be used for more: fewer than t/3 s would mean calls with expired
// ones. (The leeway, at most 5 % of a life, is never reached while renewals work.)
//
// With tokens this short the leeway is a tenth of a second, at least 5 % of the 2.1 s
// that are sure. A machine that stands still longer than that between the sidecar's
// look at the token and SFM's can't be told from a sidecar that does not look. So an
// expired token is a fault where the whole call took less than the leeway; where it
// took longer, it only may not happen often.
func TestShortLivedTokens(t *testing.T) {
	t.Parallel()
	const life, soonest = 3 * time.Second, 1600 * time.Millisecond
	long := 30 * time.Second
	if testing.Short() {
		long = 6 * time.Second
	}
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.AccessTokenSeconds = int(life / time.Second)
	w := newWorld(t, setup{sim: simulator.Options{Knobs: &knobs}})
	handle, tenants := w.logIn("lege"), simulator.Tenants()[:3]

	begun := time.Now()
	calls := w.callFor(long, handle, tenants)
	took := time.Since(begun)

	const leeway = 105 * time.Millisecond
	ledger, slow := w.sim.Ledger(), 0
	for _, op := range ledger {
		if op.Accepted && op.TokenMarginS >= 0 {
			continue
		}
		slow++
		if calls[op.RequestID] < leeway {
			t.Errorf("call %d at SFM: %q, token margin %d s; it took %v", op.Number, op.Refusal, op.TokenMarginS, calls[op.RequestID])
		}
	}
	if slow > len(calls)/200 {
		t.Errorf("%d of %d calls came with an expired token after a long way", slow, len(calls))
	}
	if len(ledger) != len(calls)+slow {
		t.Errorf("%d calls were made, %d reached SFM, %d of them too late", len(calls), len(ledger), slow)
	}
	asked := map[simulator.Tenant]int{}
	for _, r := range w.refreshes() {
		asked[r.Tenant]++
	}
	for _, tenant := range tenants {
		n, most, least := asked[tenant], 1+int(took/soonest), int(long/life)
		t.Logf("%d tokens in %v, the policy allows %d to %d", n, took.Round(time.Millisecond), least, most)
		if n > most || n < least {
			t.Errorf("HelseID was asked for %d tokens, want %d to %d", n, least, most)
		}
	}
	t.Logf("%d calls, %v tokens renewed early, %v calls waited for a token",
		len(calls), w.cache("renewed"), w.cache("joined")+w.cache("fetched"))
	if w.sim.Reuses() != 0 || w.sim.MaxConcurrentRefreshes() != 1 {
		t.Errorf("%d reuses, up to %d refreshes at once", w.sim.Reuses(), w.sim.MaxConcurrentRefreshes())
	}
}

// callFor lets eight workers call, each every 20 to 50 ms, and returns how long
// each call took, by its request id. Every one must be answered by SFM.
func (w *world) callFor(d time.Duration, handle string, tenants []simulator.Tenant) map[string]time.Duration {
	w.t.Helper()
	const workers = 8
	end := time.Now().Add(d)
	var group sync.WaitGroup
	var mu sync.Mutex // guards took
	took := map[string]time.Duration{}
	for worker := range workers {
		group.Go(func() {
			timer := time.NewTimer(0)
			defer timer.Stop()
			for i := worker; time.Now().Before(end); i++ {
				<-timer.C
				timer.Reset(time.Duration(20+rand.IntN(31)) * time.Millisecond)
				id := fmt.Sprintf("worker-%d-%d", worker, i)
				r := w.request(http.MethodGet, "/basis/Task", "", append(headers(handle, tenants[i%len(tenants)]), "X-Request-Id", id)...)
				begun := time.Now()
				if a, err := w.do(r); err != nil || a.status != http.StatusOK {
					w.t.Errorf("a call failed: %d %s", a.status, fmt.Sprint(a.header.Get("Sidecar-Error"), err))
				}
				mu.Lock()
				took[id] = time.Since(begun)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return took
}
