// Package register asks the public registers around SFM what a customer's set-up claims of itself.
//
//   - [Brreg] is Enhetsregisteret: is the parent a top-level unit, is the child really below it, does it still exist?
//   - [Addresses] is NHN's Adresseregisteret: does a HER-id exist, is it in use, and on which organization does it hang?
//
// Both are for a person who looks a set-up over, never for a call on its way to SFM. So this package is polite first and
// quick second: four calls at a time, every answer kept for as long as the process lives, a pause for all calls when
// the register asks for one, and no calls at all for a while when it does not answer. What comes back is bounded, in
// bytes and in time. Redirects are not followed.
//
// The package sends what it is asked about, and nothing else; whatever authorizes a call is its Transport's business.
package register

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// ErrUnknown says that the register does not know the number: nothing is wrong with the register.
var ErrUnknown = errors.New("the register does not know this number")

// Options are how a register is reached.
type Options struct {
	// URL is the address that the paths are put behind. Required.
	URL string
	// Transport sends the requests, authorized where the register wants that. If nil, net/http's own.
	Transport http.RoundTripper
	// Timeout bounds one attempt. If 0, 10 s. A call takes four of them at most, and the pauses between.
	Timeout time.Duration
}

// Error is a register that could not be asked: it did not answer, refused, or said what can't be understood. Its text
// is fit for a person and holds nothing of the answer.
type Error struct {
	// Register is its name.
	Register string
	// Status is the HTTP status of the last answer; 0 = none came.
	Status int
	// Problem says what came instead of an answer.
	Problem string
	// Mend says what to do.
	Mend string

	cause error
}

// Error says which register, and what is wrong.
func (e *Error) Error() string {
	if _, told := errors.AsType[unauthorized](e.cause); e.cause != nil && !told {
		return fmt.Sprintf("asking %s: %s: %v", e.Register, e.Problem, e.cause)
	}
	return "asking " + e.Register + ": " + e.Problem
}

// Unwrap returns what the network said, or nil.
func (e *Error) Unwrap() error { return e.cause }

// parseURL refuses what can't be the beginning of a register's address.
func parseURL(register, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("setting up %s: its address is not an http or https URL without query", register)
	}
	return u, nil
}
