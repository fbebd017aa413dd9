package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"sfm-sidecar/internal/dpop"
)

// call is what is known of one call while it is under way. It belongs to the
// handler's goroutine; what other goroutines touch is in try.
type call struct {
	p       *Proxy
	in      *http.Request // as it arrived; never modified
	w       answer
	id      string
	started time.Time
	counted bool   // among the calls in flight
	origin  string // the allowed origin of a web page, or empty

	isControl bool
	elsewhere bool // it came to a listener that this package does not serve
	upstream  *upstream
	rest      string // escaped path after the upstream's name
	ask       Ask
	body      payload
	duplex    bool   // the answer may begin while the body still comes
	guard     *guard // nil: the call can't make a journal
	token     Token

	try     *try   // the one under way
	failed  error  // how forwarding failed
	code    string // of the refusal that was answered
	cause   error  // what stood behind it, for the log
	left    bool   // the caller left before its answer
	outcome int    // SFM's status, when the caller had left
	lost    string // how forwarding failed, when the caller had left
	broke   bool   // SFM's body broke off
	// outcomeCopy is of SFM's answer when that says no; else nil.
	outcomeCopy *outcomeCopy
	watch       stopwatch
}

// stopwatch holds the time of a call that is not ours.
//
// The time the sidecar added to a call is what passed from its arrival to the
// answer's first byte, less four things: SFM's time, that of the journal guard's
// question to SFM, the time the caller took to send a body that is kept (up to
// 64 KiB), and all streaming after the answer's headers. SFM's time runs from when a kept connection was at hand
// (the proof has then been made: it counts as ours) or, where one had to be
// dialled, from when the dial began, until the answer's headers were there. A
// body that is streamed up is thus in SFM's time. Waiting for a token is ours.
type stopwatch struct {
	sfm    time.Duration
	guard  time.Duration
	caller time.Duration
}

// added is the sidecar's share of a call.
func (c *call) added(now time.Time) time.Duration {
	if !c.w.at.IsZero() {
		now = c.w.at
	}
	return max(0, now.Sub(c.started)-c.watch.sfm-c.watch.guard-c.watch.caller)
}

type callKey struct{}

// callContext gives a call to those beneath ReverseProxy, and the key of its token to
// whoever makes the proof. The latter is read when an attempt begins, in the goroutine
// that might change the token.
type callContext struct {
	context.Context
	c *call
}

// Value implements [context.Context].
func (x callContext) Value(key any) any {
	switch key.(type) {
	case callKey:
		return x.c
	case dpop.BoundTo:
		return x.c.token.Key
	}
	return x.Context.Value(key)
}

func contextOf(ctx context.Context, c *call) context.Context { return callContext{ctx, c} }

// callOf finds the call of a request that forward sent on its way.
func callOf(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		panic("BUG: a request without its call")
	}
	return c
}

// RequestID finds the id of a call: the caller's own X-Request-Id when it sent
// one that can stand in a log, else a new one.
func requestID(r *http.Request) string {
	sent := r.Header["X-Request-Id"]
	if len(sent) != 1 || !sane(sent[0]) {
		return rand.Text()
	}
	_, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for _, secret := range []string{r.Header.Get("Sfm-Session"), r.Header.Get("Sidecar-Key"), strings.TrimSpace(credentials)} {
		if secret != "" && strings.Contains(sent[0], secret) {
			return rand.Text()
		}
	}
	return sent[0]
}

// sane keeps out of logs and headers what does not belong there: long texts,
// controls, blanks, and what could be a person's number, a token or a handle.
func sane(id string) bool {
	if guid(id) || hexadecimal(id, traceDigits) { // eleven digits in a row are chance
		return true
	}
	run := 0
	for _, b := range []byte(id) {
		switch {
		case digit(b) || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b == '-' || b == '_':
			run++
		case strings.IndexByte(idSigns, b) >= 0:
			run = 0
		default:
			return false
		}
		if run == handleLetters {
			return false
		}
	}
	// Nor one that holds a token: an EPJ that sends its own here means well.
	return id != "" && len(id) <= 128 && !strings.Contains(id, "eyJ") && !personal(id)
}

// idSigns may stand in an id beside letters and digits.
const idSigns = "-_.:/+=@~"

const (
	personDigits  = 11 // of a national identity number
	traceDigits   = 32 // hexadecimal ones, of a W3C trace id
	handleLetters = 43 // of 256 bits in base64url: a session handle, a key, a digest
)

