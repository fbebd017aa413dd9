package desk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/tenantmap"
)

// maxLevels bounds how far a unit is followed upward in Enhetsregisteret.
const maxLevels = 8

// The registers' names, for people.
const (
	nameBrreg     = "Enhetsregisteret"
	nameAddresses = "Adresseregisteret"
)

// errNoRegister says that this program was built or configured without one.
var errNoRegister = errors.New("this program has no way to ask it")

// units are what Enhetsregisteret said, by organization number.
type units map[string]lookup

// lookup is a unit, or that the register knows none.
type lookup struct {
	register.Unit
	known bool
}

// askBrreg compares organizations and tenants with Enhetsregisteret. HelseID does not do so for clients of several
// tenants, so nobody else finds a child below the wrong parent (rules O2 and O4).
func (d *desk) askBrreg(ctx context.Context, registry *tenantmap.Registry, found *[]finding) (registerReport, units) {
	report := registerReport{Name: nameBrreg}
	set := registry.Set()
	all, err := d.units(ctx, orgnrsOf(set))
	report.Asked = len(all)
	if err != nil {
		report.Problem = reason(err)
		*found = append(*found, unasked("brreg", nameBrreg, err))
	}
	for _, f := range compareUnits(set, all) {
		*found = append(*found, placed(registry, f))
	}
	return report, all
}

// overrule reports whether Enhetsregisteret has answered what a finding has from elsewhere in the file: what a number lies
// below. Whoever is wrong about it would else make others look wrong.
func (u units) overrule(set *journal.Set, f journal.Finding) bool {
	if f.Severity != journal.Error || !slices.Contains([]string{"O2", "O3", "O4"}, f.Rule) {
		return false
	}
	var upper, lower string
	if f.At.Tenant >= 0 {
		t := set.Tenants[f.At.Tenant]
		upper, lower = t.Parent, t.Child
	} else {
		o := set.Journals[f.At.Journal].Organizations[f.At.Organization]
		upper, lower = o.Parent, o.Orgnr
	}
	return u.answers(upper) && (lower == "" || u.answers(lower))
}

// answers reports whether the register has told of a unit and of all above it.
func (u units) answers(orgnr string) bool {
	for range maxLevels {
		unit, asked := u[orgnr]
		if !asked || unit.Parent == "" {
			return asked
		}
		orgnr = unit.Parent
	}
	return true
}

// unasked is the finding about a register that does not answer.
func unasked(rule, name string, err error) finding {
	f := finding{
		Rule: rule, Severity: severityWarning, Message: name + " could not be asked: " + reason(err),
		Mend: "try again later",
	}
	if broken, ok := errors.AsType[*register.Error](err); ok && broken.Mend != "" {
		f.Mend = broken.Mend
	}
	if hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		f.Mend = hinted.Hint()
	}
	if errors.Is(err, errNoRegister) {
		f.Mend = "leave the flag out"
	}
	f.Mend += "; what it would have shown is not known"
	return f
}

// reason is why a register could not be asked, without its name.
func reason(err error) string {
	broken, ok := errors.AsType[*register.Error](err)
	if !ok {
		return err.Error()
	}
	if cause := errors.Unwrap(broken); cause != nil {
		return broken.Problem + ": " + cause.Error()
	}
	return broken.Problem
}

