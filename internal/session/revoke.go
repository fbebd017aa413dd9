package session

import (
	"context"
	"time"
)

const (
	// revokeLimit bounds one revocation that nobody waits for, the wait for its
	// turn included.
	revokeLimit = 30 * time.Second
	// revokeAtOnce and revokeQueue bound how many run, and how many there are. A
	// token beyond them is not revoked and runs out by itself.
	revokeAtOnce = 4
	revokeQueue  = 1000
)

// dismiss ends a session that HelseID still knows, and has HelseID forget it.
func (m *Manager) dismiss(ctx context.Context, id, detail string) error {
	problem := expiredError(detail)
	last, err := m.terminate(ctx, id, problem)
	if err != nil {
		return err
	}
	m.revokeLater(last.RefreshToken)
	return problem
}

// revokeLater has a refresh token revoked while nobody waits. What HelseID can't
// be told in time runs out by itself.
func (m *Manager) revokeLater(refreshToken string) {
	b := m.background
	if refreshToken == "" || !b.enqueue(1) {
		return
	}
	started := b.start(func() {
		defer b.enqueue(-1)
		ctx, cancel := context.WithTimeout(b.ctx, revokeLimit)
		defer cancel()
		select {
		case b.turn <- struct{}{}:
			defer func() { <-b.turn }()
			_ = m.o.HelseID.Revoke(ctx, refreshToken)
		case <-ctx.Done():
		}
	})
	if !started {
		b.enqueue(-1)
	}
}

// revokeNow has a refresh token revoked that no session holds. When HelseID can't be
// told, it runs out by itself.
func (m *Manager) revokeNow(ctx context.Context, refreshToken string) {
	if refreshToken != "" {
		_ = m.o.HelseID.Revoke(ctx, refreshToken)
	}
}

// enqueue counts revocations; false is one too many.
func (b *background) enqueue(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queued+n > revokeQueue {
		return false
	}
	b.queued += n
	return true
}
