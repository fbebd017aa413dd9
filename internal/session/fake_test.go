package session_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// fakeHelseID keeps one valid refresh token, rotates it, and remembers what it
// was asked. A token that is spent twice is an error of the test.
type fakeHelseID struct {
	t *testing.T

	mu       sync.Mutex // guards what follows
	valid    string
	issued   int
	pushed   []helseid.Authorization
	requests []helseid.Request
	revoked  []string

	person    helseid.Person
	verifyErr error
	pushErr   error
	exchange  func() error
	revokeErr error
	refresh   func(n int) (*helseid.Grant, error) // nil: the ordinary answer
	took      time.Duration
	rotate    bool
	lifetime  time.Duration

	inside atomic.Int32
}

func newFake(t *testing.T) *fakeHelseID {
	return &fakeHelseID{t: t, valid: "rt-0", rotate: true, lifetime: 8 * time.Hour, person: helseid.Person{
		Subject: "sub-1", PID: "synthetic-pid", Name: "Syntetisk Lege", HPRNumber: "1234567", SecurityLevel: "4",
	}}
}

func (f *fakeHelseID) Push(_ context.Context, a helseid.Authorization) (string, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushed = append(f.pushed, a)
	if f.pushErr != nil {
		return "", 0, f.pushErr
	}
	return "https://helseid.example/authorize?request_uri=x", time.Minute, nil
}

func (f *fakeHelseID) Exchange(ctx context.Context, _ helseid.CodeGrant) (*helseid.Login, error) {
	if ctx.Err() != nil {
		f.t.Error("a code was given up with its caller")
	}
	if f.exchange != nil {
		if err := f.exchange(); err != nil {
			return nil, err
		}
	}
	return &helseid.Login{IDToken: "id-token", RefreshToken: f.valid, RefreshLifetime: f.lifetime, Thumbprint: "first"}, nil
}

func (f *fakeHelseID) Refresh(ctx context.Context, refreshToken string, r helseid.Request) (*helseid.Grant, error) {
	if f.inside.Add(1) != 1 {
		f.t.Error("two refreshes of one session at a time")
	}
	defer f.inside.Add(-1)
	select {
	case <-time.After(f.took):
	case <-ctx.Done():
		f.t.Error("a refresh that was sent was given up")
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r)
	if f.refresh != nil {
		g, err := f.refresh(len(f.requests))
		if g != nil || err != nil {
			return g, err
		}
	}
	if refreshToken != f.valid {
		f.t.Errorf("refresh %d used a token that was spent", len(f.requests))
		return nil, invalidGrant{}
	}
	return f.grant(), nil
}

// grant is the ordinary answer; f.mu is held.
func (f *fakeHelseID) grant() *helseid.Grant {
	g := &helseid.Grant{Token: &oauth2.Token{AccessToken: "at"}, Sent: time.Now(), Lifetime: time.Hour, IDToken: "id-token"}
	if f.rotate {
		f.issued++
		f.valid = fmt.Sprintf("rt-%d", f.issued)
		g.RefreshToken, g.RefreshLifetime = f.valid, f.lifetime
	}
	return g
}

func (f *fakeHelseID) VerifyIDToken(context.Context, string, string) (helseid.Person, error) {
	return f.person, f.verifyErr
}

func (f *fakeHelseID) CheckResponseIssuer(iss string) error {
	if iss != "https://helseid.example" {
		return refused{code: "login-failed", reason: "state-unknown"}
	}
	return nil
}

func (f *fakeHelseID) Revoke(_ context.Context, refreshToken string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = append(f.revoked, refreshToken)
	return f.revokeErr
}

func (f *fakeHelseID) EndSession(_ context.Context, hint, _, _ string) (string, error) {
	return "https://helseid.example/endsession?hint=" + fmt.Sprint(hint != ""), nil
}

func (f *fakeHelseID) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

type invalidGrant struct{}

func (invalidGrant) Error() string      { return "invalid_grant" }
func (invalidGrant) Code() string       { return "helseid-refused" }
func (invalidGrant) Detail() string     { return "HelseID refused" }
func (invalidGrant) InvalidGrant() bool { return true }
func (invalidGrant) NoAnswer() bool     { return false }

type noAnswer struct{ invalidGrant }

