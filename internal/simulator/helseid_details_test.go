package simulator

import (
	"net/url"
	"strings"
	"testing"
)

// TestStructureRefusals sends structured claims with client credentials, where
// nothing else can go wrong.
func TestStructureRefusals(t *testing.T) {
	const good = "NO:ORGNR:100100126:999944582"
	organization := func(value string) map[string]any { return organizationElement(systemMulti, value) }
	element := func(elements ...any) map[string]any { return map[string]any{"assertion_details": elements} }
	deep := func(change func(identifier map[string]any)) map[string]any {
		one := organization(good)
		change(one["practitioner_role"].(map[string]any)["organization"].(map[string]any)["identifier"].(map[string]any))
		return element(one)
	}
	for name, row := range map[string]struct {
		client func(*Client)
		more   map[string]any
		about  string
	}{
		"both claims":           {nil, map[string]any{"assertion_details": []any{organization(good)}, "authorization_details": []any{organization(good)}}, "HID-1007: assertion_details and"},
		"empty":                 {nil, element([]any{}...), "HID-1007: assertion_details is empty"},
		"text":                  {nil, map[string]any{"assertion_details": "x"}, "HID-1007"},
		"null":                  {nil, map[string]any{"authorization_details": []any{nil}}, "HID-1007"},
		"unknown type":          {nil, element(map[string]any{"type": "x"}), `HID-1007: type "x"`},
		"twice":                 {nil, element(organization(good), organization(good)), "HID-1007: assertion_details has two"},
		"no role":               {nil, element(map[string]any{"type": typeOrganization}), "HID-1007"},
		"extra member":          {nil, element(overrideCopy(organization(good), "extra", 1)), `HID-1007: helseid_authorization has the unknown member "extra"`},
		"extra, deeper":         {nil, deep(func(i map[string]any) { i["extra"] = 1 }), "HID-1007: identifier has"},
		"type":                  {nil, deep(func(i map[string]any) { i["type"] = "enh" }), "HID-1007: identifier.type"},
		"system":                {nil, deep(func(i map[string]any) { i["system"] = "urn:oid:1" }), "HID-1007: identifier.system"},
		"single's system":       {nil, element(organizationElement(systemSingle, "999944582")), "HID-1007: identifier.system"},
		"no prefix":             {nil, element(organization("100100126:999944582")), "HID-1004"},
		"parent of eight":       {nil, element(organization("NO:ORGNR:10010012:999944582")), "HID-1004: the parent"},
		"child of ten":          {nil, element(organization("NO:ORGNR:100100126:9999445820")), "HID-1004: the child"},
		"three numbers":         {nil, element(organization(good + ":999944582")), "HID-1004: the child"},
		"spaces":                {nil, element(organization("NO:ORGNR:100100126: 99994458")), "HID-1004: the child"},
		"journal underscore":    {nil, element(map[string]any{"type": "nhn:sfm:journal_id"}), "HID-1007: type"},
		"journal hyphen":        {nil, element(map[string]any{"type": typeJournal, "value": map[string]any{"journal-id": testJournal}}), "HID-1007: value has"},
		"journal no UUID":       {nil, element(journalElement("123")), "HID-1007: journal_id"},
		"journal braced":        {nil, element(journalElement("{" + testJournal + "}")), "HID-1007: journal_id"},
		"not delegated":         {nil, element(organization("NO:ORGNR:" + ParentNotDelegated + ":")), "HID-1001: parent " + ParentNotDelegated},
		"not in client's list":  {func(c *Client) { c.Delegated = []string{"313325016"} }, element(organization(good)), "HID-1001"},
		"parents not approved":  {func(c *Client) { c.NoParents = true }, element(organization(good)), "HID-1005"},
		"children not approved": {func(c *Client) { c.NoChildren = true }, element(organization(good)), "HID-1006"},
		"organizations refused": {func(c *Client) { c.NoOrganizations = true }, element(organization(good)), "HID-1010"},
		"single: parent":        {single, element(organization(good)), "HID-1005"},
		"single: journal":       {single, element(journalElement(testJournal)), "HID-1010"},
		"single: other child":   {single, element(organizationElement(systemSingle, "313325016")), "HID-1002"},
		"single: old system":    {single, element(organizationElement("urn:oid:2.16.578.1.12.4.1.2.101", "999944582")), "HID-1007"},
		"single: eight digits":  {single, element(organizationElement(systemSingle, "99994458")), "HID-1004"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			if row.client != nil {
				row.client(&v.client)
				if err := v.sim.RegisterClient(v.client); err != nil {
					t.Fatal(err)
				}
			}
			v.nonce = v.sim.nonces.issue(v.clock)
			v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}}, row.more), "invalid_request", row.about)
		})
	}
}

func single(c *Client) {
	c.Tenancy, c.Parent, c.Children, c.SFMID = TenancySingle, "100100126", []string{"999944582"}, "ce75db36-c57b-4592-9d47-5dfae8a34340"
}

