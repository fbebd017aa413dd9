package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"

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

// know notes whose connection it is, once per connection. It is an
// http.Server's ConnContext.
func (c *callers) know(ctx context.Context, conn net.Conn) context.Context {
	if len(c.allowed) == 0 {
		return ctx
	}
	uid, err := peerUID(conn)
	if err != nil {
		return ctx // owner is then "", which is nobody's number
	}
	return context.WithValue(ctx, callerKey{}, uid)
}

// owner is the user number behind a request, "" where users are not told apart.
func (c *callers) owner(r *http.Request) string {
	uid, _ := r.Context().Value(callerKey{}).(string)
	return uid
}

// check refuses a user who may not call.
func (c *callers) check(r *http.Request) error {
	if len(c.allowed) == 0 || slices.Contains(c.allowed, c.owner(r)) {
		return nil
	}
	return &refusal{"caller-refused", "the operating system's user behind this call is not among those allowed"}
}
