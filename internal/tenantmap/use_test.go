package tenantmap

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestUse asks one map before it has a registry, with one, with another, and when that is given up.
func TestUse(t *testing.T) {
	both, alone := Tenant{parent, child, journalUUID}, Tenant{parent, "", journalUUID}
	m, free := newMap(t, Options{Listed: true}), newMap(t, Options{})
	alias := http.Header{AliasHeader: {"sentrum"}}
	numbers := func(t Tenant) http.Header {
		h := http.Header{ParentHeader: {t.Parent}, JournalHeader: {t.Journal}}
		if t.Child != "" {
			h.Set(ChildHeader, t.Child)
		}
		return h
	}
	expect := func(what string, got Tenant, err error, want Tenant) {
		t.Helper()
		refusal, _ := errors.AsType[*Error](err)
		switch {
		case want != Tenant{}:
			if err != nil || got != want {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		case refusal == nil || refusal.Code() != "tenant-unknown" || !strings.Contains(refusal.Hint(), "sidecar tenants list") || got != Tenant{}:
			t.Errorf("%s: %v, %v, want tenant-unknown", what, got, err)
		}
	}
	all := func(what string, alias1, listed, unlisted Tenant, created bool) {
		t.Helper()
		for _, m := range []*Map{m, free} {
			got, err := m.Lookup(alias)
			expect(what+": the alias", got, err, alias1)
			got, err = m.Alias("sentrum")
			expect(what+": the alias in a body", got, err, alias1)
			if m.Created(upper) != created {
				t.Errorf("%s: created is %v", what, !created)
			}
		}
		got, err := m.Lookup(numbers(both))
		expect(what+": the first", got, err, listed)
		got, err = m.Parse(alone.Parent, "", upper)
		if unlisted != (Tenant{}) {
			unlisted.Journal = upper
		}
		expect(what+": the second", got, err, unlisted)
		got, err = free.Lookup(numbers(both))
		expect(what+": any", got, err, both)
		got, err = m.Lookup(http.Header{AliasHeader: {"other"}})
		expect(what+": another alias", got, err, Tenant{})
	}
	use := func(r *Registry) { m.Use(r); free.Use(r) }
	none := Tenant{}
	all("without a registry", none, none, none, false)
	use(load(t, sample))
	all("with a registry", both, both, none, true)
	use(load(t, strings.Replace(with("created: true", "created: false"), `child: "999944582", `, "", 1)))
	all("with another", alone, none, alone, false)
	use(nil)
	all("given up", none, none, none, false)
}

// TestUseMeanwhile exchanges registries under calls: each finds one of the two, whole.
func TestUseMeanwhile(t *testing.T) {
	m := newMap(t, Options{Listed: true})
	one, two := load(t, sample), load(t, strings.Replace(sample, `child: "999944582", `, "", 1))
	m.Use(one)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 2000 {
				got, err := m.Lookup(http.Header{AliasHeader: {"sentrum"}})
				if err != nil || got != (Tenant{parent, child, journalUUID}) && got != (Tenant{parent, "", journalUUID}) {
					t.Errorf("got %v, %v", got, err)
					return
				}
			}
		})
	}
	for range 1000 {
		m.Use(two)
		m.Use(one)
	}
	group.Wait()
}

func BenchmarkLookupListed(b *testing.B) {
	m := newMap(b, Options{Listed: true})
	m.Use(load(b, sample))
	h := http.Header{ParentHeader: {parent}, ChildHeader: {child}, JournalHeader: {upper}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Lookup(h); err != nil {
			b.Fatal(err)
		}
	}
}
