package journal

import (
	"fmt"
	"net/http"
	"strings"
)

// Profile is the profile of every sfm-Organization.
const Profile = "http://ehelse.no/fhir/StructureDefinition/sfm-Organization"

// Create is what an EPJ is about to write with POST Organization, and what is known around it.
type Create struct {
	Ask     Ask    // the token that the call is made with
	Profile string // meta.profile of the resource
	SFMID   string // Identifier[SFM-id]
	Orgnr   string // Identifier[ENH]
	HERID   string // Identifier[HER-id]; may be empty
	PartOf  string // the organization number that partOf leads to; may be empty
	Active  bool
	New     bool // a new journal is meant, otherwise one that exists
	Guard   int  // HTTP status of GET Organization with the same token before the call; 0 = it was not asked
}

// CheckCreate judges the making of an organization by the rules C1 to C4, by J4, J7 and H2 with what the Set knows of SFM,
// and by what the token itself breaks. What the Set has of a journal that does not exist yet is a plan, and no obstacle.
func CheckCreate(s *Set, c Create) []Finding { return NewIndex(s).CheckCreate(c) }

// CheckCreate is [CheckCreate] on what has been read already.
func (x *Index) CheckCreate(c Create) []Finding {
	all := j1Ask(x, c.Ask, none)
	for _, rule := range []func(*Index, Ask, int) []Finding{o1Ask, o2Ask, o3Ask, o4Ask} {
		all = append(all, rule(x, c.Ask, none)...)
	}
	all = append(all, c1(c)...)
	if c.New {
		all = append(all, x.c2(c)...)
	} else {
		all = append(all, c4(c)...)
	}
	all = append(all, c3(c)...)
	return append(all, x.neighbours(c)...)
}

func c1(c Create) []Finding {
	var all []Finding
	if !strings.EqualFold(c.SFMID, c.Ask.Journal) {
		all = append(all, one("C1", Error, nowhereAt("id"), fmt.Sprintf("The organization's SFM-id is %s, the token's journal-id %s.\n"+
			"Write the journal-id of the token as Identifier[SFM-id].", named(c.SFMID, ""), named(c.Ask.Journal, "")))...)
	}
	want, role := c.Ask.Child, "child"
	if want == "" {
		want, role = c.Ask.Parent, "parent"
	}
	if c.Orgnr != want {
		all = append(all, one("C1", Error, nowhereAt("orgnr"), fmt.Sprintf("The organization's number is %s, the token's %s %s.\n"+
			"Write the organization with a token that is for this very organization.", named(c.Orgnr, ""), role, named(want, "")))...)
	}
	return all
}

// c2 judges by the answer to the guarding GET, and by what the Set knows. A journal that does not exist answers 401, 403
// or 404; any other answer proves nothing.
func (x *Index) c2(c Create) []Finding {
	var all []Finding
	if at, ok := x.find(c.Ask.Journal); ok && x.set.Journals[at.journal].Created {
		all = append(all, one("C2", Error, nowhereAt("journal"), fmt.Sprintf("A new journal is meant, but %s exists.\n"+
			"Say that an existing journal is meant, or mint another journal-id.", x.journal(at.journal)))...)
	}
	switch c.Guard {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	case 0:
		all = append(all, one("C2", Warning, nowhereAt("journal"), fmt.Sprintf("Nobody has asked SFM whether %s is unused.\n"+
			"Send GET Organization with the same token first: 401, 403 or 404 says that it is.", named(c.Ask.Journal, "")))...)
	case http.StatusOK:
		all = append(all, one("C2", Error, nowhereAt("journal"), fmt.Sprintf("A new journal is meant, but SFM knows one by %s.\n"+
			"Say that an existing journal is meant, or mint another journal-id.", named(c.Ask.Journal, "")))...)
	default:
		all = append(all, one("C2", Error, nowhereAt("journal"), fmt.Sprintf("SFM answered %d, which does not show that %s is unused.\n"+
			"Try again when SFM answers.", c.Guard, named(c.Ask.Journal, "")))...)
	}
	if n, ok := x.users[plainHERID(c.HERID)]; ok && filled(c.HERID) && !x.sameJournal(n, c.Ask) {
		all = append(all, one("C2", Error, nowhereAt("her_id"), fmt.Sprintf("The new journal's HER-id %s is used already, by %s in %s.\n"+
			"Ask for a HER-id of its own in Adresseregisteret.", clean(c.HERID), x.organization(n), x.journal(x.nodes[n].journal)))...)
	}
	return all
}

func (x *Index) sameJournal(n int, ask Ask) bool {
	at, ok := x.find(ask.Journal)
	return ok && at.journal == x.nodes[n].journal
}

func c3(c Create) []Finding {
	var all []Finding
	if c.Active {
		all = append(all, one("C3", Error, nowhereAt("active"), "A new organization must not be active.\n"+
			"Write it with active false, write its practitioners, and only then set it active with PUT.")...)
	}
	if c.Profile != Profile {
		all = append(all, one("C3", Error, nowhereAt("profile"), fmt.Sprintf("The organization's profile is %s.\nSet meta.profile to %s.",
			named(c.Profile, ""), Profile))...)
	}
	return all
}

