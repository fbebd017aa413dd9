package config

import (
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// socketPrefix begins the address of a Unix socket.
const socketPrefix = "unix:"

func isSocket(address string) bool { return strings.HasPrefix(address, socketPrefix) }

// checkListeners checks where the sidecar will answer. The application listener
// and the log-in pages belong to this machine's own programs: whoever reaches
// them can act for the persons logged in.
func checkListeners(c *Config, found *findings) {
	l := &c.Listen
	if isSocket(l.Address) {
		checkSocket(l.Address, found)
	} else {
		checkAddress("SIDECAR_LISTEN", l.Address, found)
		refuseFar("SIDECAR_LISTEN", l, l.Address, found)
	}
	if l.Callback != "" && l.Callback != l.Address {
		checkAddress("SIDECAR_CALLBACK_LISTEN", l.Callback, found)
		refuseFar("SIDECAR_CALLBACK_LISTEN", l, l.Callback, found)
	}
	checkAddress("SIDECAR_ADMIN_LISTEN", l.Admin, found)
	for _, other := range []string{l.Address, l.Callback} {
		if sameAddress(l.Admin, other) && !found.has("SIDECAR_ADMIN_LISTEN") {
			found.fault("SIDECAR_ADMIN_LISTEN", "is the address of another listener", "give it a port of its own")
		}
	}
	if l.UnsafeAny {
		found.warn("SIDECAR_UNSAFE_LISTEN_ANY", "lets other machines reach the sidecar, over plain HTTP", "unset it and listen on loopback or a socket")
	}
}

// maxSocketPath is the longest path that Linux's sockaddr_un holds, less its
// closing NUL. Other systems allow a few bytes less and say so when listening.
const maxSocketPath = 107

func checkSocket(address string, found *findings) {
	switch path := strings.TrimPrefix(address, socketPrefix); {
	case !filepath.IsAbs(path):
		found.fault("SIDECAR_LISTEN", "names a socket without an absolute path", "write unix:/path")
	case len(path) > maxSocketPath:
		found.fault("SIDECAR_LISTEN", "names a socket whose path is longer than "+strconv.Itoa(maxSocketPath)+" bytes", "choose a shorter path")
	}
}

// checkAddress checks host:port. Port 0 is allowed: the system then chooses one.
func checkAddress(variable, address string, found *findings) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || isSocket(address) {
		mend := "write host:port, such as 127.0.0.1:8080"
		if isSocket(address) {
			mend = "write host:port; only SIDECAR_LISTEN may name a socket"
		}
		found.fault(variable, "is "+quote(address)+", which is not an address to listen on", mend)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		found.fault(variable, "is "+quote(address)+", which has no port to listen on", "write a port from 0 to 65535")
	}
	if strings.ContainsAny(host, "/ ") {
		found.fault(variable, "has the host "+quote(host), "write host:port, without a scheme")
	}
}

// refuseFar refuses an address that other machines can reach, unless the operator
// has said that this is meant.
func refuseFar(variable string, l *Listen, address string, found *findings) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || found.has(variable) || l.UnsafeAny || isLoopback(host) {
		return
	}
	found.fault(variable, "is "+quote(address)+", which other machines can reach",
		"write a loopback address such as 127.0.0.1:8080, or set SIDECAR_UNSAFE_LISTEN_ANY=true")
}

// sameAddress reports whether two listeners would want the same port of the same
// address.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	numeric := func(host string) string {
		if strings.EqualFold(host, "localhost") {
			return "127.0.0.1"
		}
		return host
	}
	return numeric(hostA) == numeric(hostB)
}

// checkCallers checks who may call.
func checkCallers(c *Config, found *findings) {
	l := &c.Listen
	for _, host := range l.AllowedHosts {
		if strings.ContainsAny(host, "/*@?#") || host == "" {
			found.fault("SIDECAR_ALLOWED_HOSTS", "holds "+quote(host)+", which is not a value of Host", "write host or host:port, comma separated")
		}
	}
	for _, origin := range l.AllowedOrigins {
		if !isOrigin(origin) {
			found.fault("SIDECAR_ALLOWED_ORIGINS", "holds "+quote(origin)+", which is not an origin", "write scheme://host or scheme://host:port, comma separated")
		}
	}
	checkUsers(l, found)
	checkCallerKey(c, found)
}

// isOrigin reports whether a word is an origin as a browser sends it (RFC 6454
// section 6.2). "null" and wildcards are not: any page can have the first, and
// the second is any page.
func isOrigin(word string) bool {
	u, err := url.Parse(word)
	if err != nil || u.Host == "" || u.Scheme == "" || strings.Contains(u.Host, "*") {
		return false
	}
	return word == u.Scheme+"://"+u.Host
}

func checkUsers(l *Listen, found *findings) {
	if len(l.AllowedUIDs) > 0 && runtime.GOOS != "linux" {
		found.fault("SIDECAR_ALLOWED_UIDS", "works on Linux only in this version", "unset it, and set SIDECAR_CALLER_KEY")
	}
	for _, user := range l.AllowedUIDs {
		if strings.ContainsAny(user, "/:") || strings.HasPrefix(user, "-") {
			found.fault("SIDECAR_ALLOWED_UIDS", "holds "+quote(user)+", which is no user", "write user numbers or names, comma separated")
		}
	}
}

// checkCallerKey checks the caller key, and that it is there where nothing else
// would keep a page or a program of this machine from calling.
func checkCallerKey(c *Config, found *findings) {
	const variable = "SIDECAR_CALLER_KEY"
	l := &c.Listen
	key := l.CallerKey.Reveal()
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Trim(key, " ") != key {
		found.fault(variable, "holds characters that no header can carry", "use letters, digits and signs of ASCII")
	}
	if key != "" || found.has(variable) || found.has(variable+twinSuffix) {
		return
	}
	machine := slices.Contains(c.HelseID.Grants, GrantClientCredentials)
	switch {
	case len(l.AllowedOrigins) > 0:
		found.fault(variable, "is required with SIDECAR_ALLOWED_ORIGINS", "set it, or unset the origins")
	case machine && !l.UnsafeNoCallerKey:
		found.fault(variable, "is required with client-credentials: nothing else stops a program on this machine",
			"set it, or set SIDECAR_UNSAFE_NO_CALLER_KEY=true")
	case machine:
		found.warn("SIDECAR_UNSAFE_NO_CALLER_KEY", "lets every program that reaches the listener act as the client", "set "+variable)
	case !isSocket(l.Address):
		found.warn(variable, "is not set: every program on this machine can call the sidecar", "set it, or listen on a socket")
	}
}
