package app

import (
	"testing"

	"sfm-sidecar/internal/store"
	"sfm-sidecar/internal/telemetry"
)

// A shared store tells of its failures itself: told of here too, each would count twice.
func TestFailuresCountOnce(t *testing.T) {
	t.Parallel()
	shared := new(store.Redis)
	if h := (&house{store: shared, shared: shared}); h.counted() != store.Store(shared) {
		t.Error("a shared store is counted")
	}
	if _, ok := (&house{store: store.NewMemory(), metrics: telemetry.NewMetrics("")}).counted().(countedStore); !ok {
		t.Error("another store is not")
	}
}

func TestBare(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"redis://valkey:6379": true, "rediss://valkey:6379": false, "unix:///run/s": false, "redis://localhost:6379": false,
		"redis://127.0.0.1:6379": false, "redis://[::1]:6379": false, "redis://10.0.0.1:6379": true,
		"redis://localhost:1?cluster=true&addr=valkey:6379": true, "redis://localhost:1?cluster=true&addr=127.0.0.1:2": false,
	} {
		if got := bare(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
