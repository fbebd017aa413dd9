package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// demo is one showing.
type demo struct {
	out, errors io.Writer
	person      string
	once        bool
}

// world is everything that runs.
type world struct {
	sim     *simulator.Running
	sidecar *app.Sidecar
	stop    context.CancelFunc
	cause   context.Context // ends when the sidecar was told to stop
}

const clientID = "demo-epj"

// begin starts the stand-ins and the sidecar on free loopback ports. The sidecar's
// environment may be changed by more; %SFM% in it is SFM's address.
func begin(ctx context.Context, logs io.Writer, more ...string) (*world, error) {
	client, key, err := simulator.NewClient(clientID)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	sim, err := simulator.Start(simulator.Options{Clients: []simulator.Client{client}})
	if err != nil {
		return nil, fmt.Errorf("starting the stand-ins: %w", err)
	}
	for i := range more {
		more[i] = strings.ReplaceAll(more[i], "%SFM%", sim.SFM)
	}
	w := &world{sim: sim}
	w.cause, w.stop = context.WithCancel(ctx)
	w.sidecar, err = app.Start(w.cause, app.Options{Stderr: logs, Version: "demo", Environ: append([]string{
		"HELSEID_ISSUER=" + sim.HelseID,
		"HELSEID_CLIENT_ID=" + clientID,
		"HELSEID_CLIENT_JWK=" + string(key),
		"SFM_UPSTREAMS=basis=" + sim.SFM + ",session=" + sim.SFM,
		"SIDECAR_LISTEN=127.0.0.1:0",
		"SIDECAR_ADMIN_LISTEN=127.0.0.1:0",
		"SIDECAR_MAX_SIGTERM_DELAY=5s",
		"LOG_LEVEL=error",
	}, more...)})
	if err != nil {
		w.stop()
		return nil, errors.Join(fmt.Errorf("starting the sidecar: %w", err), sim.Close())
	}
	return w, nil
}

func (w *world) end() error {
	w.stop()
	return errors.Join(w.sidecar.Wait(), w.sim.Close())
}

// run shows everything, and stays up unless it was told to end.
func run(ctx context.Context, d demo) (err error) {
	w, err := begin(ctx, d.errors)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	r := &report{out: d.out}
	r.addresses(w)
	e := &epj{base: "http://" + w.sidecar.Addr(), client: http.Client{Timeout: time.Minute}}
	if err := e.logIn(ctx, r, d.person); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if err := e.sampleCalls(ctx, r, w.sim); err != nil {
		return fmt.Errorf("calling: %w", err)
	}
	if err := e.setUp(ctx, r, w.sim); err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	if d.once {
		return nil
	}
	r.yours(w, e)
	if err := e.others(ctx, r); ctx.Err() == nil {
		return err
	}
	r.line("")
	return nil
}
