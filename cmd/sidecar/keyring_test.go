package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sfm-sidecar/internal/simulator"
)

// TestKeyring runs the program on a desktop of its own: a session bus with a real
// Secret Service, whose key store lies in a folder of the test.
func TestKeyring(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the Secret Service is Linux's")
	}
	for _, program := range []string{"dbus-run-session", "dbus-send", "gnome-keyring-daemon"} {
		_, err := exec.LookPath(program)
		switch {
		case err != nil && os.Getenv("TEST_KEY_STORE") == "required":
			t.Fatal(err)
		case err != nil:
			t.Skip("no desktop to test with (make desktop installs one): ", err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/keyring",
		Setup: func(env *testscript.Env) error {
			if err := prepare(env); err != nil {
				return err
			}
			second := simulator.Tenants()[2]
			env.Setenv("PARENT2", second.Parent)
			env.Setenv("CHILD2", second.Child)
			env.Setenv("JOURNAL2", second.Journal)
			return prepareDesktop(env)
		},
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "login": login, "call": call, "expand": expand, "judge": judge, "logoff": logoff,
		},
	})
}

// desktop is the session of a person whose key store is unlocked.
type desktop struct {
	command *exec.Cmd
	stdin   io.Closer // its closing ends the session
}

// desktopValue is where a script's commands find the desktop.
type desktopValue struct{}

// unlocked starts the key store with an empty password, tells the bus, and stays
// until its input ends. It is never left to a bus to start the daemon: that one
// would outlive the bus.
const unlocked = `
printf '\n' | gnome-keyring-daemon --foreground --unlock --components=secrets >/dev/null 2>&1 &
daemon=$!
until dbus-send --session --print-reply --dest=org.freedesktop.DBus / \
	org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q 'boolean true'
do kill -0 $daemon || exit 1; sleep 0.05; done
echo "$DBUS_SESSION_BUS_ADDRESS"
cat >/dev/null
kill $daemon
wait`

func prepareDesktop(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	for _, dir := range []string{home, home + "/run"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	command := exec.Command("dbus-run-session", "--", "sh", "-c", unlocked)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home + "/run"}
	command.WaitDelay = 10 * time.Second
	stdin, err := command.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	d := &desktop{command, stdin}
	env.Defer(func() { _ = d.end() })
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return errors.Join(errors.New("the key store did not start"), d.end())
	}
	env.Values[desktopValue{}] = d
	env.Setenv("DBUS_SESSION_BUS_ADDRESS", strings.TrimSpace(address))
	return nil
}

// end closes the session. Ending it again does nothing.
func (d *desktop) end() error {
	if d.stdin == nil {
		return nil
	}
	err := d.stdin.Close()
	d.stdin = nil
	return errors.Join(err, d.command.Wait())
}

// logoff ends the desktop while the sidecar runs.
func logoff(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: logoff")
	}
	ts.Check(ts.Value(desktopValue{}).(*desktop).end())
}

// judge prints what the stand-ins noticed of all sidecars of the script.
func judge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: judge")
	}
	sim := ts.Value(simulatorValue{}).(*simulator.Running)
	logins, refreshes, keys := make(map[int]bool), 0, make(map[any]bool)
	for _, r := range sim.TokenRequests() {
		if r.Login > 0 {
			logins[r.Login] = true
		}
		if r.Grant == simulator.GrantRefresh && r.Outcome == "granted" {
			refreshes++
		}
	}
	for _, seen := range sim.Seen() {
		if cnf, ok := seen.TokenClaims["cnf"].(map[string]any); ok {
			keys[cnf["jkt"]] = true
		}
	}
	_, _ = fmt.Fprintf(ts.Stdout(), "log-ins %d, refreshes %d, reused %d, DPoP keys %d\n", len(logins), refreshes, sim.Reuses(), len(keys))
}
