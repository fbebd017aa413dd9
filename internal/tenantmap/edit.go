package tenantmap

import (
	"errors"

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
)

// Editor changes a registry's files and leaves everything else in them as it is: comments, order, blank lines, quotes.
// Nothing is written before [Editor.Save]. It is not safe for concurrent use.
type Editor struct{}

// Edit opens the registry at path for changes. A file that does not exist is begun. The error is [Faults] where the
// registry that is there can't be used.
func Edit(path string) (*Editor, error) { return nil, nil }

// Registry is the registry as it was changed so far.
func (e *Editor) Registry() *Registry { return nil }

// AddJournal adds a journal with its organizations. Its ids must not be in use (ErrInUse).
func (e *Editor) AddJournal(j journal.Journal) error { return nil }

// AddOrganization adds an organization to the journal that has the id or alias.
func (e *Editor) AddOrganization(journalID string, o journal.Organization) error { return nil }

// AddTenant adds a tenant. Neither its alias nor its combination may be there (ErrInUse).
func (e *Editor) AddTenant(t journal.Tenant) error { return nil }

// AddAlias adds a further id of a journal.
func (e *Editor) AddAlias(journalID, alias string) error { return nil }

// SetCreated says whether the journal exists in SFM.
func (e *Editor) SetCreated(journalID string, created bool) error { return nil }

// SetActive says whether an organization of a journal is active.
func (e *Editor) SetActive(journalID, orgnr string, active bool) error { return nil }

// Save writes what was changed: to a new file beside the old one, which then takes its place, with its mode. A file that
// was changed meanwhile is left alone (ErrChanged).
func (e *Editor) Save() error { return nil }
