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

	"sfm-sidecar/internal/app"
)

// version is set by the linker.
var version string

func main() {
	// net/http tells the process's own logger what a server sent out of turn,
	// word for word.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(app.Run(ctx, app.Options{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
	}))
}
