package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SFMKnobs are what can be changed about the SFM stand-in while it runs. The zero value is a well-behaved SFM of
// API version 2: DPoP, no nonces, any journal known.
type SFMKnobs struct {
	// Bearer switches to API version 1: bearer tokens with the old scopes, no proofs, gateway paths without version.
	Bearer bool `json:"bearer"`
	// RequireNonce asks for a nonce of SFM's own in every proof (RFC 9449 section 9).
	RequireNonce bool `json:"require_nonce"`
	// NonceEvery makes a new nonce after so many accepted calls; 0 = the nonce never changes.
	NonceEvery int `json:"nonce_every"`
	// NonceKeep is how many former nonces are still good; 0 = only the newest.
	NonceKeep int `json:"nonce_keep"`
	// StaleNonces makes the nonce of the next so many calls stale on arrival. Needs RequireNonce. Counts down.
	StaleNonces int `json:"stale_nonces"`
	// RejectTokens answers the next so many calls, right in all else, with invalid_token. Counts down.
	RejectTokens int `json:"reject_tokens"`
	// MachineTokens lets in tokens that name no person; otherwise only GET /Task takes them.
	MachineTokens bool `json:"machine_tokens"`
	// StrictScopes binds file uploads to the migration scope and all else to the ordinary one; otherwise any SFM
	// scope of the API version will do.
	StrictScopes bool `json:"strict_scopes"`
	// Suppliers are the organization numbers registered with SFM beforehand; empty = the options' supplier alone.
	Suppliers []string `json:"suppliers,omitempty"`
	// StrictJournals makes a journal-id unknown until an Organization is posted with it; otherwise each is made on
	// first use, and no rule is kept for what is written to it. Journals of [Options] are always kept to the rules.
	StrictJournals bool `json:"strict_journals"`
	// Journals are further knobs of journals, organizations and RF.
	Journals JournalKnobs `json:"journals"`
	// BindSessionKey refuses to go on with an SFM session under another DPoP key than that of its creation.
	BindSessionKey bool `json:"bind_session_key"`
	// Expect is what is done with "Expect: 100-continue": "" = as HTTP has it, "silent" = no 100 is ever sent, the
	// body is just waited for, "refuse" = 417.
	Expect string `json:"expect,omitempty"`
	// AnswerBytes is the size of answers of $getMedication; 0 = by the patient, 20 to 200 kB.
	AnswerBytes int `json:"answer_bytes"`
	// SearchPages is how many pages a search's answer has, each with the same entry and a link to the next; 0 = one.
	SearchPages int `json:"search_pages"`
	// Faults are looked through in order for each accepted call; the first that fits is applied.
	Faults []SFMFault `json:"faults,omitempty"`
}

// The kinds of fault.
const (
	FaultDelay      = "delay"       // waits DelayMS, then goes on as if nothing were wrong
	FaultStatus     = "status"      // answers Status (500 if 0), with Retry-After when RetryAfterS is not 0
	FaultReset      = "reset"       // resets the connection (RST) without an answer
	FaultClose      = "close"       // closes the connection (FIN) without an answer
	FaultResetHalf  = "reset_half"  // resets the connection in the middle of the answer's body
	FaultGarbage    = "garbage"     // answers 200 with a body that is neither FHIR nor JSON
	FaultCutHeaders = "cut_headers" // closes the connection in the middle of the answer's first line
)

// The moments at which a fault can strike.
const (
	BeforeBody = "before_body" // after authentication, before the request's body is read
	BeforeWork = "before_work" // the body is read, nothing is done
	AfterWork  = "after_work"  // the work is done, the answer goes wrong
)

var (
	faultKinds   = []string{FaultDelay, FaultStatus, FaultReset, FaultClose, FaultResetHalf, FaultGarbage, FaultCutHeaders}
	faultMoments = []string{"", BeforeBody, BeforeWork, AfterWork}
	expectKinds  = []string{"", expectSilent, expectRefuse}
)

const (
	expectSilent = "silent"
	expectRefuse = "refuse"
)

// SFMFault is one ordered misbehaviour.
type SFMFault struct {
	// Kind is one of the Fault constants.
	Kind string `json:"kind"`
	// When is BeforeBody, BeforeWork or AfterWork; "" = BeforeWork.
	When string `json:"when,omitempty"`
	// Method and Path choose the calls: Path is compared with the end of the path as received. "" = all.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Count is for how many calls; it counts down and the fault leaves the list at 0. A fault set with Count 0
	// strikes every time until it is taken away.
	Count int `json:"count,omitempty"`
	// DelayMS is waited before the fault, whatever its kind.
	DelayMS int `json:"delay_ms,omitempty"`
	// Status and RetryAfterS belong to FaultStatus.
	Status      int `json:"status,omitempty"`
	RetryAfterS int `json:"retry_after_s,omitempty"`
}

