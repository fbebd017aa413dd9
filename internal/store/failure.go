package store

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// Reason is why a shared store did not do what it was asked; few words, so that
// they can label a metric.
type Reason string

// The reasons of a [Failure].
const (
	Unreachable Reason = "unreachable" // no connection, or it broke
	Slow        Reason = "slow"        // no answer in time
	Resting     Reason = "resting"     // not asked: it failed just now
	Credentials Reason = "credentials" // wrong password or user, or one that may not do this
	Full        Reason = "full"        // its memory is used up
	ReadOnly    Reason = "read-only"   // it is a replica, can't write its disk, or lacks replicas of its own
	Moved       Reason = "moved"       // part of a cluster that was addressed as a single server
	Refused     Reason = "refused"     // anything else that it answered
	Cancelled   Reason = "cancelled"   // the caller did not wait
	Sealed      Reason = "sealed"      // the entry does not open: unknown key, newer format, or not ours
)

// Failure is what went wrong with a shared store. A write may have happened all the
// same when the reason is Unreachable, Slow or Cancelled.
type Failure struct {
	Op     string // what was asked: "get", "put", ...
	Reason Reason
	Err    error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("shared store (%s, %s): %v", f.Op, f.Reason, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

var errResting = errors.New("it failed several times just now and is asked again in a moment")

// prefixes are the words that a server's refusal begins with, behind an ERR.
var prefixes = []struct {
	word   string
	reason Reason
}{
	{"NOAUTH", Credentials},
	{"WRONGPASS", Credentials},
	{"NOPERM", Credentials},
	{"invalid password", Credentials},
	{"AUTH", Credentials},
	{"The user executing the script can't", Credentials},
	{"OOM", Full},
	{"READONLY", ReadOnly},
	{"MISCONF", ReadOnly},
	{"NOREPLICAS", ReadOnly},
	{"MOVED", Moved},
	{"ASK", Moved},
	{"CROSSSLOT", Moved},
	{"LOADING", Unreachable},
	{"MASTERDOWN", Unreachable},
	{"CLUSTERDOWN", Unreachable},
	{"TRYAGAIN", Unreachable},
	{"max number of clients", Unreachable},
}

// failure says what an error of the client means; ctx is the caller's.
func failure(ctx context.Context, op string, err error) *Failure {
	reason := reasonOf(ctx, err)
	if reason == Cancelled {
		err = context.Cause(ctx) // the client may only tell of a connection's deadline
	}
	return &Failure{Op: op, Reason: reason, Err: err}
}

func reasonOf(ctx context.Context, err error) Reason {
	if own, ok := errors.AsType[*Failure](err); ok {
		return own.Reason
	}
	for _, p := range prefixes {
		if redis.HasErrorPrefix(err, p.word) {
			return p.reason
		}
	}
	if answer, ok := errors.AsType[redis.Error](err); ok && answer != nil {
		return Refused
	}
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil:
		return Cancelled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), isNet && timeout.Timeout():
		return Slow
	default:
		return Unreachable
	}
}

// down says whether a reason is about the server itself, so that the next call will
// most likely fail alike.
func (r Reason) down() bool { return r == Unreachable || r == Slow }
