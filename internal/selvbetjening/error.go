package selvbetjening

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Error is Selvbetjening saying no, nothing, or something that can't be understood. Its texts are fit for a person.
type Error struct {
	// Status is the HTTP status; 0 = no answer came.
	Status int
	// Problem says what is wrong, Mend what to do.
	Problem, Mend string
	// Title and Detail are what the API itself said of it (RFC 7807), shortened and masked; often "".
	Title, Detail string
	// Unknown says that Selvbetjening may have done what was asked all the same.
	Unknown bool

	cause error
}

// Error says what is wrong, and what Selvbetjening said of it.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString("asking HelseID Selvbetjening: " + e.Problem)
	if e.Title != "" || e.Detail != "" {
		fmt.Fprintf(&text, " (it says: %s)", strings.TrimSpace(strings.Join([]string{e.Title, e.Detail}, " ")))
	}
	if _, told := errors.AsType[unauthorized](e.cause); e.cause != nil && !told {
		fmt.Fprintf(&text, ": %v", e.cause)
	}
	return text.String()
}

// Unwrap returns what the network said, or nil.
func (e *Error) Unwrap() error { return e.cause }

// meanings are what a status means here, and what to do about it.
var meanings = map[int][2]string{
	http.StatusBadRequest:      {"it does not take the request", "see what it says; the key may be of a kind that it does not take (keygen -alg)"},
	http.StatusUnauthorized:    {"it does not take the token", "check that SELVBETJENING_URL and HELSEID_ISSUER belong to the same environment"},
	http.StatusForbidden:       {"the client may not use this API", "have the scope " + Scope + " added to the client in Selvbetjening"},
	http.StatusNotFound:        {"it has no such address", "check SELVBETJENING_URL"},
	http.StatusConflict:        {"it has this key already", "run \"sidecar keys list\" and see"},
	http.StatusTooManyRequests: {"it was asked too often", "try again later"},
}

// refused says what an answer other than success means.
func refused(resp *http.Response, body []byte) *Error {
	e := &Error{Status: resp.StatusCode, Unknown: resp.StatusCode >= 500}
	switch meaning, ok := meanings[resp.StatusCode]; {
	case ok:
		e.Problem, e.Mend = meaning[0], meaning[1]
	case resp.StatusCode >= 500:
		e.Problem, e.Mend = "it fails", "try again later"
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		e.Problem, e.Mend = "it sends us elsewhere, where we do not go", "check SELVBETJENING_URL"
	default:
		e.Problem, e.Mend = "it refuses", "see what it says"
	}
	e.Problem += " (status " + strconv.Itoa(resp.StatusCode) + ")"
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if strings.HasSuffix(media, "json") && json.Unmarshal(body, &problem) == nil {
		e.Title, e.Detail = scrub(problem.Title), scrub(problem.Detail)
	}
	return e
}

const maxText = 200 // characters of another's text that are repeated

// secretive is what may be a person or a secret in a text that is not ours: eleven digits, also with a space or hyphen
// among them, and long runs without a break, such as tokens and keys.
var secretive = regexp.MustCompile(`\d{6}[ -]?\d{5}|[A-Za-z0-9_.~+/=-]{60,}`)

// scrub makes another's text fit to be shown: on one line, short, masked.
func scrub(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)), " ")
	text = secretive.ReplaceAllString(text, "[hidden]")
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "…"
	}
	return text
}
