package store

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

const (
	// presentEvery is how often Gone looks, and presentLooks how often it does.
	presentEvery = time.Second
	presentLooks = 11
	// olderBy is how much longer than needed who looks must have been there: times are
	// told by two clocks.
	olderBy = 2 * time.Second
)

var _ Presence = (*Redis)(nil)

var errElsewhere = errors.New("this process listens at another server than the one that is asked")

// KEYS: two channels. ARGV: the server's command. How many listen to each.
var presentScript = newScript(2, `
return {redis.call(ARGV[1], KEYS[1], ''), redis.call(ARGV[1], KEYS[2], '')}`)

// attendance is a channel that nobody but this process listens to. How many listen is
// counted by the server that carries a message, so no further right is needed.
//
// What is not counted may be at another server: one that others took for the master,
// or that was the master once. So who looks has its own channel counted in the same
// step, and must have listened there since before the other was seen. All these
// channels are at one node of a cluster, the one at which everybody hears of ends.
type attendance struct {
	store *Redis
	id    string
	ear   *ear
	stop  context.CancelFunc
}

func (r *Redis) presence(id string) string { return r.seal.name(Key{"present-" + id, "all"}) }

// Attend implements [Presence].
func (r *Redis) Attend() Attendance {
	ctx, stop := context.WithCancel(r.life)
	id := rand.Text()
	a := &attendance{store: r, id: id, stop: stop, ear: &ear{
		store: r, name: r.presence(id), heard: func(string) {}, messages: make(chan string, 1),
	}}
	r.work.start(func() { a.ear.listen(ctx) })
	return a
}

// ID implements [Attendance].
func (a *attendance) ID() string { return a.id }

// Leave implements [Attendance].
func (a *attendance) Leave() { a.stop() }

// Seen implements [Attendance].
func (a *attendance) Seen(ctx context.Context) bool {
	if a.ear.hears.Load() == nil {
		return false
	}
	there, err := a.look(ctx, a.id)
	return there && err == nil
}

// Gone implements [Attendance].
func (a *attendance) Gone(ctx context.Context, id string, ago time.Duration) bool {
	own := a.ear.hears.Load()
	if own == nil || time.Since(own.since) < ago+olderBy {
		return false
	}
	look := time.NewTicker(presentEvery)
	defer look.Stop()
	for n := 1; ; n++ { // counted, so that one who is stopped meanwhile has not looked
		if there, err := a.look(ctx, id); there || err != nil || a.ear.hears.Load() != own {
			return false
		}
		if n == presentLooks {
			return true
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
}

// look says whether a process is there. Who listens to everything is counted for both
// channels.
func (a *attendance) look(ctx context.Context, id string) (there bool, err error) {
	r, name := a.store, a.store.presence(id)
	answer, err := r.do(ctx, "present", name, func(ctx context.Context) (any, error) {
		return presentScript.run(ctx, r.engine, name, a.ear.name, r.publish)
	})
	if err != nil {
		return false, err
	}
	counts, ok := answer.([]any)
	if !ok || len(counts) != 2 {
		return false, notUnderstood("present")
	}
	other, _ := counts[0].(int64)
	own, _ := counts[1].(int64)
	if own == 0 {
		return false, errElsewhere
	}
	return other >= own, nil
}
