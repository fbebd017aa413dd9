package journal

import "strings"

// Index answers many questions about one [Set], which must not change. Making it takes time and memory in proportion to
// the Set. It is safe for concurrent use.
type Index struct {
	set      *Set
	ids      map[string]idPlace   // by id in lower case: the first place that has it
	repeated map[string][]idPlace // the further places
	nodes    []node               // every organization, journal by journal
	base     []int                // by journal: its first node
	written  map[address]int      // the first node of an organization number in a journal
	homes    map[string]int       // by organization number: its first node in any journal
	users    map[string]int       // by HER-id in its plain form: the first node that has it
	units    map[string]unit      // by organization number: the legal unit above it, where someone says so
	tops     map[string]bool      // numbers that someone takes for a legal unit with something below
	asked    map[int]asker        // by node: who enters there
	alikes   map[senderKey][]int  // the entries whose prescriptions carry the same sender
	order    []senderKey          // of alikes, as they begin in the Set
}

// idPlace is where an id stands; alias is -1 for the journal's own.
type idPlace struct{ journal, alias int }

// address is an organization number within one journal.
type address struct {
	journal int
	orgnr   string
}

// unit is a statement about what an organization number lies below.
type unit struct {
	parent          string
	journal, tenant int // who says so: an organization of the journal, or the tenant; the other is none
}

// asker is the first tenant that enters at an organization, and how many do.
type asker struct{ tenant, count int }

// none stands for no node, tenant or journal.
const none = -1

// node is one organization and its neighbours, by their numbers in Index.nodes.
type node struct {
	*Organization
	journal, item int  // where it stands in the Set
	twin          int  // the next with the same number in the same journal
	double        int  // the next with the same number in any journal
	sharer, ahead int  // the next and the last with the same HER-id in any journal
	beyond        int  // the next with the same HER-id in another journal
	up            int  // what it is part of
	carries       bool // others are part of it
	way
}

// NewIndex reads a Set once.
func NewIndex(s *Set) *Index {
	total := 0
	for i := range s.Journals {
		total += len(s.Journals[i].Organizations)
	}
	x := &Index{
		set:      s,
		ids:      make(map[string]idPlace, len(s.Journals)),
		repeated: make(map[string][]idPlace),
		nodes:    make([]node, 0, total),
		base:     make([]int, 0, len(s.Journals)),
		written:  make(map[address]int, total),
		homes:    make(map[string]int, total),
		users:    make(map[string]int, total),
		units:    make(map[string]unit, total+len(s.Tenants)),
		tops:     make(map[string]bool),
		asked:    make(map[int]asker, len(s.Tenants)),
		alikes:   make(map[senderKey][]int),
	}
	for i := range s.Journals {
		x.addJournal(i)
	}
	x.chain()
	x.climb()
	x.readUnits()
	for i, t := range s.Tenants {
		if at := x.enter(t.ask()); at.node != none {
			first, met := x.asked[at.node]
			if !met {
				first.tenant = i
			}
			x.asked[at.node] = asker{first.tenant, first.count + 1}
		}
	}
	x.groupSenders()
	return x
}

func (t Tenant) ask() Ask { return Ask{Parent: t.Parent, Child: t.Child, Journal: t.Journal} }

func (x *Index) addJournal(i int) {
	j := &x.set.Journals[i]
	for alias, id := range j.ids() {
		key := strings.ToLower(id)
		if _, taken := x.ids[key]; taken {
			x.repeated[key] = append(x.repeated[key], idPlace{i, alias})
		} else if id != "" {
			x.ids[key] = idPlace{i, alias}
		}
	}
	x.base = append(x.base, len(x.nodes))
	for item := range j.Organizations {
		x.nodes = append(x.nodes, node{
			Organization: &j.Organizations[item], journal: i, item: item,
			twin: none, double: none, sharer: none, ahead: none, beyond: none, up: none, way: nowhere,
		})
	}
}

