//go:build unix

package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func leased(d time.Duration) func(*RedisOptions) { return func(o *RedisOptions) { o.Lease = d } }

func TestRedisLeaseIsRenewed(t *testing.T) {
	checkLeaks(t)
	s := startRedis(t)
	a, b := openTest(t, s.url(), leased(300*time.Millisecond)), openTest(t, s.url())
	held := lockNow(t, a, one)
	short, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	if h, err := b.Lock(short, one); err == nil {
		h.Release() // else the next would wait for it for ever
		t.Fatal("the lock went to another although its lease is renewed")
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after four leases: %v, want deadline exceeded", err)
	}
	if err := held.Context().Err(); err != nil {
		t.Error(err)
	}
	begun := time.Now()
	woken := make(chan time.Duration)
	go func() {
		h, err := b.Lock(t.Context(), one)
		if err == nil {
			h.Release()
		}
		woken <- time.Since(begun)
	}()
	within(t, 5*time.Second, "the other listens", func() bool { return s.cli(t, "PUBSUB", "CHANNELS", "sfm:lock-*") != "" })
	begun = time.Now()
	held.Release()
	if took := <-woken; took > 500*time.Millisecond {
		t.Errorf("the waiter got it after %v, as if nobody had told it", took)
	}
}

func TestRedisHolderDies(t *testing.T) {
	s := startRedis(t)
	dead, b := openTest(t, s.url(), leased(400*time.Millisecond)), openTest(t, s.url())
	first := lockNow(t, dead, one)
	must(t, dead.engine.Close()) // no renewal, no release
	begun := time.Now()
	second := lockNow(t, b, one)
	if took := time.Since(begun); took > 600*time.Millisecond {
		t.Errorf("the next got it after %v", took)
	}
	if second.Fence() <= first.Fence() {
		t.Errorf("fence %d after %d", second.Fence(), first.Fence())
	}
	select {
	case <-first.Context().Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the holder does not know")
	}
	if cause := context.Cause(first.Context()); !errors.Is(cause, ErrLost) {
		t.Errorf("it ended with %v", cause)
	}
	first.Release()
}

func TestRedisLockIsLost(t *testing.T) {
	checkLeaks(t)
	for name, lose := range map[string]func(*testing.T, *redisServer){
		"removed by others": func(t *testing.T, s *redisServer) { s.cli(t, "FLUSHALL") },
		"taken by others": func(t *testing.T, s *redisServer) {
			s.cli(t, "SET", s.names(t, "sfm:lock-*")[0], "other", "PX", "60000")
		},
		"server killed": func(_ *testing.T, s *redisServer) { s.kill() },
		"server paused": func(t *testing.T, s *redisServer) { s.pause(t); t.Cleanup(func() { s.resume(t) }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := startRedis(t)
			r := openTest(t, s.url(), leased(600*time.Millisecond))
			held := lockNow(t, r, one)
			begun := time.Now()
			lose(t, s)
			select {
			case <-held.Context().Done():
			case <-time.After(5 * time.Second):
				t.Fatal("the holder does not know")
			}
			if took := time.Since(begun); took > 600*time.Millisecond {
				t.Errorf("the holder was told after %v, later than others may have it", took)
			}
			if cause := context.Cause(held.Context()); !errors.Is(cause, ErrLost) {
				t.Errorf("it ended with %v", cause)
			}
			held.Release()
			must(t, r.Close()) // what the release does is done
			if name == "taken by others" && s.cli(t, "GET", s.names(t, "sfm:lock-*")[0]) != "other" {
				t.Error("the other's lock was released")
			}
			if name == "removed by others" {
				r = openTest(t, s.url())
				lockNow(t, r, one).Release()
			}
		})
	}
}

// A lock that can't be given back, since the server is gone, keeps nobody of the same
// process waiting: they learn at once that it is.
func TestRedisReleaseWithoutServer(t *testing.T) {
	checkLeaks(t)
	s := startRedis(t)
	r := openTest(t, s.url())
	held := lockNow(t, r, one)
	s.kill()
	held.Release()
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := r.Lock(short, one); short.Err() != nil || refusal(err) != Unreachable && refusal(err) != Resting {
		t.Errorf("the next: %v", err)
	}
	s.run(t)
	long, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	within(t, 8*time.Second, "the lock can be had", func() bool {
		h, err := r.Lock(long, one)
		if err == nil {
			h.Release()
		}
		return err == nil
	})
}

// A store that ends just when a lock was got does not leave it to its lease.
func TestRedisLockAtTheEnd(t *testing.T) {
	s := startRedis(t)
	r := openTest(t, s.url())
	turn, err := r.queue.Lock(t.Context(), one)
	must(t, err)
	r.work.wait() // as Close does, while the connection is still there
	if _, err := r.obtain(t.Context(), one, turn); err == nil {
		t.Fatal("a store that has ended gave a lock")
	}
	if left := s.names(t, "sfm:lock-*"); len(left) != 0 {
		t.Errorf("%d locks are left", len(left))
	}
}

