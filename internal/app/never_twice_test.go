package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// sendPath is where prescriptions are sent: a call whose work must never be done
// twice, and whose answer must never say "again" where it may have been done.
const sendPath = "/Patient/$sendMedication"

// large is beyond what is kept for a second attempt (64 KiB), and little enough
// that SFM's server swallows what it has refused.
const large = 100 << 10

// prescription is one $sendMedication, with a body like no other's.
type prescription struct {
	w      *world
	handle string
	tenant simulator.Tenant
	id     string
	path   string
	body   []byte
	sha    string
	header []string
}

// prescribe makes one; a body shorter than size is filled up with blanks.
func (w *world) prescribe(handle, id string, size int, header ...string) *prescription {
	body := simulator.SampleSendMedication("13827015061", w.t.Name()+id)
	if len(body) < size {
		body = append(body, bytes.Repeat([]byte(" "), size-len(body))...)
	}
	sum := sha256.Sum256(body)
	return &prescription{
		w: w, handle: handle, tenant: simulator.Tenants()[0], id: id, path: "/basis" + sendPath,
		body: body, sha: hex.EncodeToString(sum[:]), header: header,
	}
}

func (p *prescription) send() (answer, error) {
	h := append(headers(p.handle, p.tenant), "X-Request-Id", p.id, "Content-Type", "application/fhir+json")
	return p.w.do(p.w.request(http.MethodPost, p.path, string(p.body), append(h, p.header...)...))
}

// fate is what becomes of a call.
type fate struct {
	status   int
	code     string // Sidecar-Error; "" = the answer is SFM's own
	broken   bool   // the answer breaks off
	work     int    // how often SFM does the work
	attempts int    // how often the call reaches SFM
}

// retryable are the codes that tell the caller that it may simply call again.
var retryable = map[string]bool{"resend-needed": true, "helseid-unavailable": true, "upstream-unavailable": true}

// meets sends the prescription and holds what became of it against what is wanted.
func (p *prescription) meets(t *testing.T, want fate) answer {
	t.Helper()
	a, err := p.send()
	p.check(t, want, a, err)
	return a
}

func (p *prescription) check(t *testing.T, want fate, a answer, err error) {
	t.Helper()
	work := p.checkSFM(t, want)
	if want.broken {
		if err == nil {
			t.Errorf("%s: the answer came whole (%d), want it broken off", p.id, a.status)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", p.id, err)
		return
	}
	code, again := a.header.Get("Sidecar-Error"), a.header.Get("Sidecar-Retryable")
	if a.status != want.status || code != want.code {
		t.Errorf("%s: %d %q, want %d %q", p.id, a.status, code, want.status, want.code)
	}
	if a.header.Get("DPoP-Nonce") != "" || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("%s: what is between SFM and the sidecar came through", p.id)
	}
	if code == "" {
		if again != "" {
			t.Errorf("%s: SFM's own answer has Sidecar-Retryable", p.id)
		}
		return
	}
	if again == "true" && work > 0 {
		t.Errorf("%s: %s is called retryable, and SFM has done the work", p.id, code)
	}
	doc := problemOf(t, a)
	if doc.Retryable != retryable[code] {
		t.Errorf("%s: %s has retryable %v", p.id, code, doc.Retryable)
	}
	if (code == "upstream-outcome-unknown" || code == "upstream-timeout") && !strings.Contains(doc.Hint, "$getMedication") {
		t.Errorf("%s: the hint of %s does not say to look first: %s", p.id, code, doc.Hint)
	}
}

// checkSFM looks at what SFM saw of the call, and returns how often it did the work.
func (p *prescription) checkSFM(t *testing.T, want fate) int {
	t.Helper()
	work, accepted, proofs := p.w.sim.WorkDone(sendPath, p.sha), 0, map[string]bool{}
	operations := p.w.operations(p.id)
	for _, op := range operations {
		if op.Accepted {
			accepted++
		}
		if op.JTIHash != "" && proofs[op.JTIHash] {
			t.Errorf("%s: a proof came twice", p.id)
		}
		proofs[op.JTIHash] = true
		if op.BodyLength != 0 && (op.BodyLength != int64(len(p.body)) || op.BodySHA256 != p.sha) {
			t.Errorf("%s: SFM read another body", p.id)
		}
	}
	if accepted > 1 || work > 1 {
		t.Fatalf("%s: SFM accepted the call %d times and did the work %d times", p.id, accepted, work)
	}
	if work != want.work || len(operations) != want.attempts {
		t.Errorf("%s: SFM did the work %d times after %d attempts, want %d after %d", p.id, work, len(operations), want.work, want.attempts)
	}
	return work
}

