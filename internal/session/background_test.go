package session_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// After Close nothing more goes on.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newIdleRig(t, time.Hour)
		r.active(t)
		r.Close()
		time.Sleep(2 * time.Hour)
		if revoked, ended := r.over(); len(revoked) > 0 || ended > 0 {
			t.Error("a session was ended after the end")
		}
	})
}

// A refresh that was sent ends before its process does, and leaves its successor.
func TestRefreshBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handle := a.active(t)
		a.helseID.took = 5 * time.Second
		go a.refresh(t, handle, "")
		synctest.Wait()
		began := time.Now()
		a.Close()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the end took %v", took)
		}
		a.refresh(t, handle, "draining")
		b.refresh(t, handle, "")
	})
}
