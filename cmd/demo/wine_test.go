package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// TestWindows runs the Windows build under Wine, with the stand-ins of this machine:
// first in a console, then as the service that it installs itself as.
func TestWindows(t *testing.T) {
	w := newWine(t)
	client, key, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.Start(simulator.Options{Clients: []simulator.Client{client}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	admin := freePort(t)
	e := &epj{base: "http://" + freePort(t), client: http.Client{Timeout: time.Minute}}
	w.write("client.jwk", string(key), 0o600)
	w.write("sidecar.env", strings.Join([]string{
		"# as an editor of Windows writes it", "HELSEID_ISSUER=" + sim.HelseID, "HELSEID_CLIENT_ID=" + clientID,
		`HELSEID_CLIENT_JWK_FILE="` + w.path("client.jwk") + `"`,
		"SFM_UPSTREAMS=basis=" + sim.SFM + ",session=" + sim.SFM,
		"SIDECAR_LISTEN=" + strings.TrimPrefix(e.base, "http://"), "SIDECAR_ADMIN_LISTEN=" + admin,
		"SIDECAR_MAX_SIGTERM_DELAY=5s", "SIDECAR_ENABLE_QUIT=true", "",
	}, "\r\n"), 0o600)

	t.Run("console", func(t *testing.T) {
		w.t = t
		console := w.command("serve")
		var log bytes.Buffer
		console.Stderr = &log
		if err := console.Start(); err != nil {
			t.Fatal(err)
		}
		answers(t, admin)
		show(t, e, sim)
		quit, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+admin+"/quit", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := e.client.Do(quit)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if err := console.Wait(); err != nil {
			t.Errorf("it did not end in order: %v", err)
		}
		judge(t, log.String())
	})

	t.Run("service", func(t *testing.T) {
		w.t = t
		log := filepath.Join(w.folder, "log", "sidecar.log")
		w.run("service", "install", "--env-file", w.path("sidecar.env"), "--log-file", w.path("log/sidecar.log"))
		if out := w.output("reg", "query", `HKLM\System\CurrentControlSet\Services\sfm-sidecar`); !strings.Contains(out, `NT SERVICE\sfm-sidecar`) ||
			!strings.Contains(out, "SIDECAR_ENV_FILE="+w.path("sidecar.env")) || strings.Contains(out, "HELSEID") {
			t.Errorf("the definition is\n%s", out)
		}
		w.run("service", "start")
		answers(t, admin)
		if status := w.run("service", "status"); !strings.Contains(status, "running") {
			t.Errorf("the status is %q", status)
		}
		show(t, e, sim)
		w.run("service", "restart")
		answers(t, admin)
		w.run("service", "stop")
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", admin); err == nil {
			conn.Close()
			t.Error("it still listens after it was stopped")
		}
		w.run("service", "uninstall")
		if out, err := w.command("service", "status").Output(); err == nil || !strings.Contains(string(out), "not installed") {
			t.Errorf("after uninstall the status is %q", out)
		}
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), `"msg":"stopping"`); n != 2 {
			t.Errorf("it ended in order %d times, want 2", n)
		}
		judge(t, string(text))
	})

	t.Run("wide env file", func(t *testing.T) {
		w.t = t
		w.write("sidecar.env", "", 0o644)
		c := w.command("service", "install", "--env-file", w.path("sidecar.env"))
		var complaint bytes.Buffer
		c.Stderr = &complaint
		if err := c.Run(); c.ProcessState.ExitCode() != 2 || !strings.Contains(complaint.String(), "every user of this machine") {
			t.Errorf("a file that everybody reads was taken: %v\n%s", err, complaint.String())
		}
	})
}

// show logs a person in and makes the demo's calls.
func show(t *testing.T, e *epj, sim *simulator.Running) {
	t.Helper()
	var out bytes.Buffer
	r := &report{out: &out}
	if err := e.logIn(t.Context(), r, "lege"); err != nil {
		t.Fatalf("logging in: %v\n%s", err, out.String())
	}
	if err := e.sampleCalls(t.Context(), r, sim); err != nil {
		t.Fatalf("calling: %v\n%s", err, out.String())
	}
	if n := strings.Count(out.String(), "->  200"); n != 6 {
		t.Errorf("%d calls of 6 were answered 200\n%s", n, out.String())
	}
}

// judge looks for what no log may hold.
func judge(t *testing.T, log string) {
	t.Helper()
	if !strings.Contains(log, "stopping") {
		t.Errorf("the log does not tell of the end:\n%s", log)
	}
	if found := regexp.MustCompile(`eyJ|\b[0-9]{11}\b|"d":|code=`).FindString(log); found != "" {
		t.Errorf("the log holds %.3s…", found)
	}
}