// TestNeverTwiceFaults sends prescriptions through every fault of SFM at every
// moment: over a new connection and over a kept one, with and without
// Idempotency-Key, small and too large to be kept.
func TestNeverTwiceFaults(t *testing.T) {
	t.Parallel()
	opened := new(atomic.Int64)
	w := newWorld(t, setup{opened: opened})
	c := &connections{w: w, handle: w.logIn("lege"), opened: opened}
	faults := []simulator.SFMFault{
		{Kind: simulator.FaultDelay, DelayMS: 20},
		{Kind: simulator.FaultStatus},
		{Kind: simulator.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfterS: 7},
		{Kind: simulator.FaultReset},
		{Kind: simulator.FaultClose},
		{Kind: simulator.FaultResetHalf},
		{Kind: simulator.FaultGarbage},
		{Kind: simulator.FaultCutHeaders},
	}
	calls := 0
	for _, fault := range faults {
		for _, fault.When = range []string{simulator.BeforeBody, simulator.BeforeWork, simulator.AfterWork} {
			t.Run(fmt.Sprintf("%s %d", fault, fault.Status), func(t *testing.T) {
				for name, variant := range variants {
					p := w.prescribe(c.handle, fmt.Sprintf("%s-%d", name, calls), variant.size, variant.header...)
					calls++
					c.ready(t, variant.kept)
					before := opened.Load()
					c.fault(fault, sendPath)
					a := p.meets(t, fateOf(fault))
					c.count(variant.kept, opened.Load()-before)
					checkPassed(t, p, fault, a)
				}
			})
		}
	}
	t.Logf("%d calls, %d of %d over a kept connection as intended", calls, c.reused, c.wanted)
	if c.reused < c.wanted*9/10 {
		t.Error("kept connections were not met")
	}
}

// variants are the ways in which a call is made.
var variants = map[string]struct {
	kept   bool
	size   int
	header []string
}{
	"new":            {},
	"new-idempotent": {header: []string{"Idempotency-Key", "0b5ff2f8", "X-Idempotency-Key", "0b5ff2f8"}},
	"kept":           {kept: true},
	"kept-idempotent": {
		kept: true, header: []string{"Idempotency-Key", "0b5ff2f8"},
	},
	"large":            {size: large},
	"large-idempotent": {kept: true, size: large, header: []string{"Idempotency-Key", "0b5ff2f8"}},
	"huge":             {size: 1 << 20},
}

// fateOf is the answer that contract section 5 promises for a fault of SFM.
func fateOf(fault simulator.SFMFault) fate {
	f := fate{attempts: 1}
	if fault.When == simulator.AfterWork || fault.Kind == simulator.FaultDelay {
		f.work = 1
	}
	switch fault.Kind {
	case simulator.FaultDelay, simulator.FaultGarbage:
		f.status = http.StatusOK
	case simulator.FaultStatus:
		if f.status = fault.Status; f.status == 0 {
			f.status = http.StatusInternalServerError
		}
	case simulator.FaultResetHalf:
		f.broken = true
	default:
		f.status, f.code = http.StatusBadGateway, "upstream-outcome-unknown"
	}
	return f
}

// checkPassed wants SFM's own answers untouched.
func checkPassed(t *testing.T, p *prescription, fault simulator.SFMFault, a answer) {
	t.Helper()
	var resource struct {
		ResourceType string `json:"resourceType"`
	}
	err := json.Unmarshal(a.body, &resource)
	switch fault.Kind {
	case simulator.FaultStatus:
		if err != nil || resource.ResourceType != "OperationOutcome" || fault.RetryAfterS > 0 && a.header.Get("Retry-After") != "7" {
			t.Errorf("%s: SFM's %d was changed on its way", p.id, a.status)
		}
	case simulator.FaultGarbage:
		if err == nil || len(a.body) < 512 {
			t.Errorf("%s: SFM's garbage was changed on its way", p.id)
		}
	case simulator.FaultDelay:
		if err != nil || resource.ResourceType != "Parameters" {
			t.Errorf("%s: SFM's answer was changed on its way", p.id)
		}
	}
}

// connections brings the sidecar's connection to SFM into a known state. There is
// one at most, since its calls go one after the other.
type connections struct {
	w              *world
	handle         string
	opened         *atomic.Int64
	wanted, reused int // calls that were to go over a kept one, and those that did
}

