package app_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// registryOf writes a registry of the stand-ins' tenants, each with its alias.
func registryOf(tenants map[string]simulator.Tenant) string {
	var out strings.Builder
	out.WriteString("tenants:\n")
	for alias, t := range tenants {
		child := ""
		if t.Child != "" {
			child = fmt.Sprintf("child: %q, ", t.Child)
		}
		fmt.Fprintf(&out, "  %s: {parent: %q, %sjournal: %s}\n", alias, t.Parent, child, t.Journal)
	}
	return out.String()
}

func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRegistry goes through the life of a registry: aliases and listed combinations,
// a new content that is taken up while calls are under way, and a broken one.
func TestRegistry(t *testing.T) {
	t.Parallel()
	all := simulator.Tenants()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	replaceFile(t, path, registryOf(map[string]simulator.Tenant{"first": all[0], "second": all[1]}))
	w := newWorld(t, setup{env: []string{"TENANTS_FILE=" + path}})
	handle := w.logIn("lege")
	call := func(header ...string) answer {
		return w.send(w.request(http.MethodGet, "/basis/Task", "", append(header, "Sfm-Session", handle)...))
	}
	expect := func(what string, a answer, status int, code string) {
		t.Helper()
		if a.status != status || a.header.Get("Sidecar-Error") != code {
			t.Errorf("%s: %d %s, want %d %s", what, a.status, a.header.Get("Sidecar-Error"), status, code)
		}
	}
	refused := func(what string, a answer) {
		t.Helper()
		expect(what, a, http.StatusForbidden, "tenant-unknown")
		if p := problemOf(t, a); !strings.Contains(p.Hint, "sidecar tenants list") {
			t.Errorf("%s: the hint is %q", what, p.Hint)
		}
	}
	expect("an alias", call("Sfm-Tenant", "first"), http.StatusOK, "")
	expect("a listed tenant", call(headers("", all[1])...), http.StatusOK, "")
	refused("an unknown alias", call("Sfm-Tenant", "third"))
	refused("a tenant that is not listed", call(headers("", all[2])...))
	expect("both forms", call(append(headers("", all[0]), "Sfm-Tenant", "first")...), http.StatusBadRequest, "tenant-ambiguous")

	// A session that an alias limits keeps the combination that the alias stood for.
	limited, link := w.begin(`{"tenants":["second"]}`)
	if page := w.browse(link, "lege"); page.status != http.StatusOK {
		t.Fatalf("the log-in: %d", page.status)
	}
	limitedCall := func(t simulator.Tenant) answer {
		return w.send(w.request(http.MethodGet, "/basis/Task", "", headers(limited, t)...))
	}
	expect("the session's tenant", limitedCall(all[1]), http.StatusOK, "")
	expect("another tenant", limitedCall(all[0]), http.StatusForbidden, "tenant-not-in-session")
	refused("a log-in for an unknown alias", w.send(w.request(http.MethodPost, "/_sidecar/sessions", `{"tenants":["third"]}`)))

	stop := w.keepCalling(handle)
	replaceFile(t, path, registryOf(map[string]simulator.Tenant{"first": all[0], "second": all[2], "still": all[1]}))
	eventually(t, "the new content", func() bool { return w.metric("sfm_sidecar_registry_tenants") == 3 })
	if calls := stop(); calls < 2 {
		t.Errorf("only %d calls were made meanwhile", calls)
	}
	expect("a tenant that was added", call(headers("", all[2])...), http.StatusOK, "")
	expect("the session's tenant, whose alias went", limitedCall(all[1]), http.StatusOK, "")
	expect("what the alias stands for now", limitedCall(all[2]), http.StatusForbidden, "tenant-not-in-session")

	replaceFile(t, path, "tenants:\n  first: {parent: 100100126}\n")
	eventually(t, "the broken content", func() bool { return w.metric("sfm_sidecar_registry_broken") == 1 })
	expect("after a broken content", call("Sfm-Tenant", "first"), http.StatusOK, "")
	for series, want := range map[string]float64{
		`sfm_sidecar_registry_loads_total{outcome="loaded"}`: 2, `sfm_sidecar_registry_loads_total{outcome="broken"}`: 1, "sfm_sidecar_registry_tenants": 3,
	} {
		if got := w.metric(series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

// keepCalling calls by an alias again and again, until the function it returns is
// asked how many calls that were. Each must be answered.
func (w *world) keepCalling(handle string) (stop func() int64) {
	var calls atomic.Int64
	var group sync.WaitGroup
	ended := make(chan struct{})
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				a, err := w.do(w.request(http.MethodGet, "/basis/Task", "", "Sfm-Tenant", "first", "Sfm-Session", handle))
				if err != nil || a.status != http.StatusOK {
					w.t.Errorf("a call during the reload: %d %s %v", a.status, a.header.Get("Sidecar-Error"), err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() int64 { close(ended); group.Wait(); return calls.Load() }
}

// TestRegistryWithPolicyAny has aliases and lets the rest through.
func TestRegistryWithPolicyAny(t *testing.T) {
	t.Parallel()
	all := simulator.Tenants()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	replaceFile(t, path, registryOf(map[string]simulator.Tenant{"first": all[0]}))
	w := newWorld(t, setup{env: []string{"TENANTS_FILE=" + path, "TENANTS_POLICY=any"}})
	handle := w.logIn("lege")
	for _, header := range [][]string{{"Sfm-Tenant", "first"}, headers("", all[2])} {
		if a := w.send(w.request(http.MethodGet, "/basis/Task", "", append(header, "Sfm-Session", handle)...)); a.status != http.StatusOK {
			t.Errorf("%q: %d %s", header, a.status, a.header.Get("Sidecar-Error"))
		}
	}
}

// TestBrokenRegistryAtStart is a fault of the configuration, told whole.
func TestBrokenRegistryAtStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	replaceFile(t, path, "tenants:\n  first: {parent: 100100126, kid: x}\n")
	w := newWorld(t, setup{})
	for file, want := range map[string][]string{
		path:        {"TENANTS_FILE: " + path + ":2:19: parent is a number", path + ":2:30: the tenant has the unknown key kid", "put it in quotes"},
		path + ".x": {"TENANTS_FILE: " + path + ".x: can't be read"},
	} {
		var out bytes.Buffer
		code := app.Run(context.Background(), app.Options{Environ: append(w.env, "TENANTS_FILE="+file), Stderr: &out, Stdout: &out})
		if code != 2 {
			t.Errorf("exit code %d", code)
		}
		for _, words := range want {
			if !strings.Contains(out.String(), words) {
				t.Errorf("%q is not in\n%s", words, out.String())
			}
		}
	}
}
