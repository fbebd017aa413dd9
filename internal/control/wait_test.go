package control

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/session"
)

// stillPending are sessions whose log-ins nobody finishes.
type stillPending struct{ Sessions }

func (stillPending) Status(ctx context.Context, _, _ string, wait time.Duration) (session.Status, error) {
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return session.Status{State: session.Pending}, nil
}

// Who asks again and again where too many wait asks about once a second, and has a place
// as soon as there is one; not more than so many are held, and none at the end.
func TestTooManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping := make(chan struct{})
		h := New(Options{Sessions: stillPending{}, Stopping: stopping})
		ask := func(wait string) time.Duration {
			r := httptest.NewRequest(http.MethodGet, "/_sidecar/session?wait="+wait, nil)
			r.Header.Set(session.Header, "a-handle-of-a-session")
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			begun := time.Now()
			if err := h.Serve(httptest.NewRecorder(), r.WithContext(ctx)); err != nil {
				t.Error(err)
			}
			return time.Since(begun)
		}
		var all sync.WaitGroup
		fill := func(n int, wait string) {
			for range n {
				all.Go(func() { ask(wait) })
			}
			synctest.Wait()
		}
		fill(maxWaiting, "60s")
		for range 3 {
			if took := ask("60s"); took < time.Second || took >= 2*time.Second {
				t.Errorf("one too many was answered after %v", took)
			}
		}
		if took := ask("10ms"); took != 10*time.Millisecond {
			t.Errorf("asked for 10ms, waited %v", took)
		}
		fill(maxHesitating, "60s")
		if took := ask("60s"); took != 0 {
			t.Errorf("one more than are held waited %v", took)
		}
		all.Wait()
		if took := ask("60s"); took != 60*time.Second {
			t.Errorf("with places free, waited %v", took)
		}
		fill(maxWaiting, "60s")
		if took := ask("60s"); took < time.Second || took >= 2*time.Second {
			t.Errorf("later, one too many was answered after %v", took)
		}
		fill(10, "60s")
		begun := time.Now()
		close(stopping)
		if all.Wait(); time.Since(begun) != 0 {
			t.Errorf("the end waited %v", time.Since(begun))
		}
	})
}
