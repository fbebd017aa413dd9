package session_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

func TestNewNeedsItsRooms(t *testing.T) {
	for _, o := range []session.Options{{Store: store.NewMemory()}, {HelseID: newFake(t)}} {
		if _, err := session.New(o); err == nil {
			t.Error("made without a store or without HelseID")
		}
	}
}

func TestUnknownHandle(t *testing.T) {
	r := newRig(t)
	_, err := r.ByHandle(t.Context(), "no-such-handle", "")
	wantCode(t, err, "session-unknown", "")
	_, err = newRig(t).ByHandle(t.Context(), r.active(t), "")
	wantCode(t, err, "session-unknown", "")
}

// A session is its owner's alone.
func TestOwner(t *testing.T) {
	r := newRig(t)
	handle, err := r.Adopt(t.Context(), "rt-0", session.Begin{Owner: "1000"})
	if err != nil {
		t.Fatal(err)
	}
	for owner, code := range map[string]string{"": "session-unknown", "1001": "session-unknown", "1000": ""} {
		_, used := r.ByHandle(t.Context(), handle, owner)
		_, looked := r.Status(t.Context(), handle, owner, 0)
		_, ended := r.End(t.Context(), handle, owner, false)
		for _, err := range []error{used, looked, ended} {
			if code != "" {
				wantCode(t, err, code, "")
			}
		}
	}
	_, err = r.ByHandle(t.Context(), handle, "1000")
	wantCode(t, err, "session-expired", "")
}

// IDs are keyed: who reads the store can't try handles, and who shares the key
// shares the sessions.
func TestIDIsKeyed(t *testing.T) {
	var ids []string
	for _, secret := range [][]byte{[]byte("one"), []byte("two"), []byte("one"), nil, nil} {
		m, err := session.New(session.Options{Store: store.NewMemory(), HelseID: newFake(t), Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID("handle"))
	}
	if ids[0] != ids[2] || ids[0] == ids[1] || ids[3] == ids[4] || len(ids[0]) != 43 {
		t.Errorf("%q", ids)
	}
}

func TestAllows(t *testing.T) {
	one := session.Tenant{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}
	upper := one
	upper.Journal = strings.ToUpper(one.Journal)
	other := one
	other.Child = ""
	limited := session.Session{Tenants: []session.Tenant{one}}
	if !limited.Allows(one) || !limited.Allows(upper) || limited.Allows(other) {
		t.Error("the limit to one tenant does not hold")
	}
	if !(session.Session{}).Allows(other) {
		t.Error("no limit refuses")
	}
}

func TestHandle(t *testing.T) {
	tests := map[string]struct {
		values []string
		code   string
	}{
		"one":      {[]string{"handle"}, ""},
		"longest":  {[]string{strings.Repeat("x", 256)}, ""},
		"none":     {nil, "session-required"},
		"two":      {[]string{"handle", "handle"}, "request-invalid"},
		"empty":    {[]string{""}, "request-invalid"},
		"too long": {[]string{strings.Repeat("x", 257)}, "request-invalid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			handle, err := session.Handle(http.Header{session.Header: tt.values})
			if tt.code != "" {
				wantCode(t, err, tt.code, "")
				if handle != "" {
					t.Error("a handle beside an error")
				}
			} else if err != nil || handle != tt.values[0] {
				t.Errorf("not read: %v", err)
			}
		})
	}
}

func TestSessionRunsOut(t *testing.T) {
	t.Run("with the refresh token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			handle := r.active(t)
			time.Sleep(8 * time.Hour)
			_, err := r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			time.Sleep(23 * time.Hour)
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			time.Sleep(2 * time.Hour)
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-unknown", "")
		})
	})
	t.Run("unused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.helseID.lifetime = 0
			handle := r.active(t)
			for range 5 {
				time.Sleep(11 * time.Hour)
				if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
					t.Fatalf("in use: %v", err)
				}
			}
			time.Sleep(12 * time.Hour)
			status, err := r.Status(t.Context(), handle, "", 0)
			if err != nil || status.State != session.Expired || status.Person != (helseid.Person{}) {
				t.Errorf("status %s, %v", status.State, err)
			}
			wantCode(t, status.Err, "session-expired", "")
			_, err = r.ByHandle(t.Context(), handle, "")
			wantCode(t, err, "session-expired", "")
			if len(r.ended) != 1 {
				t.Errorf("told of %d ended sessions, want 1", len(r.ended))
			}
		})
	})
}

func TestReplicasKnowEachSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
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

func TestStoreDown(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	_, link, browser, state := r.pending(t, session.Begin{})
	calls := map[string]func() error{
		"Begin":    func() error { _, err := r.Begin(t.Context(), session.Begin{}); return err },
		"Open":     func() error { _, err := r.Open(t.Context(), link, browser); return err },
		"Finish":   func() error { return r.Finish(t.Context(), own(state, browser)) },
		"ByHandle": func() error { _, err := r.ByHandle(t.Context(), handle, ""); return err },
		"Refresh":  func() error { _, err := r.Refresh(t.Context(), r.ID(handle), helseid.Request{}); return err },
		"Status":   func() error { _, err := r.Status(t.Context(), handle, "", 0); return err },
		"End":      func() error { _, err := r.End(t.Context(), handle, "", false); return err },
		"Logout":   func() error { _, err := r.Logout(t.Context(), "link"); return err },
		"Adopt":    func() error { _, err := r.Adopt(t.Context(), "rt-0", session.Begin{}); return err },
	}
	r.store.down.Store(true)
	for name, call := range calls {
		err := call()
		wantCode(t, err, "store-unavailable", "")
		if p, ok := errors.AsType[*session.Error](err); !ok || p.Permanent() || !errors.Is(err, errDown) {
			t.Errorf("%s: %v may be remembered, or hides its cause", name, err)
		}
	}
	r.store.down.Store(false)
	if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
		t.Errorf("the session did not survive: %v", err)
	}
	if err := r.Finish(t.Context(), own(state, browser)); err != nil {
		t.Errorf("the log-in under way did not survive: %v", err)
	}
}

// The times in records are HelseID's, whatever a replica's own clock says: a log-in under
// way and a session end neither early nor late. A replica that goes by its own
// (SIDECAR_CLOCK=system), five minutes off, ends them that much early or late, and for
// all.
func TestClockOfAReplica(t *testing.T) {
	for _, off := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		helseIDs := func() time.Time { return time.Now().Add(off) }
		synctest.Test(t, func(t *testing.T) {
			a, b := newFleet(t, func(_ int, o *session.Options) { o.Now = helseIDs })
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
			a, b := newFleet(t, func(n int, o *session.Options) { o.Now = []func() time.Time{time.Now, helseIDs}[n] })
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
