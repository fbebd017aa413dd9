package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// A call that waits for its token when the end begins gets it, and its answer.
func TestSIGTERMDuringAFetch(t *testing.T) {
	sim, environ := machineWorld(t)
	p := run(t, environ...)
	sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.Fault = simulator.Fault{Path: "/connect/token", DelayMS: 700} })
	done := make(chan sent, 1)
	go func() { done <- one(machineCall(t, http.MethodGet, p.base, "/basis/echo", "fetching", nil)) }()
	// The first request is answered with a nonce; the second is then under way.
	soon(t, "the fetch under way", func() bool { return len(sim.TokenRequests()) > 0 })
	p.signal(syscall.SIGTERM)
	if s := <-done; s.err != nil || s.status != http.StatusOK {
		t.Errorf("the call: %d %s %v", s.status, s.code, s.err)
	}
	if code := p.end(20 * time.Second); code != 0 {
		t.Errorf("exit code %d: %s", code, p.log)
	}
}

// A log-in that is not finished does not hold up the end: who waits for it is
// answered at once.
func TestSIGTERMDuringALogin(t *testing.T) {
	_, environ := machineWorld(t)
	p := run(t, environ...)
	status, body, err := get(t.Context(), http.MethodPost, "http://"+p.base+"/_sidecar/sessions", nil, oneCall)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("beginning a log-in: %d %v", status, err)
	}
	handle := strings.Split(body, `"`)[3]
	waiting, asked := make(chan string, 1), make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(asked) }})
	go func() {
		status, body, err := get(ctx, http.MethodGet, "http://"+p.base+"/_sidecar/session?wait=60s", http.Header{"Sfm-Session": {handle}}, &http.Client{})
		waiting <- fmt.Sprint(status, " ", body, err)
	}()
	<-asked
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.end(20 * time.Second); code != 0 {
		t.Errorf("exit code %d: %s", code, p.log)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
	if said := <-waiting; !strings.Contains(said, "pending") && !strings.Contains(said, "draining") {
		t.Errorf("who waited got %s", said)
	}
}

// uploadSize is 1 GiB, as large as an upload is promised to be.
const uploadSize = 1 << 30

// An upload of 1 GiB that is under way when the end begins comes to its end.
func TestSIGTERMDuringAnUpload(t *testing.T) {
	if testing.Short() {
		t.Skip("1 GiB takes some seconds")
	}
	sim, environ := machineWorld(t)
	p := run(t, append(environ, "SIDECAR_MAX_SIGTERM_DELAY=2m")...)
	begin := machineCall(t, http.MethodPost, p.base, "/migration/v2/files", "begin", nil)
	begin.Header.Set("Tus-Resumable", "1.0.0")
	begin.Header.Set("Upload-Length", fmt.Sprint(uploadSize))
	res, err := oneCall.Do(begin)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	at := strings.TrimPrefix(res.Header.Get("Location"), "http://"+p.base)
	if res.StatusCode != http.StatusCreated || !strings.HasPrefix(at, "/migration/") {
		t.Fatalf("beginning: %d %s, at %s", res.StatusCode, res.Header.Get("Sidecar-Error"), at)
	}
	body := &halfway{reached: make(chan struct{}), goOn: make(chan struct{})}
	part := machineCall(t, http.MethodPatch, p.base, at, "part", body)
	part.ContentLength = uploadSize
	for name, value := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
		part.Header.Set(name, value)
	}
	done := make(chan sent, 1)
	go func() { done <- one(part) }()
	<-body.reached
	p.signal(syscall.SIGTERM)
	soon(t, "not ready", func() bool { return !p.ready() })
	close(body.goOn)
	if s := <-done; s.err != nil || s.status != http.StatusNoContent {
		t.Errorf("the upload: %d %s %v", s.status, s.code, s.err)
	}
	if code := p.end(time.Minute); code != 0 {
		t.Errorf("exit code %d: %s", code, p.log)
	}
	if ups := sim.SFMUploads(); len(ups) != 1 || ups[0].Offset != uploadSize {
		t.Errorf("SFM has %+v", ups)
	}
}

