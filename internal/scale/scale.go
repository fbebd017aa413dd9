// Package scale foretells what a fleet of sidecars with a shared store asks of HelseID
// and of that store: from ten pods to ten thousand.
//
// There are two models of the same thing. [Simulate] plays a fleet, call by call, as
// the rooms behave: internal/session (follow.go, use.go, refresh.go, spent.go, idle.go),
// internal/tokencache (entry.go, shared.go) and internal/store (redislock.go,
// redishub.go). [Predict] has formulas, for fleets that are too large to be played.
// The tests compare the two with each other, and the first with a real fleet.
//
// Nothing of this is in the product.
package scale

//go:generate go test -run ^TestDocument$ -update .

import (
	"errors"
	"time"
)

// Fleet is what is planned. All durations and counts are those of the busy hour.
type Fleet struct {
	// Pods are the sidecars.
	Pods int
	// Pairs are the persons, each with each of its tenants, that are at work.
	Pairs int
	// Tenants is how many of the pairs are one person's.
	Tenants int
	// Calls is how many calls a pair makes in a minute, at random moments.
	Calls float64
	// Sticky says that a person's calls go to one pod; otherwise each goes to any.
	Sticky bool
	// Machines says that tokens are fetched with client credentials: there are no
	// persons, and no sessions.
	Machines bool
	// Alone says that nothing is shared.
	Alone bool

	// Lifetime is that of HelseID's tokens.
	Lifetime time.Duration
	// RefreshBefore is SIDECAR_REFRESH_BEFORE.
	RefreshBefore time.Duration
	// Idle is SIDECAR_SESSION_IDLE.
	Idle time.Duration
	// Entries is SIDECAR_CACHE_ENTRIES, Sessions how many decoded sessions a pod keeps
	// (app.sessionsBeside).
	Entries, Sessions int
	// HelseID is how long a token request takes.
	HelseID time.Duration
	// Shift is how long a person is at work in a day.
	Shift time.Duration
}

// Usual is a fleet with the sidecar's own defaults, and tokens of ten minutes.
func Usual(pods, pairs int) Fleet {
	return Fleet{
		Pods: pods, Pairs: pairs, Tenants: 2, Calls: 1,
		Lifetime: 10 * time.Minute, RefreshBefore: 5 * time.Minute, Idle: 12 * time.Hour,
		Entries: 100_000, Sessions: 50_000,
		HelseID: 100 * time.Millisecond, Shift: 8 * time.Hour,
	}
}

// Check says what can't be planned.
func (f Fleet) Check() error {
	switch {
	case f.Pods < 1 || f.Pairs < 1 || f.Tenants < 1 || f.Entries < 1 || f.Sessions < 1:
		return errors.New("pods, pairs, tenants of a person, tokens and sessions in memory must be at least 1")
	case !(f.Calls > 0):
		return errors.New("the calls of a pair in a minute must be above 0")
	case f.Lifetime <= 0 || f.Idle <= 0 || f.RefreshBefore <= 0 || f.HelseID <= 0 || f.Shift <= 0:
		return errors.New("durations must be above 0")
	case f.Alone && !f.Sticky && !f.Machines:
		return errors.New("persons whose calls go to any pod need a shared store: another pod does not know their log-in")
	}
	return nil
}

// persons is how many there are.
func (f Fleet) persons() int { return (f.Pairs + f.Tenants - 1) / f.Tenants }

// What internal/session and internal/tokencache hold to.
const (
	believed   = time.Minute            // session.followedLife
	noted      = time.Minute            // session.touchEvery
	wakeSpread = 5 * time.Millisecond   // store.spread
	roundTrip  = 200 * time.Microsecond // a store in the same zone
	// store.dueEvery, dueApart and dueSeldom, and the jitter of keepalive.(*Keeper).takeOver.
	dueEvery, dueApart, dueSeldom = 5 * time.Second, 250 * time.Millisecond, time.Minute
	dueJitter                     = 1.1
)

// soon gives the life that is left when a token is renewed; dice is the jitter, from 0
// to 1 (tokencache.bands).
func (f Fleet) soon(dice float64) float64 {
	limit := f.Lifetime.Seconds() / 5
	soon := min(f.RefreshBefore.Seconds(), limit) * (0.9 + 0.2*dice)
	if soon > limit {
		soon = 2*limit - soon
	}
	return soon
}

// leeway is the life with which a token is no longer sent (tokencache.leeway), by the
// default of SIDECAR_EXPIRY_LEEWAY.
func (f Fleet) leeway() float64 { return min(30, f.Lifetime.Seconds()/20) }
