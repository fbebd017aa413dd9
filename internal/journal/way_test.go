package journal_test

import (
	"fmt"
	"strings"
	"testing"

	"sfm-sidecar/internal/journal"
)

// text is findings as the tests look at them.
func text(all []finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s at %s: %s → %s\n", f.Rule, f.Severity, place(f.At), f.Message, f.Mend)
	}
	return b.String()
}

func place(p journal.Place) string {
	switch {
	case p.Tenant >= 0:
		return fmt.Sprintf("tenant %d %s", p.Tenant, p.Field)
	case p.Organization >= 0:
		return fmt.Sprintf("%d/%d %s", p.Journal, p.Organization, p.Field)
	case p.Field == "aliases":
		return fmt.Sprintf("%d aliases[%d]", p.Journal, p.Item)
	case p.Journal >= 0:
		return fmt.Sprintf("%d %s", p.Journal, p.Field)
	}
	return p.Field
}

// SEED-RF: the number of the token "MUST match an organization that is written to SFM (in the correct Journal)".
func TestRuleO6(t *testing.T) {
	here := journals(instance(idA, org(second, "1")), instance(idB, org(child, "2")))
	holds(t, "O6",
		lintCase{"the child", here, nil}.tenant(parent, child, idB),
		lintCase{"the parent", here, nil}.tenant(second, "", idA),
		lintCase{"falls back", here, nil}.tenant(second, third, idA),
		lintCase{"neither", here, []string{"error | tenant 0 child | neither the child " + child + " nor the parent " + parent + " is written to journal " + idA + ". " +
			child + " is written to journal " + idB}}.tenant(parent, child, idA),
		lintCase{"not the parent", here, []string{"error | tenant 0 parent | the parent " + parent + " is not"}}.tenant(parent, "", idA),
		lintCase{"no UUID is rule J1's", here, nil}.tenant(parent, child, "x"),
		lintCase{"no such journal", here, []string{"error | tenant 0 journal | No journal has the id " + idC}}.tenant(parent, child, idC),
	)
}

// P-HID, SEED-RF: "first try lower level", then the parent.
func TestRuleO7(t *testing.T) {
	here := journals(instance(idA, org(parent, "1")), instance(idB, org(child, "2")))
	holds(t, "O7",
		lintCase{"falls back", here, []string{"warning | tenant 0 child | falls back to the parent " + parent + " | " + child + " is written to journal " + idB}}.tenant(parent, child, idA),
		lintCase{"is there", here, nil}.tenant(parent, child, idB),
		lintCase{"no child", here, nil}.tenant(parent, "", idA),
	)
}

func passive(o journal.Organization) journal.Organization {
	return with(o, func(o *journal.Organization) { o.Active = false })
}

// P-ACT: an active organization is what registers the Aktør.
func TestRuleO8(t *testing.T) {
	holds(t, "O8",
		lintCase{"active", journals(instance(idA, org(child, "1"))), nil}.tenant(parent, child, idA),
		lintCase{"passive", journals(instance(idA, passive(org(child, "1")))), []string{"error | 0/0 active | tenant t" + child + " enters there"}}.tenant(parent, child, idA),
		lintCase{"passive before the journal is there", journals(journal.Journal{ID: idA, Organizations: []journal.Organization{passive(org(child, "1"))}}), []string{"warning | 0/0 active"}}.tenant(parent, child, idA),
		lintCase{"passive, twice asked", journals(instance(idA, passive(org(child, "1")))), []string{"error | 0/0 active | and 1 more"}}.
			tenant(parent, child, idA).tenant(parent, child, idA),
		lintCase{"passive and nobody enters", journals(instance(idA, passive(org(child, "1")))), nil},
	)
}

