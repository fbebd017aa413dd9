package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

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
	ReadOnly    Reason = "read-only"   // it is a replica, or can't write its disk
	Replicas    Reason = "replicas"    // fewer replicas follow it than it wants for a write
	Moved       Reason = "moved"       // part of a cluster that was addressed as a single server
	Untrusted   Reason = "untrusted"   // its certificate is not one that is trusted, or not for it
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
	text := fmt.Sprintf("shared store (%s, %s): %v", f.Op, f.Reason, f.Err)
	if mend := f.Reason.Mend(); mend != "" {
		text = strings.TrimSuffix(text, ".") + "; " + mend
	}
	return text
}

// Mend is what an operator does about it, "" where that is to see whether the server
// runs.
func (r Reason) Mend() string { return mends[r] }

var mends = map[Reason]string{
	Credentials: "check user and password in the store's address, and that the user has the rights of docs/shared-store.md",
	Full:        "give the store more memory (maxmemory), with maxmemory-policy noeviction",
	ReadOnly:    "give the address of the primary instead of a replica's, or mend what keeps the server from writing its disk",
	Replicas:    "fewer replicas follow the server than its min-replicas-to-write: bring one back; after a failover, wait until one has copied the new master",
	Moved:       "the server is a node of a cluster: add cluster=true to the store's address",
	Untrusted:   "name the authority of the server's certificate in SIDECAR_CA_FILE, and the host as the certificate has it",
}

// Describe says for a caller what kept a store from doing what it was asked. It quotes
// nothing that a server said.
func Describe(err error) string {
	if errors.Is(err, ErrUnreadable) {
		return describes[Sealed]
	}
	f, shared := errors.AsType[*Failure](err)
	if !shared {
		return "the session store did not answer"
	}
	if says := describes[f.Reason]; says != "" {
		return says
	}
	return "the shared store did not answer"
}

var describes = map[Reason]string{
	Credentials: "the shared store refuses this sidecar's user",
	Full:        "the shared store is full",
	ReadOnly:    "the shared store takes no writes",
	Replicas:    "the shared store lacks replicas, and takes no writes",
	Moved:       "the shared store is a cluster, and is not addressed as one",
	Untrusted:   "the shared store's certificate is not trusted",
	Refused:     "the shared store refused what it was asked",
	Sealed:      "the shared store holds an entry that this sidecar can't open",
}

func (f *Failure) Unwrap() error { return f.Err }

var errResting = errors.New("it failed several times just now and is asked again in a moment")

// prefixes are the words that a server's refusal begins with, after the "ERR " that
// some have. What a script may not do is refused in words of its own.
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
	{"ACL failure in script", Credentials},
	{"OOM", Full},
	{"READONLY", ReadOnly},
	{"MISCONF", ReadOnly},
	{"NOREPLICAS", Replicas},
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

// notUnderstood is for an answer of a form that no server should give.
func notUnderstood(op string) *Failure {
	return &Failure{op, Refused, errors.New("an answer that was not understood")}
}

func reasonOf(ctx context.Context, err error) Reason {
	if errors.Is(err, errResting) {
		return Resting
	}
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
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case certificate:
		return Untrusted
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
func (r Reason) down() bool { return r == Unreachable || r == Slow || r == Untrusted }
