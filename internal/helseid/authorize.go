package helseid

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// Authorization is a log-in about to begin. State, Nonce and Challenge (PKCE S256, RFC 7636) are made by the caller,
// which must remember what belongs to them.
type Authorization struct {
	RedirectURI, State, Nonce, Challenge string
	Scopes                               []string
	// Tenant, if not zero, goes into a signed request object: the log-in is then for this organization and journal. A
	// client that is let log in without does better so, and chooses at each refresh.
	Tenant Tenant
	Extra  url.Values // acr_values, prompt, max_age, login_hint, ui_locales, …
}

// Push hands the authorization request to HelseID (PAR, RFC 9126) and returns where the browser must go, with how long
// that address is good. An organization is named only with z.Tenant.
func (c *Client) Push(ctx context.Context, z Authorization) (authorizeURL string, lifetime time.Duration, err error) {
	if z.State == "" || z.Nonce == "" || z.Challenge == "" || z.RedirectURI == "" {
		return "", 0, fmt.Errorf("BUG: an authorization request needs redirect_uri, state, nonce and code_challenge")
	}
	form := url.Values{
		"response_type": {"code"}, "redirect_uri": {z.RedirectURI}, "scope": {join(z.Scopes)},
		"state": {z.State}, "nonce": {z.Nonce},
		"code_challenge": {z.Challenge}, "code_challenge_method": {"S256"},
	}
	c.addResource(form)
	for name, values := range z.Extra {
		if form.Has(name) || reserved[name] {
			return "", 0, fmt.Errorf("BUG: log-in parameter %q is not the caller's to set", name)
		}
		form[name] = values
	}
	q := query{name: "par", form: form, endpoint: func(md *metadata) string { return md.par }}
	if z.Tenant != (Tenant{}) {
		if z.Tenant.Parent == "" || z.Tenant.Journal == "" {
			return "", 0, fmt.Errorf("BUG: a log-in for a tenant must name parent and journal")
		}
		q.object = c.opt.details(z.Tenant)
	}
	a, err := c.call(ctx, q)
	if err != nil {
		return "", 0, err
	}
	requestURI, seconds := a.members.text("request_uri"), a.members.seconds("expires_in")
	switch {
	case requestURI == "":
		return "", 0, unusable("no-request-uri")
	case seconds == 0:
		return "", 0, unusable("expires-in")
	}
	md, err := c.metadata.get(ctx)
	if err != nil {
		return "", 0, err
	}
	to := withQuery(md.authorization, url.Values{"client_id": {c.opt.ClientID}, "request_uri": {requestURI}})
	return to, time.Duration(seconds) * time.Second, nil
}

// reserved are parameters that would change whom or what the request is for.
var reserved = map[string]bool{
	"client_id": true, "client_assertion": true, "client_assertion_type": true, "client_secret": true,
	"request": true, "request_uri": true, "response_mode": true, "resource": true,
	"authorization_details": true, "dpop_jkt": true,
}

// CheckResponseIssuer compares the `iss` of a callback with our issuer (RFC 9207 §2.4). HelseID always sends it, so a
// missing one is as wrong as another's.
func (c *Client) CheckResponseIssuer(iss string) error {
	if iss != c.opt.Issuer {
		return loginFailed(reasonStateUnknown, "the answer to the log-in does not come from HelseID (iss)")
	}
	return nil
}

// EndSession is where the browser goes to log out (OpenID Connect RP-Initiated Logout 1.0 §2). Each parameter may be
// "". The result is "" if HelseID offers no log-out.
func (c *Client) EndSession(ctx context.Context, idTokenHint, postLogoutURI, state string) (string, error) {
	md, err := c.metadata.get(ctx)
	if err != nil || md.endSession == "" {
		return "", err
	}
	query := url.Values{}
	for name, value := range map[string]string{
		"id_token_hint": idTokenHint, "post_logout_redirect_uri": postLogoutURI, "state": state,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if idTokenHint == "" {
		query.Set("client_id", c.opt.ClientID) // else HelseID can't tell whose log-out this is
	}
	return withQuery(md.endSession, query), nil
}

// withQuery adds parameters to an endpoint, which may have some already (RFC 6749 §3.1).
func withQuery(endpoint string, add url.Values) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "" // parseEndpoint has seen it
	}
	q := u.Query()
	for name, values := range add {
		q[name] = values
	}
	u.RawQuery = q.Encode()
	return u.String()
}
