package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"sync"

	"sfm-sidecar/internal/config"
)

// errNoUser says that the operating system does not tell who is at the other end.
var errNoUser = errors.New("the operating system does not say whose connection this is")

// callers tells the operating system's users apart (SIDECAR_ALLOWED_UIDS). The
// zero value tells nobody apart: everyone may call, and sessions have no owner.
type callers struct{ allowed []string }

type callerKey struct{}

// newCallers looks up user names, so that only numbers are compared later.
func newCallers(allowed []string) (*callers, error) {
	c := new(callers)
	for _, name := range allowed {
		if _, err := strconv.ParseUint(name, 10, 32); err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return nil, config.Faults{{
					Variable: "SIDECAR_ALLOWED_UIDS", Problem: "this system knows no user " + strconv.Quote(name), Mend: "write user numbers, or names that exist here",
				}}
			}
			name = u.Uid
		}
		c.allowed = append(c.allowed, name)
	}
	return c, nil
}

// know has it found out whose connection it is, once per connection and when it
// is first asked. It is an http.Server's ConnContext, which runs where
// connections are accepted: nothing may take its time there.
func (c *callers) know(ctx context.Context, conn net.Conn) context.Context {
	if len(c.allowed) == 0 {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, sync.OnceValue(func() string {
		uid, err := peerUID(conn)
		if err != nil {
			return "" // nobody's number
		}
		return uid
	}))
}

// owner is the user number behind a request, "" where users are not told apart.
func (c *callers) owner(r *http.Request) string {
	if uid, ok := r.Context().Value(callerKey{}).(func() string); ok {
		return uid()
	}
	return ""
}

// check refuses a user who may not call.
func (c *callers) check(r *http.Request) error {
	if len(c.allowed) == 0 || slices.Contains(c.allowed, c.owner(r)) {
		return nil
	}
	return &refusal{"caller-refused", "the operating system's user behind this call is not among those allowed"}
}
