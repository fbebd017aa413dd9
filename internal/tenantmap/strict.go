package tenantmap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"sfm-sidecar/internal/journal"
)

const (
	// maxDepth bounds nesting. A registry has five levels; what is deeper is wrong in any case.
	maxDepth = 16
	// maxText is the longest text, in bytes.
	maxText = 1000
	// maxFaults is how many faults are told of at once.
	maxFaults = 100
)

// part is what was read from a file or a piece of one.
type part struct {
	journals      []journal.Journal
	tenants       []journal.Tenant
	places        places // without files; first counts from the part's own beginning
	faults        Faults
	syntax, empty bool // what was read is no YAML; is nothing at all
}

// decoder turns the nodes of one file, or of a piece of it, into a part. It is strict: what it does not know, or what
// could be meant otherwise, is a fault.
type decoder struct {
	file   int
	name   string
	above  int // lines of the file before the text
	strict bool
	out    *part
	same   map[string]string // texts that come again and again, each kept once
}

// readWhole reads a file that is at hand.
func (d *decoder) readWhole(text []byte) {
	line := 0
	for content := range bytes.Lines(text) {
		line++
		if reason, mend := foreign(content); reason != "" {
			d.faultAt(line, 1, "this line "+reason, mend)
			return
		}
	}
	root := d.parse(text)
	if root == nil {
		return
	}
	d.fields(root, "the registry", []string{"journals", "tenants"}, func(i int, _, value *yaml.Node) {
		switch {
		case isNull(value):
		case i == 0:
			d.journals(value)
		default:
			d.tenants(value)
		}
	})
}

// readPiece reads a piece of a file.
func (d *decoder) readPiece(p piece) {
	root := d.parse(p.text)
	switch {
	case root == nil:
	case p.section == journalSection:
		d.journals(root)
	default:
		d.tenants(root)
	}
}

// parse is the only document in text, or nil.
func (d *decoder) parse(text []byte) (root *yaml.Node) {
	defer func() {
		if p := recover(); p != nil { // a fault of the library's must not end the process
			root = nil
			d.out.syntax = true
			d.faultAt(1, 1, "can't be read as YAML", "look at the file's form")
		}
	}()
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		panic("BUG: the loader's options: " + err.Error())
	}
	var document yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF):
		d.out.empty = true
		return nil
	case err != nil:
		d.noYAML(text, err)
		return nil
	}
	var next yaml.Node
	switch err := loader.Load(&next); {
	case err == nil:
		d.fault(&next, "a second document begins", "write one document; remove the line with three hyphens")
		return nil
	case !errors.Is(err, io.EOF):
		d.noYAML(text, err)
		return nil
	}
	root = &document
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		root = document.Content[0]
	}
	if isNull(root) {
		d.out.empty = true
		return nil
	}
	return root
}

// noYAML tells what the library found. Its texts speak of form, not of content, but for the name of an anchor.
func (d *decoder) noYAML(text []byte, err error) {
	d.out.syntax = true
	load, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		d.faultAt(1, 1, "can't be read as YAML", "look at the file's form")
		return
	}
	message, mend := "is not YAML: "+load.Message, "look for a bracket or quote that is not closed, a missing colon, or indentation that differs"
	switch {
	case strings.Contains(load.Message, "unknown anchor"):
		message, mend = noAlias, writeItOut
	case strings.Contains(load.Message, "exceeded max depth"):
		message, mend = fmt.Sprintf("is nested more than %d deep", maxDepth), "a registry has five levels; see docs/tenants.md"
	case load.ContextMsg != "":
		message = "is not YAML: " + load.ContextMsg + ", " + load.Message
	}
	if strings.HasPrefix(message, "is not YAML") && d.slipped(text, load.Mark.Line, load.ContextMsg+load.Message) {
		return
	}
	d.faultAt(max(load.Mark.Line, 1), load.Mark.Column+1, message, mend)
}

const (
	noAlias    = "an alias (*) stands for something else"
	writeItOut = "write out what is meant"
)

func (d *decoder) fault(n *yaml.Node, message, mend string) {
	d.faultAt(max(n.Line, 1), max(n.Column, 1), message, mend)
}

func (d *decoder) faultAt(line, column int, message, mend string) {
	if len(d.out.faults) <= maxFaults {
		d.out.faults = append(d.out.faults, Fault{Position{d.name, d.above + line, column}, message, mend})
	}
}

// enough reports so many faults that the rest need not be read: nothing of it will be used.
func (d *decoder) enough() bool { return len(d.out.faults) > maxFaults }

// journals reads the list of journals.
func (d *decoder) journals(list *yaml.Node) {
	for _, n := range d.list(list, "journals") {
		if d.enough() {
			return
		}
		d.journal(n)
	}
}

