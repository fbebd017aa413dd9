//go:build unix

package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/simulator"
)

// keptOpen is the metric of SFM sessions that a replica keeps.
const keptOpen = `sfm_sidecar_sfm_sessions{state="open"}`

// pagesAndNotes counts what the store has about SFM sessions: pages, and notes by when
// their keepers must have acted.
func (v *vandal) pagesAndNotes() (pages, notes int) {
	v.t.Helper()
	return len(v.Keys(v.t.Context(), "sfm:sfm-sessions:*").Val()), len(v.notes())
}

// notes are the moments that are noted, by note.
func (v *vandal) notes() map[string]float64 {
	v.t.Helper()
	all := map[string]float64{}
	for _, part := range v.Keys(v.t.Context(), "sfm:due-sfm-sessions:*").Val() {
		for _, note := range v.ZRangeWithScores(v.t.Context(), part, 0, -1).Val() {
			all[fmt.Sprint(note.Member)] = note.Score
		}
	}
	return all
}

// wantEndedAtSFM wants exactly one Session/end for each of the tenants, each with a token
// of its own, all of one person, and no other call about a session.
func (w *world) wantEndedAtSFM(person simulator.Person, tenants ...simulator.Tenant) {
	w.t.Helper()
	ended := map[simulator.Tenant]int{}
	for _, op := range w.sim.Ledger() {
		if op.Name != "endSession" || op.Status != http.StatusNoContent || op.Subject != person.Subject {
			w.t.Errorf("SFM saw %s, answered %d", op.Name, op.Status)
		}
		ended[op.Tenant]++
	}
	for _, tenant := range tenants {
		if ended[folded(tenant)] != 1 || len(ended) != len(tenants) {
			w.t.Errorf("ended %v", ended)
		}
		if s := w.atSFM(tenant.Parent); s.State != simulator.SFMSessionEnded {
			w.t.Errorf("an SFM session is %s", s.State)
		}
	}
}

// An operator who ends a session ends its SFM sessions, too, wherever they were opened,
// and leaves nothing of them behind; those of others go on.
func TestOperatorEndsSFMSessions(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	a := newWorld(t, setup{env: v.env(server)})
	b := a.replica()
	doctor, locum, tenants := a.logIn("lege"), a.logIn("vikar"), simulator.Tenants()
	a.sfmSession(doctor, tenants[0])
	b.sfmSession(doctor, tenants[1])
	a.sfmSession(locum, tenants[2])
	b.begin("{}")
	for _, w := range []*world{a, b} {
		eventually(t, "all know", func() bool { return len(w.sfmStates(doctor)) == 2 && len(w.sfmStates(locum)) == 1 })
	}
	if pages, notes := v.pagesAndNotes(); pages != 2 || notes != 2 {
		t.Errorf("%d pages and %d notes of two persons", pages, notes)
	}
	counted := map[string]int{}
	for _, s := range append(a.wantShown("", "list", "--sfm").Sessions, b.wantShown("", "list").Sessions...) {
		if s.SFM == nil {
			counted["not told"]++
			continue
		}
		counted[fmt.Sprint(*s.SFM)]++
	}
	if diff := cmp.Diff(map[string]int{"2": 1, "1": 1, "0": 1, "not told": 3}, counted); diff != "" {
		t.Errorf("SFM sessions that are listed (-want +got)\n%s", diff)
	}
	a.sim.ResetLedger()
	code, stdout, _ := a.operate("13827015061\n", "end", "--pid", "-", "--yes")
	if code != 0 || !strings.Contains(stdout, "1 session ended.") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	a.wantEndedAtSFM(simulator.Persons()[0], tenants[0], tenants[1])
	eventually(t, "the doctor's page and note are gone", func() bool {
		pages, notes := v.pagesAndNotes()
		return pages == 1 && notes == 1
	})
	if states := b.sfmStates(locum); states[tenants[2].Parent] != "open" {
		t.Errorf("the locum is told %v", states)
	}
}

