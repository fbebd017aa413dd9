package telemetry

import (
	"regexp"
	"strings"
)

const (
	birthDigits  = 6
	serialDigits = 5
	personDigits = birthDigits + serialDigits
)

// maskPersons masks eleven digits that stand alone: a national identity number,
// D-number or a synthetic one, whatever letters stand beside it. Their check digits
// change in 2032, so they are not looked at.
func maskPersons(text string) string {
	var out strings.Builder
	kept := 0
	for i := 0; i < len(text); {
		if !digit(text[i]) {
			i++
			continue
		}
		end := personEnd(text, i)
		switch {
		case end == 0:
			end = i + digits(text[i:])
		case !opaque(text, i, end):
			out.WriteString(text[kept:i])
			out.WriteString("[person]")
			kept = end
		}
		i = end
	}
	if kept == 0 {
		return text
	}
	out.WriteString(text[kept:])
	return out.String()
}

// personEnd is where a person's number ends that begins at a place, 0 if none does.
// One sign may part its birth date from the rest, and the date's own parts too.
func personEnd(text string, start int) int {
	at, count := start, 0
	for {
		n := digits(text[at:])
		at, count = at+n, count+n
		if count == personDigits && (n == personDigits || n == serialDigits) {
			return at
		}
		if count > birthDigits || n != 2 && n != birthDigits {
			return 0
		}
		gap := gap(text[at:])
		if gap == 0 {
			return 0
		}
		at += gap
	}
}

// digits is how many digits a text begins with.
func digits(text string) int {
	n := 0
	for n < len(text) && digit(text[n]) {
		n++
	}
	return n
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// gap is the length of the sign that a text begins with, if it is one that parts a
// person's number, and 0 otherwise.
func gap(text string) int {
	for _, sign := range [...]string{" ", "-", ".", "\u00a0", "\u202f"} {
		if strings.HasPrefix(text, sign) {
			return len(sign)
		}
	}
	return 0
}

// opaqueID is a UUID, or the 32 hexadecimal digits of a trace: about one in fifty has
// eleven decimal ones in a row by chance. SFM's support asks for these.
var opaqueID = regexp.MustCompile(`^(?i:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)

// maxOpaque is the length of the longer one, a UUID.
const maxOpaque = 36

// opaque says whether digits are a part of such an id. It looks no further than one
// is long: a long list of numbers is one word.
func opaque(text string, start, end int) bool {
	for start > 0 && end-start <= maxOpaque && opaquePart(text[start-1]) {
		start--
	}
	for end < len(text) && end-start <= maxOpaque && opaquePart(text[end]) {
		end++
	}
	return opaqueID.MatchString(text[start:end])
}

func opaquePart(b byte) bool {
	return digit(b) || b == '-' || b == '_' || 'a' <= b|0x20 && b|0x20 <= 'z'
}
