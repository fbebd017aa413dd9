package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Identifier systems of Norwegian organizations.
const systemENH = "urn:oid:2.16.578.1.12.4.1.4.101"

// sfmJournals are the journals and the organizations written to them. An organization's resource is kept as it came,
// with an id and a version added.
type sfmJournals struct {
	mu       sync.Mutex
	journals map[string]map[string]resource // guarded by mu; journal-id in lower case, then the resource's id
}

func newSFMJournals() *sfmJournals {
	return &sfmJournals{journals: map[string]map[string]resource{}}
}

func (j *sfmJournals) known(journal string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.journals[journal] != nil
}

// write keeps an organization under id, which must exist already when update is set. It makes the journal when that is
// new.
func (j *sfmJournals) write(journal, id string, organization resource, update bool) (resource, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.journals[journal] == nil {
		j.journals[journal] = map[string]resource{}
	}
	version := 1
	if old, exists := j.journals[journal][id]; exists {
		version = versionOf(old) + 1
	} else if update {
		return nil, false
	}
	kept := maps.Clone(organization)
	kept["id"] = id
	kept["meta"] = withVersion(organization["meta"], version)
	j.journals[journal][id] = kept
	return kept, true
}

func versionOf(organization resource) int {
	meta, _ := organization["meta"].(resource)
	version, _ := meta["versionId"].(string)
	n, _ := strconv.Atoi(version)
	return n
}

func withVersion(meta any, version int) resource {
	old, _ := meta.(resource)
	fresh := maps.Clone(old)
	if fresh == nil {
		fresh = resource{}
	}
	fresh["versionId"] = strconv.Itoa(version)
	return fresh
}

func (j *sfmJournals) read(journal, id string) (resource, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	organization, ok := j.journals[journal][id]
	return organization, ok
}

func (j *sfmJournals) list(journal string) []resource {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := []resource{}
	for _, id := range slices.Sorted(maps.Keys(j.journals[journal])) {
		list = append(list, j.journals[journal][id])
	}
	return list
}

// checkJournal lets calls through whose journal exists. Unless the knob says otherwise every journal does: it is made
// on first use, with the token's organizations in it.
func (c *sfmCall) checkJournal() *sfmRefusal {
	if c.op.open || c.op.anyJournal || c.sim.sfm.journals.known(c.caller.tenant.Journal) {
		return nil
	}
	if c.knobs.StrictJournals {
		return &sfmRefusal{
			status: http.StatusForbidden, code: "journal-unknown", issue: "forbidden",
			text: "the journal of " + claimJournal + " does not exist; the only thing allowed is to POST an Organization, which makes a new, empty one",
		}
	}
	c.makeJournal()
	return nil
}

func (c *sfmCall) makeJournal() {
	tenant := c.caller.tenant
	parent := newSeeded(tenant.Journal + "/" + tenant.Parent).uuid()
	c.sim.sfm.journals.write(tenant.Journal, parent, organization(tenant.Parent, ""), false)
	if tenant.Child != "" {
		child := newSeeded(tenant.Journal + "/" + tenant.Child).uuid()
		c.sim.sfm.journals.write(tenant.Journal, child, organization(tenant.Child, parent), false)
	}
}

func organization(orgnr, parentID string) resource {
	made := resource{
		"resourceType": "Organization", "active": true, "name": "Syntetisk virksomhet " + orgnr,
		"meta":       resource{"profile": []string{"http://ehelse.no/fhir/StructureDefinition/sfm-Organization"}},
		"identifier": []resource{{"system": systemENH, "value": orgnr}},
	}
	if parentID != "" {
		made["partOf"] = resource{"reference": "Organization/" + parentID}
	}
	return made
}

func (c *sfmCall) organizationBody() (resource, *sfmRefusal) {
	var organization resource
	if err := json.Unmarshal(c.body, &organization); err != nil || text(organization, "resourceType") != "Organization" {
		return nil, invalid("the body is not a FHIR Organization in JSON", "Organization")
	}
	return organization, nil
}

func createOrganization(c *sfmCall) sfmAnswer {
	organization, refusal := c.organizationBody()
	if refusal != nil {
		return refused(refusal)
	}
	kept, _ := c.sim.sfm.journals.write(c.caller.tenant.Journal, newUUID(), organization, false)
	answer := fhirAnswer(http.StatusCreated, kept)
	answer.header.Set("Location", c.seenURL(c.path+"/"+text(kept, "id")+"/_history/1"))
	answer.header.Set("Etag", `W/"1"`)
	return answer
}

func searchOrganization(c *sfmCall) sfmAnswer {
	return c.bundle("Organization", c.sim.sfm.journals.list(c.caller.tenant.Journal)...)
}

func readOrganization(c *sfmCall) sfmAnswer {
	organization, ok := c.sim.sfm.journals.read(c.caller.tenant.Journal, c.id)
	if !ok {
		return refused(noSuchOrganization())
	}
	return fhirAnswer(http.StatusOK, organization)
}

func updateOrganization(c *sfmCall) sfmAnswer {
	organization, refusal := c.organizationBody()
	if refusal != nil {
		return refused(refusal)
	}
	if id := text(organization, "id"); id != "" && id != c.id {
		return refused(invalid("the Organization's id is another than that of the path", "Organization.id"))
	}
	kept, ok := c.sim.sfm.journals.write(c.caller.tenant.Journal, c.id, organization, true)
	if !ok {
		return refused(noSuchOrganization())
	}
	return fhirAnswer(http.StatusOK, kept)
}

func noSuchOrganization() *sfmRefusal {
	return &sfmRefusal{status: http.StatusNotFound, code: "not-found", issue: "not-found", text: "there is no such Organization in this journal"}
}
