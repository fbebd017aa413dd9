// Command demo shows the whole way of a call in one process: stand-ins for
// HelseID and SFM, the sidecar between them, and a small EPJ. It needs nothing
// from outside, and everyone in it is synthetic.
//
// With -once it ends after the sample calls: exit code 0 when all went as it
// should, 1 otherwise. Without, it stays up for calls of your own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	once := flag.Bool("once", false, "end after the sample calls")
	person := flag.String("person", "lege", "who logs in: lege, vikar, sykepleier")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, demo{out: os.Stdout, errors: os.Stderr, person: *person, once: *once})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
