package journal_test

import (
	"strings"
	"testing"

	"sfm-sidecar/internal/journal"
)

// right is an organization that may be added to the journal idA.
func right() journal.Create {
	return journal.Create{
		Ask: journal.Ask{Parent: parent, Child: child, Journal: idA}, Profile: journal.Profile,
		SFMID: idA, Orgnr: child, HERID: "90001", Guard: 200,
	}
}

// create is one change to what is right, and what is found then.
type create struct {
	name   string
	change func(*journal.Create)
	want   []string
}

func creates(t *testing.T, known set, cases ...create) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			call := right()
			c.change(&call)
			compare(t, journal.CheckCreate(&known, call), c.want)
		})
	}
}

// P-NEW (its older copy): the identifiers of a new organization are the token's.
func TestRuleC1(t *testing.T) {
	creates(t, set{},
		create{"as the token", func(*journal.Create) {}, nil},
		create{"the id in other letters", func(c *journal.Create) { c.SFMID = strings.ToUpper(idA) }, nil},
		create{"another id", func(c *journal.Create) { c.SFMID = idB }, []string{"C1 error at id | " + idB}},
		create{"the parent's number with a child in the token", func(c *journal.Create) { c.Orgnr = parent }, []string{"C1 error at orgnr | the token's child " + child}},
		create{"the parent's number without", func(c *journal.Create) { c.Orgnr, c.Ask.Child = parent, "" }, nil},
		create{"nothing", func(c *journal.Create) { c.SFMID, c.Orgnr = "", "" }, []string{"C1", "C1"}},
		create{"a bad token", func(c *journal.Create) { c.Ask = journal.Ask{Parent: "1", Child: child, Journal: "x"} }, []string{"J1", "O1", "C1"}},
	)
}

// K-31: a new instance has ids that were never used; GET must not be 200.
func TestRuleC2(t *testing.T) {
	fresh := func(status int) func(*journal.Create) {
		return func(c *journal.Create) { c.New, c.Guard = true, status }
	}
	creates(t, journals(instance(idB, org(second, "90001"))),
		create{"used HER-id", fresh(404), []string{"C2 error at her_id | used already, by " + second}},
	)
	creates(t, journals(instance(idA, org(second, "90002"))),
		create{"used id", fresh(403), []string{"C2 error at journal | exists"}},
	)
	creates(t, journals(journal.Journal{ID: idA, Organizations: []journal.Organization{org(child, "90001")}}),
		create{"as the file plans it", fresh(404), nil},
	)
	creates(t, journals(journal.Journal{ID: idA}),
		create{"by another id than the token's", func(c *journal.Create) { c.New, c.Guard, c.SFMID = true, 404, idB }, []string{"C1"}},
		create{"401", fresh(401), nil}, create{"403", fresh(403), nil}, create{"404", fresh(404), nil},
		create{"200", fresh(200), []string{"C2 error at journal | SFM knows one"}},
		create{"500", fresh(500), []string{"C2 error at journal | SFM answered 500"}},
		create{"not asked", fresh(0), []string{"C2 warning at journal | Nobody has asked"}},
		create{"part of what is not there", func(c *journal.Create) { c.New, c.Guard, c.PartOf = true, 404, parent }, []string{"H2 error at part_of"}},
	)
}

// P-NEW (its older copy), F-BASIS: active false, and the profile.
func TestRuleC3(t *testing.T) {
	creates(t, set{},
		create{"active", func(c *journal.Create) { c.Active = true }, []string{"C3 error at active"}},
		create{"no profile", func(c *journal.Create) { c.Profile = "" }, []string{"C3 error at profile | " + journal.Profile}},
	)
}

// P-NEW, option B: the person exists in the instance that gets another organization.
func TestRuleC4(t *testing.T) {
	creates(t, set{},
		create{"403", func(c *journal.Create) { c.Guard = 403 }, []string{"C4 error at journal | SFM answered 403"}},
		create{"not asked", func(c *journal.Create) { c.Guard = 0 }, []string{"C4 warning at journal"}},
	)
}

