package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The journal guard. SFM knows a journal by an id that the EPJ's vendor made up.
// An Organization that is written under an id that SFM does not know makes a
// new, empty journal, without a word (sfm.md 3.2 L4): one typing error, and a
// clinic prescribes into a record that nobody else sees. So the call must say
// which of the two it means, and SFM is asked first whether that is so.
//
// What is guarded:
//
//   - every request to the type Organization itself (the path's last segment,
//     however it is spelt) with a method that can create: POST, and with it the
//     conditional create; PUT, which is FHIR's conditional update and creates
//     where nothing matches; and any method that FHIR does not know. A method in
//     one of the override headers counts like the request's own.
//   - a Bundle that holds such a request, or holds a Bundle that does, at any path,
//     as long as it is kept (64 KiB) and strict JSON in UTF-8. A method or address
//     that is no text may be any.
//   - a body that can't be read (larger, streamed, compressed, XML, another charset,
//     anything a lenient reader might take for JSON) when it is sent to the FHIR base
//     itself, where a Bundle would go.
//
// What is not: PUT Organization/{id}. SFM takes no write but POST Organization
// before a journal exists (sfm.md 1.6.7), so it can't make one; it is how an EPJ
// keeps its organizations, every day. Searches (_search) and operations ($...)
// write nothing.

// intentHeader says what a call that may make a journal means to do.
const intentHeader = "Sfm-Journal-Intent"

// The two intents.
const (
	intentNew      = "new"
	intentExisting = "existing"
)

// guard is a call that may make a journal.
type guard struct {
	intent string
	path   string // where SFM is asked: escaped, after the upstream's name
	status int    // SFM's last answer; 0: none yet
}

// guardOf says whether a call is guarded; nil: it is not. It refuses what needs no
// question to SFM.
func (p *Proxy) guardOf(c *call) (*guard, error) {
	intent := c.in.Header.Get(intentHeader)
	if intent != "" && intent != intentNew && intent != intentExisting {
		return nil, &refusal{
			code: "request-invalid", detail: "the header " + intentHeader + " is neither new nor existing",
			hint: "Send " + intentHeader + ": new to make a journal, or existing to write to one that is there.",
		}
	}
	path, ok := guarded(c)
	if !ok {
		return nil, nil
	}
	switch {
	case intent == "":
		return nil, guardRefused("intent-missing", "the call writes an Organization, which makes a new, empty journal where SFM does not know the journal-id", "")
	case path == "":
		return nil, guardRefused("unclear", "the address of a Bundle that writes an Organization leaves open where SFM is to be asked about the journal",
			"Nothing was written. Send the Bundle to the FHIR service's own address, spelt plainly: no percent signs, semicolons, empty segments or operations.")
	case intent == intentNew && p.created != nil && p.created(c.ask.Tenant.Folded().Journal):
		return nil, guardRefused("created", "the intent is new, but the registry says that the journal was created",
			"Send "+intentHeader+": existing, or correct created in TENANTS_FILE.")
	}
	return &guard{intent: intent, path: path}, nil
}

// guarded says whether a call can write a new Organization, and where to ask SFM
// about the journal: at the very path of the call, or at the type Organization
// below the base that a Bundle goes to. The path is empty where the base is not spelt
// plainly: a 404 for an address that SFM reads otherwise says nothing of the journal.
func guarded(c *call) (path string, ok bool) {
	if !mayCreate(c.in) {
		return "", false
	}
	if namesOrganization(c.rest) {
		return c.rest, true
	}
	if readable, writes := readBundle(&c.body, c.in.Header); readable && !writes || !readable && !fhirBase(c.rest) {
		return "", false
	}
	base := strings.TrimRight(c.rest, "/")
	if !plainPath.MatchString(base) {
		return "", true
	}
	if i := strings.LastIndexByte(base, '/'); i >= 0 && strings.EqualFold(base[i+1:], "Bundle") {
		base = base[:i]
	}
	return base + "/Organization", true
}

// plainPath is a path that every server reads alike.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9][A-Za-z0-9._~-]*)*$`)

