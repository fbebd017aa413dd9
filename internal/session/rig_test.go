package session_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// rig is a Manager over a fake HelseID, and what it told of.
type rig struct {
	*session.Manager
	helseID *fakeHelseID
	store   *fakeStore
	// ending, if not nil, is asked at a log-out.
	ending func(ctx context.Context, id string) []string

	mu    sync.Mutex // guards what follows
	ended []string
	heard []string
}

func newRig(t *testing.T) *rig { return newIdleRig(t, 12*time.Hour) }

func newIdleRig(t *testing.T, idle time.Duration) *rig {
	return newReplica(t, newFake(t), store.NewMemory(), func(o *session.Options) { o.Idle = idle })
}

// newFleet is two replicas with one HelseID and one store, which each reaches by a way of
// its own. alter, if there is any, says how one differs from the ordinary; n is 0 for a.
func newFleet(t *testing.T, alter ...func(n int, o *session.Options)) (a, b *rig) {
	helseID, memory := newFake(t), store.NewMemory()
	replica := func(n int) *rig {
		return newReplica(t, helseID, memory, func(o *session.Options) {
			o.Shared, o.Secret = true, []byte("the fleet's")
			for _, f := range alter {
				f(n, o)
			}
		})
	}
	return replica(0), replica(1)
}

func newIdleFleet(t *testing.T, idle time.Duration) (a, b *rig) {
	return newFleet(t, func(_ int, o *session.Options) { o.Idle = idle })
}

// newReplica makes a Manager that is closed when its test ends.
func newReplica(t *testing.T, helseID *fakeHelseID, memory *store.Memory, alter func(*session.Options)) *rig {
	t.Helper()
	r := &rig{helseID: helseID, store: &fakeStore{Memory: memory}}
	o := options(helseID, r.store)
	o.Lister, o.Ended, o.Heard = r.store, r.note(&r.ended), r.note(&r.heard)
	o.Ending = func(ctx context.Context, id string) []string {
		if r.ending == nil {
			return nil
		}
		return r.ending(ctx, id)
	}
	alter(&o)
	m, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	r.Manager = m
	return r
}

// options are the ordinary ones; what a test is about it changes.
func options(helseID session.HelseID, s store.Store) session.Options {
	return session.Options{
		Store: s, HelseID: helseID, Scopes: []string{"openid", "e-helse:sfm.api/sfm.api2"},
		RedirectURI: "http://localhost:8080/_sidecar/callback", BaseURL: "http://localhost:8080", Idle: 12 * time.Hour,
	}
}

// note adds each session of which it is told to some.
func (r *rig) note(some *[]string) func(id string) {
	return func(id string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		*some = append(*some, id)
	}
}

// pending is a log-in whose link was opened: its handle, its link, the browser's
// cookie and the state that HelseID will send back.
func (r *rig) pending(t *testing.T, b session.Begin) (handle, link, browser, state string) {
	t.Helper()
	begun, err := r.Begin(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	link = begun.LoginURL[len("http://localhost:8080"+session.LoginPath):]
	opened, err := r.Open(t.Context(), link, "")
	if err != nil {
		t.Fatal(err)
	}
	return begun.Handle, link, opened.Browser, r.helseID.pushed[len(r.helseID.pushed)-1].State
}

// active is the handle of a session whose person has logged in.
func (r *rig) active(t *testing.T) string {
	t.Helper()
	handle, _, browser, state := r.pending(t, session.Begin{})
	if err := r.Finish(t.Context(), own(state, browser)); err != nil {
		t.Fatal(err)
	}
	return handle
}

// calls fails the test unless a replica knows the session.
func (r *rig) calls(t *testing.T, handle string) {
	t.Helper()
	if _, err := r.ByHandle(t.Context(), handle, ""); err != nil {
		t.Error(err)
	}
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

// over is what was revoked, and how many sessions ended.
func (r *rig) over() (revoked []string, ended int) {
	synctest.Wait()
	r.helseID.mu.Lock()
	defer r.helseID.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.helseID.revoked), len(r.ended)
}

func own(state, browser string) session.Callback {
	return session.Callback{Code: "code", State: state, Issuer: "https://helseid.example", Own: true, Browser: browser}
}

// wantCode checks an error's code and, where one is wanted, its reason.
func wantCode(t *testing.T, err error, code, reason string) {
	t.Helper()
	c, ok := errors.AsType[interface {
		error
		Code() string
	}](err)
	if !ok || c.Code() != code {
		t.Errorf("error %v, want code %s", err, code)
		return
	}
	if reason == "" {
		return
	}
	if r, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); !ok || r.Reason() != reason {
		t.Errorf("error %v, want reason %s", err, reason)
	}
}
