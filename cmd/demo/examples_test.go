package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/simulator"
)

const (
	examplesDir = "../../examples"
	callerKey   = "synthetic-caller-key-0123456789abcdef"
)

// TestExamples runs each example program against the sidecar and the stand-ins. On
// its way HelseID is down once, the session ends once, and SFM's answer to a
// prescription is lost.
func TestExamples(t *testing.T) {
	for _, example := range []struct {
		name  string
		needs []string
		build func(*testing.T) []string // returns the command
	}{
		{"curl", []string{"sh", "curl", "jq", "openssl"}, func(t *testing.T) []string {
			return []string{"sh", absolute(t, "curl/epj.sh")}
		}},
		{"java", []string{"javac", "java"}, func(t *testing.T) []string {
			classes := t.TempDir()
			do(t, "", "javac", "-Xlint:all", "-Werror", "-encoding", "UTF-8", "-d", classes, absolute(t, "java/Epj.java"))
			return []string{"java", "-cp", classes, "Epj"}
		}},
		{"typescript", []string{"node", "npm"}, func(t *testing.T) []string {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(absolute(t, "typescript"))); err != nil {
				t.Fatal(err)
			}
			install(t, dir)
			do(t, dir, "npm", "run", "build", "--silent")
			return []string{"node", filepath.Join(dir, "build/epj.js")}
		}},
		{"csharp", []string{"dotnet"}, func(t *testing.T) []string {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(absolute(t, "csharp"))); err != nil {
				t.Fatal(err)
			}
			do(t, dir, "dotnet", "build", "--nologo", "-o", filepath.Join(dir, "out"))
			return []string{"dotnet", filepath.Join(dir, "out/epj.dll")}
		}},
	} {
		t.Run(example.name, func(t *testing.T) {
			for _, tool := range example.needs {
				if _, err := exec.LookPath(tool); err != nil {
					missing(t, example.name != "csharp", tool+" is not installed")
				}
			}
			t.Parallel()
			runExample(t, example.build(t))
		})
	}
}

// TestExampleOverSocket runs the curl example against a sidecar that no program can
// reach but by its socket.
func TestExampleOverSocket(t *testing.T) {
	for _, tool := range []string{"sh", "curl", "jq", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, true, tool+" is not installed")
		}
	}
	dir, err := os.MkdirTemp("", "epj") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	w := beginExample(t, "SIDECAR_LISTEN=unix:"+socket, "SIDECAR_CALLBACK_LISTEN=127.0.0.1:0")
	asked := func() { time.Sleep(time.Second) } // a person takes a moment; the example asks for the state meanwhile
	out := w.run(t, asked, []string{"sh", absolute(t, "curl/epj.sh")}, "EPJ_SOCKET="+socket, "EPJ_SIDECAR=http://localhost")
	for _, want := range []string{"logged in: Kari Syntetisk Lege", "tasks: 2", "sent: read each resultCode", "log out: http"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

// missing skips the test, or fails it where TEST_EXAMPLES=required says that the
// tools must be there.
func missing(t *testing.T, must bool, why string) {
	t.Helper()
	if must && os.Getenv("TEST_EXAMPLES") == "required" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// install fetches TypeScript, as the lock file pins it.
func install(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, true, "npm could not install TypeScript: "+err.Error()+"\n"+string(out))
	}
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(examplesDir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func do(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// wantCalls is what every example asks of the sidecar, and what it is answered.
// The questions for the state of a log-in are left out: their number is luck.
var wantCalls = []string{
	"POST /_sidecar/sessions 201",
	"GET /basis/Task 503 helseid-unavailable",
	"GET /basis/Task 200",
	"GET /basis/Task 401 session-expired",
	"POST /_sidecar/sessions 201",
	"GET /basis/Task 200",
	"POST /session/api/v2/Session/create 200",
	"POST /basis/Patient/$sendMedication 502 upstream-outcome-unknown",
	"POST /basis/Patient/$getMedication 200",
	"DELETE /_sidecar/session 200",
}

func runExample(t *testing.T, command []string) {
	w := beginExample(t)
	witness := &witness{world: w.world, waits: make(chan struct{}, 16)}
	w.sim.SetKnobs(func(k *simulator.Knobs) {
		k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultReset, When: simulator.AfterWork, Path: "$sendMedication", Count: 1}}
	})
	front := httptest.NewServer(witness.handler())
	t.Cleanup(front.Close)
	out := w.run(t, witness.asked, command, "EPJ_SIDECAR="+front.URL)
	if diff := cmp.Diff(wantCalls, witness.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s\n%s", diff, out)
	}
	for _, want := range []string{
		"logged in: Kari Syntetisk Lege", "tasks: 2", "SFM session: https://client.sfm.example/v30",
		"not known whether it was sent: compare with $getMedication (200)", "log out: http://localhost:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	sent := 0
	for _, o := range w.sim.Ledger() {
		if strings.HasSuffix(o.Path, "$sendMedication") {
			sent++
		}
	}
	if sent != 1 {
		t.Errorf("SFM got the prescription %d times, want once", sent)
	}
	for _, s := range w.sim.SFMSessions() {
		if s.State != simulator.SFMSessionEnded {
			t.Errorf("an SFM session is %s after the log-out", s.State)
		}
	}
}

// exampleWorld is the demonstration's world with a caller key, and SFM behind a base
// path and with searches of two pages.
type exampleWorld struct {
	*world
	base string // of upstream basis at SFM
}

func beginExample(t *testing.T, more ...string) exampleWorld {
	t.Helper()
	w, err := begin(t.Context(), t.Output(), append([]string{
		"SFM_UPSTREAMS=basis=%SFM%/v2,session=%SFM%", "SIDECAR_CALLER_KEY=" + callerKey,
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.end(); err != nil {
			t.Error(err)
		}
	})
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.SearchPages = 2 })
	return exampleWorld{w, w.sim.SFM + "/v2"}
}

// run runs an example to its end, logging in whoever it asks for as soon as asked
// returns, and returns what it printed.
func (w exampleWorld) run(t *testing.T, asked func(), command []string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, tenant := t.TempDir(), simulator.Tenants()[0]
	write(t, filepath.Join(dir, "get.json"), simulator.SampleGetMedication("patient"))
	write(t, filepath.Join(dir, "send.json"), simulator.SampleSendMedication("patient", "example"))
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], filepath.Join(dir, "get.json"), filepath.Join(dir, "send.json"))...)
	cmd.Env = append(os.Environ(), "EPJ_HPR=565501001", "EPJ_KEY="+callerKey, "EPJ_SFM_BASE="+strings.Replace(w.base, "http:", "https:", 1),
		"EPJ_PARENT="+tenant.Parent, "EPJ_CHILD="+tenant.Child, "EPJ_JOURNAL="+tenant.Journal)
	cmd.Env = append(cmd.Env, env...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		out.WriteString(lines.Text() + "\n")
		if link, ok := strings.CutPrefix(lines.Text(), "log in: "); ok {
			asked()
			if err := browse(ctx, link, "lege"); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s%s", command[0], err, out.String(), complaints.String())
	}
	return out.String()
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// witness stands between an example and the sidecar, notes the calls, and makes
// things go wrong at the right moment.
type witness struct {
	world *world
	waits chan struct{} // one for each question that waits for a log-in to be done

	mu          sync.Mutex // guards the rest
	calls       []string
	down, ended bool // what has gone wrong already
}

func (w *witness) handler() http.Handler {
	target := &url.URL{Scheme: "http", Host: w.world.sidecar.Addr()}
	forward := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: w.note,
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.disturb(r)
		forward.ServeHTTP(rw, r)
	})
}

