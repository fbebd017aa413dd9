package session

import (
	"context"
	"time"
)

// Where replicas share a store, what was read of a session that is called often is good
// until the store tells of a change. And the store may be down while HelseID is not: a
// record that was good is then used on. Its tokens run out by themselves, and no other is
// to be had until the store is back.

const (
	// followedLife is how long a record is believed without being read again, and how
	// soon after a call another must come for its record to be followed at all: where a
	// person's calls go to many replicas, each would subscribe, be told of one change, and
	// not be called before that.
	followedLife = time.Minute
	// trustedLife is how long a call is not made to ask a store that failed for another.
	trustedLife = time.Second
)

// recordForCall is read for the way of a call: a record that is called often and did not
// change costs no call of a shared store, and one that was good is used on while the store
// is down.
func (m *Manager) recordForCall(ctx context.Context, id string) (*decoded, error) {
	if !m.o.Shared {
		return m.read(ctx, id)
	}
	ask := m.readOnce
	before, ok := m.decoded.Get(id)
	if ok && before.noteCall() {
		ask = m.readAndFollow
	}
	if ok && before.current() {
		return before, nil
	}
	if !ok || before.record.usable(m.now()) != nil {
		return m.readOnce(ctx, id)
	}
	outdated := before.followed.Load()
	d, err := askBriefly(ctx, m, func(ctx context.Context) (*decoded, error) { return ask(ctx, id) })
	if storeDown(err) {
		before.trust(outdated)
		return before, nil
	}
	return d, err
}

// readOnce reads a record for this call alone, and is told of no change.
func (m *Manager) readOnce(ctx context.Context, id string) (*decoded, error) {
	d, err := m.read(ctx, id)
	if err == nil {
		d.noteCall()
	}
	return d, err
}

// readAndFollow reads a record and, if its session may be used, is told of its changes from
// then on.
func (m *Manager) readAndFollow(ctx context.Context, id string) (*decoded, error) {
	// Watched before it is read: a change between the two is not missed.
	changed, stop, err := m.o.Store.Watch(context.WithoutCancel(ctx), sessionKey(id))
	if err != nil {
		return nil, storeError(err)
	}
	d, err := m.read(ctx, id)
	if err != nil {
		stop()
		return nil, err
	}
	if d.record.usable(m.now()) != nil {
		stop()
		return d, nil
	}
	d.followBy(&following{changed, stop, time.Now().Add(followedLife)})
	if held, ok := m.decoded.Peek(id); !ok || held != d || m.background.ctx.Err() != nil {
		d.unfollow() // it left meanwhile, or the Manager has ended
	}
	return d, nil
}

// following is why a record is believed without being read again.
type following struct {
	changed <-chan struct{} // closed when the store tells of a change; nil if it tells of none
	stop    func()          // of the telling
	until   time.Time       // when it is read again in any case
}

// followBy has f say from now on whether the record is current; what said so before ends.
func (d *decoded) followBy(f *following) {
	if before := d.followed.Swap(f); before != nil {
		before.stop()
	}
}

func (d *decoded) unfollow() { d.followBy(nil) }

// current says that the record is what stands in the store, as far as is known.
func (d *decoded) current() bool {
	f := d.followed.Load()
	if f == nil || time.Now().After(f.until) {
		return false
	}
	select {
	case <-f.changed:
		return false
	default:
		return true
	}
}

// noteCall notes a call, and says whether there was another just before.
func (d *decoded) noteCall() bool {
	now := time.Now()
	return now.Sub(time.Unix(0, d.called.Swap(now.UnixNano()))) < followedLife
}

// trust believes a record for a moment without being told of changes, unless it was
// found to be current meanwhile: not every call shall wait for a store that says
// nothing.
func (d *decoded) trust(outdated *following) {
	if d.followed.CompareAndSwap(outdated, &following{stop: func() {}, until: time.Now().Add(trustedLife)}) && outdated != nil {
		outdated.stop()
	}
}
