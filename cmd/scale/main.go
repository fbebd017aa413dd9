// Command scale foretells what a fleet of sidecars asks of HelseID and of the store that
// its pods share.
//
//	scale -pods 400 -pairs 50000 -calls 2
//
// docs/scale.md says what the numbers mean. With -play a fleet that is not too large is
// played as well, call by call, for as long as is said.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"sfm-sidecar/internal/scale"
)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(2)
	}
}

// mostPlayed is how many calls are played at most: some minutes' work.
const mostPlayed = 2e8

// run prints what is asked for.
func run(args []string, out, usage io.Writer) error {
	f := scale.Usual(100, 10_000)
	var play time.Duration
	flags := flags(&f, &play)
	flags.SetOutput(usage)
	if err := flags.Parse(args); err != nil {
		return err
	}
	f.Sessions = max(10_000, f.Entries/2) // as internal/app has it
	if err := f.Check(); err != nil {
		return err
	}
	l := scale.Predict(f)
	show(out, "planned", l)
	if play <= 0 {
		return nil
	}
	p := scale.Play{Warm: 3 * f.Lifetime, Lasts: play, Seed: 1}
	if n := l.Calls * (p.Warm + p.Lasts).Seconds(); n > mostPlayed {
		return fmt.Errorf("%.0f calls are too many to be played", n)
	}
	seen := scale.Simulate(f, p)
	show(out, "played", seen.Load())
	return nil
}

// flags are those of the program, with the defaults that are in f.
func flags(f *scale.Fleet, play *time.Duration) *flag.FlagSet {
	s := flag.NewFlagSet("scale", flag.ContinueOnError)
	s.IntVar(&f.Pods, "pods", f.Pods, "sidecars")
	s.IntVar(&f.Pairs, "pairs", f.Pairs, "pairs of person and tenant at work")
	s.IntVar(&f.Tenants, "tenants", f.Tenants, "tenants of a person")
	s.Float64Var(&f.Calls, "calls", f.Calls, "calls of a pair in a minute")
	s.BoolVar(&f.Sticky, "sticky", false, "the calls of a person go to one pod")
	s.BoolVar(&f.Machines, "machines", false, "client credentials instead of persons")
	s.BoolVar(&f.Alone, "alone", false, "nothing is shared")
	s.DurationVar(&f.Lifetime, "lifetime", f.Lifetime, "how long HelseID's tokens live")
	s.DurationVar(&f.RefreshBefore, "refresh-before", f.RefreshBefore, "SIDECAR_REFRESH_BEFORE")
	s.DurationVar(&f.Idle, "idle", f.Idle, "SIDECAR_SESSION_IDLE")
	s.DurationVar(&f.Shift, "shift", f.Shift, "how long a person is at work in a day")
	s.IntVar(&f.Entries, "entries", f.Entries, "SIDECAR_CACHE_ENTRIES")
	s.DurationVar(&f.HelseID, "helseid", f.HelseID, "how long a token request takes")
	s.DurationVar(play, "play", 0, "play the fleet, too, for this long")
	return s
}

func show(out io.Writer, how string, l scale.Load) {
	o := l.Store
	_, _ = fmt.Fprintf(out, `%s, in a second:
  calls                 %.1f
  token requests        %.2f
  store commands        %.1f, of which GET %.1f, writes %.1f, locks taken %.1f and given back %.1f,
                        subscribe %.1f, unsubscribe %.1f, asking for SFM's sessions %.1f; the server's processor: %.1f %% of a core
  messages of the store %.1f
  waits for another pod %.3f
subscriptions           %.0f
`, how, l.Calls, l.HelseID, o.Commands(), o.Gets, o.Puts, o.Obtains, o.Releases, o.Subscribes, o.Unsubscribes, o.Claims, 100*o.Processor(),
		o.Messages, l.Waits, l.Subscriptions)
	if l.PodBytes == 0 {
		return // not weighed when played
	}
	_, _ = fmt.Fprintf(out, `looks for idle sessions %.0f a day
memory of the store     %.1f MB of entries, %.1f MB for connections and subscriptions
connections             %d to %d, on pods with two cores
memory of a pod         %.1f MB of tokens and sessions
`, l.Looks, l.StoreBytes/1e6, l.ListenBytes/1e6, l.Connections, l.MostConnections, l.PodBytes/1e6)
}
