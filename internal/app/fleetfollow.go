package app

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/store"
)

const (
	// keysLook is how often the fleet's keys are read again, should no change be told.
	keysLook = time.Minute
	// keysRetry is that while the store gives none, keysFloor the least between two looks.
	keysRetry = 2 * time.Second
	keysFloor = 200 * time.Millisecond
)

// fleetKeys follows the keys that replicas share: the store tells of a change, and they are
// read again now and then. It belongs to one goroutine; what others see is in the ring.
type fleetKeys struct {
	store store.Store
	log   *slog.Logger
	ring  *dpop.Ring
	// changed is told that the ring has changed.
	changed func()

	version uint64 // of the entry that set was read from; 0 = none
	set     keySet // the fleet's, as last read
	// alone says that the key in use is this replica's own.
	alone bool
	// own are keys that the fleet's entry does not know of, or not any more: this replica
	// may hold tokens that are bound to them.
	own []earlierKey
	// trouble is what was last told to be wrong.
	trouble string

	// What the status page and the metrics tell: apart is alone, unopened says that the
	// store's keys are there and can't be opened.
	apart, unopened atomic.Bool
}

// begin uses the fleet's keys from the start.
func (f *fleetKeys) begin(s keySet) *dpop.Ring {
	f.set = s
	f.ring = dpop.NewRing(s.current, keysOf(f.kept(time.Now()))...)
	return f.ring
}

// beginAlone uses a key of this replica's own until the store gives the fleet's.
func (f *fleetKeys) beginAlone(key *dpop.Key) *dpop.Ring {
	f.alone, f.set = true, keySet{current: key, since: wholeSecond(time.Now())}
	f.apart.Store(true)
	f.ring = dpop.NewRing(key)
	return f.ring
}

// follow takes up what changes, until ctx ends.
func (f *fleetKeys) follow(ctx context.Context) {
	for ctx.Err() == nil {
		// Watched before it is read: a change between the two is not missed.
		changed, stop, err := f.store.Watch(ctx, fleetKeyName)
		if err != nil {
			changed, stop = nil, func() {}
		}
		f.look(ctx)
		pause(ctx, nil, keysFloor)
		pause(ctx, changed, f.next(err == nil))
		stop()
	}
}

// next is how long to wait for the next look.
func (f *fleetKeys) next(watched bool) time.Duration {
	wait := keysLook
	if !watched || f.alone || f.trouble != "" {
		wait = keysRetry
	}
	return wait + time.Duration(rand.Float64()*float64(wait)/10)
}

// pause waits for a change, but no longer than d.
func pause(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// look reads the keys. While they can't be had, those at hand are used on.
func (f *fleetKeys) look(ctx context.Context) {
	e, err := f.store.Get(ctx, fleetKeyName)
	switch {
	case errors.Is(err, store.ErrMissing): // the store lost its memory, or was away when this replica began
		if err = f.restore(ctx); errors.Is(err, store.ErrChanged) {
			return // another replica was quicker, which is told
		}
	case err == nil && e.Version != f.version:
		var s keySet
		if s, err = parseKeySet(e.Value); err == nil {
			f.read(s, time.Now())
			f.version = e.Version
		}
	}
	f.complain(ctx, err)
	f.show(time.Now())
	f.apart.Store(f.alone)
	if err == nil || unopened(err) {
		f.unopened.Store(err != nil)
	}
}

// restore gives the store back the keys that are in use here.
func (f *fleetKeys) restore(ctx context.Context) error {
	set := f.set
	set.earlier = f.kept(time.Now())
	err := putKeySet(ctx, f.store, set, 0)
	if err == nil {
		f.alone = false
	}
	return err
}

// read takes note of the fleet's keys. What was used here until now stays at hand, unless
// it was dropped.
func (f *fleetKeys) read(s keySet, now time.Time) {
	until := now.Add(keyOverlap)
	f.own = append([]earlierKey{{f.set.current, until}}, f.kept(now)...)
	f.alone, f.set = false, s
	if f.own = f.strangers(now); s.sole {
		f.own = nil
	}
}

// kept are the earlier keys whose time is not over: the fleet's, and behind them one's own.
func (f *fleetKeys) kept(now time.Time) []earlierKey {
	return append(alive(f.set.earlier, now), f.strangers(now)...)
}

// strangers are those of one's own keys that the fleet's entry says nothing of.
func (f *fleetKeys) strangers(now time.Time) []earlierKey {
	return slices.DeleteFunc(alive(f.own, now), func(own earlierKey) bool {
		thumbprint := own.key.Thumbprint()
		same := func(e earlierKey) bool { return e.key.Thumbprint() == thumbprint }
		return slices.ContainsFunc(f.set.earlier, same) || same(earlierKey{key: f.set.current}) || slices.Contains(f.set.dropped, thumbprint)
	})
}

func keysOf(earlier []earlierKey) []*dpop.Key {
	var keys []*dpop.Key
	for _, e := range earlier {
		keys = append(keys, e.key)
	}
	return keys
}

// show brings the ring in line with what is known at now, and tells what that changes.
func (f *fleetKeys) show(now time.Time) {
	before := f.ring.Thumbprints()
	f.ring.Replace(f.set.current, keysOf(f.kept(now))...)
	wanted := f.ring.Thumbprints()
	if slices.Equal(before, wanted) {
		return
	}
	if before[0] != wanted[0] {
		f.log.Info("took up the fleet's DPoP key", "before", before[0], "now", wanted[0])
	}
	for _, thumbprint := range before {
		if !slices.Contains(wanted, thumbprint) {
			f.log.Info("an earlier DPoP key was dropped", "thumbprint", thumbprint)
		}
	}
	f.changed()
}

// complain tells what is wrong, once.
func (f *fleetKeys) complain(ctx context.Context, err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	if ctx.Err() != nil || said == f.trouble {
		return
	}
	if f.trouble = said; said != "" {
		f.log.LogAttrs(ctx, slog.LevelWarn, "the fleet's DPoP keys can't be had; those at hand are used on", whyNoKeys(err)...)
	}
}
