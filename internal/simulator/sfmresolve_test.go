package simulator

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestResolution goes through the rules for a token (3.5 of the reference on SFM), beginning with the two set-ups of
// the document on HelseID's organization, SFM's and RF's Aktør: one HER-id on two organizations, and one above them.
func TestResolution(t *testing.T) {
	const other = newcomer
	shared := []JournalOrganization{
		{Orgnr: clinic, Name: "Helsestasjon A", HERID: "8001", Active: true, Address: "Vei 1", Phone: "+4711111111"},
		{Orgnr: other, Name: "Helsestasjon B", HERID: "8001", Active: true, Address: "Vei 2"},
	}
	tree := []JournalOrganization{
		{Orgnr: clinic, Name: "Helsestasjon A", PartOf: municipality, Active: true, Address: "Vei 1"},
		{Orgnr: other, Name: "Helsestasjon B", PartOf: municipality, Active: true},
		{Orgnr: municipality, Name: "Kommunen", HERID: "8001", Active: true, Address: "Rådhuset", Phone: "+4722222222", PartOf: otherParent},
		{Orgnr: otherParent, Name: "Fylket", HERID: "8009", Active: true, Address: "Fylkeshuset", Phone: "+4733333333"},
	}
	change := func(list []JournalOrganization, at int, by func(*JournalOrganization)) []JournalOrganization {
		list = slices.Clone(list)
		by(&list[at])
		return list
	}
	passive := func(o *JournalOrganization) { o.Active = false }
	noPhone := func(o *JournalOrganization) { o.Phone = "" }
	for name, row := range map[string]struct {
		in            []JournalOrganization
		parent, child string
		knobs         JournalKnobs
		want          Resolution
		about         string
	}{
		"J5 shared HER-id, one": {in: shared, parent: municipality, child: clinic, want: Resolution{Entry: clinic, Walk: []string{clinic}, HERID: "8001", HERIDFrom: clinic, Registered: true,
			Sender: Sender{"Helsestasjon A", "Vei 1", clinic, "+4711111111", clinic}}},
		"J5 shared HER-id, other": {in: shared, parent: municipality, child: other, want: Resolution{Entry: other, Walk: []string{other}, HERID: "8001", HERIDFrom: other, Registered: true,
			Sender: Sender{"Helsestasjon B", "Vei 2", other, "", ""}}},
		"H1 shared by partOf, S1 lowest address": {in: tree, parent: municipality, child: clinic, want: Resolution{Entry: clinic, Walk: []string{clinic, municipality, otherParent}, HERID: "8001", HERIDFrom: municipality, Registered: true,
			Sender: Sender{"Helsestasjon A", "Vei 1", clinic, "+4722222222", municipality}}},
		"S2 no address of its own": {in: tree, parent: municipality, child: other, want: Resolution{Entry: other, Walk: []string{other, municipality, otherParent}, HERID: "8001", HERIDFrom: municipality, Registered: true,
			Sender: Sender{"Helsestasjon B", "Rådhuset", municipality, "+4722222222", municipality}}},
		"parent without child": {in: tree, parent: municipality, want: Resolution{Entry: municipality, Walk: []string{municipality, otherParent}, HERID: "8001", HERIDFrom: municipality, Registered: true,
			Sender: Sender{"Kommunen", "Rådhuset", municipality, "+4722222222", municipality}}},
		"sender from above the HER-id": {in: change(tree, 2, noPhone), parent: municipality, want: Resolution{Entry: municipality, Walk: []string{municipality, otherParent}, HERID: "8001", HERIDFrom: municipality, Registered: true,
			Sender: Sender{"Kommunen", "Rådhuset", municipality, "+4733333333", otherParent}}},
		"knob sender_stops_at_her_id": {in: change(tree, 2, noPhone), parent: municipality, knobs: JournalKnobs{SenderStops: true}, want: Resolution{Entry: municipality, Walk: []string{municipality, otherParent}, HERID: "8001", HERIDFrom: municipality, Registered: true,
			Sender: Sender{"Kommunen", "Rådhuset", municipality, "", ""}}},
		"O7 fallback to the parent": {in: tree, parent: municipality, child: "321000007", want: Resolution{Entry: municipality, Fallback: true, Walk: []string{municipality, otherParent}, HERID: "8001", HERIDFrom: municipality, Registered: true,
			Sender: Sender{"Kommunen", "Rådhuset", municipality, "+4722222222", municipality}}},
		"O7 knob no_fallback": {in: tree, parent: municipality, child: "321000007", knobs: JournalKnobs{NoFallback: true}, want: Resolution{Rule: "O6"}, about: "321000007 (orgnr_child)"},
		"O6 neither written":  {in: shared, parent: municipality, child: "321000007", want: Resolution{Rule: "O6"}, about: municipality + " (orgnr_parent)"},
		"O6 no parent":        {in: shared, parent: municipality, want: Resolution{Rule: "O6"}, about: municipality + " (orgnr_parent)"},
		"O8 entry is passive": {in: change(shared, 0, passive), parent: municipality, child: clinic, about: "passive", want: Resolution{Entry: clinic, Walk: []string{clinic}, HERID: "8001", HERIDFrom: clinic, Registered: true,
			Sender: Sender{"Helsestasjon A", "Vei 1", clinic, "+4711111111", clinic}, Rule: "O8"}},
		"O8 knob passive_entry": {in: change(shared, 0, passive), parent: municipality, child: clinic, knobs: JournalKnobs{PassiveEntry: true}, want: Resolution{Entry: clinic, Walk: []string{clinic}, HERID: "8001", HERIDFrom: clinic, Registered: true,
			Sender: Sender{"Helsestasjon A", "Vei 1", clinic, "+4711111111", clinic}}},
		"H1 no HER-id on the way": {in: []JournalOrganization{{Orgnr: clinic, Active: true}}, parent: municipality, child: clinic, about: "HER-id", want: Resolution{Entry: clinic, Walk: []string{clinic}, Rule: "H1"}},
		"H3 HER-id of a passive organization": {in: change(tree, 2, passive), parent: municipality, child: other, about: "8001 of " + municipality, want: Resolution{Entry: other, Walk: []string{other, municipality, otherParent}, HERID: "8001", HERIDFrom: municipality,
			Sender: Sender{"Helsestasjon B", "Rådhuset", municipality, "+4722222222", municipality}, Rule: "H3"}},
		"H3 knob rf_missing": {in: shared, parent: municipality, child: other, knobs: JournalKnobs{RFMissing: []string{"8001"}}, about: "no Aktør", want: Resolution{Entry: other, Walk: []string{other}, HERID: "8001", HERIDFrom: other,
			Sender: Sender{"Helsestasjon B", "Vei 2", other, "", ""}, Rule: "H3"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEPJ(t)
			e.setSFM(func(k *SFMKnobs) { k.Journals = row.knobs })
			e.load(Journal{IDs: []string{knownJournal, secondID}, Organizations: row.in})
			e.speakFor(row.parent, row.child, secondID)
			row.want.Journal = knownJournal
			for path, body := range map[string][]byte{sendPath: SampleSendMedication(testPID, "1"), getPath: SampleGetMedication(testPID)} {
				got := e.call("POST", path, body)
				if seen := e.last().Resolution; seen == nil || !reflect.DeepEqual(*seen, row.want) {
					t.Errorf("%s: resolved to %+v\nwant %+v", path, seen, row.want)
				}
				if row.want.Rule != "" {
					e.wantRule(got, row.want.Rule, row.about)
				} else if got.status != 200 || !e.last().WorkDone {
					t.Errorf("%s: status %d: %.300s", path, got.status, got.body)
				}
			}
			found, fault := e.sim.Resolve(Tenant{Parent: row.parent, Child: row.child, Journal: secondID})
			if !reflect.DeepEqual(found, row.want) || (fault == "") != (row.want.Rule == "") || !strings.Contains(fault, row.about) {
				t.Errorf("Resolve: %+v, %q", found, fault)
			}
		})
	}
}

