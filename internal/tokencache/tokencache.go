// Package tokencache keeps tokens while they are good, and fetches each of them once.
//
// It does not know where tokens come from: whoever asks for one brings along a [Mint]. So a person's tokens and a
// machine's share one cache and one policy.
//
// # The four ages of a token
//
//	fresh    used as it is
//	soon     used as it is, and renewed in the background meanwhile
//	late     the call waits a little for the renewal and then goes on: the receiver hands the token on to others,
//	         who need some life in it
//	expired  never sent; the call waits for a new one
//
// The age is judged by the wall clock and by the monotonic clock, and the older of the two answers counts. A laptop that
// slept for an hour has a monotonic clock that did not move; a wall clock that was set back makes a token look young.
//
// # One fetch for many callers
//
// Calls for the same key share one flight. A flight belongs to nobody: a caller that leaves, or that has waited long
// enough, does not stop it, and its result is kept for the next one. A renewal that fails leaves the old token in use
// for as long as that is good, and is tried again with pauses. A refusal that would only be repeated is remembered for
// some seconds; any other error is told to those who waited and then forgotten.
package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// forgetPause is the time within which a key's token is forgotten once at most: a fault of ours that the receiver
	// answers with invalid_token must not become a storm of fetches.
	forgetPause = 5 * time.Minute
	// maxRefusals and maxForgotten bound the small memories beside the tokens. What falls out costs a fetch.
	maxRefusals  = 10_000
	maxForgotten = 10_000

	defaultEntries      = 100_000
	defaultWait         = 10 * time.Second
	defaultFetchTimeout = time.Minute
)

// Key says for whom and for what a token is. Two calls whose keys differ in any field never share a token.
type Key struct {
	// Issuer and ClientID name the authorization server and the client.
	Issuer, ClientID string
	// Grant is how the token is obtained.
	Grant string
	// Subject is the session, or a hash of the caller's own token. If empty, the token is a machine's. It is never a
	// person's name or number.
	Subject string
	// Parent, Child and Journal are the tenant; Journal in lower case.
	Parent, Child, Journal string
	// Scopes is sorted and separated by spaces.
	Scopes string
	// Resource is the resource asked for (RFC 8707), Audience whom the token was
	// checked to be for.
	Resource, Audience string
	// Thumbprint is that of the key that the token is bound to. If empty, it is bound to none.
	Thumbprint string
}

// boundTo is k for tokens that are bound to another key; "" leaves it.
func (k Key) boundTo(thumbprint string) Key {
	if thumbprint != "" {
		k.Thumbprint = thumbprint
	}
	return k
}

// Token is a token as it was minted. It must not be changed. It prints without its value.
type Token struct {
	// AccessToken is the token itself, Type the scheme to send it with (DPoP or Bearer).
	AccessToken, Type string
	// Sent is when the request for it was sent, as time.Now gave it: its life begins there. With the monotonic reading,
	// if it was fetched by this process.
	Sent time.Time
	// Lifetime is how long it lives, counted from Sent.
	Lifetime time.Duration
	// Last says that no renewal gives a token that lives longer than this one: it is never renewed early.
	Last bool
	// Thumbprint is that of the key that it is bound to. If empty, that of the Key that it was asked for with.
	Thumbprint string
}

// String names the token's type and lifetime, and hides the token.
func (t Token) String() string { return fmt.Sprintf("tokencache.Token(%s, %s)", t.Type, t.Lifetime) }

// GoString is [Token.String], for %#v.
func (t Token) GoString() string { return t.String() }

// Mint fetches a token. Its context is the flight's: it has the values of the caller that started the flight, but ends
// with [Options.FetchTimeout] or [Cache.Close] only. A mint is kept with its token, and called again to renew it, long
// after the call it came with; so it must not hold on to that call. Mints of equal keys must do the same thing.
//
// An error with a method `Permanent() bool` that gives true is remembered for a few seconds. One with a method
// `RetryAfter() time.Duration` delays the next renewal by at least that much. A mint that panics gives an error.
type Mint func(ctx context.Context) (*Token, error)

