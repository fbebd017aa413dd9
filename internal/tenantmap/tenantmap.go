// Package tenantmap finds out on whose behalf a request is made: which organizations, and which journal.
//
// The caller says it with headers. Nothing is guessed and nothing is repaired: a tenant that is wrong by one digit is
// another customer's, so whatever is unclear is refused, with a code, the reason, and what to do about it.
//
//	Sfm-Orgnr-Parent  the top-level unit, nine digits; required
//	Sfm-Orgnr-Child   the sub-unit, nine digits; left out when the parent itself is meant
//	Sfm-Journal-Id    the journal, a UUID; required
//	Sfm-Tenant        an alias from the registry, in place of the three
package tenantmap

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"sfm-sidecar/internal/journal"
)

// The headers that name a tenant, in the canonical form of net/http.
const (
	ParentHeader  = "Sfm-Orgnr-Parent"
	ChildHeader   = "Sfm-Orgnr-Child"
	JournalHeader = "Sfm-Journal-Id"
	AliasHeader   = "Sfm-Tenant"
)

// Headers lists all of them. None may reach the upstream.
var Headers = []string{ParentHeader, ChildHeader, JournalHeader, AliasHeader}

const (
	// maxHeader is the longest value of a header, in bytes.
	maxHeader = 256
	// maxShown and maxShownDigits bound an alias that is repeated in a refusal.
	maxShown, maxShownDigits = 32, 4
	// maxWarned bounds how many organization numbers are remembered as warned about.
	maxWarned = 1000
)

// Tenant is on whose behalf a request is made. It is comparable; compare it [Tenant.Folded] where letter case must not
// matter. Organization numbers and journal ids are no personal data.
type Tenant struct {
	// Parent is the organization number of the top-level unit.
	Parent string
	// Child is that of the sub-unit. If empty, the parent itself is meant.
	Child string
	// Journal is the journal's UUID, in the letter case it was written in, without braces.
	Journal string
}

// Folded is the tenant with its journal in lower case, fit for comparing and for keys.
func (t Tenant) Folded() Tenant {
	t.Journal = strings.ToLower(t.Journal)
	return t
}

// Options are the map's settings.
type Options struct {
	// CheckDigit says what happens to an organization number whose check digit (modulus 11) is wrong: "warn" lets it
	// pass, since some of NHN's own test numbers fail; "strict" refuses it. If empty, "warn".
	CheckDigit string
	// Listed lets only tenants of the registry pass (see [Map.Use]). As long as there is no registry, those are none.
	Listed bool
	// Warn is told of an organization number that fails the check and passes: the field and the number, as in
	// "Sfm-Orgnr-Parent 100100127". Once for each number, up to a thousand. If nil, nobody is told.
	Warn func(orgnrField string)
}

// Map turns what a caller says into a [Tenant]. It is safe for concurrent use.
type Map struct {
	strict, listed bool
	warn           func(string)
	registry       atomic.Pointer[Registry] // nil until Use

	mu     sync.Mutex
	warned map[string]struct{} // organization numbers; guarded by mu
}

// New makes a map. It returns an error if CheckDigit is none of the known words.
func New(opts Options) (*Map, error) {
	switch opts.CheckDigit {
	case "", "warn", "strict":
	default:
		return nil, errors.New(`making a tenant map: the check digit option is neither "warn" nor "strict"`)
	}
	return &Map{
		strict: opts.CheckDigit == "strict",
		listed: opts.Listed,
		warn:   opts.Warn,
		warned: make(map[string]struct{}),
	}, nil
}

// Lookup reads a request's headers. The error is always an [Error], with one of these codes:
//
//   - request-invalid: a header came twice, empty, or with more than 256 bytes
//   - tenant-ambiguous: the alias came together with any of the other three
//   - tenant-missing, tenant-invalid: parent or journal is absent; one of the three is malformed
//   - tenant-unknown: the alias, or the tenant where only listed ones may pass, is not in the registry
func (m *Map) Lookup(h http.Header) (Tenant, error) {
	var values [4]string
	for i, name := range Headers {
		value, err := single(name, h[name])
		if err != nil {
			return Tenant{}, err
		}
		values[i] = value
	}
	parent, child, journal, alias := values[0], values[1], values[2], values[3]
	if alias == "" {
		return m.judge(fieldNames{ParentHeader, ChildHeader, JournalHeader}, Tenant{parent, child, journal})
	}
	if parent != "" || child != "" || journal != "" {
		return Tenant{}, &Error{
			code:   "tenant-ambiguous",
			detail: AliasHeader + " was sent together with organization numbers or a journal-id",
			hint:   "Send either " + AliasHeader + " or " + ParentHeader + ", " + ChildHeader + " and " + JournalHeader + ".",
		}
	}
	return m.alias("the alias in "+AliasHeader, alias)
}

// Use takes up a registry, or with nil gives up the one there was. Calls that are under way keep what they found; the
// next one finds the new registry.
func (m *Map) Use(r *Registry) { m.registry.Store(r) }

// Alias finds the tenant of an alias that did not come in a header. The error is an [Error] with the code tenant-unknown.
func (m *Map) Alias(alias string) (Tenant, error) { return m.alias("the alias", alias) }

// Created reports whether the registry says that a journal exists in SFM, by any of its ids, in any letter case.
func (m *Map) Created(journalID string) bool {
	r := m.registry.Load()
	return r != nil && r.Created(journalID)
}

