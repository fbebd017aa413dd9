package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// volley is how many calls are made at the same moment. Each takes four files of
// this process: both ends of its connection to the sidecar and of the sidecar's
// to SFM.
const volley = 1000

// TestLoad does not run beside other tests: it takes the machine for itself, and
// thousands of files.
func TestLoad(t *testing.T) {
	t.Run("one tenant", func(t *testing.T) { loadTest(t, simulator.Tenants()[:1]) })
	t.Run("fifty tenants", func(t *testing.T) { loadTest(t, simulator.Tenants()[:50]) })
}

// loadTest makes all calls of the volley with one session for which no token is
// held yet, spread over the tenants. HelseID grants nothing before the last call
// is on its way, so that all of them meet an empty cache.
//
// SFM takes no proof that is older than six seconds. A machine that needs longer for all
// calls may let one grow old on its way, which says nothing of the sidecar: it tries again.
func loadTest(t *testing.T, tenants []simulator.Tenant) {
	for range 2 {
		if loadOnce(t, tenants, 6*time.Second) {
			return
		}
	}
	loadOnce(t, tenants, time.Hour)
}

// loadOnce says whether the calls were judged, which they are not if they took longer than limit.
func loadOnce(t *testing.T, tenants []simulator.Tenant, limit time.Duration) bool {
	t.Helper()
	g := &gate{opened: make(chan struct{})}
	w := newWorld(t, setup{helseID: g.guard, env: []string{"HELSEID_TIMEOUT=2m"}})
	handle := w.logIn("lege")
	w.sim.ResetTokenRequests()
	g.shut.Store(true)

	begun := time.Now()
	answers := w.fire(handle, tenants, func() { close(g.opened) })
	took := time.Since(begun)
	t.Logf("%d calls for %d tenants in %v, with %d requests to HelseID", volley, len(tenants),
		took.Round(time.Millisecond), len(w.sim.TokenRequests()))
	if took > limit {
		return false
	}

	wrong := 0
	for i, a := range answers {
		if fault := a.fault(i); fault != "" {
			if wrong++; wrong <= 5 {
				t.Errorf("call %d: %s", i, fault)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d answers are wrong", wrong, volley)
	}
	w.checkLedger(tenants)
	w.checkRefreshes(tenants)
	if n := g.most.Load(); n != 1 {
		t.Errorf("up to %d token requests of one person at the same time, want 1", n)
	}
	fetched, joined, hit := w.cache("fetched"), w.cache("joined"), w.cache("hit")
	t.Logf("%v fetched, %v joined a fetch under way, %v came after it", fetched, joined, hit)
	if fetched != float64(len(tenants)) || fetched+joined+hit != volley {
		t.Error("not one fetch for each tenant, shared by all other calls")
	}
	return true
}

func (w *world) cache(result string) float64 {
	return w.metric(fmt.Sprintf("sfm_sidecar_token_cache_total{result=%q}", result))
}

// gate stands in front of HelseID's token endpoint, and counts who is inside or
// waits.
type gate struct {
	shut      atomic.Bool
	opened    chan struct{}
	now, most atomic.Int64
}

func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/connect/token" && g.shut.Load() {
			g.count(g.now.Add(1))
			defer g.now.Add(-1)
			<-g.opened
		}
		next.ServeHTTP(w, r)
	})
}

func (g *gate) count(n int64) {
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); {
		most = g.most.Load()
	}
}

// shot is one call's answer.
type shot struct {
	answer
	err error
}

// callID names a call in its path, body and X-Request-Id.
func callID(i int) string { return fmt.Sprintf("call-%04d", i) }

// fire makes the calls of the volley. sent is called when all are written.
func (w *world) fire(handle string, tenants []simulator.Tenant, sent func()) []shot {
	w.t.Helper()
	w.client.Transport = &http.Transport{MaxIdleConnsPerHost: volley, MaxConnsPerHost: volley}
	shots := make([]shot, volley)
	var all, written sync.WaitGroup
	written.Add(volley)
	start := make(chan struct{})
	for i := range shots {
		id := callID(i)
		r := w.request(http.MethodPost, "/basis/echo/"+id, id, append(headers(handle, tenants[i%len(tenants)]), "X-Request-Id", id)...)
		onWay := sync.OnceFunc(written.Done) // also when it never got so far
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { onWay() }}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
		all.Go(func() {
			<-start
			shots[i].answer, shots[i].err = w.do(r)
			onWay()
		})
	}
	close(start)
	written.Wait()
	sent()
	all.Wait()
	return shots
}

