//go:build !windows

package config

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A named pipe that nobody writes to would hold up the start for ever.
func TestNamedPipes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"SIDECAR_CALLER_KEY_FILE", "SIDECAR_ENV_FILE", "SIDECAR_CA_FILE"} {
		refused := make(chan bool, 1)
		go func() {
			var found findings
			load([]string{variable + "=" + path}, &found)
			refused <- found.has(variable)
		}()
		select {
		case ok := <-refused:
			if !ok {
				t.Errorf("%s: a pipe is no fault", variable)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: it waits for somebody to write", variable)
		}
	}
}
