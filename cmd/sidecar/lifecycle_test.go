package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// process is the real program, run by a test.
type process struct {
	t           testing.TB
	command     *exec.Cmd
	base, admin string
	log         *logged
	ended       chan error // what Wait said
}

// logged is what a process wrote.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// program is this test's own binary under the name by which it is the program.
func program(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "sidecar")
	if err := os.Symlink(self, link); err != nil {
		t.Skip("the program can't be given a name: ", err)
	}
	return link
}

// machineWorld are stand-ins that let a machine in, and the environment of a sidecar
// between them.
func machineWorld(t testing.TB) (*simulator.Running, []string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM on Windows")
	}
	client, key, err := simulator.NewClient("life-epj")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.Start(simulator.Options{Clients: []simulator.Client{client}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.MachineTokens = true })
	return sim, []string{
		"PATH=" + os.Getenv("PATH"),
		"HELSEID_ISSUER=" + sim.HelseID, "HELSEID_CLIENT_ID=life-epj", "HELSEID_CLIENT_JWK=" + string(key),
		"HELSEID_GRANT=client-credentials,user", "SIDECAR_UNSAFE_NO_CALLER_KEY=true",
		"SFM_UPSTREAMS=basis=" + sim.SFM + ",migration=" + sim.SFM, "LOG_FORMAT=json", "SIDECAR_MAX_SIGTERM_DELAY=20s",
	}
}

// run starts the program and waits until it is ready.
func run(t testing.TB, environ ...string) *process {
	t.Helper()
	p := &process{t: t, log: new(logged), ended: make(chan error, 1)}
	p.base, p.admin = free(t), free(t)
	p.launch(exec.Command(program(t)), append(environ, "SIDECAR_LISTEN="+p.base, "SIDECAR_ADMIN_LISTEN="+p.admin))
	return p
}

func free(t testing.TB) string {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func (p *process) launch(command *exec.Cmd, environ []string) {
	p.t.Helper()
	p.command = command
	p.command.Env, p.command.Stderr, p.command.Stdout = environ, p.log, p.log
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { p.ended <- p.command.Wait() }()
	p.t.Cleanup(func() { _ = p.command.Process.Kill() })
	soon(p.t, "the start", func() bool { return p.ready() })
}

// ready asks as a balancer does.
func (p *process) ready() bool {
	status, _, err := get(context.Background(), http.MethodGet, "http://"+p.admin+"/readyz", nil, oneCall)
	return err == nil && status == http.StatusOK
}

var oneCall = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end and returns the exit code, -1 for an end by a signal.
func (p *process) end(within time.Duration) int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			return failed.ExitCode()
		}
		if err != nil {
			p.t.Fatal(err)
		}
		return 0
	case <-time.After(within):
		p.t.Fatalf("the process has not ended within %v: %s", within, p.log)
		return -1
	}
}

// soon waits for something that another process does.
func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look, end := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// machineCall is a call of an EPJ without a person.
func machineCall(t testing.TB, method, base, path, id string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "http://"+base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	tenant := simulator.Tenants()[0]
	r.Header = http.Header{
		"Sfm-Orgnr-Parent": {tenant.Parent}, "Sfm-Orgnr-Child": {tenant.Child}, "Sfm-Journal-Id": {tenant.Journal}, "X-Request-Id": {id},
	}
	return r
}

// sent is what became of one call of a load.
type sent struct {
	begun  time.Time
	status int
	code   string // Sidecar-Error
	err    error
}

// load makes 200 calls per second until stop is closed, and gathers what became of
// each. They are POSTs: net/http sends a GET again by itself when its connection
// breaks, and would hide a loss.
func load(t testing.TB, base string, stop <-chan struct{}) (calls map[string]sent) {
	t.Helper()
	calls = make(map[string]sent)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var mu sync.Mutex // guards calls
	var all sync.WaitGroup
	for n := 0; ; n++ {
		select {
		case <-stop:
			all.Wait()
			return calls
		case <-tick.C:
		}
		id := fmt.Sprintf("%s-%d", t.Name(), n)
		r := machineCall(t, http.MethodPost, base, "/basis/echo", id, strings.NewReader("{}"))
		all.Go(func() {
			s := sent{begun: time.Now()}
			res, err := client.Do(r)
			if s.err = err; err == nil {
				_, s.err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				s.status, s.code = res.StatusCode, res.Header.Get("Sidecar-Error")
			}
			mu.Lock()
			calls[id] = s
			mu.Unlock()
		})
	}
}

