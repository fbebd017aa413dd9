package dpop

import (
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// This file holds the one rule on which every server and every client must agree: how a request's address is written
// in a proof. RFC 9449 section 4.3 lets a server normalize before it compares; many compare as it stands. So the path
// is what net/http puts into the request line, byte for byte, and the rest is what RFC 3986 section 6.2 calls normal.

// HTU gives the address of a request for its proof (RFC 9449 section 4.2, htu): scheme, host in lower case (and in its
// xn-- form), port unless it is the scheme's own, and the escaped path exactly as net/http sends it, so that a `$` stays
// a `$` and a %24 a %24. An empty path is sent, and so written, as "/". User, query and fragment are left out.
//
// The URL must be one that an http.Transport sends: absolute, with an empty Opaque.
func HTU(u *url.URL) string {
	htu, _ := address(u)
	return htu
}

// Origin gives the part of [HTU] that names the server: scheme://host, with :port unless it is the scheme's own.
func Origin(u *url.URL) string {
	htu, origin := address(u)
	return htu[:origin]
}

// address gives the whole htu, and how much of it is the origin: a call needs both.
func address(u *url.URL) (htu string, origin int) {
	scheme := strings.ToLower(u.Scheme)
	host, port := splitPort(u.Host)
	host = normalHost(host)
	if port = strings.TrimLeft(port, "0"); port == defaultPort(scheme) {
		port = ""
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	start := len(scheme) + len("://") + len(host)
	if port == "" {
		return scheme + "://" + host + path, start
	}
	return scheme + "://" + host + ":" + port + path, start + len(":") + len(port)
}

// splitPort cuts host[:port] at its last colon, unless that belongs to an IPv6 address in brackets.
func splitPort(hostport string) (host, port string) {
	colon := strings.LastIndexByte(hostport, ':')
	if colon < 0 || colon < strings.LastIndexByte(hostport, ']') {
		return hostport, ""
	}
	return hostport[:colon], hostport[colon+1:]
}

// normalHost writes a host as it stands in the Host header, in lower case: no IPv6 zone, and IDNA for other letters than
// those of ASCII. A name that IDNA refuses stays as it is; net/http does not send to it.
func normalHost(host string) string {
	if zone := strings.IndexByte(host, '%'); zone >= 0 && strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[:zone] + "]"
	}
	if ascii, err := httpguts.PunycodeHostPort(host); err == nil {
		host = ascii
	}
	return strings.ToLower(host)
}

// defaultPort is the port that a scheme has when the URL names none.
func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