func TestResolveUnknownJournal(t *testing.T) {
	e := newEPJ(t)
	if found, fault := e.sim.Resolve(Tenant{Parent: municipality, Journal: newJournal}); found.Rule != "L4" || !strings.Contains(fault, newJournal) {
		t.Errorf("%+v, %q", found, fault)
	}
}

// TestFirstUse: without the knob, every token that is right in itself can prescribe at once.
func TestFirstUse(t *testing.T) {
	e := newEPJ(t)
	owners := map[string]string{}
	for i, tenant := range append(Tenants(), Tenant{Parent: otherParent, Child: newcomer, Journal: Tenants()[0].Journal}) {
		e.speakFor(tenant.Parent, tenant.Child, tenant.Journal)
		e.mustCall("POST", sendPath, SampleSendMedication(testPID, fmt.Sprint(i)))
		found := *e.last().Resolution
		if found.Sender.Address == "" || found.Sender.Phone == "" || found.Fallback || found.HERIDFrom != tenant.Parent {
			t.Fatalf("resolved to %+v", found)
		}
		if owner, taken := owners[found.HERID]; taken {
			t.Fatalf("J4: the HER-id of %s is %s's too", tenant.Parent, owner)
		}
		owners[found.HERID] = tenant.Parent
	}
	if n := len(e.sim.Journals()); n != len(Tenants()) {
		t.Errorf("%d journals, want %d", n, len(Tenants()))
	}
	if n := len(e.sim.RFActors()); n != len(owners) {
		t.Errorf("%d Aktører, want %d", n, len(owners))
	}
	e.speakFor(municipality, clinic, knownJournal)
	entries := decode(t, e.mustCall("GET", "/Organization?identifier="+systemENH+"|"+clinic, nil).body)
	if entries["total"] != 1.0 {
		t.Errorf("organizations of the clinic's number: %v", entries["total"])
	}
}

