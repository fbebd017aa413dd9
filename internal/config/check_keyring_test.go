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
		_, _, err := config.Load(with("SIDECAR_SESSION_STORE=keyring", "SIDECAR_STORE="+shared))
		faults, _ := errors.AsType[config.Faults](err)
		if found := slices.ContainsFunc(faults, func(f config.Fault) bool {
			return f.Variable == "SIDECAR_SESSION_STORE" && strings.Contains(f.Problem, "can't be in both") && f.Mend != ""
		}); found != contradiction {
			t.Errorf("with %q: %v", shared, err)
		}
	}
}