// personal says whether an id has eleven digits with no others beside them, alone or
// in groups that signs part.
func personal(id string) bool {
	for i := range len(id) {
		if i > 0 && digit(id[i-1]) {
			continue // not the first of its group
		}
		n := 0
		for j := i; j < len(id) && n <= personDigits; j++ {
			switch {
			case digit(id[j]):
				n++
				if n == personDigits && (j+1 == len(id) || !digit(id[j+1])) {
					return true
				}
				continue
			case n > 0 && strings.IndexByte(idSigns, id[j]) >= 0:
				continue
			}
			break
		}
	}
	return false
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// answer is the way to the caller. It notes when and with what status the
// answer began.
type answer struct {
	http.ResponseWriter
	status    int
	at        time.Time
	forwarded bool // the answer is SFM's
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader passes interim answers on but for 100: net/http sends that by
// itself to a caller that asked, when its body is first read; SFM's own 100
// may be an answer to an Expect of ours. An answer of SFM without
// Content-Type stays without: net/http would guess one.
func (a *answer) WriteHeader(code int) {
	if code == http.StatusContinue {
		return
	}
	h := a.Header()
	if code < http.StatusOK && code != http.StatusSwitchingProtocols {
		scrubAnswer(h)
		a.ResponseWriter.WriteHeader(code)
		return
	}
	if a.status == 0 {
		a.status, a.at = code, time.Now()
	}
	if _, there := h["Content-Type"]; !there && a.forwarded {
		h["Content-Type"] = nil
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write begins the answer if nothing has.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

// showHalf sends what there is of an answer before its connection is cut. A
// caller that has seen nothing of an answer might take the connection for one
// that had gone stale, and have its HTTP library send the call again.
func (a *answer) showHalf() {
	if a.status != 0 {
		_ = http.NewResponseController(a.ResponseWriter).Flush()
	}
}

// statusLeft is counted for a caller that did not wait for its answer.
const statusLeft = 499

// record writes the one line of a call and reports it. Neither ever holds a
// path, a query or a header.
func (p *Proxy) record(c *call, aborted bool) {
	now := time.Now()
	status := c.w.status
	if c.left || status == 0 {
		status = statusLeft
	}
	sum := Call{Method: label(c.in.Method), Status: status, Whole: now.Sub(c.started), Added: c.added(now),
		Refusal: cmp.Or(c.code, c.lost), Source: c.token.Source}
	if c.upstream != nil {
		sum.Upstream = c.upstream.Name
	}
	if p.observe.Done != nil && !c.isControl {
		p.observe.Done(c.in.Context(), sum)
	}
	level, message := c.verdict(aborted)
	ctx := context.WithoutCancel(c.in.Context())
	if p.log.Enabled(ctx, level) {
		p.log.LogAttrs(ctx, level, message, c.attrs(sum)...) //nolint:sloglint // verdict has constants only
	}
}

// verdict is how a call ended, in words that never vary.
func (c *call) verdict(aborted bool) (slog.Level, string) {
	switch {
	case c.code == "internal":
		return slog.LevelError, "call failed by a fault of the sidecar"
	case c.code != "":
		return slog.LevelWarn, "call refused"
	case c.lost != "":
		return slog.LevelWarn, "call failed after its caller left"
	case c.left && c.outcome != 0:
		return slog.LevelWarn, "call finished after its caller left"
	case c.broke:
		return slog.LevelWarn, "answer broke off"
	case c.left || aborted:
		return slog.LevelInfo, "caller left"
	case c.isControl:
		return slog.LevelInfo, "control call answered"
	}
	return slog.LevelInfo, "call forwarded"
}

func (c *call) attrs(sum Call) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("request_id", c.id),
		slog.String("method", sum.Method),
		slog.Int("status", sum.Status),
		slog.Float64("whole_ms", ms(sum.Whole)))
	if c.upstream != nil {
		attrs = append(attrs, slog.String("upstream", c.upstream.Name),
			slog.Float64("sfm_ms", ms(c.watch.sfm)), slog.Float64("added_ms", ms(sum.Added)))
	}
	if c.guard != nil {
		attrs = append(attrs, slog.String("journal_intent", c.guard.intent),
			slog.Int("guard_status", c.guard.status), slog.Float64("guard_ms", ms(c.watch.guard)))
	}
	if c.token.Source != "" {
		attrs = append(attrs, slog.String("token", c.token.Source))
	}
	if c.outcome != 0 {
		attrs = append(attrs, slog.Int("sfm_status", c.outcome))
	}
	outcome, trace := c.outcomeCopy.ids()
	if outcome != "" {
		attrs = append(attrs, slog.String("sfm_outcome_id", outcome))
	}
	if trace != "" {
		attrs = append(attrs, slog.String("sfm_trace_id", trace))
	}
	if sum.Refusal != "" {
		attrs = append(attrs, slog.String("code", sum.Refusal))
	}
	if c.cause != nil {
		attrs = append(attrs, slog.String("cause", c.cause.Error()))
	}
	return attrs
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// label keeps the number of values of a metric label bounded, and a caller's
// text out of it.
func label(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return method
	}
	return "OTHER"
}

// ownFault turns a panic into a refusal while nothing has been answered, else
// into an abort. What panicked is logged by its place, never by its value
// unless the value is ours or the runtime's: another could quote a request.
func (p *Proxy) ownFault(c *call, fault any) any {
	text := "value withheld"
	switch v := fault.(type) {
	case runtime.Error:
		text = v.Error()
	case string:
		if strings.HasPrefix(v, "BUG: ") {
			text = v
		}
	}
	p.log.Error("handling a call panicked", "request_id", c.id, "panic", text, "stack", string(debug.Stack()))
	if c.w.status != 0 {
		return http.ErrAbortHandler
	}
	return p.refuseSafely(c)
}
