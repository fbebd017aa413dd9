package tenantmap

import (
	"math"
	"slices"

	"sfm-sidecar/internal/journal"
)

// The members of the registry's mappings, in the order in which an item keeps their marks.
var (
	journalFields      = []string{"id", "aliases", "name", "created", "organizations"}
	organizationFields = []string{"orgnr", "name", "her_id", "active", "part_of", "parent", "address", "phone"}
	tenantFields       = []string{"alias", "parent", "child", "journal"} // alias is the key before the mapping
)

// item is where a journal, an organization or a tenant stands. A hundred thousand of them are kept, so it is small.
type item struct {
	line   uint32
	file   uint16
	column uint16
	at     [8]mark
}

// mark is where a member's value stands: lines below the item in the upper half, the column in the lower. 0 = nowhere,
// or too far away to be written so.
type mark uint32

func newMark(lines, column int) mark {
	if lines < 0 || lines > math.MaxUint16 || column > math.MaxUint16 {
		return 0
	}
	return mark(lines<<16 | column) //nolint:gosec // both halves were just bounded
}

func newItem(file, line, column int) item {
	return item{
		line: uint32(min(line, math.MaxUint32)), file: uint16(file), column: uint16(min(column, math.MaxUint16)), //nolint:gosec // bounded by maxFiles and maxBytes
	}
}

// places is where everything stands.
type places struct {
	files         []string
	journals      []item
	aliases       [][]mark // of each journal
	organizations []item   // of all journals, one after the other
	first         []int    // index of a journal's first organization
	tenants       []item
}

func (p *places) position(at journal.Place) Position {
	switch {
	case at.Journal >= 0 && at.Journal < len(p.journals):
		organization := p.first[at.Journal] + at.Organization
		if at.Organization >= 0 && organization < p.end(at.Journal) {
			return p.of(p.organizations[organization], slices.Index(organizationFields, at.Field))
		}
		if marks := p.aliases[at.Journal]; at.Field == "aliases" && at.Item >= 0 && at.Item < len(marks) {
			return p.at(p.journals[at.Journal], marks[at.Item])
		}
		return p.of(p.journals[at.Journal], slices.Index(journalFields, at.Field))
	case at.Tenant >= 0 && at.Tenant < len(p.tenants):
		return p.of(p.tenants[at.Tenant], slices.Index(tenantFields, at.Field))
	case len(p.files) == 0:
		return Position{}
	}
	return Position{p.files[0], 1, 1}
}

// end is the index behind a journal's last organization.
func (p *places) end(of int) int {
	if of+1 < len(p.first) {
		return p.first[of+1]
	}
	return len(p.organizations)
}

// of is the position of an item's field, or its own where the field is not known.
func (p *places) of(i item, field int) Position {
	if field < 0 {
		return p.at(i, 0)
	}
	return p.at(i, i.at[field])
}

// at is the position of a mark of an item, or the item's own where there is none.
func (p *places) at(i item, m mark) Position {
	pos := Position{p.files[i.file], int(i.line), int(i.column)}
	if m != 0 {
		pos.Line += int(m >> 16)
		pos.Column = int(m & math.MaxUint16)
	}
	return pos
}
