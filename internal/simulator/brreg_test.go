package simulator

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestBrregLookUp(t *testing.T) {
	v := newVendor(t)
	for path, want := range map[string]map[string]any{
		"/brreg/enheter/100100126":                   {"navn": "SYNTETISK VIRKSOMHET 100100126", "overordnetEnhet": nil, "slettedato": nil, "respons_klasse": "Enhet"},
		"/brreg/underenheter/999944582":              {"overordnetEnhet": "100100126", "respons_klasse": "Underenhet"},
		"/brreg/underenheter/" + WardUnit:            {"overordnetEnhet": DepartmentUnit},
		"/brreg/enheter/" + DepartmentUnit:           {"overordnetEnhet": MunicipalityUnit},
		"/brreg/enheter/" + LoopUnit:                 {"overordnetEnhet": LoopUnit},
		"/brreg/enheter/" + StruckOffUnit:            {"slettedato": "2024-06-30", "respons_klasse": "SlettetEnhet"},
		"/brreg/underenheter/" + StruckOffSubUnit:    {"slettedato": "2023-12-31", "overordnetEnhet": "100100126"},
		"/brreg/enheter/" + ParentWithoutTerms:       {"organisasjonsnummer": ParentWithoutTerms},
		"/brreg/enheter/" + ParentNotDelegated:       {"organisasjonsnummer": ParentNotDelegated},
		"/brreg/enheter/" + MisnamedUnit + "?x=true": {"navn": "SYNTETISK LEGESENTER AS"},
	} {
		got := v.register(http.MethodGet, path, "", "").object()
		for member, value := range want {
			if got[member] != value {
				t.Errorf("%s: %s is %v, want %v", path, member, got[member], value)
			}
		}
		self, _, _ := strings.Cut(v.sim.options.Registers+path, "?")
		if links, _ := got["_links"].(map[string]any); !reflect.DeepEqual(links["self"], map[string]any{"href": self}) {
			t.Errorf("%s: the links are %v", path, links)
		}
		if form, _ := got["organisasjonsform"].(map[string]any); form["kode"] == "" || form["beskrivelse"] == "" {
			t.Errorf("%s: the organization form is %v", path, form)
		}
	}
}

func TestBrregRefusals(t *testing.T) {
	v := newVendor(t)
	for path, status := range map[string]int{
		"/brreg/enheter/" + UnknownUnit:                                  http.StatusNotFound,
		"/brreg/underenheter/" + UnknownUnit:                             http.StatusNotFound,
		"/brreg/enheter/999944582":                                       http.StatusNotFound, // a sub-unit
		"/brreg/underenheter/100100126":                                  http.StatusNotFound, // a top-level unit
		"/brreg/underenheter/" + DepartmentUnit:                          http.StatusNotFound,
		"/brreg/enheter/" + RemovedUnit:                                  http.StatusGone,
		"/brreg/enheter/10010012":                                        http.StatusBadRequest,
		"/brreg/enheter/1001001266":                                      http.StatusBadRequest,
		"/brreg/enheter/10010012x":                                       http.StatusBadRequest,
		"/brreg/enheter/100%20100%20126":                                 http.StatusBadRequest,
		"/brreg/enheter/":                                                http.StatusBadRequest,
		"/brreg/enheter/100100126/":                                      http.StatusBadRequest,
		"/brreg/roller":                                                  http.StatusNotFound,
		"/brreg/underenheter":                                            http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=x":                          http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=100100126&size=0":           http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=100100126&size=x":           http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=100100126&size=-1":          http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=100100126&size=10001":       http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=100100126&size=9&page=2000": http.StatusBadRequest,
		"/brreg/underenheter?overordnetEnhet=100100126&navn=x":           http.StatusBadRequest,
	} {
		if got := v.register(http.MethodGet, path, "", ""); got.status != status {
			t.Errorf("%s: status %d, want %d: %s", path, got.status, status, got.raw)
		}
	}
	if got := v.register(http.MethodPost, "/brreg/enheter/100100126", "", "{}"); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") == "" {
		t.Errorf("POST: status %d", got.status)
	}
	if got := v.register(http.MethodGet, "/brreg/enheter/"+UnknownUnit, "", ""); got.raw != "" {
		t.Error("404 has a body; the real one has none")
	}
}

func TestBrregStruckOffGone(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.Brreg.StruckOffGone = true })
	for _, path := range []string{"/brreg/enheter/" + StruckOffUnit, "/brreg/underenheter/" + StruckOffSubUnit} {
		got := v.register(http.MethodGet, path, "", "")
		if got.status != http.StatusGone || got.object()["slettedato"] == nil {
			t.Errorf("%s: status %d: %s", path, got.status, got.raw)
		}
	}
}

