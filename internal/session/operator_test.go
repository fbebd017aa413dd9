package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// choose is the sessions that are chosen, by the letters under which they are known.
func (r *rig) choose(t *testing.T, known map[string]string, c session.Choice) string {
	t.Helper()
	var got []string
	unreadable, err := r.List(t.Context(), c, func(some []session.Listed) error {
		for _, l := range some {
			got = append(got, known[l.ID])
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if whole := len(c.IDs) > 0 && len(c.IDs[0]) == 43; !whole && unreadable != 2 {
		t.Errorf("%d entries could not be read, want the 2 that the store tells of", unreadable)
	}
	slices.Sort(got)
	return strings.Join(got, "")
}

// many are sessions of all sorts: A and B are one doctor's, C another's, D and E are
// log-ins under way, E of a person who is expected; F has ended, G was not finished, H
// was unused for too long.
func many(t *testing.T, r *rig) map[string]string {
	known := map[string]string{}
	add := func(letter, handle string) string {
		known[r.ID(handle)] = letter
		return handle
	}
	add("H", r.active(t))
	time.Sleep(11 * time.Hour)
	late, _, _, _ := r.pending(t, session.Begin{Expect: session.Expect{HPRNumber: "1234567"}})
	add("G", late)
	time.Sleep(2 * time.Hour)
	a := add("A", r.active(t))
	time.Sleep(time.Hour)
	ended := add("F", r.active(t))
	if _, err := r.End(t.Context(), ended, "", false); err != nil {
		t.Error(err)
	}
	limited, _, browser, state := r.pending(t, session.Begin{Owner: "1000", Tenants: []session.Tenant{{Parent: "100100126", Child: "999944582", Journal: "j"}}})
	add("B", limited)
	if err := r.Finish(t.Context(), own(state, browser)); err != nil {
		t.Error(err)
	}
	if _, err := r.ByHandle(t.Context(), a, ""); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Hour)
	r.helseID.person = helseid.Person{Subject: "sub-2", PID: "another-pid", SecurityLevel: "4"}
	add("C", r.active(t))
	begun, err := r.Begin(t.Context(), session.Begin{})
	if err != nil {
		t.Error(err)
	}
	add("D", begun.Handle)
	if begun, err = r.Begin(t.Context(), session.Begin{Expect: session.Expect{PID: "synthetic-pid"}}); err != nil {
		t.Error(err)
	}
	add("E", begun.Handle)
	return known
}

func TestListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.helseID.lifetime = 0 // sessions live as long as they are used
		known := many(t, r)
		id := map[string]string{}
		for whole, letter := range known {
			id[letter] = whole
		}
		for name, tt := range map[string]struct {
			c    session.Choice
			want string
		}{
			"all":               {session.Choice{}, "ABCDEFH"}, // G is known no longer
			"what can be ended": {session.Choice{Open: true}, "ABCDE"},
			"active":            {session.Choice{States: []session.State{session.Active}}, "ABC"},
			"ended":             {session.Choice{States: []session.State{session.Expired, session.Failed}}, "FH"},
			"by number":         {session.Choice{Person: session.Expect{PID: "synthetic-pid"}}, "ABE"},
			"another's number":  {session.Choice{Person: session.Expect{PID: "another-pid"}}, "C"},
			"nobody's number":   {session.Choice{Person: session.Expect{PID: "nobody"}}, ""},
			"by subject":        {session.Choice{Person: session.Expect{Subject: "sub-2"}}, "C"},
			"by HPR number":     {session.Choice{Person: session.Expect{HPRNumber: "1234567"}}, "AB"},
			"by parent":         {session.Choice{Organization: "100100126"}, "B"},
			"by child":          {session.Choice{Organization: "999944582"}, "B"},
			"by none":           {session.Choice{Organization: "100100127"}, ""},
			"old":               {session.Choice{OlderThan: time.Hour, Open: true}, "AB"},
			"older":             {session.Choice{OlderThan: 2 * time.Hour, Open: true}, "A"},
			"unused":            {session.Choice{UnusedFor: time.Hour}, "AB"},
			"unused for long":   {session.Choice{UnusedFor: 61 * time.Minute}, ""},
			"by IDs":            {session.Choice{IDs: []string{id["A"], id["F"], id["A"], strings.Repeat("x", 43)}}, "AF"},
			"by beginnings":     {session.Choice{IDs: []string{id["A"][:12], id["C"]}}, "AC"},
			"several":           {session.Choice{IDs: []string{id["A"][:12], id["C"]}, Person: session.Expect{PID: "another-pid"}}, "C"},
		} {
			if got := r.choose(t, known, tt.c); got != tt.want {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		}
	})
}

func TestListedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		tenants := []session.Tenant{{Parent: "100100126", Journal: "j"}}
		begun := time.Now()
		handle, _, browser, state := r.pending(t, session.Begin{Owner: "1000", Tenants: tenants})
		time.Sleep(time.Minute)
		if err := r.Finish(t.Context(), own(state, browser)); err != nil {
			t.Fatal(err)
		}
		activated := time.Now()
		time.Sleep(2 * time.Hour)
		used := time.Now()
		if _, err := r.ByHandle(t.Context(), handle, "1000"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		var got []session.Listed
		if _, err := r.List(t.Context(), session.Choice{}, func(some []session.Listed) error { got = append(got, some...); return nil }); err != nil {
			t.Fatal(err)
		}
		want := []session.Listed{{
			ID: r.ID(handle), State: session.Active, Begun: begun, Used: used, Expires: activated.Add(8 * time.Hour), SecurityLevel: "4",
			Tenants: tenants, Owner: "1000", Open: true,
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		// By chance an ID, which is random, may have a part that reads so.
		if said := strings.ReplaceAll(fmt.Sprintf("%+v", got), r.ID(handle), "ID"); strings.Contains(said, "pid") || strings.Contains(said, "Syntetisk") || strings.Contains(said, "rt-") || strings.Contains(said, handle) {
			t.Error("a listing says whose a session is, or how to use it")
		}
	})
}

func TestListingFails(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	none := func([]session.Listed) error { return nil }
	for name, c := range map[string]session.Choice{
		"two persons":     {Person: session.Expect{PID: "x", Subject: "y"}},
		"a strange state": {States: []session.State{"asleep"}},
		"an empty ID":     {IDs: []string{""}},
		"a negative time": {OlderThan: -1},
		"another":         {UnusedFor: -1},
	} {
		_, err := r.List(t.Context(), c, none)
		if wantCode(t, err, "request-invalid", ""); t.Failed() {
			t.Fatal(name)
		}
	}
	enough := errors.New("enough")
	if _, err := r.List(t.Context(), session.Choice{}, func([]session.Listed) error { return enough }); !errors.Is(err, enough) || strings.Contains(err.Error(), "store") {
		t.Errorf("the visit's own error: %v", err)
	}
	if err := r.store.Put(t.Context(), store.Key{Kind: session.KindRecord, ID: "odd"}, []byte("no record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if n, err := r.List(t.Context(), session.Choice{}, none); n != 3 || err != nil {
		t.Errorf("%d entries could not be read, %v", n, err)
	}
	r.store.down.Store(true)
	for _, c := range []session.Choice{{}, {IDs: []string{r.ID(handle)}}} {
		_, err := r.List(t.Context(), c, none)
		wantCode(t, err, "store-unavailable", "")
	}
}

// end ends what is chosen; what could not be done is told by session.
func (r *rig) end(t *testing.T, c session.Choice) map[string]session.Outcome {
	t.Helper()
	all := map[string]session.Outcome{}
	if _, err := r.EndChosen(t.Context(), c, func(o session.Outcome) { all[o.ID] = o }); err != nil {
		t.Error(err)
	}
	return all
}

// An operator's end is a log-out: at every replica, of SFM's sessions, at HelseID.
func TestEndForOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk, replica := newFleet(t)
		handle := replica.active(t)
		pending, _, browser, state := replica.pending(t, session.Begin{})
		if _, err := replica.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
		got := desk.end(t, session.Choice{})
		want := map[string]session.Outcome{desk.ID(handle): {ID: desk.ID(handle)}, desk.ID(pending): {ID: desk.ID(pending)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		_, err := replica.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
		if err == nil || !strings.Contains(err.Error(), "an operator ended the session") {
			t.Errorf("the EPJ is told %v", err)
		}
		err = replica.Finish(t.Context(), own(state, browser))
		wantCode(t, err, "session-expired", "")
		if !slices.Contains(replica.ended, desk.ID(handle)) || !slices.Contains(desk.ended, desk.ID(handle)) {
			t.Error("a replica did not forget the tokens")
		}
		if got := desk.helseID.revoked; len(got) != 1 || got[0] != "rt-0" {
			t.Errorf("revoked %d tokens", len(got))
		}
		if again := desk.end(t, session.Choice{}); len(again) != 0 {
			t.Errorf("%d sessions were ended again", len(again))
		}
		time.Sleep(23 * time.Hour)
		_, err = replica.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
		time.Sleep(2 * time.Hour)
		_, err = replica.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-unknown", "")
	})
}