// Options are the cache's settings. Durations must not be negative.
type Options struct {
	// Entries is how many tokens are kept; the least recently used leave first. If zero, 100 000.
	Entries int
	// RefreshBefore is how long before its expiry a token is renewed: never more than 20 % of its lifetime, with 10 %
	// jitter. If zero, tokens are never renewed early, neither soon nor late.
	RefreshBefore time.Duration
	// Leeway is the life that a token must still have to be sent, but never more than 5 % of its lifetime.
	Leeway time.Duration
	// Wait is how long a caller waits for a flight. If zero, 10 s.
	Wait time.Duration
	// FetchTimeout is how long a flight may take. If zero, a minute.
	FetchTimeout time.Duration
	// Wall is the wall clock, the same that Token.Sent is read from; its monotonic reading is ignored. If nil, time.Now.
	Wall func() time.Time
	// Observe is told how a call got its token: "hit" (one that was held), "joined" (from a flight that was under way),
	// "fetched" (from a flight of its own), "shared" (from one that found what another replica had fetched); and "renewed" for each token that was replaced while it was good. Calls
	// that got no token are not told. If nil, nobody is told.
	Observe func(result string)
	// Jitter gives a random number in [0, 1). If nil, math/rand/v2.
	Jitter func() float64
	// Keep is asked when a token is due for its renewal and was not used since the last one: true renews it all the
	// same, because an open session at the receiver depends on it, say. It may call into the cache. If nil, none is kept.
	Keep func(Key) bool
	// Minted is told of every token that comes to be held, fetched or renewed. It is called in the
	// flight's goroutine, after those who waited were told, and may call into the cache. If nil, nobody is told.
	Minted func(Key, *Token)
	// Thumbprints are those of the keys whose tokens may be used, that of the key in use first; after a change,
	// [Cache.Rekeyed] is to be called. It must be quick. If nil, or empty, a token is found under the Thumbprint of its own
	// Key alone.
	Thumbprints func() []string
	// Shared is the second level, which other replicas use, too. If nil, there is none.
	Shared *Shared
}

// Cache keeps tokens. It is safe for concurrent use. [Cache.Close] ends it.
type Cache struct {
	opts Options
	life context.Context // the cache's own; ended by Close
	end  context.CancelFunc

	// entries is read without mu, so that a hit waits for nobody; it is changed only while mu is held. The callback for
	// entries that leave runs within the change, and so with mu held.
	entries *lru.Cache[Key, *entry]

	work sync.WaitGroup // what removes shared tokens

	mu        sync.Mutex // guards what follows, and the entries' own guarded fields
	flights   map[Key]*flight
	flying    map[string]int              // fetches under way by Subject, those no longer listed in flights too
	subjects  map[string]map[Key]struct{} // the keys in entries, by Subject
	refusals  *lru.Cache[Key, refusal]
	forgotten *lru.Cache[Key, forgot]
}

// forgot is a token that was forgotten, and when.
type forgot struct {
	at    time.Time
	token string
}

// refusal is a permanent error that is repeated until some moment without asking again.
type refusal struct {
	err   error
	until time.Time
}

// New makes an empty cache. It returns an error if an option is negative.
func New(opts Options) (*Cache, error) {
	if opts.Entries < 0 || min(opts.RefreshBefore, opts.Leeway, opts.Wait, opts.FetchTimeout) < 0 {
		return nil, errors.New("making a token cache: an option is negative")
	}
	if opts.Entries == 0 {
		opts.Entries = defaultEntries
	}
	if opts.Wait == 0 {
		opts.Wait = defaultWait
	}
	if opts.FetchTimeout == 0 {
		opts.FetchTimeout = defaultFetchTimeout
	}
	if opts.Jitter == nil {
		opts.Jitter = rand.Float64
	}
	if opts.Observe == nil {
		opts.Observe = func(string) {}
	}
	if opts.Minted == nil {
		opts.Minted = func(Key, *Token) {}
	}
	c := &Cache{
		opts:     opts,
		flights:  make(map[Key]*flight),
		flying:   make(map[string]int),
		subjects: make(map[string]map[Key]struct{}),
	}
	c.life, c.end = context.WithCancel(context.Background())
	var err, errRefusals, errForgotten error
	c.entries, err = lru.NewWithEvict(opts.Entries, c.evicted)
	c.refusals, errRefusals = lru.New[Key, refusal](maxRefusals)
	c.forgotten, errForgotten = lru.New[Key, forgot](maxForgotten)
	if err := errors.Join(err, errRefusals, errForgotten); err != nil {
		return nil, fmt.Errorf("making a token cache: %w", err)
	}
	return c, nil
}

// Source says how a call got its token.
type Source string

// The sources of a token, as [Options.Observe] is told them.
const (
	Hit      Source = "hit"     // it was held
	Joined   Source = "joined"  // from a flight that was under way
	Fetched  Source = "fetched" // from a flight of its own
	SharedBy Source = "shared"  // from a flight of its own, which found what another replica had fetched
)

