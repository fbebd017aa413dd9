package tokencache

import (
	"context"
	"time"
)

// A token is bound to a key, whose thumbprint is part of the token's name. When another key is taken into use, what is
// held goes on being used, with its own key, until it is due for renewal: nothing is fetched because of the change. What
// is fetched or renewed from then on is bound to the key in use.

// dropWithin spreads the renewal of tokens whose key was dropped before its time.
const dropWithin = 10 * time.Second

// thumbprints are those of the keys whose tokens may be used, that in use first.
func (c *Cache) thumbprints() []string {
	if c.opts.Thumbprints == nil {
		return nil
	}
	return c.opts.Thumbprints()
}

// renewalKey is the key under which a token of k is renewed.
func (c *Cache) renewalKey(k Key) Key {
	if all := c.thumbprints(); len(all) > 0 {
		k.Thumbprint = all[0]
	}
	return k
}

// usable says whether tokens of k may still be used.
func (c *Cache) usable(k Key) bool {
	all := c.thumbprints()
	for _, t := range all {
		if t == k.Thumbprint {
			return true
		}
	}
	return len(all) == 0
}

// peek finds what is held for k.
func (c *Cache) peek(k Key) (*entry, bool) {
	if e, ok := c.entries.Peek(k); ok {
		return e, true
	}
	return c.ofOtherKeys(k)
}

// ofOtherKeys finds a good token that differs from k in nothing but its key.
func (c *Cache) ofOtherKeys(k Key) (*entry, bool) {
	asked := k.Thumbprint
	for _, t := range c.thumbprints() {
		if t == asked {
			continue
		}
		k.Thumbprint = t
		if e, ok := c.entries.Get(k); ok && c.age(e) != expired {
			return e, true
		}
	}
	return nil, false
}

// underWay is the flight that brings a token for k, or nil: one that began before another key was taken into use is as
// good. It is called with mu held.
func (c *Cache) underWay(k Key) *flight {
	if f := c.flights[k]; f != nil {
		return f
	}
	for _, t := range c.thumbprints() {
		k.Thumbprint = t
		if f := c.flights[k]; f != nil {
			return f
		}
	}
	return nil
}

// dropReplaced drops the tokens that a new one makes needless: those that differ in nothing but their key. It is called with
// mu held.
func (c *Cache) dropReplaced(by Key) {
	k := by
	for _, t := range c.thumbprints() {
		k.Thumbprint = t
		if t != by.Thumbprint && c.entries.Remove(k) {
			c.unshare(k)
		}
	}
}

// Rekeyed tells the cache that [Options.Thumbprints] has changed. Tokens whose key is no longer among them are not used
// from then on: the next call that wants one fetches another. Those that [Options.Keep] keeps are renewed within some
// seconds all the same.
func (c *Cache) Rekeyed() {
	if len(c.thumbprints()) == 0 {
		return
	}
	for _, e := range c.entries.Values() {
		if c.usable(e.key) {
			continue
		}
		c.mu.Lock()
		if held, ok := c.entries.Peek(e.key); ok && held == e {
			c.arm(e, time.Duration(c.opts.Jitter()*float64(dropWithin)))
		}
		c.mu.Unlock()
	}
}

// dropUnusable removes an entry whose key was dropped, and renews one that is kept. It is called with mu held.
func (c *Cache) dropUnusable(e *entry, kept bool) {
	c.entries.Remove(e.key)
	c.unshare(e.key)
	k := c.renewalKey(e.key)
	if _, held := c.peek(k); kept && !held && c.underWay(k) == nil && c.life.Err() == nil {
		c.launch(context.Background(), k, e.mint)
	}
}
