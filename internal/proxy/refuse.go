package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sfm-sidecar/internal/tenantmap"
)

// refusal is this room's own error with a code.
type refusal struct {
	code   string
	detail string // text for the caller; if empty, the title
	hint   string // if empty, the table's
	err    error  // for the log only
}

func (e *refusal) Error() string {
	text := e.code
	if e.detail != "" {
		text += ": " + e.detail
	}
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

func (e *refusal) Unwrap() error  { return e.err }
func (e *refusal) Code() string   { return e.code }
func (e *refusal) Detail() string { return e.detail }
func (e *refusal) Hint() string   { return e.hint }

// problem is the answer to a refused call (RFC 9457).
type problem struct {
	Type         string  `json:"type"`
	Title        string  `json:"title"`
	Status       int     `json:"status"`
	Detail       string  `json:"detail"`
	Hint         string  `json:"hint"`
	Origin       string  `json:"origin"`
	Retryable    bool    `json:"retryable"`
	RequestID    string  `json:"request_id"`
	HID          string  `json:"hid,omitempty"`
	HelseIDError string  `json:"helseid_error,omitempty"`
	Reason       string  `json:"reason,omitempty"`
	Tenant       *tenant `json:"tenant,omitempty"`
}

// tenant is a tenant as a problem names it.
type tenant struct {
	Parent  string `json:"parent"`
	Child   string `json:"child,omitempty"`
	Journal string `json:"journal"`
}

// Refuse answers any request with an error, rendered like those of the calls:
// for the listeners that this package does not serve itself. It also writes
// the log line.
func (p *Proxy) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	c := &call{p: p, in: r, started: time.Now(), id: requestID(r), w: answer{ResponseWriter: w}, isControl: true, elsewhere: true}
	defer p.record(c, false)
	p.refuse(c, err)
}

// refuse answers a call with an error. To a caller that is gone it cuts the
// connection: a handler that just returned would have answered 200.
func (p *Proxy) refuse(c *call, err error) {
	if errors.Is(err, errLeft) || errors.Is(err, context.Canceled) && c.in.Context().Err() != nil {
		c.left = true
		panic(http.ErrAbortHandler)
	}
	code := codeOf(err)
	kind, known := rows[code]
	if !known {
		code, kind = "internal", rows["internal"]
	}
	c.code, c.cause = code, err
	if p.observe.Refusal != nil {
		p.observe.Refusal(code)
	}
	if c.w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer is out; it must not look whole
	}
	doc := c.describe(code, kind, err)
	c.remember(code, doc)
	c.head(doc, retryAfter(code, err))
	if page, ok := errors.AsType[pager](err); ok {
		page.WritePage(&c.w, c.in, doc.Status)
		return
	}
	c.document(doc)
}

// remember reports a refusal for whoever runs the sidecar.
func (c *call) remember(code string, doc problem) {
	if c.p.observe.Refused == nil || c.elsewhere {
		return
	}
	r := Refused{
		At: time.Now(), Code: code, Title: doc.Title, Hint: doc.Hint, Origin: doc.Origin, Reason: doc.Reason, HID: doc.HID,
		RequestID: c.id, Tenant: c.ask.Tenant,
	}
	if c.upstream != nil {
		r.Upstream = c.upstream.Name
	}
	c.p.observe.Refused(r)
}

// pager is a refusal that a person reads in a browser. It writes its own body,
// status and content headers; everything else is as for any other.
type pager interface {
	error
	WritePage(w http.ResponseWriter, r *http.Request, status int)
}

// Problem is an error as the problem document of this request would show it,
// for an answer that tells of a refusal without being one. It is ready for
// encoding as JSON.
func (p *Proxy) Problem(r *http.Request, err error) any {
	code := codeOf(err)
	kind, known := rows[code]
	if !known {
		code, kind = "internal", rows["internal"]
	}
	return (&call{p: p, in: r, id: requestID(r)}).describe(code, kind, err)
}

// refuseSafely is refuse for a fault of ours: nil, or what must be panicked on.
func (p *Proxy) refuseSafely(c *call) (fault any) {
	defer func() { fault = recover() }()
	p.refuse(c, errors.New("handling the call panicked"))
	return nil
}