// TestLoadedStaysAsItIs: what was loaded is not filled up on first use.
func TestLoadedStaysAsItIs(t *testing.T) {
	e := newEPJ(t)
	e.load(twoJournals()...)
	e.speakFor(newcomer, "", knownJournal)
	e.wantRule(e.call("POST", sendPath, SampleSendMedication(testPID, "1")), "O6", newcomer)
	e.speakFor(newcomer, "", newJournal) // another journal is made as ever
	e.mustCall("POST", sendPath, SampleSendMedication(testPID, "1"))
}

// TestSameOrgnr (J8, as the knob has it): of two organizations with one number, the lower is the entry, in whatever
// order their ids are.
func TestSameOrgnr(t *testing.T) {
	for _, lower := range []string{"a", "z"} {
		j := newSFMJournals(nowStill)
		journal := j.open(OriginCreated, knownJournal)
		top := JournalOrganization{Orgnr: municipality, HERID: herOfClinic, Active: true}
		j.put(journal, keptOrganization("m", top.resource(knownJournal, "")))
		below := JournalOrganization{Orgnr: municipality, HERID: unusedHERID, Active: true}
		j.put(journal, keptOrganization(lower, below.resource(knownJournal, "m")))
		if found, _ := j.resolve(Tenant{Parent: municipality, Journal: knownJournal}, JournalKnobs{}); found.HERID != unusedHERID {
			t.Errorf("the lower one is %s: resolved to %+v", lower, found)
		}
	}
}

// TestSenderOfMailAlone: an electronic address is no telephone number.
func TestSenderOfMailAlone(t *testing.T) {
	e := newEPJ(t)
	e.load(twoJournals()...)
	contacts := []resource{{"system": "email", "value": "post@klinikk.example"}, {"system": "phone", "value": "+4744444444"}}
	places := []resource{{"line": []string{"Vei 3", ""}, "postalCode": "9999", "city": "Testby"}}
	e.mustCall("PUT", "/Organization/clinic", sent(map[string]any{
		"identifier": ids(clinic, herOfClinic, knownJournal), "active": true, "telecom": contacts, "address": places,
	}))
	found, fault := e.sim.Resolve(Tenant{Parent: municipality, Child: clinic, Journal: knownJournal})
	if found.Sender.Phone != "+4744444444" || found.Sender.Address != "Vei 3, 9999 Testby" || fault != "" {
		t.Errorf("%+v %s", found, fault)
	}
}

