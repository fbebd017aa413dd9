package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
)

// The forms that must not be logged, and what is written in their place. A text
// without the sign of a form has none of it: most texts of a log have no sign, and
// are not searched.
var masks = []struct {
	sign string
	form *regexp.Regexp
	mask string
}{
	// A private key as PEM, up to its end or the text's.
	{"PRIVATE KEY", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z ]*-----|$)`), "[key]"},
	// The private members of a JWK, also where a shell took the quotes.
	{":", regexp.MustCompile(`\b(d|p|q|dp|dq|qi|k)((?:\\?["'])?\s*:\s*(?:\\?["'])?)[A-Za-z0-9_-]{16,}`), "${1}${2}[key]"},
	// What stands before the host of an address: any user, or one with a password
	// where no scheme is written.
	{"@", regexp.MustCompile(`(?:(://)[^\s/"'<>]*|[^\s/:@"'<>=,]+:[^\s/"'<>]+)@`), "${1}[user]@"},
	// A JWT begins with the base64url of {" and has two or more parts; its first
	// part alone is harmless but never written by us, so two are asked for.
	{"eyJ", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_.-]*`), "[token]"},
	// A query, after a URL or a path.
	{"?", regexp.MustCompile(`((?:[A-Za-z][A-Za-z0-9+.-]*://|/)[^\s?"'<>]*)\?[^\s"'<>]+`), "${1}?[query]"},
}

// clean returns text with everything masked that must not be logged. Persons'
// numbers come last: to mask one first would leave a part of a query behind it.
func clean(text string) string {
	for _, m := range masks {
		if strings.Contains(text, m.sign) {
			text = m.form.ReplaceAllString(text, m.mask)
		}
	}
	return maskPersons(text)
}

// guard is a handler that masks what slips through the rooms' own care, and
// passes the rest on.
type guard struct{ next slog.Handler }

func (g guard) Enabled(ctx context.Context, level slog.Level) bool { return g.next.Enabled(ctx, level) }

func (g guard) Handle(ctx context.Context, record slog.Record) error {
	masked := slog.NewRecord(record.Time, record.Level, clean(record.Message), record.PC)
	record.Attrs(func(attr slog.Attr) bool {
		masked.AddAttrs(cleanAttr(attr))
		return true
	})
	return g.next.Handle(ctx, masked)
}

func (g guard) WithAttrs(attrs []slog.Attr) slog.Handler {
	return guard{g.next.WithAttrs(cleanAttrs(attrs))}
}

func (g guard) WithGroup(name string) slog.Handler { return guard{g.next.WithGroup(name)} }

func cleanAttrs(attrs []slog.Attr) []slog.Attr {
	attrs = slices.Clone(attrs) // the caller's slice is not ours to change
	for i, attr := range attrs {
		attrs[i] = cleanAttr(attr)
	}
	return attrs
}

// cleanAttr masks a value and writes durations as text. Numbers, times and truth values can't hold what is
// looked for. Any other value is replaced by its text if there is something in it
// to mask, and left as it is (for the JSON handler to write its members)
// otherwise.
func cleanAttr(attr slog.Attr) slog.Attr {
	value := attr.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		return slog.String(attr.Key, clean(value.String()))
	case slog.KindDuration:
		return slog.String(attr.Key, value.Duration().String())
	case slog.KindGroup:
		return slog.Attr{Key: attr.Key, Value: slog.GroupValue(cleanAttrs(value.Group())...)}
	case slog.KindAny:
		text := textOf(value.Any())
		if masked := clean(text); masked != text {
			return slog.String(attr.Key, masked)
		}
	}
	return slog.Attr{Key: attr.Key, Value: value}
}

func textOf(value any) string {
	if bytes, ok := value.([]byte); ok {
		return string(bytes)
	}
	return fmt.Sprintf("%+v", value)
}
