package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// upstream is an Upstream with what every call needs of it worked out once.
type upstream struct {
	Upstream
	base string // escaped base path without trailing slash
	// mutes remembers that the origin does not answer Expect: 100-continue.
	mutes silence
}

func newUpstreams(list []Upstream) (map[string]*upstream, error) {
	ups := make(map[string]*upstream, len(list))
	var faults []error
	for _, u := range list {
		if err := checkUpstream(u); err != nil {
			faults = append(faults, fmt.Errorf("upstream %q: %w", u.Name, err))
			continue
		}
		if ups[u.Name] != nil {
			faults = append(faults, fmt.Errorf("upstream %q: named twice", u.Name))
		}
		ups[u.Name] = &upstream{Upstream: u, base: strings.TrimRight(u.URL.EscapedPath(), "/")}
	}
	switch {
	case len(list) == 0:
		faults = append(faults, errors.New("no upstream"))
	case ups[""] != nil && len(list) > 1:
		faults = append(faults, errors.New("an upstream without a name must be the only one"))
	}
	return ups, errors.Join(faults...)
}

func checkUpstream(u Upstream) error {
	switch {
	case strings.Trim(u.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return errors.New("a name has only a-z, 0-9 and -")
	case u.URL == nil || u.URL.Host == "" || u.URL.Scheme != "https" && u.URL.Scheme != "http":
		return errors.New("the URL is neither http nor https")
	case u.URL.User != nil || u.URL.RawQuery != "" || u.URL.Fragment != "" || u.URL.Opaque != "":
		return errors.New("the URL has more than scheme, host and path")
	case u.URL.Host != strings.ToLower(u.URL.Host):
		return errors.New("the URL's host is not normalised")
	case u.Scheme != "DPoP" && u.Scheme != "Bearer":
		return errors.New("the scheme is neither DPoP nor Bearer")
	}
	return nil
}

// fits says whether a token may be sent to the upstream at all.
func (u *upstream) fits(t Token) error {
	if !strings.EqualFold(t.Type, u.Scheme) {
		return &refusal{code: "token-mismatch", detail: "the token's type is not the one this API wants"}
	}
	if t.AccessToken == "" || strings.ContainsAny(t.AccessToken, " \t") || !httpguts.ValidHeaderFieldValue(t.AccessToken) {
		return errors.New("the token can't stand in a header")
	}
	return nil
}

// isControl says whether a path belongs to the control room. It looks at the
// decoded path, so that no spelling of /_sidecar/ gets past it.
func isControl(u *url.URL) bool {
	return u.Path == "/_sidecar" || strings.HasPrefix(u.Path, "/_sidecar/")
}

// route finds the upstream and what follows its name, escaped as it was sent.
func (p *Proxy) route(r *http.Request) (*upstream, string, error) {
	if err := checkTarget(r); err != nil {
		return nil, "", err
	}
	path := r.URL.EscapedPath()
	if u := p.upstreams[""]; u != nil {
		return u, path, nil
	}
	name, rest := path[1:], ""
	if i := strings.IndexByte(name, '/'); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	u := p.upstreams[name]
	if u == nil {
		return nil, "", &refusal{code: "upstream-unknown", detail: "the first segment of the path names no upstream; there are: " +
			strings.Join(slices.Sorted(maps.Keys(p.upstreams)), ", ")}
	}
	return u, rest, nil
}

// checkTarget refuses what could leave the upstream's base path, and the two
// methods that are no calls: CONNECT asks for a tunnel, and TRACE would show
// the caller the token (RFC 9110 section 9.3.8 forbids sending one).
func checkTarget(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return &refusal{code: "request-invalid", detail: "the methods CONNECT and TRACE are not forwarded"}
	case !strings.HasPrefix(r.URL.EscapedPath(), "/"):
		return &refusal{code: "request-invalid", detail: "the path does not begin with a slash"}
	case hasDots(r.URL.Path):
		return &refusal{code: "request-invalid", detail: "a segment of the path is . or .."}
	}
	return nil
}

// hasDots says whether a segment of a decoded path is . or .. . An encoded
// slash, or a backslash, ends a segment too, and what follows a ; is left out:
// some servers read them so.
func hasDots(path string) bool {
	if !strings.Contains(path, ".") {
		return false
	}
	for seg := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		if seg, _, _ = strings.Cut(seg, ";"); seg == "." || seg == ".." {
			return true
		}
	}
	return false
}

// aim points a URL at the upstream. Nothing is joined, cleaned or re-encoded:
// a // stays, and so does a $. The query is the caller's, byte for byte.
func (u *upstream) aim(out *url.URL, rest string) {
	escaped := u.base + rest
	out.Scheme, out.Host, out.User = u.URL.Scheme, u.URL.Host, nil
	out.Path, out.RawPath = escaped, ""
	if strings.IndexByte(escaped, '%') >= 0 {
		if plain, err := url.PathUnescape(escaped); err == nil {
			out.Path, out.RawPath = plain, escaped
		}
		return
	}
	out.RawPath = escaped // equal to Path: keeps what net/url would re-encode
}
