package keepalive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// refreshTimeout bounds one try to give SFM a new token, the fetching of it included.
	refreshTimeout = 30 * time.Second
	// firstPause and lastPause are the pauses between tries that fail. They double.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// shortLife: with less life than this left in the old token, there is no other try.
	shortLife = 100 * time.Millisecond
	// endTimeout bounds a log-out's calls to SFM, which run side by side.
	endTimeout = 5 * time.Second
)

// errNothingNew says that SFM holds the newest token there is.
var errNothingNew = errors.New("no new token")

// keep is the loop of a session. It ends with the session.
func (k *Keeper) keep(s *sfmSession) {
	defer s.end()
	var t tries
	timer := time.NewTimer(time.Hour) // the first look comes by s.news
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.news:
		case <-timer.C:
		}
		timer.Reset(k.writeDown(s, k.look(s, &t)))
	}
}

// tries are those to give SFM a new token that have failed since the last that did not.
type tries struct {
	failed int
	last   error
}

// look is one round of the loop: has another token come than the one SFM holds? Then
// SFM gets it. It returns when to look again.
func (k *Keeper) look(s *sfmSession, t *tries) time.Duration {
	if k.checkPage(s); s.ctx.Err() != nil { // somebody else keeps or has ended it
		return 0
	}
	held, lostFor := k.holding(s)
	justTakenOver := k.justTakenOver(s)
	switch left := k.left(held); {
	case lostFor >= remembered:
		k.drop(s)
		return remembered
	case lostFor >= 0:
		return remembered - lostFor
	case left <= 0 && justTakenOver > 0:
		return justTakenOver
	case left <= 0:
		k.lose(s, t)
		return remembered
	case k.o.Off:
		return left
	}
	err := k.refresh(s)
	switch {
	case s.ctx.Err() != nil: // the loop's last round
		return 0
	case errors.Is(err, ErrEnded):
		k.drop(s)
		return 0
	case errors.Is(err, errBusy):
		return soon(k.left(held), busyPause)
	case err != nil && !errors.Is(err, errNothingNew):
		return k.failed(s, t, err)
	case err == nil:
		*t = tries{}
		if k.o.Observe.Refreshed != nil {
			k.o.Observe.Refreshed(s.key)
		}
	}
	held, _ = k.holding(s)
	return soon(k.left(held), remembered)
}

// holding is the token that SFM holds, and how long the session has been lost, below 0
// for one that is open.
func (k *Keeper) holding(s *sfmSession) (held hold, lostFor time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.state == Lost {
		return s.held, max(0, k.o.Wall().Sub(s.since))
	}
	return s.held, -1
}

// refresh gives SFM the newest token, unless it has that already.
func (k *Keeper) refresh(s *sfmSession) error {
	ctx, cancel := context.WithTimeout(s.ctx, refreshTimeout)
	defer cancel()
	t, err := k.o.Token(ctx, s.key)
	if err != nil {
		return fmt.Errorf("obtaining a token: %w", err)
	}
	k.mu.Lock()
	held, path := s.held, s.path // the EPJ may have refreshed meanwhile
	k.mu.Unlock()
	if sum(t.AccessToken) == held.sum {
		return errNothingNew
	}
	ctx, done, err := k.announceCall(ctx, s)
	defer done()
	if err != nil {
		return err
	}
	if err := k.post(ctx, s.key, path+"/"+stepRefresh, t); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s.held = holdOf(t)
	s.owed.add(byUs)
	return nil
}

// post sends one POST. Any answer but 2xx is a [StatusError].
func (k *Keeper) post(ctx context.Context, key Key, path string, t Token) error {
	status, err := k.o.Post(ctx, key, path, t)
	if err != nil {
		return fmt.Errorf("calling SFM: %w", err)
	}
	if status < http.StatusOK || status >= http.StatusMultipleChoices {
		return &StatusError{Status: status}
	}
	return nil
}

// StatusError is an answer of SFM that is not what was hoped for.
type StatusError struct{ Status int }

// Error implements error.
func (e *StatusError) Error() string { return fmt.Sprintf("SFM answered %d", e.Status) }

// failed counts a try that failed and says when the next one is.
func (k *Keeper) failed(s *sfmSession, t *tries, err error) time.Duration {
	pause := min(firstPause<<min(t.failed, 6), lastPause)
	t.failed++
	t.last = err
	if k.o.Observe.Failed != nil {
		k.o.Observe.Failed(s.key, err)
	}
	held, _ := k.holding(s)
	return soon(k.left(held), pause)
}

// soon is when to look again: after most, but well before the end of a token that has
// this much life left, so that there is time for another try.
func soon(left, most time.Duration) time.Duration {
	if left < shortLife {
		return max(left, 0)
	}
	return min(left*3/4, most)
}

// lose notes that SFM's token has run out.
func (k *Keeper) lose(s *sfmSession, t *tries) {
	k.mu.Lock()
	if k.left(s.held) > 0 { // the EPJ was quicker, and has woken the loop
		k.mu.Unlock()
		return
	}
	s.state, s.since = Lost, k.o.Wall()
	s.owed.add(byUs)
	k.mu.Unlock()
	if k.o.Observe.Lost != nil {
		k.o.Observe.Lost(s.key, t.last)
	}
	*t = tries{}
}

// drop forgets a session whose loop finds that nothing is left to do.
func (k *Keeper) drop(s *sfmSession) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(s)
	k.strike(s.key)
	k.tidy(s.key.Session)
}

// Failure is an SFM session that could not be ended.
type Failure struct {
	Key Key
	// Err is a [*StatusError] where SFM answered.
	Err error
}

// End has SFM end every SFM session of a person's session, wherever it was opened, each
// with its own tenant's token, side by side and within a few seconds, and forgets them
// whatever comes of it. It returns those that were open and that SFM has not ended. ctx
// must not be that of a caller who may leave.
func (k *Keeper) End(ctx context.Context, session string) []Failure {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	taken := k.takeAll(ctx, session)
	errs := make([]error, len(taken))
	var all sync.WaitGroup
	for i, e := range taken {
		all.Go(func() { errs[i] = k.endOne(ctx, e) })
	}
	all.Wait()
	var failures []Failure
	for i, e := range taken {
		if errs[i] != nil && e.open {
			failures = append(failures, Failure{e.key, errs[i]})
		}
	}
	return failures
}

// endOne ends one. That SFM does not know the session (any more) is as good.
func (k *Keeper) endOne(ctx context.Context, e ending) error {
	t, err := k.o.Token(ctx, e.key)
	if err != nil {
		return fmt.Errorf("obtaining a token: %w", err)
	}
	err = k.post(ctx, e.key, e.path+"/"+stepEnd, t)
	if answer, ok := errors.AsType[*StatusError](err); ok && (answer.Status == http.StatusNotFound || answer.Status == http.StatusGone) {
		return nil
	}
	return err
}
