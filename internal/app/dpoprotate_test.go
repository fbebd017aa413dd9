//go:build unix

package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// rotateKey brings a new DPoP key to the fleet, waits until so many replicas have taken it
// up, and gives its thumbprint.
func (w *world) rotateKey(replicas int, args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.run(w.t.(*testing.T), nil, append([]string{"keys", "dpop", "rotate", "-o", "json"}, args...)...)
	var said struct{ Key, Before string }
	if err := json.Unmarshal([]byte(stdout), &said); code != 0 || err != nil || said.Before == "" || stderr != "" {
		w.t.Fatalf("exit code %d, %v: %s", code, err, stderr)
	}
	eventually(w.t, "the key is taken up", func() bool {
		return strings.Count(seen.logged(), fmt.Sprintf("%q:%q,%q:%q", "before", said.Before, "now", said.Key)) == replicas
	})
	return said.Key
}

// provenBy is the thumbprint of the key that SFM's last call was proven with.
func (w *world) provenBy() string {
	w.t.Helper()
	all := w.sim.Seen()
	cnf, _ := all[len(all)-1].TokenClaims["cnf"].(map[string]any)
	return fmt.Sprint(cnf["jkt"])
}

func (w *world) machine(tenant int) *http.Request {
	return w.request(http.MethodGet, "/basis/Task", "",
		append(headers("", simulator.Tenants()[tenant]), "Sfm-Grant", "client-credentials")...)
}

func (w *world) grants() int {
	n := 0
	for _, r := range w.sim.TokenRequests() {
		if r.Outcome == "granted" && r.Endpoint == "token" {
			n++
		}
	}
	return n
}

const bothGrants = "HELSEID_GRANT=user,client-credentials"

// While calls go on at two replicas a key is rotated: none fails, nothing is fetched before
// it is due, and then every token is bound to the new key.
func TestRotateDPoPKey(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.AccessTokenSeconds = 10 // time enough to rotate before the first is due
	a := newWorld(t, setup{env: append(server.env(), bothGrants, "SIDECAR_UNSAFE_NO_CALLER_KEY=true"), sim: simulator.Options{Knobs: &knobs}})
	fleet := []*world{a, a.replica()}
	handle := a.logIn("lege")
	a.wantCode(a.call(handle, 0), "")
	a.wantCode(a.send(a.machine(0)), "")
	fetched, old := a.grants(), a.provenBy()

	var wrong faults
	var all sync.WaitGroup
	var answered atomic.Int64
	end := make(chan struct{})
	calls := []func(*world) *http.Request{
		func(w *world) *http.Request { return w.machine(0) },
		func(w *world) *http.Request {
			return w.request(http.MethodGet, "/basis/Task", "", headers(handle, simulator.Tenants()[0])...)
		},
	}
	for _, w := range fleet {
		for _, call := range calls {
			all.Go(func() {
				for n := 0; ; n++ {
					if got, err := w.do(call(w)); err != nil || got.status != http.StatusOK {
						wrong.add(fmt.Sprintf("call %d: %d %s %v", n, got.status, got.header.Get("Sidecar-Error"), err))
					}
					answered.Add(1)
					select {
					case <-end:
						return
					case <-time.After(5 * time.Millisecond): // the caller's own pace
					}
				}
			})
		}
	}
	current := a.rotateKey(len(fleet))
	before := answered.Load()
	eventually(t, "calls with the key of old", func() bool { return answered.Load() > before+40 })
	for _, s := range a.sim.Seen() {
		if cnf, _ := s.TokenClaims["cnf"].(map[string]any); cnf["jkt"] != old {
			t.Fatal("a token was replaced before it was due")
		}
	}
	if n := a.grants(); n != fetched {
		t.Errorf("%d tokens were fetched because of the rotation", n-fetched)
	}
	eventually(t, "all tokens are bound to the new key", func() bool {
		last := a.sim.Seen()
		for _, s := range last[len(last)-20:] {
			if cnf, _ := s.TokenClaims["cnf"].(map[string]any); cnf["jkt"] != current {
				return false
			}
		}
		return true
	})
	close(end)
	all.Wait()
	wrong.report(t)
	if n := a.grants(); n > fetched+4 {
		t.Errorf("%d tokens were fetched for two that were due", n-fetched)
	}
	if n := a.sim.Reuses(); n != 0 || a.dpopKeys() != 2 {
		t.Errorf("%d refresh tokens were used twice, %d keys", n, a.dpopKeys())
	}
}

// A key that leaked is dropped at once, with the tokens that are bound to it.
func TestRotateDPoPKeyNow(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: append(server.env(), bothGrants, "SIDECAR_UNSAFE_NO_CALLER_KEY=true")})
	fleet := []*world{a, a.replica()}
	handle := a.logIn("lege")
	for _, w := range fleet {
		w.wantCode(w.send(w.machine(0)), "")
		w.wantCode(w.call(handle, 0), "")
	}
	fetched := a.grants()
	current := a.rotateKey(len(fleet), "--now")
	for _, w := range fleet {
		for range 2 {
			w.wantCode(w.send(w.machine(0)), "")
			if w.provenBy() != current {
				t.Error("a machine's call was proven with the key that was dropped")
			}
			w.wantCode(w.call(handle, 0), "")
			if w.provenBy() != current {
				t.Error("a person's call was proven with the key that was dropped")
			}
		}
	}
	if n := a.grants(); n != fetched+2 {
		t.Errorf("%d tokens were fetched for two", n-fetched)
	}
}

// refusedRefreshes is how many refreshes HelseID refused with an error.
func (w *world) refusedRefreshes(with string) int {
	n := 0
	for _, r := range w.sim.TokenRequests() {
		if r.Grant == simulator.GrantRefresh && r.Error == with {
			n++
		}
	}
	return n
}

