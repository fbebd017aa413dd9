package helseid_test

import (
	"testing"

	"sfm-sidecar/internal/helseid"
)

// What is shown to a person is what is sent.
func TestDetails(t *testing.T) {
	journal := `{"type":"nhn:sfm:journal-id","value":{"journal_id":"j"}}`
	organization := func(system, value string) string {
		return `{"type":"helseid_authorization","practitioner_role":{"organization":{"identifier":{"system":"` + system + `","type":"ENH","value":"` + value + `"}}}}`
	}
	for name, test := range map[string]struct {
		options     helseid.Options
		child       string
		claim, want string
	}{
		"child":        {helseid.Options{}, "2", "assertion_details", "[" + organization("urn:oid:1.0.6523", "NO:ORGNR:1:2") + "," + journal + "]"},
		"parent":       {helseid.Options{}, "", "assertion_details", "[" + organization("urn:oid:1.0.6523", "NO:ORGNR:1:") + "," + journal + "]"},
		"bare parent":  {helseid.Options{ParentOnlyForm: helseid.ParentOnlyBare}, "", "assertion_details", "[" + organization("urn:oid:1.0.6523", "NO:ORGNR:1") + "," + journal + "]"},
		"single":       {helseid.Options{Tenancy: helseid.TenancySingle}, "2", "assertion_details", "[" + organization("urn:oid:2.16.578.1.12.4.1.4.101", "2") + "]"},
		"single alone": {helseid.Options{Tenancy: helseid.TenancySingle, AssertionClaim: helseid.ClaimAuthorizationDetails}, "", "authorization_details", "null"},
	} {
		claim, value := test.options.Details(helseid.Tenant{Parent: "1", Child: test.child, Journal: "j"})
		if claim != test.claim || string(value) != test.want {
			t.Errorf("%s: %s %s, want %s %s", name, claim, value, test.claim, test.want)
		}
	}
}
