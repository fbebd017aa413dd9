package journal_test

import (
	"strings"
	"testing"

	"sfm-sidecar/internal/journal"
)

// Synthetic ids and numbers; the numbers' check digits fit but for those that say so.
const (
	idA    = "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35" // SEED-MT
	idB    = "ce75db36-c57b-4592-9d47-5dfae8a34340"
	idC    = "5f3a0001-0000-4000-8000-00000a11ce00"
	parent = "100100126" // SEED-MT
	child  = "999944582" // SEED-MT
	second = "100100207"
	third  = "100100304"
)

type (
	set     = journal.Set
	finding = journal.Finding
)

// org is an active organization with a sender.
func org(orgnr, herID string) journal.Organization {
	return journal.Organization{Orgnr: orgnr, HERID: herID, Active: true, Address: "Storgata 1", Phone: "22000000"}
}

// with changes an organization.
func with(o journal.Organization, change func(*journal.Organization)) journal.Organization {
	change(&o)
	return o
}

func below(o journal.Organization, partOf, unit string) journal.Organization {
	return with(o, func(o *journal.Organization) { o.PartOf, o.Parent = partOf, unit })
}

func instance(id string, organizations ...journal.Organization) journal.Journal {
	return journal.Journal{ID: id, Created: true, Organizations: organizations}
}

func journals(all ...journal.Journal) set { return set{Journals: all} }

func (c lintCase) tenant(parent, child, id string) lintCase {
	c.set.Tenants = append(c.set.Tenants, journal.Tenant{Alias: "t" + child, Parent: parent, Child: child, Journal: id})
	return c
}

// lintCase is a Set and what one rule finds in it: for each finding its severity, its place as in "0/1 her_id" or
// "tenant 0 child", and words that its message or mend must have.
type lintCase struct {
	name string
	set  set
	want []string
}

// holds checks one rule against its cases. What other rules find is theirs.
func holds(t *testing.T, rule string, cases ...lintCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			var got []finding
			for _, f := range c.set.Lint() {
				if f.Rule == rule {
					got = append(got, f)
				}
			}
			compare(t, got, c.want)
		})
	}
}

func compare(t *testing.T, got []finding, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d:\n%s", len(got), len(want), text(got))
	}
	for i, line := range want {
		for part := range strings.SplitSeq(line, "|") {
			if whole := text(got[i : i+1]); !strings.Contains(whole, strings.TrimSpace(part)) {
				t.Errorf("finding %d lacks %q:\n%s", i, strings.TrimSpace(part), whole)
			}
		}
	}
}

// TestPermitted takes what looks wrong and is right; no rule may find anything. J3: SEED-MT ("There can be multiple journal
// IDs that point to the same instance"). J5: SEED-RF ("The same HERid can therefore be used for several organizations
// within a Journal"). J9: P-NEW (one municipality, several journals).
func TestPermitted(t *testing.T) {
	many := instance(idA, org(parent, "90001"))
	many.Aliases = []string{idB, idC}
	for name, allowed := range map[string]set{
		"J3 many ids": {Journals: []journal.Journal{many}, Tenants: []journal.Tenant{
			{Alias: "a", Parent: parent, Journal: idA}, {Alias: "b", Parent: parent, Journal: strings.ToUpper(idC)},
		}},
		"J5 a shared HER-id":      journals(instance(idA, below(org(child, "90001"), "", parent), below(org(second, "90001"), "", parent))),
		"J9 one number, journals": journals(instance(idA, org(parent, "90001")), instance(idB, org(parent, "90002"))),
		"nothing":                 {},
		"contents not known":      {Journals: []journal.Journal{instance(idA)}, Tenants: []journal.Tenant{{Alias: "a", Parent: parent, Child: child, Journal: idA}}},
		"journals not known":      {Tenants: []journal.Tenant{{Alias: "a", Parent: parent, Child: child, Journal: idA}}},
	} {
		t.Run(name, func(t *testing.T) { compare(t, allowed.Lint(), nil) })
	}
}

