package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The grants a client may be registered for.
const (
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// The two tenancies of a client.
const (
	TenancyMulti  = "multi"
	TenancySingle = "single"
)

// Client is one registration at HelseID.
type Client struct {
	ID string `json:"client_id"`
	// JWKS holds the public keys: one JWK or a JWKS.
	JWKS json.RawMessage `json:"jwks"`
	// Tenancy is TenancyMulti (if empty) or TenancySingle.
	Tenancy string `json:"tenancy"`
	// DPoP says that token requests must carry a proof. Without it a proof is
	// still judged, and binds, when one comes.
	DPoP bool `json:"dpop"`
	// Grants, Scopes and RedirectURIs are what the client may use. The port of a
	// loopback redirect URI is free, as in HelseID's test environment.
	Grants                 []string `json:"grants"`
	Scopes                 []string `json:"scopes"`
	RedirectURIs           []string `json:"redirect_uris"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris"`
	// Audience is the client's own API, for which token exchange takes subject
	// tokens.
	Audience string `json:"audience"`

	// Delegated are the parents a multi-tenant client may name (HID-1001); nil =
	// all that delegate to the supplier.
	Delegated []string `json:"delegated"`
	// NoParents and NoChildren: the client is not approved to pass a parent
	// (HID-1005) or a child (HID-1006). NoOrganizations: neither (HID-1010).
	NoParents       bool `json:"no_parents"`
	NoChildren      bool `json:"no_children"`
	NoOrganizations bool `json:"no_organizations"`

	// Parent is a single-tenant client's own organization, Children the
	// sub-units it may name (HID-1002; nil = all).
	Parent   string   `json:"parent"`
	Children []string `json:"children"`
	// SFMID is the static claim e-helse:sfm.api/client/claims/sfm-id.
	SFMID string `json:"sfm_id"`
}

// registeredClient is a Client with its keys read.
type registeredClient struct {
	Client
	keys map[string]clientKey // by kid
}

type clientKey struct {
	public crypto.PublicKey
	alg    string // "" = any that fits the key
	digest string // RFC 7638
	secretLife
}

// RegisterClient adds a client, or replaces the one with the same id: new keys
// count from the next request on.
func (s *Simulator) RegisterClient(client Client) error {
	if client.ID == "" {
		return errors.New("registering a client: it has no id")
	}
	if client.Tenancy == "" {
		client.Tenancy = TenancyMulti
	}
	if client.Tenancy != TenancyMulti && client.Tenancy != TenancySingle {
		return fmt.Errorf("registering client %q: tenancy %q is neither multi nor single", client.ID, client.Tenancy)
	}
	keys, err := readClientKeys(client.JWKS, s.now())
	if err != nil {
		return fmt.Errorf("registering client %q: %w", client.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[client.ID] = &registeredClient{Client: client, keys: keys}
	return nil
}

// client returns the registration as it counts now: without the scopes that wait
// for approval. It is nil for an unknown id.
func (s *Simulator) client(id string) *registeredClient {
	client := s.registration(id)
	pending := s.knobs().Selvbetjening.PendingScopes
	if client == nil || len(pending) == 0 {
		return client
	}
	usable := *client
	usable.Scopes = slices.DeleteFunc(slices.Clone(client.Scopes), func(scope string) bool {
		_, waits := pending[scope]
		return waits
	})
	return &usable
}

// registration returns the client as it is registered; it is never changed.
func (s *Simulator) registration(id string) *registeredClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[id]
}

// readClientKeys reads a JWK or a JWKS. A key without kid is known by its
// RFC 7638 thumbprint.
func readClientKeys(raw json.RawMessage, now time.Time) (map[string]clientKey, error) {
	document, err := decodeObject(raw)
	if err != nil {
		return nil, fmt.Errorf("the client's key set %w", err)
	}
	list := []any{document}
	if members, isSet := document["keys"]; isSet {
		list, _ = members.([]any)
	}
	keys := make(map[string]clientKey, len(list))
	for _, entry := range list {
		jwk, ok := entry.(map[string]any)
		if !ok {
			return nil, errors.New("the client's key set holds something that is no key")
		}
		public, err := publicKey(jwk)
		if err != nil {
			return nil, fmt.Errorf("reading the client's key: %w", err)
		}
		digest, err := thumbprint(jwk)
		if err != nil {
			return nil, fmt.Errorf("naming the client's key: %w", err)
		}
		kid := text(jwk, "kid")
		if kid == "" {
			kid = digest
		}
		keys[kid] = clientKey{public: public, alg: text(jwk, "alg"), digest: digest, secretLife: secretLife{added: now}}
	}
	if len(keys) == 0 {
		return nil, errors.New("the client has no key")
	}
	return keys, nil
}

// SFMScope and SFMMigrationScope are the scopes of SFM's API version 2 (DPoP).
const (
	SFMScope          = "e-helse:sfm.api/sfm.api2"
	SFMMigrationScope = "e-helse:sfm.api/sfm-migrering.api2"
)

// defaultScopes are a complete SFM client's, with both API generations.
var defaultScopes = []string{
	"openid", "profile", "offline_access",
	"helseid://scopes/identity/pid", "helseid://scopes/identity/security_level",
	"helseid://scopes/identity/assurance_level", "helseid://scopes/hpr/hpr_number",
	SFMScope, SFMMigrationScope,
	"e-helse:sfm.api/sfm.api", "e-helse:sfm.api/sfm-migrering.api",
}

// KeySpec chooses the key of a new client.
type KeySpec struct {
	// Alg is one of the nine algorithms; if empty, ES256.
	Alg string
	// Bits is the size of an RSA key; if zero, 2048.
	Bits int
}

// NewClient makes a multi-tenant client with a new P-256 key, DPoP, every grant
// but token exchange, the SFM scopes of both API versions and those of the
// registers, and the redirect addresses that a sidecar has by default. It returns the registration and the
// private key as a JWK.
func NewClient(id string) (Client, []byte, error) { return NewClientWith(id, KeySpec{}) }

// NewClientWith is NewClient with a key of the caller's choice.
func NewClientWith(id string, spec KeySpec) (Client, []byte, error) {
	if spec.Alg == "" {
		spec.Alg = "ES256"
	}
	key, err := newKey(spec)
	if err != nil {
		return Client{}, nil, fmt.Errorf("making a key for client %q: %w", id, err)
	}
	private, public, err := keyPair(key, spec.Alg)
	if err != nil {
		return Client{}, nil, fmt.Errorf("describing the key of client %q: %w", id, err)
	}
	client := Client{
		ID: id, JWKS: public, Tenancy: TenancyMulti, DPoP: true,
		Grants:                 []string{GrantCode, GrantRefresh, GrantClientCredentials},
		Scopes:                 slices.Concat(defaultScopes, []string{AddressesScope, SelvbetjeningScope}),
		RedirectURIs:           []string{"http://localhost/_sidecar/callback", "http://127.0.0.1/_sidecar/callback"},
		PostLogoutRedirectURIs: []string{"http://localhost/", "http://127.0.0.1/"},
	}
	return client, private, nil
}

func newKey(spec KeySpec) (crypto.Signer, error) {
	alg, known := algorithms[spec.Alg]
	if !known {
		return nil, fmt.Errorf("unknown alg %q", spec.Alg)
	}
	if alg.family == "EC" {
		var curve elliptic.Curve = curves[alg.curve]
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, max(spec.Bits, 2048))
}

// keyPair writes both halves (private, public) of a key as JWKs with use, alg and kid.
func keyPair(key crypto.Signer, alg string) ([]byte, []byte, error) {
	secret, err := privateJWK(key)
	if err != nil {
		return nil, nil, err
	}
	kid, err := thumbprint(secret)
	if err != nil {
		return nil, nil, err
	}
	open, err := publicJWK(key.Public())
	if err != nil {
		return nil, nil, err
	}
	for _, jwk := range []map[string]any{secret, open} {
		jwk["kid"], jwk["alg"], jwk["use"] = kid, alg, "sig"
	}
	private, err := json.MarshalIndent(secret, "", "  ")
	if err != nil {
		return nil, nil, err
	}
	public, err := json.Marshal(open)
	return private, public, err
}

// tenancyClaim is how tokens write the tenancy.
func (c *registeredClient) tenancyClaim() string { return c.Tenancy + "-tenant" }

func (c *registeredClient) mayUse(grant string) bool { return slices.Contains(c.Grants, grant) }

// unknownScopes returns those the client is not registered for.
func (c *registeredClient) unknownScopes(wanted []string) []string {
	var unknown []string
	for _, scope := range wanted {
		if !slices.Contains(c.Scopes, scope) {
			unknown = append(unknown, scope)
		}
	}
	return unknown
}

// isIdentityScope tells scopes about a person from those of an API.
func isIdentityScope(scope string) bool {
	switch scope {
	case "openid", "profile", "offline_access":
		return true
	}
	return strings.HasPrefix(scope, "helseid://scopes/identity/") || strings.HasPrefix(scope, "helseid://scopes/hpr/")
}

// audienceOf returns the API a scope belongs to: what stands before the last
// slash. Scopes of HelseID itself belong to none.
func audienceOf(scope string) string {
	if isIdentityScope(scope) || strings.HasPrefix(scope, "helseid://") {
		return ""
	}
	at := strings.LastIndex(scope, "/")
	if at < 0 {
		return ""
	}
	return scope[:at]
}
