package journal

import (
	"fmt"
	"slices"
	"strings"
)

// The H, S and T rules: the way to the HER-id, the sender, and who shares a journal.

func h1(x *Index, n int) []Finding {
	if x.nodes[n].her != none {
		return nil
	}
	return []Finding{x.noHERID(n)}
}

// h1Lint leaves out what follows from a circle, which rule H2 tells of.
func h1Lint(x *Index, n int) []Finding {
	if x.nodes[n].cycle {
		return nil
	}
	return h1(x, n)
}

func (x *Index) noHERID(n int) Finding {
	return one("H1", Error, x.at(n, "her_id"), fmt.Sprintf("SFM finds no HER-id for %s in %s%s: neither it nor what it is part of has one. Without a HER-id there is "+
		"no Aktør in RF, and prescribing fails.\nWrite the HER-id that Adresseregisteret has for it, or link it with part_of to an organization that has one.",
		x.organization(n), x.journal(x.nodes[n].journal), x.askers(n)))[0]
}

// h2 reports what is part of an organization that is not there, and each cycle once, at its first organization.
func h2(x *Index) []Finding {
	all := everywhere(h2Missing)(x)
	done := make(map[int]bool)
	for n := range x.nodes {
		if cycle := x.cycleOf(n, done); cycle != nil {
			all = append(all, x.inCircle(cycle)...)
		}
	}
	return all
}

// cycleOf returns the cycle that an organization's way ends in, unless that is done, and then it is.
func (x *Index) cycleOf(n int, done map[int]bool) []int {
	if !x.nodes[n].cycle {
		return nil
	}
	var path []int
	seen := make(map[int]int)
	for at := n; !done[at]; at = x.nodes[at].up {
		if begin, met := seen[at]; met {
			for _, passed := range path {
				done[passed] = true
			}
			return path[begin:]
		}
		seen[at] = len(path)
		path = append(path, at)
	}
	for _, passed := range path {
		done[passed] = true
	}
	return nil
}

func (x *Index) inCircle(cycle []int) []Finding {
	first := slices.Index(cycle, slices.Min(cycle))
	cycle = append(slices.Clone(cycle[first:]), cycle[:first]...)
	n := cycle[0]
	text := fmt.Sprintf("%s is part of itself", x.organization(n))
	if len(cycle) > 1 {
		text = fmt.Sprintf("These organizations are part of each other in a circle: %s", x.several(cycle))
	}
	return one("H2", Error, x.at(n, "part_of"), text+". SFM would never come to the top.\n"+
		"Remove part_of at the one that is the topmost.")
}

func h2Missing(x *Index, n int) []Finding {
	at := &x.nodes[n]
	if at.PartOf == "" || at.up != none {
		return nil
	}
	return one("H2", Error, x.at(n, "part_of"), fmt.Sprintf("%s is part of %s, which is not written to %s.%s\n"+
		"Write the upper organization to the same journal first, then the lower one.",
		x.organization(n), clean(at.PartOf), x.journal(at.journal), x.elsewhere(Ask{Child: at.PartOf}, at.journal)))
}

// h3 asks for the form of a HER-id. Whether it exists is asked of Adresseregisteret.
func h3(x *Index, n int) []Finding {
	her := x.nodes[n].HERID
	if !filled(her) || isHERID(her) || hasSeveral(her) {
		return nil // several are rule J6's
	}
	return one("H3", Error, x.at(n, "her_id"), fmt.Sprintf("%s has a HER-id that is none: %s.\n"+
		"Write the digits that Adresseregisteret has for it, without spaces and leading zeros.", x.organization(n), clean(her)))
}

// h4 can't see which tjeneste an organization provides. That the sharers belong to different legal units is the sign that a
// file can show.
func h4(x *Index, n int) []Finding {
	at := &x.nodes[n]
	if !filled(at.HERID) || at.ahead != none && x.nodes[at.ahead].journal == at.journal {
		return nil // the first of a journal speaks for all
	}
	unit := ""
	for other := n; other != none && x.nodes[other].journal == at.journal; other = x.nodes[other].sharer {
		switch theirs := x.legalUnit(other); {
		case unit == "":
			unit = theirs
		case theirs != "" && theirs != unit:
			return one("H4", Warning, x.at(other, "her_id"), fmt.Sprintf("HER-id %s is shared by organizations of two legal units, %s and %s. Those that share one "+
				"should provide the same tjeneste.\nMake sure that they do; otherwise ask for a HER-id for each in Adresseregisteret.",
				clean(at.HERID), clean(unit), clean(theirs)))
		}
	}
	return nil
}

// s1 reports what a sender lacks, and what only one reading of the documentation finds.
func s1(x *Index, n int) []Finding {
	at := &x.nodes[n]
	if at.cycle {
		return nil // H2's
	}
	return append(x.sender(n, at.address, at.addressAbove, "address"), x.sender(n, at.phone, at.phoneAbove, "phone")...)
}

