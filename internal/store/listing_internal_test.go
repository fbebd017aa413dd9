package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listed is what a store lists of a kind.
func listed(t *testing.T, s Store, kind string) (map[string]string, Skipped) {
	t.Helper()
	all := map[string]string{}
	skipped, err := s.(Lister).List(t.Context(), kind, func(some []Item) error {
		if len(some) == 0 || len(some) > listStep {
			t.Errorf("%d entries came at once", len(some))
		}
		for _, i := range some {
			if i.Version == 0 || i.Kind != kind {
				t.Errorf("%s of version %d", i.Kind, i.Version)
			}
			all[i.ID] = string(i.Value)
		}
		return nil
	})
	must(t, err)
	return all, skipped
}

func suiteListing(t *testing.T, a, b Store) {
	ctx, want := t.Context(), map[string]string{}
	for i := range 2*listStep + 7 {
		id := fmt.Sprint("id", i)
		want[id] = "value of " + id
		must(t, a.Put(ctx, Key{"session", id}, []byte(want[id]), time.Hour))
	}
	must(t, a.Put(ctx, Key{"session-b", "x"}, nil, time.Hour))
	must(t, a.Put(ctx, Key{"used", "id1"}, nil, time.Minute))
	must(t, a.Put(ctx, Key{"session", "gone"}, nil, time.Hour))
	must(t, a.Delete(ctx, Key{"session", "gone"}))
	must(t, a.Put(ctx, Key{"session", "short"}, nil, 20*time.Millisecond))
	within(t, 5*time.Second, "the entry ends", func() bool {
		_, err := b.Get(ctx, Key{"session", "short"})
		return errors.Is(err, ErrMissing)
	})
	got, skipped := listed(t, b, "session")
	if diff := cmp.Diff(want, got); diff != "" || skipped.Unreadable != 0 {
		t.Errorf("listed (-want +got), skipped %+v\n%s", skipped, diff)
	}
	if none, _ := listed(t, b, "link"); len(none) != 0 {
		t.Errorf("%d entries of a kind that has none", len(none))
	}
	keys := []Key{{"session", "id0"}, {"session", "gone"}, {"used", "id1"}}
	for i := range 2 * listStep {
		keys = append(keys, Key{"session", fmt.Sprint("id", i)})
	}
	left, err := b.(Lister).Left(ctx, keys)
	must(t, err)
	if len(left) != len(keys) || left[1] != 0 || left[0] <= 59*time.Minute || left[0] > time.Hour || left[2] <= 50*time.Second || left[2] > time.Minute {
		t.Errorf("%d entries have %v left", len(left), left[:3])
	}
	visits, enough := 0, errors.New("enough")
	if _, err := b.(Lister).List(ctx, "session", func([]Item) error { visits++; return enough }); !errors.Is(err, enough) || visits != 1 {
		t.Errorf("after %d visits: %v, want the first visit's own error", visits, err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := b.(Lister).List(ended, "session", func([]Item) error { return nil }); err == nil {
		t.Error("a listing went on without its caller")
	}
}
