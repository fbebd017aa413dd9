package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/simulator"
)

// socketPath is a name short enough for a socket on every system.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s") //nolint:usetesting // t.TempDir's names are too long for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "sidecar.sock")
}

// socketWorld is one whose EPJ calls over a Unix socket.
func socketWorld(t *testing.T, path string) *world {
	t.Helper()
	w := newWorld(t, setup{env: []string{"SIDECAR_LISTEN=unix:" + path, "SIDECAR_CALLBACK_LISTEN=127.0.0.1:0"}})
	w.base = "http://sidecar"
	w.client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		if address == "sidecar:80" {
			network, address = "unix", path
		}
		return d.DialContext(ctx, network, address)
	}}
	return w
}

// Over a socket everything works but the browser's pages, which have a port of
// their own and nothing else there.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	w := socketWorld(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info.Mode(), err)
	}
	if w.sidecar.Addr() != path {
		t.Errorf("the address is %s", w.sidecar.Addr())
	}
	handle, link := w.begin("{}")
	if page := w.browse(link, "lege"); page.status != http.StatusOK {
		t.Fatalf("the log-in: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	w.wantCode(w.call(handle, 0), "")
	w.wantCode(w.call(handle, 1), "")

	pages, err := url.Parse(link)
	if err != nil {
		t.Fatal("the log-in link can't be read")
	}
	pages.Path = ""
	for _, other := range []*http.Request{
		w.request(http.MethodGet, "/basis/Task", "", headers(handle, simulator.Tenants()[0])...),
		w.request(http.MethodGet, "/_sidecar/session", "", "Sfm-Session", handle),
		w.request(http.MethodPost, "/_sidecar/sessions", "{}"),
		w.request(http.MethodPost, "/_sidecar/callback", ""),
	} {
		other.URL.Host, other.Host = pages.Host, pages.Host
		if a := w.send(other); a.header.Get("Sidecar-Error") != "control-unknown" {
			t.Errorf("the pages' port answers %s %s: %d %s", other.Method, other.URL.Path, a.status, a.header.Get("Sidecar-Error"))
		}
	}
	w.stop()
	if err := w.sidecar.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A socket that a crash left behind is replaced; one that somebody answers on is
// not, nor anything that is no socket.
func TestLeftoverSocket(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false)
	if err := crashed.Close(); err != nil {
		t.Fatal(err)
	}
	w := socketWorld(t, path)
	w.wantCode(w.call(w.logIn("lege"), 0), "")

	err = w.second("SIDECAR_LISTEN=unix:"+path, "SIDECAR_CALLBACK_LISTEN=127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a second sidecar on the same socket: %v", err)
	}
	w.wantCode(w.call(w.logIn("lege"), 0), "")

	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = w.second("SIDECAR_LISTEN=unix:"+file, "SIDECAR_CALLBACK_LISTEN=127.0.0.1:0")
	if content, readErr := os.ReadFile(file); err == nil || readErr != nil || string(content) != "kept" {
		t.Errorf("a file in the socket's place: %v, and it holds %q", err, content)
	}
}

// second tries to start another sidecar for the same stand-ins.
func (w *world) second(env ...string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s, err := app.Start(ctx, app.Options{Stderr: seen.log(), Environ: append([]string{
		"HELSEID_ISSUER=" + w.sim.HelseID, "HELSEID_CLIENT_ID=" + clientID, "HELSEID_CLIENT_JWK=" + string(w.key),
		"SFM_UPSTREAMS=basis=" + w.sim.SFM, "SIDECAR_LISTEN=127.0.0.1:0", "SIDECAR_ADMIN_LISTEN=127.0.0.1:0",
	}, env...)})
	if err != nil {
		return err
	}
	stop()
	return s.Wait()
}

func TestListensOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	for line, variable := range map[string]string{
		"SIDECAR_LISTEN=0.0.0.0:0":            "SIDECAR_LISTEN",
		"SIDECAR_LISTEN=[::]:0":               "SIDECAR_LISTEN",
		"SIDECAR_LISTEN=:0":                   "SIDECAR_LISTEN",
		"SIDECAR_LISTEN=192.0.2.1:8080":       "SIDECAR_LISTEN",
		"SIDECAR_LISTEN=epj.example:8080":     "SIDECAR_LISTEN",
		"SIDECAR_CALLBACK_LISTEN=0.0.0.0:0":   "SIDECAR_CALLBACK_LISTEN",
		"SIDECAR_LISTEN=unix:/nowhere/s.sock": "SIDECAR_CALLBACK_LISTEN", // no browser reaches a socket
	} {
		faults, ok := errors.AsType[config.Faults](w.second(line))
		if !ok || len(faults) != 1 || faults[0].Variable != variable || faults[0].Mend == "" {
			t.Errorf("%s: %v", line, faults)
		}
	}
	taken := w.sidecar.Addr()
	if err := w.second("SIDECAR_LISTEN=" + taken); err == nil || !strings.Contains(err.Error(), "SIDECAR_LISTEN") {
		t.Errorf("an address that is taken: %v", err)
	}
	if err := w.second("SIDECAR_LISTEN=localhost:0", "SIDECAR_ADMIN_LISTEN=0.0.0.0:0"); err != nil {
		t.Errorf("probes for other machines: %v", err)
	}
}

// A browser may take localhost for either loopback address.
func TestBothLoopbackAddresses(t *testing.T) {
	t.Parallel()
	hosts := []string{"127.0.0.1"}
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		probe.Close()
		hosts = append(hosts, "::1")
	}
	t.Logf("this machine has %v", hosts)
	for _, listen := range [][]string{
		{"SIDECAR_LISTEN=127.0.0.1:0"}, {"SIDECAR_LISTEN=127.0.0.1:0", "SIDECAR_CALLBACK_LISTEN=127.0.0.1:0"}, {"SIDECAR_LISTEN=localhost:0"},
	} {
		w := newWorld(t, setup{env: listen})
		_, link := w.begin("{}")
		pages, err := url.Parse(link)
		if err != nil || pages.Hostname() != "localhost" {
			t.Fatalf("the log-in link is not one of localhost")
		}
		port := pages.Port()
		for _, host := range hosts {
			pages.Host = net.JoinHostPort(host, port)
			if page := w.newBrowser().open(strings.Replace(link, "localhost:"+port, pages.Host, 1)); page.status != http.StatusFound && host == hosts[0] ||
				page.status != http.StatusFound && page.header.Get("Sidecar-Error") != "login-failed" { // the first browser has it
				t.Errorf("%v on %s: %d %s", listen, host, page.status, page.header.Get("Sidecar-Error"))
			}
		}
	}
}

// slowly makes a call that SFM takes its time for, and returns when it is there.
func (w *world) slowly(handle string, delay time.Duration) <-chan error {
	w.t.Helper()
	w.sim.SetKnobs(func(k *simulator.Knobs) {
		k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultDelay, When: simulator.BeforeWork, Count: 1, DelayMS: int(delay.Milliseconds())}}
	})
	ended := make(chan error, 1)
	r := w.request(http.MethodGet, "/basis/echo", "", append(headers(handle, simulator.Tenants()[0]), "X-Request-Id", "slow")...)
	go func() {
		a, err := w.do(r)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.header.Get("Sidecar-Error"))
		}
		ended <- err
	}()
	eventually(w.t, "the slow call at SFM", func() bool {
		ops := w.operations("slow")
		return len(ops) == 1 && ops[0].Fault != ""
	})
	return ended
}

