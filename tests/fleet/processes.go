//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// processes are the programs of a run. All of them end with it, however it ends: a
// watch of its own kills them when this process is gone.
type processes struct {
	folder string
	files  string // folder of the store's files
	watch  *exec.Cmd
	tell   io.WriteCloser // a line with all pids; the last one counts

	mu   sync.Mutex // guards live
	live map[int]*process
}

type process struct {
	name  string
	all   *processes
	cmd   *exec.Cmd
	ended chan struct{} // closed at the end; cmd.ProcessState is there then
}

func newProcesses(folder string) (*processes, error) {
	p := &processes{folder: folder, live: map[int]*process{}}
	var err error
	if p.files, err = os.MkdirTemp(memory(), "fleet-store-"); err != nil {
		return nil, err
	}
	p.watch = exec.Command("sh", "-c", `while read -r line; do pids=$line; done; [ -z "$pids" ] || kill -9 $pids`)
	p.watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what interrupts the run does not reach it
	if p.tell, err = p.watch.StdinPipe(); err != nil {
		return nil, err
	}
	return p, p.watch.Start()
}

// memory is a folder that is on no disk, where Linux has one: others who write much
// to the machine's disk would else stop the store, which has each write synced. It is
// the process that is killed, not the machine.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// start runs a program; what it says goes to a file with its name.
func (p *processes) start(name string, env []string, program string, args ...string) (*process, error) {
	file, err := os.OpenFile(filepath.Join(p.folder, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	one := &process{name: name, all: p, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	one.cmd.Env, one.cmd.Stdout, one.cmd.Stderr, one.cmd.Dir = env, file, file, p.folder
	if err := one.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.change(func() { p.live[one.cmd.Process.Pid] = one })
	go func() {
		_ = one.cmd.Wait() // the state tells
		p.change(func() { delete(p.live, one.cmd.Process.Pid) })
		close(one.ended)
	}()
	return one, nil
}

// change changes live, and tells the watch.
func (p *processes) change(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	line := ""
	for pid := range p.live {
		line += fmt.Sprintf("%d ", pid)
	}
	_, _ = io.WriteString(p.tell, line+"\n")
}

func (p *processes) end() {
	p.mu.Lock()
	var live []*process
	for _, one := range p.live {
		live = append(live, one)
	}
	p.mu.Unlock()
	for _, one := range live {
		one.kill()
	}
	_ = p.tell.Close()
	_ = p.watch.Wait()
	_ = os.RemoveAll(p.files)
}

func (o *process) signal(s syscall.Signal) error { return o.cmd.Process.Signal(s) }

// kill ends a process, also one that is paused, and waits for its end.
func (o *process) kill() {
	_ = o.cmd.Process.Kill() // it may have ended
	<-o.ended
}

// stop asks a process to end.
func (o *process) stop(limit time.Duration) error {
	if err := o.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	select {
	case <-o.ended:
	case <-time.After(limit):
		return fmt.Errorf("%s did not end", o.name)
	}
	if code := o.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d", o.name, code)
	}
	return nil
}

// freePorts are ports of 127.0.0.1 that nobody uses now.
func freePorts(n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until the last is found
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports, nil
}

// until asks again and again, up to limit.
func until(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !done() {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return errors.Join(fmt.Errorf("waiting: %s", what), err)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
