package session

import (
	"context"

	"sfm-sidecar/internal/store"
)

// Ended is what remains to be done after a session ended.
type Ended struct {
	// EndSessionURL is what the EPJ may open in the browser, so that HelseID's
	// single sign-on ends too; empty where HelseID offers none.
	EndSessionURL string
	// Undone says what could not be done, in words for the EPJ.
	Undone []string
}

// notRevoked is what remains undone where HelseID can't be reached.
const notRevoked = "HelseID could not be told to revoke the log-in; it runs out by itself"

// End ends a session: every token of it is forgotten, and its refresh token is
// revoked at HelseID as far as HelseID can be reached. hint allows the URL to
// carry the ID token, which names the person. A session that can't be written
// to the store has not ended, and that is an error; what HelseID could not be
// told is no error, but said in the answer.
func (m *Manager) End(ctx context.Context, handle, owner string, hint bool) (Ended, error) {
	id := m.ID(handle)
	d, err := m.read(ctx, id)
	if err != nil {
		return Ended{}, err
	}
	if d.record.Owner != owner {
		return Ended{}, errUnknown
	}
	if d.record.State == Expired {
		return Ended{}, d.record.usable(m.now())
	}
	var undone []string
	if m.o.Ending != nil && d.record.stateAt(m.now()) == Active {
		undone = m.o.Ending(context.WithoutCancel(ctx), id)
	}
	// What is revoked is what the session held last: a refresh may have come between.
	old, err := m.terminate(ctx, id, expiredError("the session was ended"))
	if err != nil {
		// It may have ended all the same, and nobody would then find the token any more.
		m.revokeLater(old.RefreshToken)
		m.revokeUnsaved(id)
		return Ended{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeLimit)
	defer cancel()
	ended := Ended{EndSessionURL: m.endSessionURL(ctx, &old, hint), Undone: undone}
	if old.RefreshToken != "" && m.o.HelseID.Revoke(ctx, old.RefreshToken) != nil {
		ended.Undone = append(ended.Undone, notRevoked)
	}
	return ended, nil
}

// endSessionURL is a one-time link of our own where there is an ID token: the
// token, which names the person, then reaches only the browser. Without one it
// is HelseID's address.
func (m *Manager) endSessionURL(ctx context.Context, r *record, hint bool) string {
	direct := ""
	if hint {
		direct = r.IDToken
	}
	if !hint && r.IDToken != "" && m.o.BaseURL != "" {
		link := secret()
		if m.o.Store.Put(ctx, m.logoutKey(link), []byte(r.IDToken), PendingLifetime) == nil {
			return m.o.BaseURL + LogoutPath + link
		}
	}
	u, err := m.o.HelseID.EndSession(ctx, direct, m.o.PostLogoutRedirectURI, "")
	if err != nil {
		return ""
	}
	return u
}

func (m *Manager) logoutKey(link string) store.Key { return store.Key{Kind: "logout", ID: m.ID(link)} }

// Logout answers a browser that opened a log-out link: where HelseID ends its
// own session. The link is good once.
func (m *Manager) Logout(ctx context.Context, link string) (string, error) {
	idToken, err := m.o.Store.Take(ctx, m.logoutKey(link))
	if err != nil {
		return "", unlessMissing(err, loginFailed("replayed", "this log-out link is unknown or was used"))
	}
	return m.o.HelseID.EndSession(ctx, string(idToken), m.o.PostLogoutRedirectURI, "")
}

// LogoutAddress is where a browser ends HelseID's own session, whoever's it is:
// it names nobody, so HelseID asks.
func (m *Manager) LogoutAddress(ctx context.Context) (string, error) {
	return m.o.HelseID.EndSession(ctx, "", m.o.PostLogoutRedirectURI, "")
}
