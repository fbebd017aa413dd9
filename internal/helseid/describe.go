package helseid

import (
	"regexp"
	"strings"
	"time"
)

// Fact is one thing that a token says and that may be shown.
type Fact struct{ Name, Value string }

// describable are the claims that may be shown, what they are called then, and the form that a value must have: one of
// another form is somebody's mistake and could be anything, a person's number above all.
var describable = []struct {
	name, claim string
	form        *regexp.Regexp
}{
	{"orgnr_parent", claimParent, orgnrForm},
	{"orgnr_child", claimChild, orgnrForm},
	{"orgnr_supplier", claimSupplier, orgnrForm},
	{"journal_id", claimJournal, uuidForm},
	{"sfm_id", claimSFMID, uuidForm},
	{"security_level", claimLevel, levelForm},
	{"assurance_level", claimAssurance, levelForm},
}

var (
	orgnrForm = regexp.MustCompile(`^[0-9]{9}$`)
	uuidForm  = regexp.MustCompile(`^\{?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?$`)
	levelForm = regexp.MustCompile(`^([0-9]|[a-z]{1,20})$`)
	jktForm   = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// otherForm stands for a value that is not shown.
const otherForm = "[of another form, not shown]"

// Describe lists what may be shown of an access token: organizations, journal, level, audience, scopes, end of life and
// the key it is bound to. Never who the person is, nor the token's own identity. False = it is no JWT, which tells
// nothing.
func Describe(access string) ([]Fact, bool) {
	_, claims, ok := parseJWT(access)
	if !ok {
		return nil, false
	}
	var facts []Fact
	for _, d := range describable {
		if claims.has(d.claim) {
			facts = append(facts, Fact{d.name, shown(claims.textOrNumber(d.claim), d.form)})
		}
	}
	facts = append(facts,
		Fact{"audience", scrub(strings.Join(claims.audience(), " "))},
		Fact{"scope", scrub(strings.Join(claims.list("scope"), " "))})
	if exp := claims.unixTime("exp"); exp > 0 {
		facts = append(facts, Fact{"expires", time.Unix(exp, 0).UTC().Format(time.RFC3339)})
	}
	if jkt := thumbprint(claims); jkt != "" {
		facts = append(facts, Fact{"dpop_key", shown(jkt, jktForm)})
	}
	return facts, true
}

func shown(value string, form *regexp.Regexp) string {
	if !form.MatchString(value) {
		return otherForm
	}
	return value
}

// Scrub makes another server's text fit to be shown: one line, at most 300 characters, without what may be a person's
// number or a token.
func Scrub(s string) string { return scrub(s) }
