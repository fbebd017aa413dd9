package service

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// Run carries out work as the service of that name and returns its exit code. work
// calls ready when it serves, and its ctx ends when Windows stops the service. In a
// console, where no service manager has started the process, work is carried out
// with ctx itself.
//
// The library that installs the service has a Run too. It does not notice that the
// work has ended by itself, and tells the manager nothing while a stop takes long.
func Run(ctx context.Context, name string, work func(ctx context.Context, ready func()) int) (int, error) {
	service, err := svc.IsWindowsService()
	if err != nil {
		return 0, fmt.Errorf("asking Windows whether this is a service: %w", err)
	}
	if !service {
		return work(ctx, func() {}), nil
	}
	// Windows tells every service when somebody logs off, which Go makes a SIGTERM:
	// on a terminal server the sidecar would end with the first person who leaves.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	h := &handler{ctx: context.WithoutCancel(ctx), work: work}
	if err := svc.Run(name, h); err != nil {
		return 0, fmt.Errorf("talking with Windows' service manager: %w", err)
	}
	return h.code, nil
}

// handler is the service in the eyes of Windows.
type handler struct {
	ctx  context.Context // the service's own lifetime
	work func(context.Context, func()) int
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
	ctx, stop := context.WithCancel(h.ctx)
	defer stop()
	ready, done := make(chan struct{}), make(chan int, 1)
	go func() { done <- h.work(ctx, func() { close(ready) }) }()
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

// SystemLog opens the Windows Event Log for a service, and is nil in a console.
// Each Write is one entry.
func SystemLog(name string) (io.WriteCloser, error) {
	if service, err := svc.IsWindowsService(); err != nil || !service {
		return nil, err
	}
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