// alias finds a tenant; what says where the alias came from.
func (m *Map) alias(what, alias string) (Tenant, error) {
	if r := m.registry.Load(); r != nil {
		if t, ok := r.Tenant(alias); ok {
			return t, nil
		}
	}
	return Tenant{}, &Error{
		code:   "tenant-unknown",
		detail: what + shownAlias(alias) + " is not in the tenant registry",
		hint: "Use an alias of the registry (TENANTS_FILE), or send organization numbers and journal-id themselves. " +
			"The command \"sidecar tenants list\" shows the aliases.",
	}
}

// shownAlias repeats an alias that was sent where that can give nothing away: a name of letters, or with few digits. What
// holds eleven digits might be a national identity number, and what is long a token.
func shownAlias(alias string) string {
	letter, digits := false, 0
	for _, r := range alias {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			letter = true
		case r >= '0' && r <= '9':
			digits++
		case r != '-' && r != '_' && r != '.':
			return ""
		}
	}
	if !letter || digits > maxShownDigits || len(alias) > maxShown {
		return ""
	}
	return " " + alias
}

// single gives a header's only value, or "" if it was not sent.
func single(name string, values []string) (string, error) {
	refuse := func(what, hint string) (string, error) {
		return "", &Error{code: "request-invalid", detail: name + " " + what, hint: hint}
	}
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return refuse("was sent more than once", "Send it once.")
	case values[0] == "":
		return refuse("is empty", "Leave the header out, or give it a value.")
	case len(values[0]) > maxHeader:
		return refuse(fmt.Sprintf("has more than %d bytes", maxHeader), "No value of this header is that long.")
	}
	return values[0], nil
}

// Parse judges a tenant that did not come in headers; an empty child means none. Its errors are those of
// [Map.Lookup], with the names parent, child and journal.
func (m *Map) Parse(parent, child, journal string) (Tenant, error) {
	return m.judge(fieldNames{"parent", "child", "journal"}, Tenant{parent, child, journal})
}

// Read is [Map.Parse] for one who may also mean a tenant that is not in the registry yet: listed says whether calls for
// it would pass.
func (m *Map) Read(parent, child, journal string) (t Tenant, listed bool, err error) {
	t, err = m.form(fieldNames{"parent", "child", "journal"}, Tenant{parent, child, journal})
	return t, err == nil && (!m.listed || m.lists(t)), err
}

// fieldNames is what the caller calls the three values.
type fieldNames struct{ parent, child, journal string }

// judge checks what was said; t holds the values as they came.
func (m *Map) judge(names fieldNames, t Tenant) (Tenant, error) {
	t, err := m.form(names, t)
	if err != nil || !m.listed || m.lists(t) {
		return t, err
	}
	who := "the organization " + t.Parent
	if t.Child != "" {
		who = "the organization " + t.Child + " below " + t.Parent
	}
	return Tenant{}, &Error{
		code:   "tenant-unknown",
		detail: who + " with this journal-id is not in the tenant registry",
		hint: "Only tenants of the registry are let through (TENANTS_FILE, TENANTS_POLICY). " +
			"The command \"sidecar tenants list\" shows them, \"sidecar tenants add\" adds one.",
	}
}

// form checks the form of what was said.
func (m *Map) form(names fieldNames, t Tenant) (Tenant, error) {
	if t.Parent == "" {
		return Tenant{}, missing(names.parent, "Send the organization number of the top-level unit, also when a sub-unit is meant.")
	}
	if t.Journal == "" {
		return Tenant{}, missing(names.journal, "Send the UUID of the customer's journal.")
	}
	if err := m.orgnr(names.parent, t.Parent); err != nil {
		return Tenant{}, err
	}
	if t.Child == t.Parent {
		return Tenant{}, invalid(names.child, "is "+t.Child+", the parent's own number", "Leave the child out when the parent itself is meant.")
	}
	if t.Child != "" {
		if err := m.orgnr(names.child, t.Child); err != nil {
			return Tenant{}, err
		}
	}
	var err error
	if t.Journal, err = journalID(names.journal, t.Journal); err != nil {
		return Tenant{}, err
	}
	return t, nil
}

// lists reports whether a tenant is in the registry, if there is one.
func (m *Map) lists(t Tenant) bool {
	r := m.registry.Load()
	return r != nil && r.Lists(t)
}

// orgnr judges an organization number. One that is not nine digits is never repeated in an error: it may be anything, a
// national identity number above all.
func (m *Map) orgnr(name, number string) error {
	switch {
	case !journal.IsOrgnr(number):
		return invalid(name, "is not an organization number", "Send nine digits, without spaces.")
	case journal.CheckDigitFits(number):
		return nil
	case m.strict:
		return invalid(name, "is "+number+", whose check digit is wrong",
			"Look for a mistyped digit. Test numbers that fail the check need SIDECAR_ORGNR_CHECK=warn.")
	}
	if m.warn != nil && m.firstWarning(number) {
		m.warn(name + " " + number)
	}
	return nil
}

// firstWarning reports whether a number was not warned about before. When the memory is full, it stays silent.
func (m *Map) firstWarning(number string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.warned[number]; known || len(m.warned) >= maxWarned {
		return false
	}
	m.warned[number] = struct{}{}
	return true
}
