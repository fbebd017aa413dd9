//go:build unix

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"
)

// operation and tokenRequest are what the simulator tells of calls to SFM and HelseID.
type operation struct {
	At        time.Time `json:"at"`
	Accepted  bool      `json:"accepted"`
	Refusal   string    `json:"refusal"`
	Tenant    tenant    `json:"tenant"`
	Subject   string    `json:"subject"`
	TokenHash string    `json:"token_hash"`
	Margin    int64     `json:"token_margin_s"`
	RequestID string    `json:"request_id"`
}

type tokenRequest struct {
	Time     time.Time `json:"time"`
	Endpoint string    `json:"endpoint"`
	Grant    string    `json:"grant"`
	Tenant   tenant    `json:"tenant"`
	Outcome  string    `json:"outcome"`
	Error    string    `json:"error"`
	Login    int       `json:"login"`
	Ordinal  int       `json:"ordinal"`
	InFlight int       `json:"in_flight"`
	Reuse    bool      `json:"reuse"`
}

const (
	// grace is how long after an outage calls may still be refused: what rests is asked
	// again after a second, and what was sent meanwhile has its half second.
	grace = 3 * time.Second
	// excused is how long after the machine stood still a refusal may be its doing.
	excused = 2 * time.Second
	// unable is the code of what can't be done without the store.
	unable = "store-unavailable"
)

// report is what is printed: figures, and which promises were broken.
type report struct {
	title  string
	lines  []string
	broken []string
}

func (r *report) line(text string) { r.lines = append(r.lines, text) }

func (r *report) add(what, format string, a any, more ...any) {
	r.line(fmt.Sprintf("%-58s "+format, append([]any{what, a}, more...)...))
}

func (r *report) breaks(format string, a ...any) {
	r.broken = append(r.broken, fmt.Sprintf(format, a...))
}

func (r *report) print(out io.Writer) {
	fmt.Fprintln(out, r.title)
	for _, line := range r.lines {
		fmt.Fprintln(out, "  "+line)
	}
	for i, line := range r.broken {
		if i == 20 {
			fmt.Fprintf(out, "  BROKEN: and %d more\n", len(r.broken)-i)
			break
		}
		fmt.Fprintln(out, "  BROKEN: "+line)
	}
	if len(r.broken) == 0 {
		fmt.Fprintln(out, "  every promise was kept")
	}
}

func (e *evidence) judge() *report {
	r := &report{title: fmt.Sprintf("%s: %d sidecars, %d persons for %d tenants each, tokens of %v, %d calls a second for %v",
		e.run.name, e.run.sidecars, len(e.persons), len(e.tenants), e.run.life, e.run.rate, e.run.lasts)}
	for _, o := range e.Outages {
		r.line(fmt.Sprintf("the store did not serve for %v (%s)", o.Over.Sub(o.Begun).Round(10*time.Millisecond), o.What))
	}
	e.judgeStill(r)
	e.judgeAnswers(r)
	e.judgeLedger(r)
	e.judgeRefreshes(r)
	return r
}

func (e *evidence) judgeStill(r *report) {
	worst := time.Duration(0)
	for _, s := range e.Stood {
		worst = max(worst, s.By)
	}
	r.add(fmt.Sprintf("this program was woken more than %v late", stillFrom), "%d times, %v at most", len(e.Stood), worst.Round(time.Millisecond))
}

// answers are what the calls got.
type answers struct {
	took    []time.Duration // the good ones
	refused map[string]int  // by code
	starved int             // refused while the machine stood still
	last    time.Duration   // how long after an outage the last refusal came
}

