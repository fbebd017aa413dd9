package desk

import (
	"context"
	"strings"
)

// commandMark begins a line of a step that is a command.
const commandMark = "$ "

// check is one check of a step.
type check = func(context.Context) outcome

// steps are those of the customer's plan, in the order in which they must be done.
func (g *guide) steps() []step {
	switch g.customer.Plan {
	case planSwitch:
		return g.switchSteps()
	case planNewOrgnr:
		return g.newOrgnrSteps()
	}
	return g.newSteps()
}

// planTitle says what a plan is for.
func planTitle(plan string) string {
	switch plan {
	case planSwitch:
		return "from a client of one organization to the client of many"
	case planNewOrgnr:
		return "a new organization number for a customer that has a journal"
	}
	return "a new customer with a journal of its own"
}

// groundwork is what must be in place at NHN before the first token.
func (g *guide) groundwork() []step {
	return []step{
		{id: "supplier", title: "You are a supplier that HelseID and SFM know", do: []string{
			"Once for all customers: the client of many organizations is approved at HelseID, the Authorization Code flow too.",
			"Once for all customers: NHN has registered the client's owner as supplier in SFM; ask NHN's customer centre by e-mail.",
		}},
		{id: "agreements", title: "Agreements", do: []string{
			"The customer, " + g.customer.Parent + ", signs NHN's agreements for HelseID and SFM. Add no customer before that.",
			"Organizations that share a journal must be allowed to: patients of others do not belong in it.",
		}},
		{id: "units", title: "Organization numbers", do: []string{
			"The parent is the top-level unit in Enhetsregisteret; the child, where there is one, hangs below it.",
			"HelseID does not compare the two: a child of somebody else would get a token.",
		}, checks: []check{g.checkUnits}},
		{id: "delegation", title: "Delegation in Altinn, at the parent", do: []string{
			"The customer delegates to the owner of the HelseID client. It is done at " + g.customer.Parent + ", never at a child.",
			"In NHN's test environment there is no Altinn: the supplier adds the delegation for synthetic organizations itself.",
		}},
		{id: "status", title: "Active in HelseID Selvbetjening", do: []string{
			"The tab for tenants must say Active: delegation and agreements are in place.",
		}, checks: []check{g.checkStatus}},
	}
}

// finish is what remains once the organization is active.
func (g *guide) finish() []step {
	return []step{
		{id: "epjinfo", title: "epjinfo", do: []string{
			"Every organization carries epjinfo: system code, name and version of the EPJ. The system code is NHN's, in its letter case.",
			"Write it again at each new version of the EPJ: RF shows it as the system behind the Aktør.",
		}},
		{id: "noted", title: "The registry says what SFM has", do: []string{
			"In the registry: created: true on the journal, active: true on the organization.",
		}, checks: []check{g.checkNoted}},
		{id: "ready", title: "Ready for the first prescription", do: []string{
			"Look at the HER-id and the sender that RF and the pharmacy will see:",
			commandMark + "sidecar tenants explain " + quoted(g.customer.Alias) + g.elsewhere(),
			"Write a first prescription together with the customer, and see that RF's answer comes back to this journal.",
		}, checks: []check{g.checkReady}},
	}
}

func (g *guide) newSteps() []step {
	c := g.customer
	t := c.tenant()
	return append(append(g.groundwork(),
		step{id: "her-id", title: "HER-id", do: []string{
			"The organization, or one above it by part_of, has a HER-id in Adresseregisteret: it becomes the Aktør in RF.",
			"A HER-id belongs to one journal. RF sends what comes back by it.",
		}, checks: []check{g.checkHERID}},
		step{id: "registry", title: "journal-id and registry", do: []string{
			"The journal-id is made here, once, and kept for good: another one would be another, empty journal.",
			g.addCommand(""),
		}, checks: []check{g.checkRegistry}},
		step{id: "token", title: "The first token", do: append([]string{
			"A person who is to be the customer's administrator logs in at security level 4. Whoever makes the journal becomes its administrator.",
		}, g.tokenAlone()...), checks: []check{g.checkToken}},
		step{id: "create", title: "Make the journal: POST " + g.path(), do: []string{
			"Send Sfm-Journal-Intent: new. The sidecar first asks SFM that the journal is not there yet.",
			"The resource has active=false, the SFM-id " + or(c.Journal) + " and the organization number " + entry(t) + ".",
		}, checks: []check{g.written(t, t)}},
		step{id: "people", title: "Practitioners and persons", do: []string{
			"Write sfm-Practitioner for everybody who prescribes, sfm-Person for everybody else who works in SFM; somebody who is both needs both.",
			"An sfm-Person has either a national identity number or a D-number.",
		}},
		step{id: "activate", title: "Activate", do: []string{
			"GET " + g.path() + ", set active=true, PUT. The first active organization with a HER-id makes the Aktør in RF.",
		}, checks: []check{g.activated(t, t)}},
	), g.finish()...)
}

