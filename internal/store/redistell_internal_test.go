//go:build unix

package store

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// listener is what somebody has heard.
type listener struct {
	mu  sync.Mutex // guards ids
	ids []string
}

func (l *listener) take(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

// times is how often an ID was heard.
func (l *listener) times(id string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, heard := range l.ids {
		if heard == id {
			n++
		}
	}
	return n
}

// wantTold has r tell until l has heard it: whoever begins to hear misses what was told
// before.
func wantTold(t *testing.T, r *Redis, l *listener, id string) {
	t.Helper()
	within(t, 5*time.Second, "it is heard", func() bool {
		_ = r.Tell(t.Context(), "session", id)
		return l.times(id) > 0
	})
}

// What one tells is heard by all, each time, in clear by none.
func TestRedisTold(t *testing.T) {
	checkLeaks(t)
	s, ctx := startRedis(t), t.Context()
	a, b := openTest(t, s.url()), openTest(t, s.url())
	var own, other, elsewhere listener
	defer a.Hear("session", own.take)()
	stop := b.Hear("session", other.take)
	defer b.Hear("another", elsewhere.take)()
	wantTold(t, a, &own, "begin")
	wantTold(t, a, &other, "begin")
	must(t, a.Tell(ctx, "session", "one"))
	must(t, b.Tell(ctx, "session", "two"))
	must(t, a.Tell(ctx, "session", "one"))
	within(t, 5*time.Second, "all is heard", func() bool {
		return own.times("one") == 2 && own.times("two") == 1 && other.times("one") == 2 && other.times("two") == 1
	})
	if len(elsewhere.ids) != 0 {
		t.Errorf("heard %q of another kind", elsewhere.ids)
	}
	channels := strings.Fields(s.cli(t, "PUBSUB", "CHANNELS", "*"))
	if len(channels) != 2 || !strings.HasPrefix(channels[0], "sfm:told-") || !strings.HasPrefix(channels[1], "sfm:told-") {
		t.Errorf("the channels are %q", channels)
	}
	stop()
	within(t, 5*time.Second, "nobody listens for who has stopped", func() bool {
		return strings.HasSuffix(s.cli(t, "PUBSUB", "NUMSUB", a.channel("session")), "\n1")
	})
}

// The message says nothing to who can read it, and what somebody else sends is nothing.
func TestRedisToldIsSealed(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	var heard listener
	var messages listener
	defer r.Hear("session", heard.take)()
	h, err := r.hub.hear(ctx, r.channel("session"), messages.take)
	must(t, err)
	defer h.leave()
	wantTold(t, r, &heard, "secret-id")
	stranger := openTest(t, s.url(), func(o *RedisOptions) { o.Keys = [][]byte{[]byte(strings.Repeat("x", keyLength))} })
	name := r.channel("session")
	for what, message := range map[string]string{
		"text":            "forged-id",
		"nothing":         "",
		"of another key":  string(stranger.seal.seal(name, "forged-id", nil)),
		"another name's":  string(r.seal.seal(r.seal.name(one), "forged-id", nil)),
		"another channel": string(r.seal.seal(r.channel("other"), "forged-id", nil)),
		"too long":        string(r.seal.seal(name, "forged-id", make([]byte, heardSize))),
	} {
		if n := r.engine.single.Publish(ctx, name, message).Val(); n != 1 {
			t.Errorf("%s: %d listened", what, n)
		}
	}
	wantTold(t, r, &heard, "last")
	if heard.times("forged-id") != 0 || len(heard.ids) != heard.times("secret-id")+heard.times("last") {
		t.Errorf("heard %q", heard.ids)
	}
	messages.mu.Lock()
	defer messages.mu.Unlock()
	if len(messages.ids) == 0 {
		t.Error("no messages were seen")
	}
	for _, m := range messages.ids {
		if strings.Contains(m, "secret") || strings.Contains(m, "last") {
			t.Error("an ID stands in a message in clear")
		}
	}
}

// A server that was gone is listened to again, and nobody waits for that.
func TestRedisToldAgain(t *testing.T) {
	checkLeaks(t)
	s := startRedis(t)
	a, b := openTest(t, s.url()), openTest(t, s.url())
	var heard listener
	defer b.Hear("session", heard.take)()
	wantTold(t, a, &heard, "before")
	s.kill()
	if err := a.Tell(t.Context(), "session", "lost"); refusal(err) == "" {
		t.Errorf("told to nobody: %v", err)
	}
	s.run(t)
	wantTold(t, a, &heard, "after")
}

// Who does not listen fast enough loses messages, and holds nobody up.
func TestRedisToldTooFast(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	var heard listener
	going := make(chan struct{})
	defer r.Hear("session", func(id string) { <-going; heard.take(id) })()
	within(t, 5*time.Second, "it is listened", func() bool {
		return strings.HasSuffix(s.cli(t, "PUBSUB", "NUMSUB", r.channel("session")), "\n1")
	})
	message := r.seal.seal(r.channel("session"), "many", nil)
	pipe := r.engine.single.Pipeline()
	for range heardAhead + 100 {
		pipe.Publish(ctx, r.channel("session"), message)
	}
	_, err := pipe.Exec(ctx)
	must(t, err)
	changed, stop, err := r.Watch(ctx, one) // by the same line
	must(t, err)
	defer stop()
	must(t, r.Put(ctx, one, nil, time.Hour))
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Error("a change was not told of")
	}
	close(going)
	wantTold(t, r, &heard, "last")
	if n := heard.times("many"); n > heardAhead+1 || n < heardAhead {
		t.Errorf("%d were heard", n)
	}
}

// In a cluster all listen at one node.
func examineTold(t *testing.T, nodes []*redisServer) {
	t.Helper()
	a, b := openTest(t, "redis://"+nodes[0].address+"?cluster=true"), openTest(t, "redis://sidecar:secret@"+nodes[1].address+"?cluster=true")
	var own, other listener
	defer a.Hear("session", own.take)()
	defer b.Hear("session", other.take)()
	wantTold(t, b, &own, "one")
	wantTold(t, a, &other, "two")
	listening := 0
	for _, n := range nodes {
		listening += len(strings.Fields(n.cli(t, "PUBSUB", "SHARDCHANNELS", "*")))
		if said := n.cli(t, "ACL", "LOG"); said != "" {
			t.Errorf("a node refused something: %s", said)
		}
	}
	if listening != 1 {
		t.Errorf("%d nodes are listened to", listening)
	}
}
