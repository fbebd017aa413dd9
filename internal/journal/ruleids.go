package journal

import (
	"fmt"
	"strings"
)

// The J rules: ids, HER-ids and organization numbers across journals.

// j1 asks for the form of every id. The UUID of zeros is what an unset variable looks like in many languages.
func j1(x *Index) []Finding {
	var all []Finding
	for i := range x.set.Journals {
		for alias, id := range x.set.Journals[i].ids() {
			all = append(all, judgeID(id, atID(idPlace{i, alias}))...)
		}
	}
	return all
}

func j1Ask(_ *Index, ask Ask, tenant int) []Finding {
	return judgeID(ask.Journal, atTenant(tenant, "journal"))
}

func judgeID(id string, at Place) []Finding {
	switch {
	case id == "":
		return one("J1", Error, at, "The journal-id is missing.\nMint a UUID once for each customer's journal, and never change it.")
	case !IsUUID(id):
		return one("J1", Error, at, fmt.Sprintf("%s is no journal-id: it is not a UUID.\n"+
			"Write 8-4-4-4-12 hexadecimal digits with hyphens, as in 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35.", clean(id)))
	case strings.Trim(id, "0-") == "":
		return one("J1", Error, at, "The journal-id is the UUID of zeros, which is no journal's.\nWrite the id of the customer's journal.")
	}
	return nil
}

// j2 reports every id that has been taken by another journal, or by the same.
func j2(x *Index) []Finding {
	var all []Finding
	for i := range x.set.Journals {
		for alias, id := range x.set.Journals[i].ids() {
			here := idPlace{i, alias}
			first, ok := x.find(id)
			switch {
			case !ok || first == here:
			case first.journal == i:
				all = append(all, one("J2", Error, atID(here), fmt.Sprintf("The id %s stands twice in %s.\n"+
					"Write it once.", clean(id), x.journal(i)))...)
			default:
				all = append(all, x.claimed(id, first.journal, here)...)
			}
		}
	}
	return all
}

func (x *Index) claimed(id string, first int, here idPlace) []Finding {
	return one("J2", Error, atID(here), fmt.Sprintf("The id %s belongs to two journals: to %s and to %s. SFM knows one of them by it, and the other's patients "+
		"would be looked for there.\nFind out which journal SFM opens with this id, and give the other its own.",
		clean(id), x.journal(first), x.journal(here.journal)))
}

// j2Ask reports that the id of a token is one of several journals'. Only a resolution asks so; a file shows it at the journals.
func (x *Index) j2Ask(ask Ask) []Finding {
	for _, broken := range x.repeated[strings.ToLower(ask.Journal)] {
		first, _ := x.find(ask.Journal)
		if broken.journal != first.journal {
			return x.claimed(ask.Journal, first.journal, broken)
		}
	}
	return nil
}

// j4 looks at a HER-id once, from the first organization that has it, and reports it once in each further journal.
func j4(x *Index, n int) []Finding {
	if x.users[plainHERID(x.nodes[n].HERID)] != n || !filled(x.nodes[n].HERID) {
		return nil
	}
	var all []Finding
	last := x.nodes[n].journal
	for other := x.nodes[n].sharer; other != none; other = x.nodes[other].sharer {
		if x.nodes[other].journal != last {
			last = x.nodes[other].journal
			all = append(all, x.astray(other, n)...)
		}
	}
	return all
}

func (x *Index) astray(here, other int) []Finding {
	return one("J4", Error, x.at(here, "her_id"), fmt.Sprintf("HER-id %s is used in two journals: by %s in %s, and by %s in %s. Messages from RF find their journal "+
		"by the HER-id, so one of the two will not get its own.\nKeep the HER-id in one journal; ask for another HER-id in Adresseregisteret for the other.",
		clean(x.nodes[here].HERID), x.organization(here), x.journal(x.nodes[here].journal), x.organization(other), x.journal(x.nodes[other].journal)))
}

