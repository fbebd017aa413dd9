package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

const (
	knownJournal  = "5f3a0001-0000-4000-8000-00000a11ce00" // testJournal in lower case
	secondID      = "11111111-2222-4333-8444-555555555555" // another id of it
	otherJournal  = "aaaaaaaa-0000-4000-8000-000000000001"
	newJournal    = "bbbbbbbb-0000-4000-8000-000000000002"
	unusedID      = "cccccccc-0000-4000-8000-000000000003"
	municipality  = testParent
	clinic        = testChild
	otherParent   = "313325016"
	newcomer      = "312232324"
	herOfClinic   = "8001"
	herOfOther    = "8002"
	unusedHERID   = "8003"
	vikarPID      = "24868224009"
	clinicAddress = "Helseveien 1, 9999 Testby"
)

// twoJournals is the world most rules are shown in: a municipality with a clinic, and somebody else.
func twoJournals() []Journal {
	return []Journal{
		{IDs: []string{testJournal, secondID}, Users: []string{"lege"}, Organizations: []JournalOrganization{
			{ID: "clinic", Orgnr: clinic, Name: "Syntetisk klinikk", PartOf: municipality, Active: true, Address: clinicAddress},
			{ID: "top", Orgnr: municipality, Name: "Syntetisk kommune", HERID: herOfClinic, Active: true, Phone: "+4711111111", Address: "Rådhuset"},
		}},
		{IDs: []string{otherJournal}, Users: []string{"vikar"}, Organizations: []JournalOrganization{
			{ID: "other", Orgnr: otherParent, Name: "Syntetisk legesenter", HERID: herOfOther, Active: true},
		}},
	}
}

func (e *epj) load(journals ...Journal) {
	e.t.Helper()
	if err := e.sim.sfm.journals.loadJournals(journals, e.sim.people); err != nil {
		e.t.Fatal(err)
	}
}

// sent is an Organization as an EPJ would post it for the token's parent in a new journal, with changes.
func sent(changes map[string]any) []byte {
	body, err := json.Marshal(overridden(resource{
		"resourceType": "Organization", "name": "Syntetisk virksomhet", "active": false,
		"meta":       resource{"profile": []string{profileOrganization}},
		"identifier": ids(newcomer, unusedHERID, newJournal),
	}, changes))
	if err != nil {
		panic(err)
	}
	return body
}

func ids(orgnr, herID, sfmID string) []resource {
	list := []resource{}
	for _, id := range [][2]string{{systemENH, orgnr}, {systemHERID, herID}, {"http://nhn.example/sfm-id", sfmID}} {
		if id[1] != "" {
			list = append(list, resource{"system": id[0], "value": id[1]})
		}
	}
	return list
}

func (e *epj) speakFor(parent, child, journal string) {
	e.claims[claimParent], e.claims[claimJournal], e.claims[claimChild] = parent, journal, child
	if child == "" {
		e.claims[claimChild] = nil
	}
}

// wantRule checks that an answer is a refusal for the rule, in every place that tells.
func (e *epj) wantRule(got answer, rule, about string) {
	e.t.Helper()
	if got.status != 422 || e.last().WorkDone || e.last().Refusal != rule {
		e.t.Fatalf("status %d, refusal %q, work done %v; want 422, %q: %s", got.status, e.last().Refusal, e.last().WorkDone, rule, got.body)
	}
	issue := outcome(e.t, got)
	if said := text(issue, "diagnostics"); !strings.HasPrefix(said, rule+": ") || !strings.Contains(said, about) || issue["code"] != "business-rule" {
		e.t.Errorf("said %q, want %s and something about %q", said, rule, about)
	}
	for _, person := range Persons() {
		if strings.Contains(string(got.body), person.PID) {
			e.t.Error("the refusal names a person")
		}
	}
}

