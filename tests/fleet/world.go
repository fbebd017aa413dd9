//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// world is everything that runs.
type world struct {
	run      run
	all      *processes
	servers  *servers
	issuer   string
	client   *http.Client
	sidecars []*sidecar
	persons  []person
	tenants  []tenant
	handles  []string // by person
}

type sidecar struct {
	base, admin string
	process     *process
}

// start builds and starts all, and logs everybody in.
func (r run) start(ctx context.Context, all *processes) (*world, error) {
	w := &world{run: r, all: all, client: &http.Client{
		Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}}
	build := exec.CommandContext(ctx, "go", append(append([]string{"build"}, r.build...), "-o", all.folder+"/", "./cmd/sidecar", "./cmd/simulator")...)
	build.Dir = r.root
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building: %w\n%s", err, text)
	}
	var err error
	if w.servers, err = r.startServers(ctx, all); err != nil {
		return nil, err
	}
	env, err := w.startSimulator(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.startSidecars(ctx, env); err != nil {
		return nil, err
	}
	return w, w.logAllIn(ctx)
}

var exported = regexp.MustCompile(`(?m)^export (\S+=\S+)$`)

// startSimulator returns the variables that it prints for a sidecar.
func (w *world) startSimulator(ctx context.Context) ([]string, error) {
	_, err := w.all.start("simulator", os.Environ(), filepath.Join(w.all.folder, "simulator"),
		"-helseid", "127.0.0.1:0", "-sfm", "127.0.0.1:0", "-write-client-jwk", filepath.Join(w.all.folder, "client.jwk"), "-crowd", fmt.Sprint(w.run.persons))
	if err != nil {
		return nil, err
	}
	var env []string
	err = until(ctx, 20*time.Second, "the simulator", func() bool {
		text, _ := os.ReadFile(filepath.Join(w.all.folder, "simulator.log"))
		env = nil
		for _, m := range exported.FindAllStringSubmatch(string(text), -1) {
			env = append(env, m[1])
			if issuer, ok := strings.CutPrefix(m[1], "HELSEID_ISSUER="); ok {
				w.issuer = issuer
			}
		}
		return strings.Contains(string(text), "# What came")
	})
	if err != nil {
		return nil, err
	}
	knobs := fmt.Sprintf(`{"helseid":{"access_token_seconds":%d}}`, int(w.run.life.Seconds()))
	if err := w.fetch(ctx, http.MethodPut, w.issuer+"/_simulator/knobs", knobs, nil); err != nil {
		return nil, err
	}
	var holds struct {
		Persons []person `json:"persons"`
		Tenants []tenant `json:"tenants"`
	}
	if err := w.fetch(ctx, http.MethodGet, w.issuer+"/_simulator/world", "", &holds); err != nil {
		return nil, err
	}
	w.persons, w.tenants = holds.Persons[len(holds.Persons)-w.run.persons:], holds.Tenants[:w.run.tenants]
	return env, nil
}

func (w *world) startSidecars(ctx context.Context, env []string) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand
	env = append(env, "SIDECAR_STORE="+w.servers.address(), "SIDECAR_STORE_KEY="+base64.StdEncoding.EncodeToString(key),
		"LOG_FORMAT=json", "LOG_LEVEL=warn", "SIDECAR_MAX_SIGTERM_DELAY=10s", "GORACE=halt_on_error=0 exitcode=66")
	ports, err := freePorts(2 * w.run.sidecars)
	if err != nil {
		return err
	}
	for i := range w.run.sidecars {
		s := &sidecar{base: "http://127.0.0.1:" + ports[2*i], admin: "http://127.0.0.1:" + ports[2*i+1]}
		s.process, err = w.all.start(fmt.Sprintf("sidecar%d", i), append(env, "SIDECAR_LISTEN="+s.base[7:], "SIDECAR_ADMIN_LISTEN="+s.admin[7:]),
			filepath.Join(w.all.folder, "sidecar"))
		if err != nil {
			return err
		}
		w.sidecars = append(w.sidecars, s)
	}
	for _, s := range w.sidecars {
		if err := until(ctx, 60*time.Second, s.process.name+" is ready", func() bool {
			return w.fetch(ctx, http.MethodGet, s.admin+"/readyz", "", nil) == nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// logAllIn has the persons log in at one sidecar or another.
func (w *world) logAllIn(ctx context.Context) error {
	w.handles = make([]string, len(w.persons))
	errs := make([]error, len(w.persons))
	var all sync.WaitGroup
	turn := make(chan struct{}, 4)
	for i, p := range w.persons {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			w.handles[i], errs[i] = w.logIn(ctx, w.sidecars[i%len(w.sidecars)].base, p.ID)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	return nil
}
