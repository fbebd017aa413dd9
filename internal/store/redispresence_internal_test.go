//go:build unix

package store

import (
	"strings"
	"testing"
	"time"
)

// attended fails the test unless a process is found to be there, or not.
func attended(t *testing.T, r *Redis, id string, want bool) {
	t.Helper()
	got, err := r.Attended(t.Context(), id)
	must(t, err)
	if got != want {
		t.Errorf("%q is there: %v, want %v", id, got, want)
	}
}

// A process is there until its connection ends, in a cluster, too.
func TestRedisPresence(t *testing.T) {
	checkLeaks(t)
	for name, url := range map[string]string{
		"single":  startRedis(t).url(),
		"cluster": "redis://" + startCluster(t)[0].address + "?cluster=true",
	} {
		t.Run(name, func(t *testing.T) {
			a, b := openTest(t, url), openTest(t, url)
			attends, stop := a.Attend("one")
			defer stop()
			within(t, 5*time.Second, "it is there", attends)
			attended(t, b, "one", true)
			attended(t, a, "one", true)
			attended(t, b, "other", false)
			_, gone := a.Attend("other")
			within(t, 5*time.Second, "the other is there", func() bool { there, err := b.Attended(t.Context(), "other"); return err == nil && there })
			gone()
			within(t, 5*time.Second, "the other is away", func() bool { there, err := b.Attended(t.Context(), "other"); return err == nil && !there })
			attended(t, b, "one", true)
			must(t, a.Close())
			within(t, 5*time.Second, "it is away", func() bool { there, err := b.Attended(t.Context(), "one"); return err == nil && !there })
			if attends() {
				t.Error("who has ended still attends")
			}
		})
	}
}

// A server that was away knows those who are there again soon.
func TestRedisPresenceReturns(t *testing.T) {
	checkLeaks(t)
	s := startRedisTCP(t)
	a, b := openTest(t, s.url()), openTest(t, s.url())
	attends, stop := a.Attend("one")
	defer stop()
	within(t, 5*time.Second, "it is there", attends)
	s.kill()
	within(t, 5*time.Second, "it is away, and knows", func() bool { return !attends() })
	if _, err := b.Attended(t.Context(), "one"); refusal(err) == "" {
		t.Errorf("a server that is dead said who is there: %v", err)
	}
	s.run(t)
	within(t, 5*time.Second, "it is there again", func() bool { there, err := b.Attended(t.Context(), "one"); return err == nil && there })
	if channels := s.cli(t, "PUBSUB", "CHANNELS", "*"); !strings.HasPrefix(channels, "sfm:present:{") || strings.Contains(channels, "one") {
		t.Errorf("the channels are %q", channels)
	}
}
