package simulator

import (
	"net/http"
	"slices"
)

// Resolution is what SFM makes of a token: whose prescription it is, by which Aktør, from which sender. It holds no
// personal data.
type Resolution struct {
	// Journal is the first id of the journal; the token may have named another of its ids.
	Journal string `json:"journal"`
	// Entry is the organization number SFM entered at. Fallback says that the child was not written to the journal and
	// the parent was taken.
	Entry    string `json:"entry,omitempty"`
	Fallback bool   `json:"fallback,omitempty"`
	// Walk is the way from the entry along partOf to the top, by organization numbers.
	Walk []string `json:"walk,omitempty"`
	// HERID is the first HER-id on the way, HERIDFrom the organization that has it. It names the Aktør in RF.
	HERID     string `json:"her_id,omitempty"`
	HERIDFrom string `json:"her_id_from,omitempty"`
	// Registered says that RF has the Aktør.
	Registered bool   `json:"registered"`
	Sender     Sender `json:"sender"`
	// Rule is the rule that made it fail, "" when it did not.
	Rule string `json:"rule,omitempty"`
}

// Sender is what stands on the prescription. Each part comes from the lowest organization on the way that has it.
type Sender struct {
	Name        string `json:"name,omitempty"` // of the entry
	Address     string `json:"address,omitempty"`
	AddressFrom string `json:"address_from,omitempty"`
	Phone       string `json:"phone,omitempty"`
	PhoneFrom   string `json:"phone_from,omitempty"`
}

// fill takes from an organization what is still missing.
func (s *Sender) fill(node *sfmOrganization) {
	if s.Address == "" && node.address != "" {
		s.Address, s.AddressFrom = node.address, node.orgnr()
	}
	if s.Phone == "" && node.phone != "" {
		s.Phone, s.PhoneFrom = node.phone, node.orgnr()
	}
}

// Resolve is what SFM would make of a prescription of this tenant now. The fault is "" or says what is wrong, with
// the id of the rule in front.
func (s *Simulator) Resolve(tenant Tenant) (found Resolution, fault string) {
	found, broken := s.sfm.journals.resolve(tenant, s.knobs().SFM.Journals)
	if broken == nil {
		return found, ""
	}
	return found, broken.String()
}

// resolve goes from the token's organization up until there is a HER-id, which must be an Aktør in RF.
func (j *sfmJournals) resolve(tenant Tenant, knobs JournalKnobs) (Resolution, *brokenRule) {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := Resolution{Journal: tenant.Journal}
	journal := j.byID[tenant.Journal]
	if journal == nil {
		return found.broken("L4", "the journal "+tenant.Journal+" does not exist")
	}
	found.Journal = journal.ids[0]
	entry, fault := journal.entry(tenant, knobs, &found)
	if fault != "" {
		return found.broken("O6", fault)
	}
	found.walk(journal, entry, knobs)
	_, found.Registered = j.actors[found.HERID]
	found.Registered = found.Registered && !slices.Contains(knobs.RFMissing, found.HERID)
	switch {
	case !entry.active && !knobs.PassiveEntry:
		return found.broken("O8", "the organization "+found.Entry+" is passive")
	case found.HERID == "":
		return found.broken("H1", "neither the organization "+found.Entry+" nor any above it (partOf) has a HER-id")
	case !found.Registered:
		return found.broken("H3", "the HER-id "+found.HERID+" of "+found.HERIDFrom+" is no Aktør in RF; it becomes one when an organization that has it is made active")
	}
	return found, nil
}

func (r Resolution) broken(rule, text string) (Resolution, *brokenRule) {
	r.Rule = rule
	return r, &brokenRule{organizationRule{id: rule}, text}
}

// entry finds the organization of the token: the child if there is one, else the parent.
func (s *sfmJournal) entry(tenant Tenant, knobs JournalKnobs, found *Resolution) (*sfmOrganization, string) {
	entry := s.byOrgnr(tenant.Child)
	if entry == nil && (tenant.Child == "" || !knobs.NoFallback) {
		entry = s.byOrgnr(tenant.Parent)
		found.Fallback = tenant.Child != "" && entry != nil
	}
	switch {
	case entry != nil:
		found.Entry, found.Sender.Name = entry.orgnr(), entry.name
		return entry, ""
	case tenant.Child == "":
		return nil, "the organization " + tenant.Parent + " (orgnr_parent) is not written to this journal"
	default:
		return nil, "the organization " + tenant.Child + " (orgnr_child) is not written to this journal, and the fallback to " + tenant.Parent + " (orgnr_parent) led nowhere"
	}
}

