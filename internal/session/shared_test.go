package session_test

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// newFleet is two replicas with one HelseID and one store, which each reaches by a
// way of its own.
func newFleet(t *testing.T) (a, b *rig) { return newFleetOf(t, 12*time.Hour, nil, nil) }

func newIdleFleet(t *testing.T, idle time.Duration) (a, b *rig) { return newFleetOf(t, idle, nil, nil) }

// newFleetOf is newFleet where each replica has its own idea of HelseID's time.
func newFleetOf(t *testing.T, idle time.Duration, ofA, ofB func() time.Time, alter ...func(*session.Options)) (a, b *rig) {
	helseID, shared := newFake(t), store.NewMemory()
	replica := func(now func() time.Time) *rig {
		r := &rig{helseID: helseID, store: &fakeStore{Memory: shared}}
		o := session.Options{
			Store: r.store, Lister: r.store, HelseID: helseID, Shared: true, Secret: []byte("the fleet's"), Scopes: []string{"openid"},
			RedirectURI: "http://localhost:8080/_sidecar/callback", BaseURL: "http://localhost:8080", Idle: idle,
			Now: now,
			Ended: func(id string) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.ended = append(r.ended, id)
			},
		}
		for _, f := range alter {
			f(&o)
		}
		m, err := session.New(o)
		if err != nil {
			t.Fatal(err)
		}
		r.Manager = m
		return r
	}
	return replica(ofA), replica(ofB)
}

// refresh fails the test unless the refresh ends as it should; "" = well.
func (r *rig) refresh(t *testing.T, handle, code string) {
	t.Helper()
	_, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{})
	if code == "" && err != nil {
		t.Error(err)
	} else if code != "" {
		wantCode(t, err, code, "")
	}
}

func TestReplicasKnowEachSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer a.Close()
		defer b.Close()
		handle := a.active(t)
		for range 5 {
			a.refresh(t, handle, "")
			b.refresh(t, handle, "")
		}
		for _, r := range []*rig{a, b} {
			if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.End(t.Context(), handle, "", false); err != nil {
			t.Fatal(err)
		}
		_, err := a.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
		if !slices.Contains(a.ended, a.ID(handle)) {
			t.Error("the other replica's tokens are not forgotten")
		}
		if got := a.helseID.revoked; len(got) != 1 || got[0] != "rt-10" {
			t.Errorf("revoked %v, want the last token once", got)
		}
	})
}

// A refresh token whose successor the store did not take is not sent again by
// anybody, and the session goes on when the store works again.
func TestSuccessorNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer a.Close()
		defer b.Close()
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		for range 3 { // the fake fails the test when a token comes twice
			b.refresh(t, handle, "store-unavailable")
			a.refresh(t, handle, "store-unavailable")
			time.Sleep(time.Second)
		}
		if n := a.helseID.asked(); n != 1 {
			t.Errorf("HelseID was asked %d times", n)
		}
		a.store.full.Store(false)
		time.Sleep(2 * time.Second)
		b.refresh(t, handle, "")
		a.refresh(t, handle, "")
	})
}

// A replica that ends in order leaves the successor behind, where it can.
func TestSuccessorStoredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer b.Close()
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		synctest.Wait()
		a.store.full.Store(false)
		a.Close()
		b.refresh(t, handle, "")
	})
}

// A replica that dies in the middle of a refresh costs the person some minutes, and
// then the one replay there is.
func TestSenderDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer b.Close()
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		synctest.Wait()
		a.store.down.Store(true) // for ever
		a.Close()
		for range 2 {
			b.refresh(t, handle, "store-unavailable")
			time.Sleep(40 * time.Second) // the exchange may take longer
		}
		time.Sleep(2 * time.Minute)
		b.refresh(t, handle, "store-unavailable") // has the sender an answer?
		time.Sleep(10 * time.Minute)
		b.refresh(t, handle, "store-unavailable") // the store may have been down since
		time.Sleep(10 * time.Second)
		b.refresh(t, handle, "store-unavailable")
		time.Sleep(10 * time.Second)
		b.helseID.refresh = func(int) (*helseid.Grant, error) { return nil, invalidGrant{} }
		b.refresh(t, handle, "session-expired")
	})
}

// What HelseID answers without a new token leaves the old one usable.
func TestMarkGoesWithTheAnswer(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	a.helseID.refresh = func(int) (*helseid.Grant, error) { return nil, refused{code: "tenant-not-delegated"} }
	a.refresh(t, handle, "tenant-not-delegated")
	a.helseID.refresh = nil
	b.refresh(t, handle, "")
	a.helseID.rotate = false
	a.refresh(t, handle, "")
	b.refresh(t, handle, "")
}

// A refresh token that HelseID does not know ends the session only when it still is
// the session's.
func TestOvertaken(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	a.helseID.refresh = func(int) (*helseid.Grant, error) {
		a.helseID.refresh = nil
		overtake(t, b, b.ID(handle))
		return nil, invalidGrant{}
	}
	a.refresh(t, handle, "store-unavailable")
	if _, err := b.ByHandle(t.Context(), handle, ""); err != nil {
		t.Errorf("the session has ended: %v", err)
	}
}

