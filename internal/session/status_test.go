package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/session"
)

func TestStatusWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		handle, link, browser, state := r.pending(t, session.Begin{})
		begun := time.Now()
		go func() {
			time.Sleep(time.Second)
			if _, err := r.Open(context.WithoutCancel(t.Context()), link, browser); err != nil { // no change of state
				t.Error(err)
			}
			time.Sleep(6 * time.Second)
			if err := r.Finish(context.WithoutCancel(t.Context()), own(state, browser)); err != nil {
				t.Error(err)
			}
		}()
		s, err := r.Status(t.Context(), handle, "", 30*time.Second)
		if err != nil || s.State != session.Active || time.Since(begun) != 7*time.Second {
			t.Errorf("%s after %v, %v", s.State, time.Since(begun), err)
		}
		s, err = r.Status(t.Context(), handle, "", 30*time.Second)
		if err != nil || s.State != session.Active || time.Since(begun) != 37*time.Second {
			t.Errorf("%s after %v, %v", s.State, time.Since(begun), err)
		}
		leaving, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err = r.Status(leaving, handle, "", 30*time.Second); err != nil || time.Since(begun) != 40*time.Second {
			t.Errorf("who left waited until %v, %v", time.Since(begun), err)
		}
	})
}