// halfway is uploadSize of zeros that pause in their middle.
type halfway struct {
	read          int64
	reached, goOn chan struct{}
}

func (h *halfway) Read(p []byte) (int, error) {
	const middle = uploadSize / 2
	if h.read == middle {
		close(h.reached)
		<-h.goOn
	}
	end := int64(uploadSize)
	if h.read < middle {
		end = middle
	}
	n := min(int64(len(p)), end-h.read)
	if h.read += n; n == 0 {
		return 0, io.EOF
	}
	return int(n), nil
}

// one makes a call on a connection of its own.
func one(r *http.Request) sent {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return sent{err: err}
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return sent{status: res.StatusCode, code: res.Header.Get("Sidecar-Error"), err: err}
}

// A port that is taken ends the start, with the variable that names it.
func TestTakenPorts(t *testing.T) {
	_, environ := machineWorld(t)
	p := run(t, environ...)
	for variable, lines := range map[string][]string{
		"SIDECAR_ADMIN_LISTEN": {"SIDECAR_LISTEN=" + free(t), "SIDECAR_ADMIN_LISTEN=" + p.admin},
		"SIDECAR_LISTEN":       {"SIDECAR_LISTEN=" + p.base, "SIDECAR_ADMIN_LISTEN=" + free(t)},
	} {
		command := exec.Command(program(t))
		command.Env = append(append([]string(nil), environ...), lines...)
		said, err := command.CombinedOutput()
		if err == nil || command.ProcessState.ExitCode() != 1 || !strings.Contains(string(said), variable) {
			t.Errorf("%s: %v, %s", variable, err, said)
		}
	}
	if !p.ready() {
		t.Error("the first one suffered from it")
	}
}

// systemd's notifications: ready, alive in between, and at the end stopping with the
// time that it may take.
func TestSystemdNotifications(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	_, environ := machineWorld(t)
	dir, err := os.MkdirTemp("", "n") //nolint:usetesting // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	next := func() string {
		t.Helper()
		buf := make([]byte, 4096)
		_ = manager.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	p := run(t, append(environ, "NOTIFY_SOCKET="+filepath.Join(dir, "n"), "WATCHDOG_USEC=200000")...)
	heard := map[string]int{}
	for heard["READY=1"] < 1 || heard["WATCHDOG=1"] < 3 {
		heard[next()]++
	}
	p.signal(syscall.SIGTERM)
	for said := ""; ; said = next() {
		if said == "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000" {
			break
		}
		if said != "" && said != "WATCHDOG=1" {
			t.Fatalf("it says %q", said)
		}
	}
	if code := p.end(20 * time.Second); code != 0 || heard["READY=1"] != 1 {
		t.Errorf("exit code %d, heard %v", code, heard)
	}
}

// inheriting starts the program with sockets, as systemd does: their names in order,
// and the process's own number in LISTEN_PID.
func inheriting(t *testing.T, environ []string, names string, sockets ...net.Listener) *exec.Cmd {
	t.Helper()
	command := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, program(t))
	command.Env = append(append([]string(nil), environ...), "LISTEN_FDS="+fmt.Sprint(len(sockets)), "LISTEN_FDNAMES="+names)
	for _, l := range sockets {
		file, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		command.ExtraFiles = append(command.ExtraFiles, file)
	}
	return command
}