// overrides are the headers by which some servers read another method than the
// request's own.
var overrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// mayCreate says whether a request's method can create a resource. One in the query
// may be any: none of FHIR's own parameters has that name.
func mayCreate(r *http.Request) bool {
	if creating(r.Method) || strings.Contains(strings.ToLower(unescape(r.URL.RawQuery)), "_method=") {
		return true
	}
	for _, name := range overrides {
		for _, method := range r.Header[name] {
			if creating(method) {
				return true
			}
		}
	}
	return false
}

// creating leaves out the methods that create nothing in FHIR
// (https://hl7.org/fhir/R4/http.html): a method that is not known may.
func creating(method string) bool {
	switch strings.ToUpper(strings.TrimSpace(method)) {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete, http.MethodPatch:
		return false
	}
	return true
}

// namesOrganization says whether the last segment of an address is Organization, as
// any server may read it: percent-encoded even three times, in any letter case (routes
// of ASP.NET have none), before or behind blanks, before slashes, backslashes, full
// stops, a path parameter, a format (.json) or any other sign, and with an encoded ?
// or #.
func namesOrganization(escaped string) bool {
	if len(escaped) < len("Organization") {
		return false
	}
	path := beforeQuery(escaped)
	for range 3 {
		path = unescape(path)
		if endsInOrganization(path) || endsInOrganization(beforeQuery(path)) {
			return true
		}
	}
	return false
}

