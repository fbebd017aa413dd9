package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// roll is who of the replicas of a test is there.
type roll struct {
	mu    sync.Mutex // guards what follows
	there map[string]bool
	stood time.Duration // for how long back it can tell
	asked int           // how often somebody was looked for
}

func (r *roll) Attend() store.Attendance {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &seat{r, fmt.Sprint("replica ", len(r.there))}
	if r.there == nil {
		r.there = map[string]bool{}
	}
	r.there[s.id] = true
	return s
}

// all has all who ever attended be there, or away.
func (r *roll) all(there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range maps.Keys(r.there) {
		r.there[id] = there
	}
}

// count is how many are there.
func (r *roll) count() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, there := range r.there {
		if there {
			n++
		}
	}
	return n
}

// seat is one's place on a roll.
type seat struct {
	roll *roll
	id   string
}

func (s *seat) ID() string { return s.id }

func (s *seat) Seen(context.Context) bool {
	s.roll.mu.Lock()
	defer s.roll.mu.Unlock()
	return s.roll.there[s.id]
}

func (s *seat) Gone(_ context.Context, id string, ago time.Duration) bool {
	time.Sleep(10 * time.Second) // as long as it takes
	s.roll.mu.Lock()
	defer s.roll.mu.Unlock()
	s.roll.asked++
	return !s.roll.there[id] && ago < s.roll.stood
}

func (s *seat) Leave() {
	s.roll.mu.Lock()
	defer s.roll.mu.Unlock()
	s.roll.there[s.id] = false
}

// newSeenFleet is newFleet of which it is known who is there: a alone attends.
func newSeenFleet(t *testing.T) (a, b *rig, r *roll) {
	r = &roll{stood: time.Hour}
	a, b = newFleet(t, func(n int, o *session.Options) {
		o.Presence = []store.Presence{r, watcher{r}}[n]
	})
	return a, b, r
}

// watcher looks, and is not seen.
type watcher struct{ *roll }

func (w watcher) Attend() store.Attendance { return &seat{w.roll, "nobody"} }

// A replica that dies in the middle of a refresh costs the person ten seconds, and then
// the one replay there is. Who only might have died costs the minutes that an exchange
// may take.
func TestSenderGone(t *testing.T) {
	for name, c := range map[string]struct {
		there bool
		stood time.Duration // before the first call of the other
		ahead time.Duration // the store's clock was before, that it has now is not
		sent  bool          // once more, after ten seconds
	}{
		"died":             {false, time.Hour, 0, true},
		"is there":         {true, time.Hour, 0, false},
		"nobody can tell":  {false, 20 * time.Second, 0, false},
		"by another clock": {false, 20 * time.Second, 15 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, r := newSeenFleet(t)
				handle := a.active(t)
				a.store.full.Store(true) // what it gets is written by nobody
				a.refresh(t, handle, "store-unavailable")
				time.Sleep(20 * time.Second)
				r.all(c.there)
				r.stood = c.stood
				key := store.Key{Kind: "spent", ID: b.ID(handle)}
				note, err := b.store.Memory.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				left := 24*time.Hour - 20*time.Second + c.ahead
				if err := b.store.Memory.Put(t.Context(), key, note.Value, left); err != nil {
					t.Fatal(err)
				}
				b.refresh(t, handle, "store-unavailable")
				time.Sleep(9 * time.Second)
				b.refresh(t, handle, "store-unavailable")
				time.Sleep(2 * time.Second)
				b.helseID.refresh = func(int) (*helseid.Grant, error) { return nil, invalidGrant{} }
				b.refresh(t, handle, map[bool]string{true: "session-expired", false: "store-unavailable"}[c.sent])
			})
		})
	}
}

// The replica of a note is looked for once, however many come upon it, and after that the
// token is sent by one.
func TestSenderGoneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r := newSeenFleet(t)
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		a.store.down.Store(true)
		r.all(false)
		for range 100 {
			b.refresh(t, handle, "store-unavailable")
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if r.asked != 1 {
			t.Errorf("looked %d times", r.asked)
		}
		b.helseID.valid = "rt-0" // it never saw the first request
		for range 3 {
			b.refresh(t, handle, "")
		}
	})
}

