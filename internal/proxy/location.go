package proxy

import (
	"net/url"
	"strings"
)

// localAddress is where an upstream is found at the sidecar.
type localAddress struct {
	origin string // scheme and host as the EPJ used them
	path   string // /name, or empty for the upstream mounted at /
}

// place is where an address in an answer was read: in the answer to the
// request for asked, from the upstream that is found at local.
type place struct {
	up    *upstream
	asked *url.URL
	local localAddress
}

// here turns an address in SFM's answer into the one the EPJ must use, so that
// the call it makes next comes through the sidecar too. Resumable uploads live
// by it. An absolute address stays absolute, a relative one becomes a local
// path. Addresses of other hosts, and values that are no address, are not
// touched. ok is false for one on the upstream's host outside its base path:
// there is no local address for it, and the EPJ must not go there by itself.
func (p place) here(value string) (address string, ok bool) {
	ref, err := url.Parse(value)
	if err != nil || value == "" || ref.Opaque != "" {
		return value, true
	}
	abs := p.asked.ResolveReference(ref)
	if !p.up.sameHost(abs) {
		return value, true
	}
	path := abs.EscapedPath()
	if path != p.up.base && !strings.HasPrefix(path, p.up.base+"/") || hasDots(abs.Path) {
		return "", false
	}
	var b strings.Builder
	if ref.Host != "" {
		b.WriteString(p.local.origin)
	}
	local := p.local.path + strings.TrimPrefix(path, p.up.base)
	if local == "" {
		local = "/"
	}
	if ref.Host == "" && strings.HasPrefix(local, "//") {
		b.WriteString("/.") // RFC 3986 section 4.2: else the first segment would be read as a host
	}
	b.WriteString(local)
	if abs.RawQuery != "" || abs.ForceQuery {
		b.WriteString("?" + abs.RawQuery)
	}
	if abs.Fragment != "" {
		b.WriteString("#" + abs.EscapedFragment())
	}
	return b.String(), true
}

// sameHost says whether an address is on the upstream's host. The scheme does
// not count: behind its own front door SFM may believe it is reached by http.
func (u *upstream) sameHost(other *url.URL) bool {
	if other.Scheme != "http" && other.Scheme != "https" {
		return false
	}
	name := strings.TrimSuffix(other.Hostname(), ".")
	return strings.EqualFold(name, u.URL.Hostname()) && port(other) == port(u.URL)
}

// port is a URL's port, the default ports of both schemes counted as one.
func port(u *url.URL) string {
	switch p := strings.TrimLeft(u.Port(), "0"); p {
	case "80", "443":
		return ""
	default:
		return p
	}
}
