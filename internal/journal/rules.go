package journal

import "slices"

//go:generate go test -run ^TestDocument$ -update .

// Rule is one thing that must hold, or that explicitly need not.
type Rule struct {
	ID       string
	Severity Severity
	Title    string   // what must hold, one sentence without a full stop
	Source   string   // who says so: keys of [Sources], with commas between
	Note     string   // what the sources leave open and we decided; empty = nothing
	Enforced []string // who holds a vendor to it, of the words of [Enforcers]; empty = nobody can
	Test     string   // the test function that shows it; empty = it is judged elsewhere, or by nobody
	judge    judge    // nil where a Set can't show it
}

// Offline reports whether [Set.Lint] judges the rule, at least in part.
func (r Rule) Offline() bool { return r.judge != nil }

// Rules returns every rule, in the order of their ids. The caller may keep and change it.
func Rules() []Rule {
	all := slices.Clone(table)
	for i := range all {
		all[i].Enforced = slices.Clone(all[i].Enforced)
	}
	return all
}

// Sources returns the documents that the short names of Rule.Source stand for.
func Sources() map[string]string {
	return map[string]string{
		"SEED-MT": "Setup of HelseID for SFM - Multi tenant (utviklerportal.nhn.no, helseid-for-sfm)",
		"SEED-RF": "The relation between the organizations represented in HelseID, the organization in SFM and Aktør in RF (utviklerportal.nhn.no)",
		"P-AUTH":  "Authentication and authorization (utviklerportal.nhn.no, introduction-sfm)",
		"P-HID":   "HelseID for SFM, the older page (utviklerportal-dev, sfm-common-guide)",
		"P-ORG":   "Organizations and journals in SFM (utviklerportal.nhn.no)",
		"P-NEW":   "How to create a new instance in SFM (utviklerportal.nhn.no, organizations-and-journals-in-sfm; with its older copy, which has more on fields)",
		"P-ACT":   "Activating an organization (utviklerportal.nhn.no, organizations-and-journals-in-sfm)",
		"P-ORGNR": "Change of organization number (utviklerportal.nhn.no, organizations-and-journals-in-sfm)",
		"H-JID":   "SFM-id for multi-tenant clients (utviklerportal.nhn.no, HelseID, tekniske mekanismer)",
		"H-ERR":   "HelseID's error messages, HID-1004 (helseid.atlassian.net)",
		"H-ORG":   "HelseID's validation of organization numbers (helseid.atlassian.net)",
		"F-BASIS": "The implementation guide SFM API Basis (simplifier.net), pages Organization, Person, CreateSFMdatabase",
		"K-HER":   "Which HER-id is used, and why (e-resept.atlassian.net, SFMDOK 2344976387)",
		"K-PROD":  "Connecting to and creating in production (e-resept.atlassian.net, SFMDOK 2160492809 and 2387410948)",
		"K-31":    "Requirements 3.1, Basis (e-resept.atlassian.net, SFMDOK 2160493925)",
		"T-TOOLS": "SFM.tools (github.com/NorskHelsenett), using_helseid_accesstoken.md",
		"own":     "our own conclusion; no document says so",
	}
}

// Enforcers returns what the words of Rule.Enforced mean.
func Enforcers() map[string]string {
	return map[string]string{
		"lint":                     "`sidecar tenants lint` judges the registry file, and the journals and organizations in it",
		"explain":                  "`sidecar tenants explain` says it of one token",
		"request":                  "the sidecar refuses the call or the registry file",
		"guard":                    "the journal guard refuses the POST of an organization",
		"function":                 "a function of internal/journal judges it; no command asks that function yet",
		"onboard":                  "`sidecar tenants onboard` asks or checks it on the way of a new customer",
		"check":                    "`sidecar check` asks HelseID or Selvbetjening",
		"lint --brreg":             "`sidecar tenants lint --brreg` asks Enhetsregisteret",
		"lint --adresseregisteret": "`sidecar tenants lint --adresseregisteret` asks Adresseregisteret",
		"simulator":                "the simulated SFM and HelseID refuse it, as the real ones would",
	}
}