func TestRulesOfCreate(t *testing.T) {
	type values = map[string]any
	own := func(e *epj) { e.speakFor(newcomer, "", newJournal) } // makes a journal
	join := func(e *epj) { e.speakFor(newcomer, "", knownJournal) }
	identifiers := func(orgnr, herID, sfmID string) values { return values{"identifier": ids(orgnr, herID, sfmID)} }
	knob := func(change func(*JournalKnobs)) func(*epj) {
		return func(e *epj) { e.setSFM(func(k *SFMKnobs) { change(&k.Journals) }) }
	}
	both := func(first, second func(*epj)) func(*epj) { return func(e *epj) { first(e); second(e) } }
	for name, row := range map[string]struct {
		before  func(*epj)
		changes values
		rule    string // "" = created
		about   string
	}{
		"option A":                      {own, nil, "", ""},
		"option A with a child":         {func(e *epj) { e.speakFor(municipality, newcomer, newJournal) }, nil, "", ""},
		"active left out":               {own, values{"active": nil}, "", ""},
		"without HER-id":                {own, identifiers(newcomer, "", newJournal), "", ""},
		"J9 orgnr of another journal":   {func(e *epj) { e.speakFor(otherParent, "", newJournal) }, identifiers(otherParent, "", newJournal), "", ""},
		"SFM-id in capitals":            {own, identifiers(newcomer, "", strings.ToUpper(newJournal)), "", ""},
		"SFM-id of an unknown system":   {own, values{"identifier": append(ids(newcomer, "", ""), resource{"system": "urn:oid:1.2.3", "value": newJournal})}, "", ""},
		"SFM-id by its type":            {own, values{"identifier": append(ids(newcomer, "", ""), resource{"type": resource{"text": "SFM-id"}, "value": newJournal}, resource{"system": "urn:x", "value": unusedID})}, "", ""},
		"option B":                      {join, identifiers(newcomer, unusedHERID, knownJournal), "", ""},
		"option B by the second id":     {func(e *epj) { e.speakFor(newcomer, "", secondID) }, identifiers(newcomer, "", secondID), "", ""},
		"J5 shared HER-id":              {join, identifiers(newcomer, herOfClinic, knownJournal), "", ""},
		"part of a written one":         {join, values{"identifier": ids(newcomer, "", knownJournal), "partOf": resource{"reference": "http://sfm.example/v2/Organization/top/_history/1"}}, "", ""},
		"L9 by the old number":          {func(e *epj) { e.speakFor(municipality, "", knownJournal) }, identifiers(newcomer, "", knownJournal), "", ""},
		"knob attach_ids":               {both(join, knob(func(k *JournalKnobs) { k.AttachIDs = true })), identifiers(newcomer, "", unusedID), "", ""},
		"knob same_orgnr_part_of":       {both(join, knob(func(k *JournalKnobs) { k.SameOrgnrPartOf = true })), values{"identifier": ids(municipality, unusedHERID, knownJournal), "partOf": resource{"reference": "Organization/top"}}, "C1", "speaks for"},
		"J8 same_orgnr_part_of":         {both(func(e *epj) { e.speakFor(municipality, "", knownJournal) }, knob(func(k *JournalKnobs) { k.SameOrgnrPartOf = true })), values{"identifier": ids(municipality, unusedHERID, knownJournal), "partOf": resource{"reference": "Organization/top"}}, "", ""},
		"J8 same HER-id":                {both(func(e *epj) { e.speakFor(municipality, "", knownJournal) }, knob(func(k *JournalKnobs) { k.SameOrgnrPartOf = true })), values{"identifier": ids(municipality, herOfClinic, knownJournal), "partOf": resource{"reference": "Organization/top"}}, "J7", municipality},
		"C1 no SFM-id":                  {own, identifiers(newcomer, "", ""), "C1", "SFM-id"},
		"C1 another SFM-id":             {own, identifiers(newcomer, "", unusedID), "C1", newJournal},
		"C1 two SFM-ids":                {own, values{"identifier": append(ids(newcomer, "", newJournal), resource{"system": "x-sfm-id", "value": unusedID})}, "C1", "exactly one"},
		"C1 SFM-id of another system":   {both(own, knob(func(k *JournalKnobs) { k.SFMIDSystem = "urn:oid:9" })), nil, "C1", "exactly one"},
		"C1 no id is attached to a new": {both(own, knob(func(k *JournalKnobs) { k.AttachIDs = true })), identifiers(newcomer, "", unusedID), "C1", newJournal},
		"C1 attach a foreign id":        {both(join, knob(func(k *JournalKnobs) { k.AttachIDs = true })), identifiers(newcomer, "", otherJournal), "C1", knownJournal},
		"C1 other orgnr":                {own, identifiers(otherParent, "", newJournal), "C1", newcomer + " (orgnr_parent)"},
		"C1 the parent's orgnr":         {func(e *epj) { e.speakFor(newcomer, clinic, newJournal) }, nil, "C1", clinic + " (orgnr_child)"},
		"C1 other orgnr, option B":      {join, identifiers(otherParent, "", knownJournal), "C1", newcomer},
		"C1 knob create_own_only":       {both(func(e *epj) { e.speakFor(municipality, "", knownJournal) }, knob(func(k *JournalKnobs) { k.CreateOwnOnly = true })), identifiers(newcomer, "", knownJournal), "C1", municipality},
		"C2 HER-id in use":              {own, identifiers(newcomer, herOfOther, newJournal), "C2", herOfOther},
		"J4 HER-id of another journal":  {join, identifiers(newcomer, herOfOther, knownJournal), "J4", herOfOther},
		"C3 active":                     {own, values{"active": true}, "C3", "active=false"},
		"C3 no profile":                 {own, values{"meta": nil}, "C3", "meta.profile"},
		"C3 another profile":            {own, values{"meta": resource{"profile": []string{profileBase + "sfm-Person"}}}, "C3", "sfm-Organization"},
		"C4 a stranger":                 {both(join, func(e *epj) { e.claims[claimPID] = vikarPID }), identifiers(newcomer, "", knownJournal), "C4", "sfm-Person"},
		"C4 a machine":                  {both(own, func(e *epj) { e.claims[claimPID] = nil; e.setSFM(func(k *SFMKnobs) { k.MachineTokens = true }) }), nil, "C4", "no person"},
		"J6 two HER-ids":                {own, values{"identifier": append(ids(newcomer, unusedHERID, newJournal), resource{"system": systemHERID, "value": "8004"})}, "J6", "at most one"},
		"J6 a HER-id of letters":        {own, identifiers(newcomer, "x1", newJournal), "J6", "not a number"},
		"J7 orgnr is there":             {func(e *epj) { e.speakFor(municipality, clinic, knownJournal) }, identifiers(clinic, "", knownJournal), "J7", "Organization/clinic"},
		"O1 no orgnr":                   {own, identifiers("", "", newJournal), "O1", "exactly one"},
		"O1 two orgnr":                  {own, values{"identifier": append(ids(newcomer, "", newJournal), ids(clinic, "", "")...)}, "O1", "exactly one"},
		"O1 eight digits":               {own, identifiers("31223232", "", newJournal), "O1", "nine digits"},
		"H2 part of nothing":            {join, values{"identifier": ids(newcomer, "", knownJournal), "partOf": resource{"reference": "Organization/none"}}, "H2", "already written"},
		"H2 part of another journal's":  {join, values{"identifier": ids(newcomer, "", knownJournal), "partOf": resource{"reference": "Organization/other"}}, "H2", "same journal"},
		"H2 no reference":               {join, values{"identifier": ids(newcomer, "", knownJournal), "partOf": resource{"display": "Kommunen"}}, "H2", "Organization/<id>"},
		"H2 in a new journal":           {own, values{"partOf": resource{"reference": "Organization/top"}}, "H2", "already written"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEPJ(t)
			e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
			e.load(twoJournals()...)
			row.before(e)
			before := fmt.Sprint(e.sim.Journals(), e.sim.RFActors())
			got := e.call("POST", "/Organization", sent(row.changes))
			if row.rule != "" {
				e.wantRule(got, row.rule, row.about)
				if after := fmt.Sprint(e.sim.Journals(), e.sim.RFActors()); after != before {
					t.Error("a refused create changed something")
				}
				return
			}
			if made := decode(t, got.body); got.status != 201 || made["active"] != false {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			e.mustCall("GET", "/Organization", nil) // the journal is there
		})
	}
}