// The command that ends sessions takes nothing over, however long it runs: what nobody
// keeps waits for a replica.
func TestOperatorTakesNothingOver(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	var slow atomic.Bool
	a := newWorld(t, setup{env: v.env(server), helseID: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if slow.Load() && r.URL.Path == "/connect/revocation" {
				<-time.After(1500 * time.Millisecond) // a claim would come within 500 ms
			}
			next.ServeHTTP(rw, r)
		})
	}})
	doctor, tenants := a.logIn("lege"), simulator.Tenants()
	a.logIn("vikar")
	a.sfmSession(doctor, tenants[0])
	eventually(t, "it is kept", func() bool { pages, notes := v.pagesAndNotes(); return pages == 1 && notes == 1 })
	a.stop()
	if err := a.sidecar.Wait(); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	due := v.notes()
	a.sim.ResetLedger()
	if code, stdout, _ := a.operate("", "end", "--hpr", simulator.Persons()[1].HPRNumber, "--yes"); code != 0 || !strings.Contains(stdout, "1 session ended.") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	for note, at := range v.notes() {
		if due[note] != at || len(due) != 1 {
			t.Error("the command has claimed what is a replica's to keep")
		}
	}
	if ops := a.sim.Ledger(); len(ops) != 0 {
		t.Errorf("SFM saw %s", ops[0].Name)
	}
	b := a.replica()
	eventually(t, "a replica takes over", func() bool { return b.metric(keptOpen) == 1 })
}

// Where the EPJ refreshes by itself, all replicas know of SFM sessions all the same, and
// each ends them.
func TestSharedSFMSessionsNotKept(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	a := newWorld(t, setup{env: append(v.env(server), "SFM_SESSION_KEEPALIVE=false")})
	b, c := a.replica(), a.replica()
	handle, tenants := a.logIn("lege"), simulator.Tenants()[:2]
	a.sfmSession(handle, tenants[0])
	b.sfmSession(handle, tenants[1])
	for _, w := range []*world{a, b, c} {
		eventually(t, "all know", func() bool {
			states := w.sfmStates(handle)
			return states[tenants[0].Parent] == "open" && states[tenants[1].Parent] == "open"
		})
	}
	if pages, notes := v.pagesAndNotes(); pages != 1 || notes != 0 {
		t.Errorf("%d pages and %d notes where nobody keeps anything", pages, notes)
	}
	a.sim.ResetLedger()
	if undone := c.logOut(handle); len(undone) != 0 {
		t.Errorf("undone: %q", undone)
	}
	a.wantEndedAtSFM(simulator.Persons()[0], tenants...)
	eventually(t, "nothing is left", func() bool { pages, notes := v.pagesAndNotes(); return pages+notes == 0 })
}

// wantEachTokenOnce wants no token to have been sent twice to Session/refresh, and gives
// how many each tenant's SFM session got.
func (w *world) wantEachTokenOnce() map[string]int {
	w.t.Helper()
	sent, got := map[string]bool{}, map[string]int{}
	for _, op := range w.sim.Ledger() {
		if op.Name != "refreshSession" {
			continue
		}
		if sent[op.TokenHash] || op.Status != http.StatusNoContent {
			w.t.Errorf("a refresh answered %d, with a token that SFM had before: %t", op.Status, sent[op.TokenHash])
		}
		sent[op.TokenHash] = true
		got[op.Tenant.Parent]++
	}
	return got
}

