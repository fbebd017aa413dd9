package tenantmap

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// slip is what a person most likely did where a file is no YAML. The library tells where it could not go on, which is
// often a line too late, and in words for those who know YAML's grammar.
type slip struct {
	line, column  int // from 1; column 0 = the line's beginning
	message, mend string
}

// Lines as people write them. Content stands behind the indentation and the hyphens of a list.
var (
	slipIndent = regexp.MustCompile(`^[ ]*\t\s*[^\s#]`)
	slipColon  = regexp.MustCompile(`^[\w-]+: +[^"'{\[#|>][^#]*: `) // a second colon, in a value without quotes
	slipJoined = regexp.MustCompile(`^[\w-]+:[^ ]`)
	slipKey    = regexp.MustCompile(`^[\w-]+:( |$)`)
	slipQuoted = regexp.MustCompile(`"(\\.|[^"\\])*"|'[^']*'`)
)

// typographic are the quotes that word processors put in place of plain ones.
const typographic = "“”„‟«»‘’‚"

const (
	typographicQuotes = "has typographic quotes"
	typePlainQuotes   = `type plain ones: "`
)

// findSlip looks at the line where the library could not go on, and at those above it. Its texts repeat nothing of the file.
func findSlip(text []byte, at int, found string) (slip, bool) {
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if !utf8.ValidString(line) {
			valid := len(line) - len(strings.TrimLeftFunc(line, func(r rune) bool { return r != utf8.RuneError }))
			return slip{i + 1, valid + 1, "holds a letter that is not written in UTF-8", "save the file as UTF-8"}, true
		}
	}
	at = min(max(at, 1), len(lines))
	for i, line := range lines[:at] {
		bare := slipQuoted.ReplaceAllString(line, "")
		switch {
		case slipIndent.MatchString(line):
			return slip{i + 1, 0, "begins with a tab", "use spaces"}, true
		case !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Count(strings.SplitN(bare, " #", 2)[0], `"`) == 1:
			return slip{i + 1, strings.Index(line, `"`) + 1, "has a quote that is not closed", "close it on the same line"}, true
		}
	}
	here, before := lines[at-1], at-1
	for before > 0 && content(lines[before-1]) == "" {
		before--
	}
	if before > 0 && strings.Contains(found, "expected ',' or") && opened(lines[before-1]) > 0 {
		return slip{before, 0, "has a bracket that is not closed", "close it with } or ] on the same line"}, true
	}
	if s, ok := slipHere(here, found); ok {
		s.line = at
		return s, true
	}
	if before == 0 {
		return slip{}, false
	}
	s, ok := slipAbove(lines[before-1], here, found)
	if s.line = before; strings.HasPrefix(s.message, indentedMore) {
		s.line = at
	}
	return s, ok
}

// content is a line without indentation, hyphens of a list, and comment.
func content(line string) string {
	line = strings.TrimLeft(strings.TrimSpace(line), "- ")
	if strings.HasPrefix(line, "#") {
		return ""
	}
	line, _, _ = strings.Cut(line, " #")
	return strings.TrimSpace(line)
}

// slipHere judges the line itself.
func slipHere(line, found string) (slip, bool) {
	words := content(line)
	switch {
	case strings.ContainsAny(line, typographic):
		return slip{message: typographicQuotes, mend: typePlainQuotes}, true
	case slipColon.MatchString(words):
		return slip{message: "has a colon in a value", mend: "put the value in quotes: it holds a colon"}, true
	case strings.ContainsAny(words, "{[") && !slipKey.MatchString(words) && words[0] != '{' && words[0] != '[':
		return slip{message: noColon, mend: writeColon}, true
	case strings.Contains(found, "cannot start any token"):
		return slip{message: "has a value that begins with a sign", mend: "put the value in quotes"}, true
	case strings.Contains(found, "expected '-' indicator") || strings.Contains(found, "block mapping"):
		return slip{message: "is not indented like what is above it", mend: "indent the keys of one item alike, with spaces"}, true
	case strings.Contains(found, "expected ',' or") && opened(line) == 0 && strings.ContainsAny(line, "{["):
		return slip{message: "lacks a comma between two keys, or quotes around a value with a sign in it", mend: "write {key: value, key: value}; put a value with a sign in it in quotes"}, true
	}
	return slip{}, false
}

const (
	noColon      = "has no colon behind its key"
	writeColon   = "write a colon and a space between key and value"
	indentedMore = "is indented more than the line above it"
)

// slipAbove judges the line above the one where the library could not go on.
func slipAbove(above, line, found string) (slip, bool) {
	words := content(above)
	switch {
	case strings.ContainsAny(above, typographic):
		return slip{message: typographicQuotes, mend: typePlainQuotes}, true
	case slipJoined.MatchString(words):
		return slip{message: "has no space behind the colon", mend: writeColon}, true
	case strings.Contains(found, "mapping values are not allowed") && slipKey.MatchString(words) && depth(line) > depth(above):
		return slip{message: indentedMore, mend: "indent the keys of one item alike, with spaces"}, true
	case !slipKey.MatchString(words) && !strings.ContainsAny(words, `{}[]"'`):
		return slip{message: noColon, mend: writeColon}, true
	}
	return slip{}, false
}

// opened is how many brackets a line opens and does not close.
func opened(line string) int {
	line = slipQuoted.ReplaceAllString(line, "")
	return strings.Count(line, "{") + strings.Count(line, "[") - strings.Count(line, "}") - strings.Count(line, "]")
}

// depth is how far a line is indented, the hyphens of a list counted in.
func depth(line string) int { return len(line) - len(strings.TrimLeft(line, "- ")) }

// slipped tells of a slip in place of what the library found, if one can be seen.
func (d *decoder) slipped(text []byte, line int, found string) bool {
	s, ok := findSlip(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), line, found)
	if ok {
		d.faultAt(s.line, max(s.column, 1), s.message, s.mend)
	}
	return ok
}
