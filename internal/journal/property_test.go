package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/journal"
)

// choices makes a Set out of decisions; pick(n) decides for one of n. Few different values make what is rare frequent:
// circles, numbers and HER-ids met again, links into other journals.
func choices(pick func(int) int) set {
	orgnrs := []string{"", parent, child, second, third, "100100401", "12"}
	hers := []string{"", "", "", "90001", "90002", " 90001", "x"}
	texts := []string{"", "", " ", "A", "B"}
	ids := []string{idA, idB, idC, ""}
	one := func(of []string) string { return of[pick(len(of))] }
	var s set
	for range pick(4) {
		j := journal.Journal{ID: one(ids), Created: pick(2) == 0}
		if pick(3) == 0 {
			j.Aliases = []string{one(ids)}
		}
		for range pick(8) {
			j.Organizations = append(j.Organizations, journal.Organization{
				Orgnr: one(orgnrs), PartOf: one(orgnrs), Parent: one(orgnrs), HERID: one(hers),
				Address: one(texts), Phone: one(texts), Active: pick(2) == 0,
			})
		}
		s.Journals = append(s.Journals, j)
	}
	for range pick(3) {
		s.Tenants = append(s.Tenants, journal.Tenant{Parent: one(orgnrs), Child: one(orgnrs), Journal: one(ids)})
	}
	return s
}

// asks are all questions that the choices can ask.
func asks(visit func(journal.Ask)) {
	orgnrs := []string{"", parent, child, second, third}
	for _, id := range []string{idA, idB, ""} {
		for _, top := range orgnrs {
			for _, sub := range orgnrs {
				visit(journal.Ask{Parent: top, Child: sub, Journal: id})
			}
		}
	}
}

// TestProperties holds many small graphs to what must be so for each.
func TestProperties(t *testing.T) {
	for seed := range uint64(4000) {
		random := rand.New(rand.NewPCG(seed, 4))
		s := choices(random.IntN)
		if t.Failed() {
			return // one graph is enough to look at
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { check(t, &s) })
	}
}

func check(t *testing.T, s *set) {
	t.Helper()
	found := s.Lint()
	for _, f := range found {
		wellFormed(t, s, f)
	}
	if !slices.IsSortedFunc(found, func(a, b finding) int { return a.At.Tenant - b.At.Tenant }) {
		t.Error("findings are not in order of place")
	}
	if got, want := reported(found, "J4"), shared(s); got != want {
		t.Errorf("a HER-id in two journals: told %t, is so %t", got, want)
	}
	if got, want := hasCircle(found), circular(s); got != want {
		t.Errorf("a circle: told %t, is so %t", got, want)
	}
	x := journal.NewIndex(s)
	asks(func(ask journal.Ask) {
		got, err := x.Resolve(ask)
		walked(t, s, got, err)
	})
}

// wellFormed holds a finding to places that exist and to texts for people.
func wellFormed(t *testing.T, s *set, f finding) {
	t.Helper()
	at := f.At
	switch {
	case at.Tenant >= 0:
		if at.Journal != -1 || at.Organization != -1 || at.Tenant >= len(s.Tenants) {
			t.Errorf("place %+v", at)
		}
	case at.Organization >= 0:
		_ = s.Journals[at.Journal].Organizations[at.Organization]
	case at.Journal >= 0:
		_ = s.Journals[at.Journal]
	default:
		t.Errorf("nowhere: %+v", f)
	}
	if f.Message == "" || f.Mend == "" || (f.Severity != journal.Error && f.Severity != journal.Warning) {
		t.Errorf("%+v", f)
	}
}

// walked holds a resolution to the journal that was asked for and to the lowest value of each kind.
func walked(t *testing.T, s *set, got journal.Resolution, err error) {
	t.Helper()
	refused, _ := errors.AsType[*journal.Unresolved](err)
	if (err != nil) != (refused != nil) || (err == nil) != (got.HERID.Text != "") {
		t.Fatalf("error %v, HER-id %+v", err, got.HERID)
	}
	if refused != nil && !slices.Contains(got.Findings, refused.Finding) {
		t.Errorf("the reason %+v is not among the findings", refused.Finding)
	}
	if got.Journal < 0 {
		return
	}
	written, met := s.Journals[got.Journal].Organizations, map[int]bool{}
	for i, hop := range got.Walk {
		if o := written[hop.Organization]; met[hop.Organization] || o.Orgnr != hop.Orgnr || i > 0 && hop.Orgnr != written[got.Walk[i-1].Organization].PartOf {
			t.Fatalf("hop %d is %+v, the journal has %+v", i, hop, o)
		}
		met[hop.Organization] = true
	}
	if entry, ok := got.Entry(); ok {
		want := got.Ask.Child
		if got.Fallback || want == "" {
			want = got.Ask.Parent
		}
		if entry.Orgnr != want {
			t.Errorf("entry %s, want %s", entry.Orgnr, want)
		}
	}
	lowest(t, got, got.HERID, len(got.Walk), func(h journal.Hop) string { return h.HERID })
	reach := len(got.Walk)
	if got.HERID.Hop >= 0 {
		reach = got.HERID.Hop + 1
	}
	address := func(h journal.Hop) string { return h.Address }
	phone := func(h journal.Hop) string { return h.Phone }
	lowest(t, got, got.Address.Value, len(got.Walk), address)
	lowest(t, got, got.Address.Strict, reach, address)
	lowest(t, got, got.Phone.Value, len(got.Walk), phone)
	lowest(t, got, got.Phone.Strict, reach, phone)
}

