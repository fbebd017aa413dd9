package app

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/control"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
)

const (
	// maxRefusals is how many of the last refusals are remembered, maxTroubled for how
	// many tenants that no token could be had.
	maxRefusals = 50
	maxTroubled = 200
)

// witness remembers what happened last, for the status page. What every call passes
// costs it one atomic store; the rest is for when something went wrong. A nil witness
// remembers nothing: commands that serve nobody have none.
type witness struct {
	started time.Time
	version string
	// answers are SFM's last answers by upstream: milliseconds since 1970, and in the
	// lowest ten bits the status. failures are the last calls that got none. Neither
	// map changes.
	answers  map[string]*atomic.Int64
	failures map[string]*atomic.Pointer[failure]
	// troubled are the tenants for which no token could be had, until one is.
	troubled *lru.Cache[tenantmap.Tenant, control.Refusal]

	mu                     sync.Mutex // guards what follows
	refusals               []control.Refusal
	next                   int // where the next refusal goes, once there are maxRefusals
	answered, failed, down time.Time
}

// failure is a call that SFM did not answer.
type failure struct {
	at   time.Time
	code string
}

func newWitness(version string, upstreams []config.Upstream) (*witness, error) {
	w := &witness{
		started: time.Now(), version: version,
		answers: make(map[string]*atomic.Int64), failures: make(map[string]*atomic.Pointer[failure]),
	}
	for _, u := range upstreams {
		w.answers[u.Name], w.failures[u.Name] = new(atomic.Int64), new(atomic.Pointer[failure])
	}
	var err error
	w.troubled, err = lru.New[tenantmap.Tenant, control.Refusal](maxTroubled)
	return w, err
}

const statusBits = 10

// answer notes an answer of SFM.
func (w *witness) answer(a proxy.Answer) {
	if w == nil {
		return
	}
	if last, ok := w.answers[a.Ask.Upstream.Name]; ok {
		last.Store(time.Now().UnixMilli()<<statusBits | int64(a.Status)&(1<<statusBits-1))
	}
}

// aboutTenant are the refusals that say that a tenant can't have a token at all.
var aboutTenant = []string{"tenant-not-delegated", "tenant-refused", "tenant-terms-unsigned", "token-mismatch", "helseid-refused"}

// refused notes a refusal. The request id is the caller's own word, and a reason may
// be HelseID's: they are masked like what is logged.
func (w *witness) refused(r proxy.Refused) {
	if w == nil {
		return
	}
	made := control.Refusal{
		At: r.At, Code: r.Code, Title: r.Title, Hint: telemetry.Mask(r.Hint), Origin: r.Origin, Reason: telemetry.Mask(r.Reason),
		HID: telemetry.Mask(r.HID), RequestID: telemetry.Mask(r.RequestID), Upstream: r.Upstream,
		Parent: r.Tenant.Parent, Child: r.Tenant.Child, Journal: r.Tenant.Journal,
	}
	if r.Tenant.Parent != "" && slices.Contains(aboutTenant, r.Code) {
		w.troubled.Add(r.Tenant.Folded(), made)
	}
	if last, ok := w.failures[r.Upstream]; ok && r.Origin == "sfm" && r.Code != "resend-needed" {
		last.Store(&failure{r.At, r.Code})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.refusals) < maxRefusals {
		w.refusals = append(w.refusals, made)
		return
	}
	w.refusals[w.next] = made
	w.next = (w.next + 1) % maxRefusals
}

// minted notes that a tenant has a token.
func (w *witness) minted(t tenantmap.Tenant) {
	if w != nil {
		w.troubled.Remove(t.Folded())
	}
}

// asked notes how a request to HelseID ended.
func (w *witness) asked(outcome string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch now := time.Now(); outcome {
	case "canceled", "internal", "limit-reached": // says nothing of HelseID
	case "helseid-unavailable":
		if w.failed = now; w.down.IsZero() {
			w.down = now
		}
	default:
		w.answered, w.down = now, time.Time{}
	}
}

// last are the refusals, newest first.
func (w *witness) last() []control.Refusal {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Concat(w.refusals[w.next:], w.refusals[:w.next])
	slices.Reverse(all)
	return all
}

// helseID is how it stands with HelseID, as far as it was asked.
func (w *witness) helseID() control.HelseID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return control.HelseID{Answered: w.answered, Failed: w.failed, Down: w.down}
}

// upstream is the last thing that came of calls to one.
func (w *witness) upstream(u config.Upstream) control.Upstream {
	said := control.Upstream{Name: u.Name, Host: u.URL.Host}
	if packed := w.answers[u.Name].Load(); packed != 0 {
		said.At, said.Status = time.UnixMilli(packed>>statusBits), int(packed&(1<<statusBits-1))
	}
	if f := w.failures[u.Name].Load(); f != nil && f.at.After(said.At) {
		said.At, said.Status, said.Code = f.at, 0, f.code
	}
	return said
}