// units asks about organizations, and about all units above them.
func (d *desk) units(ctx context.Context, orgnrs []string) (units, error) {
	all := units{}
	if d.Brreg == nil {
		return all, errNoRegister
	}
	client, err := d.Brreg()
	if err != nil {
		return all, err
	}
	var mu sync.Mutex // guards all
	for range maxLevels {
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(4)
		for _, orgnr := range orgnrs {
			group.Go(func() error {
				unit, err := client.Unit(groupCtx, orgnr)
				if err != nil && !errors.Is(err, register.ErrUnknown) {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				all[orgnr] = lookup{unit, err == nil}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return all, err
		}
		if orgnrs = above(all); len(orgnrs) == 0 {
			break
		}
	}
	return all, nil
}

// above are the units that others hang on and that nobody has asked about.
func above(all units) []string {
	var next []string
	seen := map[string]bool{}
	for _, u := range all {
		if _, asked := all[u.Parent]; u.Parent != "" && !asked && !seen[u.Parent] {
			seen[u.Parent] = true
			next = append(next, u.Parent)
		}
	}
	return next
}

// orgnrsOf are the organizations that a registry names, each once.
func orgnrsOf(set *journal.Set) []string {
	var all []string
	seen := map[string]bool{}
	add := func(orgnr string) {
		if orgnr != "" && !seen[orgnr] {
			seen[orgnr] = true
			all = append(all, orgnr)
		}
	}
	for _, j := range set.Journals {
		for _, o := range j.Organizations {
			add(o.Orgnr)
			add(o.Parent)
		}
	}
	for _, t := range set.Tenants {
		add(t.Parent)
		add(t.Child)
	}
	return all
}

// compareUnits judges a registry by what Enhetsregisteret knows. What could not be asked is passed over.
func compareUnits(set *journal.Set, all units) []journal.Finding {
	var found []journal.Finding
	for i, t := range set.Tenants {
		at := journal.Place{Journal: -1, Organization: -1, Tenant: i, Field: "parent"}
		found = append(found, all.top(t.Parent, at)...)
		if t.Child != "" {
			at.Field = "child"
			found = append(found, all.exists(t.Child, at)...)
			found = append(found, all.below(t.Child, t.Parent, at)...)
		}
	}
	for i, j := range set.Journals {
		for k, o := range j.Organizations {
			at := journal.Place{Journal: i, Organization: k, Tenant: -1, Field: "orgnr"}
			found = append(found, all.exists(o.Orgnr, at)...)
			found = append(found, all.named(o, at)...)
			if o.Parent != "" {
				at.Field = "parent"
				found = append(found, all.top(o.Parent, at)...)
				found = append(found, all.below(o.Orgnr, o.Parent, at)...)
			}
		}
	}
	return found
}

// exists finds a unit that is not in the register, or no more.
func (u units) exists(orgnr string, at journal.Place) []journal.Finding {
	unit, asked := u[orgnr]
	switch {
	case !asked:
		return nil
	case !unit.known:
		return []journal.Finding{{Rule: "O2", Severity: journal.Error, At: at, Message: orgnr + " is not in Enhetsregisteret",
			Mend: "write the organization number as Enhetsregisteret has it"}}
	case unit.Deleted:
		return []journal.Finding{{Rule: "O2", Severity: journal.Error, At: at, Message: strings.TrimSpace(orgnr+" "+unit.Name) + " is struck off in Enhetsregisteret",
			Mend: "move the customer to its new organization number: sidecar tenants onboard --plan new-orgnr"}}
	}
	return nil
}

// top finds a parent that is no top-level unit. Agreements and the delegation in Altinn hang on the top level alone.
func (u units) top(orgnr string, at journal.Place) []journal.Finding {
	found := u.exists(orgnr, at)
	if unit := u[orgnr]; len(found) == 0 && unit.known && !unit.Top() {
		top := orgnr
		for range maxLevels {
			next := u[top].Parent
			if next == "" {
				break
			}
			top = next
		}
		f := journal.Finding{Rule: "O2", Severity: journal.Error, At: at,
			Message: orgnr + " " + unit.Name + " is no top-level unit", Mend: "find the unit above it in Enhetsregisteret, and make that the parent"}
		if top != orgnr {
			f.Message += ": it hangs below " + unit.Parent
			f.Mend = "make " + top + " the parent, and " + orgnr + " the child"
		}
		found = append(found, f)
	}
	return found
}

// below finds a child that does not hang below its parent, on any level.
func (u units) below(child, parent string, at journal.Place) []journal.Finding {
	node, known := child, u[child].known && u[parent].known
	for range maxLevels {
		if !known || node == parent {
			return nil
		}
		next, asked := u[node]
		if !asked {
			return nil // the register stopped answering half-way
		}
		if next.Parent == "" {
			break
		}
		node = next.Parent
	}
	message, mend := child+" does not hang below "+parent+" in Enhetsregisteret, but below "+node, "make "+node+" the parent"
	if node == child {
		message, mend = child+" is a top-level unit in Enhetsregisteret, and not below "+parent, "make "+child+" the parent, without a child"
	}
	return []journal.Finding{{Rule: "O4", Severity: journal.Error, At: at, Message: message, Mend: mend}}
}

// named finds an organization whose name is another than in the register.
func (u units) named(o journal.Organization, at journal.Place) []journal.Finding {
	unit := u[o.Orgnr]
	if !unit.known || o.Name == "" || unit.Name == "" || loosely(o.Name) == loosely(unit.Name) {
		return nil
	}
	at.Field = "name"
	return []journal.Finding{{Rule: "name", Severity: journal.Warning, At: at,
		Message: o.Orgnr + " is called " + unit.Name + " in Enhetsregisteret, and " + o.Name + " here",
		Mend:    "write the name as in Enhetsregisteret, here and in SFM"}}
}

// loosely is a name without what people write differently: letter case, spaces, punctuation.
func loosely(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool {
		return strings.ContainsRune(" \t.,-/&'\"()", r)
	}), " ")
}
