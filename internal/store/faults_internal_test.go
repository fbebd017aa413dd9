//go:build unix

package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A server that is dead or slow is an error and never a miss, costs a bounded time,
// soon next to nothing, and is found again.
func TestRedisDown(t *testing.T) {
	checkLeaks(t)
	for name, fault := range map[string]struct {
		down, up func(*redisServer, testing.TB)
	}{
		"killed": {func(s *redisServer, _ testing.TB) { s.kill() }, (*redisServer).run},
		"paused": {(*redisServer).pause, (*redisServer).resume},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := startRedisTCP(t), t.Context()
			var mu sync.Mutex
			var told []string
			r := openTest(t, s.url(), func(o *RedisOptions) {
				o.Timeout = 200 * time.Millisecond
				o.Warn = func(text string, err error) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, fmt.Sprint(time.Now().Format("05.000 "), text, " ", err))
				}
			})
			must(t, r.Put(ctx, one, []byte("v"), time.Hour))
			changed, stop, err := r.Watch(ctx, one)
			must(t, err)
			defer stop()
			fault.down(s, t)
			for i, call := range []func() error{
				func() error { _, err := r.Get(ctx, one); return err },
				func() error { return r.Put(ctx, one, nil, time.Hour) },
				func() error { _, err := r.Take(ctx, Key{"state", "x"}); return err },
				func() error { return r.PutIf(ctx, one, nil, time.Hour, 0) },
				func() error { _, err := r.Lock(ctx, one); return err },
				func() error { _, _, err := r.Watch(ctx, Key{"session", "two"}); return err },
				func() error { return r.Check(ctx) },
			} {
				begun := time.Now()
				err := call()
				if refusal(err) == "" || errors.Is(err, ErrMissing) || errors.Is(err, ErrChanged) {
					t.Errorf("call %d: %v", i, err)
				}
				if took := time.Since(begun); took > 2*r.o.Timeout {
					t.Errorf("call %d took %v", i, took)
				}
			}
			begun, n := time.Now(), 0
			for ; time.Since(begun) < time.Second; n++ {
				if _, err := r.Get(ctx, one); refusal(err) == "" {
					t.Fatal(err)
				}
			}
			if n < 1000 { // five, were each to wait
				t.Errorf("%d calls in a second of a server that is down", n)
			}
			fault.up(s, t)
			within(t, 5*time.Second, "the server is asked again", func() bool {
				return r.Put(ctx, one, []byte("w"), time.Hour) == nil
			})
			select {
			case <-changed:
			case <-time.After(5 * time.Second):
				t.Error("the watcher was not woken")
			}
			within(t, 5*time.Second, "changes are heard of again", func() bool {
				_, stop, err := r.Watch(ctx, one)
				if err == nil {
					stop()
				}
				return err == nil
			})
			within(t, 5*time.Second, "nothing is listened to for nobody", func() bool {
				return s.cli(t, "PUBSUB", "CHANNELS", "*") == ""
			})
			mu.Lock()
			defer mu.Unlock()
			if len(told) != 2 {
				t.Errorf("told %q", told)
			}
			lockNow(t, r, one).Release()
		})
	}
}

