//go:build unix

package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// operate runs sidecar sessions as an operator does who has the environment of this
// sidecar; the program's log goes where all logs do, and what is printed is looked
// through for secrets.
func (w *world) operate(stdin string, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, complaints bytes.Buffer
	code = app.Run(w.t.Context(), app.Options{
		Args: append([]string{"sessions"}, args...), Environ: append(slices.Clone(w.env), "SIDECAR_ADMIN_LISTEN="+w.sidecar.AdminAddr()),
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &complaints, Version: "test",
	})
	seen.keep(complaints.String())
	for _, secret := range []string{"13827015061", "24868224009", "Syntetisk", "sub-7f3b2c90", "eyJ"} {
		if strings.Contains(out.String()+complaints.String(), secret) {
			w.t.Errorf("sidecar sessions %q shows whose a session is", args)
		}
	}
	return code, out.String(), complaints.String()
}

// shown is what --json shows.
type shown struct {
	Sessions []struct {
		ID      string             `json:"id"`
		State   string             `json:"state"`
		Used    string             `json:"last_used"`
		Expires string             `json:"expires"`
		Level   string             `json:"security_level"`
		Tenants []simulator.Tenant `json:"tenants"`
		SFM     *int               `json:"sfm_sessions"`
		Outcome string             `json:"outcome"`
		Undone  []string           `json:"undone"`
	} `json:"sessions"`
	Count    int  `json:"count"`
	Ended    int  `json:"ended"`
	Complete bool `json:"complete"`
}

// wantShown runs the command, which must do well, and reads what it prints.
func (w *world) wantShown(stdin string, args ...string) (s shown) {
	w.t.Helper()
	code, stdout, stderr := w.operate(stdin, append(args, "--json")...)
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != 0 || !s.Complete {
		w.t.Fatalf("sidecar sessions %q: exit %d, %v, %s%s", args, code, err, stdout, stderr)
	}
	return s
}

// A session that an operator ends in the shared store has ended at every replica within
// moments, and at HelseID; the others go on.
func TestOperatorEndsSharedSessions(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: server.env()})
	b := a.replica()
	doctor, again, locum := a.logIn("lege"), b.logIn("lege"), a.logIn("vikar")
	pending, _ := b.begin(`{"expect":{"pid":"13827015061"},"tenants":[{"parent":"100100126","journal":"7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}]}`)
	for _, w := range []*world{a, b} {
		for _, handle := range []string{doctor, again, locum} {
			w.wantCode(w.call(handle, 0), "")
		}
	}
	all := a.wantShown("", "list")
	if all.Count != 4 || len(all.Sessions) != 4 {
		t.Fatalf("%d sessions are listed", all.Count)
	}
	for _, s := range all.Sessions {
		if len(s.ID) != 43 || s.State == "active" && (s.Level != "4" || s.Used == "" || s.Expires == "" || len(s.Tenants) != 0) ||
			s.State == "pending" && (s.Level != "" || len(s.Tenants) != 1) || s.SFM != nil {
			t.Errorf("listed %+v", s)
		}
	}
	if code, table, _ := a.operate("", "list", "--state", "active"); code != 0 || strings.Count(table, "\n") != 4 || !strings.Contains(table, "LAST USED") {
		t.Errorf("exit %d:\n%s", code, table)
	}
	for args, want := range map[string]int{
		"--pid -": 3, "--sub sub-1d54ae17": 1, "--hpr 565501002": 1, "--state pending": 1, "--older-than 1h": 0, "--unused-for 1h": 0, "--orgnr 100100126": 1,
	} {
		if got := b.wantShown("13827015061\n", append([]string{"list"}, strings.Fields(args)...)...); got.Count != want {
			t.Errorf("%s: %d sessions, want %d", args, got.Count, want)
		}
	}
	if code, _, stderr := a.operate("13827015061\n", "end", "--pid", "-"); code != 2 || !strings.Contains(stderr, "3 sessions would end; nothing was ended") {
		t.Errorf("without --yes: exit %d, %s", code, stderr)
	}
	if dry := a.wantShown("13827015061\n", "end", "--pid", "-", "--dry-run"); dry.Count != 3 {
		t.Errorf("a dry run shows %d sessions", dry.Count)
	}
	a.wantCode(a.call(doctor, 0), "")

	code, stdout, logged := a.operate("13827015061\n", "end", "--pid", "-", "--yes")
	if code != 0 || !strings.Contains(stdout, "3 sessions ended.") || strings.Count(logged, `"msg":"a session was ended"`) != 3 || !strings.Contains(logged, `"reason":"operator"`) {
		t.Errorf("exit %d: %s%s", code, stdout, logged)
	}
	for _, w := range []*world{a, b} {
		for _, handle := range []string{doctor, again} {
			eventually(t, "a replica knows", func() bool { return w.call(handle, 0).header.Get("Sidecar-Error") == "session-expired" })
			refused := w.call(handle, 1)
			w.wantEnded(refused)
			if p := problemOf(t, refused); !strings.Contains(p.Detail, "an operator ended the session") {
				t.Errorf("the EPJ is told %q", p.Detail)
			}
		}
		w.wantCode(w.call(locum, 0), "")
		w.wantEnded(w.call(pending, 0))
	}
	if n := a.requestsTo("revocation"); n != 2 {
		t.Errorf("%d refresh tokens were revoked", n)
	}
	if n := a.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
	left := b.wantShown("", "list", "--state", "active")
	if left.Count != 1 {
		t.Fatalf("%d sessions are left", left.Count)
	}
	if end := b.wantShown("", "end", left.Sessions[0].ID[:12]); end.Ended != 1 || end.Sessions[0].ID != left.Sessions[0].ID {
		t.Errorf("by a part of its ID: %+v", end)
	}
	eventually(t, "the last one has ended", func() bool { return a.call(locum, 0).status == http.StatusUnauthorized })
	if n := b.wantShown("", "end", "--all", "--yes").Ended; n != 0 {
		t.Errorf("%d sessions ended again", n)
	}
	if n := a.dpopKeys(); n != 1 {
		t.Errorf("%d DPoP keys", n)
	}
}

// What can't be done is said, and by the exit code.
func TestOperatorWithoutHelp(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	var down atomic.Bool
	w := newWorld(t, setup{env: server.env(), helseID: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if down.Load() && r.URL.Path == "/connect/revocation" {
				rw.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(rw, r)
		})
	}})
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	down.Store(true)
	code, stdout, _ := w.operate("", "end", "--all", "--yes")
	if code != 1 || !strings.Contains(stdout, "1 session ended.") || !strings.Contains(stdout, "HelseID could not be told") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	eventually(t, "it has ended all the same", func() bool { return w.call(handle, 0).header.Get("Sidecar-Error") == "session-expired" })
	if err := server.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := w.operate("", "list")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "store-unavailable") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	w.env = append(w.env, "SIDECAR_STORE_KEY=short")
	if code, _, stderr = w.operate("", "list"); code != 2 || !strings.Contains(stderr, "SIDECAR_STORE_KEY") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