// A sender that nobody could see is not taken for dead for not being seen.
func TestSenderUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := newSeenFleet(t)
		handle := b.active(t)
		b.store.full.Store(true)
		b.refresh(t, handle, "store-unavailable")
		for range 30 {
			a.refresh(t, handle, "store-unavailable")
			time.Sleep(time.Second)
		}
	})
}

// Who looks for the sender of a note says nothing of the one after it.
func TestSenderOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r := newSeenFleet(t)
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		r.all(false)
		b.refresh(t, handle, "store-unavailable")
		time.Sleep(5 * time.Second)
		key := store.Key{Kind: "spent", ID: b.ID(handle)}
		e, err := b.store.Memory.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		var note map[string]any
		if err := json.Unmarshal(e.Value, &note); err != nil {
			t.Fatal(err)
		}
		note["by"], note["from"] = "another", ""
		value, err := json.Marshal(note)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.store.Memory.Put(t.Context(), key, value, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		b.refresh(t, handle, "store-unavailable")
	})
}

// A replica that dies with a code it has used leaves a log-in that nobody can finish:
// ten seconds after the callback came again, whoever waits hears of it.
func TestFinishCutOffSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r := newSeenFleet(t)
		handle, _, browser, state := a.pending(t, session.Begin{})
		goOn := make(chan struct{})
		a.helseID.exchange = func() error { <-goOn; return errDown }
		gone := make(chan error)
		go func() { gone <- a.Finish(t.Context(), own(state, browser)) }()
		synctest.Wait()
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		time.Sleep(time.Minute)
		if s, err := b.Status(t.Context(), handle, "", 0); err != nil || s.State != session.Pending {
			t.Errorf("%v, %v of a log-in that is being finished", s.State, err)
		}
		r.all(false)
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		begun := time.Now()
		if s, err := b.Status(t.Context(), handle, "", time.Minute); err != nil || s.State != session.Failed {
			t.Errorf("%v, %v", s.State, err)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("known after %v", took)
		}
		close(goOn)
		if err := <-gone; err == nil {
			t.Error("a log-in that had failed was finished")
		}
	})
}

// A replica that gave a log-in back, since HelseID was away, and is gone after that, does not
// fail what another makes of it.
func TestGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r := newSeenFleet(t)
		handle, _, browser, state := a.pending(t, session.Begin{})
		goOn := make(chan struct{})
		a.helseID.exchange = func() error { <-goOn; return refused{code: "helseid-unavailable"} }
		gone := make(chan error)
		go func() { gone <- a.Finish(t.Context(), own(state, browser)) }()
		synctest.Wait()
		r.all(false)
		wantCode(t, b.Finish(t.Context(), own(state, browser)), "login-failed", "replayed")
		close(goOn)
		wantCode(t, <-gone, "helseid-unavailable", "")
		stay := make(chan struct{})
		a.helseID.exchange = func() error { <-stay; return nil }
		go func() { gone <- b.Finish(t.Context(), own(state, browser)) }()
		time.Sleep(20 * time.Second)
		close(stay)
		if err := <-gone; err != nil {
			t.Error(err)
		}
		if s, err := b.Status(t.Context(), handle, "", 0); err != nil || s.State != session.Active {
			t.Errorf("%v, %v", s.State, err)
		}
	})
}

// A replica is there until it has written what it could.
func TestAttendsToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, r := newSeenFleet(t)
		handle := a.active(t)
		a.store.full.Store(true)
		a.refresh(t, handle, "store-unavailable")
		synctest.Wait()
		a.store.full.Store(false)
		wrote := false
		a.store.change = func(key store.Key) {
			wrote = true
			if r.count() != 1 {
				t.Error("it left before it wrote", key.Kind)
			}
		}
		a.Close()
		if !wrote || r.count() != 0 {
			t.Errorf("wrote: %v; %d are there", wrote, r.count())
		}
	})
}