// disturb lets HelseID be down for the first call to SFM, and ends the session at
// the first call for a second page.
func (w *witness) disturb(r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case r.URL.Query().Has("wait"):
		w.waits <- struct{}{}
	case r.URL.Path != "/basis/Task":
	case !w.down:
		w.down = true
		w.world.sim.SetKnobs(func(k *simulator.Knobs) {
			k.HelseID.Fault = simulator.Fault{Path: "/connect/token", Status: http.StatusServiceUnavailable, RetryAfter: 1, Count: 1}
		})
	case !w.ended && r.URL.Query().Get("page") == "2":
		w.ended = true
		end, err := http.NewRequestWithContext(r.Context(), http.MethodDelete, "http://"+w.world.sidecar.Addr()+"/_sidecar/session", nil)
		if err != nil {
			panic(err)
		}
		end.Header = http.Header{"Sfm-Session": r.Header["Sfm-Session"], "Sidecar-Key": r.Header["Sidecar-Key"]}
		if answer, err := http.DefaultTransport.RoundTrip(end); err == nil {
			_ = answer.Body.Close()
		}
	}
}

// asked returns when the example waits for a log-in to be done, or won't any more.
func (w *witness) asked() {
	select {
	case <-w.waits:
	case <-time.After(20 * time.Second):
	}
}

func (w *witness) note(answer *http.Response) error {
	asked := answer.Request
	if asked.Method == http.MethodGet && asked.URL.Path == "/_sidecar/session" {
		return nil
	}
	line := strings.TrimSpace(strings.Join([]string{
		asked.Method, asked.URL.Path, answer.Status[:3], answer.Header.Get("Sidecar-Error"),
	}, " "))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, line)
	return nil
}

// The programs must not be found wanting on a machine where nothing listens: they
// end by themselves, with a code that says so.
func TestExampleWithoutSidecar(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, true, "curl is not installed")
	}
	const address = "127.0.0.1:1" // a free port may be another test's by then
	cmd := exec.CommandContext(t.Context(), "sh", absolute(t, "curl/epj.sh"), "none", "none")
	cmd.Env = slices.Concat(os.Environ(), []string{"EPJ_HPR=1", "EPJ_PARENT=1", "EPJ_JOURNAL=1", "EPJ_SFM_BASE=http://127.0.0.1", "EPJ_SIDECAR=http://" + address})
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Run(); err == nil {
		t.Error("the example ended well although nothing answered it")
	}
}
