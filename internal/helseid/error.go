package helseid

import (
	"fmt"
	"time"
)

// Codes of refusals, as the problem documents name them.
const (
	codeUnavailable   = "helseid-unavailable"
	codeRefused       = "helseid-refused"
	codeNotApproved   = "client-not-approved"
	codeNotDelegated  = "tenant-not-delegated"
	codeTenantRefused = "tenant-refused"
	codeTermsUnsigned = "tenant-terms-unsigned"
	codeTokenMismatch = "token-mismatch"
	codeClockSkew     = "clock-skew"
	codeLoginFailed   = "login-failed"
	codeLimitReached  = "limit-reached"
	// Grant token-exchange: the caller's own token is not one that can be used.
	codeSubjectInvalid = "subject-token-invalid"
)

// Reasons of login-failed that are found here.
const (
	reasonIDTokenInvalid = "id-token-invalid"
	reasonLevelTooLow    = "level-too-low"
	reasonStateUnknown   = "state-unknown"
	reasonExpired        = "expired"
)

// Error is a refusal: HelseID said no, said nothing, or said something that can't be used. It is immutable, so one
// value may be handed to many callers. Its text holds no token, assertion, proof, answer body or person's value.
type Error struct {
	code, detail, hint, reason, hid, oauth    string
	retryAfter                                time.Duration
	permanent, invalidGrant, silent, unusable bool
	otherPerson                               bool
	cause                                     error
}

// Error is for the log: code, detail, and what the network said.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.code, e.detail, e.cause)
	}
	return e.code + ": " + e.detail
}

// Unwrap returns what the network or the context said, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Code is the stable name of the refusal.
func (e *Error) Code() string { return e.code }

// Detail says what is wrong, in a sentence that may be shown to the EPJ.
func (e *Error) Detail() string { return e.detail }

// Hint says what to do, where it is more than the code's own hint; else "".
func (e *Error) Hint() string { return e.hint }

// Reason narrows the code: what was garbled, which claim did not match, why a log-in failed.
func (e *Error) Reason() string { return e.reason }

// HID is HelseID's own number of the fault (`HID-nnnn`), or "".
func (e *Error) HID() string { return e.hid }

// OAuthError is the `error` member of HelseID's answer (RFC 6749 §5.2), or "".
func (e *Error) OAuthError() string { return e.oauth }

// RetryAfter is how long to wait before asking again; 0 when waiting does not help.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// Permanent reports that the same question gets the same answer until somebody changes something at HelseID, so that
// the refusal may be remembered for a few seconds.
func (e *Error) Permanent() bool { return e.permanent }

// InvalidGrant reports that HelseID no longer accepts the code or refresh token: the person must log in again.
func (e *Error) InvalidGrant() bool { return e.invalidGrant }

// NoAnswer reports that the request may have reached HelseID but nothing at all came back. A refresh token sent with
// it may or may not be spent; it may be shown once more.
func (e *Error) NoAnswer() bool { return e.silent }

// Garbled reports that HelseID answered with success, but nothing of the answer could be read. A refresh token sent
// with the request is probably spent, and its successor lost.
func (e *Error) Garbled() bool { return e.unusable }

// OtherPerson reports that HelseID answered for somebody else than the person of the log-in.
func (e *Error) OtherPerson() bool { return e.otherPerson }

// unavailable builds a helseid-unavailable; waiting for a while helps.
func unavailable(reason, detail string) *Error {
	return &Error{code: codeUnavailable, reason: reason, detail: detail, retryAfter: defaultRetryAfter}
}

// loginFailed builds a login-failed.
func loginFailed(reason, detail string) *Error {
	return &Error{code: codeLoginFailed, reason: reason, detail: detail}
}

// mismatch builds a token-mismatch that names the claim (or member of the answer) and never its value.
func mismatch(claim string) *Error {
	return &Error{
		code: codeTokenMismatch, reason: claim, permanent: true,
		detail: "HelseID's token does not carry what was asked for: " + claim,
	}
}
