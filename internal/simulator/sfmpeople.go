package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

const (
	systemDNR = "urn:oid:2.16.578.1.12.4.1.4.2"

	kindPerson       = "Person"
	kindPractitioner = "Practitioner"
)

// journalUser is the person of a token, as a journal knows people: by national identity number or HPR number.
type journalUser struct{ pid, hpr string }

func (c *sfmCall) user() journalUser {
	return journalUser{pid: text(c.caller.claims, claimPID), hpr: text(c.caller.claims, claimHPR)}
}

// journalPerson is an sfm-Person (somebody who administers) or an sfm-Practitioner (somebody with rights of health
// personnel). Who is both has two.
type journalPerson struct {
	kind     string
	resource resource
	numbers  []string // FNR, DNR and HPR
}

func (s *sfmJournal) has(user journalUser) bool {
	for _, person := range s.people {
		for _, number := range person.numbers {
			if number != "" && (number == user.pid || number == user.hpr) {
				return true
			}
		}
	}
	return false
}

// admit writes a user to the journal as sfm-Person. The caller holds the lock.
func (s *sfmJournal) admit(user journalUser) {
	if user.pid == "" || s.has(user) {
		return
	}
	system := systemFNR
	if user.pid[0] >= '4' { // a D-number's first digit is 4 too high
		system = systemDNR
	}
	id := newUUID()
	s.people[id] = journalPerson{kind: kindPerson, numbers: []string{user.pid}, resource: versioned(resource{
		"resourceType": kindPerson, "active": true, "meta": withProfile("sfm-Person"),
		"identifier": []any{resource{"system": system, "value": user.pid}},
	}, id, 1)}
}

// admitUsers writes the named persons of the world to a journal, all of them when there is no list.
func (s *sfmJournal) admitUsers(names []string, people map[string]Person) error {
	if names == nil {
		names = slices.Sorted(maps.Keys(people))
	}
	for _, name := range names {
		person, ok := people[name]
		if !ok {
			return unknownPerson(name)
		}
		s.admit(journalUser{pid: person.PID})
	}
	return nil
}

type unknownPerson string

func (u unknownPerson) Error() string {
	return "the user " + string(u) + " is none of the world's persons"
}

// readPersonBody reads a Person or a Practitioner. The refusal is about its form.
func (c *sfmCall) readPersonBody(kind string) (resource, journalPerson, *sfmRefusal) {
	person := journalPerson{kind: kind}
	var sent struct {
		ResourceType string       `json:"resourceType"`
		Identifier   []identifier `json:"identifier"`
	}
	var whole resource
	if json.Unmarshal(c.body, &whole) != nil || json.Unmarshal(c.body, &sent) != nil || sent.ResourceType != kind {
		return nil, person, invalid("the body is not a FHIR "+kind+" in JSON", kind)
	}
	national := 0
	for _, id := range sent.Identifier {
		switch id.System {
		case systemFNR, systemDNR:
			national++
			if !isDigits(id.Value, 11) {
				return nil, person, invalid("a national identity number is not eleven digits", kind+".identifier")
			}
			person.numbers = append(person.numbers, id.Value)
		case systemHPR:
			person.numbers = append(person.numbers, id.Value)
		}
	}
	if kind == kindPerson && national != 1 {
		return nil, person, c.knobs.Journals.refuse("C5", "an sfm-Person has exactly one of FNR ("+systemFNR+") and DNR ("+systemDNR+")", "Person.identifier")
	}
	return whole, person, nil
}

func createPerson(kind string) func(*sfmCall) sfmAnswer {
	return func(c *sfmCall) sfmAnswer { return c.writePerson(kind, newUUID(), false) }
}

func updatePerson(kind string) func(*sfmCall) sfmAnswer {
	return func(c *sfmCall) sfmAnswer { return c.writePerson(kind, c.id, true) }
}

func (c *sfmCall) writePerson(kind, id string, update bool) sfmAnswer {
	sent, person, refusal := c.readPersonBody(kind)
	if refusal != nil {
		return refused(refusal)
	}
	missing := false
	c.inJournal(func(journal *sfmJournal) {
		old := journal.people[id]
		if missing = update && old.kind != kind; missing {
			return
		}
		person.resource = versioned(sent, id, versionOf(old.resource)+1)
		journal.people[id] = person
	})
	switch {
	case missing:
		return refused(noSuch(kind))
	case update:
		return fhirAnswer(http.StatusOK, person.resource)
	default:
		return c.created(person.resource)
	}
}

func readPerson(kind string) func(*sfmCall) sfmAnswer {
	return func(c *sfmCall) sfmAnswer {
		var found journalPerson
		c.inJournal(func(journal *sfmJournal) { found = journal.people[c.id] })
		if found.kind != kind {
			return refused(noSuch(kind))
		}
		return fhirAnswer(http.StatusOK, found.resource)
	}
}

func searchPerson(kind string) func(*sfmCall) sfmAnswer {
	return func(c *sfmCall) sfmAnswer {
		var found []resource
		c.inJournal(func(journal *sfmJournal) {
			for _, id := range slices.Sorted(maps.Keys(journal.people)) {
				if person := journal.people[id]; person.kind == kind {
					found = append(found, person.resource)
				}
			}
		})
		return c.bundle(kind, searched(found, c.r.URL.Query())...)
	}
}

// inJournal works on the caller's journal, which checkJournal has found, under the lock.
func (c *sfmCall) inJournal(work func(*sfmJournal)) {
	j := c.sim.sfm.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	if journal := j.byID[c.caller.tenant.Journal]; journal != nil {
		work(journal)
	}
}
