package session

import (
	"context"
	"errors"
	"sync"
)

// endAtOnce is how many sessions an operator ends at the same time: each waits for
// SFM and HelseID.
const endAtOnce = 8

// Outcome is what became of a session that an operator ended.
type Outcome struct {
	ID string
	// Over says that it had ended before.
	Over bool
	// Undone says what could not be done, in words for the operator.
	Undone []string
	// Err is why the session has not ended, nil otherwise.
	Err error
}

// EndChosen ends the sessions that are chosen as a log-out does, and tells of each,
// one after the other. The end of ctx lets those that were begun finish. unreadable is
// as in [Manager.List].
func (m *Manager) EndChosen(ctx context.Context, c Choice, tell func(Outcome)) (unreadable int, err error) {
	c.Open = true
	var telling sync.Mutex
	return m.List(ctx, c, func(some []Listed) error {
		turn := make(chan struct{}, endAtOnce)
		var all sync.WaitGroup
		defer all.Wait()
		for _, one := range some {
			turn <- struct{}{}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			all.Go(func() {
				defer func() { <-turn }()
				outcome := m.endForOperator(ctx, one.ID)
				telling.Lock()
				defer telling.Unlock()
				tell(outcome)
			})
		}
		return nil
	})
}

// endForOperator ends one session, whoever's it is.
func (m *Manager) endForOperator(ctx context.Context, id string) Outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeLimit)
	defer cancel()
	d, err := m.read(ctx, id)
	if errors.Is(err, errUnknown) {
		return Outcome{ID: id, Over: true}
	}
	if err != nil {
		return Outcome{ID: id, Err: err}
	}
	state := d.record.stateAt(m.now())
	if state != Active && state != Pending {
		return Outcome{ID: id, Over: true}
	}
	out := Outcome{ID: id}
	if m.o.Ending != nil && state == Active {
		out.Undone = m.o.Ending(ctx, id)
	}
	// What is revoked is what the session held last: a refresh may have come between. One
	// that comes later finds that the session has ended, and revokes what it got.
	// One that the store would not end loses its log-in all the same: it can't go on for long.
	last, err := m.terminate(ctx, id, expiredError("an operator ended the session"))
	if out.Err = err; err != nil {
		m.revokeUnsaved(id)
	}
	if last.RefreshToken != "" && m.o.HelseID.Revoke(ctx, last.RefreshToken) != nil {
		out.Undone = append(out.Undone, notRevoked)
	}
	return out
}
