package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// parseUpstreams reads SFM_UPSTREAMS: name=url pairs, comma separated, or one
// URL without a name. All faults are joined.
func parseUpstreams(v string) ([]Upstream, error) {
	var upstreams []Upstream
	var faults []error
	for item := range strings.SplitSeq(v, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue // a trailing comma
		}
		upstream, err := parseUpstream(item)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		upstreams = append(upstreams, upstream)
	}
	if len(faults) == 0 {
		faults = checkNames(upstreams)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return upstreams, nil
}

// parseUpstream reads one name=url pair, or a URL alone.
func parseUpstream(item string) (Upstream, error) {
	name, address, named := strings.Cut(item, "=")
	if !named || strings.Contains(name, "://") { // an "=" inside the URL is no separator
		name, address = "", item
	} else if !isUpstreamName(name) {
		return Upstream{}, Fault{Problem: "has the upstream name " + quote(name), Mend: "use only a-z, 0-9 and - in names"}
	}
	u, err := parseUpstreamURL(strings.TrimSpace(address))
	if err != nil {
		return Upstream{}, err
	}
	return Upstream{Name: name, URL: u}, nil
}

func isUpstreamName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// checkNames refuses what would leave it open which upstream a path belongs to.
func checkNames(upstreams []Upstream) []error {
	if len(upstreams) == 0 {
		return []error{Fault{Problem: "names no upstream", Mend: "write name=url pairs, comma separated"}}
	}
	var faults []error
	seen := make(map[string]bool)
	for _, upstream := range upstreams {
		if seen[upstream.Name] && upstream.Name != "" {
			faults = append(faults, Fault{Problem: "has two upstreams named " + quote(upstream.Name), Mend: "give each its own name"})
		}
		seen[upstream.Name] = true
	}
	if seen[""] && len(upstreams) > 1 {
		faults = append(faults, Fault{
			Problem: "has an upstream without a name beside others",
			Mend:    "name every upstream (name=url); only a single one may stand without a name",
		})
	}
	return faults
}

// parseUpstreamURL reads and normalises the address of an upstream: lower-case
// host in its ASCII form, no default port, no trailing slash. It refuses what
// cannot be part of an API's address, or would make the address that a proof
// names (RFC 9449 section 4.2, htu) differ from the one that is called.
func parseUpstreamURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil { // the library's error repeats the address, password and all
		return nil, Fault{Problem: "holds " + quote(address) + ", which is not a URL", Mend: "write https://host/path"}
	}
	if err := refuseParts(u, address); err != nil {
		return nil, err
	}
	host, err := normalHost(u, address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, Fault{Problem: "would send tokens over http to " + quote(host), Mend: "use https; http is for loopback hosts only"}
	}
	clean, err := url.Parse(u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/"))
	if err != nil {
		return nil, Fault{Problem: "holds " + quote(address) + ", which is not a URL", Mend: "write https://host/path"}
	}
	return clean, nil
}

// refuseParts refuses the parts that an upstream's address must not have.
func refuseParts(u *url.URL, address string) error {
	refuse := func(problem, mend string) error {
		return Fault{Problem: "holds " + quote(address) + ", which " + problem, Mend: mend}
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "":
		return refuse("is not an http or https URL", "write https://host/path")
	case u.Hostname() == "":
		return refuse("has no host", "write https://host/path")
	case u.User != nil:
		return refuse("has a user name or password", "leave it out: the sidecar authenticates by tokens only")
	case u.RawQuery != "" || u.ForceQuery:
		return refuse("has a query", "leave out everything from the ? on")
	case u.Fragment != "" || strings.Contains(address, "#"):
		return refuse("has a fragment", "leave out everything from the # on")
	case hasDotSegment(u.Path):
		return refuse(`has a path segment "." or ".."`, "write the path that is meant")
	}
	return nil
}

// hasDotSegment looks at the decoded path, so that %2e is found too. A backslash
// counts as a slash, since some servers take it for one.
func hasDotSegment(path string) bool {
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
	return slices.Contains(segments, ".") || slices.Contains(segments, "..")
}

// normalHost returns host[:port] with the host in lower case and ASCII, and
// without the scheme's default port.
func normalHost(u *url.URL, address string) (string, error) {
	refuse := func(problem, mend string) (string, error) {
		return "", Fault{Problem: "holds " + quote(address) + ", which " + problem, Mend: mend}
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return refuse("has an IPv6 zone", "leave out everything from the % on")
		}
		host = ip.String()
	} else if host, err = asciiName(host); err != nil || strings.HasSuffix(host, ".") {
		return refuse("has a host name that is not valid", "write the host's name in letters, digits and hyphens, without a dot at its end")
	}
	port := u.Port()
	if port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return refuse("has a port that is not valid", "write a port from 1 to 65535, or none")
		}
		port = strconv.FormatUint(number, 10)
	}
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			return "[" + host + "]", nil
		}
		return host, nil
	}
	return net.JoinHostPort(host, port), nil
}

// asciiName returns the ASCII form of a host name (RFC 5891), which is the one that
// is looked up. Some letters that Unicode merges with others give a name that is
// itself not valid: hence the second look.
func asciiName(host string) (string, error) {
	name, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", err
	}
	return idna.Lookup.ToASCII(name)
}

// isLoopback reports whether a host can only be this machine: a loopback address,
// or the name localhost. Other names are not resolved: what they point to may
// change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
