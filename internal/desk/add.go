package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/tenantmap"
)

// wish is what add was asked for.
type wish struct {
	alias, parent, child        string
	name, herID, partOf         string
	address, phone              string
	journal, sfmID, journalName string
	fresh, active               bool
}

// written is what add wrote, for programs.
type written struct {
	File string `json:"file"`
	// Journal is the journal-id. Origin says where it came from: "minted", "sfm-id" or "registry".
	Journal      string     `json:"journal"`
	Origin       string     `json:"origin"`
	Tenant       tenantJSON `json:"tenant"`
	Organization *hop       `json:"organization"` // null: it was there, or the file does not keep track of it
	Findings     []finding  `json:"findings"`
	Next         []string   `json:"next"`
}

const (
	originMinted   = "minted"
	originSFMID    = "sfm-id"
	originRegistry = "registry"
)

// add writes a tenant into the registry, and its organization and journal where they are not there yet. What lint would
// call an error is not written.
func (d *desk) add(_ context.Context, args []string) error {
	w, err := d.wish(args)
	if err != nil {
		return err
	}
	editor, err := tenantmap.Edit(d.file)
	if err != nil {
		return d.broken(err)
	}
	before := editor.Registry().Set().Lint()
	out, err := d.apply(editor, w)
	if err != nil {
		return refusedEdit(err)
	}
	if out.Findings, err = d.judgeAdded(before, editor.Registry(), out); err != nil {
		return err
	}
	if err := editor.Save(); err != nil {
		return refusedEdit(err)
	}
	out.File, out.Next = d.file, d.next(out)
	if d.json {
		return d.encode(out)
	}
	d.printAdded(out)
	return nil
}

// wish reads the flags.
func (d *desk) wish(args []string) (wish, error) {
	var w wish
	for name, target := range map[string]*string{
		"alias": &w.alias, "parent": &w.parent, "child": &w.child, "name": &w.name, "her-id": &w.herID, "part-of": &w.partOf,
		"address": &w.address, "phone": &w.phone, "journal": &w.journal, "sfm-id": &w.sfmID, "journal-name": &w.journalName,
	} {
		d.flags.StringVar(target, name, "", "")
	}
	d.flags.BoolVar(&w.fresh, "new-journal", false, "")
	d.flags.BoolVar(&w.active, "active", false, "")
	if _, err := d.parse(args, 0); err != nil {
		return w, err
	}
	if d.file == "" {
		return w, usageError{"no registry: name it with -f FILE, or set TENANTS_FILE"}
	}
	return w, w.check()
}

// check refuses what can't be meant.
func (w wish) check() error {
	chosen := 0
	for _, yes := range []bool{w.journal != "", w.sfmID != "", w.fresh} {
		if yes {
			chosen++
		}
	}
	switch {
	case w.alias == "" || w.parent == "":
		return usageError{"add needs --alias and --parent"}
	case chosen > 1:
		return usageError{"say one of --journal, --sfm-id and --new-journal"}
	}
	for name, orgnr := range map[string]string{"--parent": w.parent, "--child": w.child, "--part-of": w.partOf} {
		if orgnr != "" && !journal.IsOrgnr(orgnr) {
			return usageError{name + " is no organization number: nine digits without spaces"}
		}
	}
	for name, id := range map[string]string{"--journal": w.journal, "--sfm-id": w.sfmID} {
		if id != "" && !journal.IsUUID(id) {
			return usageError{name + " is no UUID: 8-4-4-4-12 hexadecimal digits"}
		}
	}
	if w.child == w.parent {
		return usageError{"--child is the same as --parent: leave it out where the parent itself is meant"}
	}
	return nil
}

// orgnr is the organization that the tenant enters its journal by.
func (w wish) orgnr() string {
	if w.child != "" {
		return w.child
	}
	return w.parent
}

// apply makes the changes, and saves none.
func (d *desk) apply(editor *tenantmap.Editor, w wish) (written, error) {
	out := written{Tenant: tenantJSON{Alias: w.alias, Parent: w.parent, Child: w.child}}
	if _, taken := editor.Registry().Tenant(w.alias); taken {
		return out, fmt.Errorf("the alias %s %w", w.alias, tenantmap.ErrInUse)
	}
	set := editor.Registry().Set()
	known, err := d.chooseJournal(&out, set, w)
	if err != nil {
		return out, err
	}
	if known < 0 {
		j := journal.Journal{ID: out.Journal, Name: w.journalName, Created: out.Origin == originSFMID}
		if err := editor.AddJournal(j); err != nil {
			return out, err
		}
	}
	switch {
	case !w.describes() && (known < 0 || len(set.Journals[known].Organizations) == 0):
		// The registry does not keep track of what this journal holds.
	case known < 0 || !holds(set.Journals[known], w.orgnr()):
		o := journal.Organization{Orgnr: w.orgnr(), Name: w.name, HERID: w.herID, PartOf: w.partOf, Address: w.address, Phone: w.phone, Active: w.active}
		if w.child != "" {
			o.Parent = w.parent
		}
		if err := editor.AddOrganization(out.Journal, o); err != nil {
			return out, err
		}
		out.Organization = &hop{Orgnr: o.Orgnr, Name: o.Name, HERID: o.HERID, Address: o.Address, Phone: o.Phone, Active: o.Active}
	case w.describes():
		return out, failure{
			message: w.orgnr() + " is already in the journal " + out.Journal,
			mend:    "leave --name, --her-id, --part-of, --address, --phone and --active out, or change the organization in the file by hand",
		}
	}
	out.Tenant.Journal = out.Journal
	return out, editor.AddTenant(journal.Tenant{Alias: w.alias, Parent: w.parent, Child: w.child, Journal: out.Journal})
}

