package helseid

import (
	"context"
	"errors"
	"net/url"
	"time"

	"golang.org/x/oauth2"
)

// CodeGrant is what the callback brought and what the log-in began with.
type CodeGrant struct {
	Code, Verifier, RedirectURI string
}

// Login is what a finished log-in leaves: the identity, and the means to ask for tokens.
type Login struct {
	IDToken         string // unverified: see VerifyIDToken
	RefreshToken    string
	RefreshLifetime time.Duration // 0 = unknown
	Thumbprint      string        // of the key that proved possession; "" = none did
}

// Request says for whom a token is wanted. What comes back is compared with it.
type Request struct {
	Tenant   Tenant
	NoTenant bool     // name no organization and give back no access token: the first refresh of a hand-over
	Wanted   []string // scopes the token must carry
	Scope    string   // `scope` parameter; "" = not sent (client credentials: Wanted is sent)
	Audience string   // that the token must have; "" = SFM's
	PID      string   // person whom the token must name; "" = a machine's token, which must name none
	Obtained string   // thumbprint of the key that the refresh token was obtained with; "" = not known
}

// Grant is a token that carries exactly what was asked for.
type Grant struct {
	Token           *oauth2.Token // type DPoP or Bearer; Expiry is Sent + Lifetime by the wall clock; nil with NoTenant
	Sent            time.Time     // when the request was made, with monotonic reading: the lifetime counts from here
	Lifetime        time.Duration
	RefreshToken    string // "" = none came: the old one stays good
	RefreshLifetime time.Duration
	IDToken         string   // unverified; "" = none came
	Warnings        []string // constant texts for the log
	Thumbprint      string   // of the key that the token is bound to; "" = none
	// Last says that the same means give no token that lives longer: the subject of a token exchange ends with it.
	Last bool
}

// Exchange redeems an authorization code (RFC 6749 §4.1.3) without naming an organization. The access token that
// comes along names no tenant; it is thrown away unread. A refused code is login-failed (`expired`).
func (c *Client) Exchange(ctx context.Context, g CodeGrant) (*Login, error) {
	key := c.proofKey()
	a, err := c.token(ctx, query{name: "authorization_code", proof: key, form: url.Values{
		"grant_type": {"authorization_code"}, "code": {g.Code},
		"redirect_uri": {g.RedirectURI}, "code_verifier": {g.Verifier},
	}})
	if e, ok := errors.AsType[*Error](err); ok && e.invalidGrant {
		failed := *e
		failed.code, failed.reason = codeLoginFailed, reasonExpired
		return nil, &failed
	}
	if err != nil {
		return nil, err
	}
	login := &Login{
		IDToken:         a.members.text("id_token"),
		RefreshToken:    a.members.text("refresh_token"),
		RefreshLifetime: time.Duration(a.members.seconds("rt_expires_in")) * time.Second,
		Thumbprint:      thumbprintOf(key),
	}
	switch {
	case login.IDToken == "":
		return nil, loginFailed(reasonIDTokenInvalid, "HelseID gave no ID token; the scope openid is needed at log-in")
	case login.RefreshToken == "":
		return nil, &Error{
			code:   codeRefused,
			detail: "HelseID gave no refresh token",
			hint:   "ask for offline_access at log-in, and have it allowed for the client at HelseID",
		}
	}
	return login, nil
}

// Refresh trades the refresh token for an access token that names r.Tenant and r.PID (RFC 6749 §6). Once sent it may
// take up to 60 s; ctx should be that of the session, not of a caller that may leave.
//
// HelseID may rotate the refresh token even when its access token is of no use. Therefore, with an error (which may be
// about the token alone), Grant can still be non-nil: it has no Token then, but a RefreshToken that must be kept.
func (c *Client) Refresh(ctx context.Context, refreshToken string, r Request) (*Grant, error) {
	if r.PID == "" && !r.NoTenant {
		return nil, errors.New("BUG: a refresh for a tenant must name the person")
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if r.Scope != "" {
		form.Set("scope", r.Scope)
	}
	return c.refresh(ctx, query{name: "refresh_token", form: form, patient: true}, r)
}

// ClientCredentials gets a token for a machine, without a person (RFC 6749 §4.4).
func (c *Client) ClientCredentials(ctx context.Context, r Request) (*Grant, error) {
	if r.PID != "" || r.NoTenant {
		return nil, errors.New("BUG: client credentials name a tenant and no person")
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if scope := or(r.Scope, join(r.Wanted)); scope != "" {
		form.Set("scope", scope)
	}
	return c.grant(ctx, query{name: "client_credentials", form: form}, r)
}

// grant asks for an access token and compares it with the request.
func (c *Client) grant(ctx context.Context, q query, r Request) (*Grant, error) {
	if !r.NoTenant {
		if r.Tenant.Parent == "" || r.Tenant.Journal == "" {
			return nil, errors.New("BUG: a token request must name parent and journal")
		}
		q.details = c.opt.details(r.Tenant)
	}
	if q.proof == nil {
		q.proof = c.proofKey()
	}
	a, err := c.token(ctx, q)
	if err != nil {
		return nil, err
	}
	g := &Grant{
		Thumbprint:      thumbprintOf(q.proof),
		Sent:            a.sent,
		RefreshToken:    a.members.text("refresh_token"),
		RefreshLifetime: time.Duration(a.members.seconds("rt_expires_in")) * time.Second,
		IDToken:         a.members.text("id_token"),
	}
	if r.NoTenant {
		return g, nil
	}
	t, err := c.readToken(a, r, q.proof)
	if err != nil {
		return g, err
	}
	g.Lifetime, g.Warnings = t.lifetime, t.warnings
	g.Token = &oauth2.Token{
		AccessToken: t.access, TokenType: c.tokenType(), Expiry: a.sent.Round(0).Add(t.lifetime),
	}
	return g, nil
}

// token asks the token endpoint; q names the key.
func (c *Client) token(ctx context.Context, q query) (*answer, error) {
	q.endpoint = func(md *metadata) string { return md.token }
	c.addResource(q.form)
	a, err := c.call(ctx, q)
	if err == nil && c.granted.Load() != q.proof {
		c.granted.Store(q.proof)
	}
	return a, err
}

// addResource names the resource alike in every request that RFC 8707 §2 knows: HelseID grants it at a refresh only if
// it was named at log-in.
func (c *Client) addResource(form url.Values) {
	if c.opt.Resource != "" {
		form.Set("resource", c.opt.Resource)
	}
}

func (c *Client) tokenType() string {
	if c.opt.DPoP != nil {
		return "DPoP"
	}
	return "Bearer"
}

// Revoke tells HelseID to forget a refresh token (RFC 7009). HelseID need not know it.
func (c *Client) Revoke(ctx context.Context, refreshToken string) error {
	_, err := c.call(ctx, query{
		name:     "revocation",
		endpoint: func(md *metadata) string { return md.revocation },
		form:     url.Values{"token": {refreshToken}, "token_type_hint": {"refresh_token"}},
		bodyless: true,
	})
	return err
}
