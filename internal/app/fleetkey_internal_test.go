package app

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/store"
)

// Of many replicas that start at once, one makes the key.
func TestFleetKey(t *testing.T) {
	shared := store.NewMemory()
	var all sync.WaitGroup
	keys := make([][]byte, 20)
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = fleetKey(t.Context(), shared); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Fatal("two keys in a fleet")
		}
	}
	if _, err := (identity{DPoPKey: keys[0]}).dpopKey(); err != nil {
		t.Error(err)
	}
}

// deaf is a store that can't be written.
type deaf struct{ store.Store }

var errDeaf = errors.New("read-only")

func (deaf) PutIf(context.Context, store.Key, []byte, time.Duration, uint64) error { return errDeaf }

// A key that the store did not take is nobody's.
func TestFleetKeyNotStored(t *testing.T) {
	if key, err := fleetKey(t.Context(), deaf{store.NewMemory()}); !errors.Is(err, errDeaf) || key != nil {
		t.Errorf("%d bytes, %v", len(key), err)
	}
}
