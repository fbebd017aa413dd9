package control

import (
	"testing"
	"time"
)

func TestStoreRow(t *testing.T) {
	r := reader{english: true, now: noon}
	for name, c := range map[string]struct {
		store Store
		want  statusRow
	}{
		"new":     {Store{Kind: "server"}, statusRow{Detail: "server", State: "not asked yet"}},
		"answers": {Store{Kind: "cluster", TLS: true, Answered: noon}, statusRow{Detail: "cluster, TLS", State: "answers", When: "12:00 (just now)"}},
		"failed once": {Store{Kind: "server", Answered: noon.Add(-time.Hour), Failed: noon, Reason: "full"},
			statusRow{Detail: "server", State: "the last call failed", When: "12:00 (just now)", Code: "full"}},
		"back": {Store{Kind: "server", Answered: noon, Failed: noon.Add(-time.Minute), Reason: "slow"},
			statusRow{Detail: "server", State: "answers; failed last 11:59", When: "12:00 (just now)", Code: "slow"}},
		"back for long": {Store{Kind: "server", Answered: noon, Failed: noon.Add(-recent), Reason: "slow"},
			statusRow{Detail: "server", State: "answers", When: "12:00 (just now)"}},
		"rests": {Store{Kind: "sentinel", Resting: noon.Add(-time.Hour), Failed: noon, Answered: noon, Reason: "unreachable"},
			statusRow{Detail: "sentinel", State: "has not answered since 11:00", When: "12:00 (just now)", Code: "unreachable", Bad: true}},
	} {
		c.want.Name = "Shared store"
		if got := r.storeRow(c.store); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	down := well()
	troubled["shared store down"].change(&down)
	if v := r.view(down); len(v.Others) != 0 {
		t.Errorf("what is known already is said again: %+v", v.Others)
	}
	s := well()
	rows := len(r.parties(s))
	if said := r.logIns(s); said[:2] != "2;" {
		t.Errorf("log-ins without a store: %s", said)
	}
	s.Store = &Store{}
	if got := len(r.parties(s)); got != rows+1 {
		t.Errorf("%d rows with a store, %d without", got, rows)
	}
	if said := r.logIns(s); said[:11] != "2 used here" {
		t.Errorf("log-ins with a store: %s", said)
	}
}
