package helseid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/dpop"
)

// errUnsent ends a refresh that could not even be sent within the ordinary time.
var errUnsent = errors.New("not sent in time")

// query is a request that the client authenticates, before its assertion is made.
type query struct {
	name     string // as the events name it
	endpoint func(*metadata) string
	form     url.Values
	details  []detail  // organization and journal in the assertion; nil = none
	object   []detail  // the same in a request object beside it (RFC 9101); nil = there is none
	proof    *dpop.Key // that proves possession to the token endpoint; nil = no proof is sent
	patient  bool      // a refresh: not given up at Timeout once it was sent
	bodyless bool      // success is the status 200; nothing is read
}

// call sends a query, repeating it where that is due, and returns the answer with which HelseID granted it.
func (c *Client) call(ctx context.Context, q query) (a *answer, err error) {
	if c.opt.Observe.Begin != nil {
		ctx = c.opt.Observe.Begin(ctx, q.name)
	}
	defer func(began time.Time) { c.observe(ctx, q.name, began, err) }(time.Now())
	sent := new(atomic.Bool)
	limited, cancel := c.within(ctx, q.patient, sent)
	defer cancel()
	md, err := c.metadata.get(limited)
	if err != nil {
		return nil, err
	}
	endpoint := q.endpoint(md)
	if endpoint == "" {
		return nil, &Error{code: codeRefused, detail: "HelseID offers no endpoint for " + q.name, permanent: true}
	}
	release, err := c.slot(limited)
	if err != nil {
		return nil, err
	}
	defer release()
	// After the wait for a slot: whoever queued while the client was refused must not be sent any more.
	_, keys := c.opt.Keys.use()
	if refusal := c.brake.enter(keys); refusal != nil {
		return nil, refusal
	}
	t, refusal, err := c.insist(limited, &try{query: q, endpoint: endpoint, sent: sent})
	if err != nil {
		c.brake.leave(keys, inconclusive, nil)
		return nil, c.silence(ctx, limited, t, err)
	}
	c.brake.leave(keys, conclude(refusal), refusal)
	if refusal != nil {
		return nil, refusal
	}
	return t.answer, nil
}

// insist attempts the query until HelseID grants it or there is no reason left to repeat it. Every attempt has a new
// assertion and a new proof. An error means that no answer came to the last one.
func (c *Client) insist(ctx context.Context, t *try) (*try, *Error, error) {
	var done repeats
	for {
		if err := c.attempt(ctx, t); err != nil {
			return t, nil, err
		}
		refusal := c.judge(t)
		if conclude(refusal) == accepted {
			c.opt.Keys.accepted(t.key)
		}
		if refusal == nil || !c.again(&done, t, refusal) {
			return t, refusal, nil
		}
	}
}

// within bounds a call: Timeout, or for a refresh that was sent in that time refreshLimit.
func (c *Client) within(ctx context.Context, patient bool, sent *atomic.Bool) (context.Context, context.CancelFunc) {
	if !patient {
		return context.WithTimeout(ctx, c.opt.Timeout)
	}
	ctx, stop := context.WithTimeout(ctx, max(refreshLimit, c.opt.Timeout))
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.opt.Timeout, func() {
		if !sent.Load() {
			cancel(errUnsent)
		}
	})
	return ctx, func() { timer.Stop(); cancel(nil); stop() }
}

// slot waits for one of the calls that may run at once.
func (c *Client) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
	}
	if err := ended(ctx, "waiting for a free call"); errors.Is(err, context.Canceled) {
		return nil, err
	}
	return nil, &Error{
		code: codeLimitReached, reason: "helseid-concurrency", retryAfter: time.Second,
		detail: "too many calls to HelseID are under way",
		hint:   "wait; if it happens often, raise SIDECAR_HELSEID_CONCURRENCY",
	}
}

// try is one attempt at a query and what is known of it.
type try struct {
	query
	endpoint string
	sent     *atomic.Bool // a connection was had: bytes may have been written
	key      *ClientKey
	shift    time.Duration // clock offset the attempt was made with
	answer   *answer
}

