package simulator

import (
	"net/http"
	"slices"
	"strings"
)

// organizationWrite is an Organization that somebody wants to write. It is judged under the lock of the journals, so
// that of two at a time each is judged with the other already there, or not yet.
type organizationWrite struct {
	all     *sfmJournals
	journal *sfmJournal // nil = the journal-id is unknown, a journal is to be made
	id      string      // of the organization to change, "" = a new one
	facts   organizationFacts
	tenant  Tenant
	user    journalUser
	knobs   SFMKnobs
}

func (c *sfmCall) organizationWrite(id string, facts organizationFacts) organizationWrite {
	return organizationWrite{all: c.sim.sfm.journals, id: id, facts: facts, tenant: c.caller.tenant, user: c.user(), knobs: c.knobs}
}

// organizationRule is one of SFM's rules for what is written. The ids are those of the table of rules in the
// documents of the sidecar; where the rule comes from stands there too.
type organizationRule struct {
	id         string
	expression string // FHIR path of the element it is about
	// fault says what is wrong, "" = nothing.
	fault func(*organizationWrite) string
}

// Rules are looked through in order; the first that is broken is told.
var (
	createRules = []organizationRule{
		{"C3", "Organization.meta.profile", profileFault},
		{"C3", "Organization.active", activeFault},
		{"O1", "Organization.identifier", orgnrFault},
		{"J6", "Organization.identifier", herIDFault},
		{"C1", "Organization.identifier", sfmIDFault},
		{"C4", "", userFault},
		{"C1", "Organization.identifier", ownOrgnrFault},
		{"J7", "Organization.identifier", sameOrgnrFault},
		{"C2", "Organization.identifier", usedHERIDFault},
		{"J4", "Organization.identifier", foreignHERIDFault},
		{"H2", "Organization.partOf", parentFault},
	}
	updateRules = []organizationRule{
		{"O1", "Organization.identifier", orgnrFault},
		{"J6", "Organization.identifier", herIDFault},
		{"J2", "Organization.identifier", foreignSFMIDFault},
		{"J7", "Organization.identifier", sameOrgnrFault},
		{"J4", "Organization.identifier", foreignHERIDFault},
		{"H2", "Organization.partOf", parentFault},
		{"H2", "Organization.partOf", circleFault},
		{"L7", "Organization.extension", epjInfoFault},
		{"C7", "Organization.active", lastActiveFault},
	}
	loadRules = []organizationRule{
		{"O1", "", orgnrFault},
		{"J6", "", herIDFault},
		{"J7", "", sameOrgnrFault},
		{"J4", "", foreignHERIDFault},
		{"H2", "", circleFault},
	}
)

// brokenRule is a rule and how it is broken.
type brokenRule struct {
	organizationRule
	text string
}

func (b brokenRule) String() string { return b.id + ": " + b.text }

func (w *organizationWrite) judge(rules []organizationRule) *brokenRule {
	for _, rule := range rules {
		if fault := rule.fault(w); fault != "" {
			return &brokenRule{rule, fault}
		}
	}
	return nil
}

// refuse makes the answer to a broken rule. Which status SFM has for these is not known.
func (k JournalKnobs) refuse(rule, fault, expression string) *sfmRefusal {
	status := k.RuleStatus
	if status == 0 {
		status = http.StatusUnprocessableEntity
	}
	return &sfmRefusal{status: status, code: rule, issue: "business-rule", text: rule + ": " + fault, expression: expression}
}

// exact reports whether SFM's rules are kept: always in journals that were made under them.
func (w *organizationWrite) exact() bool {
	return w.knobs.StrictJournals || w.journal != nil && w.journal.exact
}

func profileFault(w *organizationWrite) string {
	if !slices.Contains(w.facts.profiles, profileOrganization) {
		return "meta.profile does not hold " + profileOrganization
	}
	return ""
}

func activeFault(w *organizationWrite) string {
	if w.facts.active {
		return "a new organization must be created with active=false; it is made active by a PUT when the journal is ready"
	}
	return ""
}

func orgnrFault(w *organizationWrite) string {
	switch {
	case len(w.facts.orgnrs) != 1:
		return "exactly one identifier of the system " + systemENH + " (ENH) is wanted"
	case !isOrgnr(w.facts.orgnr()):
		return "the organization number is not nine digits"
	default:
		return ""
	}
}

func herIDFault(w *organizationWrite) string {
	switch {
	case len(w.facts.herIDs) > 1:
		return "an organization has at most one HER-id"
	case w.facts.herIDs != nil && (w.facts.herID() == "" || strings.Trim(w.facts.herID(), "0123456789") != ""):
		return "the HER-id is not a number"
	default:
		return ""
	}
}

// sfmIDFault wants the token's own journal-id as SFM-id, in any letter case.
func sfmIDFault(w *organizationWrite) string {
	ids := w.facts.sfmIDs(w.knobs.Journals.SFMIDSystem)
	if len(ids) != 1 {
		return "exactly one SFM-id identifier is wanted, with the journal-id of the token"
	}
	if ids[0] == w.tenant.Journal || w.knobs.Journals.AttachIDs && w.attachable(ids[0]) {
		return ""
	}
	return "the SFM-id identifier is not the journal-id of the token, " + w.tenant.Journal
}

func (w *organizationWrite) attachable(id string) bool {
	other := w.all.byID[id]
	return w.journal != nil && isUUID(id) && (other == nil || other == w.journal)
}

