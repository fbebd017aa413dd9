package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// Run carries out work as the service of that name and returns its exit code. work
// calls Ready when it serves, and its ctx ends when Windows stops the service. In a
// console, where no service manager has started the process, work is carried out
// with ctx itself.
//
// The library that installs the service has a Run too. It does not notice that the
// work has ended by itself, and tells the manager nothing while a stop takes long.
func Run(ctx context.Context, name string, work Work) (int, error) {
	h := &handler{ctx: context.WithoutCancel(ctx), work: work, name: name}
	switch err := svc.Run(name, h); {
	case errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT):
		return work(ctx, Life{Ready: func() {}}), nil // nobody is at the other end
	case err != nil:
		return 0, fmt.Errorf("talking with Windows' service manager: %w", err)
	}
	return h.code, nil
}

// handler is the service in the eyes of Windows.
type handler struct {
	ctx  context.Context // the service's own lifetime
	work Work
	name string
	code int // read after svc.Run has returned
}

const (
	// waitHint is how long Windows waits for the next sign of life of a service that
	// starts or stops; beat is how often it gets one.
	waitHint = 20 * time.Second
	beat     = 5 * time.Second
)

// Execute implements [svc.Handler].
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (bool, uint32) {
	// Windows tells every service when somebody logs off, which Go makes a SIGTERM:
	// on a terminal server the sidecar would end with the first person who leaves.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	ctx, stop := context.WithCancel(h.ctx)
	defer stop()
	ready, done := make(chan struct{}), make(chan int, 1)
	life := Life{Ready: func() { close(ready) }, Log: func() (io.WriteCloser, error) { return openEvents(h.name) }}
	go func() { done <- h.work(ctx, life) }()
	now := svc.Status{State: svc.StartPending, WaitHint: uint32(waitHint.Milliseconds())}
	changes <- now
	alive := time.NewTicker(beat)
	defer alive.Stop()
	for {
		select {
		case h.code = <-done:
			// A code of its own tells the manager that this was no orderly stop, and it
			// starts the service again.
			return h.code != 0, uint32(h.code)
		case <-ready:
			ready = nil
			if now.State == svc.StartPending {
				now = svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
				changes <- now
			}
		case <-alive.C:
			if now.State != svc.Running {
				now.CheckPoint++
				changes <- now
			}
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				changes <- now
			case svc.Stop, svc.Shutdown:
				now = svc.Status{State: svc.StopPending, WaitHint: uint32(waitHint.Milliseconds())}
				changes <- now
				stop()
			}
		}
	}
}

// openEvents opens the Windows Event Log. Each Write is one entry.
func openEvents(name string) (io.WriteCloser, error) {
	log, err := eventlog.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the Event Log: %w", err)
	}
	return events{log}, nil
}

type events struct{ log *eventlog.Log }

// Write implements [io.Writer].
func (e events) Write(p []byte) (int, error) {
	text := eventText(p)
	var err error
	// The numbers are those of the entry's kind, as Windows' own EventCreate has them.
	switch severityOf(p) {
	case failure:
		err = e.log.Error(3, text)
	case warning:
		err = e.log.Warning(2, text)
	default:
		err = e.log.Info(1, text)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements [io.Closer].
func (e events) Close() error { return e.log.Close() }
