package selvbetjening

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Status is how far a registration has come.
type Status string

// The statuses of scopes and claims.
const (
	StatusOK            Status = "ok"
	StatusPending       Status = "pending"       // somebody has to approve it first
	StatusUpdatePending Status = "updatePending" // of a claim: the old value counts until the new one is approved
)

// Client is what is registered of this client.
type Client struct {
	ClientID               string          `json:"clientId"` // "" = the API does not say
	Scopes                 []ClientScope   `json:"apiScopes"`
	RedirectURIs           []string        `json:"redirectUris"`
	PostLogoutRedirectURIs []string        `json:"postLogoutRedirectUris"`
	Children               []string        `json:"childOrganizationNumbers"`
	Claims                 []AudienceClaim `json:"audienceSpecificClientClaims"`
}

// ClientScope is one API scope of the client.
type ClientScope struct {
	Scope  string `json:"scope"`
	Status Status `json:"status"`
	Reason string `json:"statusReason"` // why it is pending; "" = not said
}

// AudienceClaim is a static claim that tokens for one API carry, such as a single-tenant client's SFM-id.
type AudienceClaim struct {
	Type    string `json:"claimType"`
	Active  string `json:"activeClaimValue"`
	Pending string `json:"pendingClaimValue"`
	Status  Status `json:"status"`
	Reason  string `json:"statusReason"`
}

// Client asks what is registered of this client, at /v1/client, or at /v1/client-status where that is not known.
func (a *API) Client(ctx context.Context) (*Client, error) {
	var c Client
	err := a.get(ctx, "v1/client", &c)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		c = Client{}
		err = a.get(ctx, "v1/client-status", &c)
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// Key is one of the client's keys as Selvbetjening lists it.
type Key struct {
	ID         string          // kid; "" = it has none
	Thumbprint string          // RFC 7638, as the API writes it; "" = not said
	Origin     string          // "Api" or "Gui"
	Expires    time.Time       // zero = not said, or never
	Public     json.RawMessage // the public JWK; mostly nil
}

// Keys lists the client's keys.
func (a *API) Keys(ctx context.Context) ([]Key, error) {
	var listed []struct {
		Expiration    moment          `json:"expiration"`
		KeyID         string          `json:"kid"`
		JWKThumbprint string          `json:"jwkThumbprint"`
		Origin        string          `json:"origin"`
		PublicJWK     json.RawMessage `json:"publicJwk"`
	}
	if err := a.get(ctx, "v1/client-secret", &listed); err != nil {
		return nil, err
	}
	if listed == nil || len(listed) > maxList {
		return nil, &Error{Status: http.StatusOK, Problem: "its answer can't be understood", Mend: "check SELVBETJENING_URL; it may be of another version"}
	}
	keys := make([]Key, 0, len(listed))
	for _, one := range listed {
		if string(one.PublicJWK) == "null" {
			one.PublicJWK = nil
		}
		keys = append(keys, Key{one.KeyID, one.JWKThumbprint, one.Origin, one.Expiration.Time, one.PublicJWK})
	}
	return keys, nil
}

// AddKey registers the public half of a new key, a JWK with kid, use and alg, beside those that are there. It returns
// when the key expires, zero where the API does not say. It is never sent twice: when an [*Error] is Unknown, the list
// of keys tells.
func (a *API) AddKey(ctx context.Context, public json.RawMessage) (expires time.Time, err error) {
	var answer struct {
		Expiration moment `json:"expiration"`
	}
	if err := a.call(ctx, http.MethodPost, "v1/client-secret", public, &answer); err != nil {
		return time.Time{}, err
	}
	return answer.Expiration.Time, nil
}

// TenantLister tells how far the tenants of a multi-tenant client have come.
type TenantLister interface {
	// Tenants lists them. ErrNotOffered says that this Selvbetjening has no such list.
	Tenants(ctx context.Context) ([]Tenant, error)
}

// ErrNotOffered says that the API has no list of tenants.
var ErrNotOffered = errors.New("HelseID Selvbetjening offers no list of tenants")

// TenantActive is the status of a tenant for which HelseID gives tokens (sfm.md rule T1).
const TenantActive = "Active"

// Tenant is an organization on whose behalf the client may, or may not yet, ask for tokens.
type Tenant struct {
	Orgnr  string `json:"organizationNumber"`
	Name   string `json:"name"`
	Status string `json:"status"` // TenantActive, or what is missing
	// Delegation says whether the organization has delegated to the client's owner in Altinn.
	Delegation bool   `json:"delegation"`
	Terms      []Term `json:"terms"`
}

// Term is one of NHN's agreements.
type Term struct {
	Name   string `json:"name"`
	Signed bool   `json:"signed"`
}

var _ TenantLister = (*API)(nil)

// Tenants implements [TenantLister] in the form that our simulator has: the real one's is not published.
func (a *API) Tenants(ctx context.Context) ([]Tenant, error) {
	var tenants []Tenant
	err := a.get(ctx, "v1/client/tenants", &tenants)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		return nil, ErrNotOffered
	}
	return tenants, err
}