// SEED-RF: "SFM will follow partOf until an element with a HER-id is found".
func TestRuleH1(t *testing.T) {
	leaf := below(org(child, ""), second, parent)
	holds(t, "H1",
		lintCase{"its own", journals(instance(idA, org(child, "1"))), nil},
		lintCase{"two levels up", journals(instance(idA, leaf, below(org(second, ""), parent, ""), org(parent, "1"))), nil}.tenant(parent, child, idA),
		lintCase{"none", journals(instance(idA, leaf, org(second, ""))), []string{"error | 0/0 her_id | no HER-id for " + child}}.tenant(parent, child, idA),
		lintCase{"none, and no tenant", journals(instance(idA, leaf, org(second, ""))), []string{"error | 0/0 her_id"}},
		lintCase{"none, passive, no tenant", journals(instance(idA, passive(leaf), org(second, ""))), nil},
		lintCase{"a legal unit that nobody asks for", journals(instance(idA, org(parent, ""), below(org(child, "1"), "", parent))), nil},
		lintCase{"a legal unit that a tenant asks for", journals(instance(idA, org(parent, ""), below(org(child, "1"), "", parent))), []string{"0/0 her_id"}}.tenant(parent, "", idA),
		lintCase{"blank", journals(instance(idA, org(child, " "))), []string{"error | 0/0 her_id"}},
		lintCase{"on a circle", journals(instance(idA, below(org(child, ""), second, ""), below(org(second, ""), child, ""))), nil}.tenant(parent, child, idA),
	)
}

// F-BASIS: partOf leads to an organization that is registered already.
func TestRuleH2(t *testing.T) {
	holds(t, "H2",
		lintCase{"there", journals(instance(idA, below(org(child, ""), parent, ""), org(parent, "1"))), nil},
		lintCase{"not there", journals(instance(idA, below(org(child, ""), parent, "")), instance(idB, org(parent, "1"))),
			[]string{"error | 0/0 part_of | not written to journal " + idA + ". " + parent + " is written to journal " + idB}},
		lintCase{"itself", journals(instance(idA, below(org(child, "1"), child, ""))), []string{"error | 0/0 part_of | part of itself"}},
		lintCase{"a circle, told once", journals(instance(idA, below(org(third, "1"), second, ""), below(org(child, "1"), second, ""), below(org(second, "1"), child, ""))),
			[]string{"error | 0/1 part_of | in a circle: " + child + ", " + second + "."}},
		lintCase{"two circles", journals(instance(idA, below(org(child, "1"), child, ""), below(org(second, "1"), third, ""), below(org(third, "1"), second, ""))),
			[]string{"0/0", "0/1"}},
	)
}

// K-HER: the HER-id is one of Adresseregisteret's.
func TestRuleH3(t *testing.T) {
	holds(t, "H3",
		lintCase{"digits", journals(instance(idA, org(child, "8094866"))), nil},
		lintCase{"several are rule J6's", journals(instance(idA, org(child, "1;2"))), nil},
		lintCase{"letters", journals(instance(idA, org(child, "HER90001"))), []string{"error | 0/0 her_id | HER90001"}},
		lintCase{"a leading zero", journals(instance(idA, org(child, "0123"))), []string{"error | 0/0"}},
		lintCase{"too long", journals(instance(idA, org(child, "12345678901"))), []string{"error | 0/0"}},
	)
}

// SEED-RF: "Two sub-organizations that provide the same tjeneste can share a HER-id".
func TestRuleH4(t *testing.T) {
	holds(t, "H4",
		lintCase{"one legal unit", journals(instance(idA, below(org(child, "1"), "", parent), below(org(second, "1"), "", parent))), nil},
		lintCase{"not known", journals(instance(idA, org(child, "1"), below(org(second, "1"), "", parent), org(third, "1"))), nil},
		lintCase{"in the second of two journals", journals(instance(idB, org("100100401", "1")), instance(idA, below(org(child, "1"), "", parent), below(org(second, "1"), "", third))), []string{"warning | 1/1 her_id"}},
		lintCase{"two legal units, told once", journals(instance(idA, below(org(child, "1"), "", parent), below(org(second, "1"), "", third), below(org("100100401", "1"), "", third))),
			[]string{"warning | 0/1 her_id | " + parent + " and " + third}},
		lintCase{"in two journals it is rule J4's", journals(instance(idA, below(org(child, "1"), "", parent)), instance(idB, below(org(second, "1"), "", third))), nil},
	)
}