// ids yields the journal's own id as number -1, then its aliases.
func (j *Journal) ids() func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		if !yield(none, j.ID) {
			return
		}
		for i, id := range j.Aliases {
			if !yield(i, id) {
				return
			}
		}
	}
}

// chain links what belongs together. It goes backwards, so that each chain runs in the order of the Set.
func (x *Index) chain() {
	for n := len(x.nodes) - 1; n >= 0; n-- {
		at := &x.nodes[n]
		if at.Orgnr != "" {
			here := address{at.journal, at.Orgnr}
			at.twin, x.written[here] = link(x.written, here, n)
			at.double, x.homes[at.Orgnr] = link(x.homes, at.Orgnr, n)
		}
		if her := plainHERID(at.HERID); her != "" {
			at.sharer, x.users[her] = link(x.users, her, n)
			if at.sharer != none {
				x.nodes[at.sharer].ahead = n
				at.beyond = at.sharer
				if next := &x.nodes[at.sharer]; next.journal == at.journal {
					at.beyond = next.beyond
				}
			}
		}
	}
	for n := range x.nodes {
		x.nodes[n].up = x.above(n)
		if up := x.nodes[n].up; up != none {
			x.nodes[up].carries = true
		}
	}
}

// link returns what stood at the head of a chain, and the new head.
func link[K comparable](heads map[K]int, key K, head int) (int, int) {
	if next, ok := heads[key]; ok {
		return next, head
	}
	return none, head
}

// above finds what an organization is part of. Where the number is its own it means the next of the same number, and
// where there is none, itself: a cycle of one.
func (x *Index) above(n int) int {
	at := &x.nodes[n]
	if at.PartOf == "" {
		return none
	}
	up := x.first(at.journal, at.PartOf)
	if up == n && at.twin != none {
		return at.twin
	}
	return up
}

// first returns the first organization with a number in a journal.
func (x *Index) first(journal int, orgnr string) int {
	if n, ok := x.written[address{journal, orgnr}]; ok && orgnr != "" {
		return n
	}
	return none
}

// readUnits gathers who says what lies below what. Organizations are believed before tenants, and the first of either.
func (x *Index) readUnits() {
	state := func(orgnr string, said unit) {
		parent := said.parent
		if orgnr == "" || parent == "" || orgnr == parent {
			return
		}
		x.tops[parent] = true
		if _, known := x.units[orgnr]; !known {
			x.units[orgnr] = said
		}
	}
	for n := range x.nodes {
		at := &x.nodes[n]
		state(at.Orgnr, unit{at.Parent, at.journal, none})
	}
	for i := range x.set.Tenants {
		t := &x.set.Tenants[i]
		state(t.Child, unit{t.Parent, none, i})
	}
}

// legalUnit returns the legal unit of an organization, and "" where nobody says.
func (x *Index) legalUnit(n int) string {
	at := &x.nodes[n]
	switch {
	case at.Parent != "":
		return at.Parent
	case x.units[at.Orgnr].parent != "":
		return x.units[at.Orgnr].parent
	case x.tops[at.Orgnr]:
		return at.Orgnr
	}
	return ""
}

// find returns the journal of an id, and where in it the id stands.
func (x *Index) find(id string) (idPlace, bool) {
	at, ok := x.ids[strings.ToLower(id)]
	return at, ok && id != ""
}

// entry is where a token enters.
type entry struct {
	journal  int
	alias    int // none = by the journal's own id
	node     int
	fallback bool
}

// enter finds the organization that a token means: the child's in the journal, else the parent's.
func (x *Index) enter(ask Ask) entry {
	at, ok := x.find(ask.Journal)
	if !ok {
		return entry{none, none, none, false}
	}
	if n := x.first(at.journal, ask.Child); n != none {
		return entry{at.journal, at.alias, n, false}
	}
	n := x.first(at.journal, ask.Parent)
	return entry{at.journal, at.alias, n, n != none && ask.Child != ""}
}
