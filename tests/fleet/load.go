//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outage is a time in which the store did not serve.
type outage struct {
	What        string
	Begun, Over time.Time
}

// evidence is what a run left to be judged.
type evidence struct {
	run      run
	Calls    []call
	Last     []call // made when all was over, one of each person for each tenant
	Outages  []outage
	Stood    []still
	Ledger   []operation
	Requests []tokenRequest
	persons  []person
	tenants  []tenant
}

// still is a moment in which this machine did not run what was due.
type still struct {
	At time.Time
	By time.Duration
}

const (
	// mostOpen is how many calls may be open; what is due then is not made.
	mostOpen = 2000
	// stillFrom is how late this process must be woken for that to count.
	stillFrom = 50 * time.Millisecond
)

// work loads the sidecars while the store meets its fate, ends them, and judges.
func (w *world) work(ctx context.Context) (*report, error) {
	e := &evidence{run: w.run, persons: w.persons, tenants: w.tenants}
	before := readMachine()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	watching, stopWatching := context.WithCancel(ctx)
	beside.Go(func() { e.Stood = stoodStill(watching) })
	var fate error
	beside.Go(func() { e.Outages, fate = w.fate(ctx) })
	left := w.load(ctx, e)
	stopWatching()
	beside.Wait()
	if fate != nil {
		return nil, fmt.Errorf("the store: %w", fate)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	after := readMachine()
	w.closing(ctx, e)
	if err := w.collect(ctx, e); err != nil {
		return nil, err
	}
	if w.run.folder != "" { // it holds no secret
		if err := save(filepath.Join(w.all.folder, "evidence.json"), e); err != nil {
			return nil, err
		}
	}
	report := e.judge()
	report.add("calls not made, since too many were open", "%d", left)
	report.line(after.since(before))
	w.metrics(ctx, report)
	w.search(report)
	w.stop(report)
	w.complaints(report)
	return report, nil
}

// stop has all sidecars end at once; each must end well.
func (w *world) stop(r *report) {
	errs := make([]error, len(w.sidecars))
	var all sync.WaitGroup
	for i, s := range w.sidecars {
		all.Go(func() { errs[i] = s.process.stop(20 * time.Second) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			r.breaks("%v", err)
		}
	}
}

func save(file string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// fate carries out the plan.
func (w *world) fate(ctx context.Context) ([]outage, error) {
	begun := time.Now()
	var outages []outage
	for _, p := range w.run.plan {
		if err := pause(ctx, time.Until(begun.Add(p.at))); err != nil {
			return nil, err
		}
		o := outage{What: p.what, Begun: time.Now()}
		var err error
		if o.Over, err = w.servers.befall(ctx, p); err != nil {
			return nil, err
		}
		outages = append(outages, o)
	}
	return outages, nil
}

// load makes calls at the run's rate, each by a person for a tenant through a sidecar
// of chance. It returns how many could not be made.
func (w *world) load(ctx context.Context, e *evidence) (left int) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards e.Calls and open
	open := 0
	begun := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		due := begun.Add(time.Duration(n) * time.Second / time.Duration(w.run.rate))
		if due.Sub(begun) >= w.run.lasts {
			break
		}
		_ = pause(ctx, time.Until(due))
		mu.Lock()
		if open >= mostOpen {
			left++
			mu.Unlock()
			continue
		}
		open++
		mu.Unlock()
		c := call{ID: fmt.Sprintf("call-%d", n), Sidecar: rand.N(len(w.sidecars)), Person: rand.N(len(w.persons)), Tenant: rand.N(len(w.tenants))}
		all.Go(func() {
			w.ask(&c)
			mu.Lock()
			defer mu.Unlock()
			open--
			e.Calls = append(e.Calls, c)
		})
	}
	all.Wait()
	return left
}

// closing has each person call for each tenant once more: nobody was logged out.
func (w *world) closing(ctx context.Context, e *evidence) {
	for p := range w.persons {
		for t := range w.tenants {
			c := call{ID: fmt.Sprintf("last-%d-%d", p, t), Sidecar: rand.N(len(w.sidecars)), Person: p, Tenant: t}
			w.ask(&c)
			e.Last = append(e.Last, c)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// collect asks the simulator what it saw.
func (w *world) collect(ctx context.Context, e *evidence) error {
	if err := w.fetch(ctx, http.MethodGet, w.issuer+"/_simulator/ledger", "", &e.Ledger); err != nil {
		return err
	}
	return w.fetch(ctx, http.MethodGet, w.issuer+"/_simulator/token-requests", "", &e.Requests)
}

// stoodStill notes when this process was not woken in time: that tells of a machine
// with too much to do, or of one that was stopped.
func stoodStill(ctx context.Context) (all []still) {
	const every = 20 * time.Millisecond
	for {
		due := time.Now().Add(every)
		if pause(ctx, every) != nil {
			return all
		}
		if by := time.Since(due); by > stillFrom {
			all = append(all, still{due, by})
		}
	}
}

// machine is what Linux tells of the load; elsewhere it is zero.
type machine struct {
	busy, total float64
	average     string
}

func readMachine() (m machine) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || i > 8 {
			continue
		}
		m.total += n
		if i != 4 && i != 5 { // idle, and waiting for a disk
			m.busy += n
		}
	}
	average, _ := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(average)); len(fields) > 0 {
		m.average = fields[0]
	}
	return m
}

func (m machine) since(before machine) string {
	if m.total <= before.total {
		return "the machine's load is not known"
	}
	return fmt.Sprintf("the machine was busy %.0f %% of the time, with a load average of %s at the end", 100*(m.busy-before.busy)/(m.total-before.total), m.average)
}
