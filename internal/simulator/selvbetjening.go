package simulator

import (
	"net/http"
	"slices"
)

// What HelseID Selvbetjening's API wants of a token.
const (
	SelvbetjeningAudience = "nhn:selvbetjening"
	SelvbetjeningScope    = "nhn:selvbetjening/client"
)

// selvbetjening is the stand-in for HelseID Selvbetjening, where a client sees
// its own registration and changes its keys. It takes tokens of machines only:
// a client's registration is no business of the person who is logged in.
func (c *registerCall) selvbetjening() {
	if !c.authorize(SelvbetjeningAudience, SelvbetjeningScope) {
		return
	}
	client := c.sim.registration(c.record.Client)
	switch {
	case text(c.claims, "sub") != "" || text(c.claims, claimPID) != "":
		c.denied(codeInvalidToken, "the token is about a person; ask for one with client_credentials")
	case client == nil:
		c.denied(codeInvalidToken, "client_id is not registered")
	default:
		c.routeSelvbetjening(client)
	}
}

func (c *registerCall) routeSelvbetjening(client *registeredClient) {
	knobs := c.sim.knobs().Selvbetjening
	switch {
	case c.path == "/v1/client" && !knobs.OldPathOnly, c.path == "/v1/client-status":
		if c.onlyMethods(http.MethodGet) {
			c.writeJSON(clientStatus(client, knobs))
		}
	case c.path == "/v1/client/tenants" && !knobs.NoTenants:
		if c.onlyMethods(http.MethodGet) {
			c.writeJSON(c.tenantStatus(client))
		}
	case c.path == "/v1/client-secret":
		if !c.onlyMethods(http.MethodGet, http.MethodPost) {
			return
		}
		if c.r.Method == http.MethodGet {
			c.writeJSON(c.sim.secrets(client))
		} else if c.jsonBody() {
			c.postSecret(client)
		}
	default:
		c.problem(http.StatusNotFound, "the simulator has no %s", c.path)
	}
}

// clientStatus is the client's registration in the form of NHN's samples
// (CurrentClient). Only what belongs to an API has a status there.
func clientStatus(client *registeredClient, knobs SelvbetjeningKnobs) map[string]any {
	scopes := []any{}
	for _, scope := range client.Scopes {
		if audienceOf(scope) == "" {
			continue
		}
		entry := map[string]any{"scope": scope, "status": "ok", "statusReason": nil}
		if reason, pending := knobs.PendingScopes[scope]; pending {
			entry["status"], entry["statusReason"] = "pending", reason
		}
		scopes = append(scopes, entry)
	}
	return map[string]any{
		"clientId": client.ID, "apiScopes": scopes,
		"redirectUris":                 append([]string{}, client.RedirectURIs...),
		"postLogoutRedirectUris":       append([]string{}, client.PostLogoutRedirectURIs...),
		"childOrganizationNumbers":     append([]string{}, client.Children...),
		"audienceSpecificClientClaims": claimStatus(client, knobs.PendingClaims),
	}
}

func claimStatus(client *registeredClient, pending map[string]string) []any {
	active := map[string]string{}
	if client.SFMID != "" {
		active[claimSFMID] = client.SFMID
	}
	var types []string
	for _, values := range []map[string]string{active, pending} {
		for name := range values {
			if !slices.Contains(types, name) {
				types = append(types, name)
			}
		}
	}
	slices.Sort(types)
	list := []any{}
	for _, name := range types {
		entry := map[string]any{"claimType": name, "activeClaimValue": nil, "pendingClaimValue": nil, "status": "ok", "statusReason": nil}
		if value, is := active[name]; is {
			entry["activeClaimValue"] = value
		}
		if value, waits := pending[name]; waits {
			entry["pendingClaimValue"], entry["status"], entry["statusReason"] = value, "pending", "Waiting for approval"
			if entry["activeClaimValue"] != nil {
				entry["status"] = "updatePending"
			}
		}
		list = append(list, entry)
	}
	return list
}

// The states of a tenant. Only "Active" is known from NHN's documents.
const (
	tenantActive       = "Active"
	tenantUndelegated  = "MissingDelegation"
	tenantUnsigned     = "MissingTerms"
	tenantNeitherThing = "MissingDelegationAndTerms"
)

// tenantStatus lists a multi-tenant client's tenants, in a form of our own
// (docs/divergences.md), from the same facts as the token endpoint's refusals.
// ParentNotDelegated is in it as one that has signed and not delegated yet.
func (c *registerCall) tenantStatus(client *registeredClient) []any {
	list := []any{}
	if client.Tenancy == TenancySingle {
		return list
	}
	orgs := slices.Clone(c.sim.options.Delegations)
	if _, delegates := c.sim.orgs[ParentNotDelegated]; !delegates {
		orgs = append(orgs, Delegation{Orgnr: ParentNotDelegated, Terms: true})
	}
	unsigned := c.sim.knobs().HelseID.Unsigned
	for _, org := range orgs {
		_, delegated := c.sim.delegation(org.Orgnr)
		if client.Delegated != nil && !slices.Contains(client.Delegated, org.Orgnr) {
			delegated = false
		}
		signed := org.Terms && !slices.Contains(unsigned, org.Orgnr)
		status := tenantActive
		switch {
		case !delegated && !signed:
			status = tenantNeitherThing
		case !delegated:
			status = tenantUndelegated
		case !signed:
			status = tenantUnsigned
		}
		list = append(list, map[string]any{
			"organizationNumber": org.Orgnr, "name": c.sim.registers.units[org.Orgnr].Name, "status": status,
			"delegation": delegated, "terms": []any{map[string]any{"name": "SFM", "signed": signed}},
		})
	}
	return list
}

// delegation is the parent's delegation as it is now: the options' with what the
// knobs take away.
func (s *Simulator) delegation(parent string) (Delegation, bool) {
	org, known := s.orgs[parent]
	knobs := s.knobs().HelseID
	if slices.Contains(knobs.Withdrawn, parent) {
		return Delegation{}, false
	}
	if slices.Contains(knobs.Unsigned, parent) {
		org.Terms = false
	}
	return org, known
}
