package tokencache

import (
	"context"
	"crypto/rand"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestWeight holds what a token takes in the memory of a replica to what docs/scale.md
// plans with.
func TestWeight(t *testing.T) {
	const many, most = 5000, 4500
	c, err := New(Options{Entries: many, RefreshBefore: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := func(n int) string { return strings.Repeat(rand.Text(), n/26+1)[:n] }
	before := heap()
	for range many {
		k := Key{Grant: "user", Parent: text(9), Child: text(9), Journal: text(36), Subject: text(43), Scopes: text(60), Audience: text(30), Thumbprint: text(43)}
		mint := func(context.Context) (*Token, error) {
			return &Token{AccessToken: text(2000), Type: "DPoP", Sent: time.Now(), Lifetime: time.Hour, Thumbprint: k.Thumbprint}, nil
		}
		if _, err := c.Token(t.Context(), k, mint); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / many
	t.Logf("a token takes %.0f bytes", each)
	if each > most {
		t.Errorf("a token takes %.0f bytes, want at most %d", each, most)
	}
}

func heap() float64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}
