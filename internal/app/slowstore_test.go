//go:build unix

package app_test

import (
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// pace calls with a person and as a machine in turn, and returns how long each call took.
func (w *world) pace(lasts time.Duration, handle string) (took []time.Duration) {
	w.t.Helper()
	tenant := simulator.Tenants()[0]
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		for _, h := range [][]string{headers(handle, tenant), append(headers("", tenant), "Sfm-Grant", "client-credentials")} {
			begun := time.Now()
			w.wantCode(w.send(w.request(http.MethodGet, "/basis/Task", "", h...)), "")
			took = append(took, time.Since(begun))
		}
		<-time.After(10 * time.Millisecond) // a caller's own pace
	}
	slices.Sort(took)
	return took
}

// Calls that have their token in memory do not notice a store that says nothing, from
// its first moment until long after the connections to it were given up.
func TestHitsWhileStoreIsStopped(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	w := newWorld(t, setup{env: append(server.env(), "HELSEID_GRANT=user,client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true",
		"SIDECAR_SESSION_IDLE=10s", "LOG_LEVEL=warn")}) // its use is written down every second
	handle, unknown := w.logIn("lege"), w.replica().logIn("vikar")
	w.pace(200*time.Millisecond, handle)
	before := w.pace(500*time.Millisecond, handle)
	server.signal(syscall.SIGSTOP)
	stopped := w.pace(500*time.Millisecond, handle)
	w.wantCode(w.call(unknown, 0), "store-unavailable") // the connection that tells of changes is given up
	stopped = append(stopped, w.pace(1500*time.Millisecond, handle)...)
	slices.Sort(stopped)
	server.signal(syscall.SIGCONT)
	at := func(took []time.Duration, share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	median, p99 := [2]time.Duration{at(before, 0.5), at(stopped, 0.5)}, [2]time.Duration{at(before, 0.99), at(stopped, 0.99)}
	t.Logf("%d and %d calls; median %v and %v (× %.2f), p99 %v and %v (× %.2f), longest %v and %v", len(before), len(stopped),
		median[0], median[1], float64(median[1])/float64(median[0]), p99[0], p99[1], float64(p99[1])/float64(p99[0]), at(before, 1), at(stopped, 1))
	if median[1] > 3*median[0]+5*time.Millisecond || p99[1] > 100*time.Millisecond+3*p99[0] {
		t.Error("calls wait for a store that they do not need")
	}
	if w.metric(`sfm_sidecar_store_errors_total{operation="get"}`)+w.metric(`sfm_sidecar_store_errors_total{operation="watch"}`) == 0 {
		t.Error("that the store says nothing is not counted")
	}
}