// Should HelseID bind refresh tokens to the key, log-ins go on with the key they began
// with, for as long as that is kept.
func TestRotateBoundRefreshTokens(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.BindRefreshToken = "invalid_dpop_proof"
	a := newWorld(t, setup{env: server.env(), sim: simulator.Options{Knobs: &knobs}})
	handle, other := a.logIn("lege"), a.logIn("lege")
	a.wantCode(a.call(handle, 0), "")
	old := a.provenBy()
	current := a.rotateKey(1)
	for tenant := range 3 {
		a.wantCode(a.call(handle, tenant), "")
		a.wantCode(a.call(other, tenant), "")
		if a.provenBy() != old {
			t.Error("not proven with the key of the log-in")
		}
	}
	a.wantCode(a.call(a.logIn("lege"), 0), "")
	if a.provenBy() != current {
		t.Error("a new log-in has the old key")
	}
	if refused := a.refusedRefreshes("invalid_dpop_proof"); refused != 2 || a.sim.Reuses() != 0 {
		t.Errorf("%d refreshes were refused, %d refresh tokens used twice", refused, a.sim.Reuses())
	}
	a.rotateKey(1, "--now")
	a.wantEnded(a.call(handle, 0))
}

// A refresh token that HelseID refuses, whatever for, is not sent again with an earlier key.
func TestRotateRefusedRefreshToken(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.BindRefreshToken = "invalid_grant"
	a := newWorld(t, setup{env: server.env(), sim: simulator.Options{Knobs: &knobs}})
	handle := a.logIn("lege")
	a.wantCode(a.call(handle, 0), "")
	a.rotateKey(1)
	a.wantCode(a.call(handle, 0), "") // its token is at hand
	a.wantEnded(a.call(handle, 1))
	a.wantEnded(a.call(handle, 1))
	if refused := a.refusedRefreshes("invalid_grant"); refused != 1 {
		t.Errorf("a refresh token was sent %d times though it was refused", refused)
	}
}

// The end of a session takes along its tokens of all keys, whichever replica fetched them,
// while calls go on.
func TestRotatedTokensEndWithTheirSession(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: server.env()})
	fleet := []*world{a, a.replica()}
	handles := []string{a.logIn("lege"), a.logIn("lege")}
	use := func(tenant int) {
		for _, handle := range handles {
			for _, w := range fleet {
				w.wantCode(w.call(handle, tenant), "")
			}
		}
	}
	use(0)
	a.rotateKey(len(fleet))
	use(1)
	shared := func() int { return strings.Count(server.cli("KEYS", "sfm:token:*"), "sfm:token:") }
	if n := shared(); n != 4 {
		t.Fatalf("%d tokens are shared", n)
	}
	var calls sync.WaitGroup
	for _, w := range fleet {
		for tenant := range 3 { // one of them is fetched meanwhile
			calls.Go(func() {
				_, _ = w.do(w.request(http.MethodGet, "/basis/Task", "", headers(handles[0], simulator.Tenants()[tenant])...))
			})
		}
	}
	a.wantCode(a.send(a.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handles[0])), "")
	calls.Wait()
	if code, _, stderr := a.run(t, nil, "sessions", "end", "--all", "--yes"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	eventually(t, "no token is left", func() bool { return shared() == 0 })
	for _, handle := range handles {
		for _, w := range fleet {
			w.wantEnded(w.call(handle, 0))
			w.wantEnded(w.call(handle, 1))
		}
	}
	if a.sim.Reuses() != 0 {
		t.Errorf("%d refresh tokens were used twice", a.sim.Reuses())
	}
}

// A replica that starts while the store is down uses a key of its own, and takes up the
// fleet's when the store is back.
func TestOwnDPoPKeyHeals(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: append(server.env(), bothGrants, "SIDECAR_UNSAFE_NO_CALLER_KEY=true")})
	a.wantCode(a.send(a.machine(0)), "")
	fleets := a.provenBy()
	server.signal(syscall.SIGSTOP)
	b := a.replica(soonDown)
	b.wantCode(b.send(b.machine(0)), "")
	own := b.provenBy()
	if own == fleets {
		t.Fatal("the replica had the fleet's key while the store was down")
	}
	fetched := a.grants()
	server.signal(syscall.SIGCONT)
	eventually(t, "the fleet's key is taken up", func() bool {
		return strings.Contains(seen.logged(), fmt.Sprintf("%q:%q,%q:%q", "before", own, "now", fleets))
	})
	b.wantCode(b.send(b.machine(0)), "")
	if b.provenBy() != own || b.grants() != fetched {
		t.Error("a good token was replaced")
	}
	a.wantCode(a.send(a.machine(1)), "")
	b.wantCode(b.send(b.machine(1)), "")
	if b.provenBy() != fleets || b.grants() != fetched+1 {
		t.Error("the fleet's token is not shared")
	}
}

// A store that lost its memory gets the key back from whoever has it.
func TestDPoPKeySurvivesTheStore(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: append(server.env(), bothGrants, "SIDECAR_UNSAFE_NO_CALLER_KEY=true")})
	a.wantCode(a.send(a.machine(0)), "")
	key := a.provenBy()
	server.cli("FLUSHALL")
	server.cli("CLIENT", "KILL", "TYPE", "pubsub") // the message of a flush is none
	eventually(t, "the key is back", func() bool { return strings.Contains(server.cli("KEYS", "*dpop*"), "dpop") })
	b := a.replica()
	b.wantCode(b.send(b.machine(1)), "")
	if b.provenBy() != key {
		t.Error("the fleet has another key")
	}
}
