package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

// answer is what an error of HelseID says of what became of a refresh token.
type answer interface {
	error
	// InvalidGrant: HelseID does not know the refresh token (any more).
	InvalidGrant() bool
	// NoAnswer: the request was sent and nothing came back, so the refresh
	// token may or may not be spent.
	NoAnswer() bool
}

// Refresh spends the session's refresh token for an access token as r asks;
// r.PID is filled in with the session's person. One refresh of a session runs at
// a time. The successor of the refresh token is stored before the access token
// is returned, also when the access token is refused.
//
// ctx bounds the wait for the session's other refreshes. What follows has a time
// of its own: a refresh that was sent can't be taken back.
func (m *Manager) Refresh(ctx context.Context, id string, r helseid.Request) (*helseid.Grant, error) {
	hold, err := m.o.Store.Lock(ctx, store.Key{Kind: KindRefresh, ID: id})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("waiting for other refreshes of the session: %w", err)
	case err != nil:
		return nil, storeError(err)
	}
	defer hold.Release()
	done, ok := m.background.beginRefresh()
	if !ok {
		return nil, errClosing
	}
	defer done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeLimit)
	defer cancel()
	if err := m.saveUnsaved(ctx, id, hold.Fence()); err != nil {
		return nil, err
	}
	d, err := m.read(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := d.record.usable(m.now()); err != nil {
		return nil, err
	}
	// What renews tokens in the background is no use of the session.
	if _, err := m.unusedFor(ctx, id); err != nil {
		return nil, err
	}
	r.PID, r.Obtained = d.record.Person.PID, d.record.Key
	return m.refresh(ctx, spending{id: id, token: d.record.RefreshToken, replaced: d.record.Replaced, hold: hold}, r)
}

// spending is the use of a session's refresh token, under the lock for that.
type spending struct {
	id, token string
	replaced  string // as in the record
	hold      store.Hold
	note      string // tells the note that the token is sent from others; "" where none is needed
}

// lost says that others may have the lock.
func (s *spending) lost() bool { return errors.Is(context.Cause(s.hold.Context()), store.ErrLost) }

// refresh spends a refresh token that nobody has spent yet.
func (m *Manager) refresh(ctx context.Context, s spending, r helseid.Request) (*helseid.Grant, error) {
	if err := m.noteSpent(ctx, &s); err != nil {
		return nil, err
	}
	grant, err := m.spend(ctx, &s, r)
	if grant != nil && grant.RefreshToken != "" {
		if err := m.rotate(ctx, &s, grant); err != nil {
			return nil, err
		}
	}
	if grant == nil || grant.RefreshToken == "" || grant.RefreshToken == s.token {
		m.removeSpentNote(s) // it is as good as before, or HelseID has said that it is not
	}
	return m.judge(ctx, &s, grant, err)
}

// spend sends the refresh token, and sends it once more when nothing at all came
// back: the only replay there is (contract 7.3). Either HelseID never saw the
// first, or it answers invalid_grant and the person must log in again.
func (m *Manager) spend(ctx context.Context, s *spending, r helseid.Request) (*helseid.Grant, error) {
	grant, err := m.o.HelseID.Refresh(ctx, s.token, r)
	if a, ok := errors.AsType[answer](err); ok && a.NoAnswer() && (s.hold == nil || !s.lost()) {
		return m.o.HelseID.Refresh(ctx, s.token, r)
	}
	return grant, err
}

// rotate stores the new refresh token, before anybody can use it. A session that
// ended meanwhile takes no new token; it is revoked instead. Nor does one whose
// refresh token a later holder of the lock has replaced. A token that a shared store
// does not take is kept in memory until it does.
func (m *Manager) rotate(ctx context.Context, s *spending, g *helseid.Grant) error {
	n := successor{spent: s.token, token: g.RefreshToken, key: g.Thumbprint, sent: g.Sent, lifetime: g.RefreshLifetime}
	err := m.replace(ctx, s.id, s.hold.Fence(), n)
	if own, ok := errors.AsType[*Error](err); ok && own.Kind == codeExpired {
		return errors.Join(err, m.o.HelseID.Revoke(ctx, g.RefreshToken))
	}
	if m.o.Shared && storeDown(err) {
		m.saveLater(s.id, n)
	}
	return err
}

// successor is a refresh token that HelseID gave for another.
type successor struct {
	spent, token string
	key          string // thumbprint of the key it was obtained with
	sent         time.Time
	lifetime     time.Duration
}

// errReplaced says that the record has another refresh token than the one that was spent.
var errReplaced = errors.New("the refresh token was replaced meanwhile")

// replace puts a refresh token in the place of the one that was spent for it.
func (m *Manager) replace(ctx context.Context, id string, fence uint64, n successor) error {
	err := m.updateUnder(ctx, id, fence, func(r *record) error {
		if err := r.usable(m.now()); err != nil {
			return err
		}
		if r.RefreshToken != n.spent {
			return errReplaced // by this very token, after a write of which no answer came, or by a later one
		}
		r.RefreshToken, r.Replaced, r.Key = n.token, m.ID(n.spent), n.key
		if n.lifetime > 0 {
			r.Expires = expiry(m.now().Add(-time.Since(n.sent)), n.lifetime)
		}
		return nil
	})
	if errors.Is(err, errReplaced) {
		return nil
	}
	return err
}

// judge turns the outcome of a refresh into the session's: a refresh token that
// HelseID no longer takes, or a token for another person, ends it.
func (m *Manager) judge(ctx context.Context, s *spending, g *helseid.Grant, err error) (*helseid.Grant, error) {
	if err == nil {
		return g, nil
	}
	if a, ok := errors.AsType[answer](err); ok && a.InvalidGrant() {
		if err := m.checkUnreplaced(ctx, s); err != nil {
			return nil, err
		}
		return nil, m.expire(ctx, s.id, "HelseID no longer accepts the log-in")
	}
	if c, ok := errors.AsType[interface {
		error
		OtherPerson() bool
	}](err); ok && c.OtherPerson() {
		return nil, errors.Join(err, m.dismiss(ctx, s.id, "HelseID answered for another person"))
	}
	return nil, fmt.Errorf("refreshing: %w", err)
}
