package app_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"sfm-sidecar/internal/app"
)

// quit calls /quit on the admin listener.
func (w *world) quit(method string, header ...string) answer {
	w.t.Helper()
	r := w.request(method, "", "", header...)
	r.URL.Host, r.Host, r.URL.Path = w.sidecar.AdminAddr(), "localhost", "/quit"
	return w.send(r)
}

// POST /quit ends the process like a signal does, for those alone who may.
func TestQuit(t *testing.T) {
	t.Parallel()
	const key = "SIDECAR_CALLER_KEY=a synthetic caller key"
	tests := map[string]struct {
		env    []string
		method string
		header []string
		status int
		code   string
	}{
		"not enabled":        {nil, "POST", nil, 404, "control-unknown"},
		"enabled":            {[]string{"SIDECAR_ENABLE_QUIT=true"}, "POST", nil, 200, ""},
		"by another method":  {[]string{"SIDECAR_ENABLE_QUIT=true"}, "GET", nil, 405, "control-unknown"},
		"by a web page":      {[]string{"SIDECAR_ENABLE_QUIT=true"}, "POST", []string{"Origin", "https://evil.example"}, 403, "origin-refused"},
		"without the key":    {[]string{"SIDECAR_ENABLE_QUIT=true", key}, "POST", nil, 401, "caller-key"},
		"with the key":       {[]string{"SIDECAR_ENABLE_QUIT=true", key}, "POST", []string{"Sidecar-Key", "a synthetic caller key"}, 200, ""},
		"by another user":    {[]string{"SIDECAR_ENABLE_QUIT=true", "SIDECAR_ALLOWED_UIDS=54321"}, "POST", nil, 403, "caller-refused"},
		"for other machines": {[]string{"SIDECAR_ENABLE_QUIT=true", "SIDECAR_ADMIN_LISTEN=0.0.0.0:0"}, "POST", nil, 404, "control-unknown"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(name, "user") && runtime.GOOS != "linux" {
				t.Skip("users are told apart on Linux only")
			}
			w := newWorld(t, setup{env: tt.env})
			a := w.quit(tt.method, tt.header...)
			if a.status != tt.status || a.header.Get("Sidecar-Error") != tt.code {
				t.Fatalf("%d %s", a.status, a.header.Get("Sidecar-Error"))
			}
			if tt.code != "" {
				if tt.status == 405 && a.header.Get("Allow") != "POST" {
					t.Errorf("Allow: %q", a.header.Get("Allow"))
				}
				eventually(t, "ready, after a refusal", func() bool { return w.probe("/readyz") == http.StatusOK })
				return
			}
			if err := w.sidecar.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// sidecar probe says what the admin listener says, by exit code.
func TestProbeCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SIDECAR_MIN_SIGTERM_DELAY=3s"}})
	run := func(admin string, words ...string) (code int, said string) {
		t.Helper()
		var out bytes.Buffer
		code = app.Run(t.Context(), app.Options{
			Args: append([]string{"probe"}, words...), Environ: []string{"SIDECAR_ADMIN_LISTEN=" + admin}, Stdout: &out, Stderr: &out,
		})
		return code, out.String()
	}
	admin := w.sidecar.AdminAddr()
	_, port, err := net.SplitHostPort(admin)
	if err != nil {
		t.Fatal(err)
	}
	check := func(code int, text, admin string, words ...string) {
		t.Helper()
		if got, said := run(admin, words...); got != code || !strings.Contains(said, text) {
			t.Errorf("probe %v of %s: %d %q", words, admin, got, said)
		}
	}
	eventually(t, "the start", func() bool { code, _ := run(admin, "startup"); return code == 0 })
	check(0, `200 "started"`, admin, "startup")
	check(0, `200 "ready"`, admin, "ready")
	check(0, `200 "running"`, admin, "live")
	check(0, `200 "ready"`, ":"+port, "ready")
	check(0, `200 "ready"`, "0.0.0.0:"+port, "ready")
	check(2, "usage", admin)
	check(2, "usage", admin, "well")
	check(2, "usage", admin, "ready", "live")
	check(2, "SIDECAR_ADMIN_LISTEN", "unix:/nowhere", "ready")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	check(1, "no answer", free.Addr().String(), "live")

	w.stop()
	eventually(t, "not ready", func() bool { code, _ := run(admin, "ready"); return code == 1 })
	check(1, `503 "stopping"`, admin, "ready")
	check(0, `200 "running"`, admin, "live")
	check(0, `200 "started"`, admin, "startup")
}

// Whatever answers at the port is not believed to be a sidecar, nor printed as it is.
func TestProbeOfAnotherProgram(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer string
		code   int
		said   string
	}{
		"a sidecar":         {`{"status":"ok","reason":"ready"}`, 0, `200 "ready"`},
		"no JSON":           {"hello", 1, `200 "not the answer of a sidecar"`},
		"other JSON":        {`{}`, 1, `200 "no reason was given"`},
		"another status":    {`{"status":"unavailable","reason":"stopping"}`, 1, `200 "stopping"`},
		"control codes":     {`{"reason":"\u001b[31mred\nFAKE"}`, 1, `200 "\x1b[31mred\nFAKE"`},
		"a very long story": {`{"reason":"` + strings.Repeat("x", 3000) + `"}`, 1, `200 "` + strings.Repeat("x", 100) + `"`},
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.answer) }))
		t.Cleanup(other.Close)
		var out bytes.Buffer
		code := app.Run(t.Context(), app.Options{
			Args: []string{"probe", "ready"}, Environ: []string{"SIDECAR_ADMIN_LISTEN=" + other.Listener.Addr().String()}, Stdout: &out, Stderr: &out,
		})
		if code != tt.code || out.String() != tt.said+"\n" {
			t.Errorf("%s: exit %d, %q", name, code, &out)
		}
	}
}

// Told to end while it starts, the sidecar has done what it was told; a wrong
// configuration is one all the same.
func TestEndDuringTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	ended, end := context.WithCancel(t.Context())
	end()
	for name, tt := range map[string]struct {
		env  []string
		code int
	}{
		"a port":                {append(w.env, "SIDECAR_LISTEN=127.0.0.1:0"), 0},
		"a name":                {append(w.env, "SIDECAR_LISTEN=localhost:0"), 0},
		"a wrong configuration": {nil, 2},
	} {
		var out bytes.Buffer
		if code := app.Run(ended, app.Options{Environ: tt.env, Stdout: &out, Stderr: &out}); code != tt.code {
			t.Errorf("%s: exit %d, %s", name, code, &out)
		}
	}
}