// TestRuleStatus turns the status of broken rules.
func TestRuleStatus(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals, k.Journals.RuleStatus = true, 409 })
	if got := e.call("POST", "/Organization", []byte(anOrganization)); got.status != 409 || e.last().Refusal != "C3" {
		t.Errorf("%d %q", got.status, e.last().Refusal)
	}
}

// TestOptionA makes a journal by its first Organization: the creator administers it, others can't join (C4) until they
// are written to it.
func TestOptionA(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
	e.speakFor(newcomer, "", newJournal)
	e.mustCall("POST", "/Organization", sent(nil))
	made := e.sim.Journals()
	if len(made) != 1 || made[0].Origin != OriginCreated || made[0].IDs[0] != newJournal || fmt.Sprint(made[0].Users) != "[lege]" {
		t.Errorf("journals: %+v", made)
	}
	people := decode(t, e.mustCall("GET", "/Person", nil).body)
	if people["total"] != 1.0 {
		t.Errorf("the creator is not the one Person: %v", people["total"])
	}
	e.speakFor(otherParent, "", newJournal)
	e.claims[claimPID] = vikarPID
	joining := sent(map[string]any{"identifier": ids(otherParent, "", newJournal)})
	e.wantRule(e.call("POST", "/Organization", joining), "C4", "must write the person first")
	e.claims[claimPID] = nil
	delete(e.claims, claimPID)
	e.mustCall("POST", "/Practitioner", []byte(`{"resourceType":"Practitioner","identifier":[{"system":"`+systemHPR+`","value":"565501002"}]}`))
	e.claims[claimPID], e.claims[claimHPR] = vikarPID, "565501002"
	e.mustCall("POST", "/Organization", joining)
	if n := len(e.sim.Journals()); n != 1 {
		t.Errorf("%d journals, want one", n)
	}
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = false }) // a journal made under the rules stays under them
	e.wantRule(e.call("POST", "/Organization", joining), "J7", otherParent)
}

