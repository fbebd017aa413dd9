// Package proxy takes one call of the EPJ from its arrival to SFM's answer.
//
// [Proxy.ServeHTTP] is the whole way on one screen: the gate lets the caller
// in, the path names the upstream, the headers name tenant and person, the
// token cache gives the access token, and the call is forwarded. A call only
// walks down; a step answers with a value or with an error, and an error ends
// the call.
//
// # Refusals
//
// This package is the only place that turns an error into an answer. Any error
// along whose chain a method Code() string is found is a refusal of that code;
// the table in refusals.go holds status, title, hint, origin and whether the
// caller may simply try again. An error without a code is a fault of ours.
//
// # Never twice
//
// A prescription sent twice is worse than one not sent. Three things would
// send a request again, and each has its lock: the one extra attempt after
// SFM's 401 (attempt.go, only when no work was done), net/http's own resends
// (payload.go takes from it whatever makes a request replayable in its eyes),
// and HTTP/2 (transport.go speaks HTTP/1.1 only). What the connection has
// written is counted byte by byte, so that "SFM was not reached" and "nobody
// knows whether SFM did it" are told apart by fact.
//
// # What passes untouched
//
// Bodies are streamed in both directions, never decompressed or stored beyond
// the 64 KiB kept for a second attempt. Queries, trailers, interim answers and
// unknown headers pass as they are. Requests to switch protocols are answered
// as if the Upgrade field were absent, which RFC 9110 section 7.8 allows: SFM
// has no other protocol, and a raw tunnel would escape every rule of this
// package. TRACE is refused: its answer would show the caller the token.
package proxy

import (
	"fmt"
	"net/http"
	"time"
)

// ServeHTTP answers one call of the EPJ. It must stand alone: a ServeMux above
// it would answer // and /../ by itself, with a redirect that sends a POST
// somewhere else.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := p.begin(w, r)
	defer p.end(c)
	if err := p.serve(c); err != nil {
		p.refuse(c, err) // the only place that writes a refusal
	}
}

// serve is the way of a call; every line is one room.
func (p *Proxy) serve(c *call) error {
	done, err := p.admit(c)
	if done || err != nil {
		return err
	}
	if isControl(c.in.URL) {
		return p.control(c)
	}
	c.upstream, c.rest, err = p.route(c.in)
	if err != nil {
		return fmt.Errorf("finding the upstream: %w", err)
	}
	c.ask.Tenant, err = p.tenants.Lookup(c.in.Header)
	if err != nil {
		return fmt.Errorf("finding the tenant: %w", err)
	}
	c.ask.Person, err = p.personOf(c)
	if err != nil {
		return fmt.Errorf("finding the person: %w", err)
	}
	c.body, err = p.payloadOf(c)
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	c.guard, err = p.guardOf(c)
	if err != nil {
		return fmt.Errorf("guarding the journal: %w", err)
	}
	c.token, err = p.tokenFor(c)
	if err != nil {
		return fmt.Errorf("obtaining a token: %w", err)
	}
	if err := c.checkJournal(); err != nil {
		return err
	}
	return p.forward(c)
}

// admit counts the call in and passes it through the gate. done is true when
// the gate itself has answered, as it does to a browser's preflight.
func (p *Proxy) admit(c *call) (done bool, err error) {
	if p.draining != nil && p.draining() {
		return false, &refusal{code: "draining"}
	}
	if !c.counted {
		return false, &refusal{code: "limit-reached", detail: "too many calls at once"}
	}
	pass, err := p.gate.check(c.in, isControl(c.in.URL))
	c.origin = pass.origin
	if err != nil || !pass.preflight {
		return false, err
	}
	p.answerPreflight(c)
	return true, nil
}

// control hands everything under /_sidecar/ to the control room.
func (p *Proxy) control(c *call) error {
	c.isControl = true
	if p.controls == nil {
		return &refusal{code: "control-unknown"}
	}
	c.mark(c.w.Header())
	return p.controls(&c.w, c.in)
}

// personOf finds who is calling, and whether the call's tenant is theirs.
func (p *Proxy) personOf(c *call) (Person, error) {
	if p.person == nil {
		return Person{}, nil
	}
	who, err := p.person(c.in)
	if err != nil {
		return Person{}, err
	}
	if who.Allows != nil && !who.Allows(c.ask.Tenant) {
		return Person{}, &refusal{code: "tenant-not-in-session"}
	}
	return who, nil
}

// tokenFor obtains the access token of this very person, tenant and upstream.
// A token of another scheme than the upstream's is never sent.
func (p *Proxy) tokenFor(c *call) (Token, error) {
	c.ask.Upstream = &c.upstream.Upstream
	t, err := p.tokens.Token(c.in.Context(), c.ask)
	if err != nil {
		return Token{}, err
	}
	return t, c.upstream.fits(t)
}

// begin opens the books of a call.
func (p *Proxy) begin(w http.ResponseWriter, r *http.Request) *call {
	c := &call{p: p, in: r, started: time.Now(), id: requestID(r)}
	c.w = answer{ResponseWriter: w}
	c.counted = p.flying.enter(c, p.maxCalls)
	return c
}

// end closes them: the call is counted out, observed and logged, whatever way
// it ended. A panic of ours becomes a refusal while that is still possible;
// http.ErrAbortHandler goes on, since it is what cuts the caller's connection.
func (p *Proxy) end(c *call) {
	fault := recover()
	if fault != nil && fault != any(http.ErrAbortHandler) {
		fault = p.ownFault(c, fault)
	}
	c.release()
	p.record(c, fault != nil)
	if fault == nil {
		c.settle()
	}
	if c.counted {
		p.flying.leave(c)
	}
	if fault != nil {
		c.w.showHalf()
		panic(fault)
	}
}
