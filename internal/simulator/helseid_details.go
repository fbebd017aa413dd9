package simulator

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The parts of HelseID's structured claims ("assertion_details").
const (
	typeOrganization = "helseid_authorization"
	typeJournal      = "nhn:sfm:journal-id"
	typeTrust        = "nhn:tillitsrammeverk:parameters"

	systemMulti  = "urn:oid:1.0.6523"
	systemSingle = "urn:oid:2.16.578.1.12.4.1.4.101"
)

var (
	nineDigits = regexp.MustCompile(`^[0-9]{9}$`)
	uuidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
)

// details is what a client asks a token to be about. The zero value is nothing.
type details struct {
	tenant       Tenant
	organization bool // a helseid_authorization was there
	colon        bool // a parent alone was written with a colon behind it
}

// hid makes the refusal for one of HelseID's numbered faults. Which OAuth error
// goes with them nobody outside knows, so that is a knob.
func (s *Simulator) hid(number int, format string, args ...any) *refusal {
	code := s.knobs().HelseID.HIDError
	if code == "" {
		code = "invalid_request"
	}
	return refuse(code, "HID-%d: %s", number, fmt.Sprintf(format, args...))
}

// assertionDetails reads the structured claims of a client assertion: in
// assertion_details or, older, authorization_details, never both.
func (s *Simulator) assertionDetails(client *registeredClient, claims map[string]any) (details, *refusal) {
	modern, isModern := claims["assertion_details"]
	older, isOlder := claims["authorization_details"]
	switch {
	case isModern && isOlder:
		return details{}, s.hid(1007, "assertion_details and authorization_details are both there; send one")
	case isModern:
		return s.readDetails(client, "assertion_details", modern)
	case isOlder:
		return s.readDetails(client, "authorization_details", older)
	default:
		return details{}, nil
	}
}

// readDetails reads an array of elements, or one bare element.
func (s *Simulator) readDetails(client *registeredClient, name string, value any) (details, *refusal) {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	if len(list) == 0 {
		return details{}, s.hid(1007, "%s is empty; leave it out", name)
	}
	var d details
	seen := map[string]bool{}
	for _, entry := range list {
		element, ok := entry.(map[string]any)
		if !ok {
			return details{}, s.hid(1007, "%s holds something that is no object", name)
		}
		kind := text(element, "type")
		if seen[kind] {
			return details{}, s.hid(1007, "%s has two elements of type %q", name, kind)
		}
		seen[kind] = true
		if fault := s.readElement(client, kind, element, &d); fault != nil {
			return details{}, fault
		}
	}
	return d, s.checkOrganization(client, d)
}

func (s *Simulator) readElement(client *registeredClient, kind string, element map[string]any, d *details) *refusal {
	switch kind {
	case typeOrganization:
		return s.readOrganization(client, element, d)
	case typeJournal:
		return s.readJournal(client, element, d)
	case typeTrust:
		return nil // SFM does not ask for it; accepted unread
	default:
		return s.hid(1007, "type %q is not known", kind)
	}
}

func (s *Simulator) readJournal(client *registeredClient, element map[string]any, d *details) *refusal {
	if client.Tenancy == TenancySingle {
		return s.hid(1010, "a single-tenant client sends no %s; its SFM-id is registered", typeJournal)
	}
	value, fault := s.object(element, typeJournal, []string{"type", "value"}, "value")
	if fault != nil {
		return fault
	}
	if fault := s.onlyMembers(value, "value", "journal_id"); fault != nil {
		return fault
	}
	if d.tenant.Journal = text(value, "journal_id"); !uuidForm.MatchString(d.tenant.Journal) {
		return s.hid(1007, "journal_id is not a UUID of the form 8-4-4-4-12, without braces")
	}
	return nil
}

// readOrganization walks practitioner_role, organization, identifier.
func (s *Simulator) readOrganization(client *registeredClient, element map[string]any, d *details) *refusal {
	role, fault := s.object(element, typeOrganization, []string{"type", "practitioner_role"}, "practitioner_role")
	if fault != nil {
		return fault
	}
	organization, fault := s.object(role, "practitioner_role", []string{"organization"}, "organization")
	if fault != nil {
		return fault
	}
	identifier, fault := s.object(organization, "organization", []string{"identifier"}, "identifier")
	if fault != nil {
		return fault
	}
	if fault := s.onlyMembers(identifier, "identifier", "system", "type", "value"); fault != nil {
		return fault
	}
	if kind := text(identifier, "type"); kind != "ENH" {
		return s.hid(1007, "identifier.type is %q, ENH is wanted", kind)
	}
	d.organization = true
	if client.Tenancy == TenancySingle {
		return s.readSingle(text(identifier, "system"), text(identifier, "value"), d)
	}
	return s.readMulti(text(identifier, "system"), text(identifier, "value"), d)
}

