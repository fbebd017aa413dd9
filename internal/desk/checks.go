package desk

import (
	"context"
	"errors"
	"slices"
	"strings"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/tenantmap"
)

func (c customer) tenant() tenantmap.Tenant {
	return tenantmap.Tenant{Parent: c.Parent, Child: c.Child, Journal: c.Journal}
}

// old is the tenant that new-orgnr leaves.
func (c customer) old() tenantmap.Tenant {
	return tenantmap.Tenant{Parent: c.OldParent, Child: c.OldChild, Journal: c.Journal}
}

// entry is the organization that a tenant is entered by.
func entry(t tenantmap.Tenant) string {
	if t.Child != "" {
		return t.Child
	}
	return t.Parent
}

// checkUnits asks Enhetsregisteret about parent and child.
func (g *guide) checkUnits(ctx context.Context) outcome {
	c := g.customer
	all, err := g.units(ctx, nonEmpty(c.Parent, c.Child))
	if err != nil {
		return unchecked("%s could not be asked: %s", nameBrreg, reason(err))
	}
	found := compareUnits(&journal.Set{Tenants: []journal.Tenant{{Parent: c.Parent, Child: c.Child, Journal: c.Journal}}}, all)
	if len(found) > 0 {
		return wrong("%s", withMend(found[0].Message, found[0].Mend))
	}
	if c.Child == "" {
		return ok("%s %s is a top-level unit in Enhetsregisteret", c.Parent, all[c.Parent].Name)
	}
	return ok("%s %s is a top-level unit in Enhetsregisteret, and %s %s is below it", c.Parent, all[c.Parent].Name, c.Child, all[c.Child].Name)
}

// checkStatus asks HelseID Selvbetjening whether tokens are given for the parent.
func (g *guide) checkStatus(ctx context.Context) outcome {
	if g.Status == nil {
		return unchecked("look at the tab for tenants in HelseID Selvbetjening: it must say Active")
	}
	status, err := g.Status(ctx, g.customer.Parent)
	switch {
	case err != nil:
		return unchecked("HelseID Selvbetjening could not be asked: %v", err)
	case status.Active:
		return ok("HelseID Selvbetjening says Active for %s", g.customer.Parent)
	case len(status.Missing) > 0:
		return open("HelseID Selvbetjening says that this is missing for %s: %s", g.customer.Parent, strings.Join(status.Missing, ", "))
	}
	return open("HelseID Selvbetjening does not say Active for %s", g.customer.Parent)
}

// checkHERID asks Adresseregisteret about the HER-id.
func (g *guide) checkHERID(ctx context.Context) outcome {
	c := g.customer
	if c.HERID == "" {
		c.HERID = g.resolvedHERID()
	}
	if c.HERID == "" {
		return unchecked("the HER-id is not known yet: say --her-id, or write it into the registry")
	}
	parties, err := g.parties(ctx, []string{c.HERID})
	if err != nil {
		return unchecked("%s could not be asked: %s", nameAddresses, reason(err))
	}
	party, known := parties[c.HERID]
	var f journal.Finding
	o := journal.Organization{Orgnr: entry(c.tenant()), HERID: c.HERID, Parent: c.Parent}
	if !judgeParty(&f, journal.Journal{Organizations: []journal.Organization{o}}, o, party, known) || known && party.Active && party.Orgnr == c.Parent {
		return ok("the HER-id %s %s is in use and hangs on %s", c.HERID, party.Name, party.Orgnr)
	}
	return wrong("%s", withMend(f.Message, f.Mend))
}

// resolvedHERID is the HER-id that the registry leads to, "" = none.
func (g *guide) resolvedHERID() string {
	registry, err := g.load()
	if err != nil {
		return ""
	}
	c := g.customer
	r, _ := registry.Set().Resolve(journal.Ask{Parent: c.Parent, Child: c.Child, Journal: c.Journal}) // why not is the registry step's to say
	return r.HERID.Text
}

// checkRegistry looks for the tenant, and for errors on its way.
func (g *guide) checkRegistry(context.Context) outcome {
	registry, err := g.load()
	if err != nil {
		if broken, ok := errors.AsType[failure](err); ok && len(broken.findings) > 0 {
			first := broken.findings[0]
			return wrong("the registry is broken: %s: %s", first.place(), withMend(first.Message, first.Mend))
		}
		return open("there is no registry yet: %s", err)
	}
	c := g.customer
	t, there := registry.Tenant(c.Alias)
	switch {
	case !there:
		return open("the registry %s has no tenant %s", g.file, c.Alias)
	case t.Parent != c.Parent || t.Child != c.Child:
		return wrong("the tenant %s is another organization in the registry: parent %s, child %s", c.Alias, t.Parent, or(t.Child))
	case c.Journal != "" && !sameJournal(registry.Set(), t.Journal, c.Journal):
		return wrong("the tenant %s has the journal %s in the registry, and not %s", c.Alias, t.Journal, c.Journal)
	}
	g.customer.Journal = t.Journal
	e := g.explanation(registry, c.Alias, t)
	for _, f := range e.Findings {
		if f.Severity == severityError && f.Rule != "O8" {
			return wrong("%s: %s", f.Rule, withMend(f.Message, f.Mend))
		}
	}
	if !e.Resolved {
		return unchecked("the tenant is in the registry, which does not say what the journal holds")
	}
	if e.HERID == nil {
		return open("the registry leads to no HER-id yet")
	}
	return ok("the tenant is in the registry; SFM will find the HER-id %s by it", e.HERID.Value)
}

// sameJournal reports whether two ids lead to the same journal.
func sameJournal(set *journal.Set, a, b string) bool {
	return strings.EqualFold(a, b) || find(set, a) >= 0 && find(set, a) == find(set, b)
}

