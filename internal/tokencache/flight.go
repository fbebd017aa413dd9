package tokencache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// flight is one fetch, shared by all who want its token.
type flight struct {
	key     Key
	mint    Mint
	renewal bool // for a token that was good; guarded by Cache.mu

	done   chan struct{} // closed when what follows is set
	entry  *entry
	err    error
	shared bool // another replica had fetched it
}

// launch starts a flight. Its context has the values of the caller's and outlives it. It is called with mu held.
func (c *Cache) launch(ctx context.Context, k Key, mint Mint) *flight {
	f := &flight{key: k, mint: mint, done: make(chan struct{})}
	c.flights[k] = f
	c.flying[k.Subject]++
	go c.fly(context.WithoutCancel(ctx), f)
	return f
}

// fly calls the mint. Whatever that does, the flight lands: nobody shall wait for one that is dead.
func (c *Cache) fly(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.FetchTimeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	var token *Token
	err := errors.New("minting a token: the mint ended without an answer") // by runtime.Goexit
	defer func() {
		err = explained(ctx, err)
		if cause := recover(); cause != nil {
			token, err = nil, newPanicError(cause)
		}
		c.land(f, token, err)
	}()
	token, err = c.obtainShared(ctx, f)
}

// explained says what it means that a flight's own context has ended. An error of its own meaning stays as it is; but
// context.Canceled must never reach a caller who did not leave.
func explained(ctx context.Context, err error) error {
	if _, meaning := errors.AsType[coder](err); err == nil || meaning {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unavailable("slow", "HelseID did not answer a token request in time")
	case ctx.Err() != nil:
		return errClosed()
	case errors.Is(err, context.Canceled):
		return errors.New("minting a token: " + err.Error())
	default:
		return err
	}
}

// land stores the outcome and wakes all who wait. A flight that is not listed any more, because its subject was
// forgotten or the cache closed, leaves nothing behind.
func (c *Cache) land(f *flight, token *Token, err error) {
	var e *entry
	if err == nil {
		e, err = c.newEntry(f, token)
	}
	f.entry, f.err = e, err

	c.mu.Lock()
	if c.flying[f.key.Subject]--; c.flying[f.key.Subject] == 0 {
		delete(c.flying, f.key.Subject)
	}
	listed := c.flights[f.key] == f
	kept := listed && err == nil && c.usable(e.key)
	renewed := kept && f.renewal
	if listed {
		delete(c.flights, f.key)
		switch {
		case kept:
			c.keep(e)
		case err != nil:
			c.failed(f.key, err)
		}
	}
	c.mu.Unlock()
	close(f.done)
	if renewed {
		c.opts.Observe("renewed")
	}
	if kept {
		c.opts.Minted(e.key, token)
	}
}

// failed draws the consequences of a fetch that failed: a token that is still good is renewed later; else a permanent
// refusal is remembered for 5 to 15 s. It is called with mu held.
func (c *Cache) failed(k Key, err error) {
	if e, ok := c.peek(k); ok && c.age(e) != expired {
		c.postpone(e, err)
		return
	}
	if p, ok := errors.AsType[permanent](err); ok && p.Permanent() {
		pause := 5*time.Second + time.Duration(c.opts.Jitter()*float64(10*time.Second))
		c.refusals.Add(k, refusal{err: err, until: time.Now().Add(pause)})
	}
}

// wait waits for a flight, until some moment and no longer than the caller lives. If there is no error, f.entry is set.
func (c *Cache) wait(ctx context.Context, f *flight, until time.Time) error {
	patience := time.NewTimer(time.Until(until))
	defer patience.Stop()
	select {
	case <-f.done:
		if f.err == nil {
			f.entry.markUsed()
		}
		return f.err
	case <-ctx.Done():
		return gone(ctx.Err())
	case <-c.life.Done():
		return errClosed()
	case <-patience.C:
		return unavailable("slow", "HelseID did not answer a token request in time")
	}
}

// gone is the error of a caller whose context has ended.
func gone(err error) error { return fmt.Errorf("waiting for a token: %w", err) }

// The behaviours of a mint's errors that matter here. Each is optional.
type (
	coder interface {
		error
		Code() string
	}
	permanent interface {
		error
		Permanent() bool
	}
	retrier interface {
		error
		RetryAfter() time.Duration
	}
)

// Error is a refusal of the cache itself.
type Error struct {
	code, reason, detail string
	retryAfter           time.Duration
	err                  error // behind it, for the log; nil where there is none
}

// Error is the refusal as text for a log.
func (e *Error) Error() string {
	if e.err != nil {
		return "getting a token: " + e.detail + ": " + e.err.Error()
	}
	return "getting a token: " + e.detail
}

// Unwrap is the error behind it, if any.
func (e *Error) Unwrap() error { return e.err }

// Code is the refusal's stable name: helseid-unavailable, store-unavailable, limit-reached or draining.
func (e *Error) Code() string { return e.code }

// Reason says more closely what was wrong: slow, token-missing, lifetime-missing, expired-on-arrival or session-queue. It may
// be empty.
func (e *Error) Reason() string { return e.reason }

// Detail says what was wrong in words that the caller may read.
func (e *Error) Detail() string { return e.detail }

// RetryAfter is when it makes sense to try again.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// retryAfter is short: the flight goes on, and its token is likely to be there by then.
const retryAfter = 2 * time.Second

func unavailable(reason, detail string) *Error {
	return &Error{code: "helseid-unavailable", reason: reason, detail: detail, retryAfter: retryAfter}
}

// subjectFlights bounds the fetches of one person that are under way at once: they run one after the other, and go on
// when their callers have left.
const subjectFlights = 128

// crowded says that a person has too many fetches under way for one more. Machines have no such queue. It is called
// with mu held.
func (c *Cache) crowded(k Key) error {
	if k.Subject == "" || c.flying[k.Subject] < subjectFlights {
		return nil
	}
	return &Error{code: "limit-reached", reason: "session-queue", detail: "too many tokens of this session are being fetched", retryAfter: retryAfter}
}

func errClosed() *Error {
	return &Error{code: "draining", detail: "the sidecar is shutting down", retryAfter: retryAfter}
}

// panicError is a mint that panicked: a fault of ours.
type panicError struct {
	cause string
	stack []byte
}

// newPanicError shows of the cause what cannot hold a secret: the faults that Go finds, and those we know of. Of others
// only the type.
func newPanicError(cause any) *panicError {
	text := fmt.Sprintf("a value of type %T", cause)
	switch cause := cause.(type) {
	case runtime.Error:
		text = cause.Error()
	case string:
		if strings.HasPrefix(cause, "BUG:") {
			text = cause
		}
	}
	return &panicError{cause: text, stack: debug.Stack()}
}

func (e *panicError) Error() string { return "minting a token: panic: " + e.cause }

// Stack is the stack at the panic, for the log.
func (e *panicError) Stack() string { return string(e.stack) }
