//go:build unix

package store

import (
	"context"
	"strings"
	"testing"
	"time"
)

// present is somebody who attends, and is seen.
func present(t *testing.T, r *Redis) *attendance {
	t.Helper()
	a := r.Attend().(*attendance)
	within(t, 5*time.Second, "it is seen", func() bool { return a.Seen(t.Context()) })
	return a
}

// finds fails the test unless b finds a to be there, or not.
func finds(t *testing.T, b, a *attendance, want bool) {
	t.Helper()
	there, err := b.look(t.Context(), a.id)
	must(t, err)
	if there != want {
		t.Errorf("it is there: %v, want %v", there, want)
	}
}

func awaits(t *testing.T, b, a *attendance, want bool) {
	t.Helper()
	within(t, 5*time.Second, "it is there or not as it should", func() bool {
		there, err := b.look(t.Context(), a.id)
		return err == nil && there == want
	})
}

// A process is there until its connection ends, in a cluster, too, whoever listens to
// everything.
func TestRedisPresence(t *testing.T) {
	checkLeaks(t)
	single := startRedis(t)
	for name, url := range map[string]string{
		"single":  single.url(),
		"cluster": "redis://" + startCluster(t)[0].address + "?cluster=true",
	} {
		t.Run(name, func(t *testing.T) {
			one, two := openTest(t, url), openTest(t, url)
			a, b := present(t, one), present(t, two)
			finds(t, a, b, true)
			finds(t, b, a, true)
			finds(t, a, a, true)
			b.Leave()
			awaits(t, a, b, false)
			if b.Seen(t.Context()) {
				t.Error("who has left is seen")
			}
			c := present(t, two)
			must(t, two.Close())
			awaits(t, a, c, false)
			if c.Seen(t.Context()) || c.Gone(t.Context(), a.id, 0) {
				t.Error("who has ended is seen, or sees")
			}
			if name == "single" {
				everything := one.engine.PSubscribe(t.Context(), "*")
				defer everything.Close()
				_, err := everything.Receive(t.Context())
				must(t, err)
				finds(t, a, c, false)
				finds(t, a, a, true)
			}
		})
	}
	if channels := single.cli(t, "PUBSUB", "CHANNELS", "*"); strings.Contains(channels, "all") {
		t.Errorf("the channels are %q", channels)
	}
}

// Who looks must itself be seen at the server that is asked, and have been for longer
// than the other may be away.
func TestRedisPresenceIsSure(t *testing.T) {
	checkLeaks(t)
	s := startRedisTCP(t)
	one, two := openTest(t, s.url()), openTest(t, s.url())
	a, b := present(t, one), present(t, two)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, gone := range map[string]bool{
		"it is there":                        a.Gone(t.Context(), b.id, 0),
		"the connection is younger":          a.Gone(t.Context(), "nobody", time.Hour),
		"it is no older, as far as is known": a.Gone(t.Context(), "nobody", time.Since(a.ear.hears.Load().since)),
		"nobody waits":                       a.Gone(stopped, "nobody", 0),
	} {
		if gone {
			t.Errorf("gone, though %s", name)
		}
	}
	elsewhere := &attendance{store: one, ear: &ear{name: one.presence("elsewhere")}}
	if _, err := elsewhere.look(t.Context(), b.id); err == nil {
		t.Error("a server at which nobody listens was believed")
	}
}

// Since when one listens is not since when the connection stands: what a node of a cluster
// has was another's before.
func TestRedisHearsSince(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	first, err := r.hub.hear(ctx, "sfm:one", func(string) {})
	must(t, err)
	time.Sleep(100 * time.Millisecond)
	later := time.Now()
	second, err := r.hub.hear(ctx, "sfm:two", func(string) {})
	must(t, err)
	again, err := r.hub.hear(ctx, "sfm:one", func(string) {})
	must(t, err)
	if !first.since.Before(later) || second.since.Before(later) || !again.since.Equal(first.since) {
		t.Errorf("listens since %v, since %v, and since %v", first.since, second.since, again.since)
	}
}

// A process that has ended is gone after ten seconds. Who was seen within them is not, and
// where the server was replaced, before or within, nobody can tell: one that was only
// stopped has no connection then.
func TestRedisGone(t *testing.T) {
	for name, c := range map[string]struct {
		before, within func(t *testing.T, s *redisServer, b *attendance)
		gone           bool
	}{
		"ended":               {leave, nil, true},
		"stays":               {nil, nil, false},
		"seen within":         {leave, attend, false},
		"server died before":  {restart, nil, false},
		"server died within":  {leave, restart, false},
		"server died, and it": {restartAndLeave, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRedisTCP(t)
			one, two := openTest(t, s.url()), openTest(t, s.url())
			a, b := present(t, one), present(t, two)
			time.Sleep(olderBy + 100*time.Millisecond) // stands for the time before anything happens
			sent := time.Now()
			if c.before != nil {
				c.before(t, s, b)
			}
			within(t, 5*time.Second, "who looks is seen", func() bool { return a.Seen(t.Context()) })
			begun, done := time.Now(), make(chan struct{})
			go func() {
				defer close(done)
				time.Sleep(3500 * time.Millisecond) // between two looks
				if c.within != nil {
					c.within(t, s, b)
				}
			}()
			if gone := a.Gone(t.Context(), b.id, time.Since(sent)); gone != c.gone {
				t.Errorf("gone: %v", gone)
			}
			if took := time.Since(begun); c.gone && took < 9900*time.Millisecond {
				t.Errorf("that took %v", took)
			}
			<-done
		})
	}
}

func leave(t *testing.T, _ *redisServer, b *attendance) {
	b.Leave()
	within(t, 5*time.Second, "it has left", func() bool { return b.ear.hears.Load() == nil })
}

func restart(t *testing.T, s *redisServer, _ *attendance) {
	s.kill()
	s.run(t)
}

func restartAndLeave(t *testing.T, s *redisServer, b *attendance) {
	b.Leave()
	restart(t, s, b)
}

// attend has somebody listen under an ID for two seconds.
func attend(t *testing.T, _ *redisServer, b *attendance) {
	h, err := b.store.hub.hear(t.Context(), b.ear.name, func(string) {})
	if err != nil {
		t.Error(err)
		return
	}
	time.Sleep(2 * time.Second) // two looks
	h.leave()
}
