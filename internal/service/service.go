// Package service makes the sidecar a service of the operating system, without
// another program around it: a systemd unit of the system or of a user, a launchd
// daemon or agent, or a Windows service.
//
// A service gets no secret in its definition. That holds one variable, which names
// the env file, and the file is the only thing to guard. It gets no rights it does
// not need either: a system service runs as nobody in particular (systemd's dynamic
// user, the service's own virtual account of Windows), unless an account is named.
//
// The package also holds what a service needs while it runs: the conversation with
// Windows' service manager ([Run]), the Event Log ([Life]) and a log file that
// does not grow for ever ([OpenLog]).
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kardianos/service"
)

// DefaultName is the service's name where no other is given.
const DefaultName = "sfm-sidecar"

// EnvFileVariable is the one variable that a definition sets.
const EnvFileVariable = "SIDECAR_ENV_FILE"

// Definition is what the operating system is told of a service.
type Definition struct {
	// Name is the service's name: letters, digits, - and _.
	Name string
	// Program is the absolute path of the sidecar.
	Program string
	// EnvFile is the absolute path of the file with the variables.
	EnvFile string
	// LogFile is the absolute path of a log file that is rotated. If empty, the log
	// goes to where the system keeps logs: the journal, the Windows Event Log; on
	// macOS, which has no such place, to a file under Library/Logs.
	LogFile string
	// Account is the user that a system service runs as. If empty: a dynamic user
	// under systemd, the service's virtual account on Windows. macOS has neither,
	// and needs one.
	Account string
	// User makes it a service of the user who installs it, for a desktop with a
	// single person's sidecar. Windows has no such services.
	User bool
}

// Work is what a service does until ctx ends; it returns the exit code.
type Work func(ctx context.Context, life Life) int

// Life is what a service manager gives to the work.
type Life struct {
	// Ready is to be called once when the work serves.
	Ready func()
	// Log opens the system's log; nil where the standard error is that, or where no
	// service manager has started the process.
	Log func() (io.WriteCloser, error)
}

// The errors of a service manager that a caller can tell apart.
var (
	// ErrNotInstalled says that there is no service of that name.
	ErrNotInstalled = errors.New("the service is not installed")
	// ErrInstalled says that there is one already.
	ErrInstalled = errors.New("a service of that name is installed already")
	// ErrUnsupported says that the machine has a service manager that this package
	// does not serve.
	ErrUnsupported = errors.New("this machine's service manager is not supported (systemd, launchd and Windows are)")
)

// Fault is something in a definition that can't be carried out.
type Fault struct {
	Option, Problem, Mend string
}

// Error implements error.
func (f *Fault) Error() string { return f.Option + " " + f.Problem + "; " + f.Mend }

// Manager tells the operating system what to do with one service.
type Manager struct {
	d    Definition
	goos string
	s    service.Service
}

// New returns the manager of a service. For anything but [Manager.Install] a
// definition needs no more than Name and User.
func New(d Definition) (*Manager, error) {
	if err := d.checkName(runtime.GOOS); err != nil {
		return nil, err
	}
	if runtime.GOOS == "linux" && service.Platform() != "linux-systemd" {
		return nil, ErrUnsupported
	}
	return manage(d)
}

func manage(d Definition) (*Manager, error) {
	s, err := service.New(nil, d.config(runtime.GOOS))
	if err != nil {
		return nil, fmt.Errorf("asking for the service manager: %w", err)
	}
	return &Manager{d: d, goos: runtime.GOOS, s: s}, nil
}

// Install makes the service known, to be started with the machine (or with the
// user's session), and does not start it. What is installed already is not touched.
func (m *Manager) Install() error {
	if err := m.d.check(m.goos); err != nil {
		return err
	}
	// The library would write the new variables before it finds the service there.
	if _, err := m.s.Status(); err == nil {
		return ErrInstalled
	}
	file := m.File()
	if _, err := os.Lstat(file); file != "" && err == nil {
		return fmt.Errorf("%w: %s", ErrInstalled, file)
	}
	if err := m.s.Install(); err != nil {
		if file != "" {
			_ = os.Remove(file) // half a service is in the way of the next attempt
		}
		return fmt.Errorf("installing the service: %w", reason(err))
	}
	return nil
}

// Uninstall stops the service and makes it unknown. Env file and log stay.
func (m *Manager) Uninstall() error {
	status, err := m.Status()
	if err != nil && status != Failed {
		return err
	}
	if status == Running {
		if err := m.s.Stop(); err != nil {
			return fmt.Errorf("stopping the service: %w", reason(err))
		}
	}
	if err := m.s.Uninstall(); err != nil {
		return fmt.Errorf("uninstalling the service: %w", reason(err))
	}
	return nil
}

// Start starts the service.
func (m *Manager) Start() error { return m.act("starting", m.s.Start) }

// Stop tells the service to end, which lets open calls finish.
func (m *Manager) Stop() error { return m.act("stopping", m.s.Stop) }

// Restart stops and starts the service.
func (m *Manager) Restart() error { return m.act("restarting", m.s.Restart) }

func (m *Manager) act(doing string, action func() error) error {
	if status, err := m.Status(); err != nil && status != Failed {
		return err
	}
	if err := action(); err != nil {
		return fmt.Errorf("%s the service: %w", doing, reason(err))
	}
	return nil
}

// Status is how a service stands.
type Status string

// What a service can be.
const (
	Running      Status = "running"
	Stopped      Status = "stopped"
	Failed       Status = "failed"
	NotInstalled Status = "not installed"
	unknown      Status = "unknown"
)

// Status asks how the service stands. A service that ended with a failure is
// [Failed], with an error that says so.
func (m *Manager) Status() (Status, error) {
	status, err := m.s.Status()
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return NotInstalled, ErrNotInstalled
	case err != nil && strings.Contains(err.Error(), "failed state"):
		return Failed, errors.New("the service has failed")
	case err != nil:
		return unknown, fmt.Errorf("asking for the service: %w", reason(err))
	case status == service.StatusRunning:
		return Running, nil
	}
	return Stopped, nil
}

// File is the file that defines the service, "" on Windows.
func (m *Manager) File() string {
	home, _ := os.UserHomeDir()
	switch {
	case m.goos == "linux" && m.d.User:
		return filepath.Join(home, ".config/systemd/user", m.d.Name+".service")
	case m.goos == "linux":
		return "/etc/systemd/system/" + m.d.Name + ".service"
	case m.goos == "darwin" && m.d.User:
		return filepath.Join(home, "Library/LaunchAgents", m.d.Name+".plist")
	case m.goos == "darwin":
		return "/Library/LaunchDaemons/" + m.d.Name + ".plist"
	}
	return ""
}

// reason makes an error of missing rights say what to do.
func reason(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (run this as administrator: sudo, or an elevated prompt)", err)
	}
	return err
}

// Note is what is left to do after an installation, "" for nothing.
func (m *Manager) Note() string {
	switch {
	case m.goos == "linux" && m.d.User:
		return "it ends when its user logs out, unless: loginctl enable-linger"
	case m.goos == "windows":
		account := m.d.Account
		if account == "" {
			account = `NT SERVICE\` + m.d.Name
		}
		return "before the start, let the service read its env file, and each file that names (HELSEID_CLIENT_JWK_FILE, say):\n" +
			`  icacls "` + m.d.EnvFile + `" /grant "` + account + `:R"`
	}
	return ""
}
