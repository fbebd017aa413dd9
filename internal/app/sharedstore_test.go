//go:build unix

package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// sharedServer is a Redis of the test's own, which ends with it.
type sharedServer struct {
	t       testing.TB
	socket  string
	process *exec.Cmd
	// databases are those that tests have for themselves.
	databases atomic.Int64
}

// startShared starts a server. Without one to be had the test is left out;
// TEST_REDIS=required makes that a failure.
func startShared(t testing.TB) *sharedServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("TEST_REDIS") == "required" {
			t.Fatal("no redis-server (Debian: apt-get install redis-server)")
		}
		t.Skip("no redis-server to test with (Debian: apt-get install redis-server)")
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &sharedServer{t: t, socket: filepath.Join(dir, "s")}
	s.process = exec.Command("redis-server", "--port", "0", "--unixsocket", s.socket, "--save", "", "--dir", dir)
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.process.Process.Kill(); _ = s.process.Wait() })
	eventually(t, "the server answers", func() bool { return strings.HasPrefix(s.cli("PING"), "PONG") })
	return s
}

func (s *sharedServer) cli(args ...string) string {
	out, _ := exec.Command("redis-cli", append([]string{"-s", s.socket}, args...)...).CombinedOutput()
	return string(out)
}

// wantSealed looks for what must not stand in the store in clear.
func (s *sharedServer) wantSealed(secrets ...string) {
	s.t.Helper()
	names := strings.Fields(s.cli("--scan"))
	all := strings.Join(names, " ")
	for _, name := range names {
		all += s.cli("GET", name)
	}
	if len(names) < 5 || len(all) < 2000 {
		s.t.Errorf("%d entries, %d bytes", len(names), len(all))
	}
	for i, secret := range secrets {
		if strings.Contains(all, secret) {
			s.t.Errorf("secret %d stands in the store in clear", i)
		}
	}
}

func (s *sharedServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// env is what lets a sidecar share the server. A machine that stands still is no store
// that is down.
func (s *sharedServer) env() []string {
	key := base64.StdEncoding.EncodeToString([]byte("the test's own key, of 32 bytes!"))
	return []string{"SIDECAR_STORE=unix://" + s.socket, "SIDECAR_STORE_KEY=" + key, "SIDECAR_STORE_TIMEOUT=5s"}
}

// soonDown is for sidecars whose server will be silent: it is down for them before long.
const soonDown = "SIDECAR_STORE_TIMEOUT=500ms"

// replica is another sidecar beside the same stand-ins.
func (w *world) replica(env ...string) *world {
	w.t.Helper()
	other := *w
	other.start(append(w.env, env...))
	return &other
}

// Any replica knows a log-in that another has, as long as it lives.
func TestReplicasShareLogIns(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: server.env()})
	b := a.replica()

	handle, link := a.begin("{}")
	waited := make(chan string, 1)
	go func() {
		state, _ := b.state(handle, "?wait=50s")
		waited <- state
	}()
	browser := a.newBrowser()
	back := browser.toCallback(link, "lege")
	// The callback reaches the other replica, and counts once among them.
	elsewhere := strings.Replace(back, a.callbackPort(), b.callbackPort(), 1)
	if page := browser.open(elsewhere); page.status != http.StatusOK {
		t.Fatalf("the callback at another replica: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	a.wantCode(browser.open(back), "login-failed")
	if state := <-waited; state != "active" {
		t.Errorf("who waited at another replica was told %s", state)
	}

	for tenant := range 3 {
		a.wantCode(a.call(handle, tenant), "")
		b.wantCode(b.call(handle, tenant), "")
	}
	if n := a.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
	if n, shared := len(a.refreshes()), b.cache("shared"); n != 3 || shared != 3 {
		t.Errorf("%d refreshes for three tenants at two replicas, %v tokens taken from the other", n, shared)
	}
	if n := a.dpopKeys(); n != 1 {
		t.Errorf("%d DPoP keys in a fleet", n)
	}
	for _, op := range a.sim.Ledger() {
		if !op.Accepted || op.Subject != "sub-7f3b2c90" {
			t.Errorf("SFM saw %s: %s", op.Subject, op.Refusal)
		}
	}
	server.wantSealed(handle, "eyJ", "13827015061", "sub-7f3b2c90", simulator.Tenants()[0].Parent, simulator.Tenants()[0].Journal, "refresh_token")
	if end := b.send(b.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle)); end.status != http.StatusOK {
		t.Fatalf("ending: %d", end.status)
	}
	eventually(t, "the other replica knows", func() bool {
		return a.call(handle, 0).header.Get("Sidecar-Error") == "session-expired"
	})
	a.wantEnded(a.call(handle, 1))
}

