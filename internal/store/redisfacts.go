package store

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Facts are what there is to know of a shared store before anybody depends on it.
type Facts struct {
	// Down is why no server can be asked; nil = they can, and the rest is filled.
	Down error
	// RoundTrip is the middle one of some questions without work.
	RoundTrip time.Duration
	Servers   []ServerFacts
	// Keys is how many keys can open; Names says whether the last one names what is
	// there: nil, [ErrOtherKeys], [ErrMissing] (nobody has used the store for a day), or
	// why that can't be told.
	Keys  int
	Names error
	// Denied is what the server did not do when it was tried: "write" alone, or of
	// "read", "lock", "run scripts", "hear of changes", "take", "list", in this order.
	Denied []Denial
}

// Denial is an operation that failed, and why.
type Denial struct {
	Operation string
	Err       error
}

// ServerFacts are those of one server that is written to.
type ServerFacts struct {
	// Ahead is how far its clock is ahead of this machine's. ClockKnown says that it
	// told its clock.
	Ahead      time.Duration
	ClockKnown bool
	// Settings are what it tells of itself, under the names of its INFO and CONFIG GET.
	// What it does not tell, or may not, is not there.
	Settings map[string]string
}

// settings are what is kept of a server's answers: words of the server's own, no data.
var settings = []string{
	"redis_version", "valkey_version", "server_name", "role", "maxmemory", "maxmemory_policy", "used_memory", "aof_enabled",
	"connected_slaves", "save", "min-replicas-to-write",
}

// Examine gathers the facts. It writes one entry under a name that nobody else has,
// and takes it away again; of what others have stored it changes nothing, not even
// the note of their keys. ctx bounds the whole.
func (r *Redis) Examine(ctx context.Context) Facts {
	f := Facts{Keys: len(r.seal.keys)}
	if f.RoundTrip, f.Down = r.roundTrip(ctx); f.Down != nil {
		return f
	}
	// In a cluster the masters are asked one after the other.
	f.Down = r.engine.masters(ctx, func(c *redis.Client) error {
		f.Servers = append(f.Servers, r.askServer(ctx, c))
		return nil
	})
	f.Names = r.sameNames(ctx)
	f.Denied = r.tryAll(ctx)
	return f
}

// roundTrips is how many questions are asked to measure the way.
const roundTrips = 9

func (r *Redis) roundTrip(ctx context.Context) (time.Duration, error) {
	var took []time.Duration
	name := r.noteName()
	for range roundTrips {
		begun := time.Now()
		_, err := r.do(ctx, "check", name, func(ctx context.Context) (any, error) {
			node, err := r.engine.node(ctx, name)
			if err != nil {
				return nil, err
			}
			return nil, node.Do(ctx, "ping").Err()
		})
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func (r *Redis) askServer(ctx context.Context, c *redis.Client) ServerFacts {
	f := ServerFacts{Settings: map[string]string{}}
	ask := func(args ...any) *redis.Cmd {
		ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
		defer cancel()
		return c.Do(ctx, args...)
	}
	keep := func(name, value string) {
		if slices.Contains(settings, name) {
			f.Settings[name] = value
		}
	}
	begun := time.Now()
	if now, err := ask("time").Int64Slice(); err == nil && len(now) == 2 {
		f.Ahead, f.ClockKnown = time.Unix(now[0], now[1]*1000).Sub(begun)-time.Since(begun)/2, true
	}
	text, _ := ask("info").Text() // what it does not tell is not known
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			keep(name, value)
		}
	}
	for _, name := range []string{"save", "min-replicas-to-write"} {
		if pair, err := ask("config", "get", name).StringSlice(); err == nil && len(pair) == 2 {
			keep(pair[0], pair[1])
		}
	}
	return f
}

// sameNames compares the note of the keys in use, and does not write one: a check with
// a wrong key must not keep out those who have the right one.
func (r *Redis) sameNames(ctx context.Context) error {
	name := r.noteName()
	note, err := r.bytes(ctx, "check", name, func(ctx context.Context) (any, error) {
		return r.engine.call(ctx, "get", name)
	})
	if err == nil && string(note) != r.seal.namesID() {
		return ErrOtherKeys
	}
	return err
}

// trialLife is how long what a trial writes lives, should it not be taken away.
const trialLife = 5 * time.Second

var errTrial = errors.New("what came back is not what was written")

// tryAll does once what the rooms do, and returns what failed.
func (r *Redis) tryAll(ctx context.Context) (denied []Denial) {
	r.marked.Store(time.Now().Unix()) // no note for the trial's sake
	key, value := Key{"check", crand.Text()}, []byte("check")
	try := func(op string, f func() error) {
		if err := f(); err != nil {
			denied = append(denied, Denial{op, err})
		}
	}
	try("write", func() error { return r.Put(ctx, key, value, trialLife) })
	if denied != nil {
		return denied // nothing else could go well
	}
	try("read", func() error {
		e, err := r.Get(ctx, key)
		if err == nil && !bytes.Equal(e.Value, value) {
			return errTrial
		}
		return err
	})
	try("lock", func() error { return r.tryLock(ctx, key, value) })
	try("run scripts", func() error { return r.tryScripts(ctx, r.seal.name(Key{"check", crand.Text()})) })
	try("hear of changes", func() error { return r.tryWatch(ctx, key, value) })
	try("take", func() error {
		_, err := r.Take(ctx, key)
		return err
	})
	try("list", func() error {
		_, err := r.Count(ctx, key.Kind)
		return err
	})
	return denied
}

func (r *Redis) tryLock(ctx context.Context, key Key, value []byte) error {
	hold, err := r.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer hold.Release()
	fence := namePrefix("fence-"+key.Kind) + r.seal.tag(key.ID)
	// Nobody will take this lock again; left behind, the fence would go by itself.
	defer func() { _, _ = deleteScript.run(ctx, r.engine, fence, r.publish, "") }()
	return r.PutFenced(ctx, key, value, trialLife, hold.Fence())
}

func (r *Redis) tryWatch(ctx context.Context, key Key, value []byte) error {
	changed, stop, err := r.Watch(ctx, key)
	if err != nil {
		return err
	}
	defer stop()
	if err := r.Put(ctx, key, value, trialLife); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.o.Timeout)
	defer cancel()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return errors.New("no word of a change came")
	}
}
