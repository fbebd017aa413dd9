package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

// State is where a session stands.
type State string

// The states of contract section 4.
const (
	Pending State = "pending"
	Active  State = "active"
	Expired State = "expired"
	Failed  State = "failed"
)

// record is what the store holds of a session.
type record struct {
	State   State     `json:"state"`
	Begun   time.Time `json:"begun"`
	Owner   string    `json:"owner,omitempty"`
	Tenants []Tenant  `json:"tenants,omitempty"`
	Expect  Expect    `json:"expect,omitzero"`
	// Options and Browser matter while the log-in is pending: what was asked
	// for, and the hash of the cookie of the browser that began.
	Options LoginOptions `json:"options,omitzero"`
	Browser string       `json:"browser,omitempty"`

	Person       helseid.Person `json:"person,omitzero"`
	RefreshToken string         `json:"refresh_token,omitempty"`
	// Replaced is the keyed hash of the refresh token that this one was given for, or
	// ofLogin; empty where an older sidecar wrote the record.
	Replaced string `json:"replaced,omitempty"`
	IDToken  string `json:"id_token,omitempty"`
	// Key is the thumbprint of the key that the refresh token was obtained with.
	Key string `json:"key,omitempty"`
	// Expires is the end of the refresh token, zero where HelseID did not say.
	Expires time.Time `json:"expires,omitzero"`
	// Problem is why the session failed or ended.
	Problem *Error `json:"problem,omitempty"`
}

// ofLogin stands in a record whose refresh token came with the log-in.
const ofLogin = "log-in"

// usable is nil for a session that may be used at now, otherwise the refusal.
func (r *record) usable(now time.Time) error {
	switch r.stateAt(now) {
	case Active:
		return nil
	case Pending:
		return errPending
	case Failed:
		return r.problem(now).atCall()
	default:
		return r.problem(now)
	}
}

// awaits is nil while the log-in waits for its person at now; used refuses one
// that was finished.
func (r *record) awaits(now time.Time, used *Error) error {
	if r.State == Active {
		return used
	}
	if problem := r.problem(now); problem != nil {
		return problem
	}
	return nil
}

// problem is why the session has failed or expired at now, nil for another state.
func (r *record) problem(now time.Time) *Error {
	switch state := r.stateAt(now); {
	case state != Failed && state != Expired:
		return nil
	case r.Problem != nil:
		return r.Problem
	case state == Failed:
		return loginFailed("expired", "the log-in was not finished in time")
	default:
		return expiredError(runOut)
	}
}

// runOut is why a session ended whose refresh token has come to its end.
const runOut = "the log-in at HelseID has run out"

// stateAt is the state at now: time itself fails a pending log-in and ends an
// active session.
func (r *record) stateAt(now time.Time) State {
	switch {
	case r.State == Pending && now.Sub(r.Begun) >= PendingLifetime:
		return Failed
	case r.State == Active && !r.Expires.IsZero() && !now.Before(r.Expires):
		return Expired
	}
	return r.State
}

// ttl is how long the record stays in the store: known as expired for a day
// after its end, and a log-in that nobody finishes as failed for as long again as
// it was pending. A session whose end is unknown stays as long as it is used,
// see [Manager.touch], and at most a year.
func (r *record) ttl(now time.Time) time.Duration {
	if r.State == Active && r.Expires.IsZero() {
		return 365 * 24 * time.Hour
	}
	if r.State == Active {
		return max(r.Expires.Sub(now), 0) + remembered
	}
	if r.State == Pending {
		return 2 * PendingLifetime
	}
	return remembered
}

// Kinds of entries and locks for a store that does not keep all of them alike.
const (
	// KindRecord is a session itself.
	KindRecord = "session"
	// KindUsed is the note that a session is in use: an active one without it was
	// idle for too long.
	KindUsed = "used"
	// KindRefresh is the lock under which a session's refresh token is spent.
	KindRefresh = "refresh"
)

func sessionKey(id string) store.Key { return store.Key{Kind: KindRecord, ID: id} }
func usedKey(id string) store.Key    { return store.Key{Kind: KindUsed, ID: id} }

// Lives says whether an entry of [KindRecord] is a session that may be used now.
func Lives(entry []byte) bool {
	r := new(record)
	return json.Unmarshal(entry, r) == nil && r.usable(time.Now()) == nil
}

// decoded is a record as last read, so that a call on a warm session costs no
// decoding.
type decoded struct {
	version uint64
	record  *record
	touched atomic.Int64 // Unix nanoseconds
	called  atomic.Int64 // likewise; where the store is shared
	// followed is set while the store tells of changes, see [Manager.recordForCall].
	followed atomic.Pointer[following]
}

