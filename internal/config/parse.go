package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// words splits a list at commas and white space; scopes, grants, hosts, origins
// and users are all written so.
func words(v string) []string {
	return strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// duration reads a time span with its unit. Whether it may be zero is another
// rule's business; it can never be negative.
func duration(v string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(v))
	if err != nil {
		return 0, Fault{Problem: "is not a time span: " + quote(v), Mend: "write a number with its unit, such as 500ms, 30s or 5m"}
	}
	if d < 0 {
		return 0, Fault{Problem: "is negative: " + quote(v), Mend: "write a time span of 0s or more"}
	}
	return d, nil
}

// pairs reads name=value pairs, comma separated. A name may come once.
func pairs(v string) (map[string]string, error) {
	read := make(map[string]string)
	err := eachPair(v, func(name, value string) error {
		if _, twice := read[name]; twice {
			return Fault{Problem: "names " + quote(name) + " twice", Mend: "leave one of the two out"}
		}
		read[name] = value
		return nil
	})
	return read, err
}

// wordPairs reads name=word[ word] pairs, comma separated.
func wordPairs(v string) (map[string][]string, error) {
	flat, err := pairs(v)
	if err != nil {
		return nil, err
	}
	read := make(map[string][]string, len(flat))
	for name, value := range flat {
		read[name] = words(value)
	}
	return read, nil
}

// values reads name=value pairs of which a name may come several times.
func values(v string) (url.Values, error) {
	read := make(url.Values)
	err := eachPair(v, func(name, value string) error {
		read.Add(name, value)
		return nil
	})
	return read, err
}

// eachPair calls visit for each name=value pair of a comma separated list, and
// stops at the first error.
func eachPair(v string, visit func(name, value string) error) error {
	for item := range strings.SplitSeq(v, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue // a trailing comma
		}
		name, value, ok := strings.Cut(item, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return Fault{Problem: "holds " + quote(item) + ", which is not name=value", Mend: "write name=value pairs, comma separated"}
		}
		if err := visit(name, value); err != nil {
			return err
		}
	}
	return nil
}

// quote shows a value inside a message: short, on one line and without the user
// information that an address may carry.
func quote(v string) string {
	if secretive.MatchString(v) {
		return "a value that is not shown here"
	}
	v = hideUserinfo(v)
	const most = 80
	if runes := []rune(v); len(runes) > most {
		v = string(runes[:most]) + "…"
	}
	return "\"" + strings.Map(printable, v) + "\""
}

// secretive is the form of what may have got into the wrong variable: JSON and
// parts of it, PEM, a token, a query, a national identity number.
var secretive = regexp.MustCompile(`[{}"?]|-----|eyJ|(?:^|\D)\d{11}(?:\D|$)`)

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// hideUserinfo cuts out what stands between "://" and the last "@": a password
// may stand there, and may itself hold any character. Without a scheme, a colon
// tells of one.
func hideUserinfo(v string) string {
	start, end := strings.Index(v, "://"), strings.LastIndex(v, "@")
	if start >= 0 && start < end {
		return v[:start+len("://")] + hidden + v[end:]
	}
	if _, password, _ := strings.Cut(v[:max(end, 0)], ":"); password != "" {
		return hidden + v[end:]
	}
	return v
}

// oneOf returns the fault of a value that is not among the allowed ones.
func oneOf(value string, allowed ...string) (Fault, bool) {
	if slices.Contains(allowed, value) {
		return Fault{}, true
	}
	return Fault{Problem: "is " + quote(value), Mend: "write one of: " + strings.Join(allowed, ", ")}, false
}
