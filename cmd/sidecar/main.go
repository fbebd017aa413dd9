// Command sidecar is a local reverse proxy between an EPJ and SFM. It obtains
// and keeps the access tokens, makes a fresh DPoP proof for every call, and
// forwards. It is configured by environment variables; see docs/configuration.md.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // TZ counts where there is no time zone data too: in the image, on Windows; 0.4 MB

	"sfm-sidecar/internal/app"
)

// version is set by the linker.
var version string

func main() {
	// net/http tells the process's own logger what a server sent out of turn,
	// word for word.
	log.SetOutput(io.Discard)
	os.Exit(app.Run(untilSignal(), app.Options{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
	}))
}

// untilSignal ends its context at the first signal to end; the second ends the
// process at once, whatever is under way. Both go through one channel, so that the
// second is not lost where it comes close upon the first.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(1)
	}()
	return ctx
}
