package journal

// Rule is one thing that must hold, or that explicitly need not.
type Rule struct {
	ID       string
	Severity Severity
	Title    string   // what must hold, one sentence without a full stop
	Source   string   // the documents that say so, and where we conclude it ourselves
	Enforced []string // what holds a vendor to it: lint, explain, request, guard, simulator, brreg, adresseregisteret, selvbetjening, onboard; empty = nobody can
	Test     string   // the test function that shows it; empty = none
}

// Rules returns every rule, in the order of their ids. The caller may keep and change it.
func Rules() []Rule { return nil }

// Lint applies every rule that the Set can show and returns what breaks them, in order of place: journals with their
// organizations, then tenants. It returns nil for a Set without findings.
//
// A journal without organizations is one whose contents are not known; nothing is said about who is missing in it.
func (s *Set) Lint() []Finding { return nil }
