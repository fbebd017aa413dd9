package session

import (
	"errors"
	"fmt"
	"time"

	"sfm-sidecar/internal/store"
)

// Codes of contract section 5 that this room gives.
const (
	codeUnknown  = "session-unknown"
	codePending  = "session-pending"
	codeExpired  = "session-expired"
	codeLogin    = "login-failed"
	codePerson   = "person-mismatch"
	codeHandover = "handover-refused"
	codeInvalid  = "request-invalid"
	codeStore    = "store-unavailable"
	codeLimit    = "limit-reached"
	codeDraining = "draining"
)

// tryAgain is what an EPJ is told to wait.
const tryAgain = 2 * time.Second

// Error is a refusal of this room. It is stored with a session that failed, so
// its fields hold nothing secret and nothing of a person.
type Error struct {
	Kind string `json:"code"`
	Why  string `json:"reason,omitempty"`
	Text string `json:"detail"`
	// HelseID's own words, where the refusal came from there.
	Number string `json:"hid,omitempty"`
	OAuth  string `json:"helseid_error,omitempty"`
	err    error
	after  time.Duration
}

var (
	errUnknown = &Error{Kind: codeUnknown, Text: "no session has this handle"}
	errPending = &Error{Kind: codePending, Text: "the person has not finished the log-in"}
	errClosing = &Error{Kind: codeDraining, Text: "the sidecar is shutting down", after: tryAgain}
)

// Error implements error.
func (e *Error) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Kind, e.Text, e.err)
	}
	return e.Kind + ": " + e.Text
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.err }

// Code is the refusal's code in contract section 5.
func (e *Error) Code() string { return e.Kind }

// Reason is the reason member of the problem document, or "".
func (e *Error) Reason() string { return e.Why }

// Detail says what is wrong, in words for the EPJ.
func (e *Error) Detail() string { return e.Text }

// HID is HelseID's error number, or "".
func (e *Error) HID() string { return e.Number }

// OAuthError is the error code that HelseID gave, or "".
func (e *Error) OAuthError() string { return e.OAuth }

// RetryAfter is how long to wait before asking again, 0 where waiting is no use.
func (e *Error) RetryAfter() time.Duration { return e.after }

// Permanent says that asking again with the same session changes nothing. A
// store that is down, and a sidecar that ends, are the exceptions.
func (e *Error) Permanent() bool { return e.Kind != codeStore && e.Kind != codeDraining }

// atCall is how a log-in that failed refuses a call: whatever it failed of, the
// way on is another log-in, and trying again is not (contract section 5).
func (e *Error) atCall() *Error {
	if e.Kind == codeLogin {
		return e
	}
	failed := *e
	failed.Kind, failed.Why = codeLogin, ""
	return &failed
}

func loginFailed(reason, text string) *Error {
	return &Error{Kind: codeLogin, Why: reason, Text: text}
}

func expiredError(text string) *Error { return &Error{Kind: codeExpired, Text: text} }

// storeDown says that the store failed, and not that it has no such session.
func storeDown(err error) bool {
	own, ok := errors.AsType[*Error](err)
	return ok && own.Kind == codeStore
}

func storeError(err error) error {
	if errors.Is(err, store.ErrMissing) {
		return errUnknown
	}
	return &Error{Kind: codeStore, Text: store.Describe(err), err: err, after: tryAgain}
}

// asStoreError is the store's error as a refusal, and any other one as it is.
func asStoreError(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return storeError(err)
}

// refusal is how other rooms' errors describe themselves.
type refusal interface {
	error
	Code() string
	Detail() string
}

// asProblem turns what ended a log-in into something that can be kept with the
// session: another room's refusal keeps its code, anything else is login-failed.
func asProblem(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	p := &Error{Kind: codeLogin, Text: "the log-in could not be finished", err: err}
	if r, ok := errors.AsType[refusal](err); ok {
		p.Kind, p.Text = r.Code(), r.Detail()
	}
	if r, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		p.Why = r.Reason()
	}
	if r, ok := errors.AsType[interface {
		error
		HID() string
		OAuthError() string
	}](err); ok {
		p.Number, p.OAuth = r.HID(), r.OAuthError()
	}
	return p
}
