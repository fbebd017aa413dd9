package journal_test

import (
	"fmt"
	"strings"

	"sfm-sidecar/internal/journal"
)

// show prints a resolution as a drawing of the walk.
func show(s journal.Set, ask journal.Ask) {
	got, err := s.Resolve(ask)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, hop := range got.Walk {
		fmt.Println(strings.Repeat("  ", i)+hop.Orgnr, hop.Name)
	}
	from := func(v journal.Value) string { return v.Text + " from " + got.Walk[v.Hop].Name }
	fmt.Println("Aktør: HER-id", from(got.HERID))
	fmt.Println("sender:", from(got.Address.Value)+",", from(got.Phone.Value))
}

// The example of the document on multi-tenant clients: parent 100100126, child 999944582. The sub-unit has no HER-id and
// no address of its own and is part of its legal unit.
func ExampleSet_Resolve_multiTenant() {
	set := journal.Set{Journals: []journal.Journal{{
		ID: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35", Name: "Eksempel legekontor", Created: true,
		Organizations: []journal.Organization{
			{Orgnr: "100100126", Name: "Eksempel AS", HERID: "90001", Active: true, Address: "Storgata 1", Phone: "22000000"},
			{Orgnr: "999944582", Name: "Eksempel avd. sentrum", PartOf: "100100126", Parent: "100100126", Active: true},
		},
	}}}
	show(set, journal.Ask{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"})
	fmt.Println(len(set.Lint()), "findings")
	// Output:
	// 999944582 Eksempel avd. sentrum
	//   100100126 Eksempel AS
	// Aktør: HER-id 90001 from Eksempel AS
	// sender: Storgata 1 from Eksempel AS, 22000000 from Eksempel AS
	// 0 findings
}

// The first way in which two sub-units share an Aktør in RF: both are written to SFM with the same HER-id.
func ExampleSet_Resolve_sharedHERID() {
	set := journal.Set{Journals: []journal.Journal{{
		ID: "ce75db36-c57b-4592-9d47-5dfae8a34340", Name: "Helsestasjoner", Created: true,
		Organizations: []journal.Organization{
			{Orgnr: "999944582", Name: "Helsestasjon nord", Parent: "100100126", HERID: "90010", Active: true, Address: "Nordveien 1", Phone: "22000001"},
			{Orgnr: "100100207", Name: "Helsestasjon sør", Parent: "100100126", HERID: "90010", Active: true, Address: "Sørveien 2", Phone: "22000002"},
		},
	}}}
	for _, child := range []string{"999944582", "100100207"} {
		show(set, journal.Ask{Parent: "100100126", Child: child, Journal: "ce75db36-c57b-4592-9d47-5dfae8a34340"})
	}
	fmt.Println(len(set.Lint()), "findings")
	// Output:
	// 999944582 Helsestasjon nord
	// Aktør: HER-id 90010 from Helsestasjon nord
	// sender: Nordveien 1 from Helsestasjon nord, 22000001 from Helsestasjon nord
	// 100100207 Helsestasjon sør
	// Aktør: HER-id 90010 from Helsestasjon sør
	// sender: Sørveien 2 from Helsestasjon sør, 22000002 from Helsestasjon sør
	// 0 findings
}

// The second way: the sub-units have no HER-id and are part of the organization that has it. Each keeps its own sender, and
// what it lacks comes from above.
func ExampleSet_Resolve_partOf() {
	set := journal.Set{Journals: []journal.Journal{{
		ID: "ce75db36-c57b-4592-9d47-5dfae8a34340", Name: "Helsestasjoner", Created: true,
		Organizations: []journal.Organization{
			{Orgnr: "100100126", Name: "Eksempel kommune", HERID: "90010", Active: true, Address: "Rådhuset", Phone: "22000000"},
			{Orgnr: "999944582", Name: "Helsestasjon nord", PartOf: "100100126", Parent: "100100126", Active: true, Address: "Nordveien 1", Phone: "22000001"},
			{Orgnr: "100100207", Name: "Helsestasjon sør", PartOf: "100100126", Parent: "100100126", Active: true, Address: "Sørveien 2"},
		},
	}}}
	for _, child := range []string{"999944582", "100100207"} {
		show(set, journal.Ask{Parent: "100100126", Child: child, Journal: "ce75db36-c57b-4592-9d47-5dfae8a34340"})
	}
	fmt.Println(len(set.Lint()), "findings")
	// Output:
	// 999944582 Helsestasjon nord
	//   100100126 Eksempel kommune
	// Aktør: HER-id 90010 from Eksempel kommune
	// sender: Nordveien 1 from Helsestasjon nord, 22000001 from Helsestasjon nord
	// 100100207 Helsestasjon sør
	//   100100126 Eksempel kommune
	// Aktør: HER-id 90010 from Eksempel kommune
	// sender: Sørveien 2 from Helsestasjon sør, 22000000 from Eksempel kommune
	// 0 findings
}

// A HER-id in two journals is the set-up that loses messages: RF finds the journal by the HER-id.
func ExampleSet_Lint() {
	set := journal.Set{Journals: []journal.Journal{
		{ID: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35", Organizations: []journal.Organization{{Orgnr: "999944582", HERID: "90010"}}},
		{ID: "ce75db36-c57b-4592-9d47-5dfae8a34340", Organizations: []journal.Organization{{Orgnr: "100100207", HERID: "90010"}}},
	}}
	for _, f := range set.Lint() {
		fmt.Println(f.Rule, f.Severity, "at", set.Journals[f.At.Journal].Organizations[f.At.Organization].Orgnr, f.At.Field)
		fmt.Println(f.Mend)
	}
	// Output:
	// J4 error at 100100207 her_id
	// Keep the HER-id in one journal; ask for another HER-id in Adresseregisteret for the other.
}
