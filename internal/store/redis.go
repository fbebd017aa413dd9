package store

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Defaults of [RedisOptions].
const (
	defaultTimeout = 500 * time.Millisecond
	defaultLease   = 10 * time.Second
)

// RedisOptions are what a [Redis] is made of.
type RedisOptions struct {
	// URL is where the server is, Redis 6.2 or later, Valkey, or a cluster (7.0 or
	// later):
	//
	//	redis://USER:PASSWORD@HOST:PORT/DB       one server; rediss:// for TLS
	//	unix://USER:PASSWORD@/PATH?db=DB         one server, by its socket
	//	redis://…@HOST:PORT?cluster=true&addr=HOST:PORT&addr=…
	//	                                         a cluster, by one or more of its nodes
	//	redis://SENTINELUSER:SENTINELPASSWORD@HOST:PORT/DB?master_name=NAME&addr=HOST:PORT&username=…&password=…
	//	                                         the master that sentinels know; user and
	//	                                         password of the servers are parameters
	//
	// pool_size, min_idle_conns and max_active_conns may be added, and
	// wait_replicas=N: a write with a condition waits, for about a fifth of Timeout, until
	// N replicas have what was written (with sentinels 1, else 0).
	URL string
	// Keys, of 32 bytes each, seal what is stored: the first seals, all open.
	Keys [][]byte
	// Names makes the names of entries. It must be the same for all who share the
	// store, and what is stored is lost when it changes. If nil, the last of Keys: new
	// keys go to the front, and the last one stays.
	Names []byte
	// Space keeps apart those who share a server and keys, but no entries.
	Space string
	// Timeout bounds every call, 500 ms if 0.
	Timeout time.Duration
	// Lease is how long a lock outlives its holder, 10 s if 0. It is renewed while the
	// lock is held.
	Lease time.Duration
	// Roots are trusted with rediss://; if nil, those of the system.
	Roots *x509.CertPool
	// Observe is told of every call: what it was ("get", "put", "put-if", "put-fenced",
	// "take", "delete", "discard", "watch", "lock", "renew", "release", "due", "settle",
	// "claim", "turn", "tell", "hear", "present", "list", "check"), "" or why it failed, and
	// how long it took. Beside these there are "replicate", when replicas did not have a
	// write in time, and "open", when an entry was not to be opened. If nil, nobody is.
	Observe func(op string, failed Reason, took time.Duration)
	// Warn is told what is wrong with the store while the work goes on. If nil, nobody
	// is. The error holds no secret.
	Warn func(what string, err error)
}

// Redis is a [Store] that all replicas of the sidecar share. Everything in it is
// sealed, names are keyed hashes, and the server ends each entry by itself.
//
// An entry that was damaged, or put there from elsewhere, counts as missing and is
// removed. Somebody who can write to the server can put an old entry of the same
// name back while one of its keys is in use; that can't be told from a write.
type Redis struct {
	o      RedisOptions
	engine *engine
	seal   *sealer
	hub    *hub
	queue  *Memory // of the locks: one waiter of a process asks the server
	// publish is the server's command for a message that reaches a channel's node.
	publish string

	mu       sync.Mutex // guards breakers
	breakers map[string]*guard
	health   health
	marked   atomic.Int64 // when the keys were noted last, in Unix seconds

	life context.Context // the store's own
	end  context.CancelFunc
	work group
}

var _ Store = (*Redis)(nil)

// OpenRedis makes a store and connects to nothing: a server that is down when a
// sidecar starts is no other than one that goes down later. See [Redis.Check]. The
// error says what is wrong with the options.
func OpenRedis(o RedisOptions) (*Redis, error) {
	o.Timeout, o.Lease = cmp.Or(o.Timeout, defaultTimeout), cmp.Or(o.Lease, defaultLease)
	if o.Observe == nil {
		o.Observe = func(string, Reason, time.Duration) {}
	}
	if o.Warn == nil {
		o.Warn = func(string, error) {}
	}
	seal, err := newSealer(o.Keys, o.Names, o.Space)
	if err != nil {
		return nil, err
	}
	o.Keys, o.Names = nil, nil
	engine, err := dial(o)
	if err != nil {
		return nil, err
	}
	o.URL = ""
	r := &Redis{o: o, engine: engine, seal: seal, queue: NewMemory(), publish: "publish", breakers: map[string]*guard{}}
	if engine.cluster != nil {
		r.publish = "spublish"
	}
	r.life, r.end = context.WithCancel(context.Background())
	r.hub = newHub(r.life, engine, o.Timeout)
	return r, nil
}