// A short pause of the server costs no lock.
func TestRedisLockOutlivesAPause(t *testing.T) {
	s := startRedis(t)
	r := openTest(t, s.url(), leased(1500*time.Millisecond))
	held := lockNow(t, r, one)
	s.pause(t)
	select {
	case <-held.Context().Done():
		t.Error("lost")
	case <-time.After(700 * time.Millisecond): // longer than a renewal's turn
	}
	s.resume(t)
	select {
	case <-held.Context().Done():
		t.Error("lost after the pause")
	case <-time.After(1600 * time.Millisecond): // longer than the lease
	}
	held.Release()
}

// A lock that was taken while the answer was lost is given back.
func TestRedisLockWithoutAnswer(t *testing.T) {
	s := startRedis(t)
	r := openTest(t, s.url(), func(o *RedisOptions) { o.Timeout = 100 * time.Millisecond })
	lockNow(t, r, Key{"refresh", "before"}).Release() // the script is known
	s.pause(t)
	if _, err := r.Lock(t.Context(), one); refusal(err) != Slow {
		t.Errorf("%v, want %q", err, Slow)
	}
	s.resume(t)
	within(t, 5*time.Second, "the lock is free", func() bool { return len(s.names(t, "sfm:lock-*")) == 0 })
}

// Whoever waits is told, and does not ask over and over.
func TestRedisWaitersAreQuiet(t *testing.T) {
	s := startRedis(t)
	var asked atomic.Int32
	a, b := openTest(t, s.url()), openTest(t, s.url(), func(o *RedisOptions) {
		o.Observe = func(op string, _ Reason, _ time.Duration) {
			if op == "lock" {
				asked.Add(1)
			}
		}
	})
	held := lockNow(t, a, one)
	got := make(chan error)
	go func() {
		h, err := b.Lock(t.Context(), one)
		if err == nil {
			h.Release()
		}
		got <- err
	}()
	listens := func() bool { return s.cli(t, "PUBSUB", "CHANNELS", "sfm:lock-*") != "" }
	within(t, 5*time.Second, "the other listens", listens)
	channel := s.cli(t, "PUBSUB", "CHANNELS", "sfm:lock-*")
	s.cli(t, "PUBLISH", channel, "") // a word that is not true
	select {
	case err := <-got:
		t.Fatalf("the lock is held by two (%v)", err)
	case <-time.After(500 * time.Millisecond): // long enough to ask a hundred times
	}
	held.Release()
	must(t, <-got)
	if n := asked.Load(); n > 5 {
		t.Errorf("asked %d times", n)
	}
}

// The end of a store gives its locks back.
func TestRedisCloseGivesLocksBack(t *testing.T) {
	checkLeaks(t)
	s := startRedis(t)
	a, b := openTest(t, s.url()), openTest(t, s.url())
	held := lockNow(t, a, one)
	must(t, a.Close())
	begun := time.Now()
	lockNow(t, b, one).Release()
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the next got it after %v", took)
	}
	if !errors.Is(context.Cause(held.Context()), ErrLost) {
		t.Errorf("the holder was told %v", context.Cause(held.Context()))
	}
	held.Release()
	if _, err := a.Lock(t.Context(), one); err == nil {
		t.Error("a closed store gave a lock")
	}
}

// A clock of the server that is set back makes no fence smaller.
func TestRedisFenceNeverFalls(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	ahead := uint64(time.Now().Add(time.Hour).UnixMicro())
	must(t, r.engine.single.Set(ctx, namePrefix("fence-session")+r.seal.tag("one"), ahead, time.Hour).Err())
	for want := ahead + 1; want < ahead+4; want++ {
		h := lockNow(t, r, one)
		if h.Fence() != want {
			t.Errorf("fence %d, want %d", h.Fence(), want)
		}
		h.Release()
	}
}

// Who waits in the same process while the release gets no answer is told that by the
// server, and does not wait for the lease.
func TestRedisReleaseUnanswered(t *testing.T) {
	checkLeaks(t)
	s := startRedis(t)
	r := openTest(t, s.url())
	h := lockNow(t, r, one)
	failed := make(chan error, 1)
	go func() {
		_, err := r.Lock(t.Context(), one)
		failed <- err
	}()
	s.pause(t)
	begun := time.Now()
	h.Release()
	err := <-failed
	if took := time.Since(begun); refusal(err) == "" || took > 5*r.o.Timeout {
		t.Errorf("after %v: %v", took, err)
	}
	s.resume(t)
}