func (w *world) callbackPort() string { return w.base[strings.LastIndex(w.base, ":"):] }

// A replica that was given another key is refused at its start.
func TestReplicaWithAnotherKey(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: server.env()})
	a.wantCode(a.call(a.logIn("lege"), 0), "")
	var stderr bytes.Buffer
	env := append(a.env, "SIDECAR_STORE_KEY="+base64.StdEncoding.EncodeToString([]byte("another key of 32 bytes, for you")))
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second) // one that is let in would serve for ever
	defer stop()
	code := app.Run(ctx, app.Options{Stderr: &stderr, Environ: env})
	if said := stderr.String(); code != 2 || !strings.Contains(said, "SIDECAR_STORE_KEY: ") || strings.Contains(said, "panic") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// However many replicas need a token at once, HelseID is asked for it once.
func TestReplicasFetchOnce(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	fleet := []*world{newWorld(t, setup{env: append(server.env(),
		"HELSEID_GRANT=client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true")})}
	for range 3 {
		fleet = append(fleet, fleet[0].replica())
	}
	var all sync.WaitGroup
	for _, w := range fleet {
		for tenant := range 5 {
			for range 4 {
				r := w.request(http.MethodGet, "/basis/Task", "", headers("", simulator.Tenants()[tenant])...)
				all.Go(func() {
					if a, err := w.do(r); err != nil || a.status != http.StatusOK {
						t.Errorf("%v: %d %s", err, a.status, a.header.Get("Sidecar-Error"))
					}
				})
			}
		}
	}
	all.Wait()
	granted := 0
	for _, r := range fleet[0].sim.TokenRequests() {
		if r.Outcome == "granted" {
			granted++
		}
	}
	if keys := fleet[0].dpopKeys(); granted != 5 || keys != 1 {
		t.Errorf("%d tokens were fetched for 5 tenants, with %d DPoP keys", granted, keys)
	}
	names := server.cli("KEYS", "*")
	for _, tenant := range simulator.Tenants()[:5] {
		if strings.Contains(names, tenant.Parent) || strings.Contains(names, tenant.Journal) {
			t.Error("a tenant stands in the store in clear")
		}
	}
}

// While the store is down, machines ask for themselves, who has a token goes on, and
// what needs a refresh waits, without a refresh token being sent twice.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	const timeout = time.Second
	a := newWorld(t, setup{env: append(server.env(), "SIDECAR_STORE_TIMEOUT="+timeout.String(),
		"HELSEID_GRANT=user,client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true")})
	b := a.replica()
	handle := a.logIn("lege")
	machine := func(w *world, tenant int) answer {
		return w.send(w.request(http.MethodGet, "/basis/Task", "",
			append(headers("", simulator.Tenants()[tenant]), "Sfm-Grant", "client-credentials")...))
	}
	for _, w := range []*world{a, a, b, b} { // the second call is told of changes
		w.wantCode(w.call(handle, 0), "")
		w.wantCode(machine(w, 0), "")
	}
	server.signal(syscall.SIGSTOP)
	for _, w := range []*world{a, b} {
		begun := time.Now()
		w.wantCode(w.call(handle, 0), "")
		w.wantCode(machine(w, 0), "")
		if took := time.Since(begun); took > timeout*4/5 {
			t.Errorf("tokens in memory took %v", took)
		}
		w.wantCode(machine(w, 1), "")
		refused := w.call(handle, 1)
		w.wantCode(refused, "store-unavailable")
		if p := problemOf(t, refused); !p.Retryable {
			t.Error("it may be tried again")
		}
	}
	server.signal(syscall.SIGCONT)
	for _, w := range []*world{a, b} {
		eventually(t, "the store is used again", func() bool { return w.call(handle, 1).status == http.StatusOK })
		w.wantCode(w.call(handle, 2), "")
	}
	if n := a.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}
