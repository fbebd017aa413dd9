package control

import (
	"slices"
	"time"
)

const (
	// recent is how long something that went wrong counts as going wrong.
	recent = 15 * time.Minute
	// nearEnd is how long before a log-in's end the page speaks of it, keyNearEnd the
	// same for the client key.
	nearEnd    = 15 * time.Minute
	keyNearEnd = 14 * 24 * time.Hour
	// A clock is spoken of from clockOff on; beyond clockFar it can't be made up for.
	clockOff = 2 * time.Second
	clockFar = 5 * time.Minute
)

// level is how bad something is.
type level int

const (
	good level = iota
	note       // works, but somebody should know
	bad        // calls fail
)

func (l level) String() string { return [...]string{"good", "note", "bad"}[l] }

// trouble is one thing that somebody should know.
type trouble struct {
	level level
	kind  string // names its words
	// What the words speak of, as far as the kind has it:
	count   int
	at      time.Time
	span    time.Duration
	name    string // of an upstream or a tenant
	refusal *Refusal
}

// troubles are all there are, the one to see to first in front. The order within a
// level is that of reach: what stops everyone comes before what stops one.
func (s *Status) troubles() []trouble {
	var found []trouble
	for _, judge := range []func(*Status) []trouble{
		stopping, clientRefused, helseIDDown, clock, upstreams, storeDown, storeKey, ours, clientKey, tenants, registry, sessionEnd, callers,
	} {
		found = append(found, judge(s)...)
	}
	slices.SortStableFunc(found, func(a, b trouble) int { return int(b.level) - int(a.level) })
	return found
}

func one(when bool, t trouble) []trouble {
	if !when {
		return nil
	}
	return []trouble{t}
}

func (s *Status) since(at time.Time) time.Duration { return s.Now.Sub(at) }

func stopping(s *Status) []trouble { return one(s.Stopping, trouble{level: note, kind: "stopping"}) }

func clientRefused(s *Status) []trouble {
	return one(s.HelseID.Refused != "", trouble{level: bad, kind: "client-refused"})
}

func helseIDDown(s *Status) []trouble {
	h := s.HelseID
	return one(!h.Down.IsZero() && s.since(h.Failed) < recent, trouble{level: bad, kind: "helseid-down", at: s.HelseID.Down})
}

// clock: what is made up for is only spoken of; the rest of it stops calls.
func clock(s *Status) []trouble {
	off, left := s.Clock.Ahead.Abs(), (s.Clock.Ahead - s.Clock.Corrected).Abs()
	switch {
	case off > clockFar:
		return []trouble{{level: bad, kind: "clock-far", span: s.Clock.Ahead}}
	case off > clockOff && left > clockOff:
		return []trouble{{level: bad, kind: "clock-uncorrected", span: s.Clock.Ahead}}
	case off > clockOff:
		return []trouble{{level: note, kind: "clock-off", span: s.Clock.Ahead}}
	}
	return nil
}

func upstreams(s *Status) []trouble {
	var found []trouble
	for _, u := range s.Upstreams {
		if u.failing() && s.since(u.At) < recent {
			kind := "sfm-down"
			if u.Status != 0 {
				kind = "sfm-errors"
			}
			found = append(found, trouble{level: bad, kind: kind, name: u.Name, at: u.At})
		}
	}
	return found
}

// failing: the last call got no answer, or one that says the server is in trouble.
func (u Upstream) failing() bool { return u.Code != "" || u.Status >= 500 }

func storeDown(s *Status) []trouble {
	return one(s.Store.down(), trouble{level: bad, kind: "store-down", at: s.storeSince()})
}

func (s *Store) down() bool { return s != nil && !s.Resting.IsZero() }

func (s *Status) storeSince() (at time.Time) {
	if s.Store != nil {
		at = s.Store.Resting
	}
	return at
}

// storeReason is why the shared store refused something lately, where the page has words
// for that.
func (s *Status) storeReason() string {
	if s.Store == nil || s.since(s.Store.Failed) > recent {
		return ""
	}
	if _, ok := storeFaults[s.Store.Reason]; !ok {
		return ""
	}
	return s.Store.Reason
}

// storeKey: while the store is down, a key of one's own is no news.
func storeKey(s *Status) []trouble {
	switch {
	case s.Store == nil || s.Store.down():
		return nil
	case s.Store.OwnKey && s.Store.KeyUnopened:
		return []trouble{{level: note, kind: "store-key-apart"}}
	case s.Store.OwnKey:
		return []trouble{{level: note, kind: "store-key-own"}}
	}
	return one(s.Store.KeyUnopened, trouble{level: note, kind: "store-key-unopened"})
}

// ours are faults on this side that no other line shows: the store, our limits, our
// own mistakes.
func ours(s *Status) []trouble {
	var found []trouble
	for _, code := range []string{"store-unavailable", "internal", "limit-reached"} {
		if code == "store-unavailable" && s.Store.down() {
			continue // said already
		}
		r := s.lastOf(func(r Refusal) bool { return r.Code == code })
		switch {
		case r == nil:
		case code == "store-unavailable" && s.storeReason() != "":
			found = append(found, trouble{level: bad, kind: "store-failing", name: s.storeReason(), at: r.At})
		default:
			found = append(found, trouble{level: bad, kind: code, at: r.At, refusal: r})
		}
	}
	return found
}

// lastOf is the newest refusal of a kind that still counts.
func (s *Status) lastOf(kind func(Refusal) bool) *Refusal {
	for i, r := range s.Refusals {
		if s.since(r.At) < recent && kind(r) {
			return &s.Refusals[i]
		}
	}
	return nil
}

func clientKey(s *Status) []trouble {
	end := s.ClientKey.NotAfter
	switch left := end.Sub(s.Now); {
	case end.IsZero() || left > keyNearEnd:
		return nil
	case left <= 0:
		return []trouble{{level: bad, kind: "key-ended", at: end}}
	default:
		return []trouble{{level: note, kind: "key-ending", at: end}}
	}
}

func tenants(s *Status) []trouble {
	var first *Refusal
	name := ""
	count := 0
	for _, t := range s.Tenants {
		if t.Trouble == nil || s.since(t.Trouble.At) > recent {
			continue
		}
		if count++; first == nil {
			first, name = t.Trouble, t.whole()
		}
	}
	return one(count > 0, trouble{level: bad, kind: "tenants", count: count, name: name, refusal: first})
}

func registry(s *Status) []trouble {
	n := len(s.Registry.Faults) + s.Registry.MoreFaults
	return one(n > 0, trouble{level: note, kind: "registry", count: n, at: s.Registry.Loaded})
}

func sessionEnd(s *Status) []trouble {
	end := s.Sessions.NearestEnd
	left := end.Sub(s.Now)
	return one(!end.IsZero() && left > 0 && left <= nearEnd, trouble{level: note, kind: "session-ending", at: end, span: left})
}

// ordinary refusals belong to every day: a person is to log in.
var ordinary = []string{
	"session-required", "session-unknown", "session-expired", "session-pending", "subject-token-required", "subject-token-invalid", "person-mismatch",
}

func callers(s *Status) []trouble {
	r := s.lastOf(func(r Refusal) bool { return r.Origin == "caller" && !slices.Contains(ordinary, r.Code) })
	if r == nil {
		return nil
	}
	return []trouble{{level: note, kind: "callers", at: r.At, refusal: r}}
}
