package simulator

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// RFActor is an Aktør in RF, the prescription mediator: an inbox for a HER-id. SFM registers it when the first
// organization with the HER-id becomes active and removes it with the last.
type RFActor struct {
	HERID string `json:"her_id"`
	// Orgnr is the organization that registered it.
	Orgnr string `json:"orgnr"`
	// Journal is the first id of the journal that the inbox belongs to.
	Journal string `json:"journal"`
	// Inbox is where RF sends what it has for the HER-id.
	Inbox string `json:"inbox"`
	// EPJ is what the last epjinfo extension said, by the names of its parts.
	EPJ map[string]string `json:"epj,omitempty"`
	// RegisteredAt is by the stand-ins' clock.
	RegisteredAt time.Time `json:"registered_at"`
}

// RFActors returns RF's Aktører in the order of their HER-ids. Their maps must not be changed.
func (s *Simulator) RFActors() []RFActor {
	j := s.sfm.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	list := []RFActor{}
	for _, herID := range slices.Sorted(maps.Keys(j.actors)) {
		if !slices.Contains(s.knobs().SFM.Journals.RFMissing, herID) {
			list = append(list, j.actors[herID])
		}
	}
	return list
}

// settle brings the owner and the Aktør of an organization's HER-id up to date, after the organization was written or
// was replaced by another version of itself. The caller holds the lock.
func (j *sfmJournals) settle(journal *sfmJournal, written *sfmOrganization) {
	herID := written.herID()
	if herID == "" || (j.owners[herID] != nil && j.owners[herID] != journal) {
		return // the second case is only possible where no rules are kept
	}
	bearers, active := 0, []*sfmOrganization{}
	for _, organization := range journal.list() {
		if organization.herID() != herID {
			continue
		}
		bearers++
		if organization.active {
			active = append(active, organization)
		}
	}
	delete(j.owners, herID)
	if bearers > 0 {
		j.owners[herID] = journal
	}
	if len(active) == 0 {
		delete(j.actors, herID)
		return
	}
	j.register(journal, active[0], written)
}

// register tells RF of an Aktør, or of the EPJ behind one that is known.
func (j *sfmJournals) register(journal *sfmJournal, first, written *sfmOrganization) {
	actor, known := j.actors[first.herID()]
	if !known {
		actor = RFActor{
			HERID: first.herID(), Orgnr: first.orgnr(), Journal: journal.ids[0],
			Inbox: "sfm-inbox/" + journal.ids[0] + "/" + first.herID(), RegisteredAt: j.now(), EPJ: first.epj,
		}
	}
	if written.active && written.epj != nil && journal.organizations[written.id] == written {
		actor.EPJ = written.epj
	}
	j.actors[actor.HERID] = actor
}

// freeHERID makes a HER-id that no journal has, the same each time for the same name. The caller holds the lock.
func (j *sfmJournals) freeHERID(name string) string {
	for serial := newSeeded("her-id/" + name).IntN(1_000_000); ; serial++ {
		herID := fmt.Sprintf("9%07d", serial)
		if j.owners[herID] == nil {
			return herID
		}
	}
}
