package session

import (
	"context"
	"sync"

	"sfm-sidecar/internal/store"
)

// A successor of a refresh token that the store did not take stays in memory, and is
// written as soon as that works again.

// saveLater has a refresh token written as soon as the store takes it. Meanwhile nobody
// refreshes the session.
func (m *Manager) saveLater(id string, n successor) {
	m.unsaved.put(id, n)
	m.keepTrying(remembered, func(ctx context.Context) error {
		hold, err := m.o.Store.Lock(ctx, store.Key{Kind: KindRefresh, ID: id})
		if err != nil {
			return err
		}
		defer hold.Release()
		err = m.saveUnsaved(ctx, id, hold.Fence())
		if storeDown(err) {
			return err
		}
		return nil
	})
}

// saveUnsaved writes what this process could not write before. It is called with the lock
// for refreshes held. An error of a session that has ended is not its business.
func (m *Manager) saveUnsaved(ctx context.Context, id string, fence uint64) error {
	n, ok := m.unsaved.get(id)
	if !ok {
		return nil
	}
	err := m.replace(ctx, id, fence, n)
	if storeDown(err) {
		return err
	}
	m.unsaved.remove(id)
	if err != nil { // it has ended
		m.revokeLater(n.token)
	}
	return nil
}

// revokeUnsaved has a refresh token revoked that a session has in memory alone: the one
// in the store was spent for it.
func (m *Manager) revokeUnsaved(id string) {
	if n, ok := m.unsaved.get(id); ok {
		m.revokeLater(n.token)
	}
}

// unsaved are refresh tokens that the store did not take, by session. The zero value
// is ready.
type unsaved struct {
	mu     sync.Mutex // guards tokens
	tokens map[string]successor
}

func (u *unsaved) get(id string) (successor, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n, ok := u.tokens[id]
	return n, ok
}

func (u *unsaved) put(id string, n successor) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tokens == nil {
		u.tokens = make(map[string]successor)
	}
	u.tokens[id] = n
}

func (u *unsaved) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.tokens, id)
}
