package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// systemENH is the identifier system of organization numbers.
const systemENH = "urn:oid:2.16.578.1.12.4.1.4.101"

const profileOrganization = profileBase + "sfm-Organization"

// organizationFacts are what SFM reads in an Organization.
type organizationFacts struct {
	orgnrs, herIDs, profiles []string
	// others are identifiers of systems that the stand-in does not know; one of them is the SFM-id.
	others               []identifier
	name, address, phone string
	active, activeGiven  bool
	// parent is the id that partOf refers to, "" when there is none; partOf says whether the element is there at all.
	parent string
	partOf bool
	// epj is the epjinfo extension, nil without one.
	epj map[string]string
}

func (f organizationFacts) orgnr() string { return first(f.orgnrs) }
func (f organizationFacts) herID() string { return first(f.herIDs) }

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// sfmIDs are the values of the SFM-id identifiers, in lower case. Nobody outside knows their system, so without the
// knob every likely one is taken, and last of all any UUID of an unknown system.
func (f organizationFacts) sfmIDs(system string) []string {
	var certain, likely []string
	for _, candidate := range f.others {
		name := strings.ToLower(candidate.System + " " + candidate.Type.Text)
		value := strings.ToLower(candidate.Value)
		switch {
		case system != "" && candidate.System == system,
			system == "" && (strings.Contains(name, "sfm-id") || strings.Contains(name, "journal-id")):
			certain = append(certain, value)
		case system == "" && isUUID(value):
			likely = append(likely, value)
		}
	}
	if certain != nil {
		return certain
	}
	return likely
}

// sentOrganization is the shape of an Organization as far as it is read.
type sentOrganization struct {
	ResourceType string `json:"resourceType"`
	ID           string `json:"id"`
	Meta         struct {
		Profile []string `json:"profile"`
	} `json:"meta"`
	Active     *bool        `json:"active"`
	Name       string       `json:"name"`
	Identifier []identifier `json:"identifier"`
	Telecom    []struct {
		System string `json:"system"`
		Value  string `json:"value"`
	} `json:"telecom"`
	Address []struct {
		Text       string   `json:"text"`
		Line       []string `json:"line"`
		PostalCode string   `json:"postalCode"`
		City       string   `json:"city"`
	} `json:"address"`
	PartOf *struct {
		Reference string `json:"reference"`
	} `json:"partOf"`
	Extension []sentExtension `json:"extension"`
}

type sentExtension struct {
	URL           string          `json:"url"`
	ValueString   string          `json:"valueString"`
	ValueDateTime string          `json:"valueDateTime"`
	Extension     []sentExtension `json:"extension"`
}

// readOrganizationBody reads an Organization. The refusal is about its form, never about SFM's rules.
func readOrganizationBody(body []byte) (resource, organizationFacts, *sfmRefusal) {
	var whole resource
	var sent sentOrganization
	if json.Unmarshal(body, &whole) != nil || json.Unmarshal(body, &sent) != nil || sent.ResourceType != "Organization" {
		return nil, organizationFacts{}, invalid("the body is not a FHIR Organization in JSON", "Organization")
	}
	return whole, sent.facts(), nil
}

func (o sentOrganization) facts() organizationFacts {
	facts := organizationFacts{name: o.Name, profiles: o.Meta.Profile, activeGiven: o.Active != nil}
	facts.active = o.Active != nil && *o.Active
	for _, id := range o.Identifier {
		switch id.System {
		case systemENH:
			facts.orgnrs = append(facts.orgnrs, id.Value)
		case systemHERID:
			facts.herIDs = append(facts.herIDs, id.Value)
		default:
			facts.others = append(facts.others, id)
		}
	}
	for _, contact := range o.Telecom {
		if contact.System == "phone" && facts.phone == "" {
			facts.phone = contact.Value
		}
	}
	for _, place := range o.Address {
		if facts.address == "" {
			facts.address = joined(append(slices.Clone(place.Line), strings.TrimSpace(place.PostalCode+" "+place.City)), place.Text)
		}
	}
	if o.PartOf != nil {
		facts.partOf, facts.parent = true, referenced(o.PartOf.Reference)
	}
	for _, extension := range o.Extension {
		if strings.Contains(strings.ToLower(extension.URL), "epjinfo") {
			facts.epj = extension.parts()
		}
	}
	return facts
}

// joined is the text of an address: as it is written out, or its parts.
func joined(parts []string, whole string) string {
	if whole != "" {
		return whole
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", ")
}

// referenced takes the id out of "Organization/<id>", which may have an address in front and a version behind.
func referenced(reference string) string {
	_, tail, found := strings.Cut("/"+reference, "/Organization/")
	if !found {
		return ""
	}
	id, _, _ := strings.Cut(tail, "/")
	return id
}

func (e sentExtension) parts() map[string]string {
	parts := map[string]string{}
	for _, part := range e.Extension {
		parts[part.URL[strings.LastIndex(part.URL, "/")+1:]] = part.ValueString + part.ValueDateTime
	}
	return parts
}

