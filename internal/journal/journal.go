// Package journal is the model behind a token: the journals (instances) of SFM, the organizations that are written to
// each, and the combinations of organization numbers and journal-id that a vendor asks tokens for. It says what SFM makes
// of such a token, and which set-ups would fail or send wrongly, before anything is sent.
//
// # What SFM does with a token
//
// The journal-id selects the journal; several ids may lead to one journal. The child's organization number, else the
// parent's, selects the entry among the organizations of that journal. From there SFM follows partOf upward to the first
// organization with a HER-id: the Aktør in Reseptformidleren (RF), which gets the messages that come back. Address and
// telephone number of the sender come from the lowest organization on the same way that has them, whatever the HER-id's.
// [Set.Resolve] walks that way and says where each thing came from.
//
// # Rules
//
// [Rules] lists what must hold: the J rules are about journals, O about organizations and the numbers in a token, H about
// HER-ids and the way to them, S about the sender's address and telephone, C about the calls that write to SFM, T about
// tenants. [Set.Lint] applies every rule that a [Set] can show. The rules about one call are functions of their own,
// [CheckCreate] and its siblings. Each rule names its source; docs/tenants.md has them as a table, made from here.
//
// Everything here is a pure function over values. A Set may hold anything a file can: cycles, numbers that are none, the
// same id twice. Nothing panics or loops on it, and time and memory grow with its size alone.
package journal

// Set is what is known: SFM's journals with their organizations, and the tenants that tokens are asked for. It is not
// changed by anything here, and must not be changed by others while it is read.
type Set struct {
	Journals []Journal
	Tenants  []Tenant
}

// Journal is one instance of SFM: one database, whose organizations share their patients' data.
type Journal struct {
	ID            string   // the journal-id, a UUID; letter case means nothing
	Aliases       []string // further ids of the same instance: an old SFM-id, or one for each legal unit
	Name          string   // for people
	Created       bool     // the instance exists in SFM
	Organizations []Organization
}

// Organization is one sfm-Organization, as written to SFM. A field that is empty has no value there.
type Organization struct {
	Orgnr   string // nine digits
	Name    string
	HERID   string // at most one; names the Aktør in RF
	PartOf  string // the organization number of the organization above, in the same journal
	Parent  string // the organization number of the legal unit (the top level in Brreg), where known
	Address string // printed as the sender's on prescriptions
	Phone   string
	Active  bool
}

// Tenant is a combination that tokens are asked for.
type Tenant struct {
	Alias   string // the vendor's name for it
	Parent  string // orgnr_parent: the legal unit
	Child   string // orgnr_child: the sub-unit; empty where the legal unit itself is meant
	Journal string // the journal-id, or another id of the instance
}

// Severity says how much breaking a rule matters.
type Severity string

// The severities. Permitted is only a rule's, never a finding's: it marks what looks wrong and is right.
const (
	Error     Severity = "error"     // SFM would refuse it, or send wrongly
	Warning   Severity = "warning"   // works, but risky
	Permitted Severity = "permitted" // explicitly allowed
)

// Place is the part of a Set that a finding is about. Indexes are -1 where it is not about one. It is about a tenant
// (Tenant set, the other two -1), an organization (Journal and Organization set), a journal (Journal alone), or, with all
// three -1, about values that are in no Set, such as those of one call.
type Place struct {
	Journal      int    // index into Set.Journals
	Organization int    // index into the journal's Organizations
	Tenant       int    // index into Set.Tenants
	Field        string // as in the registry file: id, aliases, orgnr, her_id, part_of, parent, child, journal, address, phone, active; empty = the whole
	Item         int    // index into the aliases where Field is aliases, otherwise 0
}

// Finding is one rule that is broken at one place. Message and Mend are for people; they name organization numbers,
// HER-ids and journal-ids, and never a person.
type Finding struct {
	Rule     string   // the rule's id, J1 say
	Severity Severity // Error or Warning; a rule may find less than its own severity, a doubtful check digit say
	At       Place
	Message  string // what is wrong, one sentence
	Mend     string // what to do about it
}
