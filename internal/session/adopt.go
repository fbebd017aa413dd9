package session

import (
	"context"
	"errors"

	"sfm-sidecar/internal/helseid"
)

// Adopt makes a session of a refresh token that the EPJ got with the same
// client. The token is spent at once: the session exists only when that worked,
// and the EPJ must not use the token again. Where the session can't be made after
// all, the token's successor is revoked.
func (m *Manager) Adopt(ctx context.Context, refreshToken string, b Begin) (handle string, err error) {
	if err := b.Expect.check(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeLimit)
	defer cancel()
	grant, err := m.spend(ctx, &spending{token: refreshToken}, helseid.Request{NoTenant: true})
	if err != nil {
		return "", handoverRefused(err)
	}
	login := &helseid.Login{IDToken: grant.IDToken, RefreshToken: grant.RefreshToken, RefreshLifetime: grant.RefreshLifetime, Thumbprint: grant.Thumbprint}
	if login.RefreshToken == "" {
		login.RefreshToken = refreshToken // HelseID did not rotate it
	}
	handle, err = m.adopt(ctx, login, b)
	if err != nil {
		m.revokeNow(ctx, grant.RefreshToken)
	}
	return handle, err
}

// adopt makes an active session of a log-in that was begun elsewhere.
func (m *Manager) adopt(ctx context.Context, login *helseid.Login, b Begin) (handle string, err error) {
	person, err := m.o.HelseID.VerifyIDToken(ctx, login.IDToken, "")
	if err != nil {
		return "", handoverRefused(err)
	}
	now := m.now()
	r := &record{State: Pending, Begun: now, Owner: b.Owner, Tenants: b.Tenants, Expect: b.Expect}
	if err := r.activate(person, login, now); err != nil {
		return "", err
	}
	handle = secret()
	id := m.ID(handle)
	if err := m.markUsed(ctx, id); err != nil {
		return "", err
	}
	err = m.write(ctx, id, r, terms{})
	if err == nil || storeDown(err) { // which may have taken it
		m.scheduleLook(id, r.nextLook(now, m.o.Idle))
	}
	if err != nil {
		return "", err
	}
	return handle, nil
}

// handoverRefused gives a refusal by HelseID the code of contract section 4;
// what is not about the token (HelseID is down, the client is wrong) keeps its own.
func handoverRefused(err error) error {
	p := *asProblem(err)
	if a, ok := errors.AsType[answer](err); ok && a.InvalidGrant() {
		p.Why = "invalid-grant"
	} else if p.Kind != codeLogin {
		return err
	}
	p.Kind, p.err = codeHandover, err
	return &p
}