func c4(c Create) []Finding {
	switch c.Guard {
	case http.StatusOK:
		return nil
	case 0:
		return one("C4", Warning, nowhereAt("journal"), fmt.Sprintf("Nobody has asked SFM whether the person is known in journal %s.\n"+
			"Send GET Organization with the same token first: 200 says so.", named(c.Ask.Journal, "")))
	}
	return one("C4", Error, nowhereAt("journal"), fmt.Sprintf("SFM answered %d for journal %s: it is not there, or the person is not known in it.\n"+
		"Let someone who is an sfm-Person of the journal add the organization, and compare the journal-id.", c.Guard, named(c.Ask.Journal, "")))
}

// neighbours compares a new organization with those that are there.
func (x *Index) neighbours(c Create) []Finding {
	at, known := x.find(c.Ask.Journal)
	var all []Finding
	if known && !c.New && x.first(at.journal, c.Orgnr) != none {
		all = append(all, one("J7", Error, nowhereAt("orgnr"), fmt.Sprintf("%s is written to %s already.\nChange it with PUT.",
			clean(c.Orgnr), x.journal(at.journal)))...)
	}
	if n, ok := x.users[plainHERID(c.HERID)]; ok && !c.New && filled(c.HERID) && !x.sameJournal(n, c.Ask) {
		all = append(all, one("J4", Error, nowhereAt("her_id"), fmt.Sprintf("HER-id %s is used in another journal, by %s in %s.\n"+
			"Ask for another HER-id in Adresseregisteret.", clean(c.HERID), x.organization(n), x.journal(x.nodes[n].journal)))...)
	}
	if c.PartOf != "" && (c.New || known && len(x.set.Journals[at.journal].Organizations) > 0 && x.first(at.journal, c.PartOf) == none) {
		all = append(all, one("H2", Error, nowhereAt("part_of"), fmt.Sprintf("%s is to be part of %s, which is not in the journal yet.\n"+
			"Write the upper organization first.", named(c.Orgnr, ""), clean(c.PartOf)))...)
	}
	return all
}

// Passive is an organization that an EPJ is about to set passive.
type Passive struct {
	Journal string // any id of the journal
	Orgnr   string
}

// CheckPassive judges setting an organization passive by rule C7, and says when an Aktør would leave RF with it. An
// organization that the Set does not know breaks rule O6.
func CheckPassive(s *Set, p Passive) []Finding { return NewIndex(s).CheckPassive(p) }

// CheckPassive is [CheckPassive] on what has been read already.
func (x *Index) CheckPassive(p Passive) []Finding {
	ask := Ask{Parent: p.Orgnr, Journal: p.Journal}
	at := x.enter(ask)
	switch {
	case at.journal == none:
		return []Finding{x.noJournal(ask, none)}
	case at.node == none:
		return []Finding{x.noEntry(ask, none)}
	case !x.nodes[at.node].Active:
		return nil
	}
	her, others, sharers := plainHERID(x.nodes[at.node].HERID), 0, 0
	begin := x.base[at.journal]
	for n := begin; n < begin+len(x.set.Journals[at.journal].Organizations); n++ {
		if n == at.node || !x.nodes[n].Active {
			continue
		}
		others++
		if plainHERID(x.nodes[n].HERID) == her {
			sharers++
		}
	}
	switch {
	case others == 0:
		return one("C7", Error, nowhereAt("active"), fmt.Sprintf("%s is the last active organization of %s. Without one nobody may be able to log in to set another active.\n"+
			"Write and activate the new organization first, with the same journal-id; then set this one passive.", x.organization(at.node), x.journal(at.journal)))
	case her != "" && sharers == 0:
		return one("C7", Warning, nowhereAt("active"), fmt.Sprintf("%s is the last active organization with HER-id %s: its Aktør leaves RF, and messages to it find no one.\n"+
			"Go on only if nothing is outstanding for this HER-id.", x.organization(at.node), clean(her)))
	}
	return nil
}

// Person is the identity of an sfm-Person. The values never leave the check.
type Person struct {
	FNR string // national identity number
	DNR string // d-number
}

// CheckPerson judges an sfm-Person by rule C5. The findings hold no number.
func CheckPerson(p Person) []Finding {
	text := ""
	switch {
	case filled(p.FNR) && filled(p.DNR):
		text = "The person has both a national identity number and a d-number.\nWrite the one that is valid."
	case !filled(p.FNR) && !filled(p.DNR):
		text = "The person has neither a national identity number nor a d-number.\nWrite the one that the person logs in with."
	default:
		return nil
	}
	return one("C5", Error, nowhereAt("identifier"), text)
}

// EPJInfo is the epjinfo extension of an sfm-Organization, which RF shows as the system behind an Aktør.
type EPJInfo struct {
	SystemCode string // issued by Norsk helsenett; letter case matters
	Version    string
}

// CheckEPJInfo judges what is written by what runs, by rule C6.
func CheckEPJInfo(written, running EPJInfo) []Finding {
	var all []Finding
	if written.SystemCode != running.SystemCode {
		how := "another"
		if strings.EqualFold(written.SystemCode, running.SystemCode) {
			how = "the same only without regard to letter case"
		}
		all = append(all, one("C6", Warning, nowhereAt("epjinfo"), fmt.Sprintf("The system code in epjinfo is %s, the running system's %s: %s.\n"+
			"Write the code exactly as Norsk helsenett issued it.", named(written.SystemCode, ""), named(running.SystemCode, ""), how))...)
	}
	if written.Version != running.Version {
		all = append(all, one("C6", Warning, nowhereAt("epjinfo"), fmt.Sprintf("The version in epjinfo is %s, the running system's %s.\n"+
			"Write epjinfo anew at each upgrade.", named(written.Version, ""), named(running.Version, "")))...)
	}
	return all
}
