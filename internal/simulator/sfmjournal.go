package simulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Journal is one journal of SFM, an instance with a database of its own.
type Journal struct {
	// IDs are the journal-ids and SFM-ids that lead here, at least one. UUIDs; letter case is no matter.
	IDs []string `json:"ids"`
	// Users are the world's persons ([Person.ID]) who are written to the journal. If nil, all of them.
	Users []string `json:"users"`
	// Organizations are those written to it. Their order is free.
	Organizations []JournalOrganization `json:"organizations"`
	// Origin is how the journal came to be: one of the Origin constants. It is told and never read.
	Origin string `json:"origin,omitempty"`
}

// JournalOrganization is an sfm-Organization.
type JournalOrganization struct {
	// ID is the resource's id. If empty, one is made.
	ID     string `json:"id,omitempty"`
	Orgnr  string `json:"orgnr"`
	Name   string `json:"name"`
	HERID  string `json:"her_id,omitempty"`
	PartOf string `json:"part_of,omitempty"` // the organization number above it, in the same journal
	// Address and Phone are sender information.
	Address string `json:"address,omitempty"`
	Phone   string `json:"phone,omitempty"`
	Active  bool   `json:"active"`
}

// How a journal came to be.
const (
	OriginLoaded   = "loaded"    // it was in [Options]
	OriginCreated  = "created"   // somebody posted an Organization with an unknown journal-id
	OriginFirstUse = "first-use" // made for the first call with its id, because the knob strict_journals was off
)

// sfmJournals are all journals and what RF was told of them. Resources that are kept are never changed in place, so
// that they can be written to answers without the lock.
type sfmJournals struct {
	now func() time.Time

	mu     sync.Mutex             // guards all below, and everything in the journals
	byID   map[string]*sfmJournal // by any of its ids, in lower case
	all    []*sfmJournal          // in the order of their making
	owners map[string]*sfmJournal // whose a HER-id is
	actors map[string]RFActor     // by HER-id
}

// sfmJournal is one journal. Its members are guarded by the lock of sfmJournals.
type sfmJournal struct {
	ids    []string // in lower case; the first was there first
	origin string
	// exact journals obey SFM's rules whatever the knob strict_journals says.
	exact         bool
	organizations map[string]*sfmOrganization // by resource id
	people        map[string]journalPerson    // by resource id
}

// sfmOrganization is a resource as it was sent, with an id and a version, and what SFM reads in it.
type sfmOrganization struct {
	id       string
	resource resource
	organizationFacts
}

func newSFMJournals(now func() time.Time) *sfmJournals {
	return &sfmJournals{
		now: now, byID: map[string]*sfmJournal{}, owners: map[string]*sfmJournal{}, actors: map[string]RFActor{},
	}
}

// open makes a journal. The caller holds the lock.
func (j *sfmJournals) open(origin string, ids ...string) *sfmJournal {
	made := &sfmJournal{origin: origin, organizations: map[string]*sfmOrganization{}, people: map[string]journalPerson{}}
	j.all = append(j.all, made)
	for _, id := range ids {
		j.attach(made, id)
	}
	return made
}

// attach lets an id lead to a journal (J3). The caller holds the lock.
func (j *sfmJournals) attach(journal *sfmJournal, id string) {
	id = strings.ToLower(id)
	if j.byID[id] == nil {
		j.byID[id] = journal
		journal.ids = append(journal.ids, id)
	}
}

// put keeps an organization and brings RF up to date. The caller holds the lock and has judged the organization.
func (j *sfmJournals) put(journal *sfmJournal, fresh *sfmOrganization) {
	old := journal.organizations[fresh.id]
	journal.organizations[fresh.id] = fresh
	if old != nil {
		j.settle(journal, old)
	}
	j.settle(journal, fresh)
}

// list returns the journal's organizations in the order of their ids. The caller holds the lock.
func (s *sfmJournal) list() []*sfmOrganization {
	sorted := make([]*sfmOrganization, 0, len(s.organizations))
	for _, id := range slices.Sorted(maps.Keys(s.organizations)) {
		sorted = append(sorted, s.organizations[id])
	}
	return sorted
}

// byOrgnr finds the organization of a number. Where there are two (the knob same_orgnr_part_of), it is the lower one.
func (s *sfmJournal) byOrgnr(orgnr string) *sfmOrganization {
	var found *sfmOrganization
	for _, candidate := range s.list() {
		if orgnr != "" && candidate.orgnr() == orgnr && (found == nil || candidate.parent == found.id) {
			found = candidate
		}
	}
	return found
}

