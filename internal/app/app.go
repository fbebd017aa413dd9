// Package app is where the rooms of the sidecar meet: it reads the
// configuration, builds each room from the bottom up, opens the listeners, and
// ends everything in order.
//
// A request goes one way:
//
//	EPJ ─▶ proxy ─▶ tenantmap     which organizations and journal?
//	         │ ───▶ session       which person?
//	         │ ───▶ tokencache    a good token, or one fetch (session, helseid)
//	         └ ───▶ dpop          token and fresh proof ─▶ SFM
//
// Nothing else sees the configuration: every room has options of its own, and
// this package translates.
package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/control"
	"sfm-sidecar/internal/telemetry"
)

// Options are what a process gives the program.
type Options struct {
	// Args are the arguments without the program's name.
	Args []string
	// Environ is the environment as NAME=value pairs.
	Environ []string
	// Stdin is read by commands that ask a person. If nil, nobody is asked.
	Stdin io.Reader
	// Stdout takes what a command prints, Stderr the log and the faults.
	Stdout, Stderr io.Writer
	// Version of the program; empty means a build without one.
	Version string

	command string // the word in front of Args
}

// Sidecar is a sidecar whose listeners are open.
type Sidecar struct {
	listeners *listeners
	house     *house
	server    *server
	quittable bool   // POST /quit is enabled
	end       func() // begins the end, as a signal does
	ended     chan struct{}
	err       error // why it ended; read after ended is closed
	telling   sync.Mutex
}

// Start builds a sidecar and serves in the background until ctx ends. Faults of
// the configuration are [config.Faults].
func Start(ctx context.Context, o Options) (*Sidecar, error) {
	cfg, warnings, err := config.Load(o.Environ)
	if err != nil {
		for _, w := range warnings {
			_, _ = fmt.Fprintln(o.Stderr, "sidecar: warning:", w)
		}
		return nil, err
	}
	log, _ := telemetry.NewLogger(o.Stderr, cfg.Log.Level, cfg.Log.Format)
	for _, w := range warnings {
		log.Warn("check the configuration", "variable", w.Variable, "problem", w.Problem, "mend", w.Mend)
	}
	ctx, end := context.WithCancel(ctx)
	s := &Sidecar{end: end, quittable: cfg.Listen.EnableQuit, ended: make(chan struct{})}
	if s.listeners, err = listen(ctx, cfg.Listen); err != nil {
		end()
		return nil, err
	}
	s.server = newServer(log, cfg.Keep.MinSigtermDelay, cfg.Keep.MaxSigtermDelay)
	if s.house, err = build(cfg, log, site{
		version: versionOf(o), port: s.listeners.callbackPort(), draining: s.server.draining.Load, stopping: ctx.Done(),
	}); err != nil {
		end()
		s.listeners.close()
		return nil, err
	}
	s.serve(ctx, cfg, log)
	return s, nil
}

// serve mounts the rooms on the listeners.
func (s *Sidecar) serve(ctx context.Context, cfg *config.Config, log *slog.Logger) {
	s.server.wait, s.server.cutOff = s.house.proxy.Wait, s.house.proxy.CutOff
	s.server.warmUp = func(ctx context.Context) { s.house.warmUp(ctx, cfg.Keep.WarmUp) }
	s.server.add(s.listeners.app, s.house.traces.Handler(s.house.proxy), s.house.callers)
	s.server.add(s.listeners.callback, s.house.traces.Handler(s.pages()), s.house.callers)
	s.server.add(s.listeners.admin, s.admin(), s.house.callers)
	s.greet(log, cfg)
	if file := cfg.HelseID.ClientJWKFile; file != "" {
		go watchKey(ctx, file, cfg.HelseID.ClientJWK.Reveal(), s.house.keys, log)
	}
	go s.house.registry.watch(ctx)
	go s.house.followKeys(ctx)
	go watchdog(s.ended, log)
	go func() {
		defer close(s.ended)
		defer s.end()
		defer s.house.close()
		s.err = s.server.run(ctx)
	}()
}

// pages serves the browser's pages alone, where they have a port of their own.
func (s *Sidecar) pages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !control.BrowserPage(r) {
			s.elsewhere(w, r, "this address serves the log-in pages alone")
			return
		}
		s.house.proxy.ServeHTTP(w, r)
	})
}

// elsewhere refuses what a listener does not serve. The gate comes first, as it
// does everywhere but before probes and metrics.
func (s *Sidecar) elsewhere(w http.ResponseWriter, r *http.Request, detail string) {
	err := s.house.proxy.Admit(r)
	if err == nil {
		err = &refusal{"control-unknown", detail}
	}
	s.house.proxy.Refuse(w, r, err)
}

// adminBodyTime is how long the body of a request to an admin listener may take to come.
const adminBodyTime = 10 * time.Second

// admin serves probes, metrics, the status page and sessions, and ends the process
// where that is enabled.
func (s *Sidecar) admin() http.Handler {
	probes, metrics := s.server.health.Handler(), s.house.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 { // net/http waits for the rest of a body before it answers
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(adminBodyTime))
		}
		switch r.URL.Path {
		case "/metrics":
			metrics.ServeHTTP(w, r)
		case "/startup", "/readyz", "/livez":
			probes.ServeHTTP(w, r)
		case statusPath, supportPath:
			s.showStatus(w, r)
		case sessionsPath, sessionsEndPath:
			s.serveSessions(w, r)
		case quitPath:
			s.quit(w, r)
		default:
			s.elsewhere(w, r, "this address serves /startup, /readyz, /livez and /metrics alone")
		}
	})
}

// Addr is the application listener's address: host:port, or a socket's path.
func (s *Sidecar) Addr() string { return s.listeners.app[0].Addr().String() }

// AdminAddr is the admin listener's address.
func (s *Sidecar) AdminAddr() string { return s.listeners.admin[0].Addr().String() }

// Wait blocks until the sidecar has ended and returns why, nil after the end of
// its context.
func (s *Sidecar) Wait() error {
	<-s.ended
	return s.err
}

// greet says where the sidecar answers, and which redirect address must be
// registered at HelseID.
func (s *Sidecar) greet(log *slog.Logger, cfg *config.Config) {
	l := s.listeners
	for _, u := range cfg.SFM.Upstreams {
		log.Info("upstream", "name", u.Name, "host", u.URL.Host, "api", cfg.SFM.API)
	}
	s.house.greetStore()
	redirect, _ := pageAddresses(cfg.HelseID.RedirectURI, l.callbackPort())
	log.Info("ready for calls", "listen", addresses(l.app), "callback", addresses(l.callback), "admin", addresses(l.admin),
		"redirect_uri", redirect)
}

func addresses(group []net.Listener) string {
	var all []string
	for _, l := range group {
		all = append(all, l.Addr().String())
	}
	return strings.Join(all, " ")
}

// Run carries out a command line and returns the exit code: 0 done, 1 failed,
// 2 bad configuration or usage.
func Run(ctx context.Context, o Options) int {
	name := "serve"
	if len(o.Args) > 0 {
		name, o.Args = o.Args[0], o.Args[1:]
	}
	c, ok := commands()[name]
	if !ok {
		return misused(o)
	}
	o.command = name
	if asksHelp(o.Args) && name != "check" && name != "tenants" { // which have more to tell
		_, _ = fmt.Fprint(o.Stdout, helpOf(name))
		return exitDone
	}
	return c(ctx, o)
}
