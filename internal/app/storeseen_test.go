//go:build unix

package app_test

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"syscall"
	"testing"

	"sfm-sidecar/internal/app"
)

// A check examines the store, and neither leaves anything in it nor keeps a sidecar
// from it.
func TestCheckStore(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	w := newWorld(t, setup{env: server.env()})
	c := newClinic(t, setup{env: append(server.env(), machine...)})
	before := server.cli("DBSIZE")
	e := c.check()
	for _, want := range []string{`"name": "store"`, `"subject": "rights"`, `"subject": "keys"`, "an answer takes", "nobody has used the store", "appendonly yes"} {
		if !strings.Contains(e.stdout, want) {
			t.Errorf("the report lacks %s:\n%s", want, e.stdout)
		}
	}
	if strings.Contains(e.stdout, server.socket) {
		t.Error("the store's address stands in the report")
	}
	eventually(t, "nothing is left", func() bool { return server.cli("DBSIZE") == before })
	w.wantCode(w.call(w.logIn("lege"), 0), "")

	server.userOfDocs("right") // who may not ask for settings
	c.env = append(c.env, "SIDECAR_STORE=unix://sidecar:right@"+server.socket)
	if e = c.run(); strings.Count(e.stdout, "unknown: the server does not tell") != 2 || strings.Contains(e.stdout, "NOPERM") {
		t.Errorf("with the rights of the documentation, exit code %d:\n%s", e.code, e.stdout)
	}

	c.env = append(c.env, "SIDECAR_STORE=redis://sidecar:verysecret@127.0.0.1:1", "SIDECAR_STORE_TIMEOUT=100ms")
	if e = c.run(); e.code != 1 || !strings.Contains(e.stdout, "failed   store\n") || strings.Contains(e.stdout+e.stderr, "verysecret") {
		t.Errorf("exit code %d:\n%s", e.code, e.stdout)
	}
}

// How the store stands is seen on the page, in the bundle and by the metrics; what
// fails counts once.
func TestStoreSeen(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	w := newWorld(t, setup{env: append(server.env(), soonDown)})
	w.wantLogged("log-ins and tokens are in the store of all replicas", "dpop_key")
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	if n := w.metric(prefix + "store_resting"); n != 0 {
		t.Errorf("a store that answers rests: %v", n)
	}
	bundle := func() string {
		var out bytes.Buffer
		code := app.Run(t.Context(), app.Options{Args: []string{"support-bundle", "-o", "-"}, Stdout: &out, Stderr: io.Discard,
			Environ: append(w.env, "SIDECAR_ADMIN_LISTEN="+w.sidecar.AdminAddr())})
		if code != 0 {
			t.Fatalf("exit code %d", code)
		}
		return unzipped(t, out.Bytes())
	}
	if text := bundle(); !strings.Contains(text, `"kind": "server"`) || strings.Contains(text, server.socket) {
		t.Error("the bundle does not tell of the store, or tells its address")
	}
	server.signal(syscall.SIGSTOP)
	t.Cleanup(func() { server.signal(syscall.SIGCONT) })
	gets := func() float64 { return w.metric(prefix + `store_errors_total{operation="put-fenced"}`) }
	before := gets()
	for range 5 {
		w.call(handle, 1)
	}
	if gets() != before {
		t.Error("what was not asked counts")
	}
	if n := w.metric(prefix + "store_resting"); n != 1 {
		t.Errorf("store_resting is %v", n)
	}
	if text := bundle(); !strings.Contains(text, `"reason": "slow"`) || !strings.Contains(text, `"resting": "2`) {
		t.Errorf("the bundle does not tell that the store rests")
	}
	server.signal(syscall.SIGCONT)
	eventually(t, "it is used again", func() bool { return w.call(handle, 1).status == 200 && w.metric(prefix+"store_resting") == 0 })

	// One read, of an entry that does not open.
	opened := prefix + `store_errors_total{operation="open"}`
	was := w.metric(opened)
	for _, name := range strings.Fields(server.cli("--scan", "--pattern", "sfm:session:*")) {
		server.cli("SETRANGE", name, "40", "xx")
	}
	other := w.replica()
	other.call(handle, 0)
	if n := other.metric(opened); n-was != 1 {
		t.Errorf("an entry that does not open counts %v times", n-was)
	}
}

func unzipped(t *testing.T, archive []byte) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		all.Write(text)
	}
	return all.String()
}
