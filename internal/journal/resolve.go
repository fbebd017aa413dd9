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

// Resolve walks the way that SFM walks for a token that says ask. The error is a *[Unresolved] ([ErrJournal],
// [ErrOrganization] or [ErrHERID]) where SFM could not serve the token; the Resolution then tells how far it came.
// What does not keep SFM from serving it is in the findings only.
func (x *Index) Resolve(ask Ask) (Resolution, error) {
	r := Resolution{Ask: ask, Journal: none, HERID: nothing, Address: noSender, Phone: noSender}
	r.Findings = x.judgeAsk(ask, none)
	at := x.enter(ask)
	if at.journal == none {
		return r.fail(ErrJournal, x.noJournal(ask, none))
	}
	r.Journal, r.Alias, r.Fallback = at.journal, at.alias != none, at.fallback
	r.ID = x.spelling(idPlace{at.journal, at.alias})
	if at.node == none {
		return r.fail(ErrOrganization, x.noEntry(ask, none))
	}
	r.walk(x, at.node)
	r.Findings = append(r.Findings, x.judgeWay(at.node)...)
	if r.HERID == nothing {
		return r, &Unresolved{x.noHERID(at.node), ErrHERID}
	}
	return r, nil
}

// Resolve is [Index.Resolve] for a single question.
func (s *Set) Resolve(ask Ask) (Resolution, error) { return NewIndex(s).Resolve(ask) }

var (
	nothing  = Value{Hop: none}
	noSender = Sender{nothing, nothing}
)

// fail ends a resolution. Its reason stands first among the findings.
func (r Resolution) fail(err error, reason Finding) (Resolution, error) {
	r.Findings = append([]Finding{reason}, r.Findings...)
	return r, &Unresolved{reason, err}
}

// walk follows partOf and takes from each organization what is still missing. It goes by itself, and not by what
// [Index] has derived of every way, so that the one can be held to the other.
func (r *Resolution) walk(x *Index, n int) {
	seen := make(map[int]bool)
	for ; n != none && !seen[n]; n = x.nodes[n].up {
		seen[n] = true
		at, hop := x.nodes[n].Organization, len(r.Walk)
		r.Walk = append(r.Walk, Hop{x.nodes[n].item, at.Orgnr, at.Name, at.HERID, at.Address, at.Phone, at.Active})
		above := r.HERID != nothing
		r.HERID.fill(at.HERID, hop)
		r.Address.fill(at.Address, hop, above)
		r.Phone.fill(at.Phone, hop, above)
	}
	r.Cycle = n != none
}

func (v *Value) fill(text string, hop int) {
	if *v == nothing && filled(text) {
		*v = Value{text, hop}
	}
}

// fill takes a sender's value; above says that the organization of the HER-id has been passed.
func (s *Sender) fill(text string, hop int, above bool) {
	s.Value.fill(text, hop)
	if !above {
		s.Strict.fill(text, hop)
	}
}