// ownOrgnrFault wants the organization that the token speaks for. A token of an organization that is written already
// may bring another one: that is how a new organization number replaces an old one.
func ownOrgnrFault(w *organizationWrite) string {
	own, name := w.tenant.Child, "orgnr_child"
	if own == "" {
		own, name = w.tenant.Parent, "orgnr_parent"
	}
	if w.facts.orgnr() == own {
		return ""
	}
	if w.journal != nil && !w.knobs.Journals.CreateOwnOnly && w.journal.byOrgnr(own) != nil {
		return ""
	}
	return "the organization number is " + w.facts.orgnr() + ", but the token speaks for " + own + " (" + name + ")"
}

// userFault wants a person: the administrator of a new journal, or somebody who is written to the old one.
func userFault(w *organizationWrite) string {
	switch {
	case w.user.pid == "":
		return "the token names no person; the creator of a journal becomes its administrator"
	case w.journal != nil && !w.journal.has(w.user):
		return "the journal-id is known, and the token's person is neither an sfm-Person nor an sfm-Practitioner of its journal; somebody there must write the person first. Was a new journal meant? Then the journal-id must be a new one"
	default:
		return ""
	}
}

func sameOrgnrFault(w *organizationWrite) string {
	if w.journal == nil {
		return ""
	}
	for _, other := range w.journal.list() {
		if other.id == w.id || other.orgnr() != w.facts.orgnr() {
			continue
		}
		linked := w.facts.parent == other.id || other.parent == w.id && w.id != ""
		if !w.knobs.Journals.SameOrgnrPartOf || !linked || w.facts.herID() == other.herID() {
			return "the organization number " + w.facts.orgnr() + " is already written to this journal, as Organization/" + other.id
		}
	}
	return ""
}

// usedHERIDFault is foreignHERIDFault for a journal that is to be made, where any other use is a foreign one.
func usedHERIDFault(w *organizationWrite) string {
	if w.journal != nil {
		return ""
	}
	return foreignHERIDFault(w)
}

func foreignHERIDFault(w *organizationWrite) string {
	owner := w.all.owners[w.facts.herID()]
	if w.facts.herID() == "" || owner == nil || owner == w.journal {
		return ""
	}
	return "the HER-id " + w.facts.herID() + " is used in another journal; RF would not know where its messages belong"
}

// foreignSFMIDFault lets an organization keep, drop or change among the journal's own ids.
func foreignSFMIDFault(w *organizationWrite) string {
	for _, id := range w.facts.sfmIDs(w.knobs.Journals.SFMIDSystem) {
		if !slices.Contains(w.journal.ids, id) {
			return "the SFM-id identifier is none of this journal's ids"
		}
	}
	return ""
}

func parentFault(w *organizationWrite) string {
	if !w.facts.partOf {
		return ""
	}
	if w.facts.parent == "" || w.journal == nil || w.journal.organizations[w.facts.parent] == nil {
		return "partOf must refer to an organization (Organization/<id>) that is already written to the same journal"
	}
	return ""
}

func circleFault(w *organizationWrite) string {
	seen := map[string]bool{}
	for above := w.facts.parent; above != "" && !seen[above]; {
		if above == w.id {
			return "partOf leads back to the organization itself"
		}
		seen[above] = true
		next := w.journal.organizations[above]
		if next == nil {
			break
		}
		above = next.parent
	}
	return ""
}

func epjInfoFault(w *organizationWrite) string {
	if w.knobs.Journals.RequireEPJInfo && w.facts.active && len(w.facts.epj) == 0 {
		return "an active organization must tell RF of its EPJ, in the extension epjinfo"
	}
	return ""
}

// lastActiveFault keeps a journal from being locked: with no active organization left, nobody gets in to repair it.
func lastActiveFault(w *organizationWrite) string {
	if w.facts.active || w.knobs.Journals.LastPassive || !w.journal.organizations[w.id].active {
		return ""
	}
	for _, other := range w.journal.list() {
		if other.id != w.id && other.active {
			return ""
		}
	}
	return "this is the last active organization of the journal; make another one active before it is made passive"
}

// create writes a new organization, in a new journal when the journal-id is unknown, whose administrator is then the
// token's person.
func (j *sfmJournals) create(w organizationWrite, sent resource) (resource, *sfmRefusal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w.journal = j.byID[w.tenant.Journal]
	if w.exact() {
		if broken := w.judge(createRules); broken != nil {
			return nil, w.knobs.Journals.refuse(broken.id, broken.text, broken.expression)
		}
	}
	if w.journal == nil {
		w.journal = j.open(OriginCreated, w.tenant.Journal)
		w.journal.exact = w.knobs.StrictJournals
		w.journal.admit(w.user)
	}
	if ids := w.facts.sfmIDs(w.knobs.Journals.SFMIDSystem); w.knobs.Journals.AttachIDs && len(ids) == 1 && w.attachable(ids[0]) {
		j.attach(w.journal, ids[0])
	}
	fresh := &sfmOrganization{id: newUUID(), organizationFacts: w.facts}
	fresh.resource = versioned(sent, fresh.id, 1)
	if !w.facts.activeGiven {
		fresh.resource["active"] = false
	}
	j.put(w.journal, fresh)
	return fresh.resource, nil
}

// update writes a new version of an organization.
func (j *sfmJournals) update(w organizationWrite, sent resource) (resource, *sfmRefusal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w.journal = j.byID[w.tenant.Journal]
	if w.journal == nil || w.journal.organizations[w.id] == nil {
		return nil, noSuch("Organization")
	}
	if w.exact() {
		if broken := w.judge(updateRules); broken != nil {
			return nil, w.knobs.Journals.refuse(broken.id, broken.text, broken.expression)
		}
	}
	fresh := &sfmOrganization{id: w.id, organizationFacts: w.facts}
	fresh.resource = versioned(sent, w.id, versionOf(w.journal.organizations[w.id].resource)+1)
	j.put(w.journal, fresh)
	return fresh.resource, nil
}
