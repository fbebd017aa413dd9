package store

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// heardAhead is how many messages wait for who hears them; what comes beyond is lost.
	heardAhead = 4096
	// heardSize is how long a message is at most: an ID, sealed.
	heardSize = 512
	// hearAgain is how long it is, about, until one who can't hear tries again. They should
	// not all come at once to a server that was down.
	hearAgain = time.Second
)

var _ Teller = (*Redis)(nil)

// KEYS: channel. ARGV: the server's command, message.
var tellScript = newScript(1, `return redis.call(ARGV[1], KEYS[1], ARGV[2])`)

// channel is where a kind is told of: one for all IDs, and so in a cluster at one node.
func (r *Redis) channel(kind string) string { return r.seal.name(Key{"told-" + kind, "all"}) }

// Tell implements [Teller]. The message is sealed as an entry of the channel's name.
func (r *Redis) Tell(ctx context.Context, kind, id string) error {
	name := r.channel(kind)
	_, err := r.do(ctx, "tell", name, func(ctx context.Context) (any, error) {
		return tellScript.run(ctx, r.engine, name, r.publish, r.seal.seal(name, id, nil))
	})
	return err
}

// Hear implements [Teller].
func (r *Redis) Hear(kind string, heard func(id string)) (stop func()) {
	ctx, stop := context.WithCancel(r.life)
	e := &ear{store: r, name: r.channel(kind), heard: heard, messages: make(chan string, heardAhead)}
	r.work.start(func() { e.listen(ctx) })
	return stop
}

// ear hears what is told on one channel, through one line after the other.
type ear struct {
	store    *Redis
	name     string
	heard    func(id string)
	messages chan string
	hears    atomic.Pointer[hearing] // nil while it does not
}

func (e *ear) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if h, err := e.subscribe(ctx); err == nil {
			e.hears.Store(h)
			e.pass(ctx, h.lost)
			e.hears.Store(nil)
			h.leave()
		}
		select {
		case <-time.After(hearAgain/2 + rand.N(hearAgain)):
		case <-ctx.Done():
		}
	}
}

// subscribe returns when the server has confirmed.
func (e *ear) subscribe(ctx context.Context) (h *hearing, err error) {
	_, err = e.store.do(ctx, "hear", e.name, func(ctx context.Context) (any, error) {
		h, err = e.store.hub.hear(ctx, e.name, e.take)
		return nil, err
	})
	return h, err
}

// take is called by the line, which waits for nobody.
func (e *ear) take(message string) {
	if len(message) > heardSize {
		return
	}
	select {
	case e.messages <- message:
	default:
	}
}

func (e *ear) pass(ctx context.Context, lost <-chan struct{}) {
	for {
		select {
		case message := <-e.messages:
			// One that does not open is somebody else's, and says nothing.
			if id, _, err := e.store.seal.open(e.name, []byte(message)); err == nil {
				e.heard(id)
			}
		case <-lost:
			return
		case <-ctx.Done():
			return
		}
	}
}
