package tokencache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// lateLife and lateWait: a call with a token that has less life left than this (or than 10 % of its lifetime) waits
	// that long for a renewal.
	lateLife = 90 * time.Second
	lateWait = 3 * time.Second
	// firstPause and lastPause are the pauses between renewals that fail. They double.
	firstPause = 10 * time.Second
	lastPause  = time.Minute
)

// age is one of the four ages of a token.
type age int

const (
	fresh age = iota
	soon
	late
	expired
)

// bands are the borders between the ages, each as the life that is left.
type bands struct {
	soon   time.Duration // this or less: renew
	late   time.Duration // less: wait for the renewal
	leeway time.Duration // less: never send
}

// bands gives the borders for a lifetime. The jitter is thrown once for each token, so that tokens of one moment are not
// all renewed in another; where it would lead above the limit of 20 %, it is mirrored, to stay spread below.
func (o *Options) bands(lifetime time.Duration) bands {
	b := bands{leeway: o.leeway(lifetime)}
	if o.RefreshBefore == 0 {
		return b
	}
	limit := lifetime / 5
	b.soon = spread(min(o.RefreshBefore, limit), o.Jitter())
	if b.soon > limit {
		b.soon = 2*limit - b.soon
	}
	b.late = min(lateLife, lifetime/10)
	return b
}

// leeway is the life that a token must still have to be sent.
func (o *Options) leeway(lifetime time.Duration) time.Duration { return min(o.Leeway, lifetime/20) }

// Until is the last moment at which a token may be sent. Between the cache and the wire, time passes: a connection may
// have to be made.
func (c *Cache) Until(t *Token) time.Time { return t.Sent.Add(t.Lifetime - c.opts.leeway(t.Lifetime)) }

// spread gives d, 10 % more or less.
func spread(d time.Duration, jitter float64) time.Duration {
	return d + time.Duration((jitter*2-1)*0.1*float64(d))
}

// entry is a token that is held. An entry never changes its token: a renewed one is another entry.
type entry struct {
	key      Key
	token    *Token
	mint     Mint
	sentWall time.Time // token.Sent without its monotonic reading
	born     time.Time // token.Sent with its monotonic reading; if it has none, the moment the token came
	bands    bands
	used     atomic.Bool // since it came

	// Guarded by Cache.mu:
	timer    *time.Timer // nil until stored
	failures int         // renewals that failed, in a row
	retry    time.Time   // no renewal before this
}

// markUsed avoids the write, and so the traffic between cores, once it is true.
func (e *entry) markUsed() {
	if !e.used.Load() {
		e.used.Store(true)
	}
}

// newEntry judges what a mint gave. A token that is no good when it comes is an error; it is never sent, nor kept.
func (c *Cache) newEntry(f *flight, token *Token) (*entry, error) {
	switch {
	case token == nil || token.AccessToken == "":
		return nil, unavailable("token-missing", "the answer to a token request holds no token")
	case token.Lifetime <= 0:
		return nil, unavailable("lifetime-missing", "the token's lifetime is missing or not above zero")
	}
	e := &entry{
		key:      f.key.boundTo(token.Thumbprint),
		token:    token,
		mint:     f.mint,
		sentWall: token.Sent.Round(0),
		born:     time.Now(),
		bands:    c.opts.bands(token.Lifetime),
	}
	if token.Last {
		e.bands.soon, e.bands.late = 0, 0
	}
	monotonic := token.Sent != e.sentWall // == instead of Equal, since that is the difference looked for
	if monotonic && token.Sent.Before(e.born) {
		e.born = token.Sent
	}
	if c.age(e) == expired {
		return nil, unavailable("expired-on-arrival", "the token had expired before it came")
	}
	return e, nil
}

// left is the life that a token still has. The clock that says least is believed: the monotonic one stands still while
// a laptop sleeps, the wall clock can be set back.
func (c *Cache) left(e *entry) time.Duration {
	now := time.Now()
	wall := now
	if c.opts.Wall != nil {
		wall = c.opts.Wall()
	}
	return e.token.Lifetime - max(wall.Round(0).Sub(e.sentWall), now.Sub(e.born))
}

// age tells a token's age.
func (c *Cache) age(e *entry) age {
	switch left := c.left(e); {
	case left < e.bands.leeway || left <= 0:
		return expired
	case left < e.bands.late:
		return late
	case left <= e.bands.soon:
		return soon
	default:
		return fresh
	}
}

