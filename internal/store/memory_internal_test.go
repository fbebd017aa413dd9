package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A laptop that slept over the end of an entry, or whose clock was set back.
func TestEitherClockEndsAnEntry(t *testing.T) {
	tests := map[string]struct {
		passed, wall time.Duration // by the one clock and by the other
		alive        bool
	}{
		"both go on":           {59 * time.Minute, 59 * time.Minute, true},
		"slept too long":       {time.Minute, time.Hour, false},
		"slept a little":       {time.Minute, 59 * time.Minute, true},
		"set back and too old": {time.Hour, -time.Hour, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, begun := NewMemory(), wallClock()
				s.wall = func() time.Time { return begun }
				key := Key{Kind: "used", ID: "a"}
				if err := s.Put(t.Context(), key, nil, time.Hour); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.passed)
				s.wall = func() time.Time { return begun.Add(tt.wall) }
				if _, err := s.Get(t.Context(), key); errors.Is(err, ErrMissing) == tt.alive {
					t.Errorf("Get: %v", err)
				}
				if n := s.Len("used"); (n == 1) != tt.alive {
					t.Errorf("Len %d", n)
				}
				time.Sleep(sweepEvery)
				if err := s.Put(t.Context(), Key{Kind: "other"}, nil, time.Hour); err != nil {
					t.Fatal(err)
				}
				if _, kept := s.entries[key]; !tt.alive && kept {
					t.Error("not swept")
				}
			})
		})
	}
}

func TestWatcherThatStopsLeavesNothing(t *testing.T) {
	s, key := NewMemory(), Key{Kind: "session", ID: "a"}
	_, stopFirst, err := s.Watch(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	second, stopSecond, err := s.Watch(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	stopFirst()
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second:
	default:
		t.Error("the one that stayed was not woken")
	}
	_, stopThird, err := s.Watch(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	stopSecond() // after it was woken
	stopThird()
	if len(s.watchers) != 0 {
		t.Errorf("%d keys are still watched", len(s.watchers))
	}
}
