package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"

	"sfm-sidecar/internal/config"
)

// The names that a systemd socket unit gives its sockets (FileDescriptorName=).
const (
	socketApp      = "app"
	socketCallback = "callback"
	socketAdmin    = "admin"
)

// inherited are the listeners that systemd opened for this process
// (sd_listen_fds(3)), by their names. They can be taken once.
func inherited() (map[string][]net.Listener, error) {
	given := make(map[string][]net.Listener)
	var faults []error
	for _, file := range activation.Files(true) {
		name := file.Name()
		l, err := net.FileListener(file)
		file.Close()
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("the socket named %.40q is none to accept calls on: %w", name, err))
		case !slices.Contains([]string{socketApp, socketCallback, socketAdmin}, name):
			l.Close()
			faults = append(faults, fmt.Errorf("a socket is named %.40q: name each app, callback or admin (FileDescriptorName=)", name))
		default:
			given[name] = append(given[name], l)
		}
	}
	if err := errors.Join(faults...); err != nil {
		closeAll(given)
		return nil, fmt.Errorf("taking over systemd's sockets: %w", err)
	}
	return given, nil
}

// fits refuses inherited sockets that the configuration's own rules would not allow:
// who may reach a listener was judged by the address that is configured.
func fits(given map[string][]net.Listener, c config.Listen) error {
	var faults []error
	for name, wanted := range map[string]string{socketApp: c.Address, socketCallback: c.Callback} {
		for _, l := range given[name] {
			if unix := l.Addr().Network() == "unix"; unix != isUnix(wanted) {
				faults = append(faults, fmt.Errorf("systemd's socket %s is not of the kind that is configured (%s)", name, wanted))
			}
			if !near(l) && !c.UnsafeAny {
				faults = append(faults, fmt.Errorf("systemd's socket %s can be reached by other machines", name))
			}
		}
	}
	return errors.Join(faults...)
}

// near says whether a listener can be reached from this machine only.
func near(l net.Listener) bool {
	a, tcp := l.Addr().(*net.TCPAddr)
	return !tcp || a.IP.IsLoopback()
}

// fromHere says whether a request to an admin listener comes from this machine, and
// none could come from another: systemd may give several sockets. The connection is
// asked too, since a rule of the firewall may lead others to a loopback address.
func (s *Sidecar) fromHere(r *http.Request) bool {
	for _, l := range s.listeners.admin {
		if !near(l) {
			return false
		}
	}
	switch at := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		return err == nil && at.IP.IsLoopback() && from.Addr().Unmap().IsLoopback()
	}
	return false
}

func closeAll(groups map[string][]net.Listener) {
	for _, group := range groups {
		for _, l := range group {
			l.Close()
		}
	}
}