func (r *Resolution) walk(journal *sfmJournal, entry *sfmOrganization, knobs JournalKnobs) {
	seen := map[*sfmOrganization]bool{}
	for node := entry; node != nil && !seen[node]; node = journal.organizations[node.parent] {
		seen[node] = true
		r.Walk = append(r.Walk, node.orgnr())
		if r.HERID == "" || !knobs.SenderStops {
			r.Sender.fill(node)
		}
		if r.HERID == "" && node.herID() != "" {
			r.HERID, r.HERIDFrom = node.herID(), node.orgnr()
		}
	}
}

// prescribing wraps an operation that goes to RF: it is refused unless the token leads to an Aktør. What the token led
// to is entered into the ledger either way.
func prescribing(work func(*sfmCall) sfmAnswer) func(*sfmCall) sfmAnswer {
	return func(c *sfmCall) sfmAnswer {
		found, broken := c.sim.sfm.journals.resolve(c.caller.tenant, c.knobs.Journals)
		c.note(func(o *Operation) { o.Resolution = &found })
		if broken != nil {
			return refused(c.knobs.Journals.refuse(broken.id, broken.text, ""))
		}
		return work(c)
	}
}

// checkJournal lets calls through whose journal exists. Unless the knob says otherwise every journal does: it is made
// on first use, with the token's organizations in it.
func (c *sfmCall) checkJournal() *sfmRefusal {
	if c.op.open || c.op.anyJournal {
		return nil
	}
	if !c.knobs.StrictJournals {
		c.sim.sfm.journals.ensure(c.caller.tenant, c.user())
	}
	known, isUser := false, false
	c.inJournal(func(journal *sfmJournal) { known, isUser = true, journal.has(c.user()) })
	switch {
	case !known:
		return c.unknownJournal()
	case c.knobs.Journals.RequireUser && !isUser && !c.caller.machine:
		return &sfmRefusal{
			status: http.StatusForbidden, code: "user-unknown", issue: "forbidden",
			text: "the token's person is neither an sfm-Person nor an sfm-Practitioner of this journal",
		}
	}
	return nil
}

// unknownJournal refuses by the status of the knob, for nobody outside knows SFM's: "not 200" is all that is written.
func (c *sfmCall) unknownJournal() *sfmRefusal {
	said := "the journal of " + claimJournal + " does not exist; the only thing allowed is to POST an Organization, which makes a new, empty one"
	refusal := &sfmRefusal{status: http.StatusForbidden, code: "journal-unknown", issue: "forbidden", text: said}
	switch c.knobs.Journals.UnknownStatus {
	case http.StatusUnauthorized:
		return c.denied(codeInvalidToken, said)
	case http.StatusNotFound:
		refusal.status, refusal.issue = http.StatusNotFound, "not-found"
	}
	return refusal
}

// ensure makes a journal on first use, and sees to it that the token's organizations are in it, with all that a
// prescription needs. Journals that were loaded, or made under the rules, are left alone.
func (j *sfmJournals) ensure(tenant Tenant, user journalUser) {
	j.mu.Lock()
	defer j.mu.Unlock()
	journal := j.byID[tenant.Journal]
	if journal == nil {
		journal = j.open(OriginFirstUse, tenant.Journal)
		journal.admit(user)
		practitioner := newSeeded("practitioner/" + tenant.Journal).practitioner()
		journal.people[text(practitioner, "id")] = journalPerson{kind: kindPractitioner, resource: practitioner}
	}
	if journal.exact || journal.byOrgnr(tenant.Child) != nil || tenant.Child == "" && journal.byOrgnr(tenant.Parent) != nil {
		return
	}
	top := journal.byOrgnr(tenant.Parent)
	if top == nil {
		made := syntheticOrganization(tenant.Parent)
		made.HERID = j.freeHERID(tenant.Journal + "/" + tenant.Parent)
		made.Address, made.Phone = "Syntetisk vei 1, 9999 Testby", "+4799999999"
		top = keptOrganization(made.resourceID(tenant.Journal), made.resource(tenant.Journal, ""))
		j.put(journal, top)
	}
	if tenant.Child != "" {
		made := syntheticOrganization(tenant.Child)
		j.put(journal, keptOrganization(made.resourceID(tenant.Journal), made.resource(tenant.Journal, top.id)))
	}
}

func syntheticOrganization(orgnr string) JournalOrganization {
	return JournalOrganization{Orgnr: orgnr, Name: "Syntetisk virksomhet " + orgnr, Active: true}
}
