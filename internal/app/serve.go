package app

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/telemetry"
)

// server serves the listeners, and ends in order: at the end of its context the
// sidecar is not ready at once, yet serves new calls for minDelay (whoever sends
// them needs time to notice), then refuses new ones, and open ones may finish
// until maxDelay has passed since the beginning of the end.
type server struct {
	log                *slog.Logger
	health             *telemetry.Health
	stopping, draining atomic.Bool
	minDelay, maxDelay time.Duration
	// wait waits for all calls, those that outlive their caller too; cutOff is told
	// when the end does not wait any longer.
	wait func(context.Context) error
	// warmUp, if not nil, runs before the sidecar says that it is ready.
	warmUp  func(context.Context)
	cutOff  func()
	servers []*http.Server
	open    sync.Map        // the open connections, as net.Conn
	group   *errgroup.Group // of all listeners
	broken  <-chan struct{} // closed when the first of them fails
}

func newServer(log *slog.Logger, minDelay, maxDelay time.Duration) *server {
	group, broken := errgroup.WithContext(context.Background())
	return &server{
		log: log, health: new(telemetry.Health), minDelay: minDelay, maxDelay: maxDelay,
		group: group, broken: broken.Done(),
	}
}

// add serves a handler on each listener of a group.
func (s *server) add(listeners []net.Listener, h http.Handler, c *callers) {
	if len(listeners) == 0 {
		return
	}
	hs := &http.Server{
		Handler:        s.parting(h),
		MaxHeaderBytes: proxy.MaxHeaderBytes,
		// No limit on reading or writing bodies: they may be large, and slow.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       90 * time.Second,
		ErrorLog:          log.New(serverLog{s.log}, "", 0),
		ConnContext:       c.know,
		ConnState:         s.track,
		// OPTIONS * goes through the gate like everything else.
		DisableGeneralOptionsHandler: true,
	}
	s.servers = append(s.servers, hs)
	for _, l := range listeners {
		s.group.Go(func() error {
			if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
}

// track keeps the open connections, for the end.
func (s *server) track(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Store(c, nil)
	case http.StateClosed, http.StateHijacked:
		s.open.Delete(c)
	}
}

// parting has each connection end with its next answer once the end has begun. Else a
// caller could send a call on one that is just being closed, and would not know
// whether it arrived.
func (s *server) parting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// lastLook is how long the listeners stay open after new calls are refused: what
// already waits to be accepted is told so, and not cut off by the kernel.
const lastLook = 100 * time.Millisecond

// unsent is how long the end waits for the rest of requests that were answered
// already, or never began: net/http would wait for their announced bodies.
const unsent = time.Second

// run blocks until ctx has ended and everything is shut down, or a listener fails.
func (s *server) run(ctx context.Context) error {
	if s.warmUp != nil {
		s.warmUp(ctx)
	}
	s.health.Started()
	tellSystemd(s.log, daemon.SdNotifyReady)
	select {
	case <-s.broken:
		s.closeAll()
		return s.group.Wait()
	case <-ctx.Done():
	}
	s.health.Stopping()
	s.stopping.Store(true)
	tellSystemd(s.log, stopping(max(s.minDelay, s.maxDelay)))
	begun := time.Now()
	s.log.Info("stopping", "min_delay", s.minDelay.String(), "max_delay", s.maxDelay.String())
	<-time.After(s.minDelay)
	s.draining.Store(true)
	// At least a moment, so that a maximum below the minimum still ends in order.
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(s.maxDelay-time.Since(begun), time.Second))
	defer cancel()
	<-time.After(lastLook)
	// While open calls end, new ones are told to go elsewhere. Shutdown would not
	// tell them: it drops what comes in on open connections, and a caller that gets
	// no answer can't know that nothing was done.
	_ = s.wait(left)
	s.shutdown(left)
	return s.group.Wait()
}

// shutdown ends every server in order, or by force when ctx ends. No call is under way,
// so nothing is to be read any longer; answers that their callers take slowly are still
// written.
func (s *server) shutdown(ctx context.Context) {
	for c := range s.open.Range {
		_ = c.(net.Conn).SetReadDeadline(time.Now().Add(unsent)) // one that has just ended needs none
	}
	var g errgroup.Group
	for _, hs := range s.servers {
		g.Go(func() error { return hs.Shutdown(ctx) })
	}
	err := g.Wait()
	if s.wait(ctx) != nil {
		s.log.Warn("calls were cut off: they did not end within the longest delay")
		s.cutOff()
	} else if err != nil {
		s.log.Info("closing connections that did not end within the longest delay")
	}
	s.closeAll()
}

func (s *server) closeAll() {
	for _, hs := range s.servers {
		_ = hs.Close()
	}
}

// serverLog takes what net/http's server has to say. Its text may quote what a
// stranger sent, so only its first words are kept.
type serverLog struct{ log *slog.Logger }

// Write implements [io.Writer].
func (l serverLog) Write(p []byte) (int, error) {
	what, _, _ := strings.Cut(string(p), ":")
	l.log.Debug("the HTTP server reports", "about", what)
	return len(p), nil
}
