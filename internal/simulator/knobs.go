package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Knobs make the stand-ins differ from their ordinary, strict behaviour: what
// nobody outside knows of the real servers, and what goes wrong with real
// servers. They can be set from Go ([Simulator.SetKnobs]) and over HTTP (PUT
// /_simulator/knobs with any part of this structure; what is not named stays).
//
// The zero value of SFM is well behaved. HelseID's defaults are [DefaultKnobs].
type Knobs struct {
	// ClockOffset is added to the clock of both stand-ins, in seconds: to their
	// Date headers, to what they write into tokens, and to how they judge iat,
	// nbf and exp. Positive = the stand-ins are ahead of the client.
	ClockOffset float64      `json:"clock_offset_seconds"`
	HelseID     HelseIDKnobs `json:"helseid"`
	SFM         SFMKnobs     `json:"sfm"`
	// The registers'.
	Brreg         BrregKnobs         `json:"brreg"`
	Addresses     TokenRegisterKnobs `json:"adresseregisteret"`
	Selvbetjening SelvbetjeningKnobs `json:"selvbetjening"`
	TestTokens    RegisterKnobs      `json:"ttt"`
}

// HelseIDKnobs are the knobs of the HelseID stand-in.
type HelseIDKnobs struct {
	// RotationOff makes refresh tokens reusable: the answer repeats the same one.
	RotationOff bool `json:"rotation_off"`
	// BindRefreshToken binds refresh tokens to the DPoP key of the log-in, and is the
	// error that a refresh with another key is refused with ("invalid_grant", say);
	// "" = they are bound to the client alone (RFC 9449 section 5).
	BindRefreshToken string `json:"bind_refresh_token"`
	// OmitRefreshToken leaves the refresh token out of the answers to refreshes
	// (meant together with RotationOff; alone it ends the log-in).
	OmitRefreshToken bool `json:"omit_refresh_token"`
	// OmitIDToken leaves the ID token out of every answer.
	OmitIDToken bool `json:"omit_id_token"`
	// OrganizationAtLogin refuses a pushed authorization request that names no
	// organization in a signed request object.
	OrganizationAtLogin bool `json:"organization_at_login"`
	// ParentOnlyForm says how a parent without child may be written: "colon"
	// (NO:ORGNR:<parent>:), "bare" (NO:ORGNR:<parent>) or "both".
	ParentOnlyForm string `json:"parent_only_form"`

	// NonceSeconds is how long a DPoP nonce is good, any number of times. With 0,
	// or SingleUseNonce, it is good once (for at most ten minutes when 0).
	NonceSeconds   int  `json:"nonce_seconds"`
	SingleUseNonce bool `json:"single_use_nonce"`
	// NoNonceOnSuccess gives a nonce only with use_dpop_nonce.
	NoNonceOnSuccess bool `json:"no_nonce_on_success"`

	// Lifetimes, in seconds. The refresh token's counts from the log-in, so
	// rotation does not prolong it.
	AccessTokenSeconds  int `json:"access_token_seconds"`
	RefreshTokenSeconds int `json:"refresh_token_seconds"`
	CodeSeconds         int `json:"code_seconds"`
	RequestURISeconds   int `json:"request_uri_seconds"`

	// ExpiresIn replaces expires_in in token answers by any JSON value; the text
	// "missing" leaves it out; nil = the truth. The token itself stays as it is.
	ExpiresIn any `json:"expires_in"`
	// TokenType replaces token_type in token answers; "" = the truth.
	TokenType string `json:"token_type"`
	// ClaimOverrides replaces claims of access tokens; null removes the claim.
	ClaimOverrides map[string]any `json:"claim_overrides"`
	// IDTokenOverrides does the same for ID tokens.
	IDTokenOverrides map[string]any `json:"id_token_overrides"`
	// OpaqueAccessToken gives a random text in place of a JWT.
	OpaqueAccessToken bool `json:"opaque_access_token"`
	// DropScopes are left out of the granted scopes and named in
	// rejected_scope, as for an organization that has not signed the terms.
	DropScopes []string `json:"drop_scopes"`
	// OmitRejectedScope leaves rejected_scope out: what was not granted is missing
	// from scope and nothing tells why.
	OmitRejectedScope bool `json:"omit_rejected_scope"`
	// Withdrawn are parents whose delegation to the supplier was withdrawn
	// (HID-1001), Unsigned those that have not signed SFM's terms of use after all.
	// The list of tenants at Selvbetjening says the same.
	Withdrawn []string `json:"withdrawn"`
	Unsigned  []string `json:"unsigned"`

	// SecurityLevel is the level of every log-in; "" = the person's own.
	SecurityLevel string `json:"security_level"`
	// CallbackIssuer replaces iss in the redirect back; "missing" leaves it out.
	CallbackIssuer string `json:"callback_iss"`
	// HIDError is the OAuth error that goes with an HID code.
	HIDError string `json:"hid_error"`

	// Fault is met by the next calls, whatever they ask.
	Fault Fault `json:"fault"`
}