// renew starts a flight for a token that is still good, unless one is under way, or one failed a moment ago. It gives
// the flight, or nil if there is none.
func (c *Cache) renew(ctx context.Context, e *entry, mint Mint) *flight {
	k := c.renewalKey(e.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, ok := c.entries.Peek(e.key); !ok || held != e {
		return nil
	}
	if f := c.underWay(k); f != nil {
		return f
	}
	if time.Now().Before(e.retry) {
		return nil
	}
	f := c.launch(ctx, k, mint)
	f.renewal = true
	return f
}

// renewed waits for the renewal of a late token, but not for long: the old one is still good, and the call goes on with
// it. If it has expired meanwhile, the call waits on, like any other that has none, until the moment given.
func (c *Cache) renewed(ctx context.Context, e *entry, mint Mint, until time.Time) (*Token, Source, error) {
	f := c.renew(ctx, e, mint)
	if f == nil {
		return c.newest(e).hit(), Hit, nil
	}
	// Half of what is left: a renewal that does not come must not use up the token that is there.
	err := c.wait(ctx, f, time.Now().Add(min(lateWait, time.Until(until), c.lifeAbove(e)/2)))
	switch {
	case err == nil:
		return f.entry.token, Joined, nil
	case ctx.Err() != nil:
		return nil, "", err
	case c.age(e) != expired:
		return e.hit(), Hit, nil
	default:
		return c.fetch(ctx, c.renewalKey(e.key), mint, until)
	}
}

// newest is what is held in the place of an entry by now, if it need not be renewed itself; else the entry.
func (c *Cache) newest(e *entry) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, ok := c.peek(c.renewalKey(e.key)); ok && c.age(held) == fresh {
		return held
	}
	return e
}

// wake is what an entry's timer calls: when it is due for a renewal, when a renewal is due for another try, and when it
// has expired.
func (c *Cache) wake(e *entry) {
	kept := c.opts.Keep != nil && c.opts.Keep(e.key) // without mu: Keep is another's code
	wanted := kept || e.used.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, ok := c.entries.Peek(e.key); !ok || held != e {
		return
	}
	k := c.renewalKey(e.key)
	switch now := c.age(e); {
	case !c.usable(e.key):
		c.dropUnusable(e, kept)
	case now == expired:
		c.entries.Remove(e.key)
	case now == fresh:
		c.arm(e, c.left(e)-e.bands.soon)
	case c.underWay(k) != nil: // its landing sets another time, unless it comes too late
		c.arm(e, c.lifeAbove(e))
	case !wanted || e.bands.soon == 0:
		c.arm(e, c.lifeAbove(e))
	case time.Now().Before(e.retry): // a renewal failed just when the timer had fired
		c.arm(e, time.Until(e.retry))
	default:
		c.launch(context.Background(), k, e.mint).renewal = true
		c.arm(e, c.lifeAbove(e))
	}
}

// arm sets the entry's timer, to the end of its life at the latest. It is called with mu held.
func (c *Cache) arm(e *entry, d time.Duration) {
	d = min(d, c.lifeAbove(e))
	if e.timer == nil {
		e.timer = time.AfterFunc(d, func() { c.wake(e) })
		return
	}
	e.timer.Reset(d)
}

// lifeAbove is the time until the entry has expired.
func (c *Cache) lifeAbove(e *entry) time.Duration {
	return c.left(e) - e.bands.leeway + time.Nanosecond // at the border itself it is still good
}

// keep stores a new entry in the place of the one before. It is called with mu held.
func (c *Cache) keep(e *entry) {
	if before, ok := c.entries.Peek(e.key); ok {
		before.timer.Stop()
	}
	keys := c.subjects[e.key.Subject]
	if keys == nil {
		keys = make(map[Key]struct{})
		c.subjects[e.key.Subject] = keys
	}
	keys[e.key] = struct{}{}
	c.arm(e, c.left(e)-e.bands.soon)
	c.entries.Add(e.key, e)
	c.dropReplaced(e.key)
}

// evicted cleans up after an entry that leaves, for whatever reason. It is called with mu held.
func (c *Cache) evicted(k Key, e *entry) {
	e.timer.Stop()
	delete(c.subjects[k.Subject], k)
	if len(c.subjects[k.Subject]) == 0 {
		delete(c.subjects, k.Subject)
	}
}

// postpone sets the pause after a renewal that failed, the longer the more have failed, and at least as long as the
// error asks for. It is called with mu held.
func (c *Cache) postpone(e *entry, err error) {
	pause := min(firstPause<<min(e.failures, 3), lastPause)
	pause = spread(pause, c.opts.Jitter())
	if asked, ok := errors.AsType[retrier](err); ok {
		pause = max(pause, asked.RetryAfter())
	}
	e.failures++
	e.retry = time.Now().Add(pause)
	c.arm(e, pause)
}