func (s *Simulator) readSingle(system, value string, d *details) *refusal {
	switch {
	case system == systemMulti:
		return s.hid(1005, "a single-tenant client may not pass a parent; its organization is registered")
	case system != systemSingle:
		return s.hid(1007, "identifier.system is %q, %s is wanted for a single-tenant client", system, systemSingle)
	case !nineDigits.MatchString(value):
		return s.hid(1004, "identifier.value must be the child's nine digits")
	}
	d.tenant.Child = value
	return nil
}

func (s *Simulator) readMulti(system, value string, d *details) *refusal {
	if system != systemMulti {
		return s.hid(1007, "identifier.system is %q, %s is wanted for a multi-tenant client", system, systemMulti)
	}
	numbers, ok := strings.CutPrefix(value, "NO:ORGNR:")
	if !ok {
		return s.hid(1004, "identifier.value must begin with NO:ORGNR:")
	}
	parent, child, colon := strings.Cut(numbers, ":")
	if !nineDigits.MatchString(parent) {
		return s.hid(1004, "the parent in identifier.value is not nine digits")
	}
	if child != "" && !nineDigits.MatchString(child) {
		return s.hid(1004, "the child in identifier.value is not nine digits")
	}
	d.tenant.Parent, d.tenant.Child, d.colon = parent, child, colon
	return nil
}

// object returns a member that is an object, of an object that has exactly the
// members named.
func (s *Simulator) object(in map[string]any, where string, members []string, name string) (map[string]any, *refusal) {
	if fault := s.onlyMembers(in, where, members...); fault != nil {
		return nil, fault
	}
	object, ok := in[name].(map[string]any)
	if !ok {
		return nil, s.hid(1007, "%s has no object %q", where, name)
	}
	return object, nil
}

func (s *Simulator) onlyMembers(in map[string]any, where string, members ...string) *refusal {
	for name := range in {
		if !slices.Contains(members, name) {
			return s.hid(1007, "%s has the unknown member %q", where, name)
		}
	}
	return nil
}

// checkOrganization asks whether the client may act for the organizations.
func (s *Simulator) checkOrganization(client *registeredClient, d details) *refusal {
	if !d.organization {
		return nil
	}
	if client.NoOrganizations {
		return s.hid(1010, "the client is set up in a way that supports no organization claims; ask NHN")
	}
	if client.NoChildren && d.tenant.Child != "" {
		return s.hid(1006, "the client is not approved to pass a child")
	}
	if client.Tenancy == TenancySingle {
		if client.Children != nil && !slices.Contains(client.Children, d.tenant.Child) {
			return s.hid(1002, "child %s is not in the client's list", d.tenant.Child)
		}
		return nil
	}
	if client.NoParents {
		return s.hid(1005, "the client is not approved to pass a parent")
	}
	if fault := s.checkParentOnly(d); fault != nil {
		return fault
	}
	return s.checkDelegation(client, d.tenant)
}

func (s *Simulator) checkParentOnly(d details) *refusal {
	form := s.knobs().HelseID.ParentOnlyForm
	switch {
	case d.tenant.Child != "":
		return nil
	case form == "colon" && !d.colon:
		return s.hid(1004, "a parent alone is written NO:ORGNR:<parent>: with a colon behind it")
	case form == "bare" && d.colon:
		return s.hid(1004, "a parent alone is written NO:ORGNR:<parent> without a colon behind it")
	default:
		return nil
	}
}

func (s *Simulator) checkDelegation(client *registeredClient, tenant Tenant) *refusal {
	org, known := s.delegation(tenant.Parent)
	if !known || (client.Delegated != nil && !slices.Contains(client.Delegated, tenant.Parent)) {
		return s.hid(1001, "parent %s is not allowed for the client; no delegation to the supplier was found", tenant.Parent)
	}
	if tenant.Child != "" && org.Children != nil && !slices.Contains(org.Children, tenant.Child) {
		return s.hid(1003, "parent %s is allowed, but a list of children under it lacks %s", tenant.Parent, tenant.Child)
	}
	return nil
}