// A refresh token that was replaced while its sender was held up is not sent.
func TestReplacedBeforeItWasSent(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	a.store.change = func(key store.Key) {
		if key.Kind == "spent" {
			a.store.change = nil
			overtake(t, b, b.ID(handle))
		}
	}
	a.refresh(t, handle, "store-unavailable")
	if n := a.helseID.asked(); n != 0 {
		t.Errorf("HelseID was asked %d times", n)
	}
}

// overtake writes another refresh token, as somebody does who took the lock over.
func overtake(t *testing.T, r *rig, id string) {
	t.Helper()
	key := store.Key{Kind: session.KindRecord, ID: id}
	e, err := r.store.Memory.Get(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	value := slices.Concat(e.Value[:len(e.Value)-1], []byte(`,"refresh_token":"rt-later"}`))
	if err := r.store.Memory.Put(context.Background(), key, value, time.Hour); err != nil {
		t.Fatal(err)
	}
}

// While the store is down, who is known goes on; who is not, and who needs a new
// token, waits for it.
func TestKnownWhileStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer a.Close()
		defer b.Close()
		handle := a.active(t)
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
		a.store.down.Store(true)
		b.store.down.Store(true)
		for range 5 {
			if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
			_, err := b.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "store-unavailable", "")
			time.Sleep(time.Minute)
		}
		a.refresh(t, handle, "store-unavailable")
		if n := a.helseID.asked(); n != 0 {
			t.Errorf("HelseID was asked %d times", n)
		}
	})
}

// The times in records are HelseID's, whatever a replica's own clock says: a log-in under
// way and a session end neither early nor late. A replica that goes by its own
// (SIDECAR_CLOCK=system), five minutes off, ends them that much early or late, and for
// all.
func TestClockOfAReplica(t *testing.T) {
	for _, off := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		helseIDs := func() time.Time { return time.Now().Add(off) }
		synctest.Test(t, func(t *testing.T) {
			a, b := newFleetOf(t, 12*time.Hour, helseIDs, helseIDs)
			defer a.Close()
			defer b.Close()
			a.helseID.lifetime = time.Hour
			handle, _, browser, state := a.pending(t, session.Begin{})
			time.Sleep(session.PendingLifetime - time.Minute)
			if err := b.Finish(t.Context(), own(state, browser)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				time.Sleep(time.Hour - time.Minute)
				b.refresh(t, handle, "") // which prolongs it by an hour
			}
			if end := b.NearestEnd(); !end.Equal(helseIDs().Add(time.Hour)) {
				t.Errorf("it ends at %v", end)
			}
			time.Sleep(time.Hour + time.Second)
			a.wantBare(t, handle)
		})
		synctest.Test(t, func(t *testing.T) {
			a, b := newFleetOf(t, 12*time.Hour, nil, helseIDs)
			defer a.Close()
			defer b.Close()
			a.helseID.lifetime = time.Hour
			handle := a.active(t)
			a.refresh(t, handle, "")
			if _, err := b.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
			time.Sleep(54 * time.Minute)
			a.refresh(t, handle, "")
			b.refresh(t, handle, "")
			time.Sleep(time.Hour + 6*time.Minute)
			for _, r := range []*rig{a, b} {
				_, err := r.ByHandle(t.Context(), handle, "")
				wantCode(t, err, "session-expired", "")
			}
		})
	}
}

// A call on a session that did not change asks the store for nothing.
func TestKnownCostsNothing(t *testing.T) {
	a, _ := newFleet(t)
	defer a.Close()
	handle := a.active(t)
	for range 2 {
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
	}
	a.store.down.Store(true)
	if n := testing.AllocsPerRun(100, func() { _, _ = a.ByHandle(t.Context(), handle, "") }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

// Of two answers of HelseID to one log-in that come to two replicas at once, one counts.
func TestStateIsUsedOnce(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	_, _, browser, state := a.pending(t, session.Begin{})
	a.store.change = func(key store.Key) { // between the look at the log-in and its end
		if key.Kind == "state" {
			a.store.change = nil
			if err := b.Finish(t.Context(), own(state, browser)); err != nil {
				t.Error(err)
			}
		}
	}
	wantCode(t, a.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
}

// A successor does not take the place of another token than the one it was got for.
func TestSuccessorOfAnother(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	a.store.change = func(key store.Key) {
		if key.Kind == session.KindRecord {
			a.store.change = nil
			overtake(t, b, b.ID(handle))
		}
	}
	a.refresh(t, handle, "")
	if _, err := b.End(t.Context(), handle, "", false); err != nil {
		t.Fatal(err)
	}
	if got := a.helseID.revoked; len(got) != 1 || got[0] != "rt-later" {
		t.Errorf("the session held %v, want rt-later", got)
	}
}

// A successor that the store could not take for minutes is still the one that is used
// next: whoever comes first when the store is back leaves its holder the time to write it.
func TestSuccessorOutlivesOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer a.Close()
		defer b.Close()
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		b.store.down.Store(true)
		time.Sleep(10*time.Minute + 100*time.Millisecond)
		b.store.down.Store(false)
		b.refresh(t, handle, "store-unavailable")
		a.store.full.Store(false)
		time.Sleep(2 * time.Second)
		b.refresh(t, handle, "")
		if n := a.helseID.asked(); n != 2 {
			t.Errorf("HelseID was asked %d times", n)
		}
	})
}

