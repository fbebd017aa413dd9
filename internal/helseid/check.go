package helseid

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sfm-sidecar/internal/dpop"
)

// Claims of HelseID's tokens.
const (
	claimParent     = "helseid://claims/client/claims/orgnr_parent"
	claimChild      = "helseid://claims/client/claims/orgnr_child"
	claimSupplier   = "helseid://claims/client/claims/orgnr_supplier"
	claimJournal    = "nhn:sfm:journal-id"
	claimSFMID      = "e-helse:sfm.api/client/claims/sfm-id" // static on a single-tenant client
	claimPID        = "helseid://claims/identity/pid"
	claimLevel      = "helseid://claims/identity/security_level"
	claimAssurance  = "helseid://claims/identity/assurance_level"
	claimHPR        = "helseid://claims/hpr/hpr_number"
	claimThumbprint = "cnf.jkt"
)

// wantedLevel is the security level that SFM demands of a person's log-in.
const wantedLevel = "4"

// maxToken bounds a JWT that we look into; it must fit a request header anyway.
const maxToken = 32 << 10

// claimNames are the names of the claims that the operator may rename, should NHN do so.
type claimNames struct {
	parent, child, journal, pid string
}

func newClaimNames(renamed map[string]string, tenancy string) (claimNames, error) {
	n := claimNames{parent: claimParent, child: claimChild, journal: claimJournal, pid: claimPID}
	if tenancy == TenancySingle {
		n.journal = claimSFMID
	}
	slots := map[string]*string{"parent": &n.parent, "child": &n.child, "journal": &n.journal, "pid": &n.pid}
	for _, key := range slices.Sorted(maps.Keys(renamed)) {
		slot, known := slots[key]
		if !known || renamed[key] == "" {
			return n, fmt.Errorf("ClaimNames: %q must be one of parent, child, journal, pid and have a name", key)
		}
		*slot = renamed[key]
	}
	return n, nil
}

// expectation is what a token must carry. It is compared claim by claim; what is not in it is ignored.
type expectation struct {
	names      claimNames
	single     bool
	tenant     Tenant
	audience   string
	scopes     []string
	thumbprint string // of the DPoP key; "" = a Bearer token, which must be bound to no key
	pid        string // "" = a machine's token
	supplier   string
}

// mismatch names the first claim that is not what was asked for; "" = all are. Claims are compared as strings only: a
// number, or a list of one, in the place of an organization is something we do not understand, and so refuse.
func (e *expectation) mismatch(m members) string {
	absent := func(name string) bool { return !m.has(name) || string(m[name]) == `""` }
	childFits := m.text(e.names.child) == e.tenant.Child
	if e.tenant.Child == "" {
		childFits = absent(e.names.child)
	}
	switch {
	case !slices.Contains(m.audience(), e.audience):
		return "aud"
	case m.text(e.names.parent) != e.tenant.Parent:
		return e.names.parent
	case !childFits:
		return e.names.child
	}
	if claim := e.journalMismatch(m); claim != "" {
		return claim
	}
	for _, scope := range e.scopes {
		if !slices.Contains(m.list("scope"), scope) {
			return "scope"
		}
	}
	switch {
	case thumbprint(m) != e.thumbprint:
		return claimThumbprint
	case e.pid == "" && !absent(e.names.pid):
		return e.names.pid
	case e.pid != "" && m.text(e.names.pid) != e.pid:
		return e.names.pid
	case e.pid != "" && m.textOrNumber(claimLevel) != wantedLevel:
		return claimLevel
	}
	return ""
}

// otherPerson reports that the token names a person, and another than the one who logged in.
func (e *expectation) otherPerson(m members) bool {
	named := m.text(e.names.pid)
	return e.pid != "" && named != "" && named != e.pid
}

// journalMismatch compares the journal, in any letter case. A token for another API than SFM's may lack it; and where
// a single-tenant token carries nhn:sfm:journal-id beside its static claim it must fit too, since SFM prefers it.
func (e *expectation) journalMismatch(m members) string {
	fits := func(name string) bool { return strings.EqualFold(m.text(name), e.tenant.Journal) }
	switch {
	case !m.has(e.names.journal) && e.audience != sfmAudience:
	case !fits(e.names.journal):
		return e.names.journal
	}
	if e.single && m.has(claimJournal) && !fits(claimJournal) {
		return claimJournal
	}
	return ""
}

// thumbprint is the token's cnf.jkt (RFC 9449 §6.1), "" if it has none. A cnf that can't be read is no thumbprint at
// all, and unlike any key's.
func thumbprint(m members) string {
	if !m.has("cnf") {
		return ""
	}
	cnf, err := parseMembers(m["cnf"])
	if err != nil || cnf.text("jkt") == "" {
		return "unreadable"
	}
	return cnf.text("jkt")
}