// j4Way reports that the HER-id of a way is also another journal's.
func (x *Index) j4Way(n int) []Finding {
	her := x.nodes[n].her
	if her == none {
		return nil
	}
	other := x.users[plainHERID(x.nodes[her].HERID)]
	if x.nodes[other].journal == x.nodes[her].journal {
		other = x.nodes[other].beyond
	}
	if other == none {
		return nil
	}
	return x.astray(her, other)
}

// j6 reports a field with several HER-ids in it.
func j6(x *Index, n int) []Finding {
	if !hasSeveral(x.nodes[n].HERID) {
		return nil
	}
	return one("J6", Error, x.at(n, "her_id"), fmt.Sprintf("%s has more than one HER-id: %s. SFM keeps one for each organization.\n"+
		"Write one; organizations that need another Aktør in RF are written to SFM by themselves.", x.organization(n), clean(x.nodes[n].HERID)))
}

func hasSeveral(herID string) bool {
	numbers := strings.FieldsFunc(herID, func(r rune) bool { return r < '0' || r > '9' })
	return len(numbers) > 1
}

// j7 looks at all organizations of one number in one journal, from the first. J8 is the exception from it, of uncertain
// shape: we take it for several HER-ids of one number, all but one of them part of something.
func j7(x *Index, n int) []Finding { return x.twins(n, "J7") }

func j8(x *Index, n int) []Finding { return x.twins(n, "J8") }

func (x *Index) twins(n int, rule string) []Finding {
	first := &x.nodes[n]
	if first.twin == none || x.first(first.journal, first.Orgnr) != n {
		return nil
	}
	if excepted := x.excepted(n); excepted != (rule == "J8") {
		return nil
	} else if excepted {
		return one("J8", Warning, x.at(first.twin, "orgnr"), fmt.Sprintf("%s is written more than once to %s, with different HER-ids. SFM's documentation allows "+
			"that \"with partOf\", without saying which of them a token enters at; we take the first.\n"+
			"Try it in the test environment, and ask Norsk helsenett before production.", x.organization(n), x.journal(first.journal)))
	}
	var all []Finding
	for other := first.twin; other != none; other = x.nodes[other].twin {
		all = append(all, one("J7", Error, x.at(other, "orgnr"), fmt.Sprintf("The organization number %s is written more than once to %s, so it is not certain "+
			"which of them a token enters at.\nKeep one organization for each number; other departments have sub-units with numbers of their own.",
			clean(first.Orgnr), x.journal(first.journal)))...)
	}
	return all
}

func (x *Index) excepted(n int) bool {
	hers := make(map[string]bool)
	free := 0
	for ; n != none; n = x.nodes[n].twin {
		her := plainHERID(x.nodes[n].HERID)
		if her == "" || hers[her] {
			return false
		}
		hers[her] = true
		if x.nodes[n].PartOf == "" {
			free++
		}
	}
	return free <= 1
}

// j10 reports a number that finds the same HER-id in two journals, its own or one from above.
func j10(x *Index) []Finding {
	type asActor struct{ orgnr, her string }
	met := make(map[asActor]int)
	var all []Finding
	for n := range x.nodes {
		at := &x.nodes[n]
		if at.her == none || at.Orgnr == "" || (at.double == none && x.homes[at.Orgnr] == n) {
			continue
		}
		key := asActor{at.Orgnr, plainHERID(x.nodes[at.her].HERID)}
		first, ok := met[key]
		if !ok {
			met[key] = n
			continue
		}
		if at.journal != x.nodes[first].journal {
			all = append(all, one("J10", Error, x.at(n, "her_id"), fmt.Sprintf("%s is written to %s and to %s and has the HER-id %s in both. "+
				"It may be in both, but then as two Aktører.\nGet a HER-id of its own for the second journal in Adresseregisteret.",
				x.organization(n), x.journal(x.nodes[first].journal), x.journal(at.journal), clean(x.nodes[at.her].HERID)))...)
		}
	}
	return all
}
