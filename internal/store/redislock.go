package store

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// fenceLife is how long a lock's fence is remembered after the lock was taken:
	// for as long a clock of the server that is set back does no harm.
	fenceLife = 10 * time.Minute
	// askAgain is how long a waiter waits for word of the lock's release before it
	// asks again: what a lost message costs.
	askAgain = time.Second
	// freeAgain is how long after a failure the release of a lock is tried again.
	freeAgain = 250 * time.Millisecond
	// spread keeps those who are woken at once from asking at once.
	spread = 5 * time.Millisecond
)

// Lock implements [Store]. A holder that dies keeps the others waiting for the rest
// of its lease; a holder that can't renew its lease in time is told by the end of
// its context.
func (r *Redis) Lock(ctx context.Context, key Key) (Hold, error) {
	turn, err := r.queue.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	h, err := r.obtain(ctx, key, turn)
	if err != nil {
		turn.Release()
		return nil, err
	}
	return h, nil
}

// redisHold is a lock of the server's, held by one lease after the other.
type redisHold struct {
	store    *Redis
	name     string // of the lock
	me       string
	fence    uint64
	turn     Hold // among the waiters of this process
	ctx      context.Context
	lose     context.CancelCauseFunc
	once     sync.Once
	released chan struct{}
	renewed  time.Time // when the last good renewal was sent
}

func (r *Redis) obtain(ctx context.Context, key Key, turn Hold) (*redisHold, error) {
	h := &redisHold{
		store: r, name: namePrefix("lock-"+key.Kind) + r.seal.tag(key.ID), me: crand.Text(),
		turn: turn, released: make(chan struct{}),
	}
	fence := namePrefix("fence-"+key.Kind) + r.seal.tag(key.ID)
	if err := h.wait(ctx, fence); err != nil {
		return nil, err
	}
	h.ctx, h.lose = context.WithCancelCause(ctx)
	if !r.work.start(h.keep) {
		h.lose(ErrLost)
		h.giveBack()
		return nil, &Failure{"lock", Cancelled, errors.New("the store is closed")}
	}
	return h, nil
}

// wait asks for the lock until it is there. Word of its release is listened for
// only after the first refusal: a lock that is free costs one call.
func (h *redisHold) wait(ctx context.Context, fence string) error {
	var woken <-chan struct{} // nil where nobody listens: then it goes by asking alone
	stop := func() {}
	defer func() { stop() }()
	listen := func() bool {
		stop()
		changed, done, err := h.store.watch(ctx, h.name)
		if err != nil {
			woken, stop = nil, func() {}
			return false
		}
		woken, stop = changed, done
		return true
	}
	for asked := 0; ; asked++ {
		left, err := h.ask(ctx, fence)
		if err != nil || h.fence != 0 {
			return err
		}
		if asked == 0 && listen() {
			continue // it may have been released before anybody listened
		}
		select {
		case <-woken:
			listen()
		case <-time.After(min(left, askAgain)):
		case <-ctx.Done():
		}
		select {
		case <-time.After(rand.N(spread)):
		case <-ctx.Done():
			return fmt.Errorf("waiting for a lock: %w", context.Cause(ctx))
		}
	}
}

// ask tries to take the lock. When another has it, left is the time of its lease.
// A try of which no answer came may have worked; it is undone, so that nobody waits
// for a lease that nobody holds.
func (h *redisHold) ask(ctx context.Context, fence string) (left time.Duration, err error) {
	r, sent := h.store, time.Now()
	answer, err := r.do(ctx, "lock", h.name, func(ctx context.Context) (any, error) {
		return obtainScript.run(ctx, r.engine, h.name, fence, h.me, milliseconds(r.o.Lease), milliseconds(max(fenceLife, 2*r.o.Lease)))
	})
	if err != nil {
		if f, ok := errors.AsType[*Failure](err); ok && (f.Reason == Slow || f.Reason == Unreachable || f.Reason == Cancelled) {
			h.renewed = sent
			r.work.start(h.undo)
		}
		return 0, err
	}
	pair, ok := answer.([]any)
	if !ok || len(pair) != 2 {
		return 0, notUnderstood("lock")
	}
	got, _ := pair[0].(int64)
	ms, _ := pair[1].(int64)
	h.fence, h.renewed = uint64(got), sent
	return time.Duration(max(ms, 1)) * time.Millisecond, nil
}

func (h *redisHold) Context() context.Context { return h.ctx }
func (h *redisHold) Fence() uint64            { return h.fence }

// Release does not wait for the server.
func (h *redisHold) Release() {
	h.once.Do(func() { close(h.released) })
	h.lose(context.Canceled)
}

// keep renews the lease until the lock is released. It goes on when the context of
// the hold has ended: what the lock protects may have a time of its own.
func (h *redisHold) keep() {
	defer h.turn.Release()
	lease := h.store.o.Lease
	next := time.NewTimer(lease / 3)
	defer next.Stop()
	for {
		select {
		case <-h.released:
			h.giveBack()
			return
		case <-h.store.life.Done():
			h.lose(ErrLost)
			h.giveBack()
			return
		case <-next.C:
		}
		sent := time.Now()
		held, err := h.renew()
		switch {
		case err == nil && held:
			h.renewed = sent
			next.Reset(lease / 3)
		case err == nil || time.Since(h.renewed) >= lease*2/3:
			h.lose(ErrLost)
			h.await()
			return
		default:
			next.Reset(lease / 12)
		}
	}
}

// await waits until whoever lost the lock has gone: others of this process come
// after it.
func (h *redisHold) await() {
	select {
	case <-h.released:
		h.giveBack() // it may be held all the same, where no answer came
	case <-h.store.life.Done():
	}
}

func (h *redisHold) renew() (bool, error) {
	r := h.store
	ctx, cancel := context.WithTimeout(r.life, r.o.Lease/6)
	defer cancel()
	answer, err := r.do(ctx, "renew", h.name, func(ctx context.Context) (any, error) {
		return renewScript.run(ctx, r.engine, h.name, h.me, milliseconds(r.o.Lease))
	})
	return answer == int64(1), err
}

// giveBack frees the lock if it is ours. A server that does not answer is asked until
// the lease has run out by itself; whoever is next in this process does not wait for that.
func (h *redisHold) giveBack() {
	r := h.store
	for end := h.renewed.Add(r.o.Lease); ; {
		_, err := r.do(context.WithoutCancel(r.life), "release", h.name, func(ctx context.Context) (any, error) {
			return releaseScript.run(ctx, r.engine, h.name, h.me, r.publish)
		})
		h.turn.Release()
		if err == nil || time.Now().After(end) {
			return
		}
		// Others of this process ask for themselves: what the server says, they should
		// hear at once.
		h.turn.Release()
		select {
		case <-time.After(freeAgain):
		case <-r.life.Done():
			return
		}
	}
}

// undo frees a lock of which it is not known whether it was taken. It looks twice:
// what was sent first may arrive last.
func (h *redisHold) undo() {
	h.giveBack()
	select {
	case <-time.After(freeAgain):
		h.giveBack()
	case <-h.store.life.Done():
	}
}
