package helseid

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// metadata is what we need of HelseID's discovery document (OpenID Connect Discovery 1.0 §3, RFC 9126 §5). The rest of
// it is not looked at: some copies of it have strings where booleans belong.
type metadata struct {
	authorization, token, par, jwks string
	revocation, endSession          string // "" = not offered
}

// fetchMetadata reads the discovery document. The issuer in it must be ours to the letter (OpenID Connect Discovery
// §4.3): it becomes the audience of every assertion.
func (c *Client) fetchMetadata(ctx context.Context) (*metadata, *Error) {
	body, err := c.get(ctx, strings.TrimSuffix(c.opt.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	doc, fault := parseMembers(body)
	if fault != nil {
		return nil, unavailable("metadata-garbled", "HelseID's metadata is "+fault.Error())
	}
	if doc.text("issuer") != c.opt.Issuer {
		return nil, unavailable("metadata-issuer", "HelseID's metadata names another issuer than HELSEID_ISSUER")
	}
	md := &metadata{}
	for _, e := range []struct {
		into     *string
		name     string
		required bool
	}{
		{&md.authorization, "authorization_endpoint", true},
		{&md.token, "token_endpoint", true},
		{&md.par, "pushed_authorization_request_endpoint", true},
		{&md.jwks, "jwks_uri", true},
		{&md.revocation, "revocation_endpoint", false},
		{&md.endSession, "end_session_endpoint", false},
	} {
		*e.into = doc.text(e.name)
		if *e.into == "" && !e.required {
			continue
		}
		if _, err := parseEndpoint(*e.into, strings.HasPrefix(c.opt.Issuer, "http:")); err != nil {
			return nil, unavailable("metadata-endpoint", fmt.Sprintf("HelseID's metadata has no usable %s", e.name))
		}
	}
	return md, nil
}

// parseEndpoint takes an absolute URL: https, or http on a loopback host where that is allowed at all.
func parseEndpoint(raw string, plainLoopback bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("is not an absolute URL")
	case u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("must have neither user nor fragment")
	case u.Scheme == "https", u.Scheme == "http" && plainLoopback && loopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("must be https (http only on a loopback host)")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// get fetches one of HelseID's public documents: no redirects, bounded, nothing of the body in an error.
func (c *Client) get(ctx context.Context, address string) ([]byte, *Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, unavailable("address", "HelseID's address can't be used")
	}
	req.Header.Set("Accept", "application/json")
	a, err := c.send(req)
	if err != nil {
		reason := "unreachable"
		if ctx.Err() != nil {
			reason = "timeout"
		}
		e := unavailable(reason, "HelseID did not answer")
		e.cause = err
		return nil, e
	}
	switch {
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return nil, a.busy("server-error")
	case a.status != http.StatusOK:
		return nil, a.garbled("status")
	case a.fault == faultTruncated || a.fault == faultOversized:
		return nil, a.garbled(a.fault)
	}
	return a.body, nil
}
