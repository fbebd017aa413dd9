package simulator

import (
	"strings"
	"testing"
)

const anOrganization = `{"resourceType":"Organization","name":"Syntetisk avdeling","active":false}`

func TestOrganizationLife(t *testing.T) {
	e := newEPJ(t)
	created := e.mustCall("POST", "/Organization", []byte(anOrganization))
	location := created.header.Get("Location")
	id := text(decode(t, created.body), "id")
	if created.status != 201 || !strings.HasPrefix(location, "http://") || !strings.Contains(location, "/Organization/"+id) {
		t.Fatalf("status %d, Location %q", created.status, location)
	}
	read := decode(t, e.mustCall("GET", "/Organization/"+id, nil).body)
	if text(read, "name") != "Syntetisk avdeling" || versionOf(read) != 1 {
		t.Errorf("read %v", read)
	}
	changed := decode(t, e.mustCall("PUT", "/Organization/"+id, []byte(strings.Replace(anOrganization, "false", "true", 1))).body)
	if changed["active"] != true || versionOf(changed) != 2 {
		t.Errorf("changed to %v", changed)
	}
	// The token's parent and child are in the journal too, since the knob strict_journals is off.
	for query, want := range map[string]float64{"": 3, "?active=true": 3, "?active=false": 0, "?_id=a," + id: 1, "?identifier=" + testChild: 1, "?identifier=1": 0, "?name=x": 3} {
		if got := decode(t, e.mustCall("GET", "/Organization"+query, nil).body)["total"]; got != want {
			t.Errorf("Organization%s: %v, want %v", query, got, want)
		}
	}
	for _, row := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/Organization/none", "", 404},
		{"PUT", "/Organization/none", anOrganization, 404},
		{"PUT", "/Organization/" + id, `{"resourceType":"Organization","id":"other"}`, 400},
		{"POST", "/Organization", `{"resourceType":"Patient"}`, 400},
		{"POST", "/Organization", `no JSON`, 400},
	} {
		if got := e.call(row.method, row.path, []byte(row.body)); got.status != row.want || e.last().WorkDone {
			t.Errorf("%s %s: %d, want %d", row.method, row.path, got.status, row.want)
		}
	}
	e.claims[claimJournal] = "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"
	if got := e.call("GET", "/Organization/"+id, nil); got.status != 404 {
		t.Errorf("from another journal: %d", got.status)
	}
}

func TestStrictJournals(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictJournals = true })
	for _, path := range []string{"/Organization", "/Task", "/Organization/1"} {
		got := e.call("GET", path, nil)
		issue := outcome(t, got)
		if got.status != 403 || issue["code"] != "forbidden" || got.header.Get("WWW-Authenticate") != "" || !e.last().Accepted || e.last().WorkDone {
			t.Errorf("GET %s in an unknown journal: %d", path, got.status)
		}
	}
	if got := e.call("POST", getPath, SampleGetMedication(testPID)); got.status != 403 || e.last().Refusal != "journal-unknown" {
		t.Errorf("$getMedication in an unknown journal: %d", got.status)
	}
	e.mustCall("POST", "/Organization", sent(map[string]any{"identifier": ids(testChild, "", testJournal)}))
	e.claims[claimJournal] = strings.ToLower(testJournal) // the same one
	e.mustCall("GET", "/Organization", nil)
	for knob, status := range map[int]int{0: 403, 401: 401, 403: 403, 404: 404} {
		e.setSFM(func(k *SFMKnobs) { k.Journals.UnknownStatus = knob })
		e.claims[claimJournal] = newJournal
		if got := e.call("GET", "/Organization", nil); got.status != status || (got.header.Get("WWW-Authenticate") != "") != (status == 401) {
			t.Errorf("an unknown journal, knob %d: %d", knob, got.status)
		}
	}
}
