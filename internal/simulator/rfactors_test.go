package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func nowStill() time.Time { return time.Unix(1_800_000_000, 0) }

// TestActorLife follows an Aktør: registered by the first active organization with its HER-id, removed with the last.
func TestActorLife(t *testing.T) {
	e := newEPJ(t)
	e.load(Journal{IDs: []string{testJournal}, Organizations: []JournalOrganization{
		{ID: "a", Orgnr: municipality, HERID: herOfClinic}, {ID: "b", Orgnr: newcomer, HERID: herOfClinic}, {ID: "c", Orgnr: clinic, Active: true},
	}})
	put := func(id, orgnr, herID string, active bool, version string) {
		t.Helper()
		changes := map[string]any{"identifier": ids(orgnr, herID, knownJournal), "active": active}
		if version != "" {
			changes["extension"] = epjInfo(version)
		}
		e.mustCall("PUT", "/Organization/"+id, sent(changes))
	}
	want := func(orgnr, herID, version string) {
		t.Helper()
		actors := e.sim.RFActors()
		if orgnr == "" && len(actors) == 0 {
			return
		}
		if len(actors) != 1 || actors[0].Orgnr != orgnr || actors[0].HERID != herID || actors[0].EPJ["version"] != version || actors[0].Journal != knownJournal || actors[0].Inbox == "" {
			t.Fatalf("Aktører: %+v, want %s of %s, version %q", actors, herID, orgnr, version)
		}
	}
	want("", "", "")
	put("b", newcomer, herOfClinic, true, "1.0")
	want(newcomer, herOfClinic, "1.0")
	put("a", municipality, herOfClinic, true, "")
	want(newcomer, herOfClinic, "1.0") // the second registers nothing
	put("a", municipality, herOfClinic, true, "2.0")
	want(newcomer, herOfClinic, "2.0") // but tells of the new EPJ version
	put("b", newcomer, herOfClinic, false, "1.0")
	want(newcomer, herOfClinic, "2.0")
	put("a", municipality, unusedHERID, true, "2.0") // another HER-id: the old one has no active organization left
	want(municipality, unusedHERID, "2.0")
	e.setSFM(func(k *SFMKnobs) { k.Journals.RFMissing = []string{unusedHERID} })
	want("", "", "")
	e.setSFM(func(k *SFMKnobs) { k.Journals.RFMissing = nil })
	put("a", municipality, unusedHERID, false, "")
	want("", "", "")
	// A HER-id that nobody has any more may go to another journal (J4).
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
	put("b", newcomer, "", false, "")
	e.speakFor(newcomer, "", newJournal)
	e.mustCall("POST", "/Organization", sent(map[string]any{"identifier": ids(newcomer, herOfClinic, newJournal)}))
}

// TestJournalCalls asks as people and programs in other languages do.
func TestJournalCalls(t *testing.T) {
	sim, err := New(Options{SigningKey: testSigningKey(), Journals: twoJournals(), Now: nowStill})
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, name string, into any) {
		t.Helper()
		recorder := httptest.NewRecorder()
		sim.SFM().ServeHTTP(recorder, httptest.NewRequest(method, "/_simulator/"+name, nil))
		if into == nil && recorder.Code != http.StatusNoContent {
			t.Fatalf("%s %s: %d", method, name, recorder.Code)
		}
		if into != nil {
			if err := json.Unmarshal(recorder.Body.Bytes(), into); err != nil {
				t.Fatal(err)
			}
		}
	}
	var actors []RFActor
	if call("GET", "rf", &actors); len(actors) != 2 || actors[0].HERID != herOfClinic || !actors[0].RegisteredAt.Equal(nowStill()) {
		t.Errorf("Aktører: %+v", actors)
	}
	var journals []Journal
	call("GET", "journals", &journals)
	if len(journals) != 2 || journals[0].Organizations[1].PartOf != municipality || journals[0].Organizations[1].Address != clinicAddress {
		t.Errorf("journals: %+v", journals)
	}
	again, err := New(Options{SigningKey: testSigningKey(), Journals: journals}) // what is told can be loaded
	if err != nil || len(again.RFActors()) != 2 {
		t.Errorf("loading what was told: %v", err)
	}
	sim.sfm.journals.ensure(Tenant{Parent: newcomer, Journal: newJournal}, journalUser{pid: "00000000001"})
	if all := sim.Journals(); len(all) != 3 || all[2].Origin != OriginFirstUse || len(all[2].Users) != 0 {
		t.Errorf("after first use: %+v", all)
	}
	for body, status := range map[string]int{`[{"ids":["` + newJournal + `"]}]`: 200, `[{"ids":["x"]}]`: 400, `{}`: 400} {
		recorder := httptest.NewRecorder()
		sim.HelseID().ServeHTTP(recorder, httptest.NewRequest("PUT", "/_simulator/journals", strings.NewReader(body)))
		if recorder.Code != status || (status == 400) != strings.Contains(recorder.Body.String(), `"error"`) {
			t.Errorf("PUT of %s: %d", body, recorder.Code)
		}
	}
	if all := sim.Journals(); len(all) != 1 || all[0].IDs[0] != newJournal || len(all[0].Users) != len(Persons()) {
		t.Errorf("after PUT: %+v", all)
	}
	call("DELETE", "journals", nil)
	if n := len(sim.Journals()); n != 2 {
		t.Errorf("%d journals after DELETE", n)
	}
}