func (c *connections) fault(f simulator.SFMFault, path string) {
	f.Path, f.Count = path, 1
	c.w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.Faults = []simulator.SFMFault{f} })
}

// ready leaves one idle connection, or none.
func (c *connections) ready(t *testing.T, kept bool) {
	t.Helper()
	task := func() answer {
		return c.w.send(c.w.request(http.MethodGet, "/basis/Task", "", headers(c.handle, simulator.Tenants()[0])...))
	}
	if kept {
		if a := task(); a.status != http.StatusOK {
			t.Fatalf("warming up: %d %s", a.status, a.header.Get("Sidecar-Error"))
		}
		return
	}
	for fresh := false; !fresh; { // one that is new, and then dies, leaves none
		before := c.opened.Load()
		c.fault(simulator.SFMFault{Kind: simulator.FaultReset}, "/Task")
		if a := task(); a.header.Get("Sidecar-Error") != "upstream-outcome-unknown" {
			t.Fatalf("breaking a connection: %d %s", a.status, a.header.Get("Sidecar-Error"))
		}
		fresh = c.opened.Load() > before
	}
}

func (c *connections) count(kept bool, opened int64) {
	if !kept {
		return
	}
	c.wanted++
	if opened == 0 {
		c.reused++
	}
}

// TestNeverTwiceTimeouts lets SFM be slower than SFM_RESPONSE_TIMEOUT. It may do
// the work long after the caller was told, and it does it once.
func TestNeverTwiceTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SFM_RESPONSE_TIMEOUT=1s"}})
	handle := w.logIn("lege")
	var sent []*prescription
	for _, at := range []struct{ prefix, when string }{ // longest first: the shorter paths are the ends of the longer
		{"/api/v2", simulator.BeforeBody}, {"/v2", simulator.BeforeWork}, {"", simulator.AfterWork},
	} {
		w.sim.SetKnobs(func(k *simulator.Knobs) {
			k.SFM.Faults = append(k.SFM.Faults, simulator.SFMFault{Kind: simulator.FaultDelay, When: at.when, Path: at.prefix + sendPath, DelayMS: 1500})
		})
		for i, header := range [][]string{nil, {"Idempotency-Key", "0b5ff2f8"}} {
			p := w.prescribe(handle, fmt.Sprintf("%s-%d", at.when, i), 0, header...)
			p.path = "/basis" + at.prefix + sendPath
			sent = append(sent, p)
		}
	}
	var group sync.WaitGroup
	for _, p := range sent {
		group.Go(func() {
			a, err := p.send()
			if err != nil || a.status != http.StatusGatewayTimeout {
				t.Errorf("%s: %d %s %v", p.id, a.status, a.header.Get("Sidecar-Error"), err)
				return
			}
			doc := problemOf(t, a)
			if doc.Retryable || doc.Type != "urn:sfm-sidecar:problem:upstream-timeout" || !strings.Contains(doc.Hint, "$getMedication") {
				t.Errorf("%s: %+v", p.id, doc)
			}
		})
	}
	group.Wait()
	late := time.NewTimer(time.Second) // what SFM still does, it does within that time
	defer late.Stop()
	<-late.C
	for _, p := range sent {
		work, operations := w.sim.WorkDone(sendPath, p.sha), w.operations(p.id)
		if work > 1 || len(operations) != 1 {
			t.Errorf("%s: SFM did the work %d times after %d attempts", p.id, work, len(operations))
		}
	}
}

// challengeTest is a call that meets a refusal by SFM's authentication, or trouble
// at HelseID, or both.
type challengeTest struct {
	size   int
	begin  func(*simulator.Knobs) // from the start
	before func(*testing.T, *world, string)
	knobs  func(*simulator.Knobs) // right before the call
	want   fate
	again  bool // the same call, made again, succeeds
}

