package journal

// Ask is what a token says: who asks, and for which journal. Child may be empty.
type Ask struct {
	Parent  string
	Child   string
	Journal string // the journal-id or another id of the instance
}

// Resolution is how SFM resolves an [Ask]. Where it could not, the fields behind the point of failure are empty and the
// reason is among Findings.
type Resolution struct {
	Ask      Ask
	Journal  int    // index into Set.Journals; -1 = there is none with this id
	ID       string // the id by which the journal was found, as the Set spells it
	Alias    bool   // ID is one of the journal's further ids
	Fallback bool   // the child is not written to this journal, and the parent took its place
	Walk     []Hop  // from the entry upward, each organization once; the first is the entry
	Cycle    bool   // the walk came back to an organization it had passed, and ended
	HERID    Value
	Address  Sender
	Phone    Sender
	Findings []Finding // about this very ask, and what it passes
}

// Hop is one organization of the walk.
type Hop struct {
	Organization int // index into the journal's Organizations
	Orgnr        string
	Name         string
	HERID        string
	Address      string
	Phone        string
	Active       bool
}

// Value is something found on the walk. Hop is -1 and Text empty where no organization had it.
type Value struct {
	Text string
	Hop  int // index into Resolution.Walk
}

// Sender is a value of the sender's in both readings of SFM's documentation, which does not say whether the search goes on
// above the organization of the HER-id. The two differ only where the lowest value stands above that organization.
type Sender struct {
	Value        // the search goes to the top
	Strict Value // the search ends at the organization of the HER-id
}

// Doubtful reports whether the two readings differ.
func (s Sender) Doubtful() bool { return s.Value != s.Strict }

// Entry returns the organization that the walk begins at, and false where there is none.
func (r Resolution) Entry() (Hop, bool) {
	if len(r.Walk) == 0 {
		return Hop{}, false
	}
	return r.Walk[0], true
}

// Index answers many questions about one [Set], which must not change. Making it takes time and memory in proportion to
// the Set. It is safe for concurrent use.
type Index struct{ set *Set }

// NewIndex reads a Set once.
func NewIndex(s *Set) *Index { return &Index{set: s} }

// Resolve walks the way that SFM walks for a token that says ask. The error is a *[Unresolved] (ErrJournal,
// ErrOrganization or ErrHERID) where SFM could not serve the token; the Resolution then tells how far it came. Findings
// that do not keep SFM from serving it are in the Resolution only.
func (x *Index) Resolve(ask Ask) (Resolution, error) { return Resolution{Ask: ask, Journal: -1}, ErrJournal }

// Resolve is [Index.Resolve] for a single question.
func (s *Set) Resolve(ask Ask) (Resolution, error) { return NewIndex(s).Resolve(ask) }