func (noAnswer) Code() string       { return "helseid-unavailable" }
func (noAnswer) InvalidGrant() bool { return false }
func (noAnswer) NoAnswer() bool     { return true }

type refused struct {
	code, reason string
	other        bool
	lasting      bool
}

func (r refused) Permanent() bool { return r.lasting }

func (r refused) Error() string     { return r.code }
func (r refused) Code() string      { return r.code }
func (r refused) Detail() string    { return "refused" }
func (r refused) Reason() string    { return r.reason }
func (r refused) OtherPerson() bool { return r.other }

// fakeStore is a store that a test can break, or look into at a certain moment.
type fakeStore struct {
	*store.Memory
	down   atomic.Bool
	locked func(store.Key) // before a lock is asked for
	put    func(store.Key) // after an entry was written
	change func(store.Key) // before an entry is changed
	listed func()          // when entries of a listing were read
	got    func(store.Key) // after an entry was read
	// slow is how long a store that is down takes to say so.
	slow time.Duration
	// gets is how long it takes to read.
	gets time.Duration
	// late has a store that goes down within a write lose the answer to it.
	late bool
	// full refuses changes of sessions alone.
	full atomic.Bool
	// watches are those that are under way.
	watches watches
}

var errDown = errors.New("the store is down")

func (f *fakeStore) err() error {
	if f.down.Load() {
		time.Sleep(f.slow)
		return errDown
	}
	return nil
}

func (f *fakeStore) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	time.Sleep(f.gets)
	e, err := f.Memory.Get(ctx, key)
	if f.got != nil {
		f.got(key)
	}
	return e, cmp.Or(f.err(), err)
}

func (f *fakeStore) Put(ctx context.Context, key store.Key, value []byte, ttl time.Duration) error {
	if f.down.Load() {
		return errDown
	}
	err := f.Memory.Put(ctx, key, value, ttl)
	if f.put != nil {
		f.put(key)
	}
	return err
}

func (f *fakeStore) PutIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, version uint64) error {
	if f.change != nil {
		f.change(key)
	}
	if f.down.Load() || f.full.Load() && key.Kind == session.KindRecord {
		return errDown
	}
	err := f.Memory.PutIf(ctx, key, value, ttl, version)
	if err == nil && f.put != nil {
		f.put(key)
	}
	if f.late {
		return cmp.Or(f.err(), err)
	}
	return err
}

func (f *fakeStore) PutFencedIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence, version uint64) error {
	if f.change != nil {
		f.change(key)
	}
	if f.down.Load() || f.full.Load() {
		return errDown
	}
	err := f.Memory.PutFencedIf(ctx, key, value, ttl, fence, version)
	if err == nil && f.put != nil {
		f.put(key)
	}
	return err
}

func (f *fakeStore) PutFenced(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence uint64) error {
	return cmp.Or(f.err(), f.Memory.PutFenced(ctx, key, value, ttl, fence))
}

func (f *fakeStore) Delete(ctx context.Context, key store.Key) error {
	return cmp.Or(f.err(), f.Memory.Delete(ctx, key))
}

func (f *fakeStore) Take(ctx context.Context, key store.Key) ([]byte, error) {
	if f.down.Load() {
		return nil, errDown
	}
	return f.Memory.Take(ctx, key)
}

func (f *fakeStore) Watch(ctx context.Context, key store.Key) (<-chan struct{}, func(), error) {
	if err := f.err(); err != nil {
		return nil, nil, err
	}
	changed, stop, err := f.Memory.Watch(ctx, key)
	return changed, f.watches.add(changed, stop), err
}

func (f *fakeStore) List(ctx context.Context, kind string, visit func([]store.Item) error) (store.Skipped, error) {
	if f.down.Load() {
		return store.Skipped{}, errDown
	}
	_, err := f.Memory.List(ctx, kind, visit)
	return store.Skipped{Others: 3, Unreadable: 2}, err
}

func (f *fakeStore) Left(ctx context.Context, keys []store.Key) ([]time.Duration, error) {
	left, err := f.Memory.Left(ctx, keys)
	if f.listed != nil {
		f.listed()
	}
	return left, err
}

func (f *fakeStore) Lock(ctx context.Context, key store.Key) (store.Hold, error) {
	if f.locked != nil {
		f.locked(key)
	}
	if f.down.Load() {
		return nil, errDown
	}
	return f.Memory.Lock(ctx, key)
}