func sender(o journal.Organization, address, phone string) journal.Organization {
	return with(o, func(o *journal.Organization) { o.Address, o.Phone = address, phone })
}

// SEED-RF: "Sender information … will (independently of HER-id) be retrieved at the lowest possible level".
func TestRuleS1(t *testing.T) {
	leaf := sender(below(org(child, ""), parent, parent), "", "")
	holds(t, "S1",
		lintCase{"on a circle", journals(instance(idA, below(org(child, ""), second, ""), below(org(second, ""), child, ""))), nil}.tenant(parent, child, idA),
		lintCase{"its own", journals(instance(idA, org(child, "1"))), nil},
		lintCase{"from above, with the HER-id", journals(instance(idA, leaf, org(parent, "1"))), nil}.tenant(parent, child, idA),
		lintCase{"neither", journals(instance(idA, sender(org(child, "1"), "", " "))), []string{"warning | 0/0 address | no address", "warning | 0/0 phone | no telephone number"}},
		lintCase{"above the HER-id", journals(instance(idA, with(leaf, func(o *journal.Organization) { o.HERID = "1" }), sender(org(parent, ""), "Storgata 1", "22000000"))),
			[]string{"warning | 0/0 address | only at " + parent, "warning | 0/0 phone | not documented"}}.tenant(parent, child, idA),
	)
}

// SEED-RF: several helsestasjoner share a HER-id "but have different sender information".
func TestRuleS2(t *testing.T) {
	leaf := func(orgnr, address string) journal.Organization {
		return sender(below(org(orgnr, ""), parent, parent), address, "1")
	}
	top := org(parent, "90001")
	holds(t, "S2",
		lintCase{"their own", journals(instance(idA, top, leaf(child, "A"), leaf(second, "B"))), nil},
		lintCase{"one without, and the one that has it", journals(instance(idA, top, leaf(child, ""))), nil}.tenant(parent, "", idA).tenant(parent, child, idA),
		lintCase{"one that nobody enters at", journals(instance(idA, top, leaf(child, ""), passive(leaf(second, "")))), nil},
		lintCase{"one without", journals(instance(idA, top, leaf(child, ""), leaf(second, "B"))), nil},
		lintCase{"two without, told once", journals(instance(idA, top, leaf(child, ""), leaf(second, ""), leaf(third, ""))),
			[]string{"warning | 0/1 address | that of " + parent + ": " + child + ", " + second + ", " + third}},
	)
}

// T-TOOLS: organizations without a legal agreement must not share a journal.
func TestRuleT2(t *testing.T) {
	holds(t, "T2",
		lintCase{"one legal unit", journals(instance(idA, org(parent, ""), below(org(child, "1"), "", parent))), nil}.tenant(parent, child, idA),
		lintCase{"two", journals(instance(idA, below(org(child, "1"), "", parent), below(org(second, "2"), "", third))), []string{"warning | 0  | " + parent + " and " + third}},
		lintCase{"three, told once", journals(instance(idA, below(org(child, "1"), "", parent), below(org(second, "2"), "", third), below(org("100100401", "3"), "", "100100509"))), []string{"warning | 0 "}},
		lintCase{"two tenants", set{}, []string{"warning | tenant 1 journal"}}.tenant(parent, child, idA).tenant(third, second, strings.ToUpper(idA)),
		lintCase{"the tenants of one journal, by two ids", journals(journal.Journal{ID: idA, Aliases: []string{idB}}), []string{"warning | 0 "}}.tenant(parent, child, idA).tenant(third, second, idB),
	)
}