// An SFM session that another replica keeps by now costs HelseID one refresh in each
// life of a token, although the first replica learns late that it is not the keeper.
func TestSFMSessionsRenewOnceInAFleet(t *testing.T) {
	t.Parallel()
	const life = 5 * time.Second
	server := startShared(t)
	v := server.vandal(t)
	a := shortLived(t, int(life/time.Second), v.env(server)...)
	b, c := a.replica(), a.replica()
	handle, tenant := a.logIn("lege"), simulator.Tenants()[0]
	a.sfmSession(handle, tenant)
	eventually(t, "the first keeps it", func() bool { pages, _ := v.pagesAndNotes(); return pages == 1 && a.metric(keptOpen) == 1 })
	for _, w := range []*world{b, c} {
		w.wantCode(w.call(handle, 0), "")
		w.wantStep(handle, tenant, "refresh", "")
	}
	a.sim.ResetLedger()
	before, begun := len(a.refreshes()), time.Now()
	eventually(t, "two more tokens", func() bool { return a.atSFM(tenant.Parent).NewTokens >= 2 })
	lives := float64(time.Since(begun)) / float64(life)
	// A token is renewed in the last fifth of its life, early by chance.
	if n := len(a.refreshes()) - before; n < 2 || float64(n) > lives/0.7+1 {
		t.Errorf("%d refreshes in %.1f lives", n, lives)
	}
	if got := a.wantEachTokenOnce(); got[tenant.Parent] != 2 {
		t.Errorf("SFM was given %d tokens", got[tenant.Parent])
	}
	if kept := []float64{a.metric(keptOpen), b.metric(keptOpen), c.metric(keptOpen)}; !slices.Equal(kept, []float64{0, 0, 1}) {
		t.Errorf("kept by %v", kept)
	}
	if n := a.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}

// Replicas that are stopped and started one after the other lose no SFM session, and
// give SFM no token twice.
func TestSFMSessionsThroughARollingRestart(t *testing.T) {
	t.Parallel()
	const life = 12
	server := startShared(t)
	v := server.vandal(t)
	a := shortLived(t, life, v.env(server)...)
	fleet, tenants := []*world{a, a.replica(), a.replica()}, simulator.Tenants()[:3]
	handles := []string{a.logIn("lege"), a.logIn("vikar"), a.logIn("lege")}
	for i, w := range fleet {
		w.sfmSession(handles[i], tenants[i])
	}
	eventually(t, "all are noted", func() bool { pages, notes := v.pagesAndNotes(); return pages == 3 && notes == 3 })
	a.sim.ResetLedger()
	for _, w := range fleet {
		w.restart()
		<-time.After(life * time.Second / 3)
	}
	var before []int
	for _, tenant := range tenants {
		before = append(before, a.atSFM(tenant.Parent).NewTokens)
	}
	for i, tenant := range tenants {
		eventually(t, "one more token", func() bool { return a.atSFM(tenant.Parent).NewTokens > before[i] })
		for _, w := range fleet {
			if states := w.sfmStates(handles[i]); states[tenant.Parent] != "open" || len(states) != 1 {
				t.Errorf("the EPJ is told %v", states)
			}
		}
		if s := a.atSFM(tenant.Parent); s.State != simulator.SFMSessionOpen || s.Creates != 1 {
			t.Errorf("an SFM session is %s, created %d times", s.State, s.Creates)
		}
	}
	a.wantEachTokenOnce()
	eventually(t, "each is kept by one", func() bool {
		kept := 0.0
		for _, w := range fleet {
			kept += w.metric(keptOpen)
		}
		return kept == 3
	})
	if n := a.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}

// What SFM sessions need of the server's memory is what docs/shared-store.md says.
func TestSFMSessionsMemory(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	w := newWorld(t, setup{env: v.env(server)})
	handle := w.logIn("lege")
	for i, tenant := range simulator.Tenants()[:4] {
		w.sfmSession(handle, tenant)
		var page, note int64
		eventually(t, "it is in the page, and kept", func() bool {
			pages, notes := v.pagesAndNotes()
			listed := w.wantShown("", "list", "--sfm").Sessions
			return pages == 1 && notes == 1 && len(listed) == 1 && *listed[0].SFM == i+1
		})
		for _, name := range v.Keys(t.Context(), "sfm:*sfm-sessions:*").Val() {
			n := v.MemoryUsage(t.Context(), name, 0).Val()
			switch kindOf(name) {
			case "sfm-sessions":
				page = n
			case "due-sfm-sessions":
				note += n
			}
		}
		t.Logf("%d SFM sessions: a page of %d bytes, a note of %d", i+1, page, note)
		if most := int64(400 + 280*(i+1)); page > most || note > 160 {
			t.Errorf("a page of %d SFM sessions takes %d bytes, want at most %d; its note %d, want 160", i+1, page, most, note)
		}
	}
}
