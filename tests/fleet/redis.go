//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// servers are the store: one server, or a master with two replicas and three
// sentinels.
type servers struct {
	all     *processes
	sets    bool
	unsaved bool
	loose   bool
	files   string // folder for what they write
	redis   []*server
	guards  []*server // the sentinels
}

type server struct {
	name, port string
	args       []string
	process    *process
}

func (r run) startServers(ctx context.Context, all *processes) (*servers, error) {
	ports, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	s := &servers{all: all, sets: r.sentinels, unsaved: r.unsaved, loose: r.loose, files: all.files}
	count := 1
	if r.sentinels {
		count = 3
	}
	for i := range count {
		one := &server{name: fmt.Sprintf("redis%d", i), port: ports[i]}
		one.args = s.settings(one, ports[0])
		s.redis = append(s.redis, one)
		if err := s.launch(ctx, one); err != nil {
			return nil, err
		}
	}
	if !r.sentinels {
		return s, nil
	}
	if err := until(ctx, 20*time.Second, "the replicas follow", func() bool {
		return strings.Contains(s.redis[0].cli("INFO", "replication"), "slave1:") &&
			strings.Count(s.redis[0].cli("INFO", "replication"), "state=online") == 2
	}); err != nil {
		return nil, err
	}
	return s, s.startSentinels(ctx, ports[0], ports[3:])
}

// settings are those that docs/shared-store.md recommends.
func (s *servers) settings(one *server, master string) []string {
	folder := filepath.Join(s.files, one.name)
	args := []string{"--bind", "127.0.0.1", "--port", one.port, "--dir", folder, "--save", "", "--maxmemory-policy", "noeviction"}
	if !s.unsaved {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if s.sets && !s.loose {
		args = append(args, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
	}
	if s.sets {
		args = append(args, "--repl-diskless-sync-delay", "0")
		if one.port != master {
			args = append(args, "--replicaof", "127.0.0.1", master)
		}
	}
	return args
}

// launch starts a server, also after it was killed.
func (s *servers) launch(ctx context.Context, one *server) error {
	if err := os.MkdirAll(filepath.Join(s.files, one.name), 0o700); err != nil {
		return err
	}
	var err error
	if one.process, err = s.all.start(one.name, os.Environ(), "redis-server", one.args...); err != nil {
		return err
	}
	return until(ctx, 10*time.Second, one.name+" answers", one.answers)
}

func (one *server) answers() bool { return strings.HasPrefix(one.cli("PING"), "PONG") }

func (s *servers) startSentinels(ctx context.Context, master string, ports []string) error {
	for i, port := range ports {
		one := &server{name: fmt.Sprintf("sentinel%d", i), port: port}
		file := filepath.Join(s.all.folder, one.name+".conf")
		text := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor main 127.0.0.1 %s 2\n"+
			"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n", port, master)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		one.args = []string{file, "--sentinel"}
		if err := s.launch(ctx, one); err != nil {
			return err
		}
		s.guards = append(s.guards, one)
	}
	for _, one := range s.guards {
		if err := until(ctx, 30*time.Second, "the sentinels know each other", func() bool {
			seen := strings.Join(strings.Fields(one.cli("SENTINEL", "MASTER", "main")), " ")
			return strings.Contains(seen, "num-slaves 2 ") && strings.Contains(seen, "num-other-sentinels 2 ")
		}); err != nil {
			return err
		}
	}
	return nil
}

// address is what a sidecar is given.
func (s *servers) address() string {
	if !s.sets {
		return "redis://127.0.0.1:" + s.redis[0].port
	}
	return fmt.Sprintf("redis://127.0.0.1:%s?master_name=main&addr=127.0.0.1:%s&addr=127.0.0.1:%s", s.guards[0].port, s.guards[1].port, s.guards[2].port)
}

// master is the server that is written to, as a sentinel has it.
func (s *servers) master() *server {
	if !s.sets {
		return s.redis[0]
	}
	at := s.guards[0].cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
	for _, one := range s.redis {
		if strings.Contains(at, one.port) {
			return one
		}
	}
	return s.redis[0]
}

// befall carries a step out, and returns when the store served again.
func (s *servers) befall(ctx context.Context, p step) (served time.Time, err error) {
	victim := s.master()
	switch p.what {
	case "kill":
		victim.process.kill()
	case "pause":
		err = victim.process.signal(syscall.SIGSTOP)
	default:
		err = fmt.Errorf("there is no step %q", p.what)
	}
	if err != nil {
		return served, err
	}
	follows := make(chan error, 1)
	if s.sets {
		go func() {
			err := until(ctx, 30*time.Second, "another master takes writes", func() bool {
				now := s.master()
				// One that has no replica yet refuses writes.
				return now != victim && strings.Contains(now.cli("ROLE"), "master") && strings.HasPrefix(now.cli("SET", "probe", "", "PX", "100"), "OK")
			})
			served = time.Now()
			follows <- err
		}()
	}
	if err := pause(ctx, p.lasts); err != nil {
		return served, err
	}
	err = s.undo(ctx, p, victim)
	if !s.sets || err != nil {
		return time.Now(), err
	}
	err = <-follows
	return served, err
}

func (s *servers) undo(ctx context.Context, p step, victim *server) error {
	if p.what == "pause" {
		return victim.process.signal(syscall.SIGCONT)
	}
	return s.launch(ctx, victim)
}

func (one *server) cli(args ...string) string {
	out, _ := one.command(nil, args...)
	return string(out)
}

// command runs redis-cli, with commands from in if there are any.
func (one *server) command(in []byte, args ...string) ([]byte, error) {
	limit := 2 * time.Second // one that is paused says nothing
	if in != nil {
		limit = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", append([]string{"-h", "127.0.0.1", "-p", one.port}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	return cmd.Output()
}

// content is everything that somebody with the server in hands can read: names,
// values, their serialized form, channels, and the files.
func (s *servers) content() (all []byte, names []string, err error) {
	for _, one := range s.redis {
		scan, err := one.command(nil, "--scan")
		if err != nil {
			return nil, nil, fmt.Errorf("scanning: %w", err)
		}
		names = strings.Fields(string(scan))
		all = append(all, scan...)
		var ask bytes.Buffer
		fmt.Fprintln(&ask, "CONFIG SET rdbcompression no")
		for _, name := range names {
			fmt.Fprintf(&ask, "DUMP %q\nGET %q\n", name, name)
		}
		fmt.Fprintln(&ask, "PUBSUB CHANNELS\nSLOWLOG GET 1000\nCLIENT LIST\nSCRIPT KILL\nSAVE")
		said, err := one.command(ask.Bytes())
		if err != nil {
			return nil, nil, fmt.Errorf("dumping: %w", err)
		}
		all = append(all, said...)
		if err := filepath.WalkDir(filepath.Join(s.files, one.name), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			file, err := os.ReadFile(path)
			all = append(all, file...)
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	return all, names, nil
}