func endsInOrganization(path string) bool {
	for {
		path = strings.TrimRightFunc(path, func(r rune) bool { return blank(r) || strings.ContainsRune(`/\.`, r) })
		segment := path[strings.LastIndexAny(path, `/\`)+1:]
		name, _, parameter := strings.Cut(segment, ";")
		if kind := strings.TrimLeftFunc(name, blank); len(kind) >= len("Organization") && strings.EqualFold(kind[:len("Organization")], "Organization") {
			rest := kind[len("Organization"):] // a letter makes another type of it
			return rest == "" || !('a' <= rest[0]|0x20 && rest[0]|0x20 <= 'z')
		}
		if !parameter {
			return false
		}
		path = path[:len(path)-len(segment)+len(name)]
	}
}

// blank is what a server may cut off: it is in no type's name.
func blank(r rune) bool { return r <= ' ' || r > '~' }

func beforeQuery(address string) string {
	if i := strings.IndexAny(address, "?#"); i >= 0 {
		return address[:i]
	}
	return address
}

// unescape undoes percent-encoding where there is one, and leaves a lone percent sign.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				plain = append(plain, byte(c))
				i += 2
				continue
			}
		}
		plain = append(plain, s[i])
	}
	return string(plain)
}

// fhirBase says whether a path may be that of the FHIR service itself: it has no
// segment but those that name a version or the API.
func fhirBase(escaped string) bool {
	for segment := range strings.FieldsFuncSeq(strings.ToLower(unescape(unescape(unescape(escaped)))), func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", "api", "fhir", "rest", "base", "basis", "r4", "r4b", "r5", "stu3", "bundle":
			continue
		}
		if strings.Trim(strings.TrimPrefix(segment, "v"), "0123456789._-") != "" {
			return false
		}
	}
	return true
}

// guardWithin is how long SFM may take to answer the guard.
const guardWithin = 30 * time.Second

// checkJournal asks SFM about the journal of a guarded call, with the token the
// call will have, and lets it go on only if the answer fits the intent.
func (c *call) checkJournal() error {
	if c.guard == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.in.Context(), guardWithin)
	defer cancel()
	begun := time.Now()
	err := c.look(ctx)
	c.watch.guard += time.Since(begun)
	if err != nil {
		return fmt.Errorf("guarding the journal: %w", err)
	}
	return c.guard.judge()
}

// judge holds SFM's answer against the intent (contract 8; sfm.md 3.6).
func (g *guard) judge() error {
	seen := fmt.Sprintf("the guarding GET of Organization was answered %d", g.status)
	known := g.status == http.StatusOK
	unknown := g.status == http.StatusUnauthorized || g.status == http.StatusForbidden || g.status == http.StatusNotFound
	switch {
	case g.intent == intentExisting && known, g.intent == intentNew && unknown:
		return nil
	case known:
		return guardRefused("journal-exists", "the intent is new, but SFM knows the journal: "+seen,
			"Send "+intentHeader+": existing if this journal is meant; else make a new journal-id (sidecar tenants add).")
	case unknown:
		return guardRefused("journal-unknown", "the intent is existing, but SFM does not let this token see the journal: "+seen,
			"Compare the journal-id with the customer's own, letter by letter, and the organization; is the journal really not there, send "+intentHeader+": new.")
	}
	return guardRefused("unclear", "SFM did not say whether it knows the journal: "+seen,
		"Nothing was written. Make the call again when SFM answers GET Organization with this tenant.")
}

// guardRefusal is a refusal of the guard. Nothing of the call was sent.
type guardRefusal struct {
	refusal
	reason string
}

// Reason says in one word what the guard saw.
func (e *guardRefusal) Reason() string { return e.reason }

func guardRefused(reason, detail, hint string) error {
	return &guardRefusal{refusal{code: "journal-guard", detail: detail, hint: hint}, reason}
}

// look makes the guarding GET. It has one extra attempt at most, after a 401: with
// SFM's nonce; or, where the journal is expected to be there, with another token.
// Where it is not, invalid_token may be all that SFM says about a journal it
// does not know, and the token is not to blame.
func (c *call) look(ctx context.Context) error {
	for again := true; ; again = false {
		res, err := c.lookOnce(ctx) //nolint:bodyclose // discard closes it
		if err != nil {
			return err
		}
		discard(res.Body)
		c.guard.status = res.StatusCode
		if res.StatusCode != http.StatusUnauthorized {
			return nil
		}
		switch challenge(res.Header) {
		case "use_dpop_nonce":
			c.challenged()
			if !again { // it was about the proof alone, and says nothing of the journal
				return guardRefused("unclear", "SFM asked twice for another proof of the guarding GET", "Make the call again.")
			}
			continue
		case "invalid_token":
			if again && c.guard.intent == intentExisting && c.p.tokens.Forget(c.ask, c.token) {
				if err := c.fetchToken(); err != nil {
					return err
				}
				continue
			}
		}
		return nil
	}
}

// lookOnce makes one attempt, by the rules of send.
func (c *call) lookOnce(ctx context.Context) (*http.Response, error) {
	t, res, err := c.lookAt(ctx)
	if err != nil && t.tooOld() {
		if err := c.fetchToken(); err != nil {
			return nil, err
		}
		t, res, err = c.lookAt(ctx)
	}
	if err != nil && t.neverBegan() && ctx.Err() == nil {
		_, res, err = c.lookAt(ctx)
	}
	switch {
	case err == nil:
		return res, nil
	case c.in.Context().Err() != nil:
		return nil, errLeft
	}
	// Whatever became of the GET, the call itself was not sent.
	why := plain(err)
	if ctx.Err() != nil {
		why = errors.New("no answer in time")
	}
	return nil, &refusal{
		code: "upstream-unavailable", err: why,
		detail: "SFM did not answer the guarding GET of Organization (" + c.upstream.URL.Host + "): " + why.Error(),
	}
}

// lookAt sends the GET: a request of the sidecar's own, with nothing of the EPJ's but
// the path. Its empty body keeps net/http from sending it again by itself.
func (c *call) lookAt(ctx context.Context) (*try, *http.Response, error) {
	t := &try{until: c.token.Until}
	r := (&http.Request{
		Method: http.MethodGet, URL: new(url.URL), Body: empty{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Accept": {"application/fhir+json"}, "User-Agent": {"sfm-sidecar"},
			"Authorization": {c.upstream.Scheme + " " + c.token.AccessToken},
		},
	}).WithContext(t.trace(contextOf(ctx, c)))
	c.upstream.aim(r.URL, c.guard.path)
	res, err := c.p.transport.RoundTrip(r)
	return t, res, err
}
