package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// A refresh token whose successor the store did not take is not sent again by
// anybody, and the session goes on when the store works again.
func TestSuccessorNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
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
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		synctest.Wait()
		a.store.full.Store(false)
		a.Close()
		b.refresh(t, handle, "")
	})
}

// A successor that the store could not take for minutes is still the one that is used
// next: whoever comes first when the store is back leaves its holder the time to write it.
func TestSuccessorOutlivesOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
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

// A successor does not take the place of another token than the one it was got for.
func TestSuccessorOfAnother(t *testing.T) {
	a, b := newFleet(t)
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

// A server whose clock is behind gives fences that are less than those of before. The
// successor is written all the same, where nobody has replaced the token.
func TestSuccessorUnderAnOldClock(t *testing.T) {
	a, b := newFleet(t)
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

// HelseID may give the same refresh token again and again.
func TestSameTokenAgain(t *testing.T) {
	a, b := newFleet(t)
	handle := a.active(t)
	a.helseID.refresh = func(int) (*helseid.Grant, error) {
		return &helseid.Grant{Token: &oauth2.Token{AccessToken: "at"}, Sent: time.Now(), Lifetime: time.Hour, RefreshToken: a.helseID.valid}, nil
	}
	for range 2 {
		a.refresh(t, handle, "")
		b.refresh(t, handle, "")
	}
}
