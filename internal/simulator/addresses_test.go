package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAddressesLookUp(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(AddressesScope)
	for herID, want := range map[string]map[string]any{
		"8100001": {"herId": 8100001.0, "type": PartyOrganization, "organizationNumber": "100100126", "parentHerId": nil, "active": true, "validTo": nil},
		"8100002": {"organizationNumber": "999944582"},
		"8190001": {"type": PartyService, "parentHerId": 8100001.0, "organizationNumber": nil},
		"8190002": {"type": PartyPerson, "parentHerId": 8100001.0},
		"8190003": {"active": false, "validTo": "2024-06-30", "organizationNumber": "100100126"},
		"8190004": {"parentHerId": 8199999.0},
	} {
		got := v.register(http.MethodGet, "/adresseregisteret/communicationparty/"+herID, token, "").object()
		for member, value := range want {
			if got[member] != value {
				t.Errorf("%s: %s is %v, want %v", herID, member, got[member], value)
			}
		}
	}
	calls := v.sim.RegisterCalls()
	if last := calls[len(calls)-1]; last.Client != v.client.ID || last.Items != 1 || last.Register != RegisterAddresses {
		t.Errorf("recorded: %+v", last)
	}
}

func TestAddressesBulk(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(AddressesScope)
	got := v.register(http.MethodPost, "/adresseregisteret/communicationparty", token, "[8190001, 8199999, 8100001]").list()
	if len(got) != 2 || got[0].(map[string]any)["herId"] != 8190001.0 || got[1].(map[string]any)["herId"] != 8100001.0 {
		t.Errorf("answered: %v", got)
	}
	if none := v.register(http.MethodPost, "/adresseregisteret/communicationparty", token, "[1]"); strings.TrimSpace(none.raw) != "[]" {
		t.Errorf("nobody found: %s", none.raw)
	}
	hundred, err := json.Marshal(manyNumbers(100))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.register(http.MethodPost, "/adresseregisteret/communicationparty", token, string(hundred)); got.status != http.StatusOK {
		t.Errorf("a hundred: status %d: %s", got.status, got.raw)
	}
	calls := v.sim.RegisterCalls()
	if last := calls[len(calls)-1]; last.Items != 100 {
		t.Errorf("recorded: %+v", last)
	}
}

func manyNumbers(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = FirstParty + i
	}
	return numbers
}

func TestAddressesRefusals(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(AddressesScope)
	tooMany, err := json.Marshal(manyNumbers(101))
	if err != nil {
		t.Fatal(err)
	}
	const bulk = "/adresseregisteret/communicationparty"
	for name, row := range map[string]struct {
		method, path, body string
		status             int
		about              string
	}{
		"unknown":     {"GET", bulk + "/8199999", "", http.StatusNotFound, "8199999"},
		"no number":   {"GET", bulk + "/x", "", http.StatusBadRequest, "whole number"},
		"nothing":     {"GET", bulk + "/", "", http.StatusBadRequest, "whole number"},
		"zero ahead":  {"GET", bulk + "/08100001", "", http.StatusBadRequest, "whole number"},
		"negative":    {"GET", bulk + "/-1", "", http.StatusBadRequest, "whole number"},
		"put":         {"PUT", bulk + "/8100001", "{}", http.StatusMethodNotAllowed, "GET"},
		"bulk by get": {"GET", bulk, "", http.StatusMethodNotAllowed, "POST"},
		"101":         {"POST", bulk, string(tooMany), http.StatusBadRequest, "101"},
		"none":        {"POST", bulk, "[]", http.StatusBadRequest, "names 0"},
		"null":        {"POST", bulk, "null", http.StatusBadRequest, "names 0"},
		"twice":       {"POST", bulk, "[8100001,8100001]", http.StatusBadRequest, "twice"},
		"quoted":      {"POST", bulk, `["8100001"]`, http.StatusBadRequest, "no HER-id"},
		"fraction":    {"POST", bulk, `[8100001.0]`, http.StatusBadRequest, "no HER-id"},
		"object":      {"POST", bulk, `{"herIds":[8100001]}`, http.StatusBadRequest, "JSON array"},
		"two values":  {"POST", bulk, `[8100001] []`, http.StatusBadRequest, "JSON array"},
		"no type":     {"POST", bulk, "", http.StatusUnsupportedMediaType, "Content-Type"},
		"other path":  {"GET", "/adresseregisteret/event", "", http.StatusNotFound, "/event"},
	} {
		t.Run(name, func(t *testing.T) {
			v.t = t
			v.register(row.method, row.path, token, row.body).wantProblem(row.status, row.about)
		})
	}
}

func TestPartiesAreOptional(t *testing.T) {
	if got := Parties(nil); got != nil {
		t.Errorf("parties of no units: %v", got)
	}
	v := newVendor(t)
	sim, err := New(Options{Parties: []Party{{HERID: 7, Type: PartyOrganization}}, Units: []Unit{}, SigningKey: testRSAKey()})
	if err != nil {
		t.Fatal(err)
	}
	v.sim = sim
	if got := v.call(httptest.NewRequest(http.MethodGet, "/_simulator/world", nil)).object(); len(got["parties"].([]any)) != 1 || len(got["units"].([]any)) != 0 {
		t.Error("the options' own parties and units are not the world's")
	}
}
