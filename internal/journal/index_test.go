package journal

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestWays holds what the index derives of every way at once to what a walk finds on each, on chains and circles of all
// small forms: every organization part of every other or of nothing, with and without values.
func TestWays(t *testing.T) {
	const size = 4
	orgnrs := []string{"100100126", "999944582", "100100207", "100100304"}
	for form := range 625 { // each of the four is part of nothing or of one of the four
		for values := range 4096 { // each of the four has or has not each of the three values
			if (form*4096+values)%101 != 0 {
				continue // a sample: 101 divides neither number, so every form meets many values
			}
			s := &Set{Journals: []Journal{{ID: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}}}
			for i, rest := 0, form; i < size; i, rest = i+1, rest/5 {
				o := Organization{Orgnr: orgnrs[i]}
				if above := rest % 5; above > 0 {
					o.PartOf = orgnrs[above-1]
				}
				bits := values >> (3 * i)
				fill(&o.HERID, bits&1)
				fill(&o.Address, bits&2)
				fill(&o.Phone, bits&4)
				s.Journals[0].Organizations = append(s.Journals[0].Organizations, o)
			}
			x := NewIndex(s)
			for n := range x.nodes {
				sameWay(t, x, n)
			}
			if t.Failed() {
				t.Fatalf("form %d, values %d: %+v", form, values, s)
			}
		}
	}
}

func fill(field *string, bit int) {
	if bit != 0 {
		*field = "1"
	}
}

func sameWay(t *testing.T, x *Index, n int) {
	t.Helper()
	var r Resolution
	r.HERID, r.Address, r.Phone = nothing, noSender, noSender
	r.walk(x, n)
	node := func(v Value) int {
		if v.Hop < 0 {
			return none
		}
		return r.Walk[v.Hop].Organization
	}
	want := way{her: node(r.HERID), address: node(r.Address.Value), phone: node(r.Phone.Value), cycle: r.Cycle, decided: true,
		addressAbove: r.Address.Doubtful(), phoneAbove: r.Phone.Doubtful(), underway: false}
	if got := x.nodes[n].way; got != want {
		t.Errorf("way of %d: %+v, walked %+v", n, got, want)
	}
}

// TestLongChain takes what would take forever if each way were followed by itself: a chain and a circle.
func TestLongChain(t *testing.T) {
	const size = 50_000
	for _, last := range []string{"", "0"} { // nothing, or the first
		j := Journal{ID: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35", Organizations: make([]Organization, size)}
		for i := range j.Organizations {
			j.Organizations[i] = Organization{Orgnr: fmt.Sprint(i), PartOf: fmt.Sprint(i + 1), HERID: "1", Parent: fmt.Sprint(i % 3), Active: true}
		}
		j.Organizations[size-1].PartOf = last
		s := &Set{Journals: []Journal{j}}
		s.Lint()
		got, err := s.Resolve(Ask{Parent: "0", Journal: j.ID})
		if err != nil || len(got.Walk) != size || got.Cycle != (last != "") {
			t.Errorf("%d hops, cycle %t, error %v", len(got.Walk), got.Cycle, err)
		}
	}
}

// TestManyInOneJournal resolves every tenant of a large journal, as a list does: with one HER-id for all, which a second
// journal has too, and one address for all. It would take forever if each looked at all the others.
func TestManyInOneJournal(t *testing.T) {
	const size, limit = 100_000, time.Minute
	top := Organization{Orgnr: "0", HERID: "1", Address: "Storgata 1", Phone: "22000000", Active: true}
	big, small := Journal{ID: "a"}, Journal{ID: "b", Organizations: []Organization{{Orgnr: "x", HERID: "1", Active: true}}}
	big.Organizations = append(make([]Organization, 0, size+1), top)
	s := &Set{Tenants: make([]Tenant, size)}
	for i := range size {
		big.Organizations = append(big.Organizations, Organization{Orgnr: fmt.Sprint(i + 1), HERID: "1", PartOf: "0", Active: true})
		s.Tenants[i] = Tenant{Alias: fmt.Sprint(i), Parent: fmt.Sprint(i + 1), Journal: "a"}
	}
	s.Journals = []Journal{big, small}
	x, begin := NewIndex(s), time.Now()
	for i := range s.Tenants {
		r, err := x.Resolve(s.Tenants[i].ask())
		if rules := ruleIDs(r.Findings); err != nil || !strings.Contains(rules, "J4") || !strings.Contains(rules, "S2") {
			t.Fatal(err, rules)
		}
		if time.Since(begin) > limit {
			t.Fatalf("%d of %d tenants in %s", i, size, limit)
		}
	}
}

func ruleIDs(found []Finding) string {
	var all []string
	for _, f := range found {
		all = append(all, f.Rule)
	}
	return strings.Join(all, " ")
}

// crowd is the set-up of a large vendor: n journals of one legal unit and one sub-unit each, and a tenant for each. Nothing
// is wrong with it.
func crowd(n int) *Set {
	s := &Set{Journals: make([]Journal, n), Tenants: make([]Tenant, n)}
	number := numbers()
	for i := range n {
		id := fmt.Sprintf("%08x-6f08-4e95-9f7a-9d69c40f6a35", i)
		parent, child := number(), number()
		s.Journals[i] = Journal{ID: id, Organizations: []Organization{
			{Orgnr: parent, HERID: fmt.Sprint(i + 1), Active: true, Address: "Storgata 1", Phone: "22000000"},
			{Orgnr: child, PartOf: parent, Parent: parent, Active: true},
		}}
		s.Tenants[i] = Tenant{Alias: fmt.Sprint("t", i), Parent: parent, Child: child, Journal: id}
	}
	return s
}

// numbers returns a source of organization numbers whose check digits fit.
func numbers() func() string {
	next := 800_000_000
	return func() string {
		for next++; !CheckDigitFits(fmt.Sprint(next)); next++ {
		}
		return fmt.Sprint(next)
	}
}

func BenchmarkLint(b *testing.B) {
	s := crowd(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if found := s.Lint(); found != nil {
			b.Fatal(found[0])
		}
	}
}

// BenchmarkLintBroken takes away what every tenant needs.
func BenchmarkLintBroken(b *testing.B) {
	s := crowd(100_000)
	for i := range s.Journals {
		s.Journals[i].Organizations[0].HERID = ""
	}
	b.ReportAllocs()
	for b.Loop() {
		if found := s.Lint(); len(found) != len(s.Tenants) {
			b.Fatal(len(found))
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	s := crowd(100_000)
	b.ReportAllocs()
	for b.Loop() {
		NewIndex(s)
	}
}

func BenchmarkResolve(b *testing.B) {
	s := crowd(100_000)
	x, ask := NewIndex(s), s.Tenants[77_777].ask()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Resolve(ask); err != nil {
			b.Fatal(err)
		}
	}
}
