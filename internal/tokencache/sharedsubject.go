package tokencache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"sfm-sidecar/internal/store"
)

const (
	kindSubject = "tokens"
	// forgetLimit bounds the removal of a subject's tokens, for which nobody waits but
	// the end of the process.
	forgetLimit = 5 * time.Second
	// listTries bounds how often a list is written anew because another replica wrote it
	// in between.
	listTries = 100
)

// subjectTokens are the shared tokens of a subject, whoever fetched them: so that
// the replica at which it ends can remove them all. The list lives as long as the
// token that lives longest.
type subjectTokens struct {
	// Gone says that the subject has ended. It outlives every fetch that was under way
	// then: what such a one brings is removed again.
	Gone bool `json:"gone,omitempty"`
	// Until is when a token ends, in Unix seconds by the common time, by its ID.
	Until map[string]int64 `json:"until,omitempty"`
}

func (s *Shared) subjectName(subject string) store.Key {
	return store.Key{Kind: kindSubject, ID: subject}
}

// share puts a token into the store, and on the list of its subject. Written in this
// order, none is missed: who ends the subject finds the token on the list, or who
// lists it finds that the subject has ended.
func (c *Cache) share(ctx context.Context, k Key, t *Token, fence uint64) error {
	s := c.opts.Shared
	if err := s.put(ctx, k, t, fence); err != nil || k.Subject == "" {
		return err
	}
	name := s.name(k)
	gone := false
	_, err := s.changeList(ctx, k.Subject, func(l *subjectTokens, now time.Time) time.Duration {
		if gone = l.Gone; gone {
			return 0
		}
		return l.add(name.ID, now, t.Lifetime-time.Since(t.Sent))
	})
	if err == nil && !gone {
		return nil
	}
	// A token that can't be found again when its subject ends is not left there.
	return errors.Join(err, s.Store.Delete(context.WithoutCancel(ctx), name))
}

// add lists a token, drops those that have ended, and returns how long the list is of
// use.
func (l *subjectTokens) add(id string, now time.Time, left time.Duration) time.Duration {
	until := maps.Clone(l.Until)
	if until == nil {
		until = map[string]int64{}
	}
	until[id] = now.Add(left).Unix() + 1
	last := int64(0)
	for id, end := range until {
		if end <= now.Unix() {
			delete(until, id)
			continue
		}
		last = max(last, end)
	}
	l.Until = until
	return time.Duration(last-now.Unix()) * time.Second
}

// changeList changes the list of a subject, from what it was, and returns what that
// was. A change that gives no lifetime is not written.
func (s *Shared) changeList(ctx context.Context, subject string, change func(l *subjectTokens, now time.Time) time.Duration) (before subjectTokens, err error) {
	name := s.subjectName(subject)
	for range listTries {
		e, err := s.Store.Get(ctx, name)
		if err != nil && !errors.Is(err, store.ErrMissing) {
			return subjectTokens{}, err
		}
		var l subjectTokens
		if err == nil && json.Unmarshal(e.Value, &l) != nil {
			l = subjectTokens{} // as good as missing
		}
		before := l
		ttl := change(&l, s.now())
		if ttl <= 0 {
			return before, nil
		}
		value, err := json.Marshal(l)
		if err != nil {
			return before, err
		}
		if err = s.Store.PutIf(ctx, name, value, ttl, e.Version); !errors.Is(err, store.ErrChanged) {
			return before, err
		}
	}
	return subjectTokens{}, fmt.Errorf("listing a shared token: %w", store.ErrChanged)
}

// unshare removes a token from the store, behind the back of whoever forgets it: the
// end of its life would do that, too. It is called with mu held.
func (c *Cache) unshare(k Key) {
	s := c.opts.Shared
	if s == nil || c.life.Err() != nil {
		return
	}
	c.work.Go(func() {
		ctx, cancel := context.WithTimeout(c.life, forgetLimit)
		defer cancel()
		s.failed(s.Store.Delete(ctx, s.name(k)))
	})
}

// unshareAll removes the tokens of a subject that has ended from the store, all of them,
// behind the back of whoever ended it. It is called with mu held.
func (c *Cache) unshareAll(subject string) {
	s := c.opts.Shared
	if s == nil || subject == "" || c.life.Err() != nil {
		return
	}
	c.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), forgetLimit)
		defer cancel()
		s.failed(s.remove(ctx, subject, 2*c.opts.FetchTimeout))
	})
}

// remove marks a subject as ended for a while, and removes its tokens.
func (s *Shared) remove(ctx context.Context, subject string, mark time.Duration) error {
	before, err := s.changeList(ctx, subject, func(l *subjectTokens, _ time.Time) time.Duration {
		if l.Gone {
			return 0 // by another replica, which removes them
		}
		*l = subjectTokens{Gone: true}
		return mark
	})
	if err != nil || before.Gone {
		return err
	}
	for id := range before.Until {
		err = errors.Join(err, s.Store.Delete(ctx, store.Key{Kind: kindToken, ID: id}))
	}
	return err
}
