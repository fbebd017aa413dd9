package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sfm-sidecar/internal/config"
)

// The caller key is found whatever else is wrong with the environment.
func TestCallerKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environ []string
		key     string
		faults  int
	}{
		"none":         {nil, "", 0},
		"a variable":   {[]string{"SIDECAR_CALLER_KEY=plain"}, "plain", 0},
		"a file":       {[]string{"SIDECAR_CALLER_KEY_FILE=" + file}, "from-a-file", 0},
		"both":         {[]string{"SIDECAR_CALLER_KEY=plain", "SIDECAR_CALLER_KEY_FILE=" + file}, "", 1},
		"no such file": {[]string{"SIDECAR_CALLER_KEY_FILE=" + file + ".not"}, "", 1},
		"other faults": {[]string{"SIDECAR_CALLER_KEY=plain", "HELSEID_CLIENT_JWK_FILE=" + file + ".not", "SFM_UPSTREAMS=x"}, "plain", 0},
	} {
		key, err := config.CallerKey(c.environ)
		faults, _ := errors.AsType[config.Faults](err)
		if key.Reveal() != c.key || len(faults) != c.faults {
			t.Errorf("%s: %d faults", name, len(faults))
		}
	}
}