// String names the fault as the ledger does.
func (f SFMFault) String() string { return f.Kind + "/" + f.moment() }

func (f SFMFault) moment() string {
	if f.When == "" {
		return BeforeWork
	}
	return f.When
}

func (f SFMFault) fits(method, path string) bool {
	return (f.Method == "" || f.Method == method) && strings.HasSuffix(path, f.Path)
}

// validate names all that is wrong with knobs that came from outside.
func (k SFMKnobs) validate() error {
	var faults []error
	if !slices.Contains(expectKinds, k.Expect) {
		faults = append(faults, fmt.Errorf("sfm.expect %q is none of %q", k.Expect, expectKinds))
	}
	if k.AnswerBytes < 0 || k.AnswerBytes > maxAnswerBytes {
		faults = append(faults, fmt.Errorf("sfm.answer_bytes %d is not in 0 to %d", k.AnswerBytes, maxAnswerBytes))
	}
	for name, value := range map[string]int{"nonce_every": k.NonceEvery, "nonce_keep": k.NonceKeep, "search_pages": k.SearchPages, "stale_nonces": k.StaleNonces, "reject_tokens": k.RejectTokens} {
		if value < 0 {
			faults = append(faults, fmt.Errorf("sfm.%s is below 0", name))
		}
	}
	if k.StaleNonces > 0 && !k.RequireNonce {
		faults = append(faults, errors.New("sfm.stale_nonces, but not sfm.require_nonce, is set"))
	}
	for i, f := range k.Faults {
		faults = append(faults, f.validate(fmt.Sprintf("sfm.faults[%d]", i)))
	}
	faults = append(faults, k.Journals.validate())
	return errors.Join(faults...)
}

func (f SFMFault) validate(name string) error {
	var faults []error
	if !slices.Contains(faultKinds, f.Kind) {
		faults = append(faults, fmt.Errorf("%s.kind %q is none of %q", name, f.Kind, faultKinds))
	}
	if !slices.Contains(faultMoments, f.When) {
		faults = append(faults, fmt.Errorf("%s.when %q is none of %q", name, f.When, faultMoments[1:]))
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		faults = append(faults, fmt.Errorf("%s.status %d is no final HTTP status", name, f.Status))
	}
	for member, value := range map[string]int{"delay_ms": f.DelayMS, "count": f.Count, "retry_after_s": f.RetryAfterS} {
		if value < 0 {
			faults = append(faults, fmt.Errorf("%s.%s is below 0", name, member))
		}
	}
	return errors.Join(faults...)
}

// takeFault finds the fault for a call and counts it down. Finding and counting are one step under the knobs' lock:
// a fault with Count 1 strikes one of two simultaneous calls, never both. The list is SetKnobs' own copy.
func (s *Simulator) takeFault(method, path string) SFMFault {
	var taken SFMFault
	fits := func(f SFMFault) bool { return f.fits(method, path) }
	if !slices.ContainsFunc(s.knobs().SFM.Faults, fits) {
		return taken
	}
	s.SetKnobs(func(k *Knobs) {
		i := slices.IndexFunc(k.SFM.Faults, fits)
		if i < 0 {
			return
		}
		taken = k.SFM.Faults[i]
		if taken.Count == 0 {
			return
		}
		if k.SFM.Faults[i].Count--; k.SFM.Faults[i].Count <= 0 {
			k.SFM.Faults = slices.Delete(k.SFM.Faults, i, i+1)
		}
	})
	return taken
}

// takeCount counts down one of the counting knobs and reports whether there was something to count.
func (s *Simulator) takeCount(counter func(*SFMKnobs) *int) bool {
	now := s.knobs().SFM
	if *counter(&now) <= 0 {
		return false
	}
	taken := false
	s.SetKnobs(func(k *Knobs) {
		if n := counter(&k.SFM); *n > 0 {
			*n--
			taken = true
		}
	})
	return taken
}

func staleNonces(k *SFMKnobs) *int  { return &k.StaleNonces }
func rejectTokens(k *SFMKnobs) *int { return &k.RejectTokens }
