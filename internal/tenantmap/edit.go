package tenantmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sfm-sidecar/internal/journal"
)

// What an [Editor] refuses. The errors that it returns say more, and wrap these.
var (
	// ErrInUse is the refusal to add what is there, or to give an id another meaning.
	ErrInUse = errors.New("is in the registry already")
	// ErrNotThere is the refusal to change what is not there.
	ErrNotThere = errors.New("is not in the registry")
	// ErrChanged is the refusal to overwrite what somebody else wrote meanwhile.
	ErrChanged = errors.New("the registry was changed by somebody else meanwhile")
	// ErrForm is the refusal to change a file whose form leaves no clear place for the change.
	ErrForm = errors.New("the file's form leaves no clear place for it; make the change by hand")
)

// Editor changes a registry's files and leaves everything else in them as it is, byte for byte: comments, order, blank
// lines, quotes. It changes the text, not a tree that is written out again, and reads what came out: a change that says
// anything but what was asked for is not made. Nothing reaches the disk before [Editor.Save]. It is not safe for
// concurrent use.
type Editor struct {
	path   string
	loader Loader
	texts  []*text // as Registry.Files
	now    *Registry
}

// text is one file that is being changed.
type text struct {
	name    string
	content []byte
	before  []byte      // what the disk holds
	mode    fs.FileMode // 0 = there is no file yet
	owner   fs.FileInfo // of what was read; nil = there is no file yet
}