// fault says what is wrong with the answer of call i, "" if nothing is.
func (s *shot) fault(i int) string {
	id := callID(i)
	sum := sha256.Sum256([]byte(id))
	var echo simulator.Echo
	switch {
	case s.err != nil:
		return s.err.Error()
	case s.status != http.StatusOK:
		return fmt.Sprintf("status %d %s", s.status, s.header.Get("Sidecar-Error"))
	case json.Unmarshal(s.body, &echo) != nil:
		return "an answer that is not SFM's"
	case s.header.Get("Sidecar-Request-Id") != id, echo.Path != "/echo/"+id, echo.BodySHA256 != hex.EncodeToString(sum[:]):
		return "another call's answer"
	}
	return ""
}

// checkLedger holds what SFM saw against what was asked for: every call once, with
// a token of the very tenant its sender named, with one token for each tenant, and
// with a proof of its own.
func (w *world) checkLedger(tenants []simulator.Tenant) {
	w.t.Helper()
	calls, proofs, tokens := map[string]int{}, map[string]bool{}, map[simulator.Tenant]string{}
	owners := map[string]simulator.Tenant{}
	for _, op := range w.sim.Ledger() {
		var i int
		if _, err := fmt.Sscanf(op.RequestID, "call-%d", &i); err != nil || !op.Accepted {
			w.t.Fatalf("SFM saw a call that was not made so, or refused it: %s %s", op.Refusal, op.Path)
		}
		if want := tenants[i%len(tenants)]; op.Tenant != want || op.Subject != "sub-7f3b2c90" {
			w.t.Fatalf("SFM saw %+v for a call of %+v", op.Tenant, want)
		}
		if proofs[op.JTIHash] {
			w.t.Fatal("a proof came twice")
		}
		if known := tokens[op.Tenant]; known != "" && known != op.TokenHash {
			w.t.Fatal("one tenant came with two tokens")
		}
		if owner, known := owners[op.TokenHash]; known && owner != op.Tenant {
			w.t.Fatal("one token came for two tenants")
		}
		calls[strings.TrimPrefix(op.Path, "/echo/")]++
		proofs[op.JTIHash], tokens[op.Tenant], owners[op.TokenHash] = true, op.TokenHash, op.Tenant
	}
	for i := range volley {
		if n := calls[callID(i)]; n != 1 {
			w.t.Fatalf("call %d reached SFM %d times", i, n)
		}
	}
	if len(tokens) != len(tenants) {
		w.t.Errorf("%d tenants reached SFM, want %d", len(tokens), len(tenants))
	}
}

// checkRefreshes wants one refresh for each tenant, one after the other.
func (w *world) checkRefreshes(tenants []simulator.Tenant) {
	w.t.Helper()
	asked := map[simulator.Tenant]int{}
	for _, r := range w.refreshes() {
		r.Tenant.Journal = strings.ToLower(r.Tenant.Journal)
		asked[r.Tenant]++
	}
	for _, tenant := range tenants {
		if asked[tenant] != 1 {
			w.t.Errorf("%d refreshes were granted for %+v, want 1", asked[tenant], tenant)
		}
	}
	if len(asked) != len(tenants) || w.sim.MaxConcurrentRefreshes() != 1 || w.sim.Reuses() != 0 {
		w.t.Errorf("%d tenants asked for, want %d; up to %d refreshes at once, want 1; %d reuses, want 0",
			len(asked), len(tenants), w.sim.MaxConcurrentRefreshes(), w.sim.Reuses())
	}
	for _, r := range w.sim.TokenRequests() {
		if r.Outcome != "granted" && r.Error != "use_dpop_nonce" {
			w.t.Errorf("HelseID refused a request: %s", r.Error)
		}
	}
}
