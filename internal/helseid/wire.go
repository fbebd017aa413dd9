package helseid

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// maxAnswer bounds what is read of any answer.
const maxAnswer = 1 << 20

// What can be wrong with an answer as a text; a reason of helseid-unavailable.
const (
	faultContentType = "content-type"
	faultOversized   = "oversized"
	faultTruncated   = "truncated"
	faultNotJSON     = "not-json"
	faultTwice       = "member-twice"
)

// answer is what came back, whatever it says.
type answer struct {
	status         int
	header         http.Header
	body           []byte
	members        members // nil when fault is not ""
	fault          string
	sent, received time.Time // wall clock with monotonic reading; sent is before the connection was had
}

// send makes one request and reads the whole answer. An error means that no status line came.
func (c *Client) send(req *http.Request) (*answer, error) {
	req.Header.Set("User-Agent", "sfm-sidecar")
	a := &answer{sent: c.opt.Wall()}
	resp, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address
		}
		return nil, err
	}
	defer resp.Body.Close()
	a.received = c.opt.Wall()
	a.status, a.header = resp.StatusCode, resp.Header
	c.learn(a)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	a.body = body
	a.members, a.fault = readMembers(resp.Header, body, err)
	return a, nil
}

// readMembers reads the answer's JSON, or says what keeps it from being that.
func readMembers(h http.Header, body []byte, err error) (members, string) {
	media, _, mediaErr := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case len(body) > maxAnswer:
		return nil, faultOversized
	case err != nil:
		return nil, faultTruncated
	case mediaErr != nil || media != "application/json":
		return nil, faultContentType
	}
	m, err := parseMembers(body)
	switch {
	case errors.Is(err, errMemberTwice):
		return nil, faultTwice
	case err != nil:
		return nil, faultNotJSON
	}
	return m, ""
}

// ended says what it means that a context ended while we waited: the caller left, or time ran out.
func ended(ctx context.Context, what string) error {
	if errors.Is(ctx.Err(), context.Canceled) && !errors.Is(context.Cause(ctx), errUnsent) {
		return context.Canceled
	}
	e := unavailable("timeout", "HelseID did not answer in time ("+what+")")
	e.cause = context.DeadlineExceeded
	return e
}