func TestRulesOfUpdate(t *testing.T) {
	type values = map[string]any
	top := ids(municipality, herOfClinic, knownJournal)
	for name, row := range map[string]struct {
		path    string
		knobs   func(*JournalKnobs)
		changes values
		rule    string // "" = written
		about   string
	}{
		"the same again":          {"top", nil, values{"identifier": top, "active": true}, "", ""},
		"passive, another active": {"top", nil, values{"identifier": top}, "", ""},
		"SFM-id left out":         {"top", nil, values{"identifier": ids(municipality, herOfClinic, ""), "active": true}, "", ""},
		"the second SFM-id":       {"top", nil, values{"identifier": ids(municipality, herOfClinic, secondID), "active": true}, "", ""},
		"another HER-id":          {"top", nil, values{"identifier": ids(municipality, unusedHERID, knownJournal), "active": true}, "", ""},
		"epjinfo":                 {"top", func(k *JournalKnobs) { k.RequireEPJInfo = true }, values{"identifier": top, "active": true, "extension": epjInfo("2.0")}, "", ""},
		"J2 a foreign SFM-id":     {"top", nil, values{"identifier": ids(municipality, herOfClinic, otherJournal), "active": true}, "J2", "none of this journal's"},
		"J4 a foreign HER-id":     {"top", nil, values{"identifier": ids(municipality, herOfOther, knownJournal), "active": true}, "J4", herOfOther},
		"J6 two HER-ids":          {"top", nil, values{"identifier": append(ids("", unusedHERID, ""), top...), "active": true}, "J6", "at most one"},
		"J7 the clinic's orgnr":   {"top", nil, values{"identifier": ids(clinic, herOfClinic, knownJournal), "active": true}, "J7", "Organization/clinic"},
		"O1 no orgnr":             {"top", nil, values{"identifier": ids("", herOfClinic, knownJournal), "active": true}, "O1", "exactly one"},
		"H2 part of itself":       {"top", nil, values{"identifier": top, "active": true, "partOf": resource{"reference": "Organization/top"}}, "H2", "back to the organization itself"},
		"H2 a circle":             {"top", nil, values{"identifier": top, "active": true, "partOf": resource{"reference": "Organization/clinic"}}, "H2", "back to the organization itself"},
		"H2 part of nothing":      {"top", nil, values{"identifier": top, "active": true, "partOf": resource{"reference": "Organization/other"}}, "H2", "same journal"},
		"L7 no epjinfo":           {"top", func(k *JournalKnobs) { k.RequireEPJInfo = true }, values{"identifier": top, "active": true}, "L7", "epjinfo"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEPJ(t)
			e.load(twoJournals()...) // loaded journals are kept to the rules without the knob too
			if row.knobs != nil {
				e.setSFM(func(k *SFMKnobs) { row.knobs(&k.Journals) })
			}
			before := fmt.Sprint(e.sim.Journals())
			got := e.call("PUT", "/Organization/"+row.path, sent(row.changes))
			if row.rule == "" {
				if got.status != 200 || versionOf(decode(t, got.body)) != 2 {
					t.Errorf("status %d: %s", got.status, got.body)
				}
				return
			}
			e.wantRule(got, row.rule, row.about)
			if fmt.Sprint(e.sim.Journals()) != before {
				t.Error("a refused update changed something")
			}
		})
	}
}