func TestBrregLists(t *testing.T) {
	units := []Unit{{Orgnr: "100000001", Form: "AS"}}
	for _, orgnr := range []string{"200000001", "200000002", "200000003"} {
		units = append(units, Unit{Orgnr: orgnr, Parent: "100000001", SubUnit: true, Form: "BEDR"})
	}
	units = append(units,
		Unit{Orgnr: "200000004", Parent: "100000001", SubUnit: true, Deleted: "2024-01-01"},
		Unit{Orgnr: "200000005", Parent: "100000001", SubUnit: true, Removed: true},
		Unit{Orgnr: "300000001", Parent: "100000001", Form: "ORGL"},
		Unit{Orgnr: "400000001", Parent: "300000001", SubUnit: true},
	)
	sim, err := New(Options{Units: units, SigningKey: testRSAKey()})
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{t: t, sim: sim}
	next := "/brreg/underenheter?overordnetEnhet=100000001&size=2"
	var found []string
	for pages := 0; next != ""; pages++ {
		if pages > 2 {
			t.Fatal("the pages never end")
		}
		got := v.call(httptest.NewRequest(http.MethodGet, next, nil)).object()
		if page := got["page"].(map[string]any); page["totalElements"] != 3.0 || page["totalPages"] != 2.0 || page["number"] != float64(pages) || page["size"] != 2.0 {
			t.Errorf("page %d: %v", pages, page)
		}
		for _, unit := range got["_embedded"].(map[string]any)["underenheter"].([]any) {
			found = append(found, unit.(map[string]any)["organisasjonsnummer"].(string))
		}
		next = ""
		if link, ok := got["_links"].(map[string]any)["next"].(map[string]any); ok {
			parsed, err := url.Parse(link["href"].(string))
			if err != nil {
				t.Fatal(err)
			}
			next = parsed.RequestURI()
		}
	}
	if strings.Join(found, " ") != "200000001 200000002 200000003" {
		t.Errorf("listed: %v", found)
	}
	linked := v.register(http.MethodGet, "/brreg/enheter?overordnetEnhet=100000001", "", "").object()
	if list := linked["_embedded"].(map[string]any)["enheter"].([]any); len(list) != 1 {
		t.Errorf("%d links below the top unit, want 1", len(list))
	}
	if _, there := v.register(http.MethodGet, "/brreg/underenheter?overordnetEnhet=400000001", "", "").object()["_embedded"]; there {
		t.Error("an empty list has _embedded; the real one has none")
	}
	beyond := v.register(http.MethodGet, "/brreg/underenheter?overordnetEnhet=100000001&page=400", "", "")
	if beyond.status != http.StatusOK || strings.Contains(beyond.raw, "_embedded") {
		t.Errorf("a page beyond the end: status %d: %s", beyond.status, beyond.raw)
	}
}

// TestSharingWorld holds the default world to the set-ups of docs/tenants that share an
// Aktør.
func TestSharingWorld(t *testing.T) {
	above := map[string]string{}
	for _, unit := range Units(Delegations()) {
		above[unit.Orgnr] = unit.Parent
	}
	if top, there := above[SharingParent]; !there || top != "" || above[SharingNorth] != SharingParent || above[SharingWest] != SharingParent {
		t.Errorf("the units hang on %v", above)
	}
	if !slices.ContainsFunc(Delegations(), func(d Delegation) bool { return d.Orgnr == SharingParent && d.Terms }) {
		t.Error("there is no delegation")
	}
	for herID, orgnr := range map[int]string{90001: "100100126", 90010: SharingNorth, 90020: SharingParent} {
		if !slices.ContainsFunc(Parties(Units(Delegations())), func(p Party) bool { return p.HERID == herID && p.Orgnr == orgnr && p.Active }) {
			t.Errorf("HER-id %d does not hang on %s", herID, orgnr)
		}
	}
}

// TestUnitsAreSound holds the default world to the check digit, but for the three
// numbers known from NHN's documents, and to parents that exist.
func TestUnitsAreSound(t *testing.T) {
	units := Units(Delegations())
	known := map[string]bool{}
	for _, unit := range units {
		if known[unit.Orgnr] {
			t.Errorf("%s is there twice", unit.Orgnr)
		}
		known[unit.Orgnr] = true
		if unit.Name == "" || unitForms[unit.Form] == "" {
			t.Errorf("%s has no name or no form", unit.Orgnr)
		}
	}
	for _, unit := range units {
		if unit.Parent != "" && !known[unit.Parent] {
			t.Errorf("%s hangs on %s, which is not there", unit.Orgnr, unit.Parent)
		}
	}
	for _, orgnr := range []string{StruckOffUnit, RemovedUnit, StruckOffSubUnit, MunicipalityUnit, DepartmentUnit, WardUnit, MisnamedUnit, LoopUnit, UnknownUnit} {
		var eight int
		for _, digit := range orgnr[:8] {
			eight = eight*10 + int(digit-'0')
		}
		if whole, ok := withCheckDigit(eight); !ok || whole != orgnr {
			t.Errorf("%s has a wrong check digit", orgnr)
		}
		if known[orgnr] == (orgnr == UnknownUnit) {
			t.Errorf("%s: in the register is %v", orgnr, known[orgnr])
		}
	}
	if own := Units([]Delegation{{Orgnr: "341000114", Children: []string{"341000122"}}}); own[0].Orgnr != "341000114" || own[1].Parent != "341000114" || !own[1].SubUnit {
		t.Errorf("a world's own delegation became %+v", own[:2])
	}
}