func (d *decoder) journal(n *yaml.Node) {
	at := newItem(d.file, d.above+n.Line, n.Column)
	var j journal.Journal
	var aliases []mark
	first, faults := len(d.out.places.organizations), len(d.out.faults)
	ok := d.fields(n, "the journal", journalFields, func(i int, _, value *yaml.Node) {
		at.at[i] = newMark(value.Line-n.Line, value.Column)
		switch i {
		case 0:
			j.ID, _ = d.uuid(value, "id")
		case 1:
			for _, alias := range d.list(value, "aliases") {
				if id, ok := d.uuid(alias, "the alias"); ok {
					j.Aliases = append(j.Aliases, id)
					aliases = append(aliases, newMark(alias.Line-n.Line, alias.Column))
				}
			}
		case 2:
			j.Name, _ = d.text(value, "name")
		case 3:
			j.Created = d.truth(value, "created")
		case 4:
			j.Organizations = d.organizations(value)
		}
	})
	if ok && at.at[0] == 0 && j.ID == "" && len(d.out.faults) == faults {
		d.fault(n, "the journal has no id", "write its journal-id, or let the command \"sidecar tenants add\" make one")
	}
	d.out.journals = append(d.out.journals, j)
	d.out.places.journals = append(d.out.places.journals, at)
	d.out.places.aliases = append(d.out.places.aliases, aliases)
	d.out.places.first = append(d.out.places.first, first)
}

func (d *decoder) organizations(list *yaml.Node) []journal.Organization {
	items := d.list(list, "organizations")
	var all []journal.Organization
	for _, n := range items {
		if d.enough() {
			break
		}
		at := newItem(d.file, d.above+n.Line, n.Column)
		var o journal.Organization
		texts := map[int]*string{1: &o.Name, 2: &o.HERID, 6: &o.Address, 7: &o.Phone}
		numbers := map[int]*string{0: &o.Orgnr, 4: &o.PartOf, 5: &o.Parent}
		ok := d.fields(n, "the organization", organizationFields, func(i int, _, value *yaml.Node) {
			at.at[i] = newMark(value.Line-n.Line, value.Column)
			name := organizationFields[i]
			switch {
			case texts[i] != nil:
				*texts[i], _ = d.text(value, name)
			case numbers[i] != nil:
				*numbers[i], _ = d.orgnr(value, name)
			default:
				o.Active = d.truth(value, name)
			}
		})
		if ok && at.at[0] == 0 {
			d.fault(n, "the organization has no orgnr", "write its organization number, nine digits in quotes")
		}
		all = append(all, o)
		d.out.places.organizations = append(d.out.places.organizations, at)
	}
	return all
}

// tenants reads the mapping of tenants. That an alias comes twice is seen later, when all pieces are together.
func (d *decoder) tenants(n *yaml.Node) {
	if !d.plain(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, "tenants is no mapping", "write a line for each tenant: its alias, a colon, and {parent: …, child: …, journal: …}")
		return
	}
	for i := 0; i+1 < len(n.Content) && !d.enough(); i += 2 {
		d.tenant(n.Content[i], n.Content[i+1])
	}
}

func (d *decoder) tenant(key, n *yaml.Node) {
	at := newItem(d.file, d.above+key.Line, key.Column)
	at.at[0] = newMark(0, key.Column)
	var t journal.Tenant
	t.Alias, _ = d.alias(key)
	ok := d.fields(n, "the tenant", tenantFields[1:], func(i int, _, value *yaml.Node) {
		at.at[i+1] = newMark(value.Line-key.Line, value.Column)
		switch i {
		case 0:
			t.Parent, _ = d.orgnr(value, "parent")
		case 1:
			t.Child, _ = d.orgnr(value, "child")
		case 2:
			t.Journal, _ = d.uuid(value, "journal")
		}
		if i < 2 && t.Child != "" && t.Child == t.Parent {
			d.fault(value, "child is "+t.Child+", the parent's own number", "leave child out when the parent itself is meant")
		}
	})
	if ok && at.at[1] == 0 {
		d.fault(key, "the tenant has no parent", "write the organization number of the top-level unit, also when a sub-unit is meant")
	}
	if ok && at.at[3] == 0 {
		d.fault(key, "the tenant has no journal", "write the id of the customer's journal")
	}
	d.out.tenants = append(d.out.tenants, t)
	d.out.places.tenants = append(d.out.places.tenants, at)
}

// fields hands over the members of a mapping, each with its index in names. It reports whether n is a mapping.
func (d *decoder) fields(n *yaml.Node, what string, names []string, set func(i int, key, value *yaml.Node)) bool {
	if !d.plain(n) {
		return false
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, what+" is no mapping", "write keys and values: "+strings.Join(names, ", "))
		return false
	}
	var seen [8]bool
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := -1
		if key.Kind == yaml.ScalarNode {
			at = slices.Index(names, key.Value)
		}
		switch {
		case !d.plain(key):
		case at < 0:
			d.fault(key, what+" has "+unknownKey(key), "the keys are "+strings.Join(names, ", "))
		case seen[at]:
			d.fault(key, what+" has "+names[at]+" a second time", "leave one of the two")
		default:
			seen[at] = true
			set(at, key, value)
		}
	}
	return true
}

// unknownKey names a key where that can give nothing away: it might be any text, a national identity number above all.
func unknownKey(key *yaml.Node) string {
	word := func(r rune) bool { return r != '_' && r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r)) }
	if key.Kind != yaml.ScalarNode || key.Value == "" || len(key.Value) > 40 || strings.ContainsFunc(key.Value, word) {
		return "a key that is not known"
	}
	return "the unknown key " + key.Value
}

// list is the items of a list.
func (d *decoder) list(n *yaml.Node, what string) []*yaml.Node {
	switch {
	case !d.plain(n):
		return nil
	case n.Kind != yaml.SequenceNode:
		d.fault(n, what+" is no list", "write each item on a line of its own, after a hyphen")
		return nil
	}
	return n.Content
}
