package helseid

// The values that hold tokens, codes or a person's number print as their names only, whatever verb or logger they
// fall into: slog, too, asks for String.

// String hides the person.
func (Person) String() string { return "helseid.Person" }

// GoString hides the person.
func (Person) GoString() string { return "helseid.Person" }

// String hides the person.
func (Request) String() string { return "helseid.Request" }

// GoString hides the person.
func (Request) GoString() string { return "helseid.Request" }

// String hides code and verifier.
func (CodeGrant) String() string { return "helseid.CodeGrant" }

// GoString hides code and verifier.
func (CodeGrant) GoString() string { return "helseid.CodeGrant" }

// String hides the tokens.
func (Login) String() string { return "helseid.Login" }

// GoString hides the tokens.
func (Login) GoString() string { return "helseid.Login" }

// String hides the tokens.
func (Grant) String() string { return "helseid.Grant" }

// GoString hides the tokens.
func (Grant) GoString() string { return "helseid.Grant" }