// What a service manager's SIGTERM leads to: not ready at once, new calls still
// served for the minimum delay, then refused, while open ones finish; then an end
// without fault.
func TestEndInOrder(t *testing.T) {
	t.Parallel()
	const minimum, slow = 400 * time.Millisecond, 2 * time.Second
	w := newWorld(t, setup{env: []string{"SIDECAR_MIN_SIGTERM_DELAY=" + minimum.String()}})
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	early, err := net.Dial("tcp", w.sidecar.Addr()) // open before the end, and not used yet
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	open := w.slowly(handle, slow)

	begun := time.Now()
	w.stop()
	eventually(t, "not ready", func() bool { return w.probe("/readyz") == http.StatusServiceUnavailable })
	if got := w.probe("/livez"); got != http.StatusOK {
		t.Errorf("alive: %d", got)
	}
	if a := w.call(handle, 0); a.status != http.StatusOK && time.Since(begun) < minimum {
		t.Errorf("a new call within the minimum delay: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	var refused answer
	eventually(t, "the refusal of new calls", func() bool {
		refused = w.call(handle, 0)
		return refused.status != http.StatusOK
	})
	if after := time.Since(begun); after < minimum {
		t.Errorf("new calls were refused after %v", after)
	}
	onOpen := w.over(early, w.request(http.MethodGet, "/basis/Task", "", headers(handle, simulator.Tenants()[0])...))
	for _, a := range []answer{refused, onOpen} {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Sidecar-Error") != "draining" || !problemOf(t, a).Retryable {
			t.Errorf("a call after the minimum delay: %d %s", a.status, a.header.Get("Sidecar-Error"))
		}
	}
	select {
	case err := <-open:
		t.Fatalf("the open call ended too early for this test: %v", err)
	default:
	}
	if err := <-open; err != nil {
		t.Errorf("the open call: %v", err)
	}
	if err := w.sidecar.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if took := time.Since(begun); took > 8*time.Second { // and not the maximum delay of 10 s
		t.Errorf("the end took %v", took)
	}
	if conn, err := net.Dial("tcp", w.sidecar.Addr()); err == nil {
		conn.Close()
		t.Error("somebody still listens")
	}
}

// over makes a call on a connection.
func (w *world) over(conn net.Conn, r *http.Request) answer {
	w.t.Helper()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if err := r.Write(conn); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// What is not done by the maximum delay is cut off, and the end is no fault.
func TestEndCutsOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SIDECAR_MAX_SIGTERM_DELAY=1s"}})
	open := w.slowly(w.logIn("lege"), time.Minute)
	begun := time.Now()
	w.stop()
	if err := <-open; err == nil {
		t.Error("a call of a minute came to its end")
	}
	if err := w.sidecar.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if took := time.Since(begun); took < time.Second || took > 20*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// Where the operating system's users are told apart, the browser of an allowed
// one reaches the pages on their own port, and another's does not. (Written like
// SIDECAR_LISTEN, the callback's address would mean the same listener.)
func TestPagesForAllowedUsers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("users are told apart on Linux only")
	}
	for name, tt := range map[string]struct {
		uid    int
		status int
	}{"allowed": {os.Getuid(), http.StatusOK}, "another": {os.Getuid() + 12345, http.StatusForbidden}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{env: []string{
				fmt.Sprintf("SIDECAR_ALLOWED_UIDS=%d,%d", tt.uid, 54321), "SIDECAR_CALLBACK_LISTEN=localhost:0",
			}})
			if tt.status == http.StatusOK {
				w.logIn("lege")
				return
			}
			a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", "{}"))
			if a.status != tt.status || a.header.Get("Sidecar-Error") != "caller-refused" {
				t.Errorf("%d %s", a.status, a.header.Get("Sidecar-Error"))
			}
		})
	}
}

// Every listener's gate stands before all but probes and metrics; what a listener
// does not serve is refused in the one form.
func TestOtherListenersHaveTheGateToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SIDECAR_CALLBACK_LISTEN=localhost:0"}})
	_, link := w.begin("{}")
	pages, err := url.Parse(link)
	if err != nil {
		t.Fatal("the log-in link is no address")
	}
	for base, open := range map[string]string{"http://" + w.sidecar.AdminAddr(): "/livez", "http://" + pages.Host: ""} {
		for host, want := range map[string]string{"localhost": "control-unknown", "evil.example": "host-refused"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/quit", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			a := w.send(r)
			if p := problemOf(t, a); p.Type != "urn:sfm-sidecar:problem:"+want {
				t.Errorf("%s: %s, want %s", host, p.Type, want)
			}
			if r.URL.Path = open; open == "" {
				continue
			}
			if a := w.send(r); a.status != http.StatusOK {
				t.Errorf("a probe as %s: %d", host, a.status)
			}
		}
	}
}