// attempt makes the request and fills in the answer. An error means that none came.
func (c *Client) attempt(ctx context.Context, t *try) error {
	t.key, _ = c.opt.Keys.use()
	t.shift = c.clock.offset()
	assertion, err := c.opt.assertion(t.key, c.Now(), t.details)
	if err != nil {
		return err
	}
	form := url.Values{
		"client_id":             {c.opt.ClientID},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	for name, values := range t.form {
		form[name] = values
	}
	if t.object != nil {
		object, err := c.opt.requestObject(t.key, c.Now(), t.object)
		if err != nil {
			return err
		}
		form.Set("request", object)
	}
	t.sent.Store(false)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { t.sent.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace),
		http.MethodPost, t.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("building the request to HelseID: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	origin := dpop.Origin(req.URL)
	if t.proof != nil {
		req.Header.Set("DPoP", t.proof.Proof(dpop.Claims{
			Method: req.Method, URL: dpop.HTU(req.URL), Issued: c.Now(), Nonce: c.opt.Nonces.Last(origin),
		}))
	}
	if t.answer, err = c.send(req); err != nil {
		return err
	}
	c.opt.Nonces.Learn(origin, t.answer.header.Get("DPoP-Nonce"))
	return nil
}

// silence says what it means that no answer came.
func (c *Client) silence(caller, limited context.Context, t *try, err error) error {
	sent := t.sent.Load()
	if errors.Is(caller.Err(), context.Canceled) && !(sent && t.patient) {
		return context.Canceled
	}
	e := unavailable("unreachable", "HelseID can't be reached")
	switch {
	case limited.Err() != nil:
		e.reason, e.detail = "timeout", "HelseID did not answer in time"
	case sent:
		e.reason, e.detail = "no-answer", "the connection to HelseID broke before an answer came"
	}
	e.silent, e.cause = sent, err
	return e
}

// conclude says what an answer tells about the client's own authentication.
func conclude(refusal *Error) verdict {
	switch {
	case refusal == nil:
		return accepted
	case refusal.code == codeUnavailable || refusal.oauth == "":
		return inconclusive
	case refusal.oauth == errInvalidClient && refusal.hid == "":
		return rejected
	case refusal.oauth == errUseNonce || refusal.oauth == errInvalidProof || refusal.oauth == "invalid_request":
		return inconclusive // may be found before the client is looked at
	}
	return accepted
}

// repeats notes which of the reasons for another attempt have been used up: each counts once per call.
type repeats struct{ nonce, proof, key, clock bool }

// again decides whether a refused attempt is made once more.
func (c *Client) again(done *repeats, t *try, refusal *Error) bool {
	once := func(used *bool) bool {
		first := !*used
		*used = true
		return first
	}
	switch refusal.oauth {
	case errUseNonce:
		if t.proof == nil {
			return false
		}
		if c.opt.Observe.NonceChallenge != nil {
			c.opt.Observe.NonceChallenge()
		}
		return t.answer.header.Get("DPoP-Nonce") != "" && once(&done.nonce)
	case errInvalidProof:
		return t.proof != nil && once(&done.proof)
	case errInvalidClient:
		if refusal.hid != "" {
			return false
		}
		// The refusal itself may have told us the time; an assertion dated anew may then be good.
		if (c.clock.offset()-t.shift).Abs() > clockWarn && once(&done.clock) {
			return true
		}
		return refusal.code != codeClockSkew && once(&done.key) && c.changeKey(t.key)
	}
	return false
}

// changeKey goes back to a key that worked, loudly.
func (c *Client) changeKey(refused *ClientKey) bool {
	again, setAside := c.opt.Keys.rejected(refused)
	if setAside != nil {
		c.warn("HelseID refuses the new client key; it is set aside and the old one goes on. Is its public half registered?",
			slog.String("set_aside", setAside.kid), slog.String("in_use", c.opt.Keys.Current().kid))
	}
	return again
}
