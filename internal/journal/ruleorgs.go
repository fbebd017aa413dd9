package journal

import "fmt"

// The O rules: organization numbers, what they lie below, and where a token enters.

// o1 asks for the form of every organization number of a Set. A doubtful check digit is reported once for each number,
// where it stands first: some of Norsk helsenett's own test numbers do not fit.
func o1(x *Index) []Finding {
	var all []Finding
	doubted := make(map[string]bool)
	look := func(orgnr, what string, at Place) {
		found := judgeNumber(orgnr, what, at)
		if len(found) == 0 || found[0].Severity == Warning && doubted[orgnr] {
			return
		}
		doubted[orgnr] = true
		all = append(all, found...)
	}
	for n := range x.nodes {
		at := &x.nodes[n]
		if at.Orgnr == "" {
			all = append(all, one("O1", Error, x.at(n, "orgnr"), fmt.Sprintf("An organization in %s has no organization number.\n"+
				"Write the number from Enhetsregisteret (Brreg).", x.journal(at.journal)))...)
		}
		look(at.Orgnr, "The organization number", x.at(n, "orgnr"))
		look(at.PartOf, "The number of the organization above (part_of)", x.at(n, "part_of"))
		look(at.Parent, "The number of the legal unit (parent)", x.at(n, "parent"))
	}
	for i := range x.set.Tenants {
		look(x.set.Tenants[i].Parent, "The parent's organization number", atTenant(i, "parent"))
		look(x.set.Tenants[i].Child, "The child's organization number", atTenant(i, "child"))
	}
	return all
}

func o1Ask(_ *Index, ask Ask, tenant int) []Finding {
	return append(judgeNumber(ask.Parent, "The parent's organization number", atTenant(tenant, "parent")),
		judgeNumber(ask.Child, "The child's organization number", atTenant(tenant, "child"))...)
}

func judgeNumber(orgnr, what string, at Place) []Finding {
	switch {
	case orgnr == "":
		return nil
	case !IsOrgnr(orgnr):
		return one("O1", Error, at, fmt.Sprintf("%s is not nine digits: %s. HelseID refuses it (HID-1004).\n"+
			"Write nine digits without spaces, in quotes.", what, clean(orgnr)))
	case !CheckDigitFits(orgnr):
		return one("O1", Warning, at, fmt.Sprintf("%s has a check digit that does not fit: %s. One of its digits is wrong, or it is a made-up test number.\n"+
			"Compare it with Enhetsregisteret (Brreg).", what, orgnr))
	}
	return nil
}

// o2 finds legal units that someone else says lie below another. Whether Brreg knows them is asked of Brreg.
func o2(x *Index, n int) []Finding {
	at := &x.nodes[n]
	above, ok := x.units[at.Parent]
	if !ok || at.Parent == at.Orgnr {
		return nil
	}
	return one("O2", Error, x.at(n, "parent"), fmt.Sprintf("%s names %s as its legal unit (parent), but that lies below %s itself, says %s.\n"+
		"Write the topmost unit in Enhetsregisteret (Brreg) as parent, also where there are levels between.",
		x.organization(n), clean(at.Parent), clean(above.parent), x.said(above)))
}

func o2Ask(x *Index, ask Ask, tenant int) []Finding {
	above, ok := x.units[ask.Parent]
	if !ok || ask.Child == "" {
		return nil // without a child it is rule O3 that is broken
	}
	return one("O2", Error, atTenant(tenant, "parent"), fmt.Sprintf("The parent %s is not a legal unit: it lies below %s, says %s. HelseID looks for the delegation "+
		"at the parent and will not find it.\nAsk with the topmost unit in Enhetsregisteret (Brreg) as parent.", clean(ask.Parent), clean(above.parent), x.said(above)))
}

func o3Ask(x *Index, ask Ask, tenant int) []Finding {
	if ask.Parent == "" {
		return one("O3", Error, atTenant(tenant, "parent"), "There is no parent. A token for a sub-unit names both its legal unit and itself.\n"+
			"Write the legal unit's organization number as parent.")
	}
	above, ok := x.units[ask.Parent]
	if !ok || ask.Child != "" {
		return nil
	}
	return one("O3", Error, atTenant(tenant, "parent"), fmt.Sprintf("%s is asked for as a parent without a child, but it is a sub-unit: it lies below %s, says %s.\n"+
		"Ask with parent %s and child %s.", clean(ask.Parent), clean(above.parent), x.said(above), clean(above.parent), clean(ask.Parent)))
}

