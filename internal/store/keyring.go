package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// openLimit is how long the key store has at the start: it may ask the person
	// to unlock it.
	openLimit = time.Minute
	// answerLimit is how long a caller waits for the key store after that.
	answerLimit = 10 * time.Second
	// endLimit is how long the end waits for refreshes under way.
	endLimit = 10 * time.Second
	// lookEvery is how often what could not be written is tried again, and what is
	// no longer used is removed.
	lookEvery = 30 * time.Second
)

// errNoAnswer says that the key store took too long; it may be waiting for a
// person.
var errNoAnswer = errors.New("the key store did not answer in time")

// KeyringOptions are what a [Keyring] is made of. All but Warn are required.
type KeyringOptions struct {
	// Service names the items in the key store. What has another service is never
	// touched.
	Service string
	// Record and Note are the kinds of entries that are kept; those of other kinds
	// live in memory. A record is in the key store before its Put returns, a note
	// soon after. An ID whose record or note is gone is not kept any longer.
	Record, Note string
	// Kept says whether a record is worth keeping now; one that is not is removed.
	Kept func(record []byte) bool
	// Refresh is the kind of lock under which a record's secret is used up.
	Refresh string
	// Root makes what the records are worth nothing without. It is made once and
	// read back at every start; when it is not there, or not Usable, everything is
	// removed and it is made anew.
	Root   func() ([]byte, error)
	Usable func(root []byte) bool
	// Warn is told what the key store fails to do while the work goes on. If nil,
	// nobody is.
	Warn func(what string, err error)
}

// Keyring is a [Store] whose records survive the process, in the key store of the
// operating system. Everything is read from memory; a key store is slow, and
// nobody who reads waits for it.
//
// What is written goes to the key store through one goroutine, in the order it
// came. While the key store fails:
//   - a record that was not kept before is refused;
//   - one that replaces a kept one takes its place in memory all the same, since
//     the secret in the old one has been used up, but Put fails, and so does a
//     Refresh lock until the key store has it: no further secret is used up that
//     a restart would not know of;
//   - notes and removals wait until it works again.
type Keyring struct {
	*Memory
	o     KeyringOptions
	vault *vault
	root  []byte
	// listed are the IDs of which the key store may hold something, true where that
	// may be a record. It belongs to whoever works with the vault: load, then run.
	listed map[string]bool

	mu   sync.Mutex // guards what follows; never held across a call of the key store
	owed map[Key]*debt
	busy int           // Refresh locks that are held
	idle chan struct{} // closed when busy falls to 0, where somebody waits for that

	wake          chan struct{}
	stop, stopped chan struct{}
}

var _ Store = (*Keyring)(nil)

// OpenKeyring reads what an earlier process kept. The error says that no key
// store answers, or that it can't be read or written.
func OpenKeyring(o KeyringOptions) (*Keyring, error) {
	if err := useOwnBus(); err != nil {
		return nil, err
	}
	return openKeyring(system{}, o)
}

