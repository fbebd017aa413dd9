package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sfm-sidecar/internal/simulator"
)

// report writes what happens, for a person at a terminal.
type report struct{ out io.Writer }

func (r *report) line(format string, args ...any) {
	_, _ = fmt.Fprintf(r.out, format+"\n", args...)
}

func (r *report) addresses(w *world) {
	r.line("HelseID (stand-in)  %s", w.sim.HelseID)
	r.line("SFM (stand-in)      %s", w.sim.SFM)
	r.line("sidecar             http://%s   metrics http://%s/metrics\n", w.sidecar.Addr(), w.sidecar.AdminAddr())
}

func (r *report) tenant(t simulator.Tenant) {
	child := ""
	if t.Child != "" {
		child = "  Sfm-Orgnr-Child: " + t.Child
	}
	r.line("\nSfm-Orgnr-Parent: %s%s  Sfm-Journal-Id: %s", t.Parent, child, t.Journal)
}

// refresh shows what HelseID was asked for a tenant's first call, and the claims
// of the token that SFM then saw.
func (r *report) refresh(asked simulator.TokenRequest, seen simulator.Seen) {
	r.line("HelseID refresh naming parent %s, child %s, journal %s: %s",
		asked.Tenant.Parent, or(asked.Tenant.Child), asked.Tenant.Journal, asked.Outcome)
	r.line("SFM     token  parent %v, child %v, journal %v,\n               level %v, hpr %v, cnf.jkt %s",
		claim(seen, "helseid://claims/client/claims/orgnr_parent"), claim(seen, "helseid://claims/client/claims/orgnr_child"),
		claim(seen, "nhn:sfm:journal-id"), claim(seen, "helseid://claims/identity/security_level"),
		claim(seen, "helseid://claims/hpr/hpr_number"), thumbprint(seen))
}

// call shows what the EPJ sent and what it got.
func (r *report) call(s sample, size int, took time.Duration) {
	r.line("EPJ     %s %s  ->  200, %.1f kB, %d ms", s.method, s.path, float64(size)/1000, took.Milliseconds())
}

// proof shows the proof that SFM saw with a call.
func (r *report) proof(seen simulator.Seen) {
	r.line("SFM     proof  htm %v, htu %v,\n               iat %v, jti %v", seen.ProofClaims["htm"], seen.ProofClaims["htu"],
		seen.ProofClaims["iat"], seen.ProofClaims["jti"])
}

func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func claim(seen simulator.Seen, name string) any {
	if v, ok := seen.TokenClaims[name]; ok {
		return v
	}
	return "-"
}

func thumbprint(seen simulator.Seen) string {
	cnf, _ := seen.TokenClaims["cnf"].(map[string]any)
	jkt, _ := cnf["jkt"].(string)
	return jkt
}

// totals count what HelseID and SFM were asked.
func (r *report) totals(sim *simulator.Running) {
	counts := map[string]int{}
	for _, t := range sim.TokenRequests() {
		counts[t.Grant+" "+t.Outcome]++
	}
	r.line("\nHelseID gave %d tokens by refresh after one log-in; SFM took %d calls, each with a proof of its own.",
		counts[simulator.GrantRefresh+" granted"], len(sim.Seen()))
}

// yours prints what to paste next.
func (r *report) yours(w *world, e *epj) {
	r.line("\nYour turn. With the session from above:\n")
	r.task(e.base, e.session)
	r.line("What is refused, and why (no session):\n")
	r.line("  curl -s %s/basis/Task -H 'Sfm-Orgnr-Parent: 100100126' -H 'Sfm-Journal-Id: %s'\n", e.base, simulator.Tenants()[0].Journal)
	r.line("What SFM received: %s/_simulator/ledger", w.sim.SFM)
	r.line("%s\nCtrl-C ends it.", strings.Repeat("-", 60))
}

// task prints a call for the first tenant.
func (r *report) task(base, session string) {
	t := simulator.Tenants()[0]
	r.line("  curl -i '%s/basis/Task?code=8' -H 'Sfm-Session: %s' \\", base, session)
	r.line("    -H 'Sfm-Orgnr-Parent: %s' -H 'Sfm-Orgnr-Child: %s' -H 'Sfm-Journal-Id: %s'\n", t.Parent, t.Child, t.Journal)
}
