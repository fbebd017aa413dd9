package simulator

import (
	"fmt"
	"strings"
	"testing"
)

// TestLoadRefusals: a world that SFM could not have come to is not begun.
func TestLoadRefusals(t *testing.T) {
	one := func(organizations ...JournalOrganization) []Journal {
		return []Journal{{IDs: []string{knownJournal}, Organizations: organizations}}
	}
	for name, row := range map[string]struct {
		journals []Journal
		about    string
	}{
		"J1 no id":               {[]Journal{{}}, "journal 1: J1"},
		"J1 no UUID":             {[]Journal{{IDs: []string{"x"}}}, `J1: the id "x"`},
		"J2 twice here":          {[]Journal{{IDs: []string{testJournal, knownJournal}}}, "J2: the id " + knownJournal},
		"J2 in two journals":     {[]Journal{{IDs: []string{testJournal}}, {IDs: []string{knownJournal}}}, "journal 2: J2"},
		"unknown user":           {[]Journal{{IDs: []string{testJournal}, Users: []string{"nobody"}}}, "user nobody"},
		"O1":                     {one(JournalOrganization{Orgnr: "12"}), "organization 1: O1"},
		"J4":                     {append(twoJournals(), Journal{IDs: []string{newJournal}, Organizations: []JournalOrganization{{Orgnr: newcomer, HERID: herOfOther}}}), "journal 3: organization 1: J4: the HER-id " + herOfOther},
		"J6":                     {one(JournalOrganization{Orgnr: newcomer, HERID: "x"}), "J6"},
		"J7":                     {one(JournalOrganization{Orgnr: newcomer}, JournalOrganization{Orgnr: newcomer}), "organization 2: J7"},
		"J7 with ids of its own": {one(JournalOrganization{ID: "a", Orgnr: newcomer}, JournalOrganization{ID: "b", Orgnr: newcomer}), "J7: the organization number " + newcomer},
		"H2 unknown":             {one(JournalOrganization{Orgnr: newcomer, PartOf: clinic}), "H2: part_of " + clinic},
		"H2 itself":              {one(JournalOrganization{Orgnr: newcomer, PartOf: newcomer}), "H2"},
		"H2 a circle":            {one(JournalOrganization{Orgnr: newcomer, PartOf: clinic}, JournalOrganization{Orgnr: clinic, PartOf: newcomer}), "organization 2: H2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{SigningKey: testSigningKey(), Journals: row.journals})
			if err == nil || !strings.Contains(err.Error(), row.about) {
				t.Errorf("%v, want something about %q", err, row.about)
			}
		})
	}
}

// TestLoadAllOrNothing keeps the old journals when new ones are refused.
func TestLoadAllOrNothing(t *testing.T) {
	e := newEPJ(t)
	e.load(twoJournals()...)
	before := fmt.Sprint(e.sim.Journals())
	if err := e.sim.sfm.journals.loadJournals([]Journal{{IDs: []string{newJournal}}, {}}, e.sim.people); err == nil {
		t.Fatal("loaded")
	}
	if fmt.Sprint(e.sim.Journals()) != before {
		t.Error("the journals have changed")
	}
}

func TestJournalKnobsAreChecked(t *testing.T) {
	for _, knobs := range []JournalKnobs{{UnknownStatus: 200}, {UnknownStatus: 400}, {RuleStatus: 200}, {RuleStatus: 500}, {RuleStatus: 399}} {
		if (SFMKnobs{Journals: knobs}).validate() == nil {
			t.Errorf("%+v is taken", knobs)
		}
	}
	if err := (SFMKnobs{Journals: JournalKnobs{UnknownStatus: 404, RuleStatus: 400}}).validate(); err != nil {
		t.Error(err)
	}
}

// TestAttachedID: with the knob, a second id leads to the journal once an organization brought it (J3).
func TestAttachedID(t *testing.T) {
	e := newEPJ(t)
	e.load(twoJournals()...)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals, k.Journals.AttachIDs = true, true })
	e.speakFor(newcomer, "", knownJournal)
	e.mustCall("POST", "/Organization", sent(map[string]any{"identifier": ids(newcomer, "", unusedID)}))
	e.speakFor(municipality, clinic, unusedID)
	e.mustCall("POST", sendPath, SampleSendMedication(testPID, "1"))
	if got := e.last().Resolution.Journal; got != knownJournal {
		t.Errorf("the new id leads to %s", got)
	}
}
