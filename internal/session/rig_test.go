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

// rig is a Manager over a fake HelseID.
type rig struct {
	*session.Manager
	helseID *fakeHelseID
	store   *fakeStore
	mu      sync.Mutex
	ended   []string
	// ending, if not nil, is asked at a log-out.
	ending func(ctx context.Context, id string) []string
}

func newRig(t *testing.T) *rig { return newIdleRig(t, 12*time.Hour) }

func newIdleRig(t *testing.T, idle time.Duration) *rig {
	r := &rig{helseID: newFake(t), store: &fakeStore{Memory: store.NewMemory()}}
	m, err := session.New(session.Options{
		Store: r.store, Lister: r.store, HelseID: r.helseID, Scopes: []string{"openid", "e-helse:sfm.api/sfm.api2"},
		RedirectURI: "http://localhost:8080/_sidecar/callback", BaseURL: "http://localhost:8080", Idle: idle,
		Ended: func(id string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, id)
		},
		Ending: func(ctx context.Context, id string) []string {
			if r.ending == nil {
				return nil
			}
			return r.ending(ctx, id)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Manager = m
	return r
}

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