func epjInfo(version string) []resource {
	return []resource{{"url": profileBase + "sfm-epjinfo", "extension": []resource{
		{"url": "systemcode", "valueString": "SynteticEPJ"}, {"url": "version", "valueString": version},
	}}}
}

// TestLastActive (C7): the old number must not be made passive before the new one is active.
func TestLastActive(t *testing.T) {
	e := newEPJ(t)
	e.load(Journal{IDs: []string{testJournal}, Organizations: []JournalOrganization{
		{ID: "old", Orgnr: municipality, HERID: herOfClinic, Active: true}, {ID: "new", Orgnr: newcomer, HERID: herOfClinic},
	}})
	old, fresh := ids(municipality, herOfClinic, knownJournal), ids(newcomer, herOfClinic, knownJournal)
	passive := sent(map[string]any{"identifier": old})
	e.wantRule(e.call("PUT", "/Organization/old", passive), "C7", "last active")
	e.mustCall("PUT", "/Organization/new", sent(map[string]any{"identifier": fresh})) // passive already: nothing is lost
	e.mustCall("PUT", "/Organization/new", sent(map[string]any{"identifier": fresh, "active": true}))
	e.mustCall("PUT", "/Organization/old", passive)
	e.wantRule(e.call("PUT", "/Organization/new", sent(map[string]any{"identifier": fresh})), "C7", "last active")
	e.setSFM(func(k *SFMKnobs) { k.Journals.LastPassive = true })
	e.mustCall("PUT", "/Organization/new", sent(map[string]any{"identifier": fresh}))
	e.setSFM(func(k *SFMKnobs) { k.Journals.LastPassive = false })
	e.mustCall("PUT", "/Organization/new", sent(map[string]any{"identifier": fresh})) // nothing more is lost
	if actors := e.sim.RFActors(); len(actors) != 0 {
		t.Errorf("Aktører of passive organizations: %v", actors)
	}
}

// TestCreateAtOnce posts one Organization many times at once: one makes the journal, the others find it there (J7).
func TestCreateAtOnce(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
	e.speakFor(newcomer, "", newJournal)
	statuses := make([]int, 16)
	var wait sync.WaitGroup
	for i := range statuses {
		r := e.request("POST", "/Organization", sent(nil))
		wait.Go(func() {
			if got, err := e.client.Do(r); err == nil {
				statuses[i] = got.StatusCode
				got.Body.Close()
			}
		})
	}
	wait.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if count[201] != 1 || count[422] != len(statuses)-1 || len(e.sim.Journals()) != 1 {
		t.Errorf("statuses %v, %d journals", count, len(e.sim.Journals()))
	}
}

// FuzzOrganization writes what comes, under the rules and without, and then prescribes.
func FuzzOrganization(f *testing.F) {
	f.Add(sent(nil), true)
	f.Add(sent(map[string]any{"partOf": resource{"reference": "Organization/top"}, "extension": epjInfo("1")}), false)
	f.Add([]byte(`{"resourceType":"Organization","identifier":null,"meta":7}`), true)
	f.Fuzz(func(t *testing.T, body []byte, strict bool) {
		whole, facts, refusal := readOrganizationBody(body)
		if refusal != nil {
			return
		}
		journals := newSFMJournals(nowStill)
		people := map[string]Person{"lege": Persons()[0]}
		world := twoJournals()[:1]
		if err := journals.loadJournals(world, people); err != nil {
			t.Fatal(err)
		}
		tenant := Tenant{Parent: municipality, Child: clinic, Journal: knownJournal}
		write := organizationWrite{all: journals, facts: facts, tenant: tenant, user: journalUser{pid: testPID}}
		write.knobs.StrictJournals = strict
		_, _ = journals.create(write, whole)
		write.id = "top"
		_, _ = journals.update(write, whole)
		if found, broken := journals.resolve(tenant, JournalKnobs{}); broken == nil && (found.HERID == "" || found.Entry != clinic) {
			t.Errorf("resolved to %+v", found)
		}
	})
}