// lowest holds a value to the first hop that has one, among the first hops.
func lowest(t *testing.T, r journal.Resolution, got journal.Value, reach int, field func(journal.Hop) string) {
	t.Helper()
	want := journal.Value{Hop: -1}
	for i, hop := range r.Walk[:reach] {
		if text := field(hop); text != "" && text != " " {
			want = journal.Value{Text: text, Hop: i}
			break
		}
	}
	if got != want {
		t.Errorf("found %+v, want %+v in %+v", got, want, r.Walk)
	}
}

func reported(found []finding, rule string) bool {
	return slices.ContainsFunc(found, func(f finding) bool { return f.Rule == rule })
}

// shared reports whether two journals have one HER-id, by looking at every pair.
func shared(s *set) bool {
	plain := map[string]string{"90001": "90001", " 90001": "90001", "90002": "90002", "x": "x"}
	for i, a := range s.Journals {
		for _, b := range s.Journals[i+1:] {
			for _, one := range a.Organizations {
				for _, other := range b.Organizations {
					if her := plain[one.HERID]; her != "" && her == plain[other.HERID] {
						return true
					}
				}
			}
		}
	}
	return false
}

func hasCircle(found []finding) bool {
	return slices.ContainsFunc(found, func(f finding) bool { return f.Rule == "H2" && !strings.Contains(f.Message, "not written") })
}

// circular reports whether some way comes back, by following every way for longer than the journal is.
func circular(s *set) bool {
	for _, j := range s.Journals {
		for start := range j.Organizations {
			at := start
			for range len(j.Organizations) {
				if at = up(j, at); at < 0 {
					break
				}
			}
			if at >= 0 {
				return true
			}
		}
	}
	return false
}

// up is what an organization is part of: the first of the number, or the next where that is itself.
func up(j journal.Journal, at int) int {
	number := j.Organizations[at].PartOf
	if number == "" {
		return -1
	}
	same := func(o journal.Organization) bool { return o.Orgnr == number }
	first := slices.IndexFunc(j.Organizations, same)
	if first != at {
		return first
	}
	if next := slices.IndexFunc(j.Organizations[at+1:], same); next >= 0 {
		return at + 1 + next
	}
	return at
}

// FuzzSet makes a Set of any bytes: no graph may make the model panic, loop or contradict itself.
func FuzzSet(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 1, 2, 1, 2, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0})
	f.Add([]byte("a journal of many organizations, all of them part of each other"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := choices(func(n int) int {
			if len(data) == 0 {
				return 0
			}
			next := int(data[0]) % n
			data = data[1:]
			return next
		})
		check(t, &s)
	})
}

// FuzzValues puts any text into every field.
func FuzzValues(f *testing.F) {
	f.Add("100100126", "90001", idA)
	f.Add("\x1b[2J", "1,2", "{}")
	f.Fuzz(func(t *testing.T, orgnr, herID, id string) {
		s := journals(journal.Journal{ID: id, Name: orgnr, Aliases: []string{herID}, Organizations: []journal.Organization{
			{Orgnr: orgnr, Name: id, HERID: herID, PartOf: orgnr, Parent: herID, Active: true}, {Orgnr: herID, HERID: orgnr, PartOf: orgnr},
		}})
		s.Tenants = []journal.Tenant{{Alias: orgnr, Parent: orgnr, Child: herID, Journal: id}}
		for _, found := range s.Lint() {
			wellFormed(t, &s, found)
			for _, r := range found.Message + found.Mend {
				if r < ' ' || r == 0x7f {
					t.Fatalf("a control character in %q", found.Message)
				}
			}
		}
		got, err := s.Resolve(journal.Ask{Parent: orgnr, Child: herID, Journal: id})
		if err == nil && len(got.Walk) == 0 {
			t.Error("resolved without a walk")
		}
		journal.CheckCreate(&s, journal.Create{Ask: got.Ask, Orgnr: orgnr, HERID: herID, PartOf: id, SFMID: id})
		journal.CheckPassive(&s, journal.Passive{Journal: id, Orgnr: orgnr})
	})
}