// A session that nobody used for too long, and whose replica is gone, is shown as what
// it is; there still is a log-in to end.
func TestListingOfAnIdleSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk, replica := newFleet(t)
		replica.helseID.lifetime = 0
		handle := replica.active(t)
		replica.Close()
		time.Sleep(13 * time.Hour)
		var got []session.Listed
		if _, err := desk.List(t.Context(), session.Choice{UnusedFor: time.Hour}, func(some []session.Listed) error { got = some; return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].State != session.Expired || !got[0].Open || !got[0].Used.IsZero() {
			t.Errorf("listed %+v", got)
		}
		if ended := desk.end(t, session.Choice{}); len(ended) != 1 || ended[desk.ID(handle)].Over {
			t.Errorf("ended %+v", ended)
		}
		if n := len(desk.helseID.revoked); n != 1 {
			t.Errorf("%d tokens were revoked", n)
		}
	})
}

func TestEndForOperatorUndone(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	id := r.ID(handle)
	r.helseID.revokeErr = errors.New("down")
	asked := 0
	r.ending = func(_ context.Context, ending string) []string {
		if asked++; ending != id {
			t.Error("another session's end")
		}
		return []string{"SFM does not answer"}
	}
	got := r.end(t, session.Choice{IDs: []string{id[:12]}})
	if len(got) != 1 || len(got[id].Undone) != 2 || got[id].Undone[0] != "SFM does not answer" || got[id].Err != nil || asked != 1 {
		t.Errorf("%+v, %d asked", got, asked)
	}
	other := r.active(t)
	r.ending = nil
	r.store.full.Store(true)
	if got := r.end(t, session.Choice{})[r.ID(other)]; got.Err == nil {
		t.Error("a session that the store does not end has ended")
	}
	if n := len(r.helseID.revoked); n != 2 {
		t.Errorf("%d tokens were revoked: the log-in goes on", n)
	}
}

// A session that ends while it is chosen is told of as such.
func TestEndForOperatorOfAnEndedOne(t *testing.T) {
	r := newRig(t)
	first, second := r.active(t), r.active(t)
	gone := r.ID(second)
	over := map[string]bool{}
	r.store.listed = func() {
		if _, err := r.End(t.Context(), first, "", false); err != nil {
			t.Error(err)
		}
		if err := r.store.Delete(t.Context(), store.Key{Kind: session.KindRecord, ID: gone}); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.EndChosen(t.Context(), session.Choice{}, func(o session.Outcome) {
		over[o.ID] = o.Over
	}); err != nil {
		t.Error(err)
	}
	if !over[r.ID(first)] || !over[gone] || len(over) != 2 {
		t.Errorf("told of %v", over)
	}
}

// A refresh that is under way brings nothing back: what it got is revoked.
func TestEndForOperatorBesidesRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk, replica := newFleet(t)
		handle := replica.active(t)
		replica.helseID.took = 10 * time.Second
		var refreshed error
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, refreshed = replica.Refresh(t.Context(), replica.ID(handle), helseid.Request{})
		}()
		time.Sleep(5 * time.Second)
		got := desk.end(t, session.Choice{Person: session.Expect{PID: "synthetic-pid"}})
		if len(got) != 1 || got[desk.ID(handle)].Err != nil {
			t.Errorf("%+v", got)
		}
		<-done
		wantCode(t, refreshed, "session-expired", "")
		for _, r := range []*rig{desk, replica} {
			_, err := r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			r.refresh(t, handle, "session-expired")
		}
		if got := strings.Join(desk.helseID.revoked, " "); got != "rt-0 rt-1" {
			t.Errorf("revoked %q, want the old and the new token", got)
		}
	})
}

// Who stops waiting lets those finish that were begun, and begins no more.
func TestEndForOperatorStops(t *testing.T) {
	r := newRig(t)
	for range 30 {
		r.active(t)
	}
	ctx, stop := context.WithCancel(t.Context())
	told := 0
	r.ending = func(begun context.Context, _ string) []string {
		if ctx.Err() == nil {
			stop()
		}
		if begun.Err() != nil {
			t.Error("an end that was begun is given up")
		}
		return nil
	}
	_, err := r.EndChosen(ctx, session.Choice{}, func(session.Outcome) {
		told++
	})
	if !errors.Is(err, context.Canceled) || told < 1 || told > 20 {
		t.Errorf("%d sessions were ended, %v", told, err)
	}
	open := 0
	if _, err := r.List(t.Context(), session.Choice{Open: true}, func(some []session.Listed) error { open += len(some); return nil }); err != nil || open != 30-told {
		t.Errorf("%d sessions are left of 30, %d were told of, %v", open, told, err)
	}
}
