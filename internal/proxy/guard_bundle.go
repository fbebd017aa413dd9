package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// readBundle looks for a write of an Organization in the entries of a Bundle.
// readable is false when the body can't be judged: it is streamed, compressed or no
// JSON. A body that is no Bundle is readable, and writes nothing.
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
	case !mayHold(text, `"request"`, "organization"):
		return true, false
	}
	w := &bundleReader{dec: json.NewDecoder(bytes.NewReader(text))}
	err := w.object(w.root)
	return err == nil || w.writes, w.writes
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
	// Of the entry under way: whether a method may create, or none was named, and
	// whether an address is that of Organization.
	methods, creates, organization bool
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
	if name != "entry" {
		return w.skip()
	}
	return w.within('[', func() error {
		w.methods, w.creates, w.organization = false, false, false
		if err := w.object(w.entry); err != nil {
			return err
		}
		w.writes = w.writes || w.organization && (w.creates || !w.methods)
		return nil
	})
}

func (w *bundleReader) entry(name string) error {
	if name != "request" {
		return w.skip()
	}
	return w.object(w.request)
}

func (w *bundleReader) request(name string) error {
	if name != "method" && name != "url" {
		return w.skip()
	}
	var value any
	if err := w.dec.Decode(&value); err != nil {
		return err
	}
	text, _ := value.(string)
	if name == "url" {
		w.organization = w.organization || namesOrganization(text)
		return nil
	}
	w.methods = true
	w.creates = w.creates || creating(text)
	return nil
}

// skip passes over the value that comes next.
func (w *bundleReader) skip() error {
	var value json.RawMessage
	return w.dec.Decode(&value)
}
