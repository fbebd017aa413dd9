package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// A store that fails within a log-in costs nobody the log-in: the same callback may come
// again, and what HelseID gave for the code is kept for it.
func TestFinishWhileTheStoreFails(t *testing.T) {
	for name, at := range map[string]string{"after the state was used": "state", "after the session was noted": session.KindUsed} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newFleet(t)
				handle, _, browser, state := a.pending(t, session.Begin{})
				a.store.put = func(key store.Key) {
					if key.Kind == at {
						a.store.down.Store(true)
					}
				}
				exchanged := 0
				a.helseID.exchange = func() error { exchanged++; return nil }
				wantCode(t, a.Finish(t.Context(), own(state, browser)), "store-unavailable", "")
				a.store.put = nil
				a.store.down.Store(false)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if err := b.Finish(t.Context(), own(state, browser)); err != nil {
					t.Fatalf("the callback did not come again: %v", err)
				}
				wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
				b.refresh(t, handle, "")
				if revoked, _ := a.over(); exchanged != 1 || len(revoked) != 0 {
					t.Errorf("the code was sent %d times, revoked %v", exchanged, revoked)
				}
			})
		})
	}
}

// A log-in that was written although the store's answer to that was lost goes on, and ends
// as any other does.
func TestFinishWithoutAnswerOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		a.helseID.lifetime = 24 * time.Hour
		handle, _, browser, state := a.pending(t, session.Begin{})
		a.store.late = true
		a.store.put = func(key store.Key) {
			if key.Kind == session.KindRecord {
				a.store.down.Store(true)
			}
		}
		wantCode(t, a.Finish(t.Context(), own(state, browser)), "store-unavailable", "")
		a.store.put = nil
		a.store.down.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		if _, err := b.Refresh(t.Context(), b.ID(handle), helseid.Request{}); err != nil {
			t.Errorf("the log-in is lost: %v", err)
		}
		if revoked, _ := a.over(); len(revoked) != 0 {
			t.Errorf("revoked %v", revoked)
		}
		time.Sleep(14 * time.Hour) // nobody uses it, and nobody else watches it
		if revoked, _ := a.over(); len(revoked) != 1 {
			t.Errorf("revoked %v", revoked)
		}
	})
}

// A replica that dies with a code it has used leaves a log-in that nobody can finish: the
// callback says so when it comes again, once no exchange can be under way.
func TestFinishCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t)
		handle, _, browser, state := a.pending(t, session.Begin{})
		goOn := make(chan struct{})
		a.helseID.exchange = func() error { <-goOn; return errDown }
		gone := make(chan error)
		go func() { gone <- a.Finish(t.Context(), own(state, browser)) }()
		synctest.Wait()
		wantState := func(want session.State) {
			t.Helper()
			if s, err := b.Status(t.Context(), handle, "", 0); err != nil || s.State != want {
				t.Errorf("%v, %v, want %s", s.State, err, want)
			}
		}
		time.Sleep(130 * time.Second) // as long as an exchange may take
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		wantState(session.Pending)
		time.Sleep(20 * time.Second)
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "expired")
		wantState(session.Failed)
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		close(goOn)
		if err := <-gone; err == nil {
			t.Error("a log-in that had failed was finished")
		}
		wantState(session.Failed)

		a.helseID.exchange = nil
		handle = b.active(t)
		state = b.helseID.pushed[len(b.helseID.pushed)-1].State
		time.Sleep(time.Minute * 3)
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		wantState(session.Active)
	})
}

// Who has a clock that is minutes off takes nobody's log-in for cut off.
func TestFinishTwiceWithWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFleet(t, func(n int, o *session.Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(n) * 4 * time.Minute) }
		})
		_, _, browser, state := a.pending(t, session.Begin{})
		goOn := make(chan struct{})
		a.helseID.exchange = func() error { <-goOn; return nil }
		done := make(chan error)
		go func() { done <- a.Finish(t.Context(), own(state, browser)) }()
		synctest.Wait()
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		close(goOn)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