// TestCreateAmongOthers holds a new organization to the journal rules, with what the file says of SFM.
func TestCreateAmongOthers(t *testing.T) {
	creates(t, journals(instance(idA, org(parent, "90001")), instance(idB, org(second, "90002"))),
		create{"the same HER-id here", func(*journal.Create) {}, nil},
		create{"part of what is there", func(c *journal.Create) { c.PartOf = parent }, nil},
		create{"part of what is elsewhere", func(c *journal.Create) { c.PartOf = second }, []string{"H2 error at part_of"}},
		create{"another journal's HER-id", func(c *journal.Create) { c.HERID = "90002" }, []string{"J4 error at her_id | by " + second}},
		create{"written already", func(c *journal.Create) { c.Orgnr, c.Ask.Child = parent, "" }, []string{"J7 error at orgnr"}},
	)
}

// F-BASIS, page Person: exactly one of FNR and DNR. The numbers are made up and valid nowhere.
func TestRuleC5(t *testing.T) {
	const fnr, dnr = "00000000000", "40000000000"
	for want, person := range map[string]journal.Person{"both": {FNR: fnr, DNR: dnr}, "neither": {FNR: " "}} {
		found := journal.CheckPerson(person)
		compare(t, found, []string{"C5 error at identifier | " + want})
		if all := text(found); strings.Contains(all, fnr) || strings.Contains(all, dnr) {
			t.Errorf("a person's number got out: %s", all)
		}
	}
	compare(t, journal.CheckPerson(journal.Person{FNR: fnr}), nil)
	compare(t, journal.CheckPerson(journal.Person{DNR: dnr}), nil)
}

// P-ACT: the system code is case-sensitive, and the version follows each upgrade.
func TestRuleC6(t *testing.T) {
	running := journal.EPJInfo{SystemCode: "EksempelEPJ", Version: "2.1"}
	compare(t, journal.CheckEPJInfo(running, running), nil)
	compare(t, journal.CheckEPJInfo(journal.EPJInfo{SystemCode: "eksempelepj", Version: "2.0"}, running),
		[]string{"C6 warning at epjinfo | letter case", "C6 warning at epjinfo | version in epjinfo is 2.0"})
	compare(t, journal.CheckEPJInfo(journal.EPJInfo{SystemCode: "X", Version: "2.1"}, running), []string{"another"})
}

// P-ORGNR: deactivating first can lock everyone out. SEED-RF: the Aktør goes with the last organization of its HER-id.
func TestRuleC7(t *testing.T) {
	for _, c := range []struct {
		name string
		set  set
		id   string
		want []string
	}{
		{"the last", journals(instance(idA, org(child, "1"), passive(org(second, "1"))), instance(idB, org(third, "2"))), idA, []string{"C7 error at active"}},
		{"another with its HER-id", journals(instance(idA, org(child, "1"), org(second, "1"))), idA, nil},
		{"another with another HER-id", journals(instance(idA, org(child, "1"), org(second, "2"))), idA, []string{"C7 warning at active | leaves RF"}},
		{"another, and no HER-id", journals(instance(idA, org(child, ""), org(second, "2"))), idA, nil},
		{"passive already", journals(instance(idA, passive(org(child, "1")))), idA, nil},
		{"no such organization", journals(instance(idA, org(second, "1"))), idA, []string{"O6 error at parent"}},
		{"no such journal", set{}, idA, []string{"O6 error at journal"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			compare(t, journal.CheckPassive(&c.set, journal.Passive{Journal: c.id, Orgnr: child}), c.want)
		})
	}
}

// The check digits were worked out by hand from Enhetsregisteret's weights.
func TestNumbers(t *testing.T) {
	for orgnr, fits := range map[string]bool{parent: true, child: true, second: true, third: true, "100100010": true, "100100127": false, "123456789": false, "10010012": false, "10010012x": false, "": false} {
		if got := journal.CheckDigitFits(orgnr); got != fits {
			t.Errorf("CheckDigitFits(%q) = %t", orgnr, got)
		}
	}
	for id, is := range map[string]bool{idA: true, strings.ToUpper(idB): true, idA + "0": false, "{" + idA + "}": false, strings.ReplaceAll(idA, "-", "0"): false, "": false} {
		if got := journal.IsUUID(id); got != is {
			t.Errorf("IsUUID(%q) = %t", id, got)
		}
	}
}