// HelseID may give the same refresh token again and again.
func TestSameTokenAgain(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	a.helseID.refresh = func(int) (*helseid.Grant, error) {
		return &helseid.Grant{Token: &oauth2.Token{AccessToken: "at"}, Sent: time.Now(), Lifetime: time.Hour, RefreshToken: a.helseID.valid}, nil
	}
	for range 2 {
		a.refresh(t, handle, "")
		b.refresh(t, handle, "")
	}
}

// A server whose clock is behind gives fences that are less than those of before. The
// successor is written all the same, where nobody has replaced the token.
func TestSuccessorUnderAnOldClock(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	key := store.Key{Kind: session.KindRecord, ID: a.ID(handle)}
	e, err := a.store.Memory.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Memory.PutFenced(t.Context(), key, e.Value, time.Hour, 1<<50); err != nil {
		t.Fatal(err)
	}
	a.refresh(t, handle, "")
	b.refresh(t, handle, "") // the fake fails the test when a token comes twice
}

// A refresh that was sent ends before its process does, and leaves its successor.
func TestRefreshBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer b.Close()
		handle := a.active(t)
		a.helseID.took = 5 * time.Second
		go a.refresh(t, handle, "")
		synctest.Wait()
		began := time.Now()
		a.Close()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the end took %v", took)
		}
		a.refresh(t, handle, "draining")
		b.refresh(t, handle, "")
	})
}

// A log-out of which the store's answer was lost has HelseID told all the same: no other
// log-out would find the token any more.
func TestLogOutWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer a.Close()
		defer b.Close()
		handle := a.active(t)
		a.store.put = func(key store.Key) {
			if key.Kind == session.KindRecord {
				a.store.down.Store(true)
			}
		}
		a.store.late = true
		_, err := a.End(t.Context(), handle, "", false)
		wantCode(t, err, "store-unavailable", "")
		synctest.Wait()
		if got := a.helseID.revoked; len(got) != 1 {
			t.Errorf("revoked %v", got)
		}
		_, err = b.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
	})
}

// A log-out that the store refuses has the token revoked that the person's log-in goes on
// with, which is in memory while the store takes nothing.
func TestLogOutBeforeTheSuccessorIsStored(t *testing.T) {
	for name, end := range map[string]func(a *rig, handle string) error{
		"the person": func(a *rig, handle string) error { _, err := a.End(t.Context(), handle, "", false); return err },
		"an operator": func(a *rig, handle string) (err error) {
			_, listed := a.EndChosen(t.Context(), session.Choice{IDs: []string{a.ID(handle)}}, func(o session.Outcome) { err = o.Err })
			return cmp.Or(err, listed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newFleet(t)
				defer a.Close()
				defer b.Close()
				handle := a.active(t)
				a.store.full.Store(true)
				a.refresh(t, handle, "store-unavailable")
				wantCode(t, end(a, handle), "store-unavailable", "")
				synctest.Wait()
				if revoked, _ := a.over(); !slices.Contains(revoked, a.helseID.valid) {
					t.Errorf("revoked %v, and not %s", revoked, a.helseID.valid)
				}
			})
		})
	}
}

// A log-out leaves nothing but the note that there was a session.
func TestLogOutLeavesNothing(t *testing.T) {
	a, b := newFleet(t)
	defer a.Close()
	defer b.Close()
	handle := a.active(t)
	a.refresh(t, handle, "")
	if _, err := b.ByHandle(t.Context(), handle, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := a.End(t.Context(), handle, "", false); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"used", "spent"} {
		if n := a.store.Memory.Len(kind); n != 0 {
			t.Errorf("%d entries of kind %s are left", n, kind)
		}
	}
	_, err := b.ByHandle(t.Context(), handle, "")
	wantCode(t, err, "session-expired", "")
	if n := b.Known(); n != 0 {
		t.Errorf("the other replica looks after %d sessions", n)
	}
}

// A store that is slow is not in the way of who is known; and what it says late counts.
func TestKnownWhileStoreIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		defer a.Close()
		defer b.Close()
		handle := a.active(t)
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Fatal(err)
		}
		a.store.slow = 500 * time.Millisecond
		a.store.down.Store(true)
		time.Sleep(time.Hour)
		began := time.Now()
		for range 20 {
			if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("20 calls took %v", took)
		}
		time.Sleep(time.Second)
		if _, err := b.End(t.Context(), handle, "", false); err != nil {
			t.Fatal(err)
		}
		a.store.down.Store(false)
		a.store.gets = 300 * time.Millisecond
		if _, err := a.ByHandle(t.Context(), handle, ""); err != nil {
			t.Error(err)
		}
		time.Sleep(300 * time.Millisecond)
		_, err := a.ByHandle(t.Context(), handle, "")
		wantCode(t, err, "session-expired", "")
	})
}
