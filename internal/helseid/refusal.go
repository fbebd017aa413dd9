package helseid

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// HelseID's own numbers, found anywhere in error_description, and what they mean to the EPJ. The number is more exact
// than the OAuth error it comes with, so it decides first.
var hidMeanings = map[string]string{
	"HID-1001": codeNotDelegated,  // the parent has not delegated to the supplier
	"HID-1002": codeTenantRefused, // the child is not in the client's list
	"HID-1003": codeTenantRefused, // a child list under the parent excludes this child
	"HID-1004": codeTenantRefused, // malformed organization number
	"HID-1005": codeNotApproved,   // passing a parent is not enabled for the client
	"HID-1006": codeNotApproved,   // passing a child is not enabled for the client
	"HID-1008": codeNotApproved,   // a client with a shared secret can't pass organizations
	"HID-1010": codeNotApproved,   // the client is set up in a way that does not support it
}

// OAuth errors that are more than "refused" (RFC 6749 §5.2 and §4.1.2.1).
var oauthMeanings = map[string]string{
	"invalid_client":          codeNotApproved,
	"unauthorized_client":     codeNotApproved,
	"server_error":            codeUnavailable,
	"temporarily_unavailable": codeUnavailable,
}

// OAuth errors that say nothing lasting about the tenant or the client: not remembered.
var passingErrors = map[string]bool{
	errInvalidClient: true, errInvalidGrant: true, errUseNonce: true, errInvalidProof: true,
	"server_error": true, "temporarily_unavailable": true,
}

// OAuth errors that this package acts on.
const (
	errInvalidClient = "invalid_client"
	errInvalidGrant  = "invalid_grant"
	// errInvalidRequest is, of a token exchange, also a subject token that is not accepted (RFC 8693 §2.2.2).
	errInvalidRequest = "invalid_request"
	errUseNonce       = "use_dpop_nonce"     // RFC 9449 §8
	errInvalidProof   = "invalid_dpop_proof" // RFC 9449 §5
)

const (
	defaultRetryAfter = 5 * time.Second
	maxRetryAfter     = 5 * time.Minute
	maxDescription    = 300 // characters of HelseID's own text that are repeated
)

var (
	hidNumber = regexp.MustCompile(`HID-\d{4}`)
	oauthName = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,64}$`)
	// What may be a person or a secret in a text that is not ours: national identity numbers (also with spaces
	// or hyphens in them), JWTs, and long runs without a break, such as refresh tokens.
	delicate = regexp.MustCompile(`\p{Nd}(?:[ .-]?\p{Nd}){10,}|eyJ[A-Za-z0-9_.=-]*|[A-Za-z0-9_=-]{40,}`)
)

// judge says what is wrong with an answer; nil = HelseID granted what was asked, and the members can be read.
func (c *Client) judge(t *try) *Error {
	a := t.answer
	switch {
	case t.bodyless && a.status == http.StatusOK:
		return nil
	case a.status == http.StatusTooManyRequests:
		return a.busy("throttled")
	case a.status == http.StatusRequestTimeout || a.status >= 500:
		return a.busy("server-error")
	case a.status >= 300 && a.status < 400:
		return a.garbled("redirect") // RFC 9700 §4.12: the assertion must not be posted elsewhere
	case a.fault != "":
		return a.garbled(a.fault)
	case a.members.has("error") || a.status >= 400:
		return c.refusal(a)
	case a.status != http.StatusOK && a.status != http.StatusCreated:
		return a.garbled("status")
	}
	return nil
}

// busy is HelseID saying "not now".
func (a *answer) busy(reason string) *Error {
	e := unavailable(reason, fmt.Sprintf("HelseID answered %d", a.status))
	e.retryAfter = retryAfter(a.header, a.received)
	return e
}

// garbled is an answer that can't be used. Only a success makes it likely that a refresh token was spent.
func (a *answer) garbled(reason string) *Error {
	e := unavailable(reason, fmt.Sprintf("HelseID's answer with status %d can't be used (%s)", a.status, reason))
	e.unusable = a.status >= 200 && a.status < 300
	return e
}

// refusal reads the meaning of an OAuth error.
func (c *Client) refusal(a *answer) *Error {
	oauth := a.members.text("error")
	if !oauthName.MatchString(oauth) {
		oauth = ""
	}
	description := a.members.text("error_description")
	code, hid := meaning(oauth, description)
	e := &Error{
		code: code, hid: hid, oauth: oauth,
		detail:       describe(a.status, oauth, description, c.opt.Keys.Current().KeyID()),
		permanent:    !passingErrors[oauth],
		invalidGrant: oauth == errInvalidGrant,
	}
	if code == codeUnavailable {
		e.reason, e.retryAfter = "server-error", retryAfter(a.header, a.received)
	}
	dated := hid == "" && (oauth == errInvalidClient || oauth == errInvalidProof) // may be about the time
	if dated {
		c.clock.trustNewest()
	}
	if dated && c.clock.far() {
		e.code, e.permanent = codeClockSkew, false
		e.detail = fmt.Sprintf("this machine's clock is %s off HelseID's, and HelseID answered %s",
			c.clock.measured().Abs().Round(time.Second), oauth)
	}
	return e
}

// meaning finds the code, and the HID number if the description holds one. Of several numbers the first known decides.
func meaning(oauth, description string) (code, hid string) {
	for _, n := range hidNumber.FindAllString(description, -1) {
		if hid == "" {
			hid = n
		}
		if code, known := hidMeanings[n]; known {
			return code, n
		}
	}
	if code, known := oauthMeanings[oauth]; known {
		return code, hid
	}
	return codeRefused, hid
}

// describe says what HelseID answered. Our own key's kid is no secret, and looks like one.
func describe(status int, oauth, description, kid string) string {
	const mark = "{kid}"
	if oauth == "" {
		oauth = "no known error code"
	}
	text := fmt.Sprintf("HelseID answered %d, %s", status, oauth)
	if d := scrub(strings.ReplaceAll(description, cmp.Or(kid, mark), mark)); d != "" {
		text += ": " + strings.ReplaceAll(d, mark, cmp.Or(kid, mark))
	}
	return text
}

// scrub makes somebody else's text fit to be shown: one line, bounded, and without what may be a person's number or a
// token.
func scrub(s string) string {
	// Bounded first, so that a text of a megabyte costs nothing; what is cut in half at this bound is cut off below.
	if len(s) > 8*maxDescription {
		s = s[:8*maxDescription]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	s = delicate.ReplaceAllString(strings.Join(strings.Fields(s), " "), "[removed]")
	if runes := []rune(s); len(runes) > maxDescription {
		s = string(runes[:maxDescription])
	}
	return s
}

// retryAfter reads Retry-After (RFC 9110 §10.2.3), seconds or a date, kept between a second and five minutes.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := defaultRetryAfter
	value := h.Get("Retry-After")
	if n, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(n, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, time.Second), maxRetryAfter)
}