// o4 compares what is said about one number in several places.
func o4(x *Index, n int) []Finding {
	at := &x.nodes[n]
	if at.Parent != "" && at.Parent == at.Orgnr {
		return one("O4", Warning, x.at(n, "parent"), fmt.Sprintf("%s is named as its own legal unit (parent).\n"+
			"Leave parent out at a legal unit; at a sub-unit, write the unit that it lies below.", x.organization(n)))
	}
	above := x.units[at.Orgnr]
	if at.Parent == "" || above.parent == at.Parent || at.Orgnr == "" {
		return nil
	}
	return one("O4", Error, x.at(n, "parent"), fmt.Sprintf("%s lies below %s here, but below %s says %s.\n"+
		"An organization has one legal unit in Enhetsregisteret (Brreg): correct the one that is wrong.",
		x.organization(n), clean(at.Parent), clean(above.parent), x.said(above)))
}

func o4Ask(x *Index, ask Ask, tenant int) []Finding {
	if ask.Child == "" {
		return nil
	}
	if ask.Child == ask.Parent {
		return one("O4", Error, atTenant(tenant, "child"), fmt.Sprintf("The child %s is its own parent.\n"+
			"Leave the child out to ask for the legal unit itself; otherwise write the sub-unit's own number.", clean(ask.Child)))
	}
	above, ok := x.units[ask.Child]
	if !ok || ask.Parent == "" || above.parent == ask.Parent {
		return nil
	}
	return one("O4", Error, atTenant(tenant, "child"), fmt.Sprintf("The child %s is asked for below %s, but it lies below %s, says %s. HelseID does not check this "+
		"for multi-tenant clients, so the token would come and be wrong.\nAsk with the parent that Enhetsregisteret (Brreg) has for it.",
		clean(ask.Child), clean(ask.Parent), clean(above.parent), x.said(above)))
}

// o6Ask reports a tenant without a journal or without an entry in it, as far as the contents of journals are known.
func o6Ask(x *Index, ask Ask, tenant int) []Finding {
	at := x.enter(ask)
	switch {
	case at.node != none || len(x.set.Journals) == 0 || !IsUUID(ask.Journal):
		return nil
	case at.journal == none:
		return []Finding{x.noJournal(ask, tenant)}
	case len(x.set.Journals[at.journal].Organizations) == 0:
		return nil
	}
	return []Finding{x.noEntry(ask, tenant)}
}

func (x *Index) noJournal(ask Ask, tenant int) Finding {
	return one("O6", Error, atTenant(tenant, "journal"), fmt.Sprintf("No journal has the id %s. SFM would refuse every call but the making of an organization, "+
		"and that would make a new, empty journal.\nCompare the id with the customer's journal; for a new customer, register the journal first.", named(ask.Journal, "")))[0]
}

func (x *Index) noEntry(ask Ask, tenant int) Finding {
	at := x.enter(ask)
	who, field := "the parent "+named(ask.Parent, "")+" is not", "parent"
	if ask.Child != "" {
		who, field = "neither the child "+clean(ask.Child)+" nor the parent "+named(ask.Parent, "")+" is", "child"
	}
	return one("O6", Error, atTenant(tenant, field), fmt.Sprintf("SFM finds no organization for the token: %s written to %s.%s\n"+
		"Write the organization to SFM with this journal-id, or ask with the journal that it is written to.",
		who, x.journal(at.journal), x.elsewhere(ask, at.journal)))[0]
}

// elsewhere says where else an ask's organization is written.
func (x *Index) elsewhere(ask Ask, journal int) string {
	for _, orgnr := range []string{ask.Child, ask.Parent} {
		home, ok := x.homes[orgnr]
		if ok && x.nodes[home].journal != journal {
			return fmt.Sprintf(" %s is written to %s.", clean(orgnr), x.journal(x.nodes[home].journal))
		}
	}
	return ""
}

func o7Ask(x *Index, ask Ask, tenant int) []Finding {
	at := x.enter(ask)
	if !at.fallback {
		return nil
	}
	return one("O7", Warning, atTenant(tenant, "child"), fmt.Sprintf("The child %s is not written to %s, so SFM falls back to the parent %s, and prescriptions carry "+
		"the parent's name and sender.%s\nWrite the child to SFM, or ask without it.",
		clean(ask.Child), x.journal(at.journal), x.organization(at.node), x.elsewhere(Ask{Child: ask.Child}, at.journal)))
}

// o8 is lenient with a journal that is not in SFM yet: there organizations begin passive (rule C3).
func o8(x *Index, n int) []Finding {
	if x.nodes[n].Active {
		return nil
	}
	severity := Error
	if !x.set.Journals[x.nodes[n].journal].Created {
		severity = Warning
	}
	return one("O8", severity, x.at(n, "active"), fmt.Sprintf("%s is not active in %s%s. RF knows an Aktør only while an organization with its HER-id is active.\n"+
		"Once its practitioners are written, read the organization, set active to true, and write it back with PUT.",
		x.organization(n), x.journal(x.nodes[n].journal), x.askers(n)))
}
