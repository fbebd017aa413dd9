//go:build unix

package store

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// info is a number of the server's own account.
func (s *redisServer) info(t testing.TB, section, field string) float64 {
	t.Helper()
	_, rest, _ := strings.Cut(s.cli(t, "INFO", section), "\n"+field+":")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	must(t, err)
	return n
}

// BenchmarkRedisServer says what a call costs the server in processor time, which is
// what bounds one server: docs/scale.md plans with it.
func BenchmarkRedisServer(b *testing.B) {
	s := startRedisTCP(b)
	r := openTest(b, s.url())
	must(b, r.Put(b.Context(), one, token, time.Hour))
	for _, c := range []struct {
		name string
		call func(i int)
	}{
		{"get", func(int) { _, _ = r.Get(b.Context(), one) }},
		{"put-2000", func(i int) { _ = r.Put(b.Context(), Key{"token", strconv.Itoa(i % 10_000)}, token, time.Hour) }},
		{"put-0", func(i int) { _ = r.Put(b.Context(), Key{"used", strconv.Itoa(i % 10_000)}, nil, time.Hour) }},
		{"lock-release", func(i int) {
			if h, err := r.Lock(b.Context(), Key{"refresh", strconv.Itoa(i)}); err == nil {
				h.Release()
			}
		}},
		{"watch-stop", func(i int) {
			if _, stop, err := r.Watch(b.Context(), Key{"session", strconv.Itoa(i)}); err == nil {
				stop()
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const at = 16
			before, done := s.info(b, "cpu", "used_cpu_user")+s.info(b, "cpu", "used_cpu_sys"), 0
			for n := 0; b.Loop(); n++ { // sixteen at a time, as replicas come
				var all sync.WaitGroup
				for i := range at {
					all.Go(func() {
						for j := range 16 {
							c.call(n*256 + i*16 + j)
						}
					})
				}
				all.Wait()
				done += 256
			}
			after := s.info(b, "cpu", "used_cpu_user") + s.info(b, "cpu", "used_cpu_sys")
			b.ReportMetric((after-before)*1e6/float64(done), "server-µs/call")
		})
	}
}

// TestRedisListeners measures what those who listen cost the server, and holds it to
// what docs/scale.md plans with.
func TestRedisListeners(t *testing.T) {
	const replicas, names, mostName, mostConnection = 4, 5000, 200, 100_000
	s := startRedis(t)
	used := func() float64 { return s.info(t, "memory", "used_memory") }
	openTest(t, s.url()).noteKeys()
	clients := func() float64 { return s.info(t, "clients", "connected_clients") }
	before, connected := used(), clients()
	all := make([]*Redis, replicas)
	for i := range all {
		all[i] = openTest(t, s.url())
		_, _ = all[i].Get(t.Context(), one)
		_, _, err := all[i].Watch(t.Context(), one)
		must(t, err)
	}
	each := (used() - before) / (clients() - connected)
	t.Logf("a connection: %.0f bytes", each)
	if each > mostConnection {
		t.Errorf("a connection takes %.0f bytes, at most %d are documented", each, mostConnection)
	}
	before = used()
	for _, r := range all {
		var group sync.WaitGroup
		for worker := range 10 {
			group.Go(func() {
				for i := worker; i < names; i += 10 {
					if _, _, err := r.Watch(t.Context(), Key{"session", fmt.Sprintf("%043d", i)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
	}
	each = (used() - before) / (replicas * names)
	t.Logf("a name that a replica listens to: %.0f bytes", each)
	if each > mostName {
		t.Errorf("a name listened to takes %.0f bytes, at most %d are documented", each, mostName)
	}
}
