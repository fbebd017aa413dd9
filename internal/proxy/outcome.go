package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxOutcome is how much of an answer that says no is kept to look for SFM's ids, in
// bytes, packed and unpacked. An OperationOutcome has some hundred.
const maxOutcome = 32 << 10

// outcomeCopy is a copy of an answer that streams on unchanged to the EPJ. SFM's
// support asks for two ids that only the body holds (sfm.md 4); nothing else is
// read from it, since its texts may name a person.
type outcomeCopy struct {
	packed bool // by gzip
	whole  bool // it ended, and nothing is missing
	over   bool // it is larger than any that is looked into
	text   []byte
}

// copyOutcome begins a copy of an answer; nil when it is not one to look into: a
// good one, one that is no JSON, or one packed by something else than gzip.
func copyOutcome(res *http.Response) *outcomeCopy {
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	packing := strings.ToLower(res.Header.Get("Content-Encoding"))
	if res.StatusCode < http.StatusBadRequest || !strings.HasSuffix(strings.ToLower(strings.TrimSpace(kind)), "json") ||
		packing != "" && packing != "gzip" || res.ContentLength > maxOutcome {
		return nil
	}
	return &outcomeCopy{packed: packing != ""}
}

// take notes what was read.
func (o *outcomeCopy) take(part []byte, err error) {
	if o == nil || o.over {
		return
	}
	if o.over = len(o.text)+len(part) > maxOutcome; o.over {
		o.text, o.whole = nil, false
		return
	}
	o.text = append(o.text, part...)
	o.whole = errors.Is(err, io.EOF)
}

// ids are the id of an OperationOutcome and the TraceId it names, in lower case, each
// empty when it is not there or does not look like one: nothing else gets out.
func (o *outcomeCopy) ids() (outcome, trace string) {
	if o == nil || !o.whole {
		return "", ""
	}
	text := o.text
	if o.packed {
		zip, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return "", ""
		}
		if text, err = io.ReadAll(io.LimitReader(zip, maxOutcome)); err != nil {
			return "", ""
		}
	}
	var doc struct {
		ID    string `json:"id"`
		Issue []struct {
			Details struct {
				Text string `json:"text"`
			} `json:"details"`
		} `json:"issue"`
	}
	if json.Unmarshal(text, &doc) != nil {
		return "", ""
	}
	if guid(doc.ID) {
		outcome = strings.ToLower(doc.ID)
	}
	for _, issue := range doc.Issue {
		id, named := strings.CutPrefix(strings.TrimSpace(issue.Details.Text), "TraceId:")
		if id = strings.TrimSpace(id); named && hexadecimal(id, traceDigits) {
			trace = strings.ToLower(id)
		}
	}
	return outcome, trace
}

// guid says whether a text has the form 8-4-4-4-12 of hexadecimal digits.
func guid(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, n := range []int{8, 4, 4, 4, 12} {
		if !hexadecimal(parts[i], n) {
			return false
		}
	}
	return true
}

func hexadecimal(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
