package simulator

import (
	"strings"
	"testing"
)

func humanBody(kind string, identifiers ...string) []byte {
	var list []string
	for i := 0; i+1 < len(identifiers); i += 2 {
		list = append(list, `{"system":"`+identifiers[i]+`","value":"`+identifiers[i+1]+`"}`)
	}
	return []byte(`{"resourceType":"` + kind + `","identifier":[` + strings.Join(list, ",") + `]}`)
}

func TestPersonLife(t *testing.T) {
	for _, row := range []struct {
		kind string
		body []byte
	}{
		{kindPerson, humanBody(kindPerson, systemFNR, testPID)},
		{kindPerson, humanBody(kindPerson, systemDNR, vikarPID, systemHPR, "565501002")},
		{kindPractitioner, humanBody(kindPractitioner, systemHPR, "565501001")},
		{kindPractitioner, humanBody(kindPractitioner, systemHPR, "565501001", systemFNR, testPID)},
	} {
		e := newEPJ(t)
		e.load(Journal{IDs: []string{testJournal}, Users: []string{}})
		created := e.mustCall("POST", "/"+row.kind, row.body)
		id := text(decode(t, created.body), "id")
		if created.status != 201 || !strings.Contains(created.header.Get("Location"), "/"+row.kind+"/"+id) {
			t.Errorf("status %d, Location %q", created.status, created.header.Get("Location"))
		}
		e.mustCall("GET", "/"+row.kind+"/"+id, nil)
		if got := decode(t, e.mustCall("PUT", "/"+row.kind+"/"+id, row.body).body); versionOf(got) != 2 {
			t.Errorf("version %d", versionOf(got))
		}
		if found := decode(t, e.mustCall("GET", "/"+row.kind, nil).body); found["total"] != 1.0 {
			t.Errorf("%v %ss", found["total"], row.kind)
		}
		if found := decode(t, e.mustCall("GET", "/"+row.kind+"?_id=none", nil).body); found["total"] != 0.0 {
			t.Errorf("%v of an id nobody has", found["total"])
		}
		for _, path := range []string{"/" + row.kind + "/none", "/Person/none", "/Practitioner/none"} {
			if got := e.call("GET", path, nil); got.status != 404 {
				t.Errorf("GET %s: %d", path, got.status)
			}
		}
		if got := e.call("PUT", "/"+row.kind+"/none", row.body); got.status != 404 || e.last().WorkDone {
			t.Errorf("PUT of nobody: %d", got.status)
		}
		other := map[string]string{kindPerson: kindPractitioner, kindPractitioner: kindPerson}[row.kind]
		if got := e.call("GET", "/"+other+"/"+id, nil); got.status != 404 {
			t.Errorf("a %s read as %s: %d", row.kind, other, got.status)
		}
	}
}

func TestPersonRefusals(t *testing.T) {
	e := newEPJ(t)
	e.load(Journal{IDs: []string{testJournal}})
	for _, body := range [][]byte{
		humanBody(kindPerson), humanBody(kindPerson, systemHPR, "565501001"),
		humanBody(kindPerson, systemFNR, testPID, systemDNR, vikarPID), humanBody(kindPerson, systemFNR, testPID, systemFNR, testPID),
	} {
		e.wantRule(e.call("POST", "/Person", body), "C5", "exactly one of FNR")
	}
	for kind, body := range map[string][]byte{
		kindPerson: humanBody(kindPerson, systemFNR, "123"), kindPractitioner: humanBody(kindPerson, systemFNR, testPID),
	} {
		if got := e.call("POST", "/"+kind, body); got.status != 400 {
			t.Errorf("%s: %d", kind, got.status)
		}
	}
	if got := e.call("POST", "/Person", []byte("no JSON")); got.status != 400 {
		t.Errorf("no JSON: %d", got.status)
	}
}

// TestDNumber: a creator with a D-number becomes an sfm-Person with DNR.
func TestDNumber(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
	e.speakFor(newcomer, "", newJournal)
	e.claims[claimPID] = "53827015061"
	e.mustCall("POST", "/Organization", sent(nil))
	if found := decode(t, e.mustCall("GET", "/Person?identifier="+systemDNR+"|53827015061", nil).body); found["total"] != 1.0 {
		t.Errorf("%v Persons with DNR", found["total"])
	}
}
