package helseid

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

// Tenancies of a HelseID client (HELSEID_TENANCY).
const (
	TenancyMulti  = "multi"  // a supplier's client for many organizations: parent, child and journal are sent
	TenancySingle = "single" // one organization's own client: only a child is sent
)

// Claims of the assertion that can carry the organization (HELSEID_ASSERTION_CLAIM).
const (
	ClaimAssertionDetails     = "assertion_details"
	ClaimAuthorizationDetails = "authorization_details"
)

// Forms of a parent without a child (HELSEID_PARENT_ONLY_FORM). NHN's own libraries differ.
const (
	ParentOnlyColon = "colon" // NO:ORGNR:<parent>:
	ParentOnlyBare  = "bare"  // NO:ORGNR:<parent>
)

const (
	systemMulti  = "urn:oid:1.0.6523"
	systemSingle = "urn:oid:2.16.578.1.12.4.1.4.101"
	typeOrg      = "helseid_authorization"
	typeJournal  = "nhn:sfm:journal-id"
)

// Tenant is whom a token is for: nine-digit organization numbers (Child may be empty) and the journal's UUID as the
// EPJ wrote it.
type Tenant struct {
	Parent, Child, Journal string
}

// detail is one element of assertion_details; exactly one of the two members is there.
type detail struct {
	Type  string        `json:"type"`
	Role  *role         `json:"practitioner_role,omitempty"`
	Value *journalValue `json:"value,omitempty"`
}

type role struct {
	Organization struct {
		Identifier identifier `json:"identifier"`
	} `json:"organization"`
}

type identifier struct {
	System string `json:"system"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

type journalValue struct {
	JournalID string `json:"journal_id"`
}

// details writes a tenant as HelseID wants it: always an array, the form that both client kinds and all of NHN's
// libraries understand. Nil = nothing is sent.
func (o *Options) details(t Tenant) []detail {
	if o.Tenancy == TenancySingle {
		if t.Child == "" {
			return nil // HelseID sets the client's own parent by itself
		}
		return []detail{organization(systemSingle, t.Child)}
	}
	value := "NO:ORGNR:" + t.Parent
	if t.Child != "" || o.ParentOnlyForm == ParentOnlyColon {
		value += ":" + t.Child
	}
	return []detail{
		organization(systemMulti, value),
		{Type: typeJournal, Value: &journalValue{JournalID: t.Journal}},
	}
}

func organization(system, value string) detail {
	d := detail{Type: typeOrg, Role: &role{}}
	d.Role.Organization.Identifier = identifier{System: system, Type: "ENH", Value: value}
	return d
}

// assertionClaims are those of RFC 7523 §3 with HelseID's additions. The times are numbers: HelseID's documentation
// shows one as a string, but RFC 7519 §2 has none.
type assertionClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"` // the issuer, not the token endpoint
	ID        string   `json:"jti"`
	IssuedAt  int64    `json:"iat"`
	NotBefore int64    `json:"nbf"`
	Expires   int64    `json:"exp"`
	Assertion []detail `json:"assertion_details,omitempty"`
	Authz     []detail `json:"authorization_details,omitempty"` // never both
}

// assertion signs a new client assertion. Each is used for one request only.
func (o *Options) assertion(key *ClientKey, now time.Time, details []detail) (string, error) {
	claims := assertionClaims{
		Issuer: o.ClientID, Subject: o.ClientID, Audience: o.Issuer,
		ID:       rand.Text(),
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(o.AssertionLifetime).Unix(),
	}
	if o.AssertionClaim == ClaimAuthorizationDetails {
		claims.Authz = details
	} else {
		claims.Assertion = details
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing the client assertion: %w", err)
	}
	return key.sign(payload)
}

// objectClaims are those of a request object that says nothing but the organization (RFC 9101 §4): everything else
// stands beside it in the form. It has the `typ` and the `sub` of a client assertion, as in NHN's own sample, the only
// form known to be accepted. RFC 9101 §10.8 advises against it, since one could be taken for the other; but the two
// travel together, to HelseID alone, and whoever saw this one saw an assertion too.
type objectClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	ID        string   `json:"jti"`
	IssuedAt  int64    `json:"iat"`
	NotBefore int64    `json:"nbf"`
	Expires   int64    `json:"exp"`
	ClientID  string   `json:"client_id"`
	Authz     []detail `json:"authorization_details"`
}

// requestObject signs a new request object. Like an assertion, each is used for one request only.
func (o *Options) requestObject(key *ClientKey, now time.Time, details []detail) (string, error) {
	payload, err := json.Marshal(objectClaims{
		Issuer: o.ClientID, Subject: o.ClientID, Audience: o.Issuer, ClientID: o.ClientID, ID: rand.Text(),
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(o.AssertionLifetime).Unix(),
		Authz: details,
	})
	if err != nil {
		return "", fmt.Errorf("writing the request object: %w", err)
	}
	return key.sign(payload)
}

// Details is what a client assertion says about a tenant: the claim's name, and its value as JSON; "null" where nothing
// is said.
func (o Options) Details(t Tenant) (claim string, value json.RawMessage) {
	claim = o.AssertionClaim
	if claim == "" {
		claim = ClaimAssertionDetails
	}
	if o.ParentOnlyForm == "" {
		o.ParentOnlyForm = ParentOnlyColon
	}
	value, err := json.Marshal(o.details(t))
	if err != nil {
		panic("BUG: the details of a tenant: " + err.Error())
	}
	return claim, value
}
