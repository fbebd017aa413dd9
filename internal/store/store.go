// Package store holds what replicas of the sidecar share: sessions, log-ins
// under way, and the locks that keep two of them from using one refresh token
// at the same time.
//
// The rooms above see only the [Store] interface. An entry is a few hundred
// bytes under a [Key], lives for a stated time, and carries a version, so that
// a reader can tell whether what it decoded last time is still what is there.
// [Memory] keeps everything in the process; nothing of it survives a restart.
// [Keyring] writes through to the key store of a desktop, [Redis] is shared by
// all replicas of a fleet.
package store

import (
	"context"
	"errors"
	"time"
)

// ErrMissing says that there is no such entry, or that its time is over.
var ErrMissing = errors.New("no such entry")

// Refusals of a write that has a condition. The entry is as it was.
var (
	// ErrChanged says that the entry is not the version that was expected.
	ErrChanged = errors.New("the entry was changed meanwhile")
	// ErrFenced says that a later holder of the lock has written the entry.
	ErrFenced = errors.New("a later holder of the lock has written the entry")
)

// ErrLost is the cause of the end of a hold's context when the lock went to others
// before it was released, or may have.
var ErrLost = errors.New("the lock was lost")

// Key names an entry. Kind keeps the rooms' entries apart ("session", say);
// ID is never a secret itself but a keyed hash of one.
type Key struct {
	Kind string
	ID   string
}

// Entry is a stored value. Value must not be modified.
type Entry struct {
	Value []byte
	// Version differs whenever the value of the same key was written anew. It is
	// never 0, and says nothing of which is the newer.
	Version uint64
}

// Store keeps entries for a limited time. It is safe for concurrent use.
// A failure of the engine behind it comes back as an error that is none of those
// above; what was to be written may have been written then.
type Store interface {
	// Get reads an entry, or returns ErrMissing.
	Get(ctx context.Context, key Key) (Entry, error)
	// Put writes an entry that lives for ttl, which must be above zero, and
	// wakes those who watch it.
	Put(ctx context.Context, key Key, value []byte, ttl time.Duration) error
	// PutIf is a Put that happens only when the entry still has this version; 0
	// stands for an entry that is not there. Otherwise it returns ErrChanged.
	PutIf(ctx context.Context, key Key, value []byte, ttl time.Duration, version uint64) error
	// PutFenced is a Put under a lock. It returns ErrFenced when a later holder of
	// that lock has written the entry so: what [Hold].Fence gave is less than what
	// stands in the entry. One lock guards an entry; other writes leave the fence as
	// it is, and an entry that ends takes it along.
	PutFenced(ctx context.Context, key Key, value []byte, ttl time.Duration, fence uint64) error
	// PutFencedIf is a PutFenced that happens only when the entry still has this
	// version; otherwise it returns ErrChanged.
	PutFencedIf(ctx context.Context, key Key, value []byte, ttl time.Duration, fence, version uint64) error
	// Take reads an entry and removes it in one step: of many that take the
	// same entry one gets it, the others get ErrMissing.
	Take(ctx context.Context, key Key) ([]byte, error)
	// Delete removes an entry; one that is not there is no error.
	Delete(ctx context.Context, key Key) error
	// Watch returns a channel that is closed at the next change of the entry.
	// The caller must call stop when it no longer waits. It may be closed without a
	// change, so the caller reads again. The end of an entry's time is no change.
	Watch(ctx context.Context, key Key) (changed <-chan struct{}, stop func(), err error)
	// Lock waits until nobody else holds the key, or until ctx ends. The waiters of
	// one process are served in the order they came. The lock stays held until it
	// is released, also after the end of ctx.
	Lock(ctx context.Context, key Key) (Hold, error)
}

// Hold is a lock that was obtained.
type Hold interface {
	// Context ends with the context that was given to Lock, and when the hold is
	// released or was lost (the cause is ErrLost then); work that the lock protects
	// runs under it.
	Context() context.Context
	// Fence is greater for every later holder of the lock, and never 0.
	Fence() uint64
	// Release gives the lock back. Calling it again does nothing.
	Release()
}

// Counter is a [Store] that can tell at once how many entries of a kind are alive.
type Counter interface {
	Len(kind string) int
}
