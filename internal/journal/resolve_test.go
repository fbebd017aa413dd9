package journal_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/journal"
)

// TestResolve follows sfm-Organizations as SEED-RF describes it: the child's number, else the parent's, is the entry; partOf
// is followed to the first HER-id; the sender comes from the lowest level, whatever the HER-id's.
func TestResolve(t *testing.T) {
	top := with(org(parent, "90001"), func(o *journal.Organization) { o.Name = "Eksempel AS" })
	middle := sender(below(org(second, ""), parent, parent), "Lillegata 2", "")
	leaf := sender(below(org(child, ""), second, parent), "", "")
	journalA := instance(idA, leaf, top, middle)
	journalA.Aliases = []string{idB}
	here := journals(instance(idC, org(third, "90003")), journalA)

	got, err := here.Resolve(journal.Ask{Parent: parent, Child: child, Journal: strings.ToUpper(idB)})
	if err != nil {
		t.Fatal(err)
	}
	want := journal.Resolution{
		Ask: journal.Ask{Parent: parent, Child: child, Journal: strings.ToUpper(idB)}, Journal: 1, ID: idB, Alias: true,
		Walk: []journal.Hop{
			{Organization: 0, Orgnr: child, Active: true},
			{Organization: 2, Orgnr: second, Address: "Lillegata 2", Active: true},
			{Organization: 1, Orgnr: parent, Name: "Eksempel AS", HERID: "90001", Address: "Storgata 1", Phone: "22000000", Active: true},
		},
		HERID:   journal.Value{Text: "90001", Hop: 2},
		Address: journal.Sender{Value: journal.Value{Text: "Lillegata 2", Hop: 1}, Strict: journal.Value{Text: "Lillegata 2", Hop: 1}},
		Phone:   journal.Sender{Value: journal.Value{Text: "22000000", Hop: 2}, Strict: journal.Value{Text: "22000000", Hop: 2}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if entry, ok := got.Entry(); !ok || entry.Orgnr != child {
		t.Errorf("entry %+v", entry)
	}
}

// TestResolveAsk holds what one question is told: the error, the rules in the order of the findings, and the walk.
func TestResolveAsk(t *testing.T) {
	leaf := sender(below(org(child, ""), parent, parent), "", "")
	ask := journal.Ask{Parent: parent, Child: child, Journal: idA}
	for _, c := range []struct {
		name  string
		set   set
		ask   journal.Ask
		err   error
		rules string
		walk  string
	}{
		{"right", journals(instance(idA, org(child, "1"))), ask, nil, "", child},
		{"ids in capitals", journals(instance(strings.ToUpper(idA), org(child, "1"))), ask, nil, "", child},
		{"no journal", journals(instance(idB)), ask, journal.ErrJournal, "O6", ""},
		{"no UUID", journals(instance(idB)), journal.Ask{Parent: parent, Journal: "x"}, journal.ErrJournal, "O6 J1", ""},
		{"nothing written", journals(instance(idA)), ask, journal.ErrOrganization, "O6", ""},
		{"nothing asked", journals(instance(idA, org("", "1"))), journal.Ask{Journal: idA}, journal.ErrOrganization, "O6 O3", ""},
		{"falls back", journals(instance(idA, org(parent, "1"))), ask, nil, "O7", parent},
		{"only the child counts", journals(instance(idA, org(parent, "1"), org(child, ""))), ask, journal.ErrHERID, "H1", child},
		{"passive", journals(instance(idA, passive(org(child, "1")))), ask, nil, "O8", child},
		{"no HER-id", journals(instance(idA, leaf, org(parent, ""))), ask, journal.ErrHERID, "H1", child + " " + parent},
		{"a circle", journals(instance(idA, leaf, below(org(parent, "1"), child, ""))), ask, nil, "H2", child + " " + parent},
		{"above is missing", journals(instance(idA, with(leaf, func(o *journal.Organization) { o.HERID = "1" }))), ask, nil, "H2 S1 S1", child},
		{"never into another journal", journals(instance(idA, leaf), instance(idB, org(parent, "1"))), ask, journal.ErrHERID, "H2 H1 S1 S1", child},
		{"HER-id used elsewhere", journals(instance(idA, leaf, org(parent, "1")), instance(idB, org(second, "1"))), ask, nil, "J4", child + " " + parent},
		{"id of two journals", journals(instance(idA, org(child, "1")), instance(idA)), ask, nil, "J2", child},
		{"two HER-ids", journals(instance(idA, org(child, "1,2"))), ask, nil, "J6", child},
		{"number twice, linked", journals(instance(idA, org(child, "1"), below(org(child, "2"), child, ""))), ask, nil, "J8", child},
		{"id twice in one journal", journals(journal.Journal{ID: idA, Aliases: []string{idA}, Organizations: []journal.Organization{org(child, "1")}}), ask, nil, "", child},
		{"number twice", journals(instance(idA, org(child, "1"), org(child, "1"))), ask, nil, "J7", child},
		{"HER-id with letters", journals(instance(idA, org(child, "x"))), ask, nil, "H3", child},
		{"shared sender", journals(instance(idA, leaf, below(sender(org(second, ""), "", ""), parent, parent), org(parent, "1"))), ask, nil, "S2", child + " " + parent},
		{"others share a sender", journals(instance(idA, below(org(child, ""), parent, parent), lacking(second), lacking(third), org(parent, "1"))), ask, nil, "", child + " " + parent},
		{"a parent of one digit", journals(instance(idA, org(child, "1"))), journal.Ask{Parent: "1", Child: child, Journal: idA}, nil, "O1", child},
		{"its own parent", journals(instance(idA, org(child, "1"))), journal.Ask{Parent: child, Child: child, Journal: idA}, nil, "O4", child},
		{"sub-unit as parent", journals(instance(idA, leaf, org(parent, "1"))), journal.Ask{Parent: child, Journal: idA}, nil, "O3", child + " " + parent},
		{"below another", journals(instance(idA, leaf, org(parent, "1"))), journal.Ask{Parent: second, Child: child, Journal: idA}, nil, "O4", child + " " + parent},
		{"parent is no legal unit", journals(instance(idA, org(child, "1"), leaf2())), journal.Ask{Parent: second, Child: child, Journal: idA}, nil, "O2", child},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.set.Resolve(c.ask)
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			var rules, walk []string
			for _, f := range got.Findings {
				rules = append(rules, f.Rule)
			}
			for _, hop := range got.Walk {
				walk = append(walk, hop.Orgnr)
			}
			if diff := cmp.Diff([]string{c.rules, c.walk}, []string{strings.Join(rules, " "), strings.Join(walk, " ")}); diff != "" {
				t.Errorf("-want +got:\n%s%s", diff, text(got.Findings))
			}
			if c.name == "falls back" != got.Fallback || c.name == "a circle" != got.Cycle {
				t.Errorf("fallback %t, cycle %t", got.Fallback, got.Cycle)
			}
		})
	}
}