// TestFreeHERID: invented HER-ids go out of the way of those in use.
func TestFreeHERID(t *testing.T) {
	j := newSFMJournals(nowStill)
	taken := j.freeHERID("a")
	j.owners[taken] = j.open(OriginCreated, knownJournal)
	if free := j.freeHERID("a"); free == taken || len(free) != len(taken) {
		t.Errorf("%s, then %s", taken, free)
	}
}

// TestSwitchOfTenancy (L8): a single-tenant client's SFM-id is the journal-id of its multi-tenant successor.
func TestSwitchOfTenancy(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
	e.speakFor(newcomer, "", "")
	e.claims[claimJournal], e.claims[claimTenancy], e.claims[claimSFMID] = nil, "single-tenant", newJournal
	e.mustCall("POST", "/Organization", sent(nil))
	e.speakFor(newcomer, "", newJournal)
	e.claims[claimTenancy], e.claims[claimSFMID] = "multi-tenant", unusedID // which is now without meaning
	if got := decode(t, e.mustCall("GET", "/Organization", nil).body); got["total"] != 1.0 {
		t.Errorf("%v organizations", got["total"])
	}
}

func TestRequireUser(t *testing.T) {
	e := newEPJ(t)
	e.load(twoJournals()...)
	e.claims[claimPID] = vikarPID
	e.mustCall("GET", "/Organization", nil)
	e.setSFM(func(k *SFMKnobs) { k.Journals.RequireUser = true })
	if got := e.call("GET", "/Organization", nil); got.status != 403 || e.last().Refusal != "user-unknown" {
		t.Errorf("%d %q", got.status, e.last().Refusal)
	}
	e.claims[claimPID] = nil
	e.mustCall("GET", "/Task?code=8", nil) // a machine
}

// TestResolutionEnds draws journals at random, circles among them, and holds resolution to what must always be true.
func TestResolutionEnds(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		j := newSFMJournals(nowStill)
		journal := j.open(OriginCreated, knownJournal)
		n := 1 + random.IntN(8)
		for i := range n {
			o := JournalOrganization{Orgnr: fmt.Sprint(100000000 + i), Active: random.IntN(4) > 0}
			if random.IntN(3) == 0 {
				o.HERID = fmt.Sprint(8000 + random.IntN(3))
			}
			if random.IntN(2) == 0 {
				o.Phone = "phone of " + o.Orgnr
			}
			j.put(journal, keptOrganization(fmt.Sprint(i), o.resource(knownJournal, fmt.Sprint(random.IntN(n+2)))))
		}
		tenant := Tenant{Parent: "100000000", Child: fmt.Sprint(100000000 + random.IntN(10)), Journal: knownJournal}
		found, broken := j.resolve(tenant, JournalKnobs{})
		if broken != nil && found.Rule != broken.id || broken == nil && !(found.Registered && found.Walk[0] == found.Entry) {
			t.Fatalf("seed %d: %+v, %v", seed, found, broken)
		}
		if len(found.Walk) != len(slices.Compact(slices.Sorted(slices.Values(found.Walk)))) {
			t.Fatalf("seed %d: a circle was walked twice: %v", seed, found.Walk)
		}
		lowest := slices.IndexFunc(found.Walk, func(orgnr string) bool { return journal.byOrgnr(orgnr).phone != "" })
		if lowest >= 0 && found.Sender.PhoneFrom != found.Walk[lowest] || lowest < 0 && found.Sender.Phone != "" {
			t.Fatalf("seed %d: telephone from %q on %v", seed, found.Sender.PhoneFrom, found.Walk)
		}
	}
}
