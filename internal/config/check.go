package config

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"
)

// check holds the configuration against every rule that is more than the form of
// one value. Rules that compare variables are silent about those that already
// have a fault of their own.
func check(c *Config, vars map[string]string, found *findings) {
	checkChoices(c, found)
	checkHelseID(&c.HelseID, found)
	checkLogin(c, found)
	checkScopes(c, found)
	checkUpstreams(c, found)
	checkRegisters(&c.Tenants, found)
	checkTenants(&c.Tenants, found)
	checkWarmUp(c, found)
	checkListeners(c, found)
	checkCallers(c, found)
	checkKeep(&c.Keep, found)
	checkStore(&c.Keep, found)
	checkKeyring(&c.Keep, found)
	checkTimes(c, vars, found)
	checkTraces(&c.Traces, found)
}

// checkChoices checks the variables whose values are words from a list.
func checkChoices(c *Config, found *findings) {
	choose := func(variable, value string, allowed ...string) {
		if fault, ok := oneOf(value, allowed...); !ok && !found.has(variable) {
			found.fault(variable, fault.Problem, fault.Mend)
		}
	}
	choose("HELSEID_TENANCY", c.HelseID.Tenancy, TenancyMulti, TenancySingle)
	choose("HELSEID_LOGIN_TENANT", c.HelseID.LoginTenant, LoginTenantNone, LoginTenantRequestObject)
	choose("HELSEID_ASSERTION_CLAIM", c.HelseID.AssertionClaim, "assertion_details", "authorization_details")
	choose("HELSEID_PARENT_ONLY_FORM", c.HelseID.ParentOnlyForm, "colon", "bare")
	choose("SFM_API", c.SFM.API, APIv1, APIv2)
	choose("TENANTS_POLICY", c.Tenants.Policy, PolicyAny, PolicyListed)
	choose("SIDECAR_ORGNR_CHECK", c.Tenants.OrgnrCheck, "warn", "strict")
	choose("SIDECAR_SESSION_STORE", c.Keep.SessionStore, StoreMemory, StoreKeyring)
	choose("SIDECAR_CLOCK", c.Keep.Clock, ClockCorrect, ClockSystem)
	choose("LOG_LEVEL", c.Log.Level, "debug", "info", "warn", "error")
	choose("LOG_FORMAT", c.Log.Format, "auto", "text", "json")
	for _, grant := range c.HelseID.Grants {
		choose("HELSEID_GRANT", grant, GrantUser, GrantClientCredentials, GrantTokenExchange)
	}
}

// checkUpstreams checks that what is said about upstreams by name fits those that
// are.
func checkUpstreams(c *Config, found *findings) {
	if found.has("SFM_UPSTREAMS") {
		return
	}
	named := make(map[string]bool)
	for _, upstream := range c.SFM.Upstreams {
		named[upstream.Name] = true
	}
	unknown := func(variable string, names []string) {
		for _, name := range names {
			if !named[name] {
				found.fault(variable, "names "+quote(name)+", which SFM_UPSTREAMS does not", "add that upstream, or leave it out here")
			}
		}
	}
	unknown("SFM_UPSTREAM_SCOPES", slices.Sorted(maps.Keys(c.SFM.UpstreamScopes)))
	unknown("SFM_UPSTREAM_AUDIENCES", slices.Sorted(maps.Keys(c.SFM.UpstreamAudiences)))
}

// checkTenants refuses a policy that nobody could pass. What the file says is
// judged by whoever reads it.
func checkTenants(t *Tenants, found *findings) {
	if t.Policy == PolicyListed && t.File == "" && !found.has("TENANTS_POLICY") {
		found.fault("TENANTS_POLICY", "is listed, and TENANTS_FILE, which would list tenants, is not set",
			"set TENANTS_FILE, or write any")
	}
}

