package register

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	atOnce         = 4 // calls under way at a time
	attempts       = 4
	defaultTimeout = 10 * time.Second
	firstPause     = 500 * time.Millisecond // doubled after each attempt
	longestPause   = 30 * time.Second       // a register that asks for more is not asked again
	longestAsked   = 365 * 24 * time.Hour   // more is taken for this
	// After so many calls in a row that came to nothing, the register is left alone for a while.
	hopeless = 3
	rest     = 30 * time.Second
)

// asker makes the calls to one register.
type asker struct {
	name    string
	url     *url.URL
	http    *http.Client
	timeout time.Duration
	slots   chan struct{}

	mu     sync.Mutex // guards what follows
	until  time.Time  // nothing is sent before
	failed int        // calls in a row that came to nothing
	resume time.Time  // when failed is hopeless: calls before this moment are not made at all
	last   *Error     // why
}

func newAsker(name string, o Options) (*asker, error) {
	u, err := parseURL(name, o.URL)
	if err != nil {
		return nil, err
	}
	a := &asker{name: name, url: u, timeout: o.Timeout, slots: make(chan struct{}, atOnce), http: &http.Client{
		Transport:     o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if a.timeout <= 0 {
		a.timeout = defaultTimeout
	}
	return a, nil
}

// question is a request that may be sent several times: it changes nothing at the register.
type question struct {
	method, path string
	body         []byte // JSON; nil = none
	limit        int64  // bytes of an answer
}

// answer is what came back with a status that says something about the question.
type answer struct {
	status int
	body   []byte
}

// ask sends a question until there is an answer, or no use in going on. The error is an [*Error], or the end of ctx.
func (a *asker) ask(ctx context.Context, q question) (answer, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
	if err := a.resting(); err != nil {
		return answer{}, err
	}
	for n := 1; ; n++ {
		if err := a.wait(ctx); err != nil {
			return answer{}, err
		}
		got, later, failure := a.attempt(ctx, q)
		if ctx.Err() != nil {
			return answer{}, context.Cause(ctx)
		}
		if failure == nil {
			a.answered()
			return got, nil
		}
		if !later.again || n == attempts || later.pause > longestPause {
			a.despair(failure, later.pause)
			return answer{}, failure
		}
		a.postpone(max(later.pause, firstPause<<(n-1)))
	}
}

// resting returns why the register is left alone, or nil.
func (a *asker) resting() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed >= hopeless && time.Now().Before(a.resume) {
		return a.last
	}
	return nil
}

// wait waits until the register may be asked.
func (a *asker) wait(ctx context.Context) error {
	for {
		a.mu.Lock()
		left := time.Until(a.until)
		a.mu.Unlock()
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// postpone keeps all calls back for a while, with a jitter of up to a quarter more.
func (a *asker) postpone(pause time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	until := time.Now().Add(pause + rand.N(pause/4+1))
	if until.After(a.until) {
		a.until = until
	}
}

// answered notes that the register answers.
func (a *asker) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = 0
}

// despair notes that a call came to nothing, and how long the register asked to be left alone.
func (a *asker) despair(failure *Error, pause time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.last = a.failed+1, failure
	if pause > longestPause {
		a.failed = hopeless // the register said so itself
	}
	a.resume = time.Now().Add(max(rest, min(pause, 10*rest)))
}

// later says whether asking again may help, and after which pause; 0 = the register did not say.
type later struct {
	again bool
	pause time.Duration
}

// attempt sends a question once.
func (a *asker) attempt(ctx context.Context, q question) (answer, later, *Error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	resp, err := a.send(ctx, q)
	if err != nil {
		if u, ok := errors.AsType[unauthorized](err); ok {
			failure := &Error{Register: a.name, Problem: "there is no token for it: " + u.Detail(), Mend: u.Hint(), cause: err}
			if failure.Mend == "" {
				failure.Mend = mendStatus(http.StatusForbidden)
			}
			return answer{}, later{}, failure
		}
		problem, mend := "it can't be reached", "check its address, the network and HTTPS_PROXY"
		if ctx.Err() != nil {
			problem, mend, err = "it did not answer in time", "try again later", nil
		}
		return answer{}, later{again: true}, &Error{Register: a.name, Problem: problem, Mend: mend, cause: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, q.limit+1))
	failure := &Error{Register: a.name, Status: resp.StatusCode, Mend: "try again later"}
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests || status >= 500:
		failure.Problem = "it answered " + strconv.Itoa(status)
		return answer{}, later{true, retryAfter(resp.Header, time.Now())}, failure
	case status == http.StatusNotFound || status == http.StatusGone:
		return answer{status: status}, later{}, nil // the body is a page, or a problem document
	case status != http.StatusOK:
		failure.Problem, failure.Mend = "it answered "+strconv.Itoa(status), mendStatus(status)
		return answer{}, later{}, failure
	case err != nil:
		failure.Problem = "its answer broke off"
		return answer{}, later{again: true}, failure
	case int64(len(body)) > q.limit || !isJSON(resp.Header):
		failure.Problem, failure.Mend = "its answer is no JSON of a fit size", "check its address"
		return answer{}, later{}, failure
	}
	return answer{resp.StatusCode, body}, later{}, nil
}

// unauthorized is the error of a Transport that got no token to send.
type unauthorized interface {
	error
	Detail() string
	Hint() string
}

// send makes one request. Its error names no address.
func (a *asker) send(ctx context.Context, q question) (*http.Response, error) {
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, a.url.JoinPath(q.path).String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sfm-sidecar")
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(req)
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return resp, err
}

func mendStatus(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check that the client has this register's scope at HelseID"
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return "it may have moved: check its address"
	}
	return "check its address; it may be of another version"
}

// retryAfter is how long the register wants to be left alone (RFC 9110 §10.2.3: seconds, or a date); 0 where it does
// not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) { // then it is the most
		return time.Duration(min(seconds, uint64(longestAsked/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// isJSON knows application/json and what is built on it, such as Brreg's application/vnd.brreg….v2+json.
func isJSON(h http.Header) bool {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}
