package helseid

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Why a text is not the JSON object we expect. Never wraps what encoding/json says: its texts can quote the input.
var (
	errNotObject   = errors.New("not a JSON object")
	errMemberTwice = errors.New("a member stands twice")
)

// members are the members of one JSON object by their exact name. encoding/json's structs would match
// "Access_Token" to access_token and let the last of two win; neither may decide which token we use.
type members map[string]json.RawMessage

// parseMembers reads exactly one JSON object: nothing after it, no name twice.
func parseMembers(raw []byte) (members, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNotObject
	}
	m := make(members)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNotObject
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil, errNotObject
		}
		if _, twice := m[name]; twice {
			return nil, errMemberTwice
		}
		m[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errNotObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotObject
	}
	return m, nil
}

// has reports whether the member is there at all; null counts as absent.
func (m members) has(name string) bool {
	v, ok := m[name]
	return ok && string(v) != "null"
}

// text returns a member that is a JSON string, else "".
func (m members) text(name string) string {
	var s string
	if v, ok := m[name]; !ok || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// textOrNumber returns a string as it is and a number as it was written, else "". HelseID's security_level has been
// seen in both forms.
func (m members) textOrNumber(name string) string {
	if s := m.text(name); s != "" {
		return s
	}
	var n json.Number
	if v := m[name]; len(v) == 0 || v[0] == '"' || json.Unmarshal(v, &n) != nil {
		return ""
	}
	return n.String()
}

// list returns the strings of an array, or the words of one string (`scope` comes in both forms). Anything else, also
// an array with a member that is no string, is an empty list.
func (m members) list(name string) []string {
	var several []string
	if json.Unmarshal(m[name], &several) == nil {
		return several
	}
	return strings.Fields(m.text(name))
}

// audience returns `aud`: one string, which is not split, or an array of strings (RFC 7519 §4.1.3).
func (m members) audience() []string {
	if one := m.text("aud"); one != "" {
		return []string{one}
	}
	return m.list("aud")
}

// seconds returns a positive whole number of seconds, written as a number or as a string of one; 0 for anything else
// (missing, zero, negative, a fraction, an exponent, more than nine digits).
func (m members) seconds(name string) int64 {
	digits := string(m[name])
	if strings.HasPrefix(digits, `"`) {
		digits = m.text(name)
	}
	if len(digits) == 0 || len(digits) > 9 {
		return 0
	}
	var n int64
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0
		}
		n = 10*n + int64(d-'0')
	}
	return n
}

// unixTime returns a NumericDate (RFC 7519 §2), written as a number or a string, in whole seconds; 0 if it is none.
func (m members) unixTime(name string) int64 {
	n := json.Number(m.textOrNumber(name))
	if whole, err := n.Int64(); err == nil {
		return max(whole, 0)
	}
	if f, err := n.Float64(); err == nil && f > 0 && f < 1e12 {
		return int64(f)
	}
	return 0
}