// checkWarmUp refuses a warm-up that has no tenants, or no grant, to warm up with.
func checkWarmUp(c *Config, found *findings) {
	if c.Keep.WarmUp > 0 && (c.Tenants.Policy != PolicyListed || !slices.Contains(c.HelseID.Grants, GrantClientCredentials)) {
		found.fault("SIDECAR_WARM_UP", "needs listed tenants and the grant client-credentials", "unset it, or set TENANTS_FILE and HELSEID_GRANT")
	}
}

// checkKeep checks numbers and files.
func checkKeep(k *Keep, found *findings) {
	if k.CacheEntries < 1 && !found.has("SIDECAR_CACHE_ENTRIES") {
		found.fault("SIDECAR_CACHE_ENTRIES", "is less than 1", "write how many tokens may be kept")
	}
	if k.CAFile != "" {
		checkCAFile(k.CAFile, found)
	}
	if !k.HTTPSProxy.Empty() {
		checkProxy(k.HTTPSProxy.Reveal(), found)
	}
}

func checkCAFile(path string, found *findings) {
	const variable = "SIDECAR_CA_FILE"
	content, err := readBounded(path, maxEnvFile)
	switch {
	case err != nil:
		found.fault(variable, "can't be read: "+err.Error(), "name a readable file of at most 1 MiB")
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(content)):
		found.fault(variable, "holds no certificate", "write certificates in PEM form into it")
	}
}

// checkProxy refuses what net/http would ignore in silence, and then call the
// internet past the proxy.
func checkProxy(proxy string, found *findings) {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy // host:port alone is customary
	}
	u, err := parseAnyURL(proxy)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		found.fault("HTTPS_PROXY", "is not the address of a proxy", "write http://host:port")
	}
}

// checkTimes checks the time spans alone and against each other.
func checkTimes(c *Config, vars map[string]string, found *findings) {
	const minute = time.Minute
	for _, span := range []struct {
		variable    string
		value       time.Duration
		least, most time.Duration // most 0 = no limit
	}{
		{"HELSEID_ASSERTION_LIFETIME", c.HelseID.AssertionLifetime, time.Second, minute},
		{"HELSEID_TIMEOUT", c.HelseID.Timeout, time.Millisecond, 0},
		{"SFM_RESPONSE_TIMEOUT", c.SFM.ResponseTimeout, time.Millisecond, 0},
		{"SIDECAR_STORE_TIMEOUT", c.Keep.StoreTimeout, time.Millisecond, 0},
		{"SIDECAR_SESSION_IDLE", c.Keep.SessionIdle, time.Second, 0},
	} {
		switch {
		case found.has(span.variable):
		case span.value < span.least:
			found.fault(span.variable, "is less than "+span.least.String(), "write at least "+span.least.String())
		case span.most > 0 && span.value > span.most:
			found.fault(span.variable, "is more than "+span.most.String(), "write at most "+span.most.String())
		}
	}
	if c.Keep.MinSigtermDelay > c.Keep.MaxSigtermDelay && !found.has("SIDECAR_MIN_SIGTERM_DELAY") && !found.has("SIDECAR_MAX_SIGTERM_DELAY") {
		found.fault("SIDECAR_MIN_SIGTERM_DELAY", "is more than SIDECAR_MAX_SIGTERM_DELAY ("+c.Keep.MaxSigtermDelay.String()+")",
			"lower it, or raise the other")
	}
	// No fault: both are cut down to a share of a token's lifetime, so that for
	// short-lived tokens the order of what was written says nothing.
	_, said := vars["SIDECAR_REFRESH_BEFORE"]
	if before := c.Keep.RefreshBefore; said && before > 0 && before <= c.Keep.ExpiryLeeway {
		found.warn("SIDECAR_REFRESH_BEFORE", "is not more than SIDECAR_EXPIRY_LEEWAY ("+c.Keep.ExpiryLeeway.String()+
			"): long-lived tokens are not renewed early", "raise it, or write 0s if that is meant")
	}
}