func openKeyring(items keyStore, o KeyringOptions) (*Keyring, error) {
	if o.Warn == nil {
		o.Warn = func(string, error) {}
	}
	k := &Keyring{
		Memory: NewMemory(), o: o, vault: &vault{items, o.Service},
		listed: make(map[string]bool), owed: make(map[Key]*debt),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	loaded := make(chan error, 1)
	go func() { loaded <- k.load() }()
	select {
	case err := <-loaded:
		if err != nil {
			return nil, err
		}
	case <-time.After(openLimit):
		return nil, errNoAnswer
	}
	go k.run()
	return k, nil
}

// Root is what Options.Root once made.
func (k *Keyring) Root() []byte { return k.root }

// Put implements [Store].
func (k *Keyring) Put(ctx context.Context, key Key, value []byte, ttl time.Duration) error {
	return k.put(ctx, key, value, ttl, always, 0)
}

// PutIf implements [Store].
func (k *Keyring) PutIf(ctx context.Context, key Key, value []byte, ttl time.Duration, version uint64) error {
	if !k.keeps(key) {
		return k.Memory.PutIf(ctx, key, value, ttl, version)
	}
	return k.put(ctx, key, value, ttl, ifVersion(version), 0)
}

// PutFenced implements [Store]. Fences live in memory: so do their holders.
func (k *Keyring) PutFenced(ctx context.Context, key Key, value []byte, ttl time.Duration, fence uint64) error {
	if !k.keeps(key) {
		return k.Memory.PutFenced(ctx, key, value, ttl, fence)
	}
	return k.put(ctx, key, value, ttl, ifFence(fence), fence)
}

// PutFencedIf implements [Store].
func (k *Keyring) PutFencedIf(ctx context.Context, key Key, value []byte, ttl time.Duration, fence, version uint64) error {
	if !k.keeps(key) {
		return k.Memory.PutFencedIf(ctx, key, value, ttl, fence, version)
	}
	return k.put(ctx, key, value, ttl, both(fence, version), fence)
}

func (k *Keyring) put(ctx context.Context, key Key, value []byte, ttl time.Duration, ok condition, fence uint64) error {
	if !k.keeps(key) {
		return k.Memory.Put(ctx, key, value, ttl)
	}
	turn := k.turn(key)
	defer turn.Release()
	defer k.fenced(key, fence)
	if err := k.admits(key, ok); err != nil { // whoever writes this key has its turn
		return err
	}
	entry := &kept{value, k.wall().Add(ttl)}
	switch {
	case key.Kind == k.o.Note:
		k.owe(key, entry)
	case !k.o.Kept(value):
		was := k.alive(key)
		_ = k.Memory.Put(ctx, key, value, ttl) // never fails
		if was {
			k.remove(ctx, key)
		}
		return nil
	default:
		if err := k.store(ctx, key, entry); err != nil && !k.alive(key) {
			k.owe(key, nil)
			return err
		} else if err != nil {
			return errors.Join(err, k.Memory.Put(ctx, key, value, ttl))
		}
	}
	return k.Memory.Put(ctx, key, value, ttl)
}

// store writes a record and waits until the key store has it.
func (k *Keyring) store(ctx context.Context, key Key, e *kept) error {
	k.owe(key, e)
	if err := k.settle(ctx, key); err != nil {
		return fmt.Errorf("writing to the key store: %w", err)
	}
	return nil
}

// remove has an entry removed. A record's removal is waited for; when it fails,
// the entry is gone from memory, and goes from the key store when that works again.
func (k *Keyring) remove(ctx context.Context, key Key) {
	k.owe(key, nil)
	if key.Kind == k.o.Record {
		_ = k.settle(ctx, key) // whoever tries tells of a failure
	}
}

// alive says whether memory holds a record worth keeping.
func (k *Keyring) alive(key Key) bool {
	e, err := k.Memory.Get(context.Background(), key)
	return err == nil && k.o.Kept(e.Value)
}

// Take implements [Store].
func (k *Keyring) Take(ctx context.Context, key Key) ([]byte, error) {
	if !k.keeps(key) {
		return k.Memory.Take(ctx, key)
	}
	defer k.turn(key).Release()
	value, err := k.Memory.Take(ctx, key)
	if err == nil {
		k.remove(ctx, key)
	}
	return value, err
}

// Delete implements [Store].
func (k *Keyring) Delete(ctx context.Context, key Key) error {
	if !k.keeps(key) {
		return k.Memory.Delete(ctx, key)
	}
	defer k.turn(key).Release()
	_ = k.Memory.Delete(ctx, key) // never fails
	k.remove(ctx, key)
	return nil
}

// keeps says whether entries of a key go to the key store.
func (k *Keyring) keeps(key Key) bool { return key.Kind == k.o.Record || key.Kind == k.o.Note }

// turn lets one writer of a key in at a time, so that memory and key store end
// with the same of two values.
func (k *Keyring) turn(key Key) Hold {
	h, err := k.Memory.Lock(context.Background(), turnKey(key))
	if err != nil {
		panic("BUG: a wait without end ended")
	}
	return h
}

func turnKey(key Key) Key { return Key{Kind: "turn of " + key.Kind, ID: key.ID} }

// Lock implements [Store].
func (k *Keyring) Lock(ctx context.Context, key Key) (Hold, error) {
	h, err := k.Memory.Lock(ctx, key)
	if err != nil || key.Kind != k.o.Refresh {
		return h, err
	}
	if err := k.settle(ctx, Key{k.o.Record, key.ID}); err != nil {
		h.Release()
		return nil, fmt.Errorf("writing to the key store what is owed to it: %w", err)
	}
	k.begin()
	return &countedHold{h, sync.OnceFunc(k.done)}, nil
}

type countedHold struct {
	Hold
	done func()
}

func (h *countedHold) Release() {
	h.Hold.Release()
	h.done()
}

func (k *Keyring) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy++
}

func (k *Keyring) done() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy--; k.busy == 0 && k.idle != nil {
		close(k.idle)
		k.idle = nil
	}
}

// Close ends the store. It waits for refreshes under way, a while: the successor
// of a secret that was used up must reach the key store. Then it writes what is
// still owed.
func (k *Keyring) Close() {
	select {
	case <-k.allDone():
	case <-time.After(endLimit):
	}
	close(k.stop)
	select {
	case <-k.stopped:
	case <-time.After(answerLimit):
	}
}

// allDone is closed when no Refresh lock is held.
func (k *Keyring) allDone() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	idle := make(chan struct{})
	if k.busy == 0 {
		close(idle)
	} else {
		k.idle = idle
	}
	return idle
}