// warnings are what SFM may not like in a token that is otherwise the right one.
func (e *expectation) warnings(m members) []string {
	var w []string
	if e.pid != "" && m.textOrNumber(claimHPR) == "" {
		w = append(w, "the token has no HPR number")
	}
	if e.pid != "" && m.text(claimAssurance) != "high" {
		w = append(w, "the token's assurance level is not high")
	}
	if e.supplier != "" && m.text(claimSupplier) != e.supplier {
		w = append(w, "the token names another supplier than HELSEID_SUPPLIER_ORGNR")
	}
	return w
}

// expect is what a token for r must carry that was asked for with this key.
func (c *Client) expect(r Request, key *dpop.Key) *expectation {
	return &expectation{
		thumbprint: thumbprintOf(key), names: c.names, single: c.opt.Tenancy == TenancySingle, tenant: r.Tenant,
		audience: or(r.Audience, sfmAudience), scopes: r.Wanted, pid: r.PID, supplier: c.opt.SupplierOrgnr,
	}
}

// checkedToken is an access token that was found to be the one asked for.
type checkedToken struct {
	access   string
	lifetime time.Duration
	warnings []string
}

// readToken takes the access token out of a granted answer, and refuses it unless it is exactly what r asks for.
func (c *Client) readToken(a *answer, r Request, key *dpop.Key) (*checkedToken, error) {
	m := a.members
	t, err := parseToken(m, c.tokenType())
	if err != nil {
		return nil, err
	}
	if err := checkTerms(m, r.Wanted); err != nil {
		return nil, err
	}
	_, claims, ok := parseJWT(t.access)
	if !ok {
		return nil, unusable("not-jwt")
	}
	e := c.expect(r, key)
	if claim := e.mismatch(claims); claim != "" {
		refusal := mismatch(claim)
		refusal.otherPerson = e.otherPerson(claims)
		return nil, refusal
	}
	t.warnings = e.warnings(claims)
	t.lifetime = sureLife(t.lifetime, claims, a.sent.Add(c.clock.offset()))
	return t, nil
}

// sureLife is how long a token surely lives from the moment it was asked for, by HelseID's clock: what expires_in says,
// unless exp comes earlier. The API goes by exp, which is in whole seconds, cut off, and so ends a life up to a second
// early. More than that second is never taken off: the rest of a difference is that of two clocks.
func sureLife(lifetime time.Duration, claims members, sent time.Time) time.Duration {
	exp := claims.unixTime("exp")
	if exp == 0 {
		return lifetime
	}
	least := max(lifetime-time.Second, lifetime/2)
	return min(max(time.Unix(exp, 0).Sub(sent), least), lifetime)
}

// parseToken reads the members of RFC 6749 §5.1 that make an access token.
func parseToken(m members, wantedType string) (*checkedToken, error) {
	t := &checkedToken{
		access: m.text("access_token"), lifetime: time.Duration(m.seconds("expires_in")) * time.Second,
	}
	switch {
	case t.access == "":
		return nil, unusable("no-token")
	case t.lifetime <= 0:
		return nil, unusable("expires-in")
	case m.has("issued_token_type") && m.text("issued_token_type") != typeAccessToken && m.text("issued_token_type") != typeJWT:
		return nil, mismatch("issued_token_type") // RFC 8693 §2.2.1
	case !strings.EqualFold(m.text("token_type"), wantedType):
		// A Bearer token where a bound one was asked for (or the other way) would not fit SFM's API.
		return nil, mismatch("token_type")
	}
	return t, nil
}

// unusable is a granted answer that was JSON, but lacks what we need of it.
func unusable(reason string) *Error {
	return unavailable(reason, "HelseID's answer can't be used ("+reason+")")
}

// checkTerms finds scopes that HelseID left out because the organization has not signed the terms of use: the answer
// is then a success with fewer scopes than asked for.
func checkTerms(m members, wanted []string) error {
	granted, rejected := m.list("scope"), m.list("rejected_scope")
	for _, scope := range wanted {
		if slices.Contains(rejected, scope) || m.has("scope") && !slices.Contains(granted, scope) {
			return &Error{
				code: codeTermsUnsigned, permanent: true,
				detail: "HelseID left out the scope " + scrub(scope),
			}
		}
	}
	return nil
}

// parseJWT reads a JWT in compact form (RFC 7515 §7.1), strictly and without verifying it: three parts of base64url,
// one of the algorithms HelseID may use, a payload that is a JSON object.
func parseJWT(raw string) (payload []byte, claims members, ok bool) {
	if len(raw) > maxToken || strings.ContainsFunc(raw, outsideJWT) {
		return nil, nil, false
	}
	if _, err := jose.ParseSignedCompact(raw, signedWith); err != nil {
		return nil, nil, false
	}
	middle := strings.Split(raw, ".")[1]
	payload, err := base64.RawURLEncoding.DecodeString(middle)
	if err != nil {
		return nil, nil, false
	}
	claims, err = parseMembers(payload)
	return payload, claims, err == nil
}

// outsideJWT reports what is neither base64url nor a dot. encoding/base64 would quietly skip line ends, and they must
// not get into a header.
func outsideJWT(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}
