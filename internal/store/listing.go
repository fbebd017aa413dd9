package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// listStep is how many entries of a listing come at a time.
	listStep = 200
	// listTries is how often a server is asked for some of them. To read twice does
	// no harm, and a listing is long.
	listTries = 3
)

// Item is an entry as a listing shows it. Value must not be modified.
type Item struct {
	Key
	Entry
}

// Skipped counts what a listing passes over.
type Skipped struct {
	// Others are entries of others who share the server.
	Others int
	// Unreadable are entries that are damaged, in a newer format, or sealed with a
	// key that is not in the list.
	Unreadable int
}

// Lister is a [Store] that can tell what is in it. It looks at everything: for
// operators, not for the way of a call.
type Lister interface {
	// List calls visit with the entries of a kind, some at a time, until one returns
	// an error. What comes or goes meanwhile may be missed, or come twice.
	List(ctx context.Context, kind string, visit func([]Item) error) (Skipped, error)
	// Left is how long each of these entries still lives, 0 where there is none.
	Left(ctx context.Context, keys []Key) ([]time.Duration, error)
}

var (
	_ Lister = (*Memory)(nil)
	_ Lister = (*Keyring)(nil)
	_ Lister = (*Redis)(nil)
)

// List implements [Lister].
func (m *Memory) List(ctx context.Context, kind string, visit func([]Item) error) (Skipped, error) {
	for some := range slices.Chunk(m.all(kind), listStep) {
		if err := ctx.Err(); err != nil {
			return Skipped{}, err
		}
		if err := visit(some); err != nil {
			return Skipped{}, err
		}
	}
	return Skipped{}, nil
}

func (m *Memory) all(kind string) []Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Item
	for key, s := range m.entries {
		if key.Kind == kind && m.alive(s) {
			all = append(all, Item{key, s.Entry})
		}
	}
	return all
}

// Left implements [Lister].
func (m *Memory) Left(_ context.Context, keys []Key) ([]time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := make([]time.Duration, len(keys))
	for i, key := range keys {
		if s := m.live(key); s.Version != 0 {
			left[i] = min(time.Until(s.until), s.untilWall.Sub(m.wall()))
		}
	}
	return left, nil
}

// List implements [Lister]. It has every master tell all its names, and reads those
// of the kind.
func (r *Redis) List(ctx context.Context, kind string, visit func([]Item) error) (Skipped, error) {
	var skipped Skipped
	var failed error // masters are asked one after the other, also after one has failed
	err := r.scan(ctx, kind, func(names []string) error {
		for some := range slices.Chunk(names, listStep) {
			if failed != nil {
				break
			}
			var more Skipped
			more, failed = r.list(ctx, kind, some, visit)
			skipped.Others, skipped.Unreadable = skipped.Others+more.Others, skipped.Unreadable+more.Unreadable
		}
		return failed
	})
	return skipped, err
}

// list reads the entries of some names.
func (r *Redis) list(ctx context.Context, kind string, names []string, visit func([]Item) error) (Skipped, error) {
	var skipped Skipped
	answers, err := r.each(ctx, "get", names)
	if err != nil {
		return skipped, err
	}
	var items []Item
	for i, answer := range answers {
		sealed, ok := answer.(string)
		if !ok {
			continue // it has ended meanwhile
		}
		id, e, err := r.seal.open(names[i], []byte(sealed))
		switch key := (Key{kind, id}); {
		case err != nil:
			skipped.Unreadable++
		case r.seal.name(key) != names[i]:
			skipped.Others++
		default:
			items = append(items, Item{key, e})
		}
	}
	if len(items) == 0 {
		return skipped, nil
	}
	return skipped, visit(items)
}

// Left implements [Lister].
func (r *Redis) Left(ctx context.Context, keys []Key) ([]time.Duration, error) {
	var left []time.Duration
	for some := range slices.Chunk(keys, listStep) {
		var names []string
		for _, key := range some {
			names = append(names, r.seal.name(key))
		}
		answers, err := r.each(ctx, "pttl", names)
		if err != nil {
			return nil, err
		}
		for _, answer := range answers {
			ms, _ := answer.(int64)
			left = append(left, time.Duration(max(ms, 0))*time.Millisecond) // below 0: there is none
		}
	}
	return left, nil
}

// each sends a command that changes nothing for each name, all at once, and again
// when that fails. It does not go by what rests: an operator wants to know.
func (r *Redis) each(ctx context.Context, command string, names []string) (answers []any, err error) {
	for range listTries {
		begun := time.Now()
		if answers, err = r.eachOnce(ctx, command, names); err == nil {
			r.o.Observe("list", "", time.Since(begun))
			return answers, nil
		}
		f := failure(ctx, "list", err)
		r.o.Observe("list", f.Reason, time.Since(begun))
		if err = fmt.Errorf("listing: %w", f); !f.Reason.down() {
			break
		}
	}
	return nil, err
}

func (r *Redis) eachOnce(ctx context.Context, command string, names []string) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	pipe := r.engine.Pipeline()
	asked := make([]*redis.Cmd, len(names))
	for i, name := range names {
		asked[i] = pipe.Do(ctx, command, name)
	}
	_, _ = pipe.Exec(ctx) // the commands have the errors, too
	answers := make([]any, len(names))
	for i, cmd := range asked {
		answer, err := cmd.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		answers[i] = answer
	}
	return answers, nil
}
