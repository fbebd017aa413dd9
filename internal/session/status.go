package session

import (
	"context"
	"errors"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/store"
)

// Status is a session as its EPJ may see it.
type Status struct {
	// ID files the session; it is not the handle and opens nothing.
	ID    string
	State State
	// Expires is the end of the log-in, zero where HelseID did not say.
	Expires time.Time
	// Person is who logged in; the zero Person unless the state is active.
	Person helseid.Person
	// Err is why the session failed or ended, nil otherwise.
	Err error
}

// Status tells where a session stands. With wait above zero it returns when the
// state is another one, or after that time; ctx ends the waiting, too, and not
// the answer.
func (m *Manager) Status(ctx context.Context, handle, owner string, wait time.Duration) (Status, error) {
	id, first := m.ID(handle), State("")
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		// Watched before it is read: a change between the two is not missed.
		changed, stop, err := m.o.Store.Watch(context.WithoutCancel(ctx), sessionKey(id))
		if err != nil {
			return Status{}, storeError(err)
		}
		s, err := m.status(context.WithoutCancel(ctx), id, owner)
		if err != nil || waiting.Err() != nil || first != "" && s.State != first {
			stop()
			return s, err
		}
		first = s.State
		select {
		case <-changed:
		case <-waiting.Done():
		}
		stop()
	}
}

func (m *Manager) status(ctx context.Context, id, owner string) (Status, error) {
	d, err := m.read(ctx, id)
	if err != nil {
		return Status{}, err
	}
	r, now := d.record, m.now()
	if r.Owner != owner {
		return Status{}, errUnknown
	}
	s := Status{ID: id, State: r.stateAt(now), Expires: r.Expires, Person: r.Person}
	if problem := r.problem(now); problem != nil {
		s.Person, s.Err = helseid.Person{}, problem
	}
	if s.State != Active {
		return s, nil
	}
	_, err = m.o.Store.Get(ctx, usedKey(id))
	if errors.Is(err, store.ErrMissing) {
		return Status{ID: id, State: Expired, Expires: r.Expires, Err: expiredError(unused)}, nil
	}
	if err != nil {
		return Status{}, storeError(err)
	}
	return s, nil
}
