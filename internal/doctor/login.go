package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"sfm-sidecar/internal/helseid"
)

// errEnded says that nobody came back from the log-in in time. A Doorway need not use it.
var errEnded = errors.New("no answer came from the browser")

// Doorway is where a browser comes back to after the log-in.
type Doorway interface {
	// Await waits until a browser comes with this state, and returns what it brought. Others are turned away. It calls
	// open when the browser may come: not before, since one may be back at once.
	Await(ctx context.Context, state string, open func()) (Return, error)
}

// Return is what a browser brings back (RFC 6749 §4.1.2, RFC 9207).
type Return struct {
	Code, Issuer string
	Error        string // of HelseID; "" = none
}

// String hides the code.
func (Return) String() string { return "doctor.Return" }

// GoString hides the code.
func (Return) GoString() string { return "doctor.Return" }

// login is the log-in that the check made: the means to get tokens, and whose they are. It is never shown.
type login struct {
	pid      string
	refresh  string
	before   string // the refresh token before the last one, once HelseID has given another
	lifetime time.Duration
	renewed  int // refreshes that were granted
	rotated  int // those that brought another refresh token
}

// String hides the person and the tokens.
func (*login) String() string { return "doctor.login" }

// GoString hides the person and the tokens.
func (*login) GoString() string { return "doctor.login" }

func (e *examination) logIn(ctx context.Context) Finding {
	if e.o.NoDoorway != nil {
		return wrong(e.o.NoDoorway.Error(), "the browser could not come back to this check",
			"stop the sidecar that runs here while the check logs in; or, in HelseID's test environment, give the check another port: HELSEID_REDIRECT_URI=http://localhost:PORT/_sidecar/callback")
	}
	if e.o.Doorway == nil || e.o.Invite == nil {
		return skipped("there is no way for the browser to come back: HELSEID_REDIRECT_URI is no address on this machine")
	}
	a := e.authorization(e.o.Authorization.NamesTenant)
	address, _, err := e.o.HelseID.Push(ctx, a.Authorization)
	if err != nil {
		return explainPush(err, a.RedirectURI)
	}
	back, err := e.await(ctx, address, a.State)
	if err != nil {
		return explain(err)
	}
	if err := e.o.HelseID.CheckResponseIssuer(back.Issuer); err != nil {
		return explain(err)
	}
	if back.Error != "" {
		return refusedLogin(back.Error)
	}
	return e.admit(ctx, a, back.Code)
}

// await invites the person and waits for the browser.
func (e *examination) await(ctx context.Context, address, state string) (Return, error) {
	ctx, cancel := context.WithTimeout(ctx, LoginLimit)
	defer cancel()
	back, err := e.o.Doorway.Await(ctx, state, func() { e.o.Invite(address, LoginLimit) })
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w within %s", errEnded, LoginLimit)
	}
	return back, err
}

// admit redeems the code and looks at who came. What is known of the person is compared, never shown.
func (e *examination) admit(ctx context.Context, a attempt, code string) Finding {
	granted, err := e.o.HelseID.Exchange(ctx, helseid.CodeGrant{Code: code, Verifier: a.verifier, RedirectURI: a.RedirectURI})
	if err != nil {
		return explain(err)
	}
	e.login = &login{refresh: granted.RefreshToken, lifetime: granted.RefreshLifetime}
	person, err := e.o.HelseID.VerifyIDToken(ctx, granted.IDToken, a.Nonce)
	if err != nil {
		return explain(err)
	}
	e.login.pid = person.PID
	f := good("a refresh token and an ID token that is for this log-in",
		"log-ins work from the browser to the code; who it was is not shown")
	f.Details = Details{{Name: "security_level", Value: person.SecurityLevel}}
	if granted.RefreshLifetime > 0 {
		f.Details = append(f.Details, helseid.Fact{Name: "refresh_token_lifetime", Value: span(granted.RefreshLifetime)})
	}
	if person.HPRNumber == "" {
		f.Status, f.Means = Warning, "log-ins work, but this person has no HPR number: SFM lets such a person prescribe nothing"
		f.Do = "log in as health personnel to see what they will see; else ask for helseid://scopes/hpr/hpr_number in HELSEID_LOGIN_SCOPES"
	}
	return f
}

// oauthError is the form of an error code. What the browser brings could have been written by anybody.
var oauthError = regexp.MustCompile(`^[a-z_]{1,40}$`)

func refusedLogin(code string) Finding {
	if !oauthError.MatchString(code) {
		code = "an error of no known form"
	}
	m, known := oauthErrors[code]
	if !known {
		m = meaning{"the log-in ended at HelseID without a code", "log in again; if it stays so, " + askNHN}
	}
	f := wrong("HelseID sent the browser back with "+code, m.means, m.do)
	f.Code = "login-failed"
	return f
}

// refreshFor asks for a token by the log-in, with client, and keeps whatever refresh token comes back.
func (e *examination) refreshFor(ctx context.Context, client HelseID, r helseid.Request) (*helseid.Grant, error) {
	l := e.login
	g, err := client.Refresh(ctx, l.refresh, r)
	if g == nil {
		return nil, err
	}
	l.renewed++
	if g.RefreshToken != "" && g.RefreshToken != l.refresh {
		l.before, l.refresh = l.refresh, g.RefreshToken
		l.rotated++
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// logOut throws the log-in away. That it fails is no finding: the refresh token runs out by itself, and nobody has it.
func (e *examination) logOut(ctx context.Context) {
	if e.login == nil || e.login.refresh == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shortLimit)
	defer cancel()
	_ = e.o.HelseID.Revoke(ctx, e.login.refresh)
	e.login = nil
}
