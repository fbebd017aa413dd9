//go:build unix

package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
	"sfm-sidecar/internal/tokencache"
)

const testLease = 3 * time.Second

// Who dies with a lock costs the others its lease, whatever the lock is for and
// wherever its holder was, but for the moment in which a refresh token was sent.
func TestDeadHolderCostsTheLease(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	for name, dies := range map[string]func(*mortal) (survivor func(context.Context) error){
		"fetching a token": func(a *mortal) func(context.Context) error {
			k := tokencache.Key{Parent: "100100126"}
			go func() {
				_, _ = a.cache().Token(context.Background(), k, func(ctx context.Context) (*tokencache.Token, error) {
					a.die()
					<-ctx.Done()
					return nil, ctx.Err()
				})
			}()
			<-a.dead
			b := newMortal(a.t, server)
			return func(ctx context.Context) error {
				_, err := b.cache().Token(ctx, k, func(context.Context) (*tokencache.Token, error) {
					return &tokencache.Token{AccessToken: "at", Type: "DPoP", Sent: time.Now(), Lifetime: time.Hour}, nil
				})
				return err
			}
		},
		"before it sends a refresh token": func(a *mortal) func(context.Context) error {
			a.before = func(op, kind string) bool { return op == "get" && kind == "spent" }
			return refreshes(a, server)
		},
		"after it stored the next one": func(a *mortal) func(context.Context) error {
			a.after = func(op, kind string) bool { return op == "put-fenced-if" && kind == session.KindRecord }
			return refreshes(a, server)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			survivor := dies(newMortal(t, server))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			began := time.Now()
			if err := survivor(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 2*testLease {
				t.Errorf("the other waited %v for a lease of %v", took, testLease)
			}
		})
	}
}

// refreshes has a replica die within a refresh.
func refreshes(a *mortal, server *sharedServer) func(context.Context) error {
	rotating := &rotating{valid: "rt-0"}
	first, b := a.manager(rotating), newMortal(a.t, server).manager(rotating)
	handle, err := first.Adopt(a.t.Context(), "rt-0", session.Begin{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.armed = true
	go func() { _, _ = first.Refresh(context.Background(), first.ID(handle), helseid.Request{}) }()
	<-a.dead
	return func(ctx context.Context) error {
		_, err := b.Refresh(ctx, b.ID(handle), helseid.Request{})
		return err
	}
}

// mortal is a replica's store, reached by a way that can be cut.
type mortal struct {
	store.Store
	t             *testing.T
	dead          chan struct{}
	die           func()
	armed         bool
	before, after func(op, kind string) bool
}

func newMortal(t *testing.T, server *sharedServer) *mortal {
	socket := filepath.Join(filepath.Dir(server.socket), fmt.Sprintf("w%d", time.Now().UnixNano()))
	way, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := store.OpenRedis(store.RedisOptions{
		URL: "unix://" + socket, Keys: [][]byte{[]byte("the test's own key, of 32 bytes!")}, Lease: testLease,
		Timeout: 5 * time.Second, // a machine that stands still is no store that is down
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{Store: shared, t: t, dead: make(chan struct{})}
	life, end := context.WithCancel(context.Background())
	m.die = sync.OnceFunc(func() {
		end()
		_ = way.Close()
		close(m.dead)
	})
	go func() {
		for {
			near, err := way.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", server.socket)
			if err != nil {
				_ = near.Close()
				continue
			}
			context.AfterFunc(life, func() { _, _ = near.Close(), far.Close() })
			go func() { _, _ = io.Copy(near, far) }()
			go func() { _, _ = io.Copy(far, near) }()
		}
	}()
	t.Cleanup(func() { m.die(); _ = shared.Close() })
	return m
}

func (m *mortal) cache() *tokencache.Cache {
	c, err := tokencache.New(tokencache.Options{Wait: 20 * time.Second, Shared: &tokencache.Shared{Store: m}})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	return c
}

func (m *mortal) manager(h session.HelseID) *session.Manager {
	s, err := session.New(session.Options{Store: m, Shared: true, HelseID: h, Secret: []byte("the fleet's"), Idle: time.Hour})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(s.Close)
	return s
}

// Get implements [store.Store].
func (m *mortal) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	if m.armed && m.before != nil && m.before("get", key.Kind) {
		m.die()
	}
	return m.Store.Get(ctx, key)
}

// PutFencedIf implements [store.Store].
func (m *mortal) PutFencedIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence, version uint64) error {
	err := m.Store.PutFencedIf(ctx, key, value, ttl, fence, version)
	if m.armed && m.after != nil && m.after("put-fenced-if", key.Kind) {
		m.die()
	}
	return err
}

// rotating is a HelseID that gives each refresh token once.
type rotating struct {
	session.HelseID
	mu     sync.Mutex // guards what follows
	valid  string
	issued int
}

// Refresh implements [session.HelseID].
func (r *rotating) Refresh(_ context.Context, token string, _ helseid.Request) (*helseid.Grant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if token != r.valid {
		return nil, fmt.Errorf("%s instead of %s", token, r.valid)
	}
	r.issued++
	r.valid = fmt.Sprintf("rt-%d", r.issued)
	return &helseid.Grant{
		Token: &oauth2.Token{AccessToken: "at"}, Sent: time.Now(), Lifetime: time.Hour, IDToken: "id-token",
		RefreshToken: r.valid, RefreshLifetime: time.Hour,
	}, nil
}

// VerifyIDToken implements [session.HelseID].
func (*rotating) VerifyIDToken(context.Context, string, string) (helseid.Person, error) {
	return helseid.Person{Subject: "sub-1", PID: "synthetic-pid"}, nil
}

// Revoke implements [session.HelseID].
func (*rotating) Revoke(context.Context, string) error { return nil }
