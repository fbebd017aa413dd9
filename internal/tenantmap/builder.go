package tenantmap

import (
	"fmt"
	"slices"

	"sfm-sidecar/internal/journal"
)

// id is a journal's id as a number: the same in any letter case, and small.
type id [16]byte

// idOf is the id that a well-formed UUID writes; the zero id for everything else.
func idOf(uuid string) id {
	var number id
	if !journal.IsUUID(uuid) {
		return number
	}
	digit := 0
	for i := range len(uuid) {
		c := uuid[i]
		switch {
		case c == '-':
			continue
		case c <= '9':
			c -= '0'
		default: // a letter, of which this is the same in either case
			c = c&^0x20 - 'A' + 10
		}
		number[digit/2] = number[digit/2]<<4 | c
		digit++
	}
	return number
}

// combination is a tenant as a key.
type combination struct {
	parent, child uint32
	journal       id
}

func combine(parent, child, journal string) combination {
	return combination{orgnrOf(parent), orgnrOf(child), idOf(journal)}
}

// orgnrOf is a well-formed organization number's value; 0 for everything else, an absent one too.
func orgnrOf(s string) uint32 {
	if !journal.IsOrgnr(s) {
		return 0
	}
	var n uint32
	for i := range len(s) {
		n = 10*n + uint32(s[i]-'0')
	}
	return n
}

// builder puts parts together and judges what they can only say together.
type builder struct {
	names  []string
	parts  []*part
	faults Faults
}

func newBuilder() *builder { return new(builder) }

func (b *builder) add(p *part) {
	if len(b.faults) > maxFaults {
		return // nothing of it will be used
	}
	b.faults = append(b.faults, p.faults...)
	b.parts = append(b.parts, p)
}

// finish is the registry, or all that is wrong.
func (b *builder) finish() (*Registry, Faults) {
	r := b.join()
	b.indexJournals(r)
	b.indexTenants(r)
	if len(b.faults) == 0 {
		return r, nil
	}
	faults := b.faults.sorted()
	if more := len(faults) - maxFaults; more > 0 {
		last := faults[maxFaults-1].Position
		faults = append(faults[:maxFaults:maxFaults], Fault{last, "there are more faults", "mend these first"})
	}
	return nil, faults
}

// join puts the parts into one set. Every slice is made once, in its final size.
func (b *builder) join() *Registry {
	r := &Registry{files: b.names}
	var journals, organizations, tenants int
	for _, p := range b.parts {
		journals += len(p.journals)
		organizations += len(p.places.organizations)
		tenants += len(p.tenants)
	}
	r.set = journal.Set{Journals: make([]journal.Journal, 0, journals), Tenants: make([]journal.Tenant, 0, tenants)}
	r.places = places{
		files: b.names, journals: make([]item, 0, journals), aliases: make([][]mark, 0, journals), organizations: make([]item, 0, organizations),
		first: make([]int, 0, journals), tenants: make([]item, 0, tenants),
	}
	for i, p := range b.parts {
		for _, first := range p.places.first {
			r.places.first = append(r.places.first, first+len(r.places.organizations))
		}
		r.set.Journals = append(r.set.Journals, p.journals...)
		r.set.Tenants = append(r.set.Tenants, p.tenants...)
		r.places.journals = append(r.places.journals, p.places.journals...)
		r.places.aliases = append(r.places.aliases, p.places.aliases...)
		r.places.organizations = append(r.places.organizations, p.places.organizations...)
		r.places.tenants = append(r.places.tenants, p.places.tenants...)
		b.parts[i] = nil
	}
	return r
}

// indexJournals makes every id lead to its journal, and refuses one that leads to two.
func (b *builder) indexJournals(r *Registry) {
	r.journals = make(map[id]int32, len(r.set.Journals))
	for i := range r.set.Journals {
		j := &r.set.Journals[i]
		own := make(map[id]bool, 1+len(j.Aliases))
		claim := func(field string, item int, uuid string) {
			key := idOf(uuid)
			if uuid == "" {
				return
			}
			before, taken := r.journals[key]
			if !taken {
				r.journals[key], own[key] = int32(i), true //nolint:gosec // bounded by maxBytes
				return
			}
			at := journal.Place{Journal: i, Organization: -1, Tenant: -1, Field: field, Item: item}
			message := "the journal-id " + uuid + " is already used in " + r.line(r.placeOf(int(before), key))
			if own[key] {
				message = "the journal-id " + uuid + " is written twice in this journal"
			}
			b.fault(r.Position(at), message, "one id is one journal: remove it here or there; never give a customer's id to another")
		}
		claim("id", 0, j.ID)
		for item, alias := range j.Aliases {
			claim("aliases", item, alias)
		}
	}
}

// placeOf is where a journal has an id.
func (r *Registry) placeOf(i int, key id) journal.Place {
	at := journal.Place{Journal: i, Organization: -1, Tenant: -1, Field: "id"}
	for item, alias := range r.set.Journals[i].Aliases {
		if idOf(alias) == key && idOf(r.set.Journals[i].ID) != key {
			at.Field, at.Item = "aliases", item
			break
		}
	}
	return at
}

// indexTenants makes aliases and combinations known.
func (b *builder) indexTenants(r *Registry) {
	r.aliases = make(map[string]int32, len(r.set.Tenants))
	r.listed = make(map[combination]struct{}, len(r.set.Tenants))
	known := !slices.ContainsFunc(r.set.Journals, func(j journal.Journal) bool { return j.ID == "" }) // one id is being told of already
	for i := range r.set.Tenants {
		t := &r.set.Tenants[i]
		at := journal.Place{Journal: -1, Organization: -1, Tenant: i}
		if before, taken := r.aliases[t.Alias]; taken && t.Alias != "" {
			first := journal.Place{Journal: -1, Organization: -1, Tenant: int(before)}
			b.fault(r.Position(at), "the alias"+shownAlias(t.Alias)+" is already used in "+r.line(first), "give one of the two another alias")
			continue
		}
		r.aliases[t.Alias] = int32(i) //nolint:gosec // bounded by maxBytes
		at.Field = "journal"
		if _, there := r.journals[idOf(t.Journal)]; !there && known && t.Journal != "" && len(r.set.Journals) > 0 {
			b.fault(r.Position(at), "the journal "+t.Journal+" is not among the journals", "look for a mistyped digit, or add the journal under journals")
		}
		r.listed[combine(t.Parent, t.Child, t.Journal)] = struct{}{}
	}
}

// line is a position for the middle of a sentence.
func (r *Registry) line(at journal.Place) string {
	p := r.Position(at)
	return fmt.Sprintf("%s, line %d", p.File, p.Line)
}

func (b *builder) fault(at Position, message, mend string) {
	if len(b.faults) <= 2*maxFaults {
		b.faults = append(b.faults, Fault{at, message, mend})
	}
}
