//go:build unix

package main

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// needServers ends a test where there is no server to test with.
func needServers(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err == nil {
		return
	}
	if os.Getenv("TEST_REDIS") == "required" {
		t.Fatal("no redis-server (Debian: apt-get install redis-server)")
	}
	t.Skip("no redis-server to test with (Debian: apt-get install redis-server)")
}

// raced are the arguments of go build with which the sidecars look for data races.
func raced() []string {
	if os.Getenv("TEST_RACE") != "" {
		return []string{"-trimpath", "-race"}
	}
	return []string{"-trimpath"}
}

// A sidecar that is killed after it has sent a person's refresh token is found to be
// dead: by its lease and ten seconds later the token may be sent again. One that is only
// stopped meanwhile is not, and stores what it got as soon as it goes on.
func TestDeathInARefresh(t *testing.T) {
	t.Parallel()
	needServers(t)
	all, err := newProcesses(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer all.end()
	r := run{root: "../..", build: raced(), name: "death", sidecars: 3, persons: 2, tenants: 1, life: 5 * time.Second}
	w, err := r.start(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	const killed, stopped, other = 0, 1, 2
	time.Sleep(3 * time.Second) // who looks must have been there before
	w.knobs(t, `{"helseid":{"rotation_off":true,"fault":{"path":"/connect/token","delay_ms":1500}}}`)
	for _, person := range []int{killed, stopped} { // each at the sidecar of that number
		go w.ask(&call{ID: "begun", Sidecar: person, Person: person})
	}
	time.Sleep(700 * time.Millisecond) // while HelseID thinks
	w.sidecars[killed].process.kill()
	if err := w.sidecars[stopped].process.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	w.knobs(t, `{"helseid":{"fault":{"delay_ms":0}}}`)

	answered := time.Duration(0)
	for time.Since(died) < 26*time.Second {
		if answered == 0 && w.status(t, other, killed) == http.StatusOK {
			answered = time.Since(died)
		}
		if got := w.status(t, other, stopped); got != http.StatusServiceUnavailable {
			t.Errorf("status %d for the person of the sidecar that is stopped, after %v", got, time.Since(died))
			break
		}
		time.Sleep(200 * time.Millisecond) // between two calls of an EPJ
	}
	if answered < 10*time.Second || answered > 22*time.Second {
		t.Errorf("after the death of a sidecar its person's calls were answered after %v, want 10 to 22 s", answered)
	}
	t.Logf("answered again %v after the death", answered)
	var requests []tokenRequest
	if err := w.fetch(t.Context(), http.MethodGet, w.issuer+"/_simulator/token-requests", "", &requests); err != nil {
		t.Fatal(err)
	}
	sent := map[int]int{} // by log-in
	for _, request := range requests {
		if request.Grant == "refresh_token" {
			sent[request.Login]++
		}
	}
	if times := slices.Sorted(maps.Values(sent)); len(times) != 2 || times[0] != 1 {
		t.Errorf("refresh tokens of each person were sent %v times, want that of one once", times)
	}

	if err := w.sidecars[stopped].process.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), 10*time.Second, "the other person's calls are answered", func() bool {
		return w.status(t, other, stopped) == http.StatusOK
	}); err != nil {
		t.Error(err)
	}
}

func (w *world) knobs(t *testing.T, knobs string) {
	t.Helper()
	if err := w.fetch(t.Context(), http.MethodPut, w.issuer+"/_simulator/knobs", knobs, nil); err != nil {
		t.Fatal(err)
	}
}

// status is of a call for the only tenant. What else than a good answer may come is a refusal
// for the store's sake.
func (w *world) status(t *testing.T, sidecar, person int) int {
	t.Helper()
	c := call{ID: "asked", Sidecar: sidecar, Person: person}
	w.ask(&c)
	if c.Wrong != "" || c.Status != http.StatusOK && c.Code != unable {
		t.Fatalf("status %d, %s, %s", c.Status, c.Code, c.Wrong)
	}
	return c.Status
}
