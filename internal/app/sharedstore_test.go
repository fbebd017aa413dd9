//go:build unix

package app_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sfm-sidecar/internal/app"
)

// sharedServer is a Redis of the test's own, which ends with it.
type sharedServer struct {
	t       testing.TB
	socket  string
	process *exec.Cmd
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

func (s *sharedServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// env is what lets a sidecar share the server.
func (s *sharedServer) env() []string {
	key := base64.StdEncoding.EncodeToString([]byte("the test's own key, of 32 bytes!"))
	return []string{"SIDECAR_STORE=unix://" + s.socket, "SIDECAR_STORE_KEY=" + key, "SIDECAR_STORE_TIMEOUT=250ms"}
}

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
	for _, op := range a.sim.Ledger() {
		if !op.Accepted || op.Subject != "sub-7f3b2c90" {
			t.Errorf("SFM saw %s: %s", op.Subject, op.Refusal)
		}
	}
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
	code := app.Run(t.Context(), app.Options{Stderr: &stderr, Environ: env})
	if said := stderr.String(); code != 2 || !strings.Contains(said, "SIDECAR_STORE_KEY: ") || strings.Contains(said, "panic") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

