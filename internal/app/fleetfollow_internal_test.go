package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/store"
)

// follower is a replica that follows a fleet's keys.
type follower struct {
	*fleetKeys
	shared  *store.Memory
	log     bytes.Buffer
	changes int
	began   string // the thumbprint of the key that it began with
}

// newFollower is one that began with the fleet's key, or alone.
func newFollower(t *testing.T, over func(store.Store) store.Store, alone bool) *follower {
	t.Helper()
	f := &follower{shared: store.NewMemory()}
	f.fleetKeys = &fleetKeys{store: f.shared, log: slog.New(slog.NewTextHandler(&f.log, nil)), changed: func() { f.changes++ }}
	if over != nil {
		f.fleetKeys.store = over(f.shared)
	}
	set, err := firstFleetKey(t.Context(), f.shared)
	if err != nil {
		t.Fatal(err)
	}
	if alone {
		f.beginAlone(proofKeys(t, 1)[0])
	} else {
		f.begin(set)
	}
	f.began = f.ring.Current().Thumbprint()
	if f.apart.Load() != alone {
		t.Error("it is not told whose key it began with")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.follow(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return f
}

func (f *follower) rotate(t *testing.T, r rotation) string {
	t.Helper()
	r.at = time.Now()
	done, err := rotateFleetKey(t.Context(), f.shared, r)
	if err != nil {
		t.Fatal(err)
	}
	return done.keys.current.Thumbprint()
}

// want compares the ring; the key in use comes first.
func (f *follower) want(t *testing.T, thumbprints ...string) {
	t.Helper()
	synctest.Wait()
	if got := f.ring.Thumbprints(); !slices.Equal(got, thumbprints) {
		t.Fatalf("%v, want %v", got, thumbprints)
	}
}

// A rotation is seen at once, tells old and new key, and what it replaced ends in its time.
func TestFollowRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil, false)
		one := f.ring.Current().Thumbprint()
		time.Sleep(time.Second)
		two := f.rotate(t, rotation{})
		time.Sleep(keysFloor)
		f.want(t, two, one)
		if said := f.log.String(); f.changes != 1 || strings.Count(said, "took up") != 1 || !strings.Contains(said, "before="+one+" now="+two) {
			t.Errorf("%d changes: %s", f.changes, said)
		}
		time.Sleep(time.Hour)
		three := f.rotate(t, rotation{})
		time.Sleep(keysFloor)
		f.want(t, three, two, one)
		time.Sleep(keyOverlap - time.Hour + 2*keysLook)
		f.want(t, three, two)
		time.Sleep(time.Hour)
		f.want(t, three)
		if said := f.log.String(); f.changes != 4 || !strings.Contains(said, "was dropped\" thumbprint="+one) {
			t.Errorf("%d changes: %s", f.changes, said)
		}
	})
}

// mute is a store that tells of no change.
type mute struct{ store.Store }

func (mute) Watch(context.Context, store.Key) (<-chan struct{}, func(), error) {
	return nil, func() {}, nil
}

// What the store does not tell is seen within little more than a minute.
func TestFollowWithoutBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, func(s store.Store) store.Store { return mute{s} }, false)
		one := f.ring.Current().Thumbprint()
		time.Sleep(time.Second)
		two := f.rotate(t, rotation{})
		time.Sleep(keysLook + keysLook/5)
		f.want(t, two, one)
	})
}

// A key that was dropped is gone at once, here as anywhere.
func TestFollowDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil, false)
		f.rotate(t, rotation{})
		time.Sleep(time.Second)
		three := f.rotate(t, rotation{now: true})
		time.Sleep(keysFloor)
		f.want(t, three)
	})
}

// A key of one's own is kept beside the fleet's, as an earlier one, for its time.
func TestFollowAfterBeingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil, true)
		own := f.began
		time.Sleep(time.Second)
		set, err := firstFleetKey(t.Context(), f.shared)
		if err != nil {
			t.Fatal(err)
		}
		fleets := set.current.Thumbprint()
		f.want(t, fleets, own)
		next := f.rotate(t, rotation{})
		time.Sleep(time.Second)
		f.want(t, next, fleets, own)
		time.Sleep(keyOverlap + 2*keysLook)
		f.want(t, next)
	})
}

