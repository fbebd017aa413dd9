package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

// Callback is what HelseID sends back with the browser (RFC 6749 4.1.2, RFC 9207).
type Callback struct {
	Code, State, Issuer string
	// Error is set where HelseID refused. Its description is left behind: it is
	// text that the browser brought, and anybody can write a link.
	Error string
	// Own is true at the sidecar's own callback page; Browser is then the value
	// of the browser's cookie.
	Own     bool
	Browser string
	// Handle, if not empty, is the session whose log-in the EPJ began in the
	// browser that came back to it. The answer to another log-in is refused.
	Handle string
}

// Finish ends a log-in with what came back from HelseID. A state is good once.
// The session is active when there is no error; with one, it has failed for the
// same reason, unless the callback could not be tied to a log-in at all, or
// HelseID is not there just now: then the same callback may come again.
func (m *Manager) Finish(ctx context.Context, c Callback) error {
	a, err := m.claim(ctx, c)
	if err != nil {
		return err
	}
	// From here the code is spent, so the caller's leaving changes nothing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeLimit)
	defer cancel()
	err = m.finish(ctx, &a, c)
	if errors.As(err, new(*unanswered)) {
		return errors.Join(err, m.giveBack(ctx, c.State, a))
	}
	if err != nil {
		return m.fail(ctx, a.Session, err)
	}
	return nil
}

// giveBack has a state be good once more, as soon as the store takes it.
func (m *Manager) giveBack(ctx context.Context, state string, a attempt) error {
	err := m.putAttempt(ctx, state, a)
	if storeDown(err) {
		m.keepTrying(attemptLifetime, func(ctx context.Context) error { return m.putAttempt(ctx, state, a) })
	}
	return err
}

// unanswered is a failure to speak to HelseID, or to the store, that leaves the log-in
// pending, or may have finished it.
type unanswered struct{ error }

// Unwrap returns the failure.
func (e *unanswered) Unwrap() error { return e.error }

// asUnanswered makes an error unanswered where trying again may end otherwise.
func asUnanswered(err error) error {
	r, ok := errors.AsType[refusal](err)
	if ok && (r.Code() == "helseid-unavailable" || r.Code() == codeLimit || r.Code() == codeStore) {
		return &unanswered{err}
	}
	return err
}

// claim finds the log-in of a callback and uses its state up.
func (m *Manager) claim(ctx context.Context, c Callback) (attempt, error) {
	a, version, err := m.getAttempt(ctx, c.State)
	if err != nil {
		return a, err
	}
	if !a.Used.IsZero() {
		return a, m.refuseUsed(ctx, c.State, a, version)
	}
	if c.Own != (a.Browser != "") || c.Own && !equal(a.Browser, m.ID(c.Browser)) {
		return a, loginFailed("browser-changed", "the answer came with another browser than the one that began")
	}
	if c.Handle != "" && !equal(a.Session, m.ID(c.Handle)) {
		return a, loginFailed("browser-changed", "the answer belongs to another log-in than that of the session")
	}
	if err := m.o.HelseID.CheckResponseIssuer(c.Issuer); err != nil {
		return a, err
	}
	used, err := json.Marshal(attempt{Session: a.Session, Used: m.now().Truncate(time.Second), From: m.signature(ctx)})
	if err != nil {
		return a, fmt.Errorf("encoding a log-in: %w", err)
	}
	// In one step: of two callbacks that come at once, to two replicas maybe, one counts.
	err = m.o.Store.PutIf(ctx, m.stateKey(c.State), used, attemptLifetime, version)
	if errors.Is(err, store.ErrChanged) {
		return a, errReplayed()
	}
	if err != nil {
		return a, storeError(err)
	}
	return a, nil
}

// refuseUsed refuses a state that was used. A log-in that is still pending when nobody can
// be exchanging its code any more, or when who did that is gone, was cut off.
func (m *Manager) refuseUsed(ctx context.Context, state string, a attempt, version uint64) error {
	byOwn := m.now().Sub(a.Used)
	age, err := m.writtenAgo(ctx, m.stateKey(state), attemptLifetime, byOwn)
	if err != nil {
		return err
	}
	if min(age, byOwn) >= spentLife {
		return m.cutOff(ctx, a.Session)
	}
	m.whenGone(a.Session, a.From, max(age, byOwn), func(ctx context.Context) error {
		// Who had it may have given it back, for another to exchange the code.
		if _, now, err := m.getAttempt(ctx, state); err != nil || now != version {
			return err
		}
		return m.cutOff(ctx, a.Session)
	})
	return errReplayed()
}

// cutOff fails a log-in that is pending because the replica that exchanged its code died.
func (m *Manager) cutOff(ctx context.Context, id string) error {
	cutOff := loginFailed("expired", "the log-in was cut off while its code was exchanged")
	err := m.update(ctx, id, func(r *record) error {
		if r.State != Pending {
			return errReplayed()
		}
		r.end(cutOff)
		return nil
	})
	if err != nil {
		return err
	}
	return cutOff
}

// getAttempt reads the log-in of a state, and its version.
func (m *Manager) getAttempt(ctx context.Context, state string) (a attempt, version uint64, err error) {
	e, err := m.o.Store.Get(ctx, m.stateKey(state))
	if err != nil {
		return a, 0, unlessMissing(err, loginFailed("state-unknown", "no log-in under way has this state"))
	}
	if err := json.Unmarshal(e.Value, &a); err != nil {
		return a, 0, fmt.Errorf("decoding a log-in: %w", err)
	}
	return a, e.Version, nil
}

