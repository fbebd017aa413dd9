package keepalive

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// Log-out ends every SFM session of the person with its own tenant's token.
func TestLogOut(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		other := keyA
		other.Session = "person-2"
		for _, k := range []Key{keyA, keyB, other} {
			w.create(k)
		}
		if failures := w.End(t.Context(), "person-1"); len(failures) != 0 {
			t.Errorf("%d could not be ended", len(failures))
		}
		posts := w.sent()
		slices.Sort(posts)
		if want := []string{"0s /api/v2/Session/end token-1", "0s /api/v2/Session/end token-2"}; !slices.Equal(posts, want) {
			t.Errorf("sent %q", posts)
		}
		w.wantStates()
		if keys := w.Open("person-2"); len(keys) != 1 {
			t.Error("another person's session is gone")
		}
	})
}

// What can't be ended is told, and forgotten all the same. That SFM does not know the
// session any more is as good as an end.
func TestLogOutInPart(t *testing.T) {
	for name, tt := range map[string]struct {
		status   int
		err      error
		tokenErr error
		failed   bool
	}{
		"not known":     {status: 404},
		"gone":          {status: 410},
		"out of order":  {status: 503, failed: true},
		"refused":       {status: 401, failed: true},
		"redirected":    {status: 302, failed: true},
		"not reached":   {err: errors.New("refused"), failed: true},
		"without token": {status: 204, tokenErr: errors.New("down"), failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, w *world) {
				w.create(keyA)
				w.always(tt.status, tt.err)
				w.set(func() { w.tokenErr = tt.tokenErr })
				failures := w.End(t.Context(), "person-1")
				if (len(failures) == 1) != tt.failed {
					t.Errorf("%d failures", len(failures))
				}
				for _, f := range failures {
					answer, answered := errors.AsType[*StatusError](f.Err)
					if f.Key != keyA || answered != (tt.status != 0 && tt.tokenErr == nil) || answered && answer.Status != tt.status {
						t.Errorf("the failure is %v, of the wrong session or cause", f.Err)
					}
				}
				w.wantStates()
			})
		})
	}
}

// However many there are, and whether SFM answers or not, log-out takes a few seconds.
func TestLogOutIsBounded(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.create(keyB)
		w.set(func() {
			w.answer = func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		})
		begun := time.Now()
		if failures := w.End(t.Context(), "person-1"); len(failures) != 2 || time.Since(begun) != endTimeout {
			t.Errorf("%d failures after %v", len(failures), time.Since(begun))
		}
	})
}

// A session that was lost is ended too, for what it is worth; nobody is told if not.
func TestLogOutOfALostSession(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		time.Sleep(life)
		w.wantStates(Lost)
		w.always(409, nil)
		if failures := w.End(t.Context(), "person-1"); len(failures) != 0 {
			t.Error("told of a session that was lost anyway")
		}
		w.wantSent("1h0m0s /api/v2/Session/end token-1")
	})
}