var challengeTests = map[string]challengeTest{
	"nonce wanted":             {knobs: nonces(0), want: fate{status: 200, work: 1, attempts: 2}},
	"nonce stale":              {begin: nonces(0), before: warm, knobs: nonces(1), want: fate{status: 200, work: 1, attempts: 2}},
	"nonce stale twice":        {begin: nonces(0), before: warm, knobs: nonces(2), want: fate{status: 401, attempts: 2}},
	"token refused":            {before: warm, knobs: rejects(1), want: fate{status: 200, work: 1, attempts: 2}},
	"token refused twice":      {before: warm, knobs: rejects(2), want: fate{status: 401, attempts: 2}, again: true},
	"token refused again soon": {before: refusedToken, knobs: rejects(1), want: fate{status: 401, attempts: 1}, again: true},
	"nonce stale, then token refused": {
		begin: nonces(0), before: warm, knobs: both(nonces(1), rejects(1)), want: fate{status: 401, attempts: 2}, again: true,
	},
	"nonce stale, then broken after the work": {
		begin: nonces(0), before: warm, knobs: both(nonces(1), strikes(simulator.FaultReset, simulator.AfterWork)),
		want: fate{status: 502, code: "upstream-outcome-unknown", work: 1, attempts: 2},
	},
	"nonce stale, then broken before the work": {
		begin: nonces(0), before: warm, knobs: both(nonces(1), strikes(simulator.FaultClose, simulator.BeforeWork)),
		want: fate{status: 502, code: "upstream-outcome-unknown", attempts: 2},
	},
	"token refused, then 500 after the work": {
		before: warm, knobs: both(rejects(1), strikes(simulator.FaultStatus, simulator.AfterWork)),
		want: fate{status: 500, work: 1, attempts: 2},
	},
	"token refused, then cut after the work": {
		before: warm, knobs: both(rejects(1), strikes(simulator.FaultCutHeaders, simulator.AfterWork)),
		want: fate{status: 502, code: "upstream-outcome-unknown", work: 1, attempts: 2},
	},

	"token refused, HelseID down": {
		before: warm, knobs: both(rejects(1), tokenFault(simulator.Fault{Status: 503, Count: 1})),
		want: fate{status: 503, code: "helseid-unavailable", attempts: 1}, again: true,
	},
	"token refused, HelseID wants a nonce": {
		before: warm, knobs: both(rejects(1), tokenFault(simulator.Fault{StaleNonce: true, Count: 1})),
		want: fate{status: 200, work: 1, attempts: 2},
	},
	"token refused, HelseID's answer lost": {
		before: warm, knobs: both(rejects(1), tokenFault(simulator.Fault{DropAnswer: true, Count: 1})),
		want: fate{status: 401, code: "session-expired", attempts: 1},
	},
	"token refused, HelseID's answer lost without rotation": {
		begin: rotationOff, before: warm, knobs: both(rejects(1), tokenFault(simulator.Fault{DropAnswer: true, Count: 1})),
		want: fate{status: 200, work: 1, attempts: 2},
	},
	"no token, HelseID down": {
		knobs: tokenFault(simulator.Fault{Status: 503, Count: 1}), want: fate{status: 503, code: "helseid-unavailable"}, again: true,
	},
	"no token, HelseID wants a nonce": {
		knobs: tokenFault(simulator.Fault{StaleNonce: true, Count: 1}), want: fate{status: 200, work: 1, attempts: 1},
	},
	"no token, HelseID wants a nonce twice": {
		knobs: tokenFault(simulator.Fault{StaleNonce: true, Count: 2}), want: fate{status: 502, code: "helseid-refused"},
	},
	"no token, HelseID's answer lost": {
		knobs: tokenFault(simulator.Fault{DropAnswer: true, Count: 1}), want: fate{status: 401, code: "session-expired"},
	},
	"no token, HelseID's answer lost without rotation": {
		begin: rotationOff, knobs: tokenFault(simulator.Fault{DropAnswer: true, Count: 1}), want: fate{status: 200, work: 1, attempts: 1},
	},
	"no token, HelseID's answer lost and SFM breaks": {
		begin: rotationOff, knobs: both(tokenFault(simulator.Fault{DropAnswer: true, Count: 1}), strikes(simulator.FaultReset, simulator.AfterWork)),
		want: fate{status: 502, code: "upstream-outcome-unknown", work: 1, attempts: 1},
	},

	"large, nonce wanted":  {size: large, knobs: nonces(0), want: fate{status: 200, work: 1, attempts: 2}},
	"huge, nonce wanted":   {size: 1 << 20, knobs: nonces(0), want: fate{status: 200, work: 1, attempts: 2}},
	"large, token refused": {size: large, before: warm, knobs: rejects(1), want: fate{status: 200, work: 1, attempts: 2}},
	"large, nonce wanted, SFM silent about Expect": {
		size: large, knobs: both(nonces(0), expects("silent")), want: fate{status: 200, work: 1, attempts: 2},
	},
	"large, body gone when the nonce is stale": {
		size: large, begin: both(nonces(0), expects("silent")), before: warmLarge, knobs: nonces(1),
		want: fate{status: 503, code: "resend-needed", attempts: 1}, again: true,
	},
	"large, body gone when the token is refused": {
		size: large, begin: expects("silent"), before: warmLarge, knobs: rejects(1),
		want: fate{status: 503, code: "resend-needed", attempts: 1}, again: true,
	},
	"large, Expect refused": {size: large, knobs: expects("refuse"), want: fate{status: 200, work: 1, attempts: 2}},
	"large, Expect refused, then broken after the work": {
		size: large, knobs: both(expects("refuse"), strikes(simulator.FaultReset, simulator.AfterWork)),
		want: fate{status: 502, code: "upstream-outcome-unknown", work: 1, attempts: 2},
	},
	"large, Expect refused, then nonce stale": {
		size: large, knobs: both(expects("refuse"), nonces(1)), want: fate{status: 401, attempts: 2},
	},
	"large, HelseID's answer lost": {
		size: large, knobs: tokenFault(simulator.Fault{DropAnswer: true, Count: 1}), want: fate{status: 401, code: "session-expired"},
	},
	"large, token refused, HelseID down": {
		size: large, before: warm, knobs: both(rejects(1), tokenFault(simulator.Fault{Status: 503, Count: 1})),
		want: fate{status: 503, code: "helseid-unavailable", attempts: 1}, again: true,
	},
}

