//go:build unix

package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is another's, or can't be opened, is counted and never shown.
func TestListingSkips(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	other := openTest(t, s.url(), func(o *RedisOptions) { o.Space = "another" })
	stranger := openTest(t, s.url(), func(o *RedisOptions) { o.Keys = [][]byte{[]byte("a key that nobody else has here!"), keyOne} })
	must(t, r.Put(ctx, Key{"session", "mine"}, []byte("v"), time.Hour))
	for i := range 3 {
		must(t, other.Put(ctx, Key{"session", fmt.Sprint(i)}, []byte("secret"), time.Hour))
	}
	must(t, stranger.Put(ctx, Key{"session", "later"}, []byte("secret"), time.Hour))
	s.cli(t, "SET", "sfm:session:{abc}", "rubbish", "PX", "60000")
	s.cli(t, "SET", "sfm:session:abc", "not a name of ours", "PX", "60000")
	all, skipped := listed(t, r, "session")
	if diff := cmp.Diff(map[string]string{"mine": "v"}, all); diff != "" || skipped != (Skipped{Others: 3, Unreadable: 2}) {
		t.Errorf("skipped %+v, listed (-want +got)\n%s", skipped, diff)
	}
	if n, err := r.Count(ctx, "session"); n != 6 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	if !strings.HasPrefix(s.cli(t, "GET", "sfm:session:{abc}"), "rubbish") {
		t.Error("a listing removed something")
	}
}

// A server that does not answer is told of as such.
func TestListingFails(t *testing.T) {
	s := startRedis(t)
	r := openTest(t, s.url(), func(o *RedisOptions) { o.Timeout = 50 * time.Millisecond })
	must(t, r.Put(t.Context(), one, nil, time.Hour))
	visit := func([]Item) error { s.pause(t); return nil }
	_, err := r.List(t.Context(), one.Kind, visit)
	must(t, err) // it had told all by then
	if _, err = r.Left(t.Context(), []Key{one}); refusal(err) != Slow {
		t.Errorf("a server that is paused: %v", err)
	}
	if _, err = r.List(t.Context(), one.Kind, visit); refusal(err) != Slow {
		t.Errorf("a server that is paused: %v", err)
	}
	s.resume(t)
	within(t, 5*time.Second, "it lists again", func() bool {
		_, err := r.List(t.Context(), one.Kind, func([]Item) error { return nil })
		return err == nil
	})
}