// Token gives a good token for the key: the one that is held, or one that mint fetches. It waits at most
// [Options.Wait], and no longer than ctx lives.
//
// Errors are those of the mint, the same for all who shared its flight; that of ctx; or an [Error] of this package:
// helseid-unavailable when the flight takes too long or brings a token that is no good, draining after Close.
func (c *Cache) Token(ctx context.Context, k Key, mint Mint) (*Token, error) {
	t, _, err := c.Obtain(ctx, k, mint)
	return t, err
}

// Obtain is [Cache.Token], and says where the token came from.
func (c *Cache) Obtain(ctx context.Context, k Key, mint Mint) (*Token, Source, error) {
	t, source, err := c.obtain(ctx, k, mint)
	if err != nil {
		return nil, "", err
	}
	c.opts.Observe(string(source))
	return t, source, nil
}

func (c *Cache) obtain(ctx context.Context, k Key, mint Mint) (*Token, Source, error) {
	e, held := c.entries.Get(k)
	if !held {
		e, held = c.ofOtherKeys(k)
	}
	if !held {
		return c.fetch(ctx, k, mint, time.Now().Add(c.opts.Wait))
	}
	switch c.age(e) {
	case fresh:
		return e.hit(), Hit, nil
	case soon:
		c.renew(ctx, e, mint)
		return e.hit(), Hit, nil
	case late:
		return c.renewed(ctx, e, mint, time.Now().Add(c.opts.Wait))
	default:
		return c.fetch(ctx, k, mint, time.Now().Add(c.opts.Wait))
	}
}

// hit gives the token that is held.
func (e *entry) hit() *Token {
	e.markUsed()
	return e.token
}

// fetch gives the token of the key's flight, which it starts if there is none.
func (c *Cache) fetch(ctx context.Context, k Key, mint Mint, until time.Time) (*Token, Source, error) {
	if err := ctx.Err(); err != nil { // who has left starts nothing
		return nil, "", gone(err)
	}
	c.mu.Lock()
	if e, ok := c.peek(k); ok && c.age(e) != expired { // a flight landed meanwhile
		c.mu.Unlock()
		return e.hit(), Hit, nil
	}
	if err := c.refused(k); err != nil {
		c.mu.Unlock()
		return nil, "", err
	}
	f := c.underWay(k)
	joined := f != nil
	if !joined {
		if err := c.crowded(k); err != nil {
			c.mu.Unlock()
			return nil, "", err
		}
		f = c.launch(ctx, k, mint)
	}
	c.mu.Unlock()

	if err := c.wait(ctx, f, until); err != nil {
		return nil, "", err
	}
	if joined {
		return f.entry.token, Joined, nil
	}
	if f.shared {
		return c.found(ctx, f.entry, mint, until)
	}
	return f.entry.token, Fetched, nil
}

// refused gives the reason not to fetch at all, if there is one. It is called with mu held.
func (c *Cache) refused(k Key) error {
	if c.life.Err() != nil {
		return errClosed()
	}
	r, ok := c.refusals.Get(k)
	if !ok {
		return nil
	}
	if !time.Now().Before(r.until) {
		c.refusals.Remove(k)
		return nil
	}
	return r.err
}

// Forget drops a token that the receiver does not accept, so that the next call gets another one. It reports whether
// that is so: false means that the key's token was forgotten less than 5 minutes ago, and this one stays. A token that
// is no longer held is not forgotten again, and so the answer for it is true.
func (c *Cache) Forget(k Key, t *Token) bool {
	if t == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.peek(k)
	if !ok || e.token.AccessToken != t.AccessToken {
		return true
	}
	now := time.Now()
	if last, ok := c.forgotten.Get(k); ok && now.Sub(last.at) < forgetPause {
		return false
	}
	c.forgotten.Add(k, forgot{now, t.AccessToken})
	c.entries.Remove(e.key)
	if e.key != k {
		c.unshare(e.key) // what comes in its place gets another name
	}
	return true
}

// Entries is the number of tokens held.
func (c *Cache) Entries() int { return c.entries.Len() }

// Close drops everything, stops all timers and cancels the flights under way. Callers that wait get an error, as do
// all later ones. It waits a few seconds for the removal of shared tokens, and not for mints that go on in spite of their
// context.
func (c *Cache) Close() {
	c.mu.Lock()
	c.end()
	clear(c.flights)
	c.entries.Purge()
	c.refusals.Purge()
	c.forgotten.Purge()
	c.mu.Unlock()
	c.work.Wait() // none begins after the end
}