// judgeAnswers: every call is answered well, or refused because of the store while
// that was down and no good token at hand.
func (e *evidence) judgeAnswers(r *report) {
	a := &answers{refused: map[string]int{}}
	tokens := e.tokensAtHand()
	for _, c := range slices.Concat(e.Calls, e.Last) {
		switch {
		case c.Wrong != "":
			r.breaks("%s: %s", c.ID, c.Wrong)
		case c.Code == "" && c.Status == http.StatusOK:
			a.took = append(a.took, c.Took)
		default:
			a.refused[cmp.Or(c.Code, fmt.Sprint(c.Status))]++
			if wrong := e.judgeRefusal(a, c, tokens.until(c)); wrong != "" {
				r.breaks("%s: %s", c.ID, wrong)
			}
		}
	}
	slices.Sort(a.took)
	r.add("calls", "%d, answered well %d", len(e.Calls)+len(e.Last), len(a.took))
	for _, code := range slices.Sorted(maps.Keys(a.refused)) {
		r.add("  refused with "+code, "%d", a.refused[code])
	}
	if a.starved > 0 {
		r.add("  of these while the machine stood still and the store served", "%d", a.starved)
	}
	if len(e.Outages) > 0 {
		r.add("  the last refusal after the store served again", "%v", a.last.Round(time.Millisecond))
	}
	if n := len(a.took); n > 0 {
		r.add("time of a good answer: median, 99 of 100, longest", "%v %v %v",
			a.took[n/2].Round(100*time.Microsecond), a.took[n*99/100].Round(time.Millisecond), a.took[n-1].Round(time.Millisecond))
	}
}

// judgeRefusal says what is wrong with a refusal, "" if it was right. The sidecar had a
// token for the call until good.
func (e *evidence) judgeRefusal(a *answers, c call, good time.Time) string {
	if c.Code != unable {
		return fmt.Sprintf("%d %s", c.Status, c.Code)
	}
	if c.Begun.Before(good) {
		return fmt.Sprintf("refused though sidecar %d had a token for %v more", c.Sidecar, good.Sub(c.Begun).Round(time.Millisecond))
	}
	o := e.during(c)
	switch {
	case o != nil:
		a.last = max(a.last, c.Begun.Add(c.Took).Sub(o.Over))
	case e.wasStill(c):
		a.starved++
	default:
		return "refused while the store served"
	}
	return ""
}

// during is the outage in which a call was refused, or soon after it.
func (e *evidence) during(c call) *outage {
	for i, o := range slices.Backward(e.Outages) {
		if c.Begun.Add(c.Took).After(o.Begun) && c.Begun.Before(o.Over.Add(grace)) {
			return &e.Outages[i]
		}
	}
	return nil
}

func (e *evidence) wasStill(c call) bool {
	return slices.ContainsFunc(e.Stood, func(s still) bool {
		return s.At.Before(c.Begun.Add(c.Took)) && s.At.Add(s.By+excused).After(c.Begun)
	})
}

// hand is the tokens that each sidecar is known to have: it sent them.
type hand map[[3]int][]held

type held struct{ from, until time.Time }

func (e *evidence) tokensAtHand() hand {
	accepted := map[string]operation{}
	for _, op := range e.Ledger {
		if op.Accepted {
			accepted[op.RequestID] = op
		}
	}
	tokens := hand{}
	for _, c := range e.Calls {
		if op, ok := accepted[c.ID]; ok {
			// Told in whole seconds, and not sent in the last twentieth of its life; as much
			// again is left for the way to SFM.
			until := op.At.Add(time.Duration(op.Margin)*time.Second - e.run.life/10)
			at := [3]int{c.Sidecar, c.Person, c.Tenant}
			tokens[at] = append(tokens[at], held{c.Begun.Add(c.Took), until})
		}
	}
	return tokens
}

// until is the end of a token that the call's sidecar had before, for the same.
func (h hand) until(c call) (until time.Time) {
	for _, t := range h[[3]int{c.Sidecar, c.Person, c.Tenant}] {
		if t.from.Before(c.Begun) && t.until.After(until) {
			until = t.until
		}
	}
	return until
}

// judgeLedger: what SFM saw is what was asked, once each, with a token of that person
// and tenant.
func (e *evidence) judgeLedger(r *report) {
	asked := map[string]call{}
	for _, c := range slices.Concat(e.Calls, e.Last) {
		asked[c.ID] = c
	}
	type owner struct {
		subject string
		tenant  tenant
	}
	owners, seen := map[string]owner{}, map[string]bool{}
	late := 0
	for _, op := range e.Ledger {
		c, ok := asked[op.RequestID]
		if ok && op.Refusal == "invalid_token" && e.wasStill(c) {
			late++ // it was good when it left, and the call came again
			continue
		}
		if !ok || !op.Accepted || seen[op.RequestID] {
			r.breaks("SFM saw %q twice, unasked, or refused it: %s", op.RequestID, op.Refusal)
			continue
		}
		seen[op.RequestID] = true
		who := owner{e.persons[c.Person].Subject, e.tenants[c.Tenant]}
		if (owner{op.Subject, op.Tenant}) != who {
			r.breaks("%s: SFM saw a wrong token", op.RequestID)
		}
		if known, ok := owners[op.TokenHash]; ok && known != who {
			r.breaks("%s: a token of two", op.RequestID)
		}
		owners[op.TokenHash] = who
	}
	r.add("tokens that SFM saw, all of the right person and tenant", "%d", len(owners))
	if late > 0 {
		r.add("tokens that ran out on the way while the machine stood still", "%d", late)
	}
}

