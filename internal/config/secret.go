package config

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// hidden stands wherever a secret would otherwise be printed.
const hidden = "[hidden]"

// Secret is a value that must never be printed. Every way in which fmt, slog
// and the encoders turn a value into text gives "[hidden]" (or nothing for an
// empty Secret); the only door to the value is [Secret.Reveal]. The type hides
// itself, so that no list of secret field names has to be kept in step.
//
// The value stands behind a pointer because fmt calls no methods on unexported
// fields: of a string in one it would print the letters, of a pointer it prints
// the address. The zero Secret is empty.
type Secret struct{ value *string }

// NewSecret hides a value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the secret itself. The caller must not log it, put it into an
// error or keep it longer than needed.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal reports whether two secrets are the same, in a time that does not depend
// on where they differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// UnmarshalText hides what a variable says.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// String returns "[hidden]", or "" for an empty Secret.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return hidden
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.String()) }

// Format hides the value from every verb of fmt, %x, %q and %d among them.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // fmt.State reports no useful error
}

// MarshalText hides the value from encoders that ask for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON hides the value from encoding/json.
func (s Secret) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", s.String()), nil }

// LogValue hides the value from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
