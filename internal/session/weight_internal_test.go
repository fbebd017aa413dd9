package session

import (
	"crypto/rand"
	"runtime"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

// silentHelseID is never asked.
type silentHelseID struct{ HelseID }

// TestWeight holds what sessions take in the memory of a replica to what docs/scale.md
// plans with.
func TestWeight(t *testing.T) {
	const many, most, mostWatched = 5000, 3000, 300
	m, err := New(Options{Store: store.NewMemory(), HelseID: silentHelseID{}, Shared: true, Idle: 12 * time.Hour, Decoded: many})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ids := make([]string, many)
	for i := range ids {
		ids[i] = m.ID(rand.Text())
	}
	each := func(do func(id string)) float64 {
		before := heap()
		for _, id := range ids {
			do(id)
		}
		return (heap() - before) / many
	}
	known := each(func(id string) { m.remember(id, &decoded{record: usualRecord()}) })
	watched := each(func(id string) { m.scheduleLook(id, 12*time.Hour) })
	t.Logf("a session takes %.0f bytes, to look after it %.0f", known, watched)
	if known > most || watched > mostWatched {
		t.Errorf("a session takes %.0f bytes, want at most %d; to look after it %.0f, want at most %d", known, most, watched, mostWatched)
	}
}

// usualRecord is a session that was logged in a while ago, with tokens as long as HelseID's.
func usualRecord() *record {
	long := func(n int) string { return strings.Repeat(rand.Text(), n/26+1)[:n] }
	return &record{
		State: Active, Begun: time.Now(), Tenants: []Tenant{{long(9), long(9), long(36)}, {long(9), long(9), long(36)}},
		Person:       helseid.Person{PID: long(11), Name: long(20)},
		RefreshToken: long(100), IDToken: long(1500), Key: long(43), Expires: time.Now(),
	}
}

func heap() float64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}