func (w wish) describes() bool {
	return w.name+w.herID+w.partOf+w.address+w.phone != "" || w.active
}

// chooseJournal finds the journal that is meant, or makes its id. The index is -1 for one that is not in the registry.
//
// A journal-id that SFM does not know makes a new, empty journal there as soon as an organization is written with it. So
// an id is never made where the customer has a journal already, unless --new-journal says so.
func (d *desk) chooseJournal(out *written, set *journal.Set, w wish) (int, error) {
	switch {
	case w.journal != "":
		out.Journal, out.Origin = w.journal, originRegistry
		i := find(set, w.journal)
		if i >= 0 {
			out.Journal = spelt(set.Journals[i], w.journal)
		} else {
			return i, failure{message: "the registry has no journal " + w.journal,
				mend: "check the id; take over one that SFM knows with --sfm-id, or leave --journal out for a new journal"}
		}
		return i, nil
	case w.sfmID != "":
		out.Journal, out.Origin = w.sfmID, originSFMID
		if find(set, w.sfmID) >= 0 {
			return -1, failure{message: "the registry has the journal " + w.sfmID + " already", mend: "name it with --journal"}
		}
		return -1, nil
	}
	if has := journalsOf(set, w.parent); len(has) > 0 && !w.fresh {
		return -1, failure{message: w.parent + " has a journal already: " + strings.Join(has, ", "),
			mend: "name it with --journal; a further, empty one is made with --new-journal only"}
	}
	id, err := mint(d.Random)
	out.Journal, out.Origin = id, originMinted
	return -1, err
}

// find is the index of the journal with this id, in any letter case; -1 = there is none.
func find(set *journal.Set, id string) int {
	return slices.IndexFunc(set.Journals, func(j journal.Journal) bool {
		return strings.EqualFold(j.ID, id) || slices.ContainsFunc(j.Aliases, func(alias string) bool { return strings.EqualFold(alias, id) })
	})
}

// spelt is an id of a journal as the registry writes it.
func spelt(j journal.Journal, id string) string {
	for _, one := range append([]string{j.ID}, j.Aliases...) {
		if strings.EqualFold(one, id) {
			return one
		}
	}
	return id
}

// journalsOf are the journals of a customer: its tenants', and those its organization is written to.
func journalsOf(set *journal.Set, parent string) []string {
	var all []string
	for _, t := range set.Tenants {
		if t.Parent == parent {
			all = append(all, strings.ToLower(t.Journal))
		}
	}
	for _, j := range set.Journals {
		if holds(j, parent) {
			all = append(all, strings.ToLower(j.ID))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func holds(j journal.Journal, orgnr string) bool {
	return slices.ContainsFunc(j.Organizations, func(o journal.Organization) bool { return o.Orgnr == orgnr })
}

// refusedEdit is what the editor would not do, for people.
func refusedEdit(err error) error {
	switch {
	case errors.Is(err, tenantmap.ErrInUse):
		return failure{message: err.Error(), mend: "nothing was written: an alias, a combination and an id keep their meaning; choose another"}
	case errors.Is(err, tenantmap.ErrChanged):
		return failure{message: err.Error(), mend: "nothing was written: run the command again"}
	}
	if faults, ok := errors.AsType[tenantmap.Faults](err); ok {
		f := failure{message: "nothing was written: the registry would be broken; the lines are those of the file as it would have been"}
		for _, one := range faults {
			f.findings = append(f.findings, fault(one))
		}
		return f
	}
	return err
}

// judgeAdded finds what would be wrong now that was not wrong before. An organization that is not active yet (O8) is what
// a new customer's looks like: a next step, and no reason to refuse it.
//
// Each is told without a place: the file it would stand in is not written.
func (d *desk) judgeAdded(before []journal.Finding, registry *tenantmap.Registry, out written) ([]finding, error) {
	known := map[[2]string]bool{}
	for _, f := range before {
		known[[2]string{f.Rule, f.Message}] = true
	}
	notes, wrong, doubts := []finding{}, []finding{}, []finding{}
	for _, f := range registry.Set().Lint() {
		if f.Rule == "H1" && out.Organization != nil {
			f.Mend = "Name its HER-id with --her-id, or the organization above it, which has one, with --part-of."
			if out.Origin != originRegistry {
				f.Mend += " Where the registry does not keep track of the journal's organizations, leave out what describes this one."
			}
		}
		switch {
		case known[[2]string{f.Rule, f.Message}]:
		case f.Rule == "O8":
		case f.Severity == journal.Error, f.Rule == "O1" && d.Strict:
			wrong = append(wrong, placed(nil, f))
		default:
			notes = append(notes, placed(nil, f))
		}
		if f.Rule == "O1" && !d.Strict && !known[[2]string{f.Rule, f.Message}] {
			doubts = append(doubts, placed(nil, f)) // a mistyped digit may be why the rest is wrong
		}
	}
	if len(wrong) > 0 {
		return nil, failure{message: "nothing was written: lint would call the result an error", mend: "mend what is listed, and run the command again", findings: append(wrong, doubts...)}
	}
	return notes, nil
}
