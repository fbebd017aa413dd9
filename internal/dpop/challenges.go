package dpop

import (
	"net/http"
	"strings"
)

const (
	// maxChallenges and maxParams bound what is read of an answer. No honest server comes near them.
	maxChallenges = 16
	maxParams     = 32
)

// Challenge is one challenge of a server, from the header WWW-Authenticate.
type Challenge struct {
	// Scheme is the authentication scheme as written; compare it in any letter case.
	Scheme string
	// Error is the parameter "error" (RFC 6750 section 3, RFC 9449 section 7.1), or "".
	Error string
	// Params holds the parameters, names in lower case, values without their quotation marks. If a name comes twice, the
	// first counts. Never nil.
	Params map[string]string
}

// Challenges reads the challenges of an answer (RFC 9110 section 11.6.1), in their order. It takes what it can: what
// breaks the grammar is passed over up to the next comma. Values are another's text and not fit for a log.
func Challenges(h http.Header) []Challenge {
	var p challengeParser
	for _, line := range h["Www-Authenticate"] {
		p.line(line)
	}
	return p.found
}

// challengeParser walks through header lines. A comma separates the parameters of one challenge and also the challenges
// themselves; only the `=` after a word tells which of them the word begins.
type challengeParser struct {
	found []Challenge
	rest  string // what is still to be read of the line
	open  bool   // a parameter belongs to the last of found
}

func (p *challengeParser) line(line string) {
	p.rest, p.open = line, false // a challenge never goes on in the next line
	for {
		p.rest = strings.TrimLeft(p.rest, " \t,")
		if p.rest == "" {
			return
		}
		word := p.word()
		if word == "" {
			p.skipToComma()
			continue
		}
		after := strings.TrimLeft(p.rest, " \t")
		switch {
		case strings.HasPrefix(after, "="):
			p.rest = strings.TrimLeft(after[1:], " \t")
			p.param(word, p.value())
			p.skipToComma()
		default:
			p.begin(word, len(after) < len(p.rest))
		}
	}
}

// begin opens a new challenge. What follows its scheme after a space may be a token68, which nobody here needs; it
// looks like a parameter's name, but a comma, or nothing, comes after it.
func (p *challengeParser) begin(scheme string, spaced bool) {
	p.open = len(p.found) < maxChallenges
	if p.open {
		p.found = append(p.found, Challenge{Scheme: scheme, Params: map[string]string{}})
	}
	if !spaced {
		p.skipToComma()
		return
	}
	p.rest = strings.TrimLeft(p.rest, " \t")
	token := len(p.rest) - len(strings.TrimLeftFunc(p.rest, isToken68))
	padded := strings.TrimLeft(p.rest[token:], "=")
	if end := strings.TrimLeft(padded, " \t"); token > 0 && (end == "" || end[0] == ',') {
		p.rest = end
	}
}

// param adds a parameter to the challenge that is open; one that belongs to none is dropped.
func (p *challengeParser) param(name, value string) {
	if !p.open {
		return
	}
	challenge := &p.found[len(p.found)-1]
	name = strings.ToLower(name)
	if _, twice := challenge.Params[name]; twice || len(challenge.Params) >= maxParams {
		return
	}
	challenge.Params[name] = value
	if name == "error" {
		challenge.Error = value
	}
}

// word takes a token (RFC 9110 section 5.6.2) off the rest; "" if there is none.
func (p *challengeParser) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !isTokenChar(r) })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

// value takes a quoted string or, leniently, everything up to a comma or a space.
func (p *challengeParser) value() string {
	if !strings.HasPrefix(p.rest, `"`) {
		end := strings.IndexAny(p.rest, ", \t")
		if end < 0 {
			end = len(p.rest)
		}
		value := p.rest[:end]
		p.rest = p.rest[end:]
		return value
	}
	var value strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return value.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			value.WriteByte(p.rest[i])
		default:
			value.WriteByte(c)
		}
	}
	p.rest = "" // never closed: the rest of the line is the value
	return value.String()
}

// skipToComma passes over what is left of an element, a comma inside quotation marks included.
func (p *challengeParser) skipToComma() {
	for p.rest != "" && p.rest[0] != ',' {
		if p.rest[0] == '"' {
			p.value()
			continue
		}
		p.rest = p.rest[1:]
	}
}

func isTokenChar(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func isToken68(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("-._~+/", r)
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}
