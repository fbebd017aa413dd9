package proxy

import (
	"errors"
	"io"
	"net/http"
	"time"

	"sfm-sidecar/internal/dpop"
)

// forward sends the call to its upstream and streams the answer back. SFM may
// answer while a body is still streaming up; by itself net/http's server would
// first read that body to its end.
func (p *Proxy) forward(c *call) error {
	c.w.forwarded = true
	if c.body.stream != nil {
		// Where it can't be had (a recorder in a test), nothing is lost but that.
		c.duplex = http.NewResponseController(&c.w).EnableFullDuplex() == nil
	}
	p.reverse.ServeHTTP(&c.w, c.in.WithContext(contextOf(c.in.Context(), c)))
	return c.failed
}

// settle reads away what a caller still sends of a body that nobody wants any
// more, once it has its answer. In full duplex net/http would do so too late: with
// the end of the body it begins to watch the connection, and then trips over that
// at the next request, whose caller would see a broken connection. (More than
// 256 KiB are not read; the connection ends. So does that of a caller who waits to
// be asked for its body: it must not be waited for in turn.)
func (c *call) settle() {
	if !c.duplex || c.body.stream.whole.Load() || len(c.in.Header["Expect"]) > 0 || c.w.status == 0 {
		return
	}
	_ = http.NewResponseController(&c.w).Flush()
	_ = c.in.Body.Close()
}

// attempts is the RoundTripper beneath ReverseProxy, and holds the one rule
// about sending again: a call has one extra attempt at most, only after an
// answer that SFM gives before it does any work, and only if its body is still
// all there. Nothing else is ever sent again, whatever happened.
type attempts struct{}

// RoundTrip sends the call of r's context once or twice.
func (attempts) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callOf(r.Context())
	res, err := c.send(r)
	if err != nil {
		return nil, err
	}
	again, err := c.wantsAgain(res)
	if again || err != nil {
		discard(res.Body)
	}
	if err != nil {
		return nil, err
	}
	if again {
		return c.send(r)
	}
	return res, nil
}

// wantsAgain decides about the extra attempt, and prepares it: after
// use_dpop_nonce a new proof suffices (the nonce was learned from the answer);
// after invalid_token the token is replaced, unless that was tried lately;
// after a 417 to an Expect that was ours, there is none. The name of the
// challenge's scheme is not looked at: servers differ.
func (c *call) wantsAgain(res *http.Response) (bool, error) {
	switch res.StatusCode {
	case http.StatusExpectationFailed:
		if !c.body.expect || !c.body.ours {
			return false, nil
		}
		c.upstream.mutes.note()
		c.body.expect = false
		return c.retry(res, nil)
	case http.StatusUnauthorized:
	default:
		return false, nil
	}
	switch challenge(res.Header) {
	case "use_dpop_nonce":
		c.challenged()
		return c.retry(res, nil)
	case "invalid_token":
		if !c.p.tokens.Forget(c.ask, c.token) {
			return false, nil
		}
		return c.retry(res, c.renew)
	}
	return false, nil
}

// retry readies body and token for the extra attempt.
func (c *call) retry(res *http.Response, renew func() error) (bool, error) {
	if !c.body.again() {
		return false, &refusal{code: "resend-needed"}
	}
	if c.in.Context().Err() != nil {
		return false, c.goneWith(res.StatusCode)
	}
	if renew == nil {
		return true, nil
	}
	return true, renew()
}

// challenged tells that SFM asked for another nonce.
func (c *call) challenged() {
	if c.p.observe.NonceChallenge != nil {
		c.p.observe.NonceChallenge()
	}
}

// renew obtains another token. What SFM let the former one see of the journal says
// nothing about this one, so a guarded call is guarded anew.
func (c *call) renew() error {
	if err := c.fetchToken(); err != nil {
		return err
	}
	return c.checkJournal()
}

func (c *call) fetchToken() error {
	t, err := c.p.tokenFor(c)
	if err == nil {
		c.token = t
	}
	return err
}

