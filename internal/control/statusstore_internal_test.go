package control

import (
	"strings"
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
	down.Store.OwnKey = true // because of it
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

// Only a key that can't be opened needs somebody.
func TestStoreKeyAdvice(t *testing.T) {
	for english, command := range map[bool]string{false: "lag en ny (sidecar keys dpop rotate --now)", true: "make a new one (sidecar keys dpop rotate --now)"} {
		for _, store := range []Store{{OwnKey: true}, {KeyUnopened: true}, {OwnKey: true, KeyUnopened: true}} {
			s := well()
			s.Store = &store
			body := reader{english: english, now: noon}.view(s).First.Body
			if strings.Contains(body, command) != store.KeyUnopened {
				t.Errorf("%+v: %s", store, body)
			}
		}
	}
}
