package journal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Lint applies every rule that the Set can show and returns what breaks them, in order of place: journals with their
// organizations, then tenants. It returns nil for a Set without findings.
//
// A journal without organizations is one whose contents are not known; nothing is said about who is missing in it. Where
// there are no journals at all, tenants are judged by themselves.
//
// What is asked of an organization that a token enters at (rules O8, H1, S1, S2) is asked of those that a tenant enters
// at, and of active ones that look like an entry: nothing is part of them, and they are nobody's legal unit.
func (s *Set) Lint() []Finding { return NewIndex(s).Lint() }

// Lint is [Set.Lint] on what has been read already.
func (x *Index) Lint() []Finding {
	var all []Finding
	for i := range table {
		if judge := table[i].judge; judge != nil {
			all = append(all, judge(x)...)
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return a.At.compare(b.At) })
	return all
}

// compare orders places as a file shows them: what is about no part of a Set, journals, tenants.
func (p Place) compare(other Place) int {
	return cmp.Or(cmp.Compare(p.Tenant, other.Tenant), cmp.Compare(p.Journal, other.Journal), cmp.Compare(p.Organization, other.Organization))
}

// judge applies one rule to everything.
type judge func(*Index) []Finding

// everywhere applies a rule about one organization to each.
func everywhere(rule func(*Index, int) []Finding) judge {
	return func(x *Index) []Finding {
		var all []Finding
		for n := range x.nodes {
			all = append(all, rule(x, n)...)
		}
		return all
	}
}

// atEntries applies a rule about an organization that a token enters at.
func atEntries(rule func(*Index, int) []Finding) judge {
	return everywhere(func(x *Index, n int) []Finding {
		if !x.isEntry(n) {
			return nil
		}
		return rule(x, n)
	})
}

// forTenants applies a rule about what a token says to each tenant.
func forTenants(rule func(*Index, Ask, int) []Finding) judge {
	return func(x *Index) []Finding {
		var all []Finding
		for i := range x.set.Tenants {
			all = append(all, rule(x, x.set.Tenants[i].ask(), i)...)
		}
		return all
	}
}

// together joins the parts of a rule.
func together(parts ...judge) judge {
	return func(x *Index) []Finding {
		var all []Finding
		for _, part := range parts {
			all = append(all, part(x)...)
		}
		return all
	}
}

func (x *Index) isEntry(n int) bool {
	at := &x.nodes[n]
	return x.asked[n].count > 0 || at.Active && !at.carries && !x.tops[at.Orgnr]
}

func nowhereAt(field string) Place { return Place{none, none, none, field, 0} }

func atTenant(i int, field string) Place { return Place{none, none, i, field, 0} }

func (x *Index) at(n int, field string) Place {
	return Place{x.nodes[n].journal, x.nodes[n].item, none, field, 0}
}

// atID is the place of one of a journal's ids.
func atID(p idPlace) Place {
	if p.alias == none {
		return Place{p.journal, none, none, "id", 0}
	}
	return Place{p.journal, none, none, "aliases", p.alias}
}

func one(rule string, severity Severity, at Place, text string) []Finding {
	message, mend, _ := strings.Cut(text, "\n")
	return []Finding{{rule, severity, at, message, mend}}
}

// organization names one to people.
func (x *Index) organization(n int) string { return named(x.nodes[n].Orgnr, x.nodes[n].Name) }

// journal names one to people.
func (x *Index) journal(i int) string {
	return "journal " + named(x.set.Journals[i].ID, x.set.Journals[i].Name)
}

// said names whoever says what a number lies below.
func (x *Index) said(u unit) string {
	if u.tenant != none {
		return "tenant " + clean(x.set.Tenants[u.tenant].Alias)
	}
	return x.journal(u.journal)
}

func (x *Index) spelling(at idPlace) string {
	if at.alias == none {
		return x.set.Journals[at.journal].ID
	}
	return x.set.Journals[at.journal].Aliases[at.alias]
}

// askers names the tenants that enter at an organization, as the end of a sentence.
func (x *Index) askers(n int) string {
	switch by := x.asked[n]; by.count {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" (tenant %s enters there)", clean(x.set.Tenants[by.tenant].Alias))
	default:
		return fmt.Sprintf(" (tenant %s and %d more enter there)", clean(x.set.Tenants[by.tenant].Alias), by.count-1)
	}
}

// several names some organizations and counts the others.
func (x *Index) several(nodes []int) string {
	const shown = 3
	var names []string
	for _, n := range nodes[:min(shown, len(nodes))] {
		names = append(names, x.organization(n))
	}
	text := strings.Join(names, ", ")
	if more := len(nodes) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func named(id, name string) string {
	id = clean(id)
	if id == "" {
		id = "(none)"
	}
	if filled(name) {
		return id + " (" + clean(name) + ")"
	}
	return id
}

// clean makes a value from a file fit for a line on a terminal: short, and without what moves the cursor.
func clean(s string) string {
	const longest = 60
	var b strings.Builder
	for i, r := range s {
		if i >= longest {
			return b.String() + "…"
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}
