package tenantmap

import (
	"cmp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"sfm-sidecar/internal/journal"
)

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain reports whether a node is written out, and says so where it is not. Anchors, aliases and tags are refused: what
// a registry says about a customer is to be seen at that customer.
func (d *decoder) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fault(n, noAlias, writeItOut)
	case n.Anchor != "":
		d.fault(n, "an anchor (&) gives something a name", "remove it, and write out what is meant wherever it was used")
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(n, "a tag (!) says how to read a value", "remove it; put text that looks like a number in quotes")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge":
		d.fault(n, "a merge key (<<) takes in something else", writeItOut)
	default:
		return true
	}
	return false
}

// text is a value that is text. Digits without quotes are not: YAML takes them for a number, and its zeros away.
func (d *decoder) text(n *yaml.Node, name string) (string, bool) {
	if !d.plain(n) {
		return "", false
	}
	kind, mend := "", ""
	switch {
	case n.Kind != yaml.ScalarNode:
		kind, mend = "is a list or mapping, not text", "write one value"
	case isNull(n), n.Value == "":
		kind, mend = "has no value", "write one, or leave "+name+" out"
	case n.ShortTag() != "!!str", n.Style == 0 && strings.Trim(n.Value, "0123456789") == "": // made text by a tag of no name
		kind, mend = "is "+cmp.Or(typeNames[n.ShortTag()], "a number")+" to YAML, not text", "put it in quotes"
	case len(n.Value) > maxText:
		kind, mend = "is too long", "write at most 1000 bytes"
	case strings.ContainsFunc(n.Value, unicode.IsControl):
		kind, mend = "has a line break or another control character", "write it on one line"
	default:
		return n.Value, true
	}
	d.fault(n, name+" "+kind, mend)
	return "", false
}

var typeNames = map[string]string{
	"!!int": "a number", "!!float": "a number", "!!bool": "a truth value", "!!timestamp": "a time", "!!binary": "binary data",
}

// truth is a value that is true or false.
func (d *decoder) truth(n *yaml.Node, name string) bool {
	if !d.plain(n) {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		d.fault(n, name+" is neither true nor false", "write true or false, without quotes")
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

// orgnr is a value that is an organization number. It is repeated only where it is one.
func (d *decoder) orgnr(n *yaml.Node, name string) (string, bool) {
	number, ok := d.text(n, name)
	switch {
	case !ok:
		return "", false
	case strings.ContainsAny(number, typographic):
		d.fault(n, name+" "+typographicQuotes, typePlainQuotes)
		return "", false
	case !journal.IsOrgnr(number):
		d.fault(n, name+shownDigits(number)+" is not an organization number", "write nine digits in quotes, without spaces")
		return "", false
	case d.strict && !journal.CheckDigitFits(number):
		d.fault(n, name+" is "+number+", whose check digit is wrong",
			"look for a mistyped digit; test numbers that fail the check need SIDECAR_ORGNR_CHECK=warn")
		return "", false
	}
	return d.once(number), true
}

// uuid is a value that is the id of a journal.
func (d *decoder) uuid(n *yaml.Node, name string) (string, bool) {
	id, ok := d.text(n, name)
	switch {
	case !ok:
		return "", false
	case strings.ContainsAny(id, typographic):
		d.fault(n, name+" "+typographicQuotes, typePlainQuotes)
		return "", false
	case !journal.IsUUID(id):
		d.fault(n, name+shownUUID(id)+" is not a UUID", "write 8-4-4-4-12 hexadecimal digits with hyphens")
		return "", false
	case strings.Trim(id, "0-") == "":
		d.fault(n, name+" is the UUID of zeros, which is no journal's", "write the id of the customer's journal")
		return "", false
	}
	return d.once(id), true
}

// shownDigits repeats digits that are not as many as a national identity number has.
func shownDigits(s string) string {
	if len(s) == 0 || len(s) > 10 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return " " + s
}

// shownUUID repeats what is a UUID but for a few digits.
func shownUUID(s string) string {
	if len(s) < uuidLength-4 || len(s) > uuidLength+4 || strings.Count(s, "-") < 3 || strings.Trim(strings.ToLower(s), "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return ""
	}
	return " " + s
}

// alias is the name of a tenant. It must come through a header as it was written.
func (d *decoder) alias(n *yaml.Node) (string, bool) {
	alias, ok := d.text(n, "the alias")
	if !ok {
		return "", false
	}
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(alias) > maxHeader || strings.ContainsFunc(alias, odd) || strings.TrimSpace(alias) != alias {
		d.fault(n, "the alias can't be sent in a header", "write at most 256 of a to z, digits and signs, no æøå")
		return "", false
	}
	return alias, true
}

// once makes equal texts of a part share their memory.
func (d *decoder) once(s string) string {
	if kept, ok := d.same[s]; ok {
		return kept
	}
	d.same[s] = s
	return s
}
