//go:build unix

// Command fleet has many sidecars, each a process of its own, share one store while
// persons call through them at random, and the store is killed, paused and failed over.
// What came of it is judged from outside: by the answers, by what the stand-ins for
// HelseID and SFM saw, and by what is in the store at the end. It prints figures, and
// ends with exit code 1 when a promise was broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// run is one load: its size, and what befalls the store meanwhile.
type run struct {
	root, folder string   // of the source; for programs, logs and the store's files
	build        []string // further arguments of go build

	name             string
	sidecars         int
	persons, tenants int
	lasts            time.Duration
	rate             int           // calls a second
	life             time.Duration // of a token
	sentinels        bool          // a master, two replicas and three sentinels in place of one server
	unsaved          bool          // the server writes nothing to its disk
	loose            bool          // a master takes writes that no replica has
	plan             []step
}

// step is what happens to the store.
type step struct {
	at    time.Duration // since the load began
	what  string        // kill, pause or failover
	lasts time.Duration // until it is undone
}

// runs are the loads by name. The last two show what becomes of a store that is not
// set up as docs/shared-store.md has it; they break promises.
func runs() map[string]run {
	full := run{sidecars: 20, persons: 20, tenants: 10, lasts: time.Minute, rate: 150, life: 5 * time.Second}
	steady, killed, failed := full, full, full
	killed.plan = []step{
		{8 * time.Second, "kill", 1500 * time.Millisecond},
		{24 * time.Second, "pause", 3 * time.Second},
		{42 * time.Second, "kill", 3 * time.Second},
	}
	failed.sentinels = true
	failed.plan = []step{
		{10 * time.Second, "kill", 8 * time.Second},
		{35 * time.Second, "pause", 5 * time.Second},
	}
	unsaved, loose := killed, failed
	unsaved.unsaved, loose.loose = true, true
	return map[string]run{"steady": steady, "killed": killed, "failover": failed, "unsaved": unsaved, "loose": loose}
}

func main() {
	log.SetFlags(0)
	root := flag.String("root", "..", "folder of the source")
	keep := flag.String("keep", "", "absolute path of a folder to leave logs and the store's files in")
	rate := flag.Int("rate", 0, "calls a second")
	lasts := flag.Duration("lasts", 0, "how long one load lasts")
	build := flag.String("build", "", "further arguments of go build")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "fleet [-flags] steady|killed|failover|unsaved|loose ...")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := all(ctx, flag.Args(), func(r *run) {
		r.root, r.folder, r.build = *root, *keep, strings.Fields(*build)
		if *rate > 0 {
			r.rate = *rate
		}
		if *lasts > 0 {
			for i := range r.plan {
				r.plan[i].at = time.Duration(float64(r.plan[i].at) * lasts.Seconds() / r.lasts.Seconds())
			}
			r.lasts = *lasts
		}
	})
	stop()
	if err != nil {
		log.Fatal(err) //nolint:forbidigo // this is main, of a small tool
	}
}

// all does one run after the other and prints each.
func all(ctx context.Context, names []string, change func(*run)) error {
	known, broken := runs(), false
	for _, name := range names {
		r, ok := known[name]
		if !ok {
			return fmt.Errorf("there is no run %q", name)
		}
		r.name, r.plan = name, slices.Clone(r.plan)
		change(&r)
		report, err := r.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		report.print(os.Stdout)
		broken = broken || len(report.broken) > 0
	}
	if broken {
		return errors.New("a promise was broken")
	}
	return nil
}

// do starts everything, loads it, ends it, and judges.
func (r run) do(ctx context.Context) (*report, error) {
	folder, err := os.MkdirTemp(r.folder, "fleet-"+r.name+"-")
	if err != nil {
		return nil, err
	}
	if r.folder == "" {
		defer func() { _ = os.RemoveAll(folder) }()
	}
	all, err := newProcesses(folder)
	if err != nil {
		return nil, err
	}
	defer all.end()
	w, err := r.start(ctx, all)
	if err != nil {
		return nil, err
	}
	return w.work(ctx)
}