// Fault is something that goes wrong at a server or on the way to it. Its zero
// value is no fault. Several fields may be set: the delay comes first.
type Fault struct {
	// Path limits the fault to request paths with this beginning; "" = all.
	Path string `json:"path"`
	// Count is how many answers the fault lasts; 0 or less = until changed.
	Count int `json:"count"`

	// Before any work is done:

	DelayMS    int  `json:"delay_ms"`    // the answer waits this long
	Status     int  `json:"status"`      // answered with this status (429, 500, 503, …)
	RetryAfter int  `json:"retry_after"` // Retry-After in seconds, with Status
	HTML       bool `json:"html"`        // a web page in place of the answer, 200 or Status
	Reset      bool `json:"reset"`       // the connection is reset, nothing is answered
	StaleNonce bool `json:"stale_nonce"` // every proof's nonce is called stale

	// After the work was done, and only where it succeeded:

	DropAnswer bool `json:"drop_answer"` // the connection is reset: the lost answer
	Truncate   bool `json:"truncate"`    // half of the answer comes, whole by its length
	Oversize   bool `json:"oversize"`    // the answer is padded to more than 2 MiB
}

// worksOnSuccess reports whether the fault is one that spoils good answers
// only, so that refused calls (a nonce challenge, say) do not use it up.
func (f Fault) worksOnSuccess() bool { return f.DropAnswer || f.Truncate || f.Oversize }

// DefaultKnobs returns the behaviour a fresh simulator has.
func DefaultKnobs() Knobs {
	return Knobs{HelseID: HelseIDKnobs{
		ParentOnlyForm:      "both",
		NonceSeconds:        600,
		AccessTokenSeconds:  3600,
		RefreshTokenSeconds: 8 * 3600,
		CodeSeconds:         60,
		RequestURISeconds:   600,
		HIDError:            "invalid_request",
	}, Selvbetjening: SelvbetjeningKnobs{FirstSecretSeconds: secretYear, SecretSeconds: secretYear}}
}

// SetKnobs changes the knobs. The function gets a copy of its own, and what it
// leaves there is copied again. It must not call the simulator.
func (s *Simulator) SetKnobs(change func(*Knobs)) {
	s.knobMu.Lock()
	defer s.knobMu.Unlock()
	fresh := cloneKnobs(s.knobState)
	change(&fresh)
	s.knobState = cloneKnobs(fresh)
}

// knobs returns the knobs as they are now. Its maps and slices are shared and
// must not be changed; SetKnobs never changes them in place.
func (s *Simulator) knobs() Knobs {
	s.knobMu.Lock()
	defer s.knobMu.Unlock()
	return s.knobState
}

// mergeKnobs applies a JSON document: members that it names are set, others stay.
func (s *Simulator) mergeKnobs(decode func(any) error) error {
	s.knobMu.Lock()
	defer s.knobMu.Unlock()
	fresh := cloneKnobs(s.knobState)
	if err := decode(&fresh); err != nil {
		return fmt.Errorf("reading knobs: %w", err)
	}
	if err := fresh.SFM.validate(); err != nil {
		return fmt.Errorf("reading knobs: %w", err)
	}
	s.knobState = cloneKnobs(fresh)
	return nil
}

// takeHelseIDFault returns HelseID's fault, if it concerns path and the moment
// (before the work, or after it succeeded), and counts it down. A used-up fault
// is cleared.
func (s *Simulator) takeHelseIDFault(path string, succeeded bool) Fault {
	s.knobMu.Lock()
	defer s.knobMu.Unlock()
	fault := &s.knobState.HelseID.Fault
	if *fault == (Fault{}) || fault.worksOnSuccess() != succeeded || !strings.HasPrefix(path, fault.Path) {
		return Fault{}
	}
	if fault.StaleNonce && path != "/connect/token" {
		return Fault{} // no other call has a nonce, so none may use the fault up
	}
	taken := *fault
	if fault.Count > 0 {
		if fault.Count--; fault.Count == 0 {
			*fault = Fault{}
		}
	}
	return taken
}

// cloneKnobs copies deeply, by way of JSON: every knob can be set over HTTP, so
// every knob survives it.
func cloneKnobs(knobs Knobs) Knobs {
	encoded, err := json.Marshal(knobs)
	if err != nil {
		panic("BUG: knobs that are no JSON: " + err.Error())
	}
	var fresh Knobs
	if err := json.Unmarshal(encoded, &fresh); err != nil {
		panic("BUG: knobs that do not survive JSON: " + err.Error())
	}
	return fresh
}
