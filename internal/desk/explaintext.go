package desk

import (
	"bytes"
	"encoding/json"
	"strings"
)

// maxSharing is how many organizations of the same Aktør are named.
const maxSharing = 5

// printExplanation draws an explanation for people.
func (d *desk) printExplanation(e explanation) {
	p := d.out
	p.table(0, e.head())
	if len(e.Walk) > 0 {
		p.say("\n%s\n", p.paint(bold, "How SFM walks from there"))
		p.table(2, e.tree())
		p.say("\n%s\n", p.paint(bold, "What comes of it"))
		p.table(2, e.outcome())
	}
	if e.Token != nil {
		p.say("\n%s\n", p.paint(bold, "What the token request says ("+e.Token.Claim+")"))
		p.say("%s", styled(indented(e.Token.Value)))
	}
	p.say("\n%s\n", p.paint(bold, "Findings"))
	if len(e.Findings) == 0 {
		p.say("  %s\n", p.paint(green, "none: SFM resolves this tenant as the registry means it"))
		return
	}
	p.findings(e.Findings)
}

// head says whose token it is, which journal it leads to, and where SFM enters it.
func (e explanation) head() [][]cell {
	who := "parent " + e.Tenant.Parent
	if e.Tenant.Child != "" {
		who += ", child " + e.Tenant.Child
	}
	if e.Tenant.Alias != "" {
		who = e.Tenant.Alias + ": " + who
	}
	rows := [][]cell{{{"Tenant", bold}, {who, ""}}}
	switch {
	case e.Journal == nil:
		return append(rows, []cell{{"Journal", bold}, {e.Tenant.Journal + ": not in the registry", red}})
	case e.Journal.ByAlias:
		rows = append(rows, []cell{{"Journal", bold}, {e.Journal.text(), ""}},
			[]cell{{}, {"found by its further id " + e.Journal.FoundBy, ""}})
	default:
		rows = append(rows, []cell{{"Journal", bold}, {e.Journal.text(), ""}}, []cell{{}, {"found by its journal-id", ""}})
	}
	switch {
	case len(e.Walk) == 0:
		return append(rows, []cell{{"Entry", bold}, {"none: SFM finds no organization to begin with", red}})
	case e.Fallback:
		return append(rows, []cell{{"Entry", bold}, {e.Walk[0].text() + ", the parent:", yellow}},
			[]cell{{}, {"the child " + e.Tenant.Child + " is not written to this journal, and SFM falls back", yellow}})
	case e.Tenant.Child == "":
		return append(rows, []cell{{"Entry", bold}, {e.Walk[0].text() + ", the parent", ""}})
	}
	return append(rows, []cell{{"Entry", bold}, {e.Walk[0].text() + ", the child", ""}})
}

func (j foundBy) text() string {
	state := ", not made in SFM yet"
	if j.Created {
		state = ", exists in SFM"
	}
	return strings.TrimSpace(j.ID+" "+j.Name) + state
}

func (h hop) text() string { return strings.TrimSpace(h.Orgnr + " " + h.Name) }

// tree draws the walk: each organization below the one that is part of it, with what SFM takes from it.
func (e explanation) tree() [][]cell {
	var rows [][]cell
	for i, h := range e.Walk {
		branch := ""
		if i > 0 {
			branch = strings.Repeat("   ", i-1) + "└─ "
		}
		active, her := cell{"active", green}, cell{"no HER-id", dim}
		if !h.Active {
			active = cell{"passive", yellow}
		}
		if h.HERID != "" {
			her = cell{"HER-id " + h.HERID, ""}
		}
		rows = append(rows, []cell{{branch + h.Orgnr, ""}, {h.Name, ""}, active, her, {e.taken(i), dim}})
	}
	if e.Cycle {
		rows = append(rows, []cell{{strings.Repeat("   ", len(e.Walk)-1) + "└─ and back to one of these: part_of goes in a circle", red}})
	}
	return rows
}

// taken says what SFM takes from the organization at one step.
func (e explanation) taken(step int) string {
	var all []string
	if step == 0 {
		all = append(all, "entry")
	}
	orgnr := e.Walk[step].Orgnr
	for _, one := range []struct {
		what string
		from *sourced
	}{{"Aktør", e.HERID}, {"address", e.Sender.Address}, {"phone", e.Sender.Phone}} {
		if one.from != nil && one.from.From == orgnr {
			all = append(all, one.what)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "← " + strings.Join(all, ", ")
}

// outcome is what RF and a prescription will show.
func (e explanation) outcome() [][]cell {
	rows := [][]cell{e.row("Aktør in RF", "HER-id ", e.HERID)}
	for i, other := range e.Sharing {
		if i == maxSharing {
			rows = append(rows, []cell{{}, {}, {"and with " + count(len(e.Sharing)-i, "more organization"), dim}})
			break
		}
		rows = append(rows, []cell{{}, {}, {"shared with " + other.text(), dim}})
	}
	sender := func(name string, wide, strict *sourced) {
		rows = append(rows, e.row(name, "", wide))
		if wide == nil || strict != nil && *wide == *strict {
			return
		}
		other := "nothing"
		if strict != nil {
			other = strict.Value
		}
		rows = append(rows, []cell{{}, {other, yellow}, {"if SFM stops at the organization of the HER-id: NHN's text has both readings", dim}})
	}
	sender("sender's address", e.Sender.Address, e.Sender.StrictAddress)
	sender("sender's phone", e.Sender.Phone, e.Sender.StrictPhone)
	return rows
}

func (e explanation) row(name, prefix string, v *sourced) []cell {
	if v == nil {
		return []cell{{name, ""}, {"none", yellow}}
	}
	from := v.From
	for _, h := range e.Walk {
		if h.Orgnr == v.From {
			from = h.text()
		}
	}
	return []cell{{name, ""}, {prefix + v.Value, bold}, {"from " + from, dim}}
}

// indented is JSON as people read it, two spaces from the edge. It was made here and holds no control characters: JSON
// escapes them.
func indented(value json.RawMessage) string {
	var b bytes.Buffer
	b.WriteString("  ")
	if json.Indent(&b, value, "  ", "  ") != nil {
		return "  (nothing)\n"
	}
	b.WriteString("\n")
	return b.String()
}
