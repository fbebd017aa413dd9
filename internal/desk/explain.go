package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/tenantmap"
)

// explanation is how SFM resolves one tenant, for programs. What is null could not be found.
type explanation struct {
	Tenant   tenantJSON  `json:"tenant"`
	Journal  *foundBy    `json:"journal"`
	Fallback bool        `json:"fallback"`
	Walk     []hop       `json:"walk"`
	Cycle    bool        `json:"cycle"`
	HERID    *sourced    `json:"her_id"`
	Sharing  []hop       `json:"sharing"` // the journal's organizations beside the walk that lead to the same HER-id
	Sender   sender      `json:"sender"`
	Token    *tokenClaim `json:"token"`
	Findings []finding   `json:"findings"`
	Resolved bool        `json:"resolved"`
}

type tenantJSON struct {
	Alias   string `json:"alias,omitempty"`
	Parent  string `json:"parent"`
	Child   string `json:"child,omitempty"`
	Journal string `json:"journal"`
}

// foundBy is a journal, and the id that it was found by.
type foundBy struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	FoundBy string `json:"found_by"`
	ByAlias bool   `json:"by_alias"`
	Created bool   `json:"created"`
}

type hop struct {
	Orgnr   string `json:"orgnr"`
	Name    string `json:"name,omitempty"`
	HERID   string `json:"her_id,omitempty"`
	Address string `json:"address,omitempty"`
	Phone   string `json:"phone,omitempty"`
	Active  bool   `json:"active"`
}

// sourced is a value and the organization number it comes from.
type sourced struct {
	Value string `json:"value"`
	From  string `json:"from"`
}

// sender is what a prescription says about where it comes from. The strict values are those of the other reading of
// SFM's documentation: the search ends at the organization of the HER-id.
type sender struct {
	Address       *sourced `json:"address"`
	Phone         *sourced `json:"phone"`
	StrictAddress *sourced `json:"strict_address"`
	StrictPhone   *sourced `json:"strict_phone"`
}

type tokenClaim struct {
	Claim string          `json:"claim"`
	Value json.RawMessage `json:"value"`
}

// explain shows how SFM will resolve a tenant. It fails when SFM could not, or would do so wrongly.
func (d *desk) explain(_ context.Context, args []string) error {
	var journalID string
	d.flags.StringVar(&journalID, "journal", "", "")
	words, err := d.parse(args, 1)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return usageError{"explain needs an alias, or organization numbers as PARENT[:CHILD]"}
	}
	registry, err := d.load()
	if err != nil {
		return err
	}
	alias, tenant, err := d.named(registry, words[0], journalID)
	if err != nil {
		return err
	}
	e := d.explanation(registry, alias, tenant)
	if d.json {
		err = d.encode(e)
	} else {
		d.printExplanation(e)
	}
	if err == nil && !e.sound() {
		err = errFound
	}
	return err
}

// named finds out which tenant is meant.
func (d *desk) named(registry *tenantmap.Registry, word, journalID string) (string, tenantmap.Tenant, error) {
	if tenant, ok := registry.Tenant(word); ok {
		if journalID != "" {
			return "", tenantmap.Tenant{}, usageError{fmt.Sprintf("the alias %q says which journal: leave --journal out", word)}
		}
		return word, tenant, nil
	}
	parent, child, _ := strings.Cut(word, ":")
	switch {
	case !journal.IsOrgnr(parent) || child != "" && !journal.IsOrgnr(child):
		return "", tenantmap.Tenant{}, failure{
			message: fmt.Sprintf("the registry %s has no tenant %q", d.file, word),
			mend:    "choose " + oneOf(registry) + "; or write organization numbers as PARENT:CHILD, with --journal ID",
		}
	case journalID == "":
		return "", tenantmap.Tenant{}, usageError{"organization numbers need a journal too: --journal ID"}
	}
	return "", tenantmap.Tenant{Parent: parent, Child: child, Journal: journalID}, nil
}

// oneOf names some tenants to choose from.
func oneOf(registry *tenantmap.Registry) string {
	const some = 5
	var names []string
	for _, t := range registry.Set().Tenants {
		if t.Alias != "" && len(names) < some {
			names = append(names, t.Alias)
		}
	}
	if len(names) == 0 {
		return "a tenant that is in the registry (it has none yet)"
	}
	more := ""
	if registry.Len() > len(names) {
		more = ", … (sidecar tenants list)"
	}
	return "one of " + strings.Join(names, ", ") + more
}

