package session_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

func TestEnd(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	ended, err := r.End(t.Context(), handle, "", false)
	if err != nil {
		t.Fatal(err)
	}
	link, ok := strings.CutPrefix(ended.EndSessionURL, "http://localhost:8080"+session.LogoutPath)
	if !ok {
		t.Fatal("the end-session address is not a local link")
	}
	if got := r.helseID.revoked; len(got) != 1 || got[0] != "rt-0" {
		t.Errorf("revoked %d tokens", len(got))
	}
	if len(r.ended) != 1 || r.ended[0] != r.ID(handle) {
		t.Error("nobody was told that the session ended")
	}
	e, err := r.store.Get(t.Context(), store.Key{Kind: "session", ID: r.ID(handle)})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"rt-0", "id-token", "synthetic-pid", "sub-1", "Syntetisk"} {
		if strings.Contains(string(e.Value), gone) {
			t.Errorf("an ended session still holds %s", gone)
		}
	}
	_, err = r.ByHandle(t.Context(), handle, "")
	wantCode(t, err, "session-expired", "")
	_, err = r.End(t.Context(), handle, "", false)
	wantCode(t, err, "session-expired", "")
	if u, err := r.Logout(t.Context(), link); err != nil || u != "https://helseid.example/endsession?hint=true" {
		t.Errorf("log-out link: %v", err)
	}
	_, err = r.Logout(t.Context(), link)
	wantCode(t, err, "login-failed", "replayed")
}

// What belongs to the session elsewhere ends while its tokens can still be had, and
// what could not be done there keeps nothing alive.
func TestEndingComesBeforeTheEnd(t *testing.T) {
	r := newRig(t)
	handle := r.active(t)
	asked := 0
	r.ending = func(ctx context.Context, id string) []string {
		asked++
		if _, err := r.Refresh(ctx, id, helseid.Request{}); err != nil || id != r.ID(handle) {
			t.Errorf("no token could be had: %v", err)
		}
		return []string{"something"}
	}
	ended, err := r.End(t.Context(), handle, "", false)
	if err != nil || len(ended.Undone) != 1 || ended.Undone[0] != "something" {
		t.Errorf("undone %q, %v", ended.Undone, err)
	}
	_, err = r.ByHandle(t.Context(), handle, "")
	wantCode(t, err, "session-expired", "")
	if _, err := r.End(t.Context(), handle, "", false); err == nil || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	other := r.active(t)
	if _, err := r.End(t.Context(), other, "another-user", false); err == nil || asked != 1 {
		t.Error("a stranger ended something")
	}
	pending, _, _, _ := r.pending(t, session.Begin{})
	if _, err := r.End(t.Context(), pending, "", false); err != nil || asked != 1 {
		t.Errorf("a log-in that nobody finished has nothing to end: %v", err)
	}
}

func TestEndWithoutHelseID(t *testing.T) {
	r := newRig(t)
	r.helseID.revokeErr = errors.New("down")
	ended, err := r.End(t.Context(), r.active(t), "", true)
	if err != nil || len(ended.Undone) != 1 {
		t.Errorf("undone %q, %v", ended.Undone, err)
	}
	if ended.EndSessionURL != "https://helseid.example/endsession?hint=true" {
		t.Error("the ID token was asked for, and is not in HelseID's address")
	}
}

// A log-out of which the store's answer was lost has HelseID told all the same: no other
// log-out would find the token any more.
func TestLogOutWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
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
				a, _ := newFleet(t)
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
