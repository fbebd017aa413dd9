package app

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"sfm-sidecar/internal/config"
)

// Exit codes of contract section 10.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage: sidecar [command]

  serve     answer calls until the process is told to end (the default)
  check     examine the set-up: HelseID, tokens, SFM; what is wrong and how to
            mend it
  tenants   look over, explain and write the registry of tenants: lint, explain,
            add, list, onboard
  keygen [-alg ES256|ES384|ES512|PS256] [-o FILE]
            make a client key: the private half to FILE (client.jwk), the
            public half to the standard output
  keys list [-o json]
            list the client's keys, here and at HelseID Selvbetjening
  keys rotate [-alg ALG] [-prune] [-o json]
            put a new key in place of the one that signs; -prune: only drop
            those that have ended
  keys dpop rotate [--now] [-o json]
            bring a new DPoP key to all replicas that share a store; --now:
            drop the old one at once, because it leaked
  sessions list [--state STATES] [--older-than TIME] [--unused-for TIME]
                [--json] [--sfm] [PERSON] [--orgnr NUMBER] [ID ...]
            list the sessions: of all replicas, or of the sidecar that runs
            with this environment; whose they are is not shown; --sfm: count
            open SFM sessions in a shared store, too, one read for each
  sessions end PERSON | --orgnr NUMBER | --all | ID ...
                [--dry-run] [--yes] and the flags of list but --sfm
            end sessions as a log-out does; PERSON is one of --pid - (a
            national identity number on the standard input), --pid-file FILE,
            --hpr NUMBER and --sub SUB
  probe startup|ready|live
            ask the sidecar that runs with this environment
  service install --env-file FILE [--log-file FILE] [--user | --account NAME]
            make the sidecar a service of this machine, or of this user
  service start|stop|restart|status|uninstall [--user]
            all of them take --name NAME too, for a second service
  support-bundle [--with-key] [-o FILE.zip|-]
            gather what support wants to know; no secrets, no persons;
            --with-key: send the running sidecar the caller key if it asks
  env       print every variable with its value; secrets stay hidden
  version   print the version

The configuration comes from environment variables: see docs/configuration.md.
`

// command carries out one word of the command line; its Options hold the
// arguments behind that word.
type command func(context.Context, Options) int

func commands() map[string]command {
	return map[string]command{
		"serve": alone(serve), "check": check, "tenants": tenants, "keygen": keygen, "keys": keys, "probe": probe, "sessions": sessions,
		"service": serviceWord, "support-bundle": supportBundle, "env": alone(env), "version": alone(version),
		"help": alone(help), "-h": alone(help), "--help": alone(help),
	}
}

// alone refuses arguments behind a command that takes none.
func alone(c command) command {
	return func(ctx context.Context, o Options) int {
		if len(o.Args) > 0 {
			return misused(o)
		}
		return c(ctx, o)
	}
}

// misused prints what there is to say instead.
func misused(o Options) int {
	_, _ = fmt.Fprint(o.Stderr, helpOf(o.command))
	return exitUsage
}

func asksHelp(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) })
}

// helpOf is the usage of one command, or all of it where that says no more.
func helpOf(name string) string {
	var own strings.Builder
	inside := false
	for line := range strings.Lines(usage) {
		switch words := strings.TrimLeft(line, " "); {
		case len(line)-len(words) == 2:
			inside = strings.HasPrefix(words, name+" ")
		case words == line:
			inside = false
		}
		if inside {
			own.WriteString(line)
		}
	}
	if own.Len() == 0 {
		return usage
	}
	return "usage: sidecar " + name + "\n\n" + own.String()
}

// serve runs the sidecar until ctx ends.
func serve(ctx context.Context, o Options) int {
	return serveUntil(ctx, o, func() {})
}

// serveUntil serves until ctx ends, and calls ready once it does.
func serveUntil(ctx context.Context, o Options, ready func()) int {
	s, err := Start(ctx, o)
	if err == nil {
		ready()
		err = s.Wait()
	}
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) { // told to end while it was starting
		return exitDone
	}
	_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
	if _, ok := errors.AsType[config.Faults](err); ok {
		return exitUsage
	}
	return exitFailed
}

// env prints the tables of the configuration with current values.
func env(_ context.Context, o Options) int {
	if err := config.WriteCurrent(o.Stdout, o.Environ); err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
		return exitFailed
	}
	return exitDone
}

func version(_ context.Context, o Options) int {
	_, _ = fmt.Fprintf(o.Stdout, "sidecar %s (%s, %s/%s)\n", versionOf(o), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitDone
}

// versionOf is the version that the program was built with, else what Go knows
// of its commit, or "(devel)".
func versionOf(o Options) string {
	if info, ok := debug.ReadBuildInfo(); o.Version == "" && ok {
		return info.Main.Version
	}
	return o.Version
}

func help(_ context.Context, o Options) int {
	_, _ = fmt.Fprint(o.Stdout, usage)
	return exitDone
}