func TestStructureAccepted(t *testing.T) {
	for name, row := range map[string]struct {
		client func(*Client)
		more   map[string]any
		want   map[string]any // nil = the claim is absent
	}{
		"array": {nil, aboutTenant("NO:ORGNR:100100126:999944582"),
			map[string]any{claimParent: "100100126", claimChild: "999944582", claimJournal: testJournal, claimSupplier: Supplier, "sub": nil, claimPID: nil}},
		"bare object": {nil, map[string]any{"assertion_details": organizationElement(systemMulti, "NO:ORGNR:100100126:")},
			map[string]any{claimParent: "100100126", claimChild: nil}},
		"older name, no colon": {nil, map[string]any{"authorization_details": organizationElement(systemMulti, "NO:ORGNR:100100126")},
			map[string]any{claimParent: "100100126", claimChild: nil}},
		"child failing modulus 11": {nil, aboutTenant("NO:ORGNR:312232324:312232326"), map[string]any{claimChild: "312232326"}},
		"trust framework":          {nil, map[string]any{"assertion_details": map[string]any{"type": typeTrust, "practitioner": map[string]any{}}}, map[string]any{claimParent: nil}},
		"single, nothing":          {single, nil, map[string]any{claimParent: "100100126", claimChild: nil, claimSupplier: nil, claimSFMID: "ce75db36-c57b-4592-9d47-5dfae8a34340", claimTenancy: "single-tenant"}},
		"single, child":            {single, map[string]any{"assertion_details": organizationElement(systemSingle, "999944582")}, map[string]any{claimChild: "999944582"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			if row.client != nil {
				row.client(&v.client)
				if err := v.sim.RegisterClient(v.client); err != nil {
					t.Fatal(err)
				}
			}
			got := v.granted(url.Values{"grant_type": {GrantClientCredentials}}, row.more)
			claims := claimsOf(t, got.json["access_token"])
			for name, want := range row.want {
				if claims[name] != want {
					t.Errorf("%s = %v, want %v", name, claims[name], want)
				}
			}
		})
	}
}

func TestParentOnlyForm(t *testing.T) {
	for _, row := range []struct{ form, value, about string }{
		{"colon", "NO:ORGNR:100100126:", ""},
		{"colon", "NO:ORGNR:100100126", "with a colon"},
		{"bare", "NO:ORGNR:100100126", ""},
		{"bare", "NO:ORGNR:100100126:", "without a colon"},
		{"bare", "NO:ORGNR:100100126:999944582", ""},
	} {
		v := newVendor(t)
		v.sim.SetKnobs(func(k *Knobs) { k.HelseID.ParentOnlyForm = row.form })
		v.nonce = v.sim.nonces.issue(v.clock)
		got := v.token(url.Values{"grant_type": {GrantClientCredentials}}, aboutTenant(row.value))
		if row.about == "" && got.status != 200 {
			t.Errorf("%s refuses %s", row.form, row.value)
		}
		if row.about != "" {
			v.wantRefusal(got, "invalid_request", row.about)
		}
	}
}

func TestChildListUnderParent(t *testing.T) {
	v := newVendor(t)
	v.sim.orgs["100100126"] = Delegation{Orgnr: "100100126", Terms: true, Children: []string{"999944582"}}
	v.granted(url.Values{"grant_type": {GrantClientCredentials}}, aboutTenant("NO:ORGNR:100100126:999944582"))
	v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}}, aboutTenant("NO:ORGNR:100100126:312232326")), "invalid_request", "HID-1003")
}

func TestHIDErrorKnob(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.HIDError = "invalid_grant" })
	v.nonce = v.sim.nonces.issue(v.clock)
	v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}}, aboutTenant("NO:ORGNR:"+ParentNotDelegated)), "invalid_grant", "HID-1001")
}

func TestUnsignedTerms(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"]
	got := v.granted(refreshForm(token), aboutTenant("NO:ORGNR:"+ParentWithoutTerms))
	rejected, _ := got.json["rejected_scope"].(string)
	if !strings.Contains(rejected, SFMScope) || strings.Contains(got.json["scope"].(string), SFMScope) {
		t.Error("SFM's scope was granted although the terms are not signed")
	}
	if claims := claimsOf(t, got.json["access_token"]); claims["aud"] != nil {
		t.Error("the token has an audience without a scope for it")
	}
}

// TestWorldNumbers: the made-up numbers are what they claim to be.
func TestWorldNumbers(t *testing.T) {
	parents := map[string]bool{}
	for i, tenant := range Tenants() {
		parents[tenant.Parent] = true
		if !uuidForm.MatchString(tenant.Journal) {
			t.Errorf("journal %s is no UUID", tenant.Journal)
		}
		if i >= 3 && (!validOrgnr(tenant.Parent) || !validOrgnr(tenant.Child)) {
			t.Errorf("tenant %d has a bad check digit", i)
		}
	}
	if len(parents) != 65 || !validOrgnr(ParentWithoutTerms) || !validOrgnr(ParentNotDelegated) || !validOrgnr(Supplier) {
		t.Error("parents are not different, or a constant has a bad check digit")
	}
	if parents[ParentNotDelegated] || parents[ParentWithoutTerms] {
		t.Error("a parent that is to be refused is among the tenants")
	}
	for _, person := range Persons() {
		if !syntheticPID(person.PID) {
			t.Errorf("%s has no valid synthetic national identity number", person.ID)
		}
	}
}

func validOrgnr(orgnr string) bool {
	eight := 0
	for _, digit := range orgnr[:8] {
		eight = 10*eight + int(digit-'0')
	}
	full, ok := withCheckDigit(eight)
	return ok && full == orgnr
}

// syntheticPID checks both control digits and that the month is 81 to 92.
func syntheticPID(pid string) bool {
	if len(pid) != 11 || pid[2] < '8' {
		return false
	}
	for _, weights := range [][]int{{3, 7, 6, 1, 8, 9, 4, 5, 2, 1}, {5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1}} {
		sum := 0
		for i, weight := range weights {
			sum += weight * int(pid[i]-'0')
		}
		if sum%11 != 0 {
			return false
		}
	}
	return true
}