// resource writes the organization as an EPJ would.
func (o JournalOrganization) resource(journal, parentID string) resource {
	identifiers := []resource{{"system": systemENH, "value": o.Orgnr}, {"system": "urn:sfm-id", "value": journal}}
	if o.HERID != "" {
		identifiers = append(identifiers, resource{"system": systemHERID, "value": o.HERID})
	}
	made := resource{
		"resourceType": "Organization", "active": o.Active, "name": o.Name,
		"meta": resource{"profile": []string{profileOrganization}}, "identifier": identifiers,
	}
	if parentID != "" {
		made["partOf"] = resource{"reference": "Organization/" + parentID}
	}
	if o.Address != "" {
		made["address"] = []resource{{"text": o.Address}}
	}
	if o.Phone != "" {
		made["telecom"] = []resource{{"system": "phone", "value": o.Phone}}
	}
	return made
}

// keptOrganization is an organization of the stand-in's own making.
func keptOrganization(id string, made resource) *sfmOrganization {
	body, err := json.Marshal(made)
	if err != nil {
		panic("BUG: an organization that is not JSON: " + err.Error())
	}
	whole, facts, refusal := readOrganizationBody(body)
	if refusal != nil {
		panic("BUG: an organization that can't be read: " + refusal.text)
	}
	return &sfmOrganization{id: id, resource: versioned(whole, id, 1), organizationFacts: facts}
}

// versioned copies a resource and gives it an id and a version.
func versioned(sent resource, id string, version int) resource {
	kept := maps.Clone(sent)
	kept["id"] = id
	old, _ := sent["meta"].(resource)
	meta := maps.Clone(old)
	if meta == nil {
		meta = resource{}
	}
	meta["versionId"] = strconv.Itoa(version)
	kept["meta"] = meta
	return kept
}

func versionOf(kept resource) int {
	meta, _ := kept["meta"].(resource)
	version, _ := meta["versionId"].(string)
	n, _ := strconv.Atoi(version)
	return n
}

func createOrganization(c *sfmCall) sfmAnswer {
	sent, facts, refusal := readOrganizationBody(c.body)
	if refusal != nil {
		return refused(refusal)
	}
	kept, refusal := c.sim.sfm.journals.create(c.organizationWrite("", facts), sent)
	if refusal != nil {
		return refused(refusal)
	}
	return c.created(kept)
}

// created answers with what was made and where it is now.
func (c *sfmCall) created(kept resource) sfmAnswer {
	answer := fhirAnswer(http.StatusCreated, kept)
	answer.header.Set("Location", c.seenURL(c.path+"/"+text(kept, "id")+"/_history/1"))
	answer.header.Set("Etag", `W/"1"`)
	return answer
}

func searchOrganization(c *sfmCall) sfmAnswer {
	var found []resource
	c.inJournal(func(journal *sfmJournal) {
		for _, organization := range journal.list() {
			found = append(found, organization.resource)
		}
	})
	return c.bundle("Organization", searched(found, c.r.URL.Query())...)
}

func readOrganization(c *sfmCall) sfmAnswer {
	var found resource
	c.inJournal(func(journal *sfmJournal) {
		if organization := journal.organizations[c.id]; organization != nil {
			found = organization.resource
		}
	})
	if found == nil {
		return refused(noSuch("Organization"))
	}
	return fhirAnswer(http.StatusOK, found)
}

func updateOrganization(c *sfmCall) sfmAnswer {
	sent, facts, refusal := readOrganizationBody(c.body)
	if refusal != nil {
		return refused(refusal)
	}
	if id := text(sent, "id"); id != "" && id != c.id {
		return refused(invalid("the Organization's id is another than that of the path", "Organization.id"))
	}
	kept, refusal := c.sim.sfm.journals.update(c.organizationWrite(c.id, facts), sent)
	if refusal != nil {
		return refused(refusal)
	}
	return fhirAnswer(http.StatusOK, kept)
}

func noSuch(kind string) *sfmRefusal {
	return &sfmRefusal{status: http.StatusNotFound, code: "not-found", issue: "not-found", text: "there is no such " + kind + " in this journal"}
}

// searched keeps what fits _id, identifier (value, or system|value) and active. Other parameters choose nothing.
func searched(found []resource, query url.Values) []resource {
	return slices.DeleteFunc(found, func(candidate resource) bool {
		if id := query.Get("_id"); id != "" && !slices.Contains(strings.Split(id, ","), text(candidate, "id")) {
			return true
		}
		if wanted := query.Get("identifier"); wanted != "" && !identifiedBy(candidate, strings.Split(wanted, ",")) {
			return true
		}
		active, _ := candidate["active"].(bool)
		wanted := query.Get("active")
		return wanted != "" && wanted != strconv.FormatBool(active)
	})
}

func identifiedBy(candidate resource, wanted []string) bool {
	identifiers, _ := candidate["identifier"].([]any)
	for _, entry := range identifiers {
		id, _ := entry.(resource)
		system, value := text(id, "system"), text(id, "value")
		if slices.Contains(wanted, value) || slices.Contains(wanted, system+"|"+value) {
			return true
		}
	}
	return false
}
