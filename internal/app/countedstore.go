package app

import (
	"context"
	"errors"
	"time"

	"sfm-sidecar/internal/store"
)

// counted is the store as the rooms use it. A shared one tells of its failures itself,
// also of those behind the rooms' backs.
func (h *house) counted() store.Store {
	if h.shared != nil {
		return h.store
	}
	return countedStore{h.store, h.metrics.StoreError}
}

// countedStore tells of every operation that failed by a fault of the store, by its
// name. That there is no such entry, or another one, is none, and neither is a caller
// that left.
type countedStore struct {
	next   store.Store
	failed func(operation string)
}

func (s countedStore) tell(operation string, err error) {
	for _, none := range []error{nil, store.ErrMissing, store.ErrChanged, store.ErrFenced, context.Canceled} {
		if errors.Is(err, none) {
			return
		}
	}
	s.failed(operation)
}

// Get implements [store.Store].
func (s countedStore) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	e, err := s.next.Get(ctx, key)
	s.tell("get", err)
	return e, err
}

// Put implements [store.Store].
func (s countedStore) Put(ctx context.Context, key store.Key, value []byte, ttl time.Duration) error {
	err := s.next.Put(ctx, key, value, ttl)
	s.tell("put", err)
	return err
}

// PutIf implements [store.Store].
func (s countedStore) PutIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, version uint64) error {
	err := s.next.PutIf(ctx, key, value, ttl, version)
	s.tell("put", err)
	return err
}

// PutFenced implements [store.Store].
func (s countedStore) PutFenced(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence uint64) error {
	err := s.next.PutFenced(ctx, key, value, ttl, fence)
	s.tell("put", err)
	return err
}

// PutFencedIf implements [store.Store].
func (s countedStore) PutFencedIf(ctx context.Context, key store.Key, value []byte, ttl time.Duration, fence, version uint64) error {
	err := s.next.PutFencedIf(ctx, key, value, ttl, fence, version)
	s.tell("put", err)
	return err
}

// Take implements [store.Store].
func (s countedStore) Take(ctx context.Context, key store.Key) ([]byte, error) {
	value, err := s.next.Take(ctx, key)
	s.tell("take", err)
	return value, err
}

// Delete implements [store.Store].
func (s countedStore) Delete(ctx context.Context, key store.Key) error {
	err := s.next.Delete(ctx, key)
	s.tell("delete", err)
	return err
}

// Watch implements [store.Store].
func (s countedStore) Watch(ctx context.Context, key store.Key) (<-chan struct{}, func(), error) {
	changed, stop, err := s.next.Watch(ctx, key)
	s.tell("watch", err)
	return changed, stop, err
}

// Lock implements [store.Store]. A wait that the caller's own time limit ended is no
// fault of the store's.
func (s countedStore) Lock(ctx context.Context, key store.Key) (store.Hold, error) {
	h, err := s.next.Lock(ctx, key)
	if ctx.Err() == nil {
		s.tell("lock", err)
	}
	return h, err
}
