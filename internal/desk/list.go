package desk

import (
	"context"
	"slices"
	"strings"

	"sfm-sidecar/internal/journal"
)

// listed is one tenant of the list.
type listed struct {
	Alias       string `json:"alias"`
	Parent      string `json:"parent"`
	Child       string `json:"child,omitempty"`
	Journal     string `json:"journal"`
	JournalName string `json:"journal_name,omitempty"`
	Created     bool   `json:"created"`
	HERID       string `json:"her_id,omitempty"`
	State       string `json:"state"`
	File        string `json:"file"`
	Line        int    `json:"line"`
}

// The states of a listed tenant.
const (
	stateSound   = "sound"
	stateWarning = severityWarning
	stateError   = severityError
	stateUnknown = "unknown" // the registry does not say what the journal holds
)

// list prints the tenants of the registry, and in one word how each stands.
func (d *desk) list(_ context.Context, args []string) error {
	if _, err := d.parse(args, 0); err != nil {
		return err
	}
	registry, err := d.load()
	if err != nil {
		return err
	}
	set := registry.Set()
	index := journal.NewIndex(set)
	all := []listed{}
	for i, t := range set.Tenants {
		at := registry.Position(journal.Place{Journal: -1, Organization: -1, Tenant: i})
		one := listed{Alias: t.Alias, Parent: t.Parent, Child: t.Child, Journal: t.Journal, File: at.File, Line: at.Line, State: stateUnknown}
		r, err := index.Resolve(journal.Ask{Parent: t.Parent, Child: t.Child, Journal: t.Journal})
		if r.Journal >= 0 && len(set.Journals[r.Journal].Organizations) > 0 {
			one.JournalName, one.Created, one.HERID = set.Journals[r.Journal].Name, set.Journals[r.Journal].Created, r.HERID.Text
			one.State = stateOf(r.Findings, err)
		}
		all = append(all, one)
	}
	if d.json {
		return d.encode(map[string]any{"tenants": all})
	}
	d.printList(all)
	return nil
}

// stateOf is the worst of a tenant's findings.
func stateOf(found []journal.Finding, err error) string {
	has := func(s journal.Severity) bool {
		return slices.ContainsFunc(found, func(f journal.Finding) bool { return f.Severity == s })
	}
	switch {
	case err != nil || has(journal.Error):
		return stateError
	case has(journal.Warning):
		return stateWarning
	}
	return stateSound
}

func (d *desk) printList(all []listed) {
	rows := [][]cell{{{"ALIAS", bold}, {"PARENT", bold}, {"CHILD", bold}, {"HER-ID", bold}, {"STATE", bold}, {"JOURNAL", bold}}}
	styles := map[string]string{stateSound: green, stateWarning: yellow, stateError: red, stateUnknown: dim}
	for _, t := range all {
		rows = append(rows, []cell{{t.Alias, ""}, {t.Parent, ""}, {or(t.Child), ""}, {or(t.HERID), ""}, {t.State, styles[t.State]},
			{strings.TrimSpace(t.Journal + " " + t.JournalName), ""}})
	}
	if len(all) == 0 {
		d.out.say("no tenants in %s; add one with sidecar tenants add%s\n", d.file, d.elsewhere())
		return
	}
	d.out.table(0, rows)
}

// or is what stands where there is nothing.
func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
