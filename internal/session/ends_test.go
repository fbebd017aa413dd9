package session_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// The nearest end is the first of all that are known, and one that is over is none.
func TestNearestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if end := r.NearestEnd(); !end.IsZero() {
			t.Errorf("without sessions: %v", end)
		}
		r.active(t)
		first := r.NearestEnd()
		if first.IsZero() {
			t.Fatal("a session's end is not known")
		}
		time.Sleep(time.Minute)
		second := r.active(t)
		if got := r.NearestEnd(); !got.Equal(first) {
			t.Errorf("with a later one: %v, want %v", got, first)
		}
		time.Sleep(time.Until(first))
		if got := r.NearestEnd(); !got.Equal(first.Add(time.Minute)) {
			t.Errorf("when the first is over: %v, want %v", got, first.Add(time.Minute))
		}
		if _, err := r.End(t.Context(), second, "", false); err != nil {
			t.Fatal(err)
		}
		if got := r.NearestEnd(); !got.IsZero() {
			t.Errorf("after the log-out: %v", got)
		}
	})
}
