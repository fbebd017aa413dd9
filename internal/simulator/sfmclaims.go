package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// The claims SFM reads, and the values it wants.
const (
	sfmAudience    = "e-helse:sfm.api"
	ordinaryScope  = "sfm"
	migrationScope = "sfm-migrering"

	claimJournal   = "nhn:sfm:journal-id"
	claimSFMID     = "e-helse:sfm.api/client/claims/sfm-id"
	claimPID       = "helseid://claims/identity/pid"
	claimLevel     = "helseid://claims/identity/security_level"
	claimAssurance = "helseid://claims/identity/assurance_level"
	claimParent    = "helseid://claims/client/claims/orgnr_parent"
	claimChild     = "helseid://claims/client/claims/orgnr_child"
	claimSupplier  = "helseid://claims/client/claims/orgnr_supplier"
	claimTenancy   = "helseid://claims/client/client_tenancy"
)

// tenantOf reads whom the token speaks for. The journal-id wins over the static SFM-id when both are there, and only a
// token that says nothing of tenancy, or says single, is looked through for the latter.
func tenantOf(claims map[string]any) Tenant {
	journal := text(claims, claimJournal)
	if journal == "" && !multiTenant(claims) {
		journal = text(claims, claimSFMID)
	}
	return Tenant{Parent: text(claims, claimParent), Child: text(claims, claimChild), Journal: strings.ToLower(journal)}
}

// multiTenant reads client_tenancy, which is "multi-tenant" in real tokens, "multi" in prose, and missing means single.
func multiTenant(claims map[string]any) bool {
	tenancy := text(claims, claimTenancy)
	return tenancy == "multi-tenant" || tenancy == "multi"
}

// checkClaims judges a genuine token by SFM's rules. The first that is broken is told.
func (c *sfmCall) checkClaims() *sfmRefusal {
	for _, rule := range []func() string{c.audienceFault, c.bindingFault, c.organizationFault, c.journalFault, c.personFault} {
		if fault := rule(); fault != "" {
			return c.denied(codeInvalidToken, fault)
		}
	}
	if fault := c.scopeFault(); fault != "" {
		refusal := c.denied(codeInsufficientScope, fault)
		refusal.status, refusal.issue = http.StatusForbidden, "forbidden" // RFC 6750 section 3.1
		return refusal
	}
	return nil
}

func (c *sfmCall) audienceFault() string {
	if !slices.Contains(words(c.caller.claims["aud"]), sfmAudience) {
		return "aud does not hold " + sfmAudience
	}
	return ""
}

// bindingFault holds the token against the key of the proof (RFC 9449 section 6.1). In API version 1 a bound token
// must not be taken as a bearer token, or a thief could use it (section 7.2).
func (c *sfmCall) bindingFault() string {
	confirmation, _ := c.caller.claims["cnf"].(map[string]any)
	jkt := text(confirmation, "jkt")
	switch {
	case c.knobs.Bearer && jkt != "":
		return "the token is bound to a DPoP key and can't be used as a bearer token"
	case c.knobs.Bearer:
		return ""
	case jkt == "":
		return "the token is not bound to a DPoP key: cnf.jkt is missing"
	case jkt != c.caller.jkt:
		return "cnf.jkt is the thumbprint of another key than the one that signed the proof"
	default:
		return ""
	}
}

// scopeFault wants a scope of the API version in use: the old scopes are for bearer tokens only and the new ones for
// DPoP only.
func (c *sfmCall) scopeFault() string {
	suffix := ".api2"
	if c.knobs.Bearer {
		suffix = ".api"
	}
	wanted := []string{sfmAudience + "/" + ordinaryScope + suffix, sfmAudience + "/" + migrationScope + suffix}
	if c.knobs.StrictScopes {
		wanted = []string{sfmAudience + "/" + c.scopeOf() + suffix}
	}
	granted := words(c.caller.claims["scope"])
	for _, scope := range wanted {
		if slices.Contains(granted, scope) {
			return ""
		}
	}
	return "scope holds none of: " + strings.Join(wanted, " ")
}

func (c *sfmCall) scopeOf() string {
	if c.op == nil || c.op.scope == "" {
		return ordinaryScope
	}
	return c.op.scope
}

func (c *sfmCall) organizationFault() string {
	tenant, claims := c.caller.tenant, c.caller.claims
	switch {
	case !isOrgnr(tenant.Parent):
		return "orgnr_parent is missing or not nine digits"
	case claims[claimChild] != nil && !isOrgnr(tenant.Child):
		return "orgnr_child is not nine digits"
	case tenant.Child == tenant.Parent:
		return "orgnr_child is the parent's own number; leave the child out where the parent itself is meant"
	default:
		return ""
	}
}

func (c *sfmCall) journalFault() string {
	claims := c.caller.claims
	if !multiTenant(claims) {
		if !isUUID(c.caller.tenant.Journal) {
			return "this single-tenant token names no journal: " + claimSFMID + " is missing or not a UUID"
		}
		return ""
	}
	supplier := text(claims, claimSupplier)
	switch {
	case !isUUID(c.caller.tenant.Journal):
		return claimJournal + " is missing or not a UUID; a multi-tenant token must name the journal"
	case !isOrgnr(supplier):
		return "orgnr_supplier is missing or not nine digits; a multi-tenant token must name the supplier"
	case !slices.Contains(c.suppliers(), supplier):
		return "the supplier " + supplier + " is not registered with SFM"
	default:
		return ""
	}
}

func (c *sfmCall) suppliers() []string {
	if len(c.knobs.Suppliers) > 0 {
		return c.knobs.Suppliers
	}
	return []string{c.sim.options.Supplier}
}

// personFault wants a person at the highest level. Polling for tasks is the one thing a machine may do by itself.
func (c *sfmCall) personFault() string {
	claims := c.caller.claims
	if c.caller.machine && (c.knobs.MachineTokens || c.op != nil && c.op.name == taskSearch) {
		return ""
	}
	switch {
	case !isDigits(text(claims, claimPID), 11):
		return claimPID + " is missing or not eleven digits; SFM needs to know the person"
	case fmt.Sprint(claims[claimLevel]) != "4":
		return "security_level is not 4"
	case text(claims, claimAssurance) != "high":
		return "assurance_level is not high"
	default:
		return ""
	}
}

// words reads a claim that may be a list or one text with spaces: HelseID writes scope as a JSON array, RFC 9068 as
// one text, and aud may be either.
func words(claim any) []string {
	switch value := claim.(type) {
	case string:
		return strings.Fields(value)
	case []any:
		var list []string
		for _, entry := range value {
			if word, ok := entry.(string); ok {
				list = append(list, word)
			}
		}
		return list
	default:
		return nil
	}
}

func isOrgnr(s string) bool { return isDigits(s, 9) }

func isDigits(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789") == ""
}

// isUUID takes the ordinary form of a UUID only, in any letter case.
func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	return strings.Trim(s, "0123456789abcdefABCDEF-") == "" && strings.Count(s, "-") == 4
}
