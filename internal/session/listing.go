package session

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/store"
)

// Whoever operates the sidecar can find sessions and end them: a PC was lost, somebody
// left. What there is to see of a session does not say whose it is, nor is its handle
// known; but of a person who is named it can be told which sessions are theirs.

// Listed is a session as an operator may see it.
type Listed struct {
	// ID files the session; it is not the handle and opens nothing.
	ID    string
	State State
	Begun time.Time
	// Used is when the session was last used, to a minute or so; zero for one that is
	// not active, or was unused for too long.
	Used time.Time
	// Expires is the end of the log-in, zero where HelseID did not say.
	Expires time.Time
	// SecurityLevel is that of the log-in, "" where nobody is logged in.
	SecurityLevel string
	// Tenants are the only ones the session may use; none means any.
	Tenants []Tenant
	// Owner is the operating system's user who made it, "" where they are not told apart.
	Owner string
	// Open says that there is something to end: a log-in, or one under way.
	Open bool
}

// Choice says which sessions are meant: those for which everything holds that is
// set. The zero Choice is all.
type Choice struct {
	// IDs are IDs, or what some begin with: any of them.
	IDs []string
	// Person is whose they are, or who is to log in. Of a session that has ended
	// nobody knows.
	Person Expect
	// Organization is a number, parent's or child's, that the session is limited to. One that
	// is not limited is not chosen.
	Organization string
	// States are those wanted; none means any.
	States []State
	// OlderThan and UnusedFor are least times since the beginning and the last use,
	// which is the beginning for a log-in under way.
	OlderThan, UnusedFor time.Duration
	// Open leaves out what has ended.
	Open bool
}

// Check says what is wrong with a choice.
func (c *Choice) Check() error {
	for _, state := range c.States {
		if !slices.Contains([]State{Pending, Active, Expired, Failed}, state) {
			return &Error{Kind: codeInvalid, Text: "a state is pending, active, expired or failed"}
		}
	}
	if c.OlderThan < 0 || c.UnusedFor < 0 {
		return &Error{Kind: codeInvalid, Text: "a time is below zero"}
	}
	if slices.Contains(c.IDs, "") {
		return &Error{Kind: codeInvalid, Text: "an ID is empty"}
	}
	return c.Person.check()
}

// idLength is that of a whole ID.
const idLength = 43

// whole says whether all that is named is named by whole IDs, so that nothing need be
// looked through.
func (c *Choice) whole() bool {
	return len(c.IDs) > 0 && !slices.ContainsFunc(c.IDs, func(id string) bool { return len(id) != idLength })
}

// takes says whether a record is chosen, but for what the note of its use says.
func (c *Choice) takes(id string, r *record, now time.Time) bool {
	state := r.stateAt(now)
	return (len(c.IDs) == 0 || slices.ContainsFunc(c.IDs, func(begin string) bool { return strings.HasPrefix(id, begin) })) &&
		(c.Person == Expect{} || r.concerns(c.Person)) &&
		(c.Organization == "" || slices.ContainsFunc(r.Tenants, func(t Tenant) bool {
			return t.Parent == c.Organization || t.Child == c.Organization
		})) &&
		now.Sub(r.Begun) >= c.OlderThan &&
		(!c.Open || state == Active || state == Pending)
}

// concerns says whether the session is a person's, or waits for them.
func (r *record) concerns(who Expect) bool {
	return who.PID != "" && (equal(who.PID, r.Person.PID) || equal(who.PID, r.Expect.PID)) ||
		who.Subject != "" && (equal(who.Subject, r.Person.Subject) || equal(who.Subject, r.Expect.Subject)) ||
		who.HPRNumber != "" && (equal(who.HPRNumber, r.Person.HPRNumber) || equal(who.HPRNumber, r.Expect.HPRNumber))
}

// takesUse is the rest of takes.
func (c *Choice) takesUse(l *Listed, now time.Time) bool {
	if len(c.States) > 0 && !slices.Contains(c.States, l.State) {
		return false
	}
	switch {
	case c.UnusedFor == 0:
		return true
	case l.State == Pending:
		return now.Sub(l.Begun) >= c.UnusedFor
	case !l.Open:
		return false
	default:
		return now.Sub(l.Used) >= c.UnusedFor
	}
}

// List calls visit with the sessions that are chosen, in no order and some at a time,
// until one returns an error. unreadable is how many entries of sessions could not be
// looked at. What comes or goes meanwhile may be missed, or come twice.
func (m *Manager) List(ctx context.Context, c Choice, visit func([]Listed) error) (unreadable int, err error) {
	if m.o.Lister == nil {
		return 0, errors.New("the sessions of this store can't be listed")
	}
	if err := c.Check(); err != nil {
		return 0, err
	}
	var stopped error // by the visit, not by the store
	some := func(items []store.Item) error {
		chosen, bad, err := m.choose(ctx, &c, items)
		unreadable += bad
		if err == nil && len(chosen) > 0 {
			stopped = visit(chosen)
			err = stopped
		}
		return err
	}
	var skipped store.Skipped
	if c.whole() {
		err = m.readNamed(ctx, c.IDs, some)
	} else {
		skipped, err = m.o.Lister.List(ctx, KindRecord, some)
	}
	if err != nil && stopped == nil {
		err = storeError(err)
	}
	return unreadable + skipped.Unreadable, err
}

// readNamed reads sessions by their whole IDs, each once.
func (m *Manager) readNamed(ctx context.Context, ids []string, some func([]store.Item) error) error {
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			continue
		}
		e, err := m.o.Store.Get(ctx, sessionKey(id))
		if errors.Is(err, store.ErrMissing) {
			continue
		}
		if err == nil {
			err = some([]store.Item{{Key: sessionKey(id), Entry: e}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// choose is what of some entries is chosen; bad is how many are not understood.
func (m *Manager) choose(ctx context.Context, c *Choice, items []store.Item) (chosen []Listed, bad int, err error) {
	now := m.now()
	var notes []store.Key
	for _, item := range items {
		r := new(record)
		if json.Unmarshal(item.Value, r) != nil {
			bad++
			continue
		}
		if c.takes(item.ID, r, now) {
			chosen, notes = append(chosen, r.listed(item.ID, now)), append(notes, usedKey(item.ID))
		}
	}
	if len(chosen) == 0 {
		return nil, bad, nil
	}
	left, err := m.o.Lister.Left(ctx, notes)
	if err != nil {
		return nil, bad, err
	}
	for i := range chosen {
		chosen[i].note(m.o.Idle, left[i], now)
	}
	return slices.DeleteFunc(chosen, func(l Listed) bool { return !c.takesUse(&l, now) }), bad, nil
}

// listed is what may be seen of a record.
func (r *record) listed(id string, now time.Time) Listed {
	state := r.stateAt(now)
	return Listed{
		ID: id, State: state, Begun: r.Begun, Expires: r.Expires, SecurityLevel: r.Person.SecurityLevel,
		Tenants: r.Tenants, Owner: r.Owner, Open: state == Active || state == Pending,
	}
}

// note says when an active session was used: its note of use lives for the idle time
// from then on. Without one it was unused for too long.
func (l *Listed) note(idle, left time.Duration, now time.Time) {
	switch {
	case l.State != Active:
	case left <= 0:
		l.State = Expired
	default:
		l.Used = now.Add(-max(idle-left, 0)) // another replica may have another idle time
	}
}