// lacking is a sub-unit that has everything from above.
func lacking(orgnr string) journal.Organization {
	return sender(below(org(orgnr, ""), parent, parent), "", "")
}

// leaf2 is a sub-unit that stands by itself.
func leaf2() journal.Organization { return below(org(second, "2"), "", parent) }

// TestUnresolved holds the error of a token to the form that the refusals of other rooms have.
func TestUnresolved(t *testing.T) {
	here := journals(instance(idA))
	_, err := here.Resolve(journal.Ask{Parent: parent, Journal: idA})
	refused, ok := errors.AsType[*journal.Unresolved](err)
	if !ok {
		t.Fatalf("%T", err)
	}
	if refused.Code() != "O6" || refused.Detail() == "" || refused.Hint() == "" || !strings.Contains(refused.Error(), refused.Detail()) {
		t.Errorf("code %q, detail %q, hint %q, text %q", refused.Code(), refused.Detail(), refused.Hint(), refused.Error())
	}
}

// TestReadings takes a sender above the HER-id's organization, which SEED-RF ("independently of HER-id") finds and
// K-HER (collected on the way to the HER-id) may not.
func TestReadings(t *testing.T) {
	here := journals(instance(idA, sender(below(org(child, "1"), parent, ""), "", "33"), sender(org(parent, "2"), "Storgata 1", "22")))
	got, err := here.Resolve(journal.Ask{Parent: parent, Child: child, Journal: idA})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Address.Doubtful() || got.Address.Text != "Storgata 1" || got.Address.Strict != (journal.Value{Hop: -1}) {
		t.Errorf("address %+v", got.Address)
	}
	if got.Phone.Doubtful() || got.Phone.Text != "33" {
		t.Errorf("phone %+v", got.Phone)
	}
	compare(t, got.Findings, []string{"S1 warning at 0/0 address"})
}
