package tenantmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/journal"
)

// Registry is what TENANTS_FILE says: journals, their organizations, and the tenants that may be named. It does not
// change once it is loaded and is safe for concurrent use.
type Registry struct {
	set      journal.Set
	places   places
	files    []string // names, in the order they were read in
	loaded   time.Time
	digest   digest
	journals map[id]int32             // every id of a journal, to its index in set.Journals
	aliases  map[string]int32         // alias of a tenant, to its index in set.Tenants
	listed   map[combination]struct{} // the tenants
}

// Position is a place in a file. Lines and columns count from 1; columns count characters.
type Position struct {
	File         string
	Line, Column int
}

// String is the position as file:line:column, as editors and terminals know it.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Fault is one thing that keeps a registry from being used.
type Fault struct {
	Position
	Message string // what is wrong
	Mend    string // what to do about it
}

// String is the fault on one line: where, what is wrong, how to mend it.
func (f Fault) String() string { return f.Where() + ": " + f.Message + "; " + f.Mend }

// Where is the fault's position, or the file alone where it is about no line.
func (f Fault) Where() string {
	if f.Line == 0 {
		return f.File
	}
	return f.Position.String()
}

// Faults is all that is wrong with a registry, in the order of its files and lines, and at most [maxFaults] of them. It
// is the error of [Load].
type Faults []Fault

// Error returns one line per fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts faults into the order of the files' names and lines.
func (f Faults) sorted() Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f
}

// Load reads the registry at path: a YAML file, or a directory whose *.yaml and *.yml files are read as one (hidden
// files are not, nor are directories inside). It is read strictly and whole: an error is [Faults], all that is wrong
// together, and there is no registry then. Check digits of organization numbers are not looked at; see [Loader].
func Load(path string) (*Registry, error) { return Loader{}.Load(path) }

// Set is the content. It must not be modified.
func (r *Registry) Set() *journal.Set { return &r.set }

// Position says where the file holds what a finding is about: the field, or what the field would belong to. A place
// that is about nothing in particular is the first file's first line.
func (r *Registry) Position(at journal.Place) Position { return r.places.position(at) }

// Files are the names of the files that were read.
func (r *Registry) Files() []string { return slices.Clone(r.files) }

// LoadedAt is when the registry was read.
func (r *Registry) LoadedAt() time.Time { return r.loaded }

// Len is the number of tenants.
func (r *Registry) Len() int { return len(r.set.Tenants) }

// Tenant finds the tenant that an alias stands for, in exactly its letter case.
func (r *Registry) Tenant(alias string) (Tenant, bool) {
	i, ok := r.aliases[alias]
	if !ok {
		return Tenant{}, false
	}
	t := r.set.Tenants[i]
	return Tenant{t.Parent, t.Child, t.Journal}, true
}

// Lists reports whether a combination of organizations and journal is among the tenants: the very journal id, in any
// letter case. Another id of the same journal is another combination.
func (r *Registry) Lists(t Tenant) bool {
	_, ok := r.listed[combine(t.Parent, t.Child, t.Journal)]
	return ok && (t.Child == "" || journal.IsOrgnr(t.Child)) // what is malformed has the key of what is absent
}

// Created reports whether the registry says that the journal exists in SFM (created: true), found by its id or by one of
// its aliases, in any letter case.
func (r *Registry) Created(journalID string) bool {
	i, ok := r.journals[idOf(journalID)]
	return ok && r.set.Journals[i].Created
}
