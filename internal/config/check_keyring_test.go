package config_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/config"
)

// A session can't be in a shared store and in a desktop's key store.
func TestKeyringAndSharedStore(t *testing.T) {
	for shared, contradiction := range map[string]bool{"": false, "memory": false, "redis://127.0.0.1": true} {
		_, _, err := config.Load(with("SIDECAR_SESSION_STORE=keyring", "SIDECAR_STORE="+shared, "SIDECAR_STORE_KEY="+map[bool]string{true: storeKey}[contradiction]))
		faults, _ := errors.AsType[config.Faults](err)
		if found := slices.ContainsFunc(faults, func(f config.Fault) bool {
			return f.Variable == "SIDECAR_SESSION_STORE" && strings.Contains(f.Problem, "can't be in both") && f.Mend != ""
		}); found != contradiction {
			t.Errorf("with %q: %v", shared, err)
		}
	}
}

// The keys of a shared store come in the order of the list.
func TestStoreKeys(t *testing.T) {
	c, _, err := config.Load(with("SIDECAR_STORE=unix:///run/redis.sock", "SIDECAR_STORE_KEY="+storeKey+", "+strings.Replace(storeKey, "AAEC", "BBEC", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if keys := c.Keep.StoreKeys(); !c.Keep.Shared() || len(keys) != 2 || keys[0][0] != 0 || keys[1][0] != 4 || len(keys[1]) != 32 {
		t.Errorf("%d keys, shared %t", len(keys), c.Keep.Shared())
	}
}