func (g *guide) switchSteps() []step {
	c := g.customer
	return append(append(g.groundwork(),
		step{id: "sfm-id", title: "The SFM-id becomes the journal-id", do: []string{
			"The SFM-id is in every token of the customer's own client: the claim e-helse:sfm.api/client/claims/sfm-id.",
			"Use exactly that as journal-id. With a new one the customer would begin with an empty journal.",
		}},
		step{id: "registry", title: "Registry", do: []string{g.addCommand(" --sfm-id " + or(c.Journal) + " --active")}, checks: []check{g.checkRegistry}},
		step{id: "data", title: "See that it is the same journal, before anything is written", do: append([]string{
			"GET " + g.path() + " must answer 200 with the customer's organizations.",
			"The answers 401, 403 and 404 mean that SFM does not know the id: stop, and write nothing.",
		}, g.tokenAlone()...), checks: []check{g.checkToken, g.checkSameJournal}},
		step{id: "compare", title: "Compare", do: []string{
			"Open a known patient in both set-ups: the medication list must be the same.",
		}},
		step{id: "retire", title: "Retire the customer's own client", do: []string{
			"Once every user works with the new set-up: take the old client out of use in HelseID Selvbetjening. The data stay in the journal.",
		}},
	), g.finish()...)
}

func (g *guide) newOrgnrSteps() []step {
	c := g.customer
	next, old := c.tenant(), c.old()
	return append(append(g.groundwork(),
		step{id: "registry", title: "Registry: the new organization, the same journal", do: []string{
			g.addCommand(" --journal " + or(c.Journal)),
			"The old tenant stays in the registry until nobody uses it.",
		}, checks: []check{g.checkRegistry}},
		step{id: "create", title: "Write the new organization with the OLD one's token", do: []string{
			"With a token of " + entry(old) + " and the same journal-id: GET " + g.path() + ", then POST the new organization.",
			"Send Sfm-Journal-Intent: existing. The resource has active=false and the organization number " + entry(next) + ".",
		}, checks: []check{g.written(old, next)}},
		step{id: "activate", title: "Activate the new organization", do: []string{
			"PUT it with active=true, before anything happens to the old one.",
		}, checks: []check{g.activated(old, next)}},
		step{id: "token", title: "The first token of the new organization", do: append([]string{
			"Log in for " + entry(next) + " with the same journal-id: the patients must be there.",
		}, g.tokenAlone()...), checks: []check{g.checkToken, g.activated(next, next)}},
		step{id: "passive", title: "Only now: the old organization passive", do: []string{
			"PUT " + entry(old) + " with active=false. Done earlier, this can lock everybody out of the journal.",
		}, checks: []check{g.checkPassive}},
	), g.finish()...)
}

// path is where organizations are written, at the sidecar.
func (g *guide) path() string { return "/" + g.upstream + "/Organization" }

// addCommand is the command that writes the tenant into the registry.
func (g *guide) addCommand(more string) string {
	c := g.customer
	words := []string{commandMark + "sidecar tenants add --alias", quoted(c.Alias), "--parent", c.Parent}
	if c.Child != "" {
		words = append(words, "--child", c.Child)
	}
	herID := "HERID"
	if c.HERID != "" {
		herID = quoted(c.HERID)
	}
	words = append(words, "--her-id", herID)
	return strings.Join(words, " ") + more + " --name NAME --address ADDRESS --phone PHONE" + g.elsewhere()
}

// tokenAlone says how HelseID can be asked for the tenant's token before there is a sidecar to call. The tenant is named by
// its numbers, which are good with any registry, and without one.
func (g *guide) tokenAlone() []string {
	c := g.customer
	who := strings.Join(nonEmpty(c.Parent, c.Child), ":")
	journalID := c.Journal
	if journalID == "" {
		journalID = "JOURNAL" // a step before makes it
	}
	return []string{"Where no sidecar runs yet, this shows whether HelseID gives the token:", commandMark + "sidecar check --login " + who + "@" + journalID}
}

// quoted is a word for a shell.
func quoted(word string) string {
	if word == "" || strings.ContainsAny(word, " \t\n'\"\\$`!*?[]{}()<>|&;~#") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}
