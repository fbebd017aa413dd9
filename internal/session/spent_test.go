package session_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// A replica that dies in the middle of a refresh costs the person some minutes, and
// then the one replay there is.
func TestSenderDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
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