// challenge is the error a resource server gave in WWW-Authenticate (RFC 6750
// section 3, RFC 9449 section 9): the first that means something here.
func challenge(h http.Header) string {
	for _, c := range dpop.Challenges(h) {
		if c.Error == "use_dpop_nonce" || c.Error == "invalid_token" {
			return c.Error
		}
	}
	return ""
}

// discard reads what little is left of an answer that nobody gets, so that its
// connection can be used again, but neither for long nor much.
func discard(body io.ReadCloser) {
	late := time.AfterFunc(time.Second, func() { _ = body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// send makes one attempt. A connection that turns out dead before a byte of
// the request was written is no attempt: net/http replaces it by itself, but
// not for the bodies that payload disguises, so that is done here, once. Nor is
// one before which the token grew too old to be sent, while a connection was made.
func (c *call) send(r *http.Request) (*http.Response, error) {
	res, err := c.once(r)
	if err != nil && c.try.tooOld() && c.body.again() {
		if err := c.renew(); err != nil {
			return nil, err
		}
		res, err = c.once(r)
	}
	if err != nil && c.try.neverBegan() && c.in.Context().Err() == nil && c.body.again() {
		res, err = c.once(r)
	}
	if err == nil {
		return res, nil
	}
	return nil, c.meaning(err)
}

// once hands the request to the transport. Its header map is its own: a former
// attempt may still be reading the other.
func (c *call) once(r *http.Request) (*http.Response, error) {
	c.release()
	c.try = &try{stream: c.body.stream, expect: c.body.expect, until: c.token.Until}
	out := r.WithContext(c.try.context(r))
	out.Header = make(http.Header, len(r.Header)+2)
	for name, values := range r.Header {
		out.Header[name] = values
	}
	out.Header["Authorization"] = []string{c.upstream.Scheme + " " + c.token.AccessToken}
	c.body.attach(out)
	c.try.begun = time.Now()
	res, err := c.p.transport.RoundTrip(out)
	c.watch.sfm += time.Since(c.try.begun)
	c.noteSilence()
	if err != nil {
		return nil, err
	}
	res.Request = r
	c.tell(res.StatusCode)
	if c.try.answered() {
		return res, nil
	}
	_ = res.Body.Close()
	return nil, c.goneWith(res.StatusCode)
}

// tell reports an answer of SFM.
func (c *call) tell(status int) {
	if c.p.answered != nil {
		c.p.answered(Answer{Ask: c.ask, Token: c.token, Method: c.in.Method, Path: c.rest, Status: status})
	}
}

// noteSilence remembers an origin that let the wait for 100 Continue run out.
func (c *call) noteSilence() {
	if c.body.expect && c.body.stream.touched() && !c.try.spoke.Load() {
		c.upstream.mutes.note()
	}
}

// goneWith ends a call whose caller is gone; status is what SFM answered.
func (c *call) goneWith(status int) error {
	c.outcome = status
	return errLeft
}

// meaning tells what a failed attempt means to the caller. What counts is not
// the error but whether a byte was written: only if none was, SFM can't have
// done the work.
func (c *call) meaning(err error) error {
	if errors.Is(err, errLeft) {
		return err
	}
	if s := c.body.stream; s != nil && s.failed.Load() != nil {
		return bodyFault(*s.failed.Load())
	}
	left := c.in.Context().Err() != nil
	if left && endsWithCaller(c.in.Method) {
		return errLeft
	}
	if errors.Is(err, dpop.ErrNotProven) {
		return err
	}
	var timeout interface{ Timeout() bool }
	code := "upstream-outcome-unknown"
	switch {
	case !c.try.wrote():
		code = "upstream-unavailable"
	case errors.As(err, &timeout) && timeout.Timeout():
		code = "upstream-timeout"
	}
	why := plain(err)
	if left && c.try.wrote() { // nobody is there to be told; the log is
		c.lost, c.cause = code, why
	}
	if left {
		return errLeft
	}
	return &refusal{
		code: code, hint: hintAfter(code, c.rest), err: why,
		detail: rows[code].title + " (" + c.upstream.URL.Host + "): " + why.Error(),
	}
}
