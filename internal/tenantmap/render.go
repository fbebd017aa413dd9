package tenantmap

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"sfm-sidecar/internal/journal"
)

// plainText is what needs no quotes: it begins with a letter and holds nothing that means something to YAML.
var plainText = regexp.MustCompile(`^\p{L}[\p{L}0-9.]*([ -][\p{L}0-9.]+)*$`)

// words are read as something else than text, by one YAML library or another.
var words = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|nan|inf|\.inf)$`)

// scalar writes a text. JSON's quoted form is YAML's too.
func scalar(s string) string {
	if journal.IsUUID(s) || plainText.MatchString(s) && !words.MatchString(s) {
		return s
	}
	return quoted(s)
}

func quoted(s string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string can't fail
	return strings.TrimSpace(out.String())
}

// members writes a mapping in braces; empty values are left out.
func members(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, pairs[i]+": "+pairs[i+1])
		}
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// number writes digits as text.
func number(s string) string {
	if s == "" {
		return ""
	}
	return quoted(s)
}

func optional(s string) string {
	if s == "" {
		return ""
	}
	return scalar(s)
}

func renderOrganization(o journal.Organization) string {
	return members("orgnr", number(o.Orgnr), "name", optional(o.Name), "her_id", number(o.HERID), "part_of", number(o.PartOf),
		"parent", number(o.Parent), "active", strconv.FormatBool(o.Active), "address", optional(o.Address), "phone", number(o.Phone))
}

func renderTenant(t journal.Tenant) string {
	return scalar(t.Alias) + ": " + members("parent", number(t.Parent), "child", number(t.Child), "journal", optional(t.Journal))
}

// renderJournal is a journal as an item of a list, one line each.
func renderJournal(j journal.Journal) []string {
	lines := []string{"- id: " + scalar(j.ID)}
	if len(j.Aliases) > 0 {
		var all []string
		for _, alias := range j.Aliases {
			all = append(all, scalar(alias))
		}
		lines = append(lines, "  aliases: ["+strings.Join(all, ", ")+"]")
	}
	if j.Name != "" {
		lines = append(lines, "  name: "+scalar(j.Name))
	}
	if j.Created {
		lines = append(lines, "  created: true")
	}
	if len(j.Organizations) > 0 {
		lines = append(lines, "  organizations:")
	}
	for _, o := range j.Organizations {
		lines = append(lines, "    - "+renderOrganization(o))
	}
	return lines
}