// describe fills a problem from the table and from what the error adds to it.
func (c *call) describe(code string, kind row, err error) problem {
	doc := problem{
		Type: "urn:sfm-sidecar:problem:" + code, Title: kind.title, Status: kind.status, Detail: kind.title,
		Hint: kind.hint, Origin: kind.origin, Retryable: kind.retryable, RequestID: c.id,
	}
	switch {
	case code == "login-failed" && c.upstream != nil:
		doc.Status = loginStatus
	case code == "control-unknown" && methodNotAllowed(err):
		doc.Status, doc.Title = http.StatusMethodNotAllowed, "The control call has no such method"
		doc.Detail = doc.Title
	}
	if t := c.ask.Tenant; t != (tenantmap.Tenant{}) {
		doc.Tenant = &tenant{Parent: t.Parent, Child: t.Child, Journal: t.Journal}
	}
	if code != "internal" { // what such an error says is not for the caller
		doc.add(err)
	}
	return doc
}

// add fills in what the error says by optional methods of its own.
func (doc *problem) add(err error) {
	if e, ok := errors.AsType[interface {
		error
		Detail() string
	}](err); ok && e.Detail() != "" {
		doc.Detail = e.Detail()
	}
	if e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && e.Hint() != "" {
		doc.Hint = e.Hint()
	}
	if e, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		doc.Reason = e.Reason()
	}
	if e, ok := errors.AsType[interface {
		error
		HID() string
	}](err); ok {
		doc.HID = e.HID()
	}
	if e, ok := errors.AsType[interface {
		error
		OAuthError() string
	}](err); ok {
		doc.HelseIDError = e.OAuthError()
	}
}

// codeOf finds the code of a refusal, or "".
func codeOf(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Code() string
	}](err); ok {
		return e.Code()
	}
	return ""
}

func methodNotAllowed(err error) bool {
	e, ok := errors.AsType[interface {
		error
		MethodNotAllowed() bool
	}](err)
	return ok && e.MethodNotAllowed()
}

// retryAfter is when to call again: what the error says, else a guess where
// the code promises one.
func retryAfter(code string, err error) time.Duration {
	if e, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok && e.RetryAfter() > 0 {
		return e.RetryAfter()
	}
	switch code {
	case "helseid-unavailable":
		return 5 * time.Second
	case "limit-reached":
		return time.Second
	}
	return 0
}

// keptOnRefusal are the headers that a refusal leaves in place: the methods beside a
// 405, the cookie that binds a browser whose log-in failed for the moment, and the
// server's word that the connection ends.
var keptOnRefusal = []string{"Allow", "Set-Cookie", "Connection"}

// head sets the headers of a refusal. Only an answer made here has Sidecar-Error.
func (c *call) head(doc problem, after time.Duration) {
	h := c.w.Header()
	maps.DeleteFunc(h, func(name string, _ []string) bool { return !slices.Contains(keptOnRefusal, name) })
	c.mark(h)
	h.Set("Sidecar-Error", strings.TrimPrefix(doc.Type, "urn:sfm-sidecar:problem:"))
	h.Set("Sidecar-Retryable", strconv.FormatBool(doc.Retryable))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if after > 0 {
		h.Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
}

// document writes the problem itself.
func (c *call) document(doc problem) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		panic("BUG: a problem that is no JSON")
	}
	c.w.Header().Set("Content-Type", "application/problem+json")
	c.w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	c.w.WriteHeader(doc.Status)
	if c.in.Method != http.MethodHead {
		_, _ = c.w.Write(body.Bytes())
	}
}

// hintAfter is the hint for a call whose outcome nobody knows. For a
// prescription there is one thing to do first.
func hintAfter(code, rest string) string {
	path, _, _ := strings.Cut(strings.TrimRight(rest, "/"), ";")
	last := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	if code == "upstream-unavailable" || strings.ReplaceAll(last, "%24", "$") != "$sendmedication" {
		return ""
	}
	return "SFM may have sent the prescriptions. Run $getMedication before anything else, and compare."
}

// plain makes an error of the transport fit for the log. net/http quotes what
// a server sent when it can't read it, which may be anything; only the texts
// of known kinds are kept.
func plain(err error) error {
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return operation
	}
	for _, known := range []error{io.ErrUnexpectedEOF, io.EOF, syscall.ECONNRESET, syscall.EPIPE, os.ErrDeadlineExceeded, net.ErrClosed} {
		if errors.Is(err, known) {
			return known
		}
	}
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		return errors.New("no answer in time")
	}
	return errors.New("the connection broke, or what came was not HTTP")
}