// explanation asks the model, and gives what it says its place in the file.
func (d *desk) explanation(registry *tenantmap.Registry, alias string, t tenantmap.Tenant) explanation {
	set := registry.Set()
	e := explanation{Tenant: tenantJSON{Alias: alias, Parent: t.Parent, Child: t.Child, Journal: t.Journal}, Walk: []hop{}, Sharing: []hop{}, Findings: []finding{}}
	r, err := set.Resolve(journal.Ask{Parent: t.Parent, Child: t.Child, Journal: t.Journal})
	e.Resolved, e.Fallback, e.Cycle = err == nil, r.Fallback, r.Cycle
	if r.Journal >= 0 {
		j := set.Journals[r.Journal]
		e.Journal = &foundBy{ID: j.ID, Name: j.Name, FoundBy: r.ID, ByAlias: r.Alias, Created: j.Created}
	}
	for _, h := range r.Walk {
		e.Walk = append(e.Walk, hop{Orgnr: h.Orgnr, Name: h.Name, HERID: h.HERID, Address: h.Address, Phone: h.Phone, Active: h.Active})
	}
	e.share(set, r)
	e.HERID = e.sourced(r.HERID)
	e.Sender = sender{
		Address: e.sourced(r.Address.Value), Phone: e.sourced(r.Phone.Value),
		StrictAddress: e.sourced(r.Address.Strict), StrictPhone: e.sourced(r.Phone.Strict),
	}
	found := r.Findings
	if refusal, ok := errors.AsType[*journal.Unresolved](err); ok && !slices.Contains(found, refusal.Finding) {
		found = append(found, refusal.Finding)
	}
	if !described(set, r) {
		found = []journal.Finding{undescribed(t)}
	}
	asked := slices.IndexFunc(set.Tenants, func(t journal.Tenant) bool { return alias != "" && t.Alias == alias })
	for _, f := range found {
		if f.At.Journal < 0 && f.At.Tenant < 0 {
			f.At.Tenant = asked // what is said of the asking stands where the alias does
		}
		e.Findings = append(e.Findings, placed(registry, f))
	}
	if d.Claim != nil {
		name, value := d.Claim(t)
		e.Token = &tokenClaim{Claim: name, Value: value}
	}
	return e
}

// described reports whether a registry says what the journal holds. One may list tenants alone.
func described(set *journal.Set, r journal.Resolution) bool {
	if r.Journal < 0 {
		return len(set.Journals) > 0
	}
	return len(set.Journals[r.Journal].Organizations) > 0
}

// undescribed says why nothing can be drawn.
func undescribed(t tenantmap.Tenant) journal.Finding {
	return journal.Finding{
		Rule: "O6", Severity: journal.Warning, At: journal.Place{Journal: -1, Organization: -1, Tenant: -1, Field: "journal"},
		Message: "The registry does not say which organizations are written to journal " + t.Journal + ", so nothing is known of how SFM resolves this tenant.",
		Mend:    "Describe the journal and its organizations under journals:, as they are written to SFM.",
	}
}

// share finds the organizations beside the walk that lead to the same HER-id: they are one Aktør in RF.
func (e *explanation) share(set *journal.Set, r journal.Resolution) {
	if r.HERID.Text == "" {
		return
	}
	index := journal.NewIndex(set)
	for _, o := range set.Journals[r.Journal].Organizations {
		other, err := index.Resolve(journal.Ask{Parent: o.Orgnr, Journal: r.ID})
		passed := slices.ContainsFunc(e.Walk, func(h hop) bool { return h.Orgnr == o.Orgnr })
		if err == nil && !passed && other.HERID.Text == r.HERID.Text {
			e.Sharing = append(e.Sharing, hop{Orgnr: o.Orgnr, Name: o.Name, HERID: o.HERID, Address: o.Address, Phone: o.Phone, Active: o.Active})
		}
	}
}

// sound reports whether SFM would resolve the tenant as meant.
func (e explanation) sound() bool {
	return e.Resolved && !slices.ContainsFunc(e.Findings, func(f finding) bool { return f.Severity == severityError })
}

// sourced is a value of the walk with where it came from; nil where there is none.
func (e explanation) sourced(v journal.Value) *sourced {
	if v.Text == "" || v.Hop < 0 || v.Hop >= len(e.Walk) {
		return nil
	}
	return &sourced{v.Text, e.Walk[v.Hop].Orgnr}
}