// TestNeverTwiceChallenges sends prescriptions into SFM's 401 and HelseID's troubles.
func TestNeverTwiceChallenges(t *testing.T) {
	t.Parallel()
	for name, tt := range challengeTests {
		for _, header := range [][]string{nil, {"Idempotency-Key", "0b5ff2f8"}} {
			if header != nil {
				name += ", idempotent"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				knobs := simulator.DefaultKnobs()
				if tt.begin != nil {
					tt.begin(&knobs)
				}
				w := newWorld(t, setup{sim: simulator.Options{Knobs: &knobs}})
				handle := w.logIn("lege")
				if tt.before != nil {
					tt.before(t, w, handle)
				}
				w.sim.SetKnobs(tt.knobs)
				p := w.prescribe(handle, "call", tt.size, header...)
				p.meets(t, tt.want)
				if !tt.again {
					return
				}
				p.id = "again"
				a, err := p.send()
				work := w.sim.WorkDone(sendPath, p.sha)
				if err != nil || a.status != http.StatusOK || work != 1 {
					t.Errorf("made again: %d %s %v, the work done %d times", a.status, a.header.Get("Sidecar-Error"), err, work)
				}
			})
		}
	}
}

// warm makes a good call, so that a token is held.
func warm(t *testing.T, w *world, handle string) {
	t.Helper()
	w.prescribe(handle, "warm", 0).succeeds(t)
}

// warmLarge makes one whose Expect stays unanswered: the next has none.
func warmLarge(t *testing.T, w *world, handle string) {
	t.Helper()
	w.prescribe(handle, "warm", large).succeeds(t)
}

// refusedToken has a token refused and replaced a moment ago.
func refusedToken(t *testing.T, w *world, handle string) {
	t.Helper()
	warm(t, w, handle)
	w.sim.SetKnobs(rejects(1))
	w.prescribe(handle, "replaced", 0).succeeds(t)
}

func (p *prescription) succeeds(t *testing.T) {
	t.Helper()
	if a, err := p.send(); err != nil || a.status != http.StatusOK {
		t.Fatalf("%s: %d %s %v", p.id, a.status, a.header.Get("Sidecar-Error"), err)
	}
}

type turn = func(*simulator.Knobs)

func both(one, other turn) turn { return func(k *simulator.Knobs) { one(k); other(k) } }

// nonces has SFM want nonces of its own, the next so many of which are stale.
func nonces(stale int) turn {
	return func(k *simulator.Knobs) { k.SFM.RequireNonce, k.SFM.StaleNonces = true, stale }
}

func rejects(n int) turn { return func(k *simulator.Knobs) { k.SFM.RejectTokens = n } }

func expects(kind string) turn { return func(k *simulator.Knobs) { k.SFM.Expect = kind } }

func rotationOff(k *simulator.Knobs) { k.HelseID.RotationOff = true }

func strikes(kind, when string) turn {
	return func(k *simulator.Knobs) {
		k.SFM.Faults = []simulator.SFMFault{{Kind: kind, When: when, Path: sendPath, Count: 1}}
	}
}

func tokenFault(f simulator.Fault) turn {
	f.Path = "/connect/token"
	return func(k *simulator.Knobs) { k.HelseID.Fault = f }
}
