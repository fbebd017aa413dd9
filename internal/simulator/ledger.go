package simulator

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// ledgerCap is how many operations the ledger holds before the oldest tenth of them is dropped, so that a simulator
// left running for days does not grow for ever.
const ledgerCap = 200_000

// Operation is one request that reached the SFM stand-in, whatever became of it. It is written so that a test can
// prove what was sent and how often, and so that it can be printed anywhere: no token, proof, national identity
// number or query string ever stands in one.
type Operation struct {
	// Number counts from 1 in the order of arrival; it goes on counting when old operations are dropped.
	Number int64 `json:"number"`
	// At is the time of arrival by the simulator's clock.
	At time.Time `json:"at"`
	// Method and Path are as received; the query string is cut off.
	Method string `json:"method"`
	Path   string `json:"path"`
	// Name is the operation the path was taken for, "unknown" when there is none.
	Name string `json:"name"`
	// Accepted says that authentication let the call in. An operation that needs none is always accepted.
	Accepted bool `json:"accepted"`
	// Refusal is what authentication or the operation answered when it said no, an error code and never a text.
	Refusal string `json:"refusal,omitempty"`
	// WorkDone says that SFM did what was asked: the prescription is sent, the organization is written. It may be
	// true although no answer came (Status 0).
	WorkDone bool `json:"work_done"`
	// WorksDone is how often this same work (path and body) has been done by now, this time included; 0 if not done.
	WorksDone int `json:"works_done"`
	// Status is the HTTP status of the answer, 0 when none was given.
	Status int `json:"status"`
	// Fault is the misbehaviour that a knob ordered, as "kind/when".
	Fault string `json:"fault,omitempty"`
	// Tenant, Subject and Machine (a token without a person) are what the token said. Tenant.Journal is the
	// journal-id, or the static SFM-id of a single-tenant client, in lower case.
	Tenant  Tenant `json:"tenant"`
	Subject string `json:"subject,omitempty"`
	Machine bool   `json:"machine,omitempty"`
	// TokenHash and JTIHash are the first 16 hex digits of SHA-256 over the access token and over the proof's jti:
	// enough to tell two apart, of no use to anybody else.
	TokenHash string `json:"token_hash,omitempty"`
	JTIHash   string `json:"jti_hash,omitempty"`
	// ProofAgeMS is arrival minus the proof's iat. iat has whole seconds, so 0 to 999 is a proof made just now.
	ProofAgeMS int64 `json:"proof_age_ms"`
	// TokenMarginS is how many seconds the token still had to live at arrival.
	TokenMarginS int64 `json:"token_margin_s"`
	// BodyLength and BodySHA256 (hex) describe the body as far as it was read; both are zero when it never was.
	BodyLength int64  `json:"body_length"`
	BodySHA256 string `json:"body_sha256,omitempty"`
	// Resolution is what the token of a prescription call led to: organization, HER-id, sender. Nil for other calls.
	Resolution *Resolution `json:"resolution,omitempty"`
	// RequestID is the caller's X-Request-Id, if any.
	RequestID string `json:"request_id,omitempty"`
	// Strangers names the headers of the request that should never leave the EPJ's side: tenant and session headers,
	// cookies, forwarding headers.
	Strangers []string `json:"strangers,omitempty"`
}

// workKey is what makes two operations the same work.
type workKey struct{ path, bodySHA string }

// ledger keeps the operations. All of an operation's facts are written before the first byte of the answer leaves,
// so that a test that has its answer also finds it here.
type ledger struct {
	mu         sync.Mutex
	operations []*Operation    // guarded by mu, also what they point to
	works      map[workKey]int // guarded by mu
	number     int64           // guarded by mu
	limit      int
}

func newLedger(limit int) *ledger {
	return &ledger{works: map[workKey]int{}, limit: limit}
}

// open enters an operation on its arrival and returns where it is kept, to be changed through note and done only.
func (l *ledger) open(o Operation) *Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.operations) >= l.limit {
		l.dropOldest(max(1, l.limit/10))
	}
	l.number++
	o.Number = l.number
	l.operations = append(l.operations, &o)
	return &o
}

func (l *ledger) dropOldest(n int) {
	for _, o := range l.operations[:n] {
		if !o.WorkDone {
			continue
		}
		key := workKey{o.Path, o.BodySHA256}
		if l.works[key]--; l.works[key] <= 0 {
			delete(l.works, key)
		}
	}
	l.operations = slices.Delete(l.operations, 0, n)
}

func (l *ledger) note(o *Operation, change func(*Operation)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(o)
}

// done enters that the work was done and counts how often.
func (l *ledger) done(o *Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := workKey{o.Path, o.BodySHA256}
	l.works[key]++
	o.WorkDone = true
	o.WorksDone = l.works[key]
}

func (l *ledger) list() []Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Operation, len(l.operations))
	for i, o := range l.operations {
		list[i] = *o
		list[i].Strangers = slices.Clone(o.Strangers)
	}
	return list
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.operations = nil
	clear(l.works)
}

func (l *ledger) workDone(path, bodySHA string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	for key, n := range l.works {
		if strings.HasSuffix(key.path, path) && (bodySHA == "" || key.bodySHA == bodySHA) {
			total += n
		}
	}
	return total
}

// Ledger returns every operation that has reached the SFM stand-in since the start or the last ResetLedger, in order
// of arrival. An operation still being worked on is in it with what is known so far.
func (s *Simulator) Ledger() []Operation { return s.sfm.ledger.list() }

// ResetLedger forgets all operations and all counts of work done. Numbers go on.
func (s *Simulator) ResetLedger() { s.sfm.ledger.reset() }

// WorkDone returns how often SFM did the work of a path whose end is path ("/Patient/$sendMedication") for a body
// with this SHA-256 in hex; an empty bodySHA counts all bodies. More than 1 for a body that holds one prescription
// means that the patient has two.
func (s *Simulator) WorkDone(path, bodySHA string) int { return s.sfm.ledger.workDone(path, bodySHA) }
