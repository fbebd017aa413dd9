package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/service"
)

// serviceWord carries out "sidecar service WORD": run is what a service manager
// starts, the others tell it what to do.
func serviceWord(ctx context.Context, o Options) int {
	if len(o.Args) == 0 {
		return misused(o)
	}
	word, o := o.Args[0], shifted(o)
	if word == "run" {
		return serviceRun(ctx, o)
	}
	act, ok := map[string]func(Options, *service.Manager) int{
		"install": serviceInstall, "uninstall": told((*service.Manager).Uninstall, "uninstalled; env file and log are still there"),
		"start": told((*service.Manager).Start, "started"), "stop": told((*service.Manager).Stop, "stopped"),
		"restart": told((*service.Manager).Restart, "restarted"), "status": serviceStatus,
	}[word]
	if !ok {
		return misused(o)
	}
	d, err := define(o, word)
	if err != nil {
		return misused(o)
	}
	if word == "install" && !ready(o, d.EnvFile) {
		return exitUsage
	}
	m, err := service.New(d)
	if err != nil {
		return serviceFailed(o, err)
	}
	return act(o, m)
}

func shifted(o Options) Options {
	o.Args = o.Args[1:]
	return o
}

// define reads the options of a word into a definition whose paths are absolute.
func define(o Options, word string) (service.Definition, error) {
	flags := flagSet(o, "service "+word)
	d := service.Definition{Name: service.DefaultName}
	flags.StringVar(&d.Name, "name", d.Name, "")
	flags.BoolVar(&d.User, "user", false, "")
	if word == "install" {
		flags.StringVar(&d.EnvFile, "env-file", variable(o.Environ, service.EnvFileVariable), "")
		flags.StringVar(&d.LogFile, "log-file", "", "")
		flags.StringVar(&d.Account, "account", "", "")
	}
	if err := flags.Parse(o.Args); err != nil {
		return d, err
	}
	if flags.NArg() > 0 || word == "install" && d.EnvFile == "" {
		return d, flag.ErrHelp
	}
	var err error
	if d.Program, err = os.Executable(); err != nil {
		return d, fmt.Errorf("looking for the program: %w", err)
	}
	for _, file := range []*string{&d.EnvFile, &d.LogFile} {
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil {
			return d, fmt.Errorf("finding %s: %w", *file, err)
		}
	}
	return d, nil
}

// variable is the value of a variable, the last one set.
func variable(environ []string, name string) string {
	var value string
	for _, pair := range environ {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v
		}
	}
	return value
}

// ready says whether a service with that env file would start: it is looked at now,
// while somebody sees what is wrong.
func ready(o Options, envFile string) bool {
	if !guarded(o, envFile) {
		return false
	}
	_, warnings, err := config.Load([]string{service.EnvFileVariable + "=" + envFile})
	for _, w := range warnings {
		_, _ = fmt.Fprintln(o.Stderr, "sidecar: warning:", w)
	}
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\nsidecar: the service would not start; nothing was installed\n", err)
		return false
	}
	return true
}

// guarded refuses an env file that everybody on the machine can read: a service is
// where the client's key lies for years.
func guarded(o Options, envFile string) bool {
	wide, err := config.OthersMayRead(envFile)
	switch {
	case err != nil:
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: the env file can't be looked at: %v; name a file with --env-file\n", err)
	case wide:
		mend := "chmod o-rwx " + envFile + " && chmod o-w " + filepath.Dir(envFile)
		if runtime.GOOS == "windows" {
			mend = `icacls "` + envFile + `" /inheritance:r /grant:r "*S-1-5-32-544:F" "*S-1-5-18:F"`
		}
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: the env file can be read or changed by every user of this machine, and it may hold the client's key;"+
			" take that right away: %s\n", mend)
	default:
		return true
	}
	return false
}

func serviceInstall(o Options, m *service.Manager) int {
	if err := m.Install(); err != nil {
		return serviceFailed(o, err)
	}
	_, _ = fmt.Fprintln(o.Stdout, "installed; it starts with the machine, or now: sidecar service start")
	if note := m.Note(); note != "" {
		_, _ = fmt.Fprintln(o.Stdout, note)
	}
	return exitDone
}

// told makes a word of what the manager does.
func told(act func(*service.Manager) error, done string) func(Options, *service.Manager) int {
	return func(o Options, m *service.Manager) int {
		if err := act(m); err != nil {
			return serviceFailed(o, err)
		}
		_, _ = fmt.Fprintln(o.Stdout, done)
		return exitDone
	}
}

// serviceStatus prints running, stopped, failed or not installed; only the first is
// a success.
func serviceStatus(o Options, m *service.Manager) int {
	status, err := m.Status()
	_, _ = fmt.Fprintln(o.Stdout, status)
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
	}
	if status == service.Running {
		return exitDone
	}
	return exitFailed
}

func serviceFailed(o Options, err error) int {
	_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
	if _, ok := errors.AsType[*service.Fault](err); ok {
		return exitUsage
	}
	return exitFailed
}

// serviceRun is the sidecar as a service manager starts it: the env file must be
// guarded, and the log goes where somebody finds it.
func serviceRun(ctx context.Context, o Options) int {
	flags := flagSet(o, "service run")
	name := flags.String("name", service.DefaultName, "")
	logFile := flags.String("log-file", "", "")
	if flags.Parse(o.Args) != nil || flags.NArg() > 0 {
		return misused(o)
	}
	code, err := service.Run(ctx, *name, func(ctx context.Context, life service.Life) int {
		return serviceServe(ctx, o, *logFile, life)
	})
	if err != nil {
		return serviceFailed(o, err)
	}
	return code
}

func serviceServe(ctx context.Context, o Options, logFile string, life service.Life) int {
	log, err := serviceLog(logFile, life)
	if log != nil {
		defer log.Close()
		o.Stderr = log
	}
	if err != nil {
		return serviceFailed(o, err)
	}
	if file := variable(o.Environ, service.EnvFileVariable); file != "" && !guarded(o, file) {
		return exitUsage
	}
	return serveUntil(ctx, o, life.Ready)
}

// serviceLog is where the log of a service goes, nil for the standard error. With an
// error comes where to say it: a service has no other mouth than the system's log.
func serviceLog(file string, life service.Life) (io.WriteCloser, error) {
	var fileErr error
	if file != "" {
		log, err := service.OpenLog(file)
		if err == nil {
			return log, nil
		}
		fileErr = err
	}
	if life.Log == nil {
		return nil, fileErr
	}
	log, err := life.Log()
	if err != nil {
		return nil, errors.Join(fileErr, err)
	}
	return log, fileErr
}