// H-JID: the value must be a UUID.
func TestRuleJ1(t *testing.T) {
	aliased := instance(idA)
	aliased.Aliases = []string{idB, "SFM-7"}
	holds(t, "J1",
		lintCase{"a UUID in any case", journals(instance(strings.ToUpper(idA))), nil},
		lintCase{"missing", journals(instance("")), []string{"error | 0 id | is missing"}},
		lintCase{"a number", journals(instance(idA), instance("12345")), []string{"error | 1 id | 12345 is no journal-id"}},
		lintCase{"one digit short", journals(instance(idA[:35])), []string{"error | 0 id"}},
		lintCase{"zeros", journals(instance("00000000-0000-0000-0000-000000000000")), []string{"error | 0 id | UUID of zeros"}},
		lintCase{"an alias", journals(aliased), []string{"error | 0 aliases[1] | SFM-7"}},
		lintCase{"a tenant's", set{}, []string{"error | tenant 0 journal | legekontor"}}.tenant(parent, child, "legekontor"),
	)
}

// P-NEW: an id selects exactly one instance.
func TestRuleJ2(t *testing.T) {
	alias := instance(idB)
	alias.Aliases = []string{strings.ToUpper(idA), idC, idC}
	holds(t, "J2",
		lintCase{"different", journals(instance(idA), instance(idB)), nil},
		lintCase{"two journals", journals(instance(idA), instance(idA)), []string{"error | 1 id | belongs to two journals | " + idA}},
		lintCase{"another's alias in other letters, and its own twice", journals(instance(idA), alias),
			[]string{"error | 1 aliases[0] | belongs to two", "error | 1 aliases[2] | stands twice"}},
	)
}

// SEED-RF: "the same HER-id cannot be used across Journals".
func TestRuleJ4(t *testing.T) {
	holds(t, "J4",
		lintCase{"within one", journals(instance(idA, org(child, "90001"), org(second, "90001"))), nil},
		lintCase{"across two", journals(instance(idA, org(child, "90001")), instance(idB, org(third, ""), org(second, "90001"), org(parent, "90001"))),
			[]string{"error | 1/1 her_id | 90001 is used in two journals | " + second + " in journal " + idB + ", and by " + child}},
		lintCase{"across three", journals(instance(idA, org(child, "1")), instance(idB, org(second, "1")), instance(idC, org(third, "1"))),
			[]string{"1/0 her_id", "2/0 her_id"}},
		lintCase{"spelled differently", journals(instance(idA, org(child, "90001")), instance(idB, org(second, " 090001"))), []string{"error | 1/0"}},
	)
}

// SEED-RF: "An organization in SFM can only be registered with one HER-id".
func TestRuleJ6(t *testing.T) {
	holds(t, "J6",
		lintCase{"one", journals(instance(idA, org(child, "90001"))), nil},
		lintCase{"none", journals(instance(idA, org(child, ""))), nil},
		lintCase{"two", journals(instance(idA, org(child, "90001, 90002"))), []string{"error | 0/0 her_id | more than one HER-id"}},
	)
}

// P-NEW: one organization for each number in an instance.
func TestRuleJ7(t *testing.T) {
	holds(t, "J7",
		lintCase{"different", journals(instance(idA, org(child, "1"), org(second, "2"))), nil},
		lintCase{"the same", journals(instance(idA, org(child, "1"), org(second, "2"), org(child, "3"), org(child, ""))),
			[]string{"error | 0/2 orgnr | " + child, "error | 0/3 orgnr"}},
		lintCase{"linked, but the same HER-id", journals(instance(idA, org(child, "1"), below(org(child, "1"), child, ""))), []string{"0/1"}},
		lintCase{"the exception is rule J8's", journals(instance(idA, org(child, "1"), below(org(child, "2"), child, ""))), nil},
	)
}

// P-NEW: "with partOf the same orgnr can represent multiple HER-ids".
func TestRuleJ8(t *testing.T) {
	holds(t, "J8",
		lintCase{"linked, with its own HER-id", journals(instance(idA, org(child, "1"), below(org(child, "2"), child, ""))), []string{"warning | 0/1 orgnr | we take the first"}},
		lintCase{"not linked", journals(instance(idA, org(child, "1"), org(child, "2"))), nil},
	)
}