// 200 calls per second while the process is told to end: those that come within the
// minimum delay are served, every one that SFM got is answered, and the exit code is 0.
func TestNothingIsLostAtTheEnd(t *testing.T) {
	const minimum = time.Second
	sim, environ := machineWorld(t)
	p := run(t, append(environ, "SIDECAR_MIN_SIGTERM_DELAY="+minimum.String())...)
	stop, done := make(chan struct{}), make(chan map[string]sent, 1)
	go func() { done <- load(t, p.base, stop) }()
	soon(t, "calls under way", func() bool { return len(sim.Ledger()) > 100 })
	told := time.Now()
	p.signal(syscall.SIGTERM)
	soon(t, "not ready", func() bool { return !p.ready() })
	notReady := time.Since(told)
	code := p.end(20 * time.Second)
	took := time.Since(told)
	close(stop)
	calls := <-done

	if code != 0 || took < minimum {
		t.Errorf("exit code %d after %v: %s", code, took, p.log)
	}
	if notReady > minimum/2 {
		t.Errorf("it took %v to be not ready", notReady)
	}
	served, after := 0, 0
	for id, c := range calls {
		switch since := c.begun.Sub(told); {
		case c.status == http.StatusOK && c.err == nil:
			if served++; since > 0 {
				after++
			}
		case since < minimum-50*time.Millisecond:
			t.Errorf("a call %v after SIGTERM: %d %s %v", since, c.status, c.code, c.err)
		case c.status != 0 && c.code != "draining":
			t.Errorf("a call %v after SIGTERM: %d %s", since, c.status, c.code)
		default:
			for _, o := range sim.Ledger() {
				if o.RequestID == id && o.Accepted {
					t.Errorf("SFM did the work of a call whose answer was lost: %d %s %v", c.status, c.code, c.err)
				}
			}
		}
	}
	t.Logf("%d calls served, %d of them begun after SIGTERM; not ready after %v, ended after %v", served, after, notReady, took)
	if after < 50 {
		t.Errorf("only %d calls were served after SIGTERM", after)
	}
}

// balancer sends each call to a replica that says it is ready, as a service of an
// orchestrator does: it learns of a change a little late, and never tries again.
type balancer struct {
	mu       sync.Mutex // guards replicas
	replicas []*process
	next     atomic.Int64
}

func (b *balancer) set(ps ...*process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas = ps
}

// watch asks the replicas every 50 ms until ctx ends.
func (b *balancer) watch(ctx context.Context, all func() []*process) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		var ready []*process
		for _, p := range all() {
			if p.ready() {
				ready = append(ready, p)
			}
		}
		b.set(ready...)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	replicas := b.replicas
	b.mu.Unlock()
	if len(replicas) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.Host = "", "http", ""
	out.URL.Host = replicas[int(b.next.Add(1))%len(replicas)].base
	res, err := balanced.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}

var balanced = &http.Transport{MaxIdleConnsPerHost: 100}

// A rolling restart of three replicas loses nothing.
func TestRollingRestart(t *testing.T) {
	_, environ := machineWorld(t)
	environ = append(environ, "SIDECAR_MIN_SIGTERM_DELAY=400ms")
	var mu sync.Mutex // guards replicas
	replicas := []*process{run(t, environ...), run(t, environ...), run(t, environ...)}
	all := func() []*process {
		mu.Lock()
		defer mu.Unlock()
		return append([]*process(nil), replicas...)
	}
	b := new(balancer)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.set(replicas...)
	go b.watch(ctx, all)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: b}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()

	stop, done := make(chan struct{}), make(chan map[string]sent, 1)
	go func() { done <- load(t, l.Addr().String(), stop) }()
	for i := range replicas {
		old := all()[i]
		fresh := run(t, environ...)
		mu.Lock()
		replicas[i] = fresh
		replicas = append(replicas, old) // still asked whether it is ready
		mu.Unlock()
		old.signal(syscall.SIGTERM)
		if code := old.end(20 * time.Second); code != 0 {
			t.Errorf("exit code %d: %s", code, old.log)
		}
	}
	close(stop)
	calls := <-done
	for _, c := range calls {
		if c.err != nil || c.status != http.StatusOK {
			t.Errorf("a call was lost: %d %s %v", c.status, c.code, c.err)
		}
	}
	t.Logf("%d calls through three restarts", len(calls))
	for _, p := range all()[:3] {
		p.signal(syscall.SIGTERM)
		p.end(20 * time.Second)
	}
}

// The second signal does not wait for anything.
func TestSecondSignal(t *testing.T) {
	_, environ := machineWorld(t)
	p := run(t, append(environ, "SIDECAR_MIN_SIGTERM_DELAY=20s")...)
	p.signal(syscall.SIGTERM)
	soon(t, "not ready", func() bool { return !p.ready() })
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.end(5 * time.Second); code == 0 {
		t.Error("it ended as if in order")
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
