// Command simulator serves a strict HelseID and SFM on loopback, for
// development without access to NHN and for the build servers of EPJ vendors.
//
//	simulator -write-client-jwk client.jwk
//
// makes a synthetic client, writes its private key, and prints the environment
// lines that a sidecar needs. With -client-jwk it registers a client whose key
// exists already, by the public half. How the stand-ins judge, and how they are
// made to fail, stands in package simulator.
//
//	simulator epj -sidecar http://localhost:8080 -every 30s
//	simulator probe
//
// are for a pod: an EPJ that logs a synthetic person in through the sidecar and
// makes a call, once or again and again, and a health check of the stand-ins.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// fail says what went wrong on standard error and returns the exit code.
func (s streams) fail(code int, err error) int {
	_, _ = fmt.Fprintln(s.err, "simulator:", err)
	return code
}
