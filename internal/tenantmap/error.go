package tenantmap

// Error is a refusal. Its texts hold no value that was sent, but for well-formed organization numbers.
type Error struct {
	code, detail, hint string
}

func missing(name, hint string) *Error {
	return &Error{code: "tenant-missing", detail: name + " is missing", hint: hint}
}

func invalid(name, what, hint string) *Error {
	return &Error{code: "tenant-invalid", detail: name + " " + what, hint: hint}
}

// Error is the refusal as text for a log.
func (e *Error) Error() string { return "reading the tenant: " + e.detail }

// Code is the refusal's stable name.
func (e *Error) Code() string { return e.code }

// Detail says what is wrong, in words that the caller may read.
func (e *Error) Detail() string { return e.detail }

// Hint says what to do about it.
func (e *Error) Hint() string { return e.hint }
