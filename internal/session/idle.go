package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"sfm-sidecar/internal/store"
)

// unused is why a session ended that nobody used.
const unused = "the session was not used for too long"

// lookLate is how long after its end a log-in is looked at, so that it has ended.
const lookLate = 100 * time.Millisecond

// scheduleLook has a session looked at after d: whether anybody uses it.
func (m *Manager) scheduleLook(id string, d time.Duration) {
	b := m.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	if old := b.looks[id]; old != nil {
		old.Stop()
	}
	b.looks[id] = time.AfterFunc(d, func() { b.start(func() { m.look(id) }) })
}

// ensureLook has a session looked at that another replica looks after, too: that one may
// be gone by then.
func (m *Manager) ensureLook(id string, r *record) {
	m.background.mu.Lock()
	_, scheduled := m.background.looks[id]
	m.background.mu.Unlock()
	if !scheduled {
		m.scheduleLook(id, r.nextLook(m.now(), m.o.Idle))
	}
}

// cancelLook has a session looked at no more, and its end not counted any more.
func (m *Manager) cancelLook(id string) {
	b := m.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if timer := b.looks[id]; timer != nil {
		timer.Stop()
		delete(b.looks, id)
	}
	delete(b.ends, id) // of one that ran out by itself, which nothing writes any more
}

// Known is how many sessions this process looks after, those of others that were
// used here among them.
func (m *Manager) Known() int {
	m.background.mu.Lock()
	defer m.background.mu.Unlock()
	return len(m.background.looks)
}

// look ends a session that was not used for too long, or whose log-in has run out,
// although nobody calls: its refresh token, and what is known of its person, should
// not outlive it. One in use is looked at again, so that it ends at most a tenth of
// the idle time late.
func (m *Manager) look(id string) {
	ctx, cancel := context.WithTimeout(m.background.ctx, revokeLimit)
	defer cancel()
	d, err := m.read(ctx, id)
	if err != nil && !errors.Is(err, errUnknown) {
		m.scheduleLook(id, m.o.Idle/10)
		return
	}
	if err == nil && d.record.State == Active && d.record.stateAt(m.now()) == Expired {
		_ = m.expire(ctx, id, runOut) // what it held is of no use any more
	}
	if err != nil || d.record.usable(m.now()) != nil {
		m.cancelLook(id)
		return
	}
	e, err := m.o.Store.Get(ctx, usedKey(id))
	if errors.Is(err, store.ErrMissing) {
		_ = m.dismiss(ctx, id, unused) // where the store fails, the next call ends it
		return
	}
	m.scheduleLook(id, d.record.nextLook(m.now(), m.lookAgainIn(e, err)))
}

// lookAgainIn is after how long a session is looked at that has a note of use. Where the note says
// when that was, no look is needed before it may be idle; of many replicas, which all
// look then, not all look at once.
func (m *Manager) lookAgainIn(e store.Entry, err error) time.Duration {
	tenth := m.o.Idle / 10
	if err != nil || len(e.Value) == 0 {
		return tenth
	}
	return m.o.Idle - m.noteAge(e) + tenth/10 + rand.N(tenth*8/10)
}

// nextLook is after how long a session is looked at: d, or when its log-in ends by itself.
func (r *record) nextLook(now time.Time, d time.Duration) time.Duration {
	if r.Expires.IsZero() {
		return d
	}
	return min(d, max(r.Expires.Sub(now), 0)+lookLate)
}