// Close gives back the locks that are held and ends the connections. Everything
// that goes on in the background has ended when it returns.
func (r *Redis) Close() error {
	r.end()
	r.work.wait()
	err := r.engine.Close()
	r.hub.wait()
	return err
}

// Get implements [Store].
func (r *Redis) Get(ctx context.Context, key Key) (Entry, error) {
	name := r.seal.name(key)
	sealed, err := r.bytes(ctx, "get", name, func(ctx context.Context) (any, error) {
		return r.engine.call(ctx, "get", name)
	})
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		sealed, err = []byte("of another type"), nil // and so damaged
	}
	if err != nil {
		return Entry{}, err
	}
	e, err := r.seal.openFor(key, sealed)
	r.unopened(err)
	if errors.Is(err, errDamaged) {
		r.discard(ctx, name, sealed)
		return Entry{}, ErrMissing
	}
	return e, err
}

// discard removes a damaged entry if it still is what it was: a write that waits
// for its absence would wait for ever. It also keeps the entry of a sidecar with
// other keys from being counted as damaged twice.
func (r *Redis) discard(ctx context.Context, name string, sealed []byte) {
	r.o.Warn("an entry of the shared store was removed", errDamaged)
	_, _ = r.do(ctx, "discard", name, func(ctx context.Context) (any, error) {
		return deleteScript.run(ctx, r.engine, name, r.publish, sealed)
	})
}

// Put implements [Store].
func (r *Redis) Put(ctx context.Context, key Key, value []byte, ttl time.Duration) error {
	return r.put(ctx, "put", key, value, terms{ttl: ttl})
}

// PutIf implements [Store].
func (r *Redis) PutIf(ctx context.Context, key Key, value []byte, ttl time.Duration, version uint64) error {
	return r.put(ctx, "put-if", key, value, terms{ttl: ttl, version: number(version)})
}

// PutFenced implements [Store].
func (r *Redis) PutFenced(ctx context.Context, key Key, value []byte, ttl time.Duration, fence uint64) error {
	return r.put(ctx, "put-fenced", key, value, terms{ttl: ttl, fence: number(fence)})
}

// PutFencedIf implements [Store].
func (r *Redis) PutFencedIf(ctx context.Context, key Key, value []byte, ttl time.Duration, fence, version uint64) error {
	return r.put(ctx, "put-fenced", key, value, terms{ttl: ttl, fence: number(fence), version: number(version)})
}

