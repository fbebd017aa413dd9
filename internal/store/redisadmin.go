package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// noteLife is how long the note of which keys are in use stays after the last
	// write, and noteEvery how often a write renews it.
	noteLife  = 24 * time.Hour
	noteEvery = time.Hour
	// scanStep is how many names a server looks at in one step of a listing.
	scanStep = 1000
)

// ErrOtherKeys says that the store is used with another list of keys: nothing that
// others have stored would be found, nor their locks.
var ErrOtherKeys = errors.New("the shared store is in use with other keys")

// Check says whether the store can be used: the server answers, takes this
// sidecar's credentials, lets it write, and is used with the same keys.
func (r *Redis) Check(ctx context.Context) error {
	name := r.noteName()
	answer, err := r.do(ctx, "check", name, func(ctx context.Context) (any, error) {
		return noteScript.run(ctx, r.engine, name, r.seal.namesID(), milliseconds(noteLife))
	})
	if err != nil {
		return err
	}
	if answer != nil && answer != r.seal.namesID() {
		return ErrOtherKeys
	}
	return r.checkRights(ctx)
}

// checkRights tries everything that a user of the server may be forbidden, so that a
// right which is missing is told at once and not by what fails later.
func (r *Redis) checkRights(ctx context.Context) error {
	name := strings.Replace(r.noteName(), namePrefix("keys"), namePrefix("check"), 1)
	_, err := r.do(ctx, "check", name, func(ctx context.Context) (any, error) { return nil, r.checkSlots(ctx) })
	if err == nil {
		err = r.tryScripts(ctx, name)
	}
	if err != nil {
		return err
	}
	_, stop, err := r.watch(ctx, name)
	if err != nil {
		return err
	}
	stop()
	return nil
}

// tryScripts runs every command of the scripts on a name that nobody else has.
func (r *Redis) tryScripts(ctx context.Context, name string) error {
	_, err := r.do(ctx, "check", name, func(ctx context.Context) (any, error) {
		return rightsScript.run(ctx, r.engine, name, r.publish)
	})
	return err
}

// checkSlots reads names of several places of a cluster: a node of one that was given
// as a single server has some of them, and refuses the others.
func (r *Redis) checkSlots(ctx context.Context) error {
	places := 16
	if r.engine.cluster != nil {
		places = 1
	}
	for i := range places {
		if _, err := r.engine.call(ctx, "get", namePrefix("check")+"{"+strconv.Itoa(i)+"}"); err != nil {
			return err
		}
	}
	return nil
}

// noteName is the name of the note that tells which keys are in use.
func (r *Redis) noteName() string {
	sum := sha256.Sum256([]byte(r.seal.space))
	return namePrefix("keys") + "{" + base64.RawURLEncoding.EncodeToString(sum[:16]) + "}"
}

// noteKeys keeps that note alive, now and then, behind the back of whoever writes.
func (r *Redis) noteKeys() {
	now, last := time.Now().Unix(), r.marked.Load()
	if now-last < int64(noteEvery/time.Second) || !r.marked.CompareAndSwap(last, now) {
		return
	}
	r.work.start(func() {
		name := r.noteName()
		_, err := r.do(r.life, "check", name, func(ctx context.Context) (any, error) {
			answer, err := noteScript.run(ctx, r.engine, name, r.seal.namesID(), milliseconds(noteLife))
			if err == nil && answer != nil && answer != r.seal.namesID() {
				r.o.Warn("the shared store is used with other keys, too", ErrOtherKeys)
			}
			return nil, err
		})
		if err != nil {
			r.marked.CompareAndSwap(now, last)
		}
	})
}

// Count is how many entries of a kind there are, of all spaces. It costs what
// [Redis.List] costs, less the reading.
func (r *Redis) Count(ctx context.Context, kind string) (int, error) {
	n := 0
	err := r.scan(ctx, kind, func(names []string) error {
		n += len(names)
		return nil
	})
	return n, err
}

// scan calls f with the names of a kind, some at a time.
func (r *Redis) scan(ctx context.Context, kind string, f func([]string) error) error {
	return r.engine.masters(ctx, func(c *redis.Client) error {
		for cursor := uint64(0); ; {
			step, cancel := context.WithTimeout(ctx, r.o.Timeout)
			names, next, err := c.Scan(step, cursor, namePrefix(kind)+"{*", scanStep).Result()
			cancel()
			if err != nil {
				return fmt.Errorf("listing: %w", failure(ctx, "scan", err))
			}
			if err := f(names); err != nil || next == 0 {
				return err
			}
			cursor = next
		}
	})
}
