package simulator

import (
	"testing"
)

func TestWorksAreCounted(t *testing.T) {
	e := newEPJ(t)
	one, two := SampleSendMedication(testPID, "one"), SampleSendMedication(testPID, "two")
	for _, body := range [][]byte{one, two, one} {
		e.mustCall("POST", sendPath, body)
	}
	e.mustCall("POST", "/v2"+sendPath, two)
	for _, row := range []struct {
		path, sha string
		want      int
	}{{sendPath, sha(one), 2}, {sendPath, sha(two), 2}, {"/v2" + sendPath, sha(two), 1}, {sendPath, "", 4}, {getPath, "", 0}, {sendPath, "00", 0}} {
		if got := e.sim.WorkDone(row.path, row.sha); got != row.want {
			t.Errorf("WorkDone(%s, %.8s) = %d, want %d", row.path, row.sha, got, row.want)
		}
	}
	if o := e.sim.Ledger()[2]; o.WorksDone != 2 || o.Number != 3 {
		t.Errorf("the third operation: %+v", o)
	}
	e.sim.ResetLedger()
	if len(e.sim.Ledger()) != 0 || e.sim.WorkDone(sendPath, "") != 0 {
		t.Error("the ledger is not empty after its reset")
	}
	e.mustCall("GET", "/Task", nil)
	if n := e.last().Number; n != 5 {
		t.Errorf("number %d after the reset, want 5", n)
	}
}

func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(20)
	for range 45 {
		o := l.open(Operation{Path: "/x"})
		l.done(o)
	}
	list := l.list()
	if len(list) > 20 || list[len(list)-1].Number != 45 || l.workDone("/x", "") != len(list) || len(l.works) != 1 {
		t.Errorf("%d kept, last number %d, %d works", len(list), list[len(list)-1].Number, l.workDone("/x", ""))
	}
}

func TestLedgerCopies(t *testing.T) {
	l := newLedger(10)
	l.open(Operation{Strangers: []string{"Cookie"}})
	l.list()[0].Strangers[0] = "changed"
	if got := l.list()[0].Strangers[0]; got != "Cookie" {
		t.Errorf("the list shares memory: %q", got)
	}
}
