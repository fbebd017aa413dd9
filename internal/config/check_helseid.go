package config

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// scopePrefix begins every scope of SFM's own API.
const scopePrefix = SFMAudience + "/"

// reservedParams are the parameters of an authorization request that the sidecar
// makes itself. A second value for one would break the log-in, or its protection.
var reservedParams = []string{
	"client_id", "client_assertion", "client_assertion_type", "code_challenge", "code_challenge_method", "dpop_jkt",
	"nonce", "redirect_uri", "request", "request_uri", "resource", "response_mode", "response_type", "scope", "state",
}

// checkHelseID checks what is said about HelseID and the client.
func checkHelseID(h *HelseID, found *findings) {
	if !found.has("HELSEID_ISSUER") {
		checkIssuer(h.Issuer, found)
	}
	if strings.ContainsAny(h.ClientID, " \t\r\n") {
		found.fault("HELSEID_CLIENT_ID", "holds white space", "write the client id alone")
	}
	if h.Concurrency < 1 && !found.has("SIDECAR_HELSEID_CONCURRENCY") {
		found.fault("SIDECAR_HELSEID_CONCURRENCY", "is less than 1", "write how many calls to HelseID may run at once")
	}
	if h.SupplierOrgnr != "" && (len(h.SupplierOrgnr) != 9 || strings.Trim(h.SupplierOrgnr, "0123456789") != "") {
		found.fault("HELSEID_SUPPLIER_ORGNR", "is not an organization number", "write its nine digits")
	}
	if h.Resource != "" {
		checkAbsolute("HELSEID_RESOURCE", h.Resource, found)
	}
	checkClaimNames(h.ClaimNames, found)
	for _, name := range slices.Sorted(maps.Keys(h.LoginParams)) {
		if slices.Contains(reservedParams, name) {
			found.fault("HELSEID_LOGIN_PARAMS", "sets "+quote(name)+", which the sidecar sets itself", "leave it out")
		}
	}
}

// checkIssuer checks the form of the issuer's address. The address is kept exactly
// as written: an issuer is compared letter by letter (RFC 8414 section 3.3).
func checkIssuer(issuer string, found *findings) {
	const variable = "HELSEID_ISSUER"
	if issuer == "" {
		return // unset, and reported as such
	}
	u, err := parseAnyURL(issuer)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		found.fault(variable, "is "+quote(issuer)+", which is not an https URL", "write the issuer's address, such as https://helseid-sts.test.nhn.no")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		found.fault(variable, "is "+quote(issuer)+", which has more than scheme, host and path", "leave out user name, query and fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		found.fault(variable, "is an http address of another machine", "use https; http is for loopback hosts only")
	case u.Scheme == "http":
		found.warn(variable, "is an http address: fit for tests only", "use https")
	}
}

// checkClaimNames checks that each of the four claims has one name of its own.
func checkClaimNames(names map[string]string, found *findings) {
	const variable = "HELSEID_CLAIM_NAMES"
	owner := make(map[string]string)
	for _, claim := range slices.Sorted(maps.Keys(names)) {
		if fault, ok := oneOf(claim, "parent", "child", "journal", "pid"); !ok {
			found.fault(variable, "sets "+quote(claim)+", which is none of the claims that are compared", fault.Mend)
		}
		if other, taken := owner[names[claim]]; taken {
			found.fault(variable, "gives "+other+" and "+claim+" the same name", "give each its own")
		}
		owner[names[claim]] = claim
	}
}

// checkLogin checks that the grants can do their work.
func checkLogin(c *Config, found *findings) {
	h := &c.HelseID
	if !found.has("HELSEID_GRANT") {
		checkGrants(h, found)
	}
	if h.RedirectURI != "" {
		checkRedirect("HELSEID_REDIRECT_URI", h.RedirectURI, found)
	}
	if h.PostLogoutRedirectURI != "" {
		checkAbsolute("HELSEID_POST_LOGOUT_REDIRECT_URI", h.PostLogoutRedirectURI, found)
	}
	if slices.Contains(h.Grants, GrantUser) && isSocket(c.Listen.Address) && c.Listen.Callback == "" {
		found.fault("SIDECAR_CALLBACK_LISTEN", "is needed for log-ins, since no browser reaches a socket", "set it to a loopback address, such as 127.0.0.1:8081")
	}
}

