package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// registry is what a vendor writes down of the demo's first tenant: the journal, its
// organizations as they are written to SFM, and a name for the combination.
const registry = `journals:
  - id: %[3]s
    name: Eksempel legekontor
    created: true
    organizations:
      - {orgnr: "%[1]s", name: Eksempel AS, her_id: "90001", active: true, address: Storgata 1, phone: "22000000"}
      - {orgnr: "%[2]s", name: Eksempel avd. sentrum, part_of: "%[1]s", parent: "%[1]s", active: true}
tenants:
  sentrum: {parent: "%[1]s", child: "%[2]s", journal: %[3]s}
`

// newcomer is a further customer, whose journal must not share a HER-id with another:
// RF would deliver the answers of both to one.
const newcomer = `  - id: %[2]s
    name: Ny legesenter
    organizations:
      - {orgnr: "%[1]s", name: Ny legesenter AS, her_id: "90001", address: Lilleveien 2, phone: "22000002"}
`

// newJournal is the id that the vendor made for the newcomer.
const newJournal = "6f1d0c6e-93b5-4c7e-8f0e-2b6a4f0d9a11"

// setUp shows what looks after a vendor's set-up: the way of a token through SFM's
// model, a set-up that is refused, and a journal that is made because that was meant.
func (e *epj) setUp(ctx context.Context, r *report, sim *simulator.Running) (err error) {
	dir, err := os.MkdirTemp("", "sfm-sidecar-demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	first, next := simulator.Tenants()[0], simulator.Tenants()[2]
	next.Journal = newJournal
	good := fmt.Sprintf(registry, first.Parent, first.Child, first.Journal)
	wrong := strings.Replace(good, "tenants:\n", fmt.Sprintf(newcomer, next.Parent, newJournal)+"tenants:\n", 1)
	if err := command(ctx, r, dir, good, 0, "explain", "sentrum"); err != nil {
		return err
	}
	if err := command(ctx, r, dir, wrong, 1, "lint"); err != nil {
		return err
	}
	return e.create(ctx, r, sim, next)
}

// command shows "sidecar tenants …" over a registry, which must end with an exit code.
func command(ctx context.Context, r *report, dir, text string, want int, args ...string) error {
	if err := os.WriteFile(filepath.Join(dir, "tenants.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	var out bytes.Buffer
	line := append([]string{"tenants"}, args...)
	got := app.Run(ctx, app.Options{
		Args: append(line, "-f", filepath.Join(dir, "tenants.yaml")), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
	})
	r.line("\n$ sidecar %s", strings.Join(line, " "))
	r.line("%s", strings.TrimRight(out.String(), "\n"))
	if got != want {
		return fmt.Errorf("sidecar %s ended with %d", strings.Join(line, " "), got)
	}
	return nil
}

// create writes a new customer's first organization: without saying that a new journal
// is meant, the sidecar refuses; with it, it looks first, and then lets the call through.
func (e *epj) create(ctx context.Context, r *report, sim *simulator.Running, t simulator.Tenant) error {
	// SFM itself knows no journal before it is made; the other calls of the demo spare that.
	sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.StrictJournals = true })
	defer sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.StrictJournals = false })
	r.tenant(t)
	body := simulator.SampleOrganization(t, t.Child, "90002")
	for _, intent := range []string{"", "new", "new"} {
		h := e.headers(&t)
		if intent != "" {
			h.Set("Sfm-Journal-Intent", intent)
		}
		status, code, err := e.post(ctx, "/basis/Organization", h, body)
		if err != nil {
			return err
		}
		r.line("EPJ     POST /basis/Organization  Sfm-Journal-Intent: %-3s  ->  %s", or(intent), strings.TrimSpace(fmt.Sprint(status, " ", code)))
	}
	for _, j := range sim.Journals() {
		if len(j.IDs) > 0 && j.IDs[0] == newJournal {
			r.line("SFM     made journal %s with %d organization, not active yet", newJournal, len(j.Organizations))
			return nil
		}
	}
	return errors.New("SFM has no such journal")
}

// post sends a body and returns the answer's status, and the code of a refusal.
func (e *epj) post(ctx context.Context, path string, h http.Header, body []byte) (status int, code string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header = h
	req.Header.Set("Content-Type", "application/fhir+json")
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Sidecar-Error"), err
}