// K-PROD: two instances of one organization need different HER-ids.
func TestRuleJ10(t *testing.T) {
	top := func(her string) journal.Organization { return org(parent, her) }
	leaf := below(org(child, ""), parent, parent)
	holds(t, "J10",
		lintCase{"different HER-ids", journals(instance(idA, top("1"), leaf), instance(idB, top("2"), leaf)), nil},
		lintCase{"twice in one journal is rule J7's", journals(instance(idA, top("1"), top("1"))), nil},
		lintCase{"one without RF", journals(instance(idA, top("1")), instance(idB, top(""))), nil},
		lintCase{"the same, its own and from above", journals(instance(idA, top("1"), leaf), instance(idB, top("1"), leaf)),
			[]string{"error | 1/0 her_id | " + parent, "error | 1/1 her_id | " + child}},
	)
}

// H-ERR (HID-1004): nine digits. The check digit is ours.
func TestRuleO1(t *testing.T) {
	wrong := "100100127"
	holds(t, "O1",
		lintCase{"well-formed", journals(instance(idA, below(org(child, "1"), parent, parent), org(parent, ""))), nil},
		lintCase{"missing", journals(instance(idA, org("", "1"))), []string{"error | 0/0 orgnr | no organization number"}},
		lintCase{"spaces", journals(instance(idA, org("100 100 126", "1"))), []string{"error | 0/0 orgnr | HID-1004"}},
		lintCase{"every place", journals(instance(idA, below(org(child, "1"), "12", "123"))), []string{"0/0 part_of", "0/0 parent"}},
		lintCase{"a check digit, once", journals(instance(idA, org(wrong, "1")), instance(idB, org(wrong, "2"))), []string{"warning | 0/0 orgnr | check digit"}},
		lintCase{"a tenant's", set{}, []string{"error | tenant 0 parent", "warning | tenant 0 child"}}.tenant("1001", wrong, idA),
	)
}

// SEED-RF, P-AUTH: orgnr_parent is the top level in Brreg.
func TestRuleO2(t *testing.T) {
	middle := below(org(second, "1"), "", parent)
	holds(t, "O2",
		lintCase{"its own is rule O4's", journals(instance(idA, below(org(child, "2"), "", child))), nil}.tenant(parent, child, idA),
		lintCase{"the top", journals(instance(idA, middle, below(org(child, "2"), "", parent))), nil},
		lintCase{"an organization's", journals(instance(idA, middle, below(org(child, "2"), "", second))),
			[]string{"error | 0/1 parent | lies below " + parent + " itself"}},
		lintCase{"a tenant's", journals(instance(idA, middle, org(child, "2"))), []string{"error | tenant 0 parent | not a legal unit"}}.tenant(second, child, idA),
	)
}

// SEED-MT: "both Parent and Child must be included in the request".
func TestRuleO3(t *testing.T) {
	leaf := below(org(child, "1"), "", parent)
	holds(t, "O3",
		lintCase{"both", journals(instance(idA, leaf)), nil}.tenant(parent, child, idA),
		lintCase{"the legal unit alone", journals(instance(idA, leaf)), nil}.tenant(parent, "", idA),
		lintCase{"the sub-unit as parent", journals(instance(idA, leaf)), []string{"error | tenant 0 parent | Ask with parent " + parent + " and child " + child}}.tenant(child, "", idA),
		lintCase{"no parent", set{}, []string{"error | tenant 0 parent | There is no parent"}}.tenant("", child, idA),
	)
}

// H-ORG: HelseID does not check the child of a multi-tenant client.
func TestRuleO4(t *testing.T) {
	leaf := below(org(child, "1"), "", parent)
	holds(t, "O4",
		lintCase{"below", journals(instance(idA, leaf)), nil}.tenant(parent, child, idA),
		lintCase{"no parent is rule O3's", journals(instance(idA, leaf)), nil}.tenant("", child, idA),
		lintCase{"its own parent", set{}, []string{"error | tenant 0 child | its own parent"}}.tenant(child, child, idA),
		lintCase{"below another", journals(instance(idA, leaf)), []string{"error | tenant 0 child | below " + second + ", but it lies below " + parent}}.tenant(second, child, idA),
		lintCase{"two tenants differ", set{}, []string{"error | tenant 1 child | says tenant t" + child}}.tenant(parent, child, idA).tenant(second, child, idA),
		lintCase{"two journals differ", journals(instance(idA, leaf), instance(idB, below(org(child, "2"), "", second))), []string{"error | 1/0 parent"}},
		lintCase{"an organization's own", journals(instance(idA, below(org(child, "1"), "", child))), []string{"warning | 0/0 parent | its own legal unit"}},
	)
}
