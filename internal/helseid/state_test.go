package helseid

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// State tells of clock and brake, and a new key is another generation.
func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var good atomic.Bool
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
			if good.Load() {
				f.grant(w, nil, nil)
				return
			}
			writeError(w, 401, errInvalidClient, "")
		}
		ring := NewKeyRing(testKey(t))
		begun := time.Now()
		c := f.client(func(o *Options) { o.Keys = ring })
		if s := c.State(); s != (State{}) {
			t.Errorf("before anything was asked: %+v", s)
		}
		_, err := refresh(t.Context(), c)
		wantError(t, err, codeNotApproved)
		if s := c.State(); s.Refused != codeNotApproved || !s.Until.Equal(time.Now().Add(brakeTime)) || !s.Measured {
			t.Errorf("with the brake pulled: %+v", s)
		}
		time.Sleep(time.Second)
		ring.Replace(testKey(t))
		if _, since := ring.InUse(); !since.Equal(begun.Add(time.Second)) {
			t.Errorf("the new key is in use since %v", since)
		}
		if s := c.State(); s.Refused != "" {
			t.Errorf("the refusal of another key: %+v", s)
		}
	})
}