// Edit opens the registry at path for changes. A file that does not exist is begun, a directory is not. The error is
// [Faults] where what is there can't be used.
func Edit(path string) (*Editor, error) {
	e := &Editor{path: path, loader: Loader{begun: true}, now: &Registry{}}
	files, err := look(path)
	if _, missing := os.Lstat(path); errors.Is(missing, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		content, err := os.ReadFile(f.name)
		if err != nil {
			return nil, passing{Faults{unreadable(f.name, err)}}
		}
		e.texts = append(e.texts, &text{f.name, content, content, f.info.Mode().Perm(), f.info})
	}
	e.now, err = e.read(e.texts)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Registry is the registry as it was changed so far.
func (e *Editor) Registry() *Registry { return e.now }

// AddJournal adds a journal with its organizations. None of its ids may be in use (ErrInUse).
func (e *Editor) AddJournal(j journal.Journal) error {
	for _, uuid := range append([]string{j.ID}, j.Aliases...) {
		if _, used := e.now.journals[idOf(uuid)]; used {
			return fmt.Errorf("adding a journal: the id %s %w", uuid, ErrInUse)
		}
	}
	want := e.want()
	want.Journals = append(want.Journals, j)
	return e.change("adding a journal", want, func() []edit {
		return e.appendTo(e.fileForJournals(j.ID), "journals", renderJournal(j))
	})
}

// AddOrganization adds an organization to the journal that has the id, or has it as an alias.
func (e *Editor) AddOrganization(journalID string, o journal.Organization) error {
	const doing = "adding an organization"
	i, j, err := e.journal(doing, journalID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(j.Organizations, func(other journal.Organization) bool { return other.Orgnr == o.Orgnr }) {
		return fmt.Errorf("%s: %s %w, in the same journal", doing, o.Orgnr, ErrInUse)
	}
	want := e.want()
	want.Journals[i].Organizations = append(slices.Clip(slices.Clone(j.Organizations)), o)
	return e.change(doing, want, func() []edit {
		return e.addToList(place(i, -1, "organizations"), "organizations", len(j.Organizations) > 0, renderOrganization(o))
	})
}

// AddAlias adds a further id of a journal. It must not be in use (ErrInUse).
func (e *Editor) AddAlias(journalID, alias string) error {
	const doing = "adding an alias"
	i, j, err := e.journal(doing, journalID)
	if err != nil {
		return err
	}
	if _, used := e.now.journals[idOf(alias)]; used {
		return fmt.Errorf("%s: the id %s %w", doing, alias, ErrInUse)
	}
	want := e.want()
	want.Journals[i].Aliases = append(slices.Clip(slices.Clone(j.Aliases)), alias)
	return e.change(doing, want, func() []edit {
		list := place(i, -1, "aliases")
		list.Item = -1 // not one of them
		return e.addToList(list, "aliases", len(j.Aliases) > 0, scalar(alias))
	})
}

// AddTenant adds a tenant. Neither its alias nor its combination may be there (ErrInUse).
func (e *Editor) AddTenant(t journal.Tenant) error {
	const doing = "adding a tenant"
	if _, used := e.now.aliases[t.Alias]; used {
		return fmt.Errorf("%s: the alias %w", doing, ErrInUse)
	}
	if e.now.Lists(Tenant{t.Parent, t.Child, t.Journal}) {
		return fmt.Errorf("%s: the combination %w", doing, ErrInUse)
	}
	want := e.want()
	want.Tenants = append(want.Tenants, t)
	return e.change(doing, want, func() []edit {
		return e.appendTo(e.fileForTenants(t.Journal), "tenants", []string{renderTenant(t)})
	})
}

// SetCreated says whether the journal exists in SFM.
func (e *Editor) SetCreated(journalID string, created bool) error {
	const doing = "setting created"
	i, j, err := e.journal(doing, journalID)
	if err != nil || j.Created == created {
		return err
	}
	want := e.want()
	want.Journals[i].Created = created
	return e.change(doing, want, func() []edit { return e.setTruth(place(i, -1, "created"), "created", created) })
}

// SetActive says whether an organization of a journal is active.
func (e *Editor) SetActive(journalID, orgnr string, active bool) error {
	const doing = "setting active"
	i, j, err := e.journal(doing, journalID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(j.Organizations, func(o journal.Organization) bool { return o.Orgnr == orgnr })
	if at < 0 {
		return fmt.Errorf("%s: the organization %w, in this journal", doing, ErrNotThere)
	}
	if j.Organizations[at].Active == active {
		return nil
	}
	want := e.want()
	want.Journals[i].Organizations = slices.Clone(j.Organizations)
	want.Journals[i].Organizations[at].Active = active
	return e.change(doing, want, func() []edit { return e.setTruth(place(i, at, "active"), "active", active) })
}

// journal finds a journal by any of its ids.
func (e *Editor) journal(doing, uuid string) (int, journal.Journal, error) {
	i, ok := e.now.journals[idOf(uuid)]
	if !ok {
		return 0, journal.Journal{}, fmt.Errorf("%s: the journal %w", doing, ErrNotThere)
	}
	return int(i), e.now.set.Journals[i], nil
}

func place(of, organization int, field string) journal.Place {
	return journal.Place{Journal: of, Organization: organization, Tenant: -1, Field: field}
}

// want is a copy of the set, to be changed into what is to come out. Journals share what hangs on them.
func (e *Editor) want() journal.Set {
	return journal.Set{Journals: slices.Clone(e.now.set.Journals), Tenants: slices.Clone(e.now.set.Tenants)}
}

// change tries the edits in turn and keeps the first that makes the registry say what is wanted. If none does, the fault
// of what was asked for itself is told, or ErrForm.
func (e *Editor) change(doing string, want journal.Set, edits func() []edit) error {
	var faults error
	for _, one := range edits() {
		texts := e.apply(one)
		next, err := e.read(texts)
		switch {
		case err != nil && faults == nil:
			faults = err
		case err == nil && sameSet(want, next.set):
			e.texts, e.now = texts, next
			return nil
		}
	}
	if faults != nil {
		return fmt.Errorf("%s: %w: %w", doing, ErrForm, faults)
	}
	return fmt.Errorf("%s: %w", doing, ErrForm)
}

// sameSet compares what two sets say, in any order: files are read in the order of their names.
func sameSet(a, b journal.Set) bool {
	byID := func(x, y journal.Journal) int { return strings.Compare(x.ID, y.ID) }
	byAlias := func(x, y journal.Tenant) int { return strings.Compare(x.Alias, y.Alias) }
	equal := func(x, y journal.Journal) bool {
		return x.ID == y.ID && x.Name == y.Name && x.Created == y.Created && slices.Equal(x.Aliases, y.Aliases) &&
			len(x.Organizations) == len(y.Organizations) && (len(x.Organizations) == 0 || reflect.DeepEqual(x.Organizations, y.Organizations))
	}
	return slices.EqualFunc(slices.SortedStableFunc(slices.Values(a.Journals), byID), slices.SortedStableFunc(slices.Values(b.Journals), byID), equal) &&
		slices.Equal(slices.SortedStableFunc(slices.Values(a.Tenants), byAlias), slices.SortedStableFunc(slices.Values(b.Tenants), byAlias))
}

// apply is the texts after an edit.
func (e *Editor) apply(one edit) []*text {
	texts := slices.Clone(e.texts)
	i := slices.IndexFunc(texts, func(t *text) bool { return t.name == one.file })
	if i < 0 {
		texts = append(texts, &text{name: one.file})
		i = len(texts) - 1
	}
	changed := *texts[i]
	changed.content = slices.Concat(changed.content[:one.from], []byte(one.insert), changed.content[one.to:])
	texts[i] = &changed
	return texts
}

// read is the registry that texts make.
func (e *Editor) read(texts []*text) (*Registry, error) {
	b := newBuilder()
	for i, t := range texts {
		b.names = append(b.names, t.name)
		if err := e.loader.readContent(i, t.name, int64(len(t.content)), bytes.NewReader(t.content), b); err != nil {
			return nil, err
		}
	}
	r, faults := b.finish()
	if len(faults) > 0 {
		return nil, faults
	}
	return r, nil
}

// fileForJournals is where a new journal goes: the only file there is, else one of its own.
func (e *Editor) fileForJournals(uuid string) string {
	switch info, err := os.Stat(e.path); {
	case len(e.texts) == 1:
		return e.texts[0].name
	case err == nil && info.IsDir():
		return filepath.Join(e.path, strings.ToLower(uuid)+".yaml")
	}
	return e.path
}

// fileForTenants is where a new tenant goes: to its journal.
func (e *Editor) fileForTenants(uuid string) string {
	if i, ok := e.now.journals[idOf(uuid)]; ok {
		return e.now.Position(place(int(i), -1, "")).File
	}
	return e.fileForJournals("tenants")
}
