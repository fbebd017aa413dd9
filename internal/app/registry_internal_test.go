package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
)

// TestRegistryStatus is what the status page reads: after a good content, a broken
// one, and a good one again.
func TestRegistryStatus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(path, []byte("tenants:\n  a: {parent: \"100100126\", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, _ := telemetry.NewLogger(&out, "info", "json")
	tenants, err := tenantmap.New(tenantmap.Options{Listed: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRegistry(config.Tenants{File: path}, tenants, log, telemetry.NewMetrics("test"))
	if err != nil {
		t.Fatal(err)
	}
	first := r.status()
	if first.File != path || first.Tenants != 1 || first.Loaded.IsZero() || first.Broken != nil {
		t.Errorf("at first: %+v", first)
	}
	var broken tenantmap.Faults
	for range 2 * maxTold {
		broken = append(broken, tenantmap.Fault{Position: tenantmap.Position{File: path, Line: 3, Column: 4}, Message: "is wrong", Mend: "mend it"})
	}
	r.take(nil, broken)
	if s := r.status(); len(s.Broken) != len(broken) || s.Tenants != 1 || s.Loaded != first.Loaded {
		t.Errorf("broken: %+v", s)
	}
	if _, err := tenants.Alias("a"); err != nil {
		t.Errorf("the last good one is gone: %v", err)
	}
	if text := out.String(); strings.Count(text, "the last good one stays") != maxTold || !strings.Contains(text, path+":3:4") || !strings.Contains(text, "mend it") {
		t.Errorf("the log says\n%s", text)
	}
	r.take(tenantmap.Load(path))
	if s := r.status(); len(s.Broken) != 0 || s.Tenants != 1 {
		t.Errorf("mended: %+v", s)
	}
	// What looks wrong is said once, as long as it stays.
	odd := "tenants:\n  a: {parent: \"100100127\", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}\n"
	for i, test := range []struct {
		content string
		said    int
	}{{odd, 1}, {"# moved\n" + odd, 1}, {strings.ReplaceAll(odd, "100100127", "100100126"), 1}, {odd, 2}} {
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		r.take(tenantmap.Load(path))
		if got := strings.Count(out.String(), "says what SFM would refuse"); got != test.said {
			t.Errorf("content %d: said %d times, want %d", i, got, test.said)
		}
	}
	none, err := openRegistry(config.Tenants{}, tenants, log, telemetry.NewMetrics("test"))
	if err != nil || none.status().File != "" || none.status().Tenants != 0 {
		t.Errorf("without a file: %v", err)
	}
}
