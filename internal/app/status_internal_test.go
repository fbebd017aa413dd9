package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
	"sfm-sidecar/internal/tokencache"
)

// TestStatusOfAHugeRegistry: what is listed is masked, and only that, since it is what
// makes a page slow.
func TestStatusOfAHugeRegistry(t *testing.T) {
	const tenants = 2000
	var file strings.Builder
	file.WriteString("tenants:\n")
	for i := range tenants {
		_, _ = fmt.Fprintf(&file, "  \"t 010203 %05d\": {parent: \"100100126\", journal: 5f3a0001-0000-4000-8000-%012d}\n", i, i)
	}
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := tenantmap.New(tenantmap.Options{Listed: true})
	if err != nil {
		t.Fatal(err)
	}
	var h house
	if h.registry, err = openRegistry(config.Tenants{File: path}, all, slog.New(slog.DiscardHandler), telemetry.NewMetrics("test")); err != nil {
		t.Fatal(err)
	}
	if h.witness, err = newWitness("test", nil); err != nil {
		t.Fatal(err)
	}
	if h.cache, err = tokencache.New(tokencache.Options{Entries: 1}); err != nil {
		t.Fatal(err)
	}
	listed, more, _ := h.tenantStates()
	if len(listed) != maxTenants || more != tenants-maxTenants {
		t.Errorf("%d listed, %d more", len(listed), more)
	}
	for _, one := range listed {
		if one.Alias == "" || strings.Contains(one.Alias, "010203") {
			t.Fatalf("an alias is not masked: %q", one.Alias)
		}
	}
	if each := testing.AllocsPerRun(3, func() { h.tenantStates() }) / tenants; each > 6 {
		t.Errorf("%.1f allocations for each tenant of the registry, listed or not", each)
	}
}
