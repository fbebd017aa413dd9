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

// An earlier state of a log-in, put back by somebody who can write to the store, sends
// no token that is known to be spent, however long ago that was.
func TestEarlierRecordPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for refreshes := range 4 {
			a, b := newFleet(t)
			handle := a.active(t)
			key := store.Key{Kind: session.KindRecord, ID: a.ID(handle)}
			earlier, err := a.store.Memory.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			for range refreshes {
				a.refresh(t, handle, "")
			}
			if err := a.store.Memory.Put(t.Context(), key, earlier.Value, time.Hour); err != nil {
				t.Fatal(err)
			}
			want := []string{"", "store-unavailable", "session-expired", "session-expired"}[refreshes]
			before := a.helseID.asked()
			b.refresh(t, handle, want)
			if n := a.helseID.asked() - before; want != "" && n != 0 {
				t.Errorf("after %d refreshes HelseID was asked %d times", refreshes, n)
			}
		}
	})
}

// What an older sidecar wrote does not say which token was replaced, and is good.
func TestRecordWithoutTheReplaced(t *testing.T) {
	a, b := newFleet(t)
	handle := a.active(t)
	a.refresh(t, handle, "")
	key := store.Key{Kind: session.KindRecord, ID: a.ID(handle)}
	e, err := a.store.Memory.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	value := slices.Concat(e.Value[:len(e.Value)-1], []byte(`,"replaced":""}`))
	if err := a.store.Memory.Put(t.Context(), key, value, time.Hour); err != nil {
		t.Fatal(err)
	}
	b.refresh(t, handle, "")
}

// A log-in that another replica renews, while one that lost its lock looks at what was sent,
// goes on.
func TestRenewedWhileLookingAtTheNote(t *testing.T) {
	a, b := newFleet(t)
	handle := a.active(t)
	id := a.ID(handle)
	a.store.got = func(key store.Key) {
		if key.Kind != session.KindRecord {
			return
		}
		a.store.got = nil
		overtake(t, b, id)
		note := []byte(`{"token":"of rt-later","by":"another","sent":"2026-01-02T03:04:05Z"}`)
		if err := b.store.Memory.Put(t.Context(), store.Key{Kind: "spent", ID: id}, note, time.Hour); err != nil {
			t.Error(err)
		}
	}
	a.refresh(t, handle, "store-unavailable")
	if _, err := b.ByHandle(t.Context(), handle, ""); err != nil {
		t.Errorf("the session has ended: %v", err)
	}
}

// Who has a clock that is minutes off waits as long as the others.
func TestQuestionWithWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		fast := newReplica(t, a.helseID, a.store.Memory, func(o *session.Options) {
			o.Shared, o.Secret = true, []byte("the fleet's")
			o.Now = func() time.Time { return time.Now().Add(4 * time.Minute) }
		})
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		fast.refresh(t, handle, "store-unavailable") // no time for a question yet
		time.Sleep(20 * time.Second)
		fast.refresh(t, handle, "store-unavailable")
		time.Sleep(135 * time.Second)
		b.refresh(t, handle, "store-unavailable") // asks
		time.Sleep(14 * time.Second)
		fast.refresh(t, handle, "store-unavailable")
		time.Sleep(time.Second)
		fast.helseID.refresh = func(int) (*helseid.Grant, error) { return nil, invalidGrant{} }
		fast.refresh(t, handle, "session-expired")
	})
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