// Sockets that systemd opened are served, and one that connected before the start is
// answered after it.
func TestSocketActivation(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	_, environ := machineWorld(t)
	app, admin, pages := listenOn(t, "127.0.0.1:0"), listenOn(t, "127.0.0.1:0"), listenOn(t, "127.0.0.1:0")
	p := &process{t: t, log: new(logged), ended: make(chan error, 1), base: app.Addr().String(), admin: admin.Addr().String()}
	early := make(chan sent, 1)
	var began atomic.Bool
	go func() {
		began.Store(true)
		early <- one(machineCall(t, http.MethodGet, p.base, "/basis/echo", "early", nil))
	}()
	soon(t, "the early call", began.Load)
	// What is configured is not opened: the ports do not exist.
	command := inheriting(t, environ, "app:admin:callback", app, admin, pages)
	p.launch(command, append(command.Env, "SIDECAR_LISTEN=127.0.0.1:1", "SIDECAR_ADMIN_LISTEN=127.0.0.1:2"))
	if s := <-early; s.err != nil || s.status != http.StatusOK {
		t.Errorf("the call from before the start: %d %s %v", s.status, s.code, s.err)
	}
	if s := one(machineCall(t, http.MethodGet, pages.Addr().String(), "/basis/echo", "pages", nil)); s.code != "control-unknown" {
		t.Errorf("the pages' socket serves calls: %d %s", s.status, s.code)
	}
	p.signal(syscall.SIGTERM)
	if code := p.end(20 * time.Second); code != 0 {
		t.Errorf("exit code %d: %s", code, p.log)
	}
}

// Of two admin sockets one is for other machines: what is for this machine alone is on
// neither, probes are on both.
func TestSocketActivationOfTwoAdmins(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	_, environ := machineWorld(t)
	app, near, far := listenOn(t, "127.0.0.1:0"), listenOn(t, "127.0.0.1:0"), listenOn(t, "0.0.0.0:0")
	p := &process{t: t, log: new(logged), ended: make(chan error, 1), base: app.Addr().String(), admin: near.Addr().String()}
	command := inheriting(t, environ, "app:admin:admin", app, near, far)
	p.launch(command, append(command.Env, "SIDECAR_LISTEN=127.0.0.1:1", "SIDECAR_ADMIN_LISTEN=127.0.0.1:2", "SIDECAR_ENABLE_QUIT=true"))
	_, port, err := net.SplitHostPort(far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, admin := range []string{p.admin, "127.0.0.1:" + port} {
		for path, want := range map[string]int{"/": 404, "/support": 404, "/quit": 404, "/livez": 200} {
			method := http.MethodGet
			if path == "/quit" {
				method = http.MethodPost
			}
			if status, _, err := get(t.Context(), method, "http://"+admin+path, nil, oneCall); err != nil || status != want {
				t.Errorf("%s of %s: %d %v, want %d", path, admin, status, err, want)
			}
		}
	}
}

func listenOn(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Sockets that the configuration's own rules would not allow are not taken over.
func TestSocketActivationRefuses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	_, environ := machineWorld(t)
	for name, tt := range map[string]struct{ names, address, listen, says string }{
		"an unknown name":  {"sidecar.socket", "127.0.0.1:0", "127.0.0.1:0", "FileDescriptorName="},
		"no name":          {"", "127.0.0.1:0", "127.0.0.1:0", "FileDescriptorName="},
		"another kind":     {"app", "127.0.0.1:0", "unix:" + filepath.Join(os.TempDir(), "never.sock"), "kind"},
		"other machines":   {"app", "0.0.0.0:0", "127.0.0.1:0", "other machines"},
		"others' browsers": {"callback", "0.0.0.0:0", "127.0.0.1:0", "other machines"},
	} {
		command := inheriting(t, append(environ, "SIDECAR_LISTEN="+tt.listen, "SIDECAR_CALLBACK_LISTEN=127.0.0.1:0", "SIDECAR_ADMIN_LISTEN=127.0.0.1:0"), tt.names, listenOn(t, tt.address))
		said, err := command.CombinedOutput()
		if err == nil || command.ProcessState.ExitCode() != 1 || !strings.Contains(string(said), tt.says) {
			t.Errorf("%s: %v, %s", name, err, said)
		}
	}
}
