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
	unable  = "store-unavailable"
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
	r.add("this program was woken more than 50 ms late", "%d times, %v at most", len(e.Stood), worst.Round(time.Millisecond))
}

// judgeAnswers: every call is answered well, or refused because of the store while
// that was down and no good token at hand.
func (e *evidence) judgeAnswers(r *report) {
	codes, took := map[string]int{}, []time.Duration{}
	starved, lastAfter := 0, time.Duration(0)
	tokens := e.tokensAtHand()
	for _, c := range slices.Concat(e.Calls, e.Last) {
		switch {
		case c.Wrong != "":
			r.breaks("%s: %s", c.ID, c.Wrong)
			continue
		case c.Code == "" && c.Status == http.StatusOK:
			took = append(took, c.Took)
			continue
		}
		codes[cmp.Or(c.Code, fmt.Sprint(c.Status))]++
		if c.Code != unable {
			r.breaks("%s: %d %s", c.ID, c.Status, c.Code)
			continue
		}
		if until := tokens.until(c); c.Begun.Before(until) {
			r.breaks("%s: refused though sidecar %d had a token for %v more", c.ID, c.Sidecar, until.Sub(c.Begun).Round(time.Millisecond))
			continue
		}
		o := e.during(c)
		switch {
		case o != nil:
			lastAfter = max(lastAfter, c.Begun.Add(c.Took).Sub(o.Over))
		case e.wasStill(c):
			starved++
		default:
			r.breaks("%s: refused while the store served", c.ID)
		}
	}
	slices.Sort(took)
	r.add("calls", "%d, answered well %d", len(e.Calls)+len(e.Last), len(took))
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		r.add("  refused with "+code, "%d", codes[code])
	}
	if starved > 0 {
		r.add("  of these while the machine stood still and the store served", "%d", starved)
	}
	if len(e.Outages) > 0 {
		r.add("  the last refusal after the store served again", "%v", lastAfter.Round(time.Millisecond))
	}
	if n := len(took); n > 0 {
		r.add("time of a good answer: median, 99 of 100, longest", "%v %v %v",
			took[n/2].Round(100*time.Microsecond), took[n*99/100].Round(time.Millisecond), took[n-1].Round(time.Millisecond))
	}
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
			// Told in whole seconds, and not sent in the last twentieth.
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

// judgeRefreshes: one refresh of a pair in a token's life, no refresh token twice,
// never two of one log-in at once.
func (e *evidence) judgeRefreshes(r *report) {
	type pair struct {
		login  int
		tenant tenant
	}
	last, refused := map[pair]time.Time{}, map[string]int{}
	granted, reused, early, untimely, most := 0, 0, 0, 0, 0
	var gaps []time.Duration
	for _, q := range e.Requests {
		if q.Endpoint != "token" || q.Grant != "refresh_token" {
			continue
		}
		most = max(most, q.InFlight)
		if q.Reuse {
			reused++
		}
		if q.Outcome != "granted" {
			refused[q.Error]++
			continue
		}
		granted++
		of := pair{q.Login, q.Tenant}
		if before, ok := last[of]; ok {
			gap := q.Time.Sub(before)
			gaps = append(gaps, gap)
			if gap < e.soonest() {
				early++
				if !e.alone(q.Time) {
					untimely++
				}
			}
		}
		last[of] = q.Time
	}
	slices.Sort(gaps)
	pairs := len(e.persons) * len(e.tenants)
	r.add("refreshes at HelseID", "%d, of %d pairs; %.2f of a pair in a lifetime of the load", granted, len(last), float64(granted)*e.run.life.Seconds()/float64(pairs)/e.run.lasts.Seconds())
	for _, code := range slices.Sorted(maps.Keys(refused)) {
		r.add("  refused with "+code, "%d", refused[code])
		if code != "use_dpop_nonce" {
			r.breaks("HelseID refused %d refreshes with %s", refused[code], code)
		}
	}
	if n := len(gaps); n > 0 {
		r.add("time between two refreshes of a pair: shortest, 1 of 100, median", "%v %v %v",
			gaps[0].Round(time.Millisecond), gaps[n/100].Round(time.Millisecond), gaps[n/2].Round(time.Millisecond))
	}
	r.add("refreshes before their time", "%d", early)
	r.add("refresh tokens used twice; refreshes of a log-in at once", "%d; %d", reused, most)
	if reused > 0 {
		r.breaks("%d refresh tokens were used twice", reused)
	}
	if most > 1 {
		r.breaks("%d refreshes of one log-in were under way at once", most)
	}
	if untimely > 0 {
		r.breaks("%d refreshes of a pair whose token was good", untimely)
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
