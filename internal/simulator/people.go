package simulator

import "fmt"

// Person is somebody who can log in. All are synthetic: the month of the
// national identity number is 80 too high, as in the national test population.
type Person struct {
	// ID is how ?auto= and the log-in page name the person.
	ID string `json:"id"`
	// Subject is sub, the pseudonym HelseID gives the person.
	Subject   string `json:"sub"`
	Name      string `json:"name"`
	PID       string `json:"pid"`
	HPRNumber string `json:"hpr_number"` // "" = not health personnel
	// SecurityLevel and AssuranceLevel are what the person's electronic identity
	// gives; SFM wants 4 and high.
	SecurityLevel  string `json:"security_level"`
	AssuranceLevel string `json:"assurance_level"`
}

// Persons returns the persons of the default world. Two are there to be
// refused or warned about: "lav" logs in at level 3 and "sekretar" has no HPR
// number.
func Persons() []Person {
	return []Person{
		{ID: "lege", Subject: "sub-7f3b2c90", Name: "Kari Syntetisk Lege", PID: "13827015061", HPRNumber: "565501001", SecurityLevel: "4", AssuranceLevel: "high"},
		{ID: "vikar", Subject: "sub-1d54ae17", Name: "Ola Syntetisk Vikar", PID: "24868224009", HPRNumber: "565501002", SecurityLevel: "4", AssuranceLevel: "high"},
		{ID: "sykepleier", Subject: "sub-b0c96f35", Name: "Liv Syntetisk Sykepleier", PID: "05916533189", HPRNumber: "565501003", SecurityLevel: "4", AssuranceLevel: "high"},
		{ID: "lav", Subject: "sub-44e1d2a8", Name: "Per Syntetisk Lavsikker", PID: "30899141160", HPRNumber: "565501004", SecurityLevel: "3", AssuranceLevel: "substantial"},
		{ID: "sekretar", Subject: "sub-9a07c6eb", Name: "Eva Syntetisk Sekretær", PID: "17815812042", SecurityLevel: "4", AssuranceLevel: "high"},
	}
}

// Crowd returns n further persons for tests with many: p000, p001 and so on, of whom
// nothing is real either.
func Crowd(n int) []Person {
	persons := make([]Person, n)
	for i := range persons {
		persons[i] = Person{
			ID: fmt.Sprintf("p%03d", i), Subject: fmt.Sprintf("sub-crowd-%03d", i), Name: fmt.Sprintf("Syntetisk Person %d", i),
			PID:       fmt.Sprintf("%02d%02d%02d%05d", 1+i%28, 81+i%12, 40+i%60, 10000+i),
			HPRNumber: fmt.Sprintf("56560%04d", i), SecurityLevel: "4", AssuranceLevel: "high",
		}
	}
	return persons
}

// Supplier is the organization number of the vendor in the default world.
const Supplier = "313745392"

// ParentWithoutTerms is a parent of the default world that delegates to the
// supplier but has not signed SFM's terms of use: its tokens come without the
// SFM scope, which is then in rejected_scope.
const ParentWithoutTerms = "389999997"

// ParentNotDelegated has a valid check digit and delegates to nobody: HID-1001.
const ParentNotDelegated = "399999995"

// Delegation is an organization that lets the supplier act for it.
type Delegation struct {
	Orgnr string `json:"orgnr"`
	// Terms says whether SFM's terms of use are signed.
	Terms bool `json:"terms"`
	// Children, if not nil, is the list of sub-units that may be named
	// (HID-1003 for others). HelseID keeps such a list for few.
	Children []string `json:"children"`
}

// Tenant is what an organization's journal is addressed by.
type Tenant struct {
	Parent  string `json:"parent"`
	Child   string `json:"child"` // "" = the parent itself
	Journal string `json:"journal"`
}

// Tenants returns the tenants of the default world, 65 of them, always the
// same and in the same order. The first ones are organization numbers known
// from NHN's documents and samples (one child there fails modulus 11); the
// others are made up and valid.
func Tenants() []Tenant {
	pairs := [][2]string{
		{"100100126", "999944582"},
		{"313325016", ""},
		{"312232324", "312232326"},
	}
	for serial := 0; len(pairs) < 65; serial++ {
		parent, ok := withCheckDigit(30100000 + 7*serial)
		child, childOK := withCheckDigit(32100000 + 7*serial)
		if ok && childOK {
			pairs = append(pairs, [2]string{parent, child})
		}
	}
	tenants := make([]Tenant, len(pairs))
	for i, pair := range pairs {
		tenants[i] = Tenant{Parent: pair[0], Child: pair[1], Journal: fmt.Sprintf("5f3a%04x-0000-4000-8000-%012x", i+1, 0xa11ce00+i)}
	}
	return tenants
}

// The organizations of the set-ups in docs/tenants that share an Aktør in RF.
const (
	SharingParent = "310000000"
	SharingNorth  = "310000078"
	SharingWest   = "310000140"
)

// Delegations returns the default world's delegations: every parent of
// [Tenants] and [SharingParent] with signed terms, and [ParentWithoutTerms].
func Delegations() []Delegation {
	var list []Delegation
	for _, tenant := range Tenants() {
		list = append(list, Delegation{Orgnr: tenant.Parent, Terms: true})
	}
	return append(list, Delegation{Orgnr: SharingParent, Terms: true}, Delegation{Orgnr: ParentWithoutTerms})
}

// withCheckDigit adds the modulus 11 digit of Norwegian organization numbers to
// eight digits; false for the one in eleven that has none.
func withCheckDigit(eight int) (string, bool) {
	weights := []int{3, 2, 7, 6, 5, 4, 3, 2}
	digits := fmt.Sprintf("%08d", eight)
	sum := 0
	for i, weight := range weights {
		sum += weight * int(digits[i]-'0')
	}
	check := (11 - sum%11) % 11
	return fmt.Sprintf("%s%d", digits, check), check != 10
}