// read returns the record of a session, which must not be modified.
func (m *Manager) read(ctx context.Context, id string) (*decoded, error) {
	e, err := m.o.Store.Get(ctx, sessionKey(id))
	if errors.Is(err, store.ErrMissing) {
		return nil, errUnknown
	}
	if err != nil {
		return nil, storeError(err)
	}
	before, ok := m.decoded.Get(id)
	if ok && before.version == e.Version {
		return before, nil
	}
	r := new(record)
	if err := json.Unmarshal(e.Value, r); err != nil {
		return nil, fmt.Errorf("decoding a session: %w", err)
	}
	d := &decoded{version: e.Version, record: r}
	m.remember(id, d)
	m.noteEnd(id, r)
	if ok && before.record.State == Active && r.State != Active {
		m.forget(id) // another replica ended it
	}
	return d, nil
}

// remember keeps a decoded record in the place of the one before.
func (m *Manager) remember(id string, d *decoded) {
	if before, ok := m.decoded.Peek(id); ok {
		d.touched.Store(before.touched.Load())
		d.called.Store(before.called.Load())
		before.unfollow()
	}
	m.decoded.Add(id, d)
}

// terms are those of a write: the version that is replaced, 0 for a new record, and
// the fence of the lock under which it is written, 0 for none.
type terms struct{ version, fence uint64 }

// write stores a record. It returns store.ErrChanged and store.ErrFenced as they are.
func (m *Manager) write(ctx context.Context, id string, r *record, t terms) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a session: %w", err)
	}
	ttl := r.ttl(m.now())
	if t.fence != 0 {
		err = m.o.Store.PutFencedIf(ctx, sessionKey(id), value, ttl, t.fence, t.version)
	} else {
		err = m.o.Store.PutIf(ctx, sessionKey(id), value, ttl, t.version)
	}
	if errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrFenced) {
		return err
	}
	if err != nil {
		return storeError(err)
	}
	m.noteEnd(id, r)
	if m.o.Shared && r.State == Active {
		m.remember(id, &decoded{record: r}) // of no version: good only while the store is down
	} else {
		m.decoded.Remove(id) // what an ended session held should not stay in memory either
	}
	return nil
}

// update changes a record. The change is made again when another one came between,
// so it must do nothing but that.
func (m *Manager) update(ctx context.Context, id string, change func(*record) error) error {
	return m.updateUnder(ctx, id, 0, change)
}

// updateUnder is update by the holder of the lock that guards the refresh token. Where a
// later holder has written, the change is made by the version alone: it looks itself at
// what stands there, and fences may go back with the clock of another server.
func (m *Manager) updateUnder(ctx context.Context, id string, fence uint64, change func(*record) error) error {
	for {
		d, err := m.read(ctx, id)
		if err != nil {
			return err
		}
		changed := *d.record
		if err := change(&changed); err != nil {
			return err
		}
		err = m.write(ctx, id, &changed, terms{d.version, fence})
		if errors.Is(err, store.ErrFenced) {
			fence = 0
		} else if !errors.Is(err, store.ErrChanged) {
			return err
		}
		if ctx.Err() != nil {
			return storeError(ctx.Err())
		}
	}
}

// expire ends a session and returns the refusal that says so.
func (m *Manager) expire(ctx context.Context, id, detail string) error {
	problem := expiredError(detail)
	if _, err := m.terminate(ctx, id, problem); err != nil {
		return err
	}
	return problem
}

// terminate ends a session for a reason and returns its last record. Its secrets
// and its tokens go; the record stays, so that the session is known to have ended.
func (m *Manager) terminate(ctx context.Context, id string, problem *Error) (last record, err error) {
	err = m.update(ctx, id, func(r *record) error {
		last = *r
		r.end(problem)
		return nil
	})
	m.forget(id)
	if err != nil {
		return last, err
	}
	m.tellOthers(id)
	// What is left of these runs out by itself, and says nothing of a session that ended.
	_ = m.o.Store.Delete(ctx, usedKey(id))
	if m.o.Shared {
		_ = m.o.Store.Delete(ctx, spentKey(id))
	}
	return last, nil
}

// forget drops what this process has of a session that ended.
func (m *Manager) forget(id string) {
	m.cancelLook(id)
	if m.o.Ended != nil {
		m.o.Ended(id)
	}
}

// end drops everything that a session held, but what tells its owner that it ended,
// and why.
func (r *record) end(problem *Error) {
	state := Failed
	if problem.Kind == codeExpired {
		state = Expired
	}
	*r = record{State: state, Begun: r.Begun, Owner: r.Owner, Expires: r.Expires, Problem: problem}
}