// With one of three nodes gone, the names of the others are as before.
func TestRedisNodeDown(t *testing.T) {
	checkLeaks(t)
	nodes, ctx := startCluster(t), t.Context()
	for _, n := range nodes {
		n.cli(t, "CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
	r := openTest(t, fmt.Sprintf("redis://%s?cluster=true&addr=%s", nodes[0].address, nodes[1].address))
	at := map[string][]Key{} // by node
	for i := range 30 {
		k := Key{"session", fmt.Sprint(i)}
		must(t, r.Put(ctx, k, nil, time.Hour))
		node, err := r.engine.node(ctx, r.seal.name(k))
		must(t, err)
		at[node.Options().Addr] = append(at[node.Options().Addr], k)
	}
	nodes[2].pause(t)
	defer nodes[2].resume(t)
	for range restAfter {
		if _, err := r.Get(ctx, at[nodes[2].address][0]); refusal(err) == "" {
			t.Error("a node that is paused answered")
		}
	}
	for _, n := range nodes[:2] {
		for _, k := range at[n.address] {
			if _, err := r.Get(ctx, k); err != nil {
				t.Errorf("on a node that works: %v", err)
			}
		}
	}
	begun := time.Now()
	for range 100 {
		_, _ = r.Get(ctx, at[nodes[2].address][0])
		if r.State().Resting.IsZero() {
			t.Fatal("a node that is paused does not rest")
		}
	}
	if took := time.Since(begun); took > 3*r.o.Timeout {
		t.Errorf("100 calls for the node that is paused took %v", took)
	}
}

// What the master of before has told to its replica is there after the failover.
func TestRedisSentinel(t *testing.T) {
	checkLeaks(t)
	master, ctx := startRedisTCP(t, "--repl-diskless-sync-delay", "0"), t.Context()
	host, port, _ := net.SplitHostPort(master.address)
	startRedisTCP(t, "--replicaof", host+" "+port, "--repl-ping-replica-period", "1")
	sentinel := startSentinel(t, master)
	r := openTest(t, "redis://"+sentinel+"?master_name=main", func(o *RedisOptions) { o.Timeout = 200 * time.Millisecond })
	must(t, r.Check(ctx))
	must(t, r.Put(ctx, one, []byte("v"), time.Hour))
	two := Key{one.Kind, "two"}
	must(t, r.Put(ctx, two, []byte("v"), time.Hour))
	for key, in := range map[Key]time.Duration{one: time.Hour, two: 0} {
		_, err := r.Due(ctx, key, in)
		must(t, err)
	}
	held := lockNow(t, r, one)
	within(t, 10*time.Second, "the replica has it all", func() bool {
		n, err := r.engine.single.Wait(ctx, 1, 100*time.Millisecond).Result()
		return n == 1 && err == nil
	})
	changed, stop, err := r.Watch(ctx, one)
	must(t, err)
	defer stop()
	begun := time.Now()
	master.kill()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Error("the watcher was not woken")
	}
	within(t, 20*time.Second, "the replica has taken over", func() bool {
		return r.PutFenced(ctx, one, []byte("w"), time.Hour, held.Fence()) == nil
	})
	t.Logf("failed over after %v", time.Since(begun))
	held.Release()
	within(t, 10*time.Second, "the lock is free", func() bool {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		next, err := r.Lock(short, one)
		if err != nil {
			return false
		}
		defer next.Release()
		return next.Fence() > held.Fence()
	})
	if e, err := r.Get(ctx, one); err != nil || string(e.Value) != "w" {
		t.Errorf("%q, %v", e.Value, err)
	}
	for _, want := range []int{1, 0} { // once
		keys, next, err := r.Claim(ctx, one.Kind, time.Minute)
		if err != nil || len(keys) != want || want == 1 && keys[0] != two || next > time.Minute {
			t.Errorf("of what was noted before, %v has fallen due, want %d; next in %v, %v", keys, want, next, err)
		}
	}
	listed := 0
	_, err = r.List(ctx, one.Kind, func(items []Item) error { listed += len(items); return nil })
	if listed != 2 || err != nil {
		t.Errorf("%d entries are listed, want 2, %v", listed, err)
	}
}

// A fenced write is with the replica when it returns, and is only late where the
// replica does not answer.
func TestRedisWaitsForReplicas(t *testing.T) {
	checkLeaks(t)
	master, ctx := startRedisTCP(t, "--repl-diskless-sync-delay", "0"), t.Context()
	host, port, _ := net.SplitHostPort(master.address)
	replica := startRedisTCP(t, "--replicaof", host+" "+port)
	var late atomic.Int32
	r := openTest(t, master.url()+"?wait_replicas=1", func(o *RedisOptions) {
		o.Observe = func(op string, failed Reason, _ time.Duration) {
			if op == "replicate" && failed == Slow {
				late.Add(1)
			}
		}
	})
	mirror := openTest(t, replica.url())
	h := lockNow(t, r, one)
	must(t, r.PutFenced(ctx, one, []byte("first"), time.Hour, h.Fence()))
	within(t, 20*time.Second, "the replica is there", func() bool {
		_, err := mirror.Get(ctx, one)
		return err == nil && r.PutFenced(ctx, one, nil, time.Hour, h.Fence()) == nil
	})
	late.Store(0)
	for i := range 200 {
		must(t, r.PutFenced(ctx, one, fmt.Append(nil, i), time.Hour, h.Fence()))
		if e, err := mirror.Get(ctx, one); err != nil || string(e.Value) != fmt.Sprint(i) {
			t.Fatalf("the replica has %q instead of %d, %v", e.Value, i, err)
		}
	}
	if late.Load() != 0 {
		t.Errorf("%d writes were late", late.Load())
	}
	replica.pause(t)
	defer replica.resume(t)
	must(t, r.PutFenced(ctx, one, nil, time.Hour, h.Fence()))
	if err := r.PutFenced(ctx, one, nil, time.Hour, h.Fence()-1); !errors.Is(err, ErrFenced) {
		t.Errorf("an older holder: %v, want ErrFenced", err)
	}
	if late.Load() == 0 {
		t.Error("nobody was told that the replica is late")
	}
	late.Store(0)
	must(t, r.PutIf(ctx, Key{"session", "two"}, nil, time.Hour, 0))
	if late.Load() != 1 {
		t.Error("a change of a session did not wait for the replica")
	}
	must(t, r.Put(ctx, Key{"session", "two"}, nil, time.Hour))
	if late.Load() != 1 {
		t.Error("a note waited for the replica")
	}
	h.Release()
}

// A connection that does not confirm in time wakes those who listen at it, and the next
// who watches opens another, which may lead to another master.
func TestLineThatSaysNothing(t *testing.T) {
	checkLeaks(t)
	s := startRedis(t)
	r := openTest(t, s.url(), func(o *RedisOptions) { o.Timeout = 200 * time.Millisecond })
	changed, stop, err := r.Watch(t.Context(), Key{"k", "first"})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s.pause(t)
	gone, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := r.Watch(gone, Key{"k", "second"}); err == nil {
		t.Error("a paused server confirmed")
	}
	select {
	case <-changed:
		t.Error("who did not wait long enough ended the line")
	default:
	}
	if _, _, err := r.Watch(t.Context(), Key{"k", "second"}); err == nil {
		t.Error("a paused server confirmed")
	}
	select {
	case <-changed:
	case <-time.After(time.Second):
		t.Error("who listened was not woken")
	}
	s.resume(t)
	within(t, 5*time.Second, "it is watched again", func() bool {
		_, stop, err := r.Watch(t.Context(), Key{"k", "second"})
		if err == nil {
			stop()
		}
		return err == nil
	})
}