// checkToken gets a token for the tenant by reading the journal's organizations through a running sidecar.
func (g *guide) checkToken(ctx context.Context) outcome {
	r := g.organizations(ctx, g.customer.tenant())
	switch {
	case r.err != nil:
		return unchecked("no token was asked for: %v", r.err)
	case r.refusal != "":
		return wrong("the sidecar refused: %s", r.refusal)
	}
	return ok("HelseID gave a token for this tenant; SFM answered %d", r.status)
}

// written checks that SFM has the organization that a tenant is entered by. The token is that of with.
func (g *guide) written(with, of tenantmap.Tenant) func(context.Context) outcome {
	return func(ctx context.Context) outcome {
		r := g.organizations(ctx, with)
		active, there := r.active[entry(of)]
		switch {
		case r.err != nil:
			return unchecked("SFM was not asked: %v", r.err)
		case r.refusal != "":
			return unchecked("SFM was not asked: the sidecar refused: %s", r.refusal)
		case r.missingJournal():
			return open("SFM does not have the journal yet: it answered %d", r.status)
		case r.status != 200:
			return unchecked("SFM answered %d", r.status)
		case !there:
			return r.without(open("the journal is there, and %s is not written to it", entry(of)))
		case active:
			return ok("%s is written to the journal, and active", entry(of))
		}
		return ok("%s is written to the journal, not active", entry(of))
	}
}

// activated checks that the organization is active at SFM.
func (g *guide) activated(with, of tenantmap.Tenant) func(context.Context) outcome {
	return func(ctx context.Context) outcome {
		found := g.written(with, of)(ctx)
		if found.State == outcomeOK && !g.organizations(ctx, with).active[entry(of)] {
			return open("%s is written to the journal, not active", entry(of))
		}
		return found
	}
}

// checkSameJournal makes sure that the journal-id leads to the customer's old data, before anything is written.
func (g *guide) checkSameJournal(ctx context.Context) outcome {
	r := g.organizations(ctx, g.customer.tenant())
	switch {
	case r.err != nil:
		return unchecked("SFM was not asked: %v", r.err)
	case r.refusal != "":
		return wrong("the sidecar refused: %s", r.refusal)
	case r.missingJournal():
		return wrong("SFM answered %d: it does not know this SFM-id for these organizations. Write nothing with it: that would make a new, empty journal", r.status)
	case r.status != 200:
		return unchecked("SFM answered %d", r.status)
	case len(r.active) == 0:
		return r.without(wrong("the journal holds no organization: it is not the one with the customer's data"))
	}
	return ok("the SFM-id leads to a journal with %s", count(len(r.active), "organization"))
}

// checkPassive makes sure that the new organization is active before the old one is passive (rule C7): otherwise
// everybody may be locked out, and the Aktør leaves RF.
func (g *guide) checkPassive(ctx context.Context) outcome {
	r := g.organizations(ctx, g.customer.tenant())
	if r.err != nil || r.refusal != "" || r.status != 200 {
		return g.written(g.customer.tenant(), g.customer.tenant())(ctx)
	}
	next, old := entry(g.customer.tenant()), entry(g.customer.old())
	_, nextThere := r.active[next]
	oldActive, oldThere := r.active[old]
	switch {
	case !nextThere:
		return r.without(wrong("%s is not written to the journal: leave %s as it is until it is, and active", next, old))
	case !r.active[next]:
		return wrong("%s is not active: leave %s as it is until it is", next, old)
	case !oldThere:
		return r.without(wrong("%s is active, and %s is not in the journal at all: compare --old-parent and --old-child", next, old))
	case oldActive:
		return open("%s is active, and %s still is too", next, old)
	}
	return ok("%s is active, and %s is not any more", next, old)
}

// checkNoted compares what the registry says with what SFM should be by now.
func (g *guide) checkNoted(context.Context) outcome {
	registry, err := g.load()
	if err != nil {
		return unchecked("the registry can't be read: %v", err)
	}
	set, c := registry.Set(), g.customer
	i := find(set, c.Journal)
	if i < 0 {
		return unchecked("the registry does not have the journal")
	}
	at := slices.IndexFunc(set.Journals[i].Organizations, func(o journal.Organization) bool { return o.Orgnr == entry(c.tenant()) })
	switch {
	case !set.Journals[i].Created:
		return open("the registry does not say created: true of the journal")
	case at < 0:
		return open("the registry does not have %s in the journal", entry(c.tenant()))
	case !set.Journals[i].Organizations[at].Active:
		return open("the registry does not say active: true of %s", entry(c.tenant()))
	}
	return ok("the registry says what SFM has")
}

// checkReady resolves the tenant once more.
func (g *guide) checkReady(context.Context) outcome {
	registry, err := g.load()
	if err != nil {
		return unchecked("the registry can't be read: %v", err)
	}
	t, there := registry.Tenant(g.customer.Alias)
	if !there {
		return open("the registry has no tenant %s", g.customer.Alias)
	}
	e := g.explanation(registry, g.customer.Alias, t)
	for _, f := range e.Findings {
		if f.Severity == severityError || f.Rule == "O8" {
			return open("%s: %s", f.Rule, withMend(f.Message, f.Mend))
		}
	}
	if !e.Resolved {
		return unchecked("the registry does not say what the journal holds")
	}
	missing := ""
	if e.Sender.Address == nil || e.Sender.Phone == nil {
		missing = "; the sender's address or telephone number is missing on prescriptions"
	}
	return ok("SFM will resolve it to the HER-id %s%s", e.HERID.Value, missing)
}

// withMend joins what is wrong and what to do about it, whether they are sentences or not.
func withMend(message, mend string) string {
	if strings.HasSuffix(message, ".") {
		return message + " " + mend
	}
	return message + "; " + mend
}
