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

// pace calls with a person and as a machine in turn, once at least, each of two sidecars, and
// returns how long the calls of each took.
func pace(lasts time.Duration, worlds [2]*world, handles [2]string) (took [2][]time.Duration) {
	tenant := simulator.Tenants()[0]
	for end := time.Now().Add(lasts); ; {
		for i, w := range worlds {
			for _, h := range [][]string{headers(handles[i], tenant), append(headers("", tenant), "Sfm-Grant", "client-credentials")} {
				begun := time.Now()
				w.wantCode(w.send(w.request(http.MethodGet, "/basis/Task", "", h...)), "")
				took[i] = append(took[i], time.Since(begun))
			}
		}
		if !time.Now().Before(end) {
			return took
		}
		<-time.After(10 * time.Millisecond) // a caller's own pace
	}
}

// longer counts what took longer.
func longer(took []time.Duration, than time.Duration) (n int) {
	for _, d := range took {
		if d > than {
			n++
		}
	}
	return n
}

// Calls that have their token in memory do not notice a store that says nothing, from
// its first moment until long after the connections to it were given up: they take as long
// as those of a sidecar beside it that has no such store, however busy the machine is.
func TestHitsWhileStoreIsStopped(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	env := append(slices.Clone(alsoMachines), "SIDECAR_SESSION_IDLE=10s", "LOG_LEVEL=warn") // its use is written down every second
	w, alone := newWorld(t, setup{env: append(server.env(), append(env, "SIDECAR_STORE_TIMEOUT=1s")...)}), newWorld(t, setup{env: env})
	worlds, handles := [2]*world{w, alone}, [2]string{w.logIn("lege"), alone.logIn("lege")}
	beside := w.replica()
	for range 5 { // the second reads the log-in, and has its changes told
		pace(0, worlds, handles)
	}
	const outages = 3
	for outage := range outages { // a machine that stands still once is not the sidecar's fault
		unknown := beside.logIn("vikar")
		server.signal(syscall.SIGSTOP)
		stopped := pace(500*time.Millisecond, worlds, handles)
		w.wantCode(w.call(unknown, 0), "store-unavailable") // the connection that tells of changes is given up
		for i, took := range pace(1500*time.Millisecond, worlds, handles) {
			stopped[i] = append(stopped[i], took...)
			slices.Sort(stopped[i])
		}
		server.signal(syscall.SIGCONT)
		mine, others := stopped[0], stopped[1]
		median, medianAlone := mine[len(mine)/2], others[len(others)/2]
		waited, waitedAlone := longer(mine, 900*time.Millisecond), longer(others, 900*time.Millisecond)
		t.Logf("%d calls each; median %v, without a store %v; longest %v and %v; %d and %d took as long as a question of the store", len(mine),
			median, medianAlone, mine[len(mine)-1], others[len(others)-1], waited, waitedAlone)
		if median <= 3*medianAlone+50*time.Millisecond && waited <= waitedAlone {
			break
		}
		if outage == outages-1 {
			t.Error("calls wait for a store that they do not need")
		}
		eventually(t, "the store is used again", func() bool {
			return w.metric(prefix+"store_resting") == 0 && w.call(unknown, 0).status == http.StatusOK
		})
	}
	if w.metric(`sfm_sidecar_store_errors_total{operation="get"}`)+w.metric(`sfm_sidecar_store_errors_total{operation="watch"}`) == 0 {
		t.Error("that the store says nothing is not counted")
	}
}
