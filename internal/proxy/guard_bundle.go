package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// readBundle looks for a write of an Organization in the entries of a Bundle.
// readable is false when the body can't be judged: it is streamed, compressed or not
// strict JSON in UTF-8, which another reader may take for more. A body that is no
// Bundle is readable, and writes nothing.
func readBundle(b *payload, h http.Header) (readable, writes bool) {
	switch {
	case b.stream != nil:
		return false, false
	case len(h["Content-Encoding"]) > 0 && !strings.EqualFold(h.Get("Content-Encoding"), "identity"):
		return len(b.kept) == 0, false
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(b.kept, []byte("\ufeff")), " \t\r\n")
	switch {
	case len(text) == 0:
		return true, false
	case text[0] != '{':
		return false, false
	}
	var err error
	w := &bundleReader{dec: json.NewDecoder(bytes.NewReader(text))}
	if mayHold(text, `"entry"`, "organization") {
		err = w.object(w.root)
		w.writes = w.writes || w.bare && w.runs
	}
	return w.writes || err == nil && inUTF8(h) && utf8.Valid(text) && json.Valid(text), w.writes
}

// inUTF8 says whether the header lets a body be UTF-8.
func inUTF8(h http.Header) bool {
	for _, kind := range h["Content-Type"] {
		_, parameters, err := mime.ParseMediaType(kind)
		if err != nil && strings.Contains(strings.ToLower(kind), "charset") {
			return false
		}
		switch strings.ToLower(parameters["charset"]) {
		case "", "utf-8", "utf8":
		default:
			return false
		}
	}
	return true
}

// mayHold is a quick look whether all the words can be in a JSON text, in any
// letter case. An escape that stands for an ASCII letter, or a percent sign, could
// hide them. (That of æ, or of a quote, could not: many EPJs send those.)
func mayHold(text []byte, words ...string) bool {
	for rest := text; ; {
		i := bytes.Index(rest, []byte(`\u00`))
		if i < 0 || i+4 >= len(rest) {
			break
		}
		if '4' <= rest[i+4] && rest[i+4] <= '7' {
			return true
		}
		rest = rest[i+4:]
	}
	if bytes.IndexByte(text, '%') >= 0 {
		return true
	}
	lower := bytes.ToLower(text)
	for _, word := range words {
		if !bytes.Contains(lower, []byte(word)) {
			return false
		}
	}
	return true
}

// bundleReader walks through a Bundle token by token. encoding/json's structs would
// keep the last of two members with the same name; another reader may keep the
// first, so each of them counts here.
type bundleReader struct {
	dec    *json.Decoder
	writes bool
	// Whether it is one whose entries are carried out, and whether one of those is an
	// Organization without a request.
	runs, bare bool
	at         bundleEntry
}

// bundleEntry is the entry under way: whether it has a request, whether a method may
// create, or none was named, whether an address is that of Organization, and whether
// the resource is one.
type bundleEntry struct {
	request, methods, creates, organization, resource bool
}

var errNoBundle = errors.New("the body is no JSON object of a known form")

// object calls member for each member's name of the object that comes next.
func (w *bundleReader) object(member func(name string) error) error {
	return w.within('{', func() error {
		name, err := w.dec.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string)
		return member(strings.ToLower(text))
	})
}

// within reads the object or array that comes next, calling each until its end. A
// value of another kind is passed over.
func (w *bundleReader) within(open json.Delim, each func() error) error {
	first, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch first {
	case open:
	case json.Delim('{'), json.Delim('['):
		return errNoBundle // a form that SFM would not understand either; it is not to be judged here
	default:
		return nil
	}
	for w.dec.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err = w.dec.Token()
	return err
}

func (w *bundleReader) root(name string) error {
	switch name {
	case "type", "resourcetype":
		text, known, err := w.text()
		w.runs = w.runs || name == "type" && (strings.EqualFold(text, "batch") || strings.EqualFold(text, "transaction"))
		w.at.resource = w.at.resource || name == "resourcetype" && (!known || strings.EqualFold(text, "Organization"))
		return err
	case "entry":
		return w.within('[', w.entry)
	}
	return w.skip()
}

// entry reads an entry. One within another is that of a Bundle that is a resource.
func (w *bundleReader) entry() error {
	outer := w.at
	defer func() { w.at = outer }()
	w.at = bundleEntry{}
	err := w.object(func(name string) error {
		switch name {
		case "request":
			w.at.request = true
			return w.object(w.request)
		case "resource":
			return w.object(w.root)
		}
		return w.skip()
	})
	w.writes = w.writes || w.at.organization && (w.at.creates || !w.at.methods)
	w.bare = w.bare || w.at.resource && !w.at.request
	return err
}

func (w *bundleReader) request(name string) error {
	if name != "method" && name != "url" {
		return w.skip()
	}
	text, known, err := w.text()
	if name == "url" {
		w.at.organization = w.at.organization || !known || namesOrganization(text)
		return err
	}
	w.at.methods = true
	w.at.creates = w.at.creates || !known || strings.TrimSpace(text) == "" || creating(text)
	return err
}

// text reads the value that comes next. It is not known where it is no text.
func (w *bundleReader) text() (text string, known bool, err error) {
	var value any
	if err := w.dec.Decode(&value); err != nil {
		return "", true, err
	}
	text, known = value.(string)
	return text, known, nil
}

// skip passes over the value that comes next.
func (w *bundleReader) skip() error {
	var value json.RawMessage
	return w.dec.Decode(&value)
}
