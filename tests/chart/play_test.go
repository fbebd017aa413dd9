package chart_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// play runs a pod's containers as processes of this machine: the same programs,
// arguments, variables and probes, with other paths and ports.
type play struct {
	dir     string            // the programs, and the shared volume
	replace *strings.Replacer // what a container sees → what is here
}

func newPlay(t *testing.T, pod core.PodSpec) *play {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "./cmd/sidecar", "./cmd/simulator")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	// HelseID's and SFM's stand-ins listen where they do in a pod by default.
	pairs := []string{"/simulator", filepath.Join(dir, "simulator"), "/sidecar", filepath.Join(dir, "sidecar")}
	for _, port := range []string{"8080", "8081", "8082", "9090"} {
		pairs = append(pairs, ":"+port, ":"+freePort(t))
	}
	// The volume of the key, wherever it is mounted.
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, mount := range c.VolumeMounts {
			pairs = append(pairs, mount.MountPath+"/", dir+"/")
		}
	}
	return &play{dir, strings.NewReplacer(pairs...)}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// command is a container's program with the given arguments.
func (p *play) command(ctx context.Context, c core.Container, words ...string) *exec.Cmd {
	for i, word := range words {
		words[i] = p.replace.Replace(word)
	}
	run := exec.CommandContext(ctx, words[0], words[1:]...)
	run.Env = []string{"PATH=/nowhere"}
	for _, v := range c.Env {
		run.Env = append(run.Env, v.Name+"="+p.replace.Replace(v.Value))
	}
	run.Cancel = func() error { return run.Process.Signal(syscall.SIGTERM) }
	run.WaitDelay = 10 * time.Second
	return run
}

// start runs a native sidecar until the function it returns is called, which sends
// SIGTERM and expects exit code 0. It comes back when the start-up probe succeeds.
func (p *play) start(t *testing.T, c core.Container) (stop func()) {
	t.Helper()
	entry := "/simulator"
	if c.Name == sidecar {
		entry = "/sidecar"
	}
	args := slices.Clone(c.Args)
	if entry == "/simulator" { // its defaults, written out so that the ports can be others
		args = append(args, "-helseid", "127.0.0.1:8081", "-sfm", "127.0.0.1:8082")
	}
	var log strings.Builder
	process := p.command(context.WithoutCancel(t.Context()), c, append([]string{entry}, args...)...)
	process.Stderr = &log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	if err := p.probe(t, c, c.StartupProbe); err != nil {
		_ = process.Process.Kill()
		<-ended
		t.Fatalf("%s does not come up: %v\n%s", c.Name, err, log.String())
	}
	return func() {
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v\n%s", c.Name, err, log.String())
		}
	}
}

// probe tries until it succeeds, as the kubelet does, but quicker.
func (p *play) probe(t *testing.T, c core.Container, probe *core.Probe) error {
	t.Helper()
	words := slices.Clone(probe.Exec.Command)
	if words[0] == "/simulator" && words[1] == "probe" {
		words = append(words, "-helseid", "127.0.0.1:8081")
	}
	var err error
	for range 100 {
		if err = p.command(t.Context(), c, slices.Clone(words)...).Run(); err == nil {
			return nil
		}
		select {
		case <-t.Context().Done():
			return t.Context().Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return err
}

// TestPlayed runs the demo's test Job: the containers start in order, the EPJ makes its
// call and ends with 0, and then the sidecars end, with 0 too.
func TestPlayed(t *testing.T) {
	all := pods(t, "demo")
	pod := all["Job"].Spec
	p := newPlay(t, pod)
	var stops []func()
	for _, c := range pod.InitContainers {
		stops = append(stops, p.start(t, c))
	}
	defer func() {
		for _, stop := range slices.Backward(stops) {
			stop()
		}
	}()
	c, _ := find(t, pod)
	for _, probe := range []*core.Probe{c.ReadinessProbe, c.LivenessProbe} {
		if err := p.probe(t, c, probe); err != nil {
			t.Errorf("%v: %v", probe.Exec.Command, err)
		}
	}
	epj := pod.Containers[0]
	out, err := p.command(t.Context(), epj, append([]string{"/simulator"}, epj.Args...)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SFM answered a call") {
		t.Errorf("the EPJ: %v\n%s", err, out)
	}
	epj = all["Deployment"].Spec.Containers[0]
	if err := p.probe(t, epj, epj.StartupProbe); err != nil {
		t.Errorf("the EPJ's own probe: %v", err)
	}
	stranger := []string{"/simulator", "epj", "-sidecar", "http://localhost:8080", "-person", "lav"}
	if out, err := p.command(t.Context(), epj, stranger...).CombinedOutput(); err == nil {
		t.Errorf("a person who must not log in made a call: %s", out)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "client.jwk")); err != nil {
		t.Error(err)
	}
}
