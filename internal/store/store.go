// Package store holds what replicas of the sidecar share: sessions, log-ins
// under way, and the locks that keep two of them from using one refresh token
// at the same time.
//
// The rooms above see only the [Store] interface. An entry is a few hundred
// bytes under a [Key], lives for a stated time, and carries a version, so that
// a reader can tell whether what it decoded last time is still what is there.
// [Memory] keeps everything in the process; nothing of it survives a restart.
package store

import (
	"context"
	"errors"
	"time"
)

// ErrMissing says that there is no such entry, or that its time is over.
var ErrMissing = errors.New("no such entry")

// Key names an entry. Kind keeps the rooms' entries apart ("session", say);
// ID is never a secret itself but a keyed hash of one.
type Key struct {
	Kind string
	ID   string
}

// Entry is a stored value. Value must not be modified.
type Entry struct {
	Value []byte
	// Version differs whenever the value of the same key was written anew.
	Version uint64
}

// Store keeps entries for a limited time. It is safe for concurrent use.
// A failure of the engine behind it comes back as an error that is not
// [ErrMissing].
type Store interface {
	// Get reads an entry, or returns ErrMissing.
	Get(ctx context.Context, key Key) (Entry, error)
	// Put writes an entry that lives for ttl, which must be above zero, and
	// wakes those who watch it.
	Put(ctx context.Context, key Key, value []byte, ttl time.Duration) error
	// Take reads an entry and removes it in one step: of many that take the
	// same entry one gets it, the others get ErrMissing.
	Take(ctx context.Context, key Key) ([]byte, error)
	// Delete removes an entry; one that is not there is no error.
	Delete(ctx context.Context, key Key) error
	// Watch returns a channel that is closed at the next change of the entry.
	// The caller must call stop when it no longer waits.
	Watch(ctx context.Context, key Key) (changed <-chan struct{}, stop func(), err error)
	// Lock waits until nobody else holds the key, or until ctx ends. Waiters
	// are served in the order they came.
	Lock(ctx context.Context, key Key) (Hold, error)
}

// Hold is a lock that was obtained.
type Hold interface {
	// Context ends when the hold is released or was lost; work that the lock
	// protects runs under it.
	Context() context.Context
	// Release gives the lock back. Calling it again does nothing.
	Release()
}
