package app

import (
	"net/http"
	"slices"
	"strings"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/tenantmap"
)

// grantHeader chooses among several configured grants.
const grantHeader = "Sfm-Grant"

// persons finds out under which grant a call comes, and so whose it is. Nothing
// is guessed from what is absent: without the header the first configured grant
// holds, and what that grant has no use for is refused.
type persons struct {
	grants   []string
	sessions *session.Manager
	subjects *subjects
	owner    func(*http.Request) string
}

// find is the proxy's Person option.
func (p *persons) find(r *http.Request) (proxy.Person, error) {
	grant, err := p.grant(r.Header)
	if err != nil {
		return proxy.Person{}, err
	}
	if grant != config.GrantUser && len(r.Header.Values(session.Header)) > 0 {
		return proxy.Person{}, mismatch("the grant " + grant + " has no use for a session")
	}
	if grant == config.GrantTokenExchange {
		return p.subjects.find(r)
	}
	if hasToken(r.Header) {
		return proxy.Person{}, mismatch("the grant " + grant + " has no use for a token of the caller")
	}
	if grant == config.GrantClientCredentials {
		return proxy.Person{Grant: grant}, nil
	}
	handle, err := session.Handle(r.Header)
	if err != nil {
		return proxy.Person{}, err
	}
	s, err := p.sessions.ByHandle(r.Context(), handle, p.owner(r))
	if err != nil {
		return proxy.Person{}, err
	}
	return proxy.Person{ID: s.ID, Grant: grant, Allows: func(t tenantmap.Tenant) bool {
		return s.Allows(session.Tenant(t))
	}}, nil
}

func (p *persons) grant(h http.Header) (string, error) {
	switch values := h.Values(grantHeader); {
	case len(values) == 0:
		return p.grants[0], nil
	case len(values) > 1 || values[0] == "":
		return "", &refusal{"request-invalid", "the header " + grantHeader + " is empty or was sent more than once"}
	case !slices.Contains(p.grants, values[0]):
		return "", mismatch("the grant in " + grantHeader + " is not among those configured")
	default:
		return values[0], nil
	}
}

// hasToken says whether the caller sent a token of its own. Any other kind of
// Authorization is merely removed.
func hasToken(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Authorization"), func(value string) bool {
		scheme, _, _ := strings.Cut(value, " ")
		return strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP")
	})
}

// refusal is what the wiring itself refuses.
type refusal struct{ code, detail string }

func mismatch(detail string) error { return &refusal{"grant-mismatch", detail} }

// Error implements error.
func (r *refusal) Error() string { return r.code + ": " + r.detail }

// Code is the refusal's code in contract section 5.
func (r *refusal) Code() string { return r.code }

// Detail says what is wrong, in words for the EPJ.
func (r *refusal) Detail() string { return r.detail }