func checkGrants(h *HelseID, found *findings) {
	switch {
	case len(h.Grants) == 0:
		found.fault("HELSEID_GRANT", "names no grant", "write one of: user, client-credentials, token-exchange")
	case len(slices.Compact(slices.Sorted(slices.Values(h.Grants)))) < len(h.Grants):
		found.fault("HELSEID_GRANT", "names a grant twice", "leave one of the two out")
	}
	if slices.Contains(h.Grants, GrantTokenExchange) && h.SubjectAudience == "" {
		found.fault("HELSEID_SUBJECT_AUDIENCE", "is required with token-exchange", "set it to the audience that the callers' tokens must have")
	}
	if !slices.Contains(h.Grants, GrantUser) {
		return
	}
	for _, scope := range []string{"openid", "offline_access"} {
		if !slices.Contains(h.LoginScopes, scope) {
			found.fault("HELSEID_LOGIN_SCOPES", "lacks "+scope+", without which no log-in can be used", "add it, or unset the variable")
		}
	}
}

// checkRedirect checks the address that HelseID sends the browser back to.
func checkRedirect(variable, address string, found *findings) {
	u, err := parseAnyURL(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		found.fault(variable, "is "+quote(address)+", which is not an http or https URL", "write it exactly as it is registered with HelseID")
	case u.Fragment != "" || strings.Contains(address, "#"): // RFC 6749 section 3.1.2
		found.fault(variable, "has a fragment", "leave out everything from the # on")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		found.fault(variable, "is an http address of another machine", "use https; http is for loopback hosts only")
	}
}

func checkAbsolute(variable, address string, found *findings) {
	if u, err := parseAnyURL(address); err != nil || !u.IsAbs() {
		found.fault(variable, "is "+quote(address)+", which is not an absolute URL", "write it with its scheme, such as https://host/path")
	}
}

// checkScopes checks the form of every scope, and that none of SFM's is of the
// other version: a token of the wrong kind is refused by SFM, and a Bearer token
// under a scope meant for DPoP would not be bound to any key.
func checkScopes(c *Config, found *findings) {
	lists := map[string][]string{"HELSEID_SCOPES": c.HelseID.Scopes, "HELSEID_LOGIN_SCOPES": c.HelseID.LoginScopes}
	for _, name := range slices.Sorted(maps.Keys(c.SFM.UpstreamScopes)) {
		lists["SFM_UPSTREAM_SCOPES"] = append(lists["SFM_UPSTREAM_SCOPES"], c.SFM.UpstreamScopes[name]...)
	}
	for _, variable := range slices.Sorted(maps.Keys(lists)) {
		for _, scope := range lists[variable] {
			switch {
			case !isScope(scope):
				found.fault(variable, "holds "+quote(scope)+", which is not a scope", "write scopes separated by spaces")
			case !strings.HasPrefix(scope, scopePrefix):
			case c.SFM.API == APIv2 && strings.HasSuffix(scope, ".api"):
				found.fault(variable, "holds "+quote(scope)+", a scope of v1, while SFM_API is v2", "write "+scope+"2, or set SFM_API=v1")
			case c.SFM.API == APIv1 && strings.HasSuffix(scope, ".api2"):
				found.fault(variable, "holds "+quote(scope)+", a scope of v2, while SFM_API is v1", "write it without the 2 at its end, or set SFM_API=v2")
			}
		}
	}
}

// isScope reports whether every character may stand in a scope (RFC 6749
// section 3.3).
func isScope(scope string) bool {
	return !strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// parseAnyURL parses an address without repeating it in the error, since it may
// hold a password.
func parseAnyURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	return u, nil
}
