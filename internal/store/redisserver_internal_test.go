//go:build unix

package store

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// redisProgram finds the server. Without it a test is left out; TEST_REDIS=required
// makes that a failure.
func redisProgram(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("TEST_REDIS") == "required" {
			t.Fatal("no redis-server (Debian: apt-get install redis-server)")
		}
		t.Skip("no redis-server to test with (Debian: apt-get install redis-server)")
	}
	return path
}

// redisServer is a server of the test's own, which ends with it.
type redisServer struct {
	program string
	args    []string
	network string
	address string
	dir     string
	process *exec.Cmd
}

// startRedis starts a server at a socket in a folder of its own.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	return startServer(t, redisProgram(t), args...)
}

func startServer(t testing.TB, program string, args ...string) *redisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &redisServer{program: program, network: "unix", address: filepath.Join(dir, "s"), dir: dir}
	s.args = append([]string{"--port", "0", "--unixsocket", s.address}, args...)
	s.run(t)
	return s
}

// startRedisTCP starts a server at a loopback port.
func startRedisTCP(t testing.TB, args ...string) *redisServer {
	t.Helper()
	port := freePort(t)
	s := &redisServer{program: redisProgram(t), network: "tcp", address: "127.0.0.1:" + port, dir: t.TempDir()}
	s.args = append([]string{"--bind", "127.0.0.1", "--port", port}, args...)
	s.run(t)
	return s
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// run starts the program, also once more after a kill.
func (s *redisServer) run(t testing.TB) {
	t.Helper()
	s.process = exec.Command(s.program, append([]string{"--save", "", "--dir", s.dir}, s.args...)...)
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	p := s.process
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	within(t, 5*time.Second, "the server answers", func() bool {
		answer := s.tryCommand("PING")
		return strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH")
	})
}

func (s *redisServer) kill() {
	s.process.Process.Kill()
	s.process.Wait()
}

func (s *redisServer) pause(t testing.TB)  { s.signal(t, syscall.SIGSTOP) }
func (s *redisServer) resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *redisServer) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (s *redisServer) url() string {
	if s.network == "unix" {
		return "unix://" + s.address
	}
	return "redis://" + s.address
}

// tryCommand asks the server without any library, and returns the start of its
// answer, or "".
func (s *redisServer) tryCommand(line string) string {
	c, err := net.DialTimeout(s.network, s.address, time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c, "%s\r\n", line)
	answer := make([]byte, 1<<12)
	n, _ := c.Read(answer)
	return string(answer[:n])
}

// cli runs redis-cli.
func (s *redisServer) cli(t testing.TB, args ...string) string {
	t.Helper()
	at := []string{"-s", s.address}
	if s.network == "tcp" {
		host, port, _ := net.SplitHostPort(s.address)
		at = []string{"-h", host, "-p", port}
	}
	out, err := exec.Command("redis-cli", append(at, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %q: %v: %s", args, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func (s *redisServer) names(t testing.TB, pattern string) []string {
	t.Helper()
	return strings.Fields(s.cli(t, "--scan", "--pattern", pattern))
}

// startCluster starts three nodes.
func startCluster(t testing.TB) []*redisServer {
	t.Helper()
	var nodes []*redisServer
	args := []string{"--cluster", "create"}
	for range 3 {
		n := startRedisTCP(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", freePort(t))
		nodes = append(nodes, n)
		args = append(args, n.address)
	}
	if out, err := exec.Command("redis-cli", append(args, "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("making a cluster: %v: %s", err, out)
	}
	for _, n := range nodes {
		within(t, 20*time.Second, "the cluster is whole", func() bool {
			return strings.Contains(n.tryCommand("CLUSTER INFO"), "cluster_state:ok")
		})
	}
	return nodes
}

// startSentinel starts a sentinel for a master; it returns its address.
func startSentinel(t testing.TB, master *redisServer) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.address)
	own := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor main %s %s 1\n"+
		"sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n", own, host, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := exec.Command(redisProgram(t), file, "--sentinel")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	s := &redisServer{program: redisProgram(t), network: "tcp", address: "127.0.0.1:" + own}
	within(t, 10*time.Second, "the sentinel knows the replica", func() bool {
		return strings.Contains(s.tryCommand("SENTINEL MASTER main"), "num-slaves\r\n$1\r\n1\r\n")
	})
	return s.address
}

// openTest opens a store, and sees that nothing of it stays behind.
func openTest(t testing.TB, url string, change ...func(*RedisOptions)) *Redis {
	t.Helper()
	o := RedisOptions{URL: url, Keys: [][]byte{keyOne}, Space: "test"}
	for _, c := range change {
		c(&o)
	}
	r, err := OpenRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// checkLeaks fails the test when goroutines of this package or of the client are
// left at its end. It is called before anything is opened.
func checkLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // their end can't be waited for
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			left = ""
			for _, g := range strings.Split(string(stacks), "\n\n") {
				if strings.Contains(g, "go-redis") || strings.Contains(g, "store.(*Redis)") || strings.Contains(g, "store.(*line)") || strings.Contains(g, "store.(*redisHold)") {
					left += g + "\n\n"
				}
			}
			if left == "" {
				return
			}
		}
		t.Errorf("left running:\n%s", left)
	})
}