// answers waits until the sidecar is ready.
func answers(t *testing.T, admin string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("it does not become ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// wine is a Windows of its own, in a folder of the test.
type wine struct {
	t       *testing.T
	folder  string
	program string
	environ []string
}

// newWine builds the sidecar for Windows and makes a Windows for it. Where there is no
// Wine the test is skipped, unless TEST_WINE=required.
func newWine(t *testing.T) *wine {
	t.Helper()
	if _, err := exec.LookPath("wine"); err != nil || runtime.GOARCH != "amd64" {
		if os.Getenv("TEST_WINE") == "required" {
			t.Fatal("TEST_WINE=required, and there is no wine on this amd64 machine (Debian: wine, wine64)")
		}
		t.Skip("there is no wine: the Windows build is not run (Debian: apt-get install wine wine64; make wine)")
	}
	if testing.Short() {
		t.Skip("Wine takes half a minute")
	}
	w := &wine{t: t, folder: t.TempDir()}
	w.program = filepath.Join(w.folder, "sidecar.exe")
	// As "make cross" builds it, whose work is then found in Go's cache.
	build := exec.CommandContext(t.Context(), "go", "build", "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w", "-o", w.program, "sfm-sidecar/cmd/sidecar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	prefix := filepath.Join(w.folder, "prefix")
	w.environ = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.folder, "WINEPREFIX=" + prefix, "WINEDEBUG=-all",
		"WINEDLLOVERRIDES=mscoree=;mshtml=",         // neither is needed, and Wine would offer to fetch them
		"SIDECAR_ENV_FILE=" + w.path("sidecar.env"), // for the console
	}
	t.Cleanup(func() { // the context of the test has ended
		end := exec.CommandContext(context.WithoutCancel(t.Context()), "wineserver", "-k", "-w")
		end.Env = w.environ
		_ = end.Run()
	})
	w.output("wineboot", "--init")
	// Windows gives a service the variables of its definition. Wine does not, yet gives
	// it those that the machine had when its service manager started.
	w.output("reg", "add", `HKLM\System\CurrentControlSet\Control\Session Manager\Environment`,
		"/v", "SIDECAR_ENV_FILE", "/d", w.path("sidecar.env"))
	// What the installation of Windows started ends with it, its service manager too,
	// and a program that comes meanwhile talks to that one.
	wait := exec.CommandContext(t.Context(), "wineserver", "-w")
	wait.Env = w.environ
	if err := wait.Run(); err != nil {
		t.Fatal(err)
	}
	w.keep()
	library := filepath.Join(prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	if _, err := os.Stat(library); err != nil {
		if err := os.WriteFile(library, primitives(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if version := w.run("version"); !strings.Contains(version, "windows/amd64") {
		t.Fatalf("the version is %q", version)
	}
	return w
}

// keep leaves a program waiting. Without any, Wine's service manager ends, and forgets.
func (w *wine) keep() {
	c := exec.CommandContext(w.t.Context(), "wine", "cmd")
	c.Env, c.Dir = w.environ, w.folder
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
}

// path is a file of the test in the words of Windows: Z: is this machine's root.
func (w *wine) path(name string) string {
	return "Z:" + strings.ReplaceAll(filepath.Join(w.folder, name), "/", `\`)
}

func (w *wine) write(name, text string, mode os.FileMode) {
	w.t.Helper()
	file := filepath.Join(w.folder, name)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wine) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(w.t.Context(), "wine", append([]string{w.program}, args...)...)
	c.Env, c.Dir = w.environ, w.folder
	c.WaitDelay = 10 * time.Second // programs that Wine leaves behind keep the pipes open
	return c
}

// run carries out a command of the sidecar that must succeed, and returns what it printed.
func (w *wine) run(args ...string) string {
	w.t.Helper()
	return output(w.t, w.command(args...))
}

// output runs a program of Wine's.
func (w *wine) output(args ...string) string {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), "wine", args...)
	c.Env, c.WaitDelay = w.environ, 10*time.Second
	return output(w.t, c)
}

func output(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	// Files, not pipes: Wine's own services inherit them and live on.
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	runErr := c.Run()
	_, _ = out.Seek(0, io.SeekStart)
	text, err := io.ReadAll(out)
	if err != nil || runErr != nil {
		t.Fatalf("%v: %v %v\n%s", c.Args[1:], runErr, err, text)
	}
	return string(text)
}
