package tokencache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"sfm-sidecar/internal/store"
)

// Shared is what replicas have in common: a token that one fetched is good for all,
// and of many that need one at the same time one fetches it. A call that finds a good
// token in memory never comes here. While the store is down, each replica fetches for
// itself.
type Shared struct {
	// Store seals what it keeps, and hashes the names.
	Store store.Store
	// Now is the time as all replicas see it, whatever their own clocks say. If nil,
	// time.Now.
	Now func() time.Time
	// Learn is called before a token is taken from the store: Now must be right by then.
	// If nil, it is.
	Learn func(context.Context)
	// Needed says of a key that its mint needs the store, too. While the store is down it
	// is not called: one that gets through just when the store is back would fetch what
	// another replica has fetched already. If nil, no mint needs it.
	Needed func(Key) bool
	// Failed is told what the store did not do. If nil, nobody is.
	Failed func(error)
}

const kindToken = "token"

// stored is a token as it is shared. Sent is by the common time.
type stored struct {
	AccessToken string        `json:"access_token"`
	Type        string        `json:"type"`
	Sent        time.Time     `json:"sent"`
	Lifetime    time.Duration `json:"lifetime"`
	Last        bool          `json:"last,omitempty"`
}

func (s *Shared) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Shared) failed(err error) {
	if s.Failed != nil && err != nil && !errors.Is(err, store.ErrMissing) && !errors.Is(err, store.ErrFenced) {
		s.Failed(err)
	}
}

// name files a key's token. All of the key is in it, and each part stays apart. It is
// a hash, to be short: what is filed carries it, and the list of its subject, too.
func (s *Shared) name(k Key) store.Key {
	all, err := json.Marshal(k)
	if err != nil {
		panic("BUG: " + err.Error()) // a structure of strings
	}
	sum := sha256.Sum256(all)
	return store.Key{Kind: kindToken, ID: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// get is the token of a key, or nil. The error is the store's.
func (s *Shared) get(ctx context.Context, k Key) (*Token, error) {
	e, err := s.Store.Get(ctx, s.name(k))
	if errors.Is(err, store.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var t stored
	if json.Unmarshal(e.Value, &t) != nil {
		return nil, nil // as good as missing
	}
	// By the clock of this process; without a monotonic reading, which was another's.
	sent := time.Now().Round(0).Add(-s.now().Sub(t.Sent))
	return &Token{AccessToken: t.AccessToken, Type: t.Type, Sent: sent, Lifetime: t.Lifetime, Last: t.Last, Thumbprint: k.Thumbprint}, nil
}

// put shares a token for the rest of its life.
func (s *Shared) put(ctx context.Context, k Key, t *Token, fence uint64) error {
	left := t.Lifetime - time.Since(t.Sent)
	if left <= 0 {
		return nil
	}
	value, err := json.Marshal(stored{t.AccessToken, t.Type, s.now().Add(-time.Since(t.Sent)).Round(0), t.Lifetime, t.Last})
	if err != nil {
		return err
	}
	return s.Store.PutFenced(ctx, s.name(k), value, left, fence)
}

// obtainShared gives a flight its token: one that another replica fetched, or one
// that this one fetches while the others wait.
func (c *Cache) obtainShared(ctx context.Context, f *flight) (*Token, error) {
	s := c.opts.Shared
	if s == nil {
		return f.mint(ctx)
	}
	if s.Learn != nil {
		s.Learn(ctx)
	}
	needed := s.Needed != nil && s.Needed(f.key)
	found, err := c.find(ctx, f)
	if found != nil {
		f.shared = true
		return found, nil
	}
	if s.failed(err); err != nil && !needed { // HelseID is asked as if there were no others
		return f.mint(ctx)
	}
	hold, err := s.Store.Lock(ctx, s.name(f.key))
	if err != nil {
		s.failed(err)
		if needed {
			return nil, down(ctx, err)
		}
		return f.mint(ctx)
	}
	defer hold.Release()
	if found, err = c.find(ctx, f); found != nil {
		f.shared = true
		return found, nil
	}
	if s.failed(err); err != nil && needed {
		return nil, down(ctx, err)
	}
	token, err := f.mint(ctx)
	if err != nil || token == nil {
		return token, err
	}
	if c.listed(f) { // not one whose session was ended meanwhile
		s.failed(c.share(ctx, f.key.boundTo(token.Thumbprint), token, hold.Fence()))
	}
	return token, nil
}

// found gives a token that another replica fetched some time ago, as one is given that
// was held for as long: a late one waits for its renewal.
func (c *Cache) found(ctx context.Context, e *entry, mint Mint, until time.Time) (*Token, Source, error) {
	switch c.age(e) {
	case soon:
		c.renew(ctx, e, mint)
	case late:
		return c.renewed(ctx, e, mint, until)
	}
	return e.token, SharedBy, nil
}

// down is the refusal of a call that needs the store. The end of the flight itself
// keeps its own meaning.
func down(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &Error{code: "store-unavailable", detail: store.Describe(err), retryAfter: retryAfter, err: err}
}

// find gives what others fetched of what a flight is for, bound to the key in use, else to an earlier one. The error
// is the store's.
func (c *Cache) find(ctx context.Context, f *flight) (*Token, error) {
	found, err := c.opts.Shared.get(ctx, f.key)
	if err != nil || c.accepts(f, found) {
		return found, err
	}
	for _, t := range c.thumbprints() {
		if t == f.key.Thumbprint {
			continue
		}
		found, err = c.opts.Shared.get(ctx, f.key.boundTo(t))
		if err != nil || c.accepts(f, found) {
			return found, err
		}
	}
	return nil, nil
}

// accepts says whether a token that others fetched is what a flight is for: not the
// one that the receiver refused, and, where one is held that is still good, one that
// need not be renewed itself.
func (c *Cache) accepts(f *flight, t *Token) bool {
	if t == nil {
		return false
	}
	e, err := c.newEntry(f, t)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range []Key{f.key, e.key} {
		if last, ok := c.forgotten.Get(k); ok && last.token == t.AccessToken {
			return false
		}
	}
	held, ok := c.peek(f.key)
	if !ok || c.age(held) == expired {
		return true
	}
	return held.token.AccessToken != t.AccessToken && c.age(e) == fresh
}

// listed says whether a flight's token will be kept.
func (c *Cache) listed(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights[f.key] == f
}
