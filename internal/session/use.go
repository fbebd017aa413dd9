package session

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sfm-sidecar/internal/store"
)

const (
	// touchEvery is how often, at most, a session's use is written down; more
	// often where sessions end sooner, see [Manager.touch].
	touchEvery = time.Minute
	// touchAgain is when a use is written down that a shared store did not take.
	touchAgain = 5 * time.Second
)

// touch notes that the session is in use, or ends it when it was idle too long.
// The note is an entry of its own: writing the record here could undo a refresh
// that stores a new token at the same moment. What another replica noted just now is
// not noted again.
func (m *Manager) touch(ctx context.Context, id string, d *decoded) error {
	now, every := time.Now(), m.noteEvery()
	if now.Sub(time.Unix(0, d.touched.Load())) < every {
		return nil
	}
	if !m.o.Shared {
		return m.noteUse(ctx, id, d, now)
	}
	_, err := askBriefly(ctx, m, func(ctx context.Context) (none struct{}, err error) { return none, m.noteUse(ctx, id, d, now) })
	if storeDown(err) {
		// Whoever has a good token goes on; it is noted when the store is back.
		d.touched.Store(now.Add(touchAgain - every).UnixNano())
		return nil
	}
	if err == nil {
		m.ensureLook(id, d.record)
	}
	return err
}

// noteUse is touch, when it is due.
func (m *Manager) noteUse(ctx context.Context, id string, d *decoded, now time.Time) error {
	age, err := m.unusedFor(ctx, id)
	if err == nil && age >= m.noteEvery() {
		age, err = 0, m.markUsed(ctx, id)
	}
	if err == nil {
		d.touched.Store(now.Add(-age).UnixNano())
	}
	return err
}

// noteEvery is how often, at most, a session's use is written down.
func (m *Manager) noteEvery() time.Duration { return min(touchEvery, m.o.Idle/10) }

// unusedFor is how old the note is that an active session was used. One that was idle
// too long is ended, and the error is the refusal that says so.
func (m *Manager) unusedFor(ctx context.Context, id string) (time.Duration, error) {
	e, err := m.o.Store.Get(ctx, usedKey(id))
	if errors.Is(err, store.ErrMissing) {
		return 0, m.dismiss(ctx, id, unused)
	}
	if err != nil {
		return 0, storeError(err)
	}
	return m.noteAge(e), nil
}

// noteAge is how old a note of use is; one of which that is not known, because an older
// sidecar wrote it, or a clock is wrong, is as old as one can be.
func (m *Manager) noteAge(e store.Entry) time.Duration {
	at, err := strconv.ParseInt(string(e.Value), 10, 64)
	age := m.o.Now().Sub(time.UnixMilli(at))
	if err != nil || age < 0 || age > m.o.Idle {
		return m.o.Idle
	}
	return age
}

// markUsed notes a use, and when, where others may ask. An active session without the
// note was unused too long, so it is written before the session becomes active.
func (m *Manager) markUsed(ctx context.Context, id string) error {
	var at []byte
	if m.o.Shared {
		at = strconv.AppendInt(nil, m.o.Now().UnixMilli(), 10)
	}
	if err := m.o.Store.Put(ctx, usedKey(id), at, m.o.Idle); err != nil {
		return storeError(err)
	}
	return nil
}