// terms are those of a write; nil = none.
type terms struct {
	ttl            time.Duration
	version, fence []byte
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// milliseconds rounds up: what is to live a little must not be refused.
func milliseconds(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

func (r *Redis) put(ctx context.Context, op string, key Key, value []byte, t terms) error {
	if t.ttl <= 0 {
		return fmt.Errorf("shared store (%s): the entry would live for %v", op, t.ttl)
	}
	name := r.seal.name(key)
	sealed := r.seal.seal(name, key.ID, value)
	answer, err := r.do(ctx, op, name, func(ctx context.Context) (any, error) {
		args := []any{name, sealed, milliseconds(t.ttl), t.version, t.fence, format, r.publish}
		if t.fence == nil && t.version == nil || r.engine.replicas == 0 {
			return putScript.run(ctx, r.engine, args...)
		}
		return r.replicate(ctx, name, args)
	})
	if err != nil {
		return err
	}
	switch answer {
	case "ok":
		r.noteKeys()
		return nil
	case "changed":
		return ErrChanged
	case "fenced":
		return ErrFenced
	case "newer":
		r.unopened(ErrUnreadable)
		return ErrUnreadable
	}
	return notUnderstood(op)
}

// replicate writes and waits a moment for the replicas: what only a master knows is
// lost when it dies, and the one that a rotated token replaced would come back, or a
// session that was ended. A replica that does not keep up delays, and does not fail, the write.
func (r *Redis) replicate(ctx context.Context, name string, args []any) (any, error) {
	node, err := r.engine.node(ctx, name)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	answer, have, err := putScript.runFrom(ctx, node, r.engine.replicas, r.o.Timeout/5, args...)
	if reason := reasonIf(ctx, err); reason == Moved {
		return putScript.run(ctx, r.engine, args...) // to where it is now
	}
	if err == nil && have < r.engine.replicas {
		r.o.Observe("replicate", Slow, time.Since(begun))
	}
	return answer, err
}

// Take implements [Store].
func (r *Redis) Take(ctx context.Context, key Key) ([]byte, error) {
	name := r.seal.name(key)
	sealed, err := r.bytes(ctx, "take", name, func(ctx context.Context) (any, error) {
		return takeScript.run(ctx, r.engine, name, format, r.publish)
	})
	if err != nil {
		return nil, err
	}
	e, err := r.seal.openFor(key, sealed)
	r.unopened(err)
	if errors.Is(err, errDamaged) {
		return nil, ErrMissing
	}
	return e.Value, err
}

// Delete implements [Store].
func (r *Redis) Delete(ctx context.Context, key Key) error {
	name := r.seal.name(key)
	_, err := r.do(ctx, "delete", name, func(ctx context.Context) (any, error) {
		return deleteScript.run(ctx, r.engine, name, r.publish, "")
	})
	return err
}

// Watch implements [Store]. A connection that is lost wakes all who watch through it.
func (r *Redis) Watch(ctx context.Context, key Key) (<-chan struct{}, func(), error) {
	return r.watch(ctx, r.seal.name(key))
}

func (r *Redis) watch(ctx context.Context, name string) (changed <-chan struct{}, stop func(), err error) {
	_, err = r.do(ctx, "watch", name, func(ctx context.Context) (any, error) {
		changed, stop, err = r.hub.watch(ctx, name)
		return nil, err
	})
	return changed, stop, err
}

// bytes asks for an entry as it is stored; nothing there is ErrMissing.
func (r *Redis) bytes(ctx context.Context, op, name string, ask func(context.Context) (any, error)) ([]byte, error) {
	answer, err := r.do(ctx, op, name, ask)
	if err != nil {
		return nil, err
	}
	text, ok := answer.(string)
	if !ok {
		return nil, ErrMissing
	}
	return []byte(text), nil
}

// do asks the server that holds a name, unless it rests, and for a bounded time.
func (r *Redis) do(ctx context.Context, op, name string, ask func(context.Context) (any, error)) (any, error) {
	begun := time.Now()
	answer, err := r.try(ctx, op, name, ask)
	if err != nil {
		f := failure(ctx, op, err)
		r.health.failed(f.Reason)
		r.o.Observe(op, f.Reason, time.Since(begun))
		return nil, f
	}
	r.health.answered()
	r.o.Observe(op, "", time.Since(begun))
	return answer, nil
}

func (r *Redis) try(caller context.Context, op, name string, ask func(context.Context) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(caller, r.o.Timeout)
	defer cancel()
	server := "" // where no cluster is known, that is what fails
	if b := r.breaker(server, name); r.engine.cluster != nil {
		if era, ok := b.allow(); ok {
			node, err := r.engine.node(ctx, name)
			r.changed(caller, b.ended(era, reasonIf(caller, err)), op, err)
			if err != nil {
				return nil, err
			}
			server = node.Options().Addr
		}
	}
	b := r.breaker(server, name)
	era, ok := b.allow()
	if !ok {
		return nil, errResting
	}
	answer, err := ask(ctx)
	r.changed(caller, b.ended(era, reasonIf(caller, err)), op, err)
	return answer, err
}

// changed does what is to be done when the end of a call changed how a server is asked.
func (r *Redis) changed(caller context.Context, c change, op string, err error) {
	if c.rests {
		r.engine.renew() // another node may have its place, or will have by the end of this rest
	}
	if c.tell {
		r.o.Warn("the shared store fails and is left alone for moments", failure(caller, op, err))
	}
	if c.back {
		r.o.Warn("the shared store answers again", nil)
	}
}

func reasonIf(ctx context.Context, err error) Reason {
	if err == nil {
		return ""
	}
	return reasonOf(ctx, err)
}

// group are goroutines that Close waits for; none begins after that.
type group struct {
	mu    sync.Mutex // guards ended and what begins
	ended bool
	wg    sync.WaitGroup
}

// start runs f, unless the group has ended.
func (g *group) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		g.wg.Go(f)
	}
	return !g.ended
}

func (g *group) wait() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.wg.Wait()
}

var _ redis.Cmder = once{}
