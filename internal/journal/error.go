package journal

import "errors"

// Why a token leads nowhere. Compare with errors.Is.
var (
	ErrJournal      = errors.New("no journal has this id")
	ErrOrganization = errors.New("neither organization number is written to the journal")
	ErrHERID        = errors.New("no organization on the way up has a HER-id")
)

// Unresolved is a token that SFM could not serve. It wraps ErrJournal, ErrOrganization or ErrHERID.
type Unresolved struct {
	Finding Finding
	Err     error
}

// Error is the refusal as text.
func (u *Unresolved) Error() string { return "resolving the token: " + u.Finding.Message }

// Unwrap returns the reason.
func (u *Unresolved) Unwrap() error { return u.Err }

// Code is the id of the rule that the token breaks.
func (u *Unresolved) Code() string { return u.Finding.Rule }

// Detail says what is wrong, for people.
func (u *Unresolved) Detail() string { return u.Finding.Message }

// Hint says what to do about it.
func (u *Unresolved) Hint() string { return u.Finding.Mend }
