// Package control is how an EPJ handles log-ins: the JSON calls under
// /_sidecar/, and the few pages that a person's browser meets on the way to
// HelseID and back.
//
// Handlers return errors and render none: the front door does, in one form for
// all. Only a page's refusal is written here, as a page, when the front door
// asks for it (see [pageError]).
package control

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/tenantmap"
)

// Prefix is the path under which all of this lives.
const Prefix = "/_sidecar/"

const (
	// maxBody bounds a JSON body, in bytes.
	maxBody = 64 << 10
	// maxText and maxTenants bound what is kept of a log-in while it is pending.
	maxText    = 1 << 10
	maxTenants = 200
	// maxWaiting bounds how many may wait for a change at once.
	maxWaiting = 512
	// maxHesitating bounds who is held for a moment instead, where so many wait.
	maxHesitating = 8192
	// maxWait bounds how long a question for a session's state may wait.
	maxWait = 2 * time.Minute
)

//go:embed openapi.json
var openapi []byte

// Sessions is the room that keeps the log-ins.
type Sessions interface {
	Begin(ctx context.Context, b session.Begin) (session.Begun, error)
	Adopt(ctx context.Context, refreshToken string, b session.Begin) (handle string, err error)
	Open(ctx context.Context, link, browser string) (session.Opened, error)
	Finish(ctx context.Context, c session.Callback) error
	Status(ctx context.Context, handle, owner string, wait time.Duration) (session.Status, error)
	End(ctx context.Context, handle, owner string, hint bool) (session.Ended, error)
	Logout(ctx context.Context, link string) (location string, err error)
	// LogoutAddress is where HelseID ends its own session, whoever's it is.
	LogoutAddress(ctx context.Context) (string, error)
}

// Options are what a [Handler] is made of.
type Options struct {
	Sessions Sessions
	// Parse checks a tenant that a log-in is limited to.
	Parse func(parent, child, journal string) (tenantmap.Tenant, error)
	// Alias finds the tenant that an alias of the registry stands for now. A session
	// keeps what it found. If nil, there are no aliases.
	Alias func(alias string) (tenantmap.Tenant, error)
	// Problem renders a refusal as a problem document, for a session's state.
	Problem func(r *http.Request, err error) any
	// SFMSessions tells of the SFM sessions of a person's session, by its ID. If nil,
	// there are none.
	SFMSessions func(ctx context.Context, id string) []SFMSession
	// Owner is the operating system's user behind a request, "" where users are
	// not told apart. If nil, nobody is.
	Owner func(r *http.Request) string
	// Stopping is closed when the sidecar begins to stop: whoever waits for a
	// change of a session is answered at once. If nil, never.
	Stopping <-chan struct{}
	// LogIn says whether people may log in at all: the grant user is configured.
	LogIn bool
	// TenantAtLogIn says that a log-in must name the tenant it is for
	// (HELSEID_LOGIN_TENANT=request-object); without it, none may.
	TenantAtLogIn bool
}

// Handler serves the control API. It is safe for concurrent use.
type Handler struct {
	o          Options
	waiting    atomic.Int32 // questions for a change that wait for it
	hesitating atomic.Int32 // those beside them that are held for a moment
}

// New returns a Handler.
func New(o Options) *Handler {
	if o.Owner == nil {
		o.Owner = func(*http.Request) string { return "" }
	}
	if o.SFMSessions == nil {
		o.SFMSessions = func(context.Context, string) []SFMSession { return nil }
	}
	return &Handler{o: o}
}

// BrowserPage says whether a request is for one of the pages that a person's
// browser may open; every other call is for programs alone.
func BrowserPage(r *http.Request) bool {
	p := r.URL.Path
	return r.Method == http.MethodGet &&
		(strings.HasPrefix(p, session.LoginPath) || strings.HasPrefix(p, session.LogoutPath) || p == session.CallbackPath)
}

type handler func(http.ResponseWriter, *http.Request) error

// Serve answers one request. What it returns has not been written.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	methods := h.route(r.URL.Path)
	if methods == nil {
		return refuse("control-unknown", "there is no such control call")
	}
	serve, ok := methods[r.Method]
	if !ok {
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", ")) // RFC 9110 15.5.6
		return &Error{code: "control-unknown", detail: "this control call does not know the method", wrongMethod: true}
	}
	w.Header().Set("Cache-Control", "no-store")
	return serve(w, r)
}

// route is the table of section 4 of the contract. It is no ServeMux: that would
// answer some paths with a redirect of its own.
func (h *Handler) route(path string) map[string]handler {
	switch {
	case path == Prefix+"sessions":
		return map[string]handler{http.MethodPost: h.create}
	case path == Prefix+"sessions/callback":
		return map[string]handler{http.MethodPost: h.foreignCallback}
	case path == Prefix+"session":
		return map[string]handler{http.MethodGet: h.status, http.MethodDelete: h.end}
	case path == Prefix+"openapi.json":
		return map[string]handler{http.MethodGet: h.openapi}
	case path == session.CallbackPath:
		return map[string]handler{http.MethodGet: h.callback}
	case strings.HasPrefix(path, session.LoginPath):
		return map[string]handler{http.MethodGet: h.login}
	case strings.HasPrefix(path, session.LogoutPath):
		return map[string]handler{http.MethodGet: h.logout}
	}
	return nil
}

func (h *Handler) openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openapi)
	return err
}

// Error is a refusal of this room.
type Error struct {
	code, detail, hint string
	wrongMethod        bool
}

func refuse(code, format string, args ...any) *Error {
	e := &Error{code: code, detail: fmt.Sprintf(format, args...)}
	if code == "request-invalid" {
		e.hint = "GET /_sidecar/openapi.json describes what the call takes."
	}
	return e
}

// Error implements error.
func (e *Error) Error() string { return e.code + ": " + e.detail }

// Code is the refusal's code in contract section 5.
func (e *Error) Code() string { return e.code }

// Detail says what is wrong, in words for the EPJ.
func (e *Error) Detail() string { return e.detail }

// Hint says what to do, where it is more than the code's own hint.
func (e *Error) Hint() string { return e.hint }

// MethodNotAllowed says that the path is known and the method is not.
func (e *Error) MethodNotAllowed() bool { return e.wrongMethod }

// bodyTime is how long a body of at most [maxBody] bytes may take. Without it a
// caller who owes the rest would hold up the end of the process.
const bodyTime = 10 * time.Second

// decode reads the JSON object of a request's body into v. Members nobody knows
// are refused: a misspelt "expect" would otherwise let the wrong person in.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(bodyTime)) // where there is a connection
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(body) <= maxBody {
		_ = connection.SetReadDeadline(time.Time{})
	} // otherwise net/http would wait for the rest before it sends the refusal
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refuse("request-invalid", "the body did not come within %s", bodyTime)
	}
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if len(body) > maxBody {
		return refuse("request-invalid", "the body is larger than %d bytes", maxBody)
	}
	if t := bytes.TrimSpace(body); len(t) == 0 || t[0] != '{' {
		return refuse("request-invalid", "the body is not a JSON object; where nothing is to be said it is {}")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse("request-invalid", "the body is not the JSON object that this call takes: %s", describe(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse("request-invalid", "something follows the JSON object in the body")
	}
	return nil
}

// describe tells what is wrong with JSON without repeating any value of it.
func describe(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "the member " + e.Field + " has the wrong type"
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(name) < 64 {
		return "unknown member " + name
	}
	if own, ok := errors.AsType[*Error](err); ok {
		return own.detail
	}
	return "it can't be read"
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}
