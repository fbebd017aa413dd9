package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// What Adresseregisteret's API wants of a token.
const (
	AddressesAudience = "nhn:cp-api"
	AddressesScope    = "nhn:cp-api/access-v2-dpop"
)

// maxParties is how many HER-ids one call may name.
const maxParties = 100

// The types of a communication party.
const (
	PartyOrganization = "Organization"
	PartyService      = "Service"
	PartyPerson       = "Person"
)

// Party is one communication party of Adresseregisteret.
type Party struct {
	HERID int    `json:"her_id"`
	Name  string `json:"name"`
	// Type is PartyOrganization, PartyService or PartyPerson.
	Type string `json:"type"`
	// Parent is the HER-id of the organization that a service or a person belongs
	// to and inherits its organization number from; 0 for an organization.
	Parent int `json:"parent"`
	// Orgnr is an organization's number in Enhetsregisteret.
	Orgnr  string `json:"orgnr"`
	Active bool   `json:"active"`
}

// The parties of the default world that are not simply an organization. Those
// hang on the organization of the world's first unit.
const (
	FirstParty    = 8100001 // the first unit's; the others follow in the order of units
	ServiceParty  = 8190001
	PersonParty   = 8190002
	InactiveParty = 8190003 // an organization that is not active
	OrphanParty   = 8190004 // a service whose parent does not exist
	UnknownParty  = 8199999
)

// Parties returns the default world's Adresseregisteret: one organization for
// every unit that is neither struck off nor removed, those that docs/tenants names, and a few special ones.
func Parties(units []Unit) []Party {
	var parties []Party
	for _, unit := range units {
		if unit.Deleted != "" || unit.Removed {
			continue
		}
		name := unit.Name
		if unit.Orgnr == MisnamedUnit {
			name = "Syntetisk Legekontor"
		}
		parties = append(parties, Party{HERID: FirstParty + len(parties), Name: name, Type: PartyOrganization, Orgnr: unit.Orgnr, Active: true})
	}
	if len(parties) == 0 {
		return nil
	}
	for _, told := range []Party{{HERID: 90001, Orgnr: "100100126"}, {HERID: 90010, Orgnr: SharingNorth}, {HERID: 90020, Orgnr: SharingParent}} {
		if i := slices.IndexFunc(parties, func(p Party) bool { return p.Orgnr == told.Orgnr }); i >= 0 {
			parties = append(parties, Party{HERID: told.HERID, Name: parties[i].Name, Type: PartyOrganization, Orgnr: told.Orgnr, Active: true})
		}
	}
	return append(parties,
		Party{HERID: ServiceParty, Name: "Syntetisk legetjeneste", Type: PartyService, Parent: FirstParty, Active: true},
		Party{HERID: PersonParty, Name: "Kari Syntetisk Lege", Type: PartyPerson, Parent: FirstParty, Active: true},
		Party{HERID: InactiveParty, Name: "Syntetisk nedlagt mottak", Type: PartyOrganization, Orgnr: parties[0].Orgnr},
		Party{HERID: OrphanParty, Name: "Syntetisk tjeneste uten virksomhet", Type: PartyService, Parent: UnknownParty, Active: true},
	)
}

// addresses is the stand-in for Adresseregisteret's CommunicationParty API. The
// calls are the documented ones; the names of JSON members are our own choice
// (docs/divergences.md).
func (c *registerCall) addresses() {
	if !c.authorize(AddressesAudience, AddressesScope) {
		return
	}
	herID, single := strings.CutPrefix(c.path, "/communicationparty/")
	switch {
	case single:
		if c.onlyMethods(http.MethodGet) {
			c.lookUpParty(herID)
		}
	case c.path == "/communicationparty":
		if c.onlyMethods(http.MethodPost) && c.jsonBody() {
			c.lookUpParties()
		}
	default:
		c.problem(http.StatusNotFound, "the simulator has no %s", c.path)
	}
}

func (c *registerCall) lookUpParty(written string) {
	c.record.Items = 1
	herID, ok := readHERID(written)
	if !ok {
		c.problem(http.StatusBadRequest, "a HER-id is a positive whole number")
		return
	}
	party, known := c.sim.registers.parties[herID]
	if !known {
		c.problem(http.StatusNotFound, "there is no communication party %d", herID)
		return
	}
	c.writeJSON(partyJSON(party))
}

// lookUpParties answers with those that exist, in the order asked.
func (c *registerCall) lookUpParties() {
	var wanted []json.RawMessage // a json.Number would take a number in quotes
	if err := json.Unmarshal(c.body, &wanted); err != nil {
		c.problem(http.StatusBadRequest, "the body must be one JSON array of numbers")
		return
	}
	c.record.Items = len(wanted)
	if len(wanted) == 0 || len(wanted) > maxParties {
		c.problem(http.StatusBadRequest, "the body names %d HER-ids; 1 to %d are accepted", len(wanted), maxParties)
		return
	}
	found, seen := []any{}, map[int]bool{}
	for _, number := range wanted {
		herID, ok := readHERID(string(number))
		if !ok || seen[herID] {
			c.problem(http.StatusBadRequest, "the body holds something that is no HER-id, or one twice")
			return
		}
		seen[herID] = true
		if party, known := c.sim.registers.parties[herID]; known {
			found = append(found, partyJSON(party))
		}
	}
	c.writeJSON(found)
}

// readHERID takes digits without a leading zero, at most nine.
func readHERID(written string) (int, bool) {
	herID, err := strconv.Atoi(written)
	return herID, err == nil && herID > 0 && herID < 1_000_000_000 && strconv.Itoa(herID) == written
}

func partyJSON(party Party) map[string]any {
	answer := map[string]any{
		"herId": party.HERID, "name": party.Name, "type": party.Type, "active": party.Active,
		"parentHerId": nil, "organizationNumber": nil, "validFrom": "2020-01-01", "validTo": nil,
	}
	if party.Parent != 0 {
		answer["parentHerId"] = party.Parent
	}
	if party.Orgnr != "" {
		answer["organizationNumber"] = party.Orgnr
	}
	if !party.Active {
		answer["validTo"] = "2024-06-30"
	}
	return answer
}