// pair is a log-in and a tenant: what a token is for.
type pair struct {
	login  int
	tenant tenant
}

// refreshes are those that HelseID saw.
type refreshes struct {
	granted  int
	refused  map[string]int // by error
	last     map[pair]time.Time
	gaps     []time.Duration // between two of a pair
	early    int             // sooner than a token may be renewed
	untimely int             // of these, those for which there is no excuse
	reused   int             // refresh tokens that were used twice
	atOnce   int             // most of one log-in under way together
}

func (e *evidence) refreshes() *refreshes {
	n := &refreshes{refused: map[string]int{}, last: map[pair]time.Time{}}
	for _, q := range e.Requests {
		if q.Endpoint != "token" || q.Grant != "refresh_token" {
			continue
		}
		n.atOnce = max(n.atOnce, q.InFlight)
		if q.Reuse {
			n.reused++
		}
		if q.Outcome != "granted" {
			n.refused[q.Error]++
			continue
		}
		n.granted++
		of := pair{q.Login, q.Tenant}
		if before, ok := n.last[of]; ok {
			gap := q.Time.Sub(before)
			n.gaps = append(n.gaps, gap)
			if gap < e.soonest() {
				n.early++
				if !e.alone(q.Time) {
					n.untimely++
				}
			}
		}
		n.last[of] = q.Time
	}
	slices.Sort(n.gaps)
	return n
}

// judgeRefreshes: one refresh of a pair in a token's life, no refresh token twice,
// never two of one log-in at once.
func (e *evidence) judgeRefreshes(r *report) {
	n := e.refreshes()
	pairs := len(e.persons) * len(e.tenants)
	r.add("refreshes at HelseID", "%d, of %d pairs; %.2f of a pair in a lifetime of the load", n.granted, len(n.last),
		float64(n.granted)*e.run.life.Seconds()/float64(pairs)/e.run.lasts.Seconds())
	for _, code := range slices.Sorted(maps.Keys(n.refused)) {
		r.add("  refused with "+code, "%d", n.refused[code])
		if code != "use_dpop_nonce" {
			r.breaks("HelseID refused %d refreshes with %s", n.refused[code], code)
		}
	}
	if many := len(n.gaps); many > 0 {
		r.add("time between two refreshes of a pair: shortest, 1 of 100, median", "%v %v %v",
			n.gaps[0].Round(time.Millisecond), n.gaps[many/100].Round(time.Millisecond), n.gaps[many/2].Round(time.Millisecond))
	}
	r.add("refreshes before their time", "%d", n.early)
	r.add("refresh tokens used twice; refreshes of a log-in at once", "%d; %d", n.reused, n.atOnce)
	if n.reused > 0 {
		r.breaks("%d refresh tokens were used twice", n.reused)
	}
	if n.atOnce > 1 {
		r.breaks("%d refreshes of one log-in were under way at once", n.atOnce)
	}
	if n.untimely > 0 {
		r.breaks("%d refreshes of a pair whose token was good", n.untimely)
	}
}

// alone says that a token may have been fetched though another replica has one: what
// that one could not share while the store was down is looked for as long as it lives.
func (e *evidence) alone(at time.Time) bool {
	return slices.ContainsFunc(e.Outages, func(o outage) bool {
		return at.After(o.Begun) && at.Before(o.Over.Add(grace+e.run.life))
	})
}

// soonest is when a token may be renewed: with a fifth of its life left. That is told
// in whole seconds, so up to one is lost; and as the simulator notes when it answers,
// and not when it was asked, a little less is allowed.
func (e *evidence) soonest() time.Duration { return (e.run.life-time.Second)*4/5 - e.run.life/20 }