func (m *Manager) putAttempt(ctx context.Context, state string, a attempt) error {
	value, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding a log-in: %w", err)
	}
	if err := m.o.Store.Put(ctx, m.stateKey(state), value, attemptLifetime); err != nil {
		return storeError(err)
	}
	return nil
}

// finish exchanges the code and stores who logged in.
func (m *Manager) finish(ctx context.Context, a *attempt, c Callback) error {
	d, err := m.read(ctx, a.Session)
	if err != nil {
		return asUnanswered(err)
	}
	if err := d.record.awaits(m.now(), errReplayed()); err != nil {
		return err
	}
	if c.Error != "" {
		return refusedAtHelseID(c)
	}
	if a.Login == nil {
		a.Login, err = m.o.HelseID.Exchange(ctx, helseid.CodeGrant{Code: c.Code, Verifier: a.Verifier, RedirectURI: a.RedirectURI})
	}
	if err != nil {
		return fmt.Errorf("exchanging the code: %w", asUnanswered(err))
	}
	person, err := m.o.HelseID.VerifyIDToken(ctx, a.Login.IDToken, a.Nonce)
	if err = asUnanswered(err); err == nil {
		err = asUnanswered(m.admit(ctx, a, person))
	}
	if err != nil && !errors.As(err, new(*unanswered)) {
		m.revokeNow(ctx, a.Login.RefreshToken)
	}
	return err
}

// admit checks who logged in and makes the session active.
func (m *Manager) admit(ctx context.Context, a *attempt, person helseid.Person) error {
	look := m.o.Idle / 10
	err := m.update(ctx, a.Session, func(r *record) error {
		if err := r.fresh(person, a.Pushed); err != nil {
			return err
		}
		if err := r.activate(person, a.Login, m.now()); err != nil {
			return err
		}
		look = r.nextLook(m.now(), m.o.Idle)
		return m.markUsed(ctx, a.Session)
	})
	if err == nil || storeDown(err) { // which may have taken it
		m.scheduleLook(a.Session, look)
	}
	return err
}

// ageLeeway is how far HelseID's auth_time may be off what was asked for.
const ageLeeway = 30 * time.Second

// fresh refuses a log-in that was older than the EPJ allowed when it was asked
// for: HelseID must have asked the person anew, and the client has to check that
// it did (OpenID Connect Core 3.1.3.7, rule 13).
func (r *record) fresh(p helseid.Person, pushed time.Time) error {
	if r.Options.MaxAuthAge == nil {
		return nil
	}
	age := time.Duration(*r.Options.MaxAuthAge) * time.Second
	if p.AuthTime.IsZero() || p.AuthTime.Before(pushed.Add(-age-ageLeeway)) {
		return loginFailed("id-token-invalid", "the log-in at HelseID is older than max_auth_age allows, or HelseID does not say how old it is")
	}
	return nil
}

// activate makes a pending session active for the person who logged in. One that
// was ended, or finished by another callback, meanwhile stays as it is.
func (r *record) activate(p helseid.Person, login *helseid.Login, now time.Time) error {
	if err := r.awaits(now, errReplayed()); err != nil {
		return err
	}
	if err := r.Expect.matches(p); err != nil {
		return err
	}
	if login.RefreshToken == "" {
		return &Error{
			Kind: "client-not-approved",
			Text: "HelseID gave no refresh token: the client must be allowed the scope offline_access",
		}
	}
	r.State, r.Person = Active, p
	r.RefreshToken, r.Replaced, r.IDToken, r.Key = login.RefreshToken, ofLogin, login.IDToken, login.Thumbprint
	r.Expires = expiry(now, login.RefreshLifetime)
	r.Options, r.Browser, r.Expect = LoginOptions{}, "", Expect{}
	return nil
}

// fail marks a session as failed for a reason and returns that reason. A log-in
// that became active meanwhile stays so: a replayed callback must not end it.
func (m *Manager) fail(ctx context.Context, id string, cause error) error {
	problem := asProblem(cause)
	err := m.update(ctx, id, func(r *record) error {
		if r.State != Pending {
			return problem
		}
		r.end(problem)
		return nil
	})
	if err != nil {
		return err
	}
	return cause
}

// refusedAtHelseID says what an error in the callback means (RFC 6749 4.1.2.1,
// OpenID Connect Core 3.1.2.6).
func refusedAtHelseID(c Callback) error {
	switch c.Error {
	case "access_denied":
		return &Error{Kind: codeLogin, Why: "denied", OAuth: c.Error, Text: "the log-in was cancelled, or HelseID denied it"}
	case "temporarily_unavailable", "server_error":
		return &Error{Kind: "helseid-unavailable", OAuth: c.Error, Text: "HelseID could not carry out the log-in just now"}
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return &Error{Kind: codeLogin, Why: "denied", OAuth: c.Error, Text: "HelseID must ask the person, and was told not to"}
	case "unauthorized_client":
		return &Error{Kind: "client-not-approved", OAuth: c.Error, Text: "HelseID does not let this client log people in"}
	default:
		return &Error{Kind: "helseid-refused", Text: "HelseID refused the log-in"}
	}
}

func errReplayed() *Error { return loginFailed("replayed", "this answer of HelseID has been used") }

func unlessMissing(err error, missing *Error) error {
	if errors.Is(err, store.ErrMissing) {
		return missing
	}
	return storeError(err)
}

// expiry is now + d, or zero where d is not known.
func expiry(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}
