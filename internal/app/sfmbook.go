package app

import (
	"context"
	"errors"
	"time"

	"sfm-sidecar/internal/keepalive"
	"sfm-sidecar/internal/store"
)

// kindSFMSessions is what pages about SFM's sessions are called in the store.
const kindSFMSessions = "sfm-sessions"

// sfmBook is what replicas share of SFM's sessions: a sealed entry for each person's
// session, and, in the store's agenda, by when its keeper must have acted.
type sfmBook struct {
	entries store.Store
	agenda  store.Agenda
}

// sfmBook is nil where no store is shared.
func (h *house) sfmBook() keepalive.Book {
	if h.shared == nil {
		return nil
	}
	return sfmBook{entries: h.shared, agenda: h.shared}
}

func pageKey(session string) store.Key { return store.Key{Kind: kindSFMSessions, ID: session} }

// Read implements [keepalive.Book].
func (b sfmBook) Read(ctx context.Context, session string) ([]byte, uint64, error) {
	e, err := b.entries.Get(ctx, pageKey(session))
	if errors.Is(err, store.ErrMissing) {
		return nil, 0, nil
	}
	return e.Value, e.Version, err
}

// Write implements [keepalive.Book].
func (b sfmBook) Write(ctx context.Context, session string, page []byte, life time.Duration, version uint64) error {
	err := b.entries.PutIf(ctx, pageKey(session), page, life, version)
	if errors.Is(err, store.ErrChanged) {
		return keepalive.ErrTurned
	}
	return err
}

// Remove implements [keepalive.Book].
func (b sfmBook) Remove(ctx context.Context, session string) error {
	return b.entries.Delete(ctx, pageKey(session))
}

// Due implements [keepalive.Book].
func (b sfmBook) Due(ctx context.Context, session string, in time.Duration) (uint64, error) {
	return b.agenda.Due(ctx, pageKey(session), in)
}

// Settle implements [keepalive.Book].
func (b sfmBook) Settle(ctx context.Context, session string, mark uint64) error {
	return b.agenda.Settle(ctx, pageKey(session), mark)
}

// Claim implements [keepalive.Book].
func (b sfmBook) Claim(ctx context.Context, lease time.Duration) ([]string, time.Duration, error) {
	keys, next, err := b.agenda.Claim(ctx, kindSFMSessions, lease)
	sessions := make([]string, 0, len(keys))
	for _, key := range keys {
		sessions = append(sessions, key.ID)
	}
	return sessions, next, err
}