// loadJournals sets all journals to the given ones, which must obey the rules that SFM would have held them to when
// they were written. All that is wrong is told at once, and then nothing is changed.
func (j *sfmJournals) loadJournals(journals []Journal, people map[string]Person) error {
	fresh := newSFMJournals(j.now)
	var faults []error
	for i, journal := range journals {
		if err := fresh.load(journal, people); err != nil {
			faults = append(faults, fmt.Errorf("journal %d: %w", i+1, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.byID, j.all, j.owners, j.actors = fresh.byID, fresh.all, fresh.owners, fresh.actors
	return nil
}

// load adds one journal to a set that nobody else has yet.
func (j *sfmJournals) load(given Journal, people map[string]Person) error {
	if len(given.IDs) == 0 {
		return errors.New("J1: it has no id")
	}
	journal := j.open(OriginLoaded)
	for _, id := range given.IDs {
		if !isUUID(id) {
			return fmt.Errorf("J1: the id %q is not a UUID", id)
		}
		if j.byID[strings.ToLower(id)] != nil {
			return fmt.Errorf("J2: the id %s is another journal's too, or twice here", id)
		}
		j.attach(journal, id)
	}
	journal.exact = true
	if err := journal.admitUsers(given.Users, people); err != nil {
		return err
	}
	organizations, err := j.loadedOrganizations(journal, given.Organizations)
	if err != nil {
		return err
	}
	var faults []error
	for i, organization := range organizations {
		write := organizationWrite{all: j, journal: journal, id: organization.id, facts: organization.organizationFacts}
		if broken := write.judge(loadRules); broken != nil {
			faults = append(faults, fmt.Errorf("organization %d: %s", i+1, broken))
		}
	}
	for _, organization := range organizations {
		j.settle(journal, organization)
	}
	return errors.Join(faults...)
}

// loadedOrganizations makes resources of what was given. They are in the journal before any is judged, so that their
// order is free.
func (j *sfmJournals) loadedOrganizations(journal *sfmJournal, given []JournalOrganization) ([]*sfmOrganization, error) {
	ids := map[string]string{}
	for _, organization := range given {
		ids[organization.Orgnr] = organization.resourceID(journal.ids[0])
	}
	var made []*sfmOrganization
	for i, organization := range given {
		id := organization.resourceID(journal.ids[0])
		if !isResourceID(id) {
			return nil, fmt.Errorf("organization %d: the resource id %q is not of A-Z, a-z, 0-9, '-' and '.', 1 to 64 of them", i+1, id)
		}
		if journal.organizations[id] != nil {
			return nil, fmt.Errorf("organization %d: J7: the organization number %s, or the resource id, is there twice", i+1, organization.Orgnr)
		}
		above := ids[organization.PartOf]
		if organization.PartOf != "" && above == "" {
			return nil, fmt.Errorf("organization %d: H2: part_of %s is none of the journal's organizations", i+1, organization.PartOf)
		}
		fresh := keptOrganization(id, organization.resource(journal.ids[0], above))
		journal.organizations[id] = fresh
		made = append(made, fresh)
	}
	return made, nil
}

// isResourceID holds to the data type id of FHIR R4.
func isResourceID(id string) bool {
	return len(id) <= 64 && id != "" && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

func (o JournalOrganization) resourceID(journal string) string {
	if o.ID != "" {
		return o.ID
	}
	return newSeeded(journal + "/" + o.Orgnr).uuid()
}

// Journals returns every journal there is, in the order of their making, with the organizations in the order of their
// numbers. Users who are none of the world's persons are left out, for they have no name but their identity number.
func (s *Simulator) Journals() []Journal {
	names := map[string]string{}
	for _, person := range s.options.Persons {
		names[person.PID], names[person.HPRNumber] = person.ID, person.ID
	}
	delete(names, "") // not everybody has an HPR number
	j := s.sfm.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	list := []Journal{}
	for _, journal := range j.all {
		list = append(list, journal.view(names))
	}
	return list
}

func (s *sfmJournal) view(names map[string]string) Journal {
	seen := Journal{IDs: slices.Clone(s.ids), Origin: s.origin, Users: []string{}, Organizations: []JournalOrganization{}}
	for _, person := range s.people {
		for _, number := range person.numbers {
			if name := names[number]; name != "" && !slices.Contains(seen.Users, name) {
				seen.Users = append(seen.Users, name)
			}
		}
	}
	slices.Sort(seen.Users)
	for _, organization := range s.list() {
		seen.Organizations = append(seen.Organizations, JournalOrganization{
			ID: organization.id, Orgnr: organization.orgnr(), Name: organization.name, HERID: organization.herID(),
			PartOf: s.orgnrOf(organization.parent), Address: organization.address, Phone: organization.phone, Active: organization.active,
		})
	}
	slices.SortStableFunc(seen.Organizations, func(a, b JournalOrganization) int { return strings.Compare(a.Orgnr, b.Orgnr) })
	return seen
}

func (s *sfmJournal) orgnrOf(id string) string {
	if organization := s.organizations[id]; organization != nil {
		return organization.orgnr()
	}
	return ""
}

// ResetJournals puts back the journals of the options and forgets all others.
func (s *Simulator) ResetJournals() {
	if err := s.sfm.journals.loadJournals(s.options.Journals, s.people); err != nil {
		panic("BUG: journals that were good once: " + err.Error())
	}
}
