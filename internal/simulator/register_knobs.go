package simulator

import (
	"mime"
	"strings"
)

// RegisterKnobs are the knobs that every register has.
type RegisterKnobs struct {
	// Fault is met by the next calls. Its Path is one within the register.
	Fault Fault `json:"fault"`
}

// TokenRegisterKnobs are those of a register that wants a token and a proof.
type TokenRegisterKnobs struct {
	RegisterKnobs
	// RequireNonce asks for a nonce of the register's own in every proof (RFC 9449
	// section 9).
	RequireNonce bool `json:"require_nonce"`
}

// BrregKnobs are the knobs of the stand-in for Enhetsregisteret.
type BrregKnobs struct {
	RegisterKnobs
	// StruckOffGone answers 410 for units that are struck off, in place of 200
	// with slettedato.
	StruckOffGone bool `json:"struck_off_gone"`
}

// SelvbetjeningKnobs are the knobs of the stand-in for HelseID Selvbetjening.
type SelvbetjeningKnobs struct {
	TokenRegisterKnobs
	// PendingScopes are scopes that the clients are registered for but may not use
	// yet, neither here nor at the token endpoint, each with the reason.
	PendingScopes map[string]string `json:"pending_scopes"`
	// PendingClaims are values of audience-specific claims that wait for approval,
	// by the claim's type.
	PendingClaims map[string]string `json:"pending_claims"`
	// OldPathOnly answers 404 at /v1/client, so that only /v1/client-status is left.
	OldPathOnly bool `json:"old_path_only"`
	// NoTenants answers 404 to the list of tenants, as an API without it would.
	NoTenants bool `json:"no_tenants"`
	// FirstSecretSeconds is how long the keys live that a client was registered
	// with, SecretSeconds how long a posted one does.
	FirstSecretSeconds int `json:"first_secret_seconds"`
	SecretSeconds      int `json:"secret_seconds"`
	// RetireOldSecrets ends the older keys when a new one is posted; otherwise
	// OldSecretSeconds, if above 0, is how long they still live.
	RetireOldSecrets bool `json:"retire_old_secrets"`
	OldSecretSeconds int  `json:"old_secret_seconds"`
}

// secretYear is how long a client's key lives unless a knob says otherwise.
const secretYear = 365 * 24 * 3600

// takeRegisterFault returns the register's fault, if it concerns path and the
// moment (before the work, or after it succeeded), and counts it down.
func (s *Simulator) takeRegisterFault(register, path string, succeeded bool) Fault {
	s.knobMu.Lock()
	defer s.knobMu.Unlock()
	fault := map[string]*Fault{
		RegisterBrreg:         &s.knobState.Brreg.Fault,
		RegisterAddresses:     &s.knobState.Addresses.Fault,
		RegisterSelvbetjening: &s.knobState.Selvbetjening.Fault,
		RegisterTestTokens:    &s.knobState.TestTokens.Fault,
	}[register]
	if *fault == (Fault{}) || fault.worksOnSuccess() != succeeded || !strings.HasPrefix(path, fault.Path) {
		return Fault{}
	}
	taken := *fault
	if fault.Count > 0 {
		if fault.Count--; fault.Count == 0 {
			*fault = Fault{}
		}
	}
	return taken
}

// requiresNonce reports whether the register asks for a nonce now.
func (s *Simulator) requiresNonce(register string) bool {
	knobs := s.knobs()
	switch register {
	case RegisterAddresses:
		return knobs.Addresses.RequireNonce
	case RegisterSelvbetjening:
		return knobs.Selvbetjening.RequireNonce
	default:
		return false
	}
}

// mediaType is the Content-Type without its parameters.
func mediaType(header string) string {
	media, _, _ := mime.ParseMediaType(header)
	return media
}

// withRegisterDefaults fills in what the options do not say of the registers.
func withRegisterDefaults(options Options) Options {
	if options.Registers == "" {
		options.Registers = options.Issuer
	}
	if options.Units == nil {
		options.Units = Units(options.Delegations)
	}
	if options.Parties == nil {
		options.Parties = Parties(options.Units)
	}
	if options.TestTokenKey == "" {
		options.TestTokenKey = TestTokenKey
	}
	return options
}
