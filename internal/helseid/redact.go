package helseid

import "log/slog"

// The values that hold tokens, codes or a person's number print as their names only, whatever verb or logger they
// fall into. slog's JSON handler asks for neither String nor GoString, so they have LogValue as well.

// String hides the person.
func (Person) String() string { return "helseid.Person" }

// GoString hides the person.
func (Person) GoString() string { return "helseid.Person" }

// LogValue hides the person.
func (Person) LogValue() slog.Value { return slog.StringValue("helseid.Person") }

// String hides the person.
func (Request) String() string { return "helseid.Request" }

// GoString hides the person.
func (Request) GoString() string { return "helseid.Request" }

// LogValue hides the person.
func (Request) LogValue() slog.Value { return slog.StringValue("helseid.Request") }

// String hides code and verifier.
func (CodeGrant) String() string { return "helseid.CodeGrant" }

// GoString hides code and verifier.
func (CodeGrant) GoString() string { return "helseid.CodeGrant" }

// LogValue hides code and verifier.
func (CodeGrant) LogValue() slog.Value { return slog.StringValue("helseid.CodeGrant") }

// String hides the tokens.
func (Login) String() string { return "helseid.Login" }

// GoString hides the tokens.
func (Login) GoString() string { return "helseid.Login" }

// LogValue hides the tokens.
func (Login) LogValue() slog.Value { return slog.StringValue("helseid.Login") }

// String hides the tokens.
func (Grant) String() string { return "helseid.Grant" }

// GoString hides the tokens.
func (Grant) GoString() string { return "helseid.Grant" }

// LogValue hides the tokens.
func (Grant) LogValue() slog.Value { return slog.StringValue("helseid.Grant") }
