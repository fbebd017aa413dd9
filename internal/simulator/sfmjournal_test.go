package simulator

import (
	"fmt"
	"os"
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
		"no resource id":         {one(JournalOrganization{ID: "a/b", Orgnr: newcomer}), "organization 1: the resource id"},
		"a long resource id":     {one(JournalOrganization{ID: strings.Repeat("a", 65), Orgnr: newcomer}), "1 to 64"},
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

// TestDocumentedJournals begins a world with the file that docs/simulator.md shows.
func TestDocumentedJournals(t *testing.T) {
	page, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	shown, _, _ := strings.Cut(rest, "```")
	journals, err := ReadJournals(strings.NewReader(shown))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := New(Options{SigningKey: testSigningKey(), Journals: journals})
	if err != nil {
		t.Fatal(err)
	}
	found, fault := sim.Resolve(Tenant{Parent: municipality, Child: clinic, Journal: journals[0].IDs[0]})
	if fault != "" || found.HERIDFrom != municipality || found.Sender.AddressFrom != clinic || found.Sender.PhoneFrom != municipality {
		t.Errorf("%+v %s", found, fault)
	}
}

func TestReadJournals(t *testing.T) {
	for content, about := range map[string]string{
		"[\n{\"ids\":[],\n\"her_ids\":1}]": "her_ids",
		"[\n{\"ids\":\n7}]":                "line 3",
		"[\n\n{]":                          "line 3",
		"[] []":                            "behind the list",
		"":                                 "EOF",
		`{"ids":[]}`:                       "line 1",
		`[{"organizations":[{"active":"true"}]}]`: "active",
	} {
		if _, err := ReadJournals(strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), about) {
			t.Errorf("%q: %v, want something about %q", content, err, about)
		}
	}
	if _, err := ReadJournals(endless{}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("without end: %v", err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '['
	}
	return len(b), nil
}

// FuzzJournals loads what comes; what was taken is told and taken again.
func FuzzJournals(f *testing.F) {
	f.Add([]byte(`[{"ids":["5f3a0001-0000-4000-8000-00000a11ce00"],"users":["lege"],"organizations":[{"orgnr":"100100126","name":"a","her_id":"1","active":true},{"orgnr":"999944582","part_of":"100100126"}]}]`))
	f.Add([]byte(`[{"ids":["5f3a0001-0000-4000-8000-00000a11ce00"],"users":null,"organizations":[{"id":"x","orgnr":"100100126"},{"id":"x","orgnr":"999944582"}]}]`))
	people := map[string]Person{}
	for _, person := range Persons() {
		people[person.ID] = person
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		journals, err := ReadJournals(strings.NewReader(string(content)))
		if err != nil {
			return
		}
		s := &Simulator{sfm: &sfmState{journals: newSFMJournals(nowStill)}}
		s.options.Persons = Persons()
		if s.sfm.journals.loadJournals(journals, people) != nil {
			return
		}
		told := s.Journals()
		if err := s.sfm.journals.loadJournals(told, people); err != nil {
			t.Fatalf("what was told is not taken: %v", err)
		}
		if again := fmt.Sprint(s.Journals()); again != fmt.Sprint(told) {
			t.Errorf("told %v, then %s", told, again)
		}
	})
}