// A store that lost its memory gets the keys back; where another replica was quicker with
// a key of its own, that is taken up, and nothing is dropped.
func TestFollowStoreWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil, false)
		one := f.ring.Current().Thumbprint()
		two := f.rotate(t, rotation{})
		time.Sleep(time.Second)
		if err := f.shared.Delete(t.Context(), fleetKeyName); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		set, err := firstFleetKey(t.Context(), f.shared)
		if err != nil || set.current.Thumbprint() != two || len(set.earlier) != 1 {
			t.Fatalf("%v, %v", set.names(), err)
		}
		f.want(t, two, one)
		other, err := keySet{current: proofKeys(t, 1)[0]}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.shared.Put(t.Context(), fleetKeyName, other, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		set, _ = parseKeySet(other)
		f.want(t, set.current.Thumbprint(), two, one)
	})
}

// failing is a store that can't be reached for a while.
type failing struct {
	store.Store
	down *atomic.Bool
}

func (s failing) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	if s.down.Load() {
		return store.Entry{}, errors.New("no answer")
	}
	return s.Store.Get(ctx, key)
}

// What can't be had or read leaves the keys as they are, and is told once.
func TestFollowTrouble(t *testing.T) {
	for name, what := range map[string]string{"down": "no answer", "garbage": "can't be read"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var down atomic.Bool
				f := newFollower(t, func(s store.Store) store.Store { return failing{s, &down} }, false)
				one := f.ring.Current()
				synctest.Wait()
				if down.Store(name == "down"); !down.Load() {
					if err := f.shared.Put(t.Context(), fleetKeyName, []byte("garbage"), time.Hour); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Minute)
				f.want(t, one.Thumbprint())
				if said := f.log.String(); strings.Count(said, "can't be had") != 1 || !strings.Contains(said, what) {
					t.Errorf("said: %s", said)
				}
				down.Store(false)
				entry, err := keySet{current: proofKeys(t, 1)[0], earlier: []earlierKey{{one, time.Now().Add(time.Hour)}}}.encode()
				if err != nil {
					t.Fatal(err)
				}
				if err := f.shared.Put(t.Context(), fleetKeyName, entry, time.Hour); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * keysRetry)
				set, _ := parseKeySet(entry)
				f.want(t, set.current.Thumbprint(), one.Thumbprint())
			})
		})
	}
}

// A later version's set names the key in use; what it keeps beside that is not understood,
// so what is held here stays.
func TestFollowLaterVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil, false)
		one := f.ring.Current().Thumbprint()
		next := proofKeys(t, 1)[0]
		entry, err := next.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.shared.Put(t.Context(), fleetKeyName, append(entry, `{"format":9}`...), time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f.want(t, next.Thumbprint(), one)
	})
}

// A replica that could not open the fleet's keys uses its own, says so, and takes up those
// that are put in their place. What nobody could name is dropped.
func TestFollowUnopened(t *testing.T) {
	for name, alone := range map[string]bool{"alone": true, "with the keys of before": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locked := &shut{}
				f := newFollower(t, func(s store.Store) store.Store { locked.Store = mute{s}; return locked }, alone)
				own := f.ring.Current().Thumbprint()
				time.Sleep(time.Hour)
				f.want(t, own)
				if f.apart.Load() != alone || !f.unopened.Load() || strings.Count(f.log.String(), "rotate --now") != 1 {
					t.Errorf("apart %v, unopened %v: %s", f.apart.Load(), f.unopened.Load(), f.log.String())
				}
				done, err := rotateFleetKey(t.Context(), locked, rotation{at: time.Now(), now: true})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * keysRetry)
				f.want(t, done.keys.current.Thumbprint())
				if f.apart.Load() || f.unopened.Load() {
					t.Error("it is told that something is wrong")
				}
				if err := f.shared.Delete(t.Context(), fleetKeyName); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * keysLook)
				if set, err := firstFleetKey(t.Context(), f.shared); err != nil || !set.sole || !set.since.Equal(done.keys.since) {
					t.Errorf("the store got back another set: %v", err)
				}
			})
		})
	}
}
