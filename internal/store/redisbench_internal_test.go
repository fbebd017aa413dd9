//go:build unix

package store

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// token is of the size of an access token with what is kept beside it.
var token = bytes.Repeat([]byte("0123456789"), 200)

func BenchmarkRedis(b *testing.B) {
	r := openTest(b, startRedis(b).url())
	ctx := b.Context()
	b.Run("put", func(b *testing.B) {
		for b.Loop() {
			must(b, r.Put(ctx, one, token, time.Hour))
		}
	})
	b.Run("get", func(b *testing.B) {
		must(b, r.Put(ctx, one, token, time.Hour))
		for b.Loop() {
			_, err := r.Get(ctx, one)
			must(b, err)
		}
	})
	b.Run("get-parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := r.Get(ctx, one); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("lock", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			h, err := r.Lock(ctx, Key{"refresh", strconv.Itoa(i)})
			must(b, err)
			h.Release()
		}
	})
	b.Run("lock-again", func(b *testing.B) {
		for b.Loop() {
			h, err := r.Lock(ctx, one)
			must(b, err)
			h.Release()
		}
	})
	b.Run("watch", func(b *testing.B) {
		for b.Loop() {
			_, stop, err := r.Watch(ctx, one)
			must(b, err)
			stop()
		}
	})
}

// TestRedisMemory measures what an entry costs the server, and holds it to what
// docs/decisions/0020-shared-store.md says.
func TestRedisMemory(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	used := func() int {
		_, rest, _ := strings.Cut(s.cli(t, "INFO", "memory"), "used_memory_dataset:")
		n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
		must(t, err)
		return n
	}
	const entries = 2000
	for _, c := range []struct {
		what string
		size int
		most int
	}{
		{"a note of use", 13, 320},
		{"a session of 1500 bytes", 1500, 2000},
		{"a token of 2000 bytes", len(token), 2800},
	} {
		before := used()
		for i := range entries {
			key := Key{fmt.Sprint("k", c.size), fmt.Sprintf("%043d", i)} // as long as a session's ID
			must(t, r.Put(ctx, key, token[:c.size], time.Hour))
		}
		each := (used() - before) / entries
		t.Logf("%s: %d bytes", c.what, each)
		if each > c.most {
			t.Errorf("%s takes %d bytes, at most %d are documented", c.what, each, c.most)
		}
	}
	before := used()
	for i := range entries {
		lockNow(t, r, Key{"refresh", fmt.Sprint(i)}).Release()
	}
	within(t, 5*time.Second, "all are released", func() bool { return len(s.names(t, "sfm:lock-*")) == 0 })
	t.Logf("the fence of a lock, for ten minutes: %d bytes", (used()-before)/entries)
}