func (x *Index) sender(n, origin int, above bool, field string) []Finding {
	word := field
	if field == "phone" {
		word = "telephone number"
	}
	switch {
	case origin == none:
		return one("S1", Warning, x.at(n, field), fmt.Sprintf("Prescriptions of %s have no %s of the sender: neither it nor what it is part of has one.\n"+
			"Write the %s to the organization.", x.organization(n), word, word))
	case above:
		return one("S1", Warning, x.at(n, field), fmt.Sprintf("The sender's %s of %s stands only at %s, above the organization with the HER-id. Whether SFM looks "+
			"that far up is not documented.\nWrite the %s to %s itself, or to the organization with the HER-id.",
			word, x.organization(n), x.organization(origin), word, x.organization(n)))
	}
	return nil
}

// s2 reports each group of organizations that share a HER-id and one address that is not their own.
func s2(x *Index) []Finding {
	var all []Finding
	for _, key := range x.order {
		all = append(all, x.alike(x.alikes[key])...)
	}
	return all
}

// s2Way reports the group that an organization belongs to.
func s2Way(x *Index, n int) []Finding {
	key, ok := x.senderOf(n)
	if !ok {
		return nil
	}
	return x.alike(x.alikes[key])
}

type senderKey struct {
	journal, address int
	her              string
}

// senderOf is what an entry shares with those that look like it; false for one with an address of its own.
func (x *Index) senderOf(n int) (senderKey, bool) {
	at := &x.nodes[n]
	if at.her == none || at.address == none || at.address == n || !x.isEntry(n) {
		return senderKey{}, false
	}
	return senderKey{at.journal, at.address, plainHERID(x.nodes[at.her].HERID)}, true
}

// groupSenders groups the entries once, since every resolution asks for the group of its own.
func (x *Index) groupSenders() {
	for n := range x.nodes {
		key, ok := x.senderOf(n)
		if !ok {
			continue
		}
		if x.alikes[key] == nil {
			x.order = append(x.order, key)
		}
		x.alikes[key] = append(x.alikes[key], n)
	}
}

func (x *Index) alike(group []int) []Finding {
	if len(group) < 2 {
		return nil
	}
	n := group[0]
	return one("S2", Warning, x.at(n, "address"), fmt.Sprintf("These share a HER-id and have no address of their own, so their prescriptions carry the same sender, "+
		"that of %s: %s.\nWrite to each its own address, unless they are at the same.", x.organization(x.nodes[n].address), x.several(group)))
}

// t2 reports each journal that several legal units meet in, once.
func t2(x *Index) []Finding {
	var all []Finding
	units, told := make(map[string]string), make(map[string]bool)
	meet := func(key, unit string, at Place) {
		first := units[key]
		switch {
		case unit == "" || first == unit || told[key]:
		case first == "":
			units[key] = unit
		default:
			told[key] = true
			all = append(all, one("T2", Warning, at, fmt.Sprintf("Two legal units, %s and %s, share the journal %s, and so each other's patients.\n"+
				"Make sure that they have the agreement on a shared journal that the law demands; otherwise give each a journal of its own.",
				clean(first), clean(unit), clean(key)))...)
		}
	}
	for n := range x.nodes {
		journal := x.nodes[n].journal
		meet(strings.ToLower(x.set.Journals[journal].ID), x.legalUnit(n), Place{journal, none, none, "", 0})
	}
	for i, t := range x.set.Tenants {
		key, at := strings.ToLower(t.Journal), atTenant(i, "journal")
		if found, ok := x.find(t.Journal); ok {
			key = strings.ToLower(x.set.Journals[found.journal].ID)
			at = Place{found.journal, none, none, "", 0}
		}
		meet(key, t.Parent, at)
	}
	return all
}

// judgeAsk applies what can be said about a token before anything is looked up for it.
func (x *Index) judgeAsk(ask Ask, tenant int) []Finding {
	all := j1Ask(x, ask, tenant)
	all = append(all, x.j2Ask(ask)...)
	for _, rule := range []func(*Index, Ask, int) []Finding{o1Ask, o2Ask, o3Ask, o4Ask, o7Ask} {
		all = append(all, rule(x, ask, tenant)...)
	}
	return all
}

// judgeWay applies what can be said about the way from one organization upward.
func (x *Index) judgeWay(n int) []Finding {
	var all []Finding
	var passed map[int]bool // long ways are common in no set-up, and cost enough without it
	if x.nodes[n].cycle {
		passed = make(map[int]bool)
	}
	for at := n; at != none && !passed[at]; at = x.nodes[at].up {
		if passed != nil {
			passed[at] = true
		}
		for _, rule := range []func(*Index, int) []Finding{h2Missing, h3, j6, j7, j8} {
			all = append(all, rule(x, at)...)
		}
	}
	if cycle := x.cycleOf(n, make(map[int]bool)); cycle != nil {
		all = append(all, x.inCircle(cycle)...)
	}
	all = append(all, x.j4Way(n)...)
	for _, rule := range []func(*Index, int) []Finding{o8, h1, s1, s2Way} {
		all = append(all, rule(x, n)...)
	}
	return all
}
