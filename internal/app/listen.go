package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"sfm-sidecar/internal/config"
)

// listeners are the sidecar's ears. Each is open before anything is built on
// it, since a port of 0 is only known afterwards and the redirect address names
// the callback's port.
type listeners struct {
	app      []net.Listener // calls to SFM and the control API
	callback []net.Listener // the browser's pages, where they have a port of their own
	admin    []net.Listener // probes and metrics
}

const unixPrefix = "unix:"

func isUnix(address string) bool { return strings.HasPrefix(address, unixPrefix) }

// listen opens every listener of the configuration that systemd has not opened
// already, or none.
func listen(ctx context.Context, c config.Listen) (*listeners, error) {
	given, err := inherited()
	if err != nil {
		return nil, err
	}
	l := &listeners{app: given[socketApp], callback: given[socketCallback], admin: given[socketAdmin]}
	if err = fits(given, c); err == nil {
		err = l.open(ctx, c)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *listeners) open(ctx context.Context, c config.Listen) (err error) {
	if l.app == nil {
		if l.app, err = openPair(ctx, c.Address); err != nil {
			return fmt.Errorf("listening for calls (SIDECAR_LISTEN): %w", err)
		}
	}
	if l.callback == nil && c.Callback != "" && c.Callback != c.Address {
		if l.callback, err = openPair(ctx, c.Callback); err != nil {
			return fmt.Errorf("listening for browsers (SIDECAR_CALLBACK_LISTEN): %w", err)
		}
	}
	if l.admin == nil {
		if l.admin, err = openOne(ctx, c.Admin); err != nil {
			return fmt.Errorf("listening for probes (SIDECAR_ADMIN_LISTEN): %w", err)
		}
	}
	return nil
}

// pairTries is how often any free port is looked for that is free in both
// families. A system that gives one of them knows nothing of the other.
const pairTries = 20

// openPair opens an address, and for a loopback one its twin in the other
// family at the same port: "localhost" may mean either. A host without the other
// family has no twin.
func openPair(ctx context.Context, address string) (pair []net.Listener, err error) {
	for range pairTries {
		pair, err = openTwins(ctx, address)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasSuffix(address, ":0") {
			break
		}
	}
	return pair, err
}

func openTwins(ctx context.Context, address string) ([]net.Listener, error) {
	opened, err := openOne(ctx, address)
	if err != nil || strings.HasPrefix(address, unixPrefix) {
		return opened, err
	}
	// What was opened, not what was asked for: "localhost" may have become either
	// family, and 0 any port.
	host, port, err := net.SplitHostPort(opened[0].Addr().String())
	if err != nil {
		return opened, nil
	}
	twin, ok := map[string]string{"127.0.0.1": "::1", "::1": "127.0.0.1"}[host]
	if !ok {
		return opened, nil
	}
	second, err := openOne(ctx, net.JoinHostPort(twin, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		opened[0].Close()
		return nil, err
	}
	return append(opened, second...), nil
}

func openOne(ctx context.Context, address string) ([]net.Listener, error) {
	path, unix := strings.CutPrefix(address, unixPrefix)
	if unix {
		return openSocket(ctx, path)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// openSocket opens a Unix socket for its owner alone. One that a crash left
// behind is removed: nobody listens on it. Any other is not.
func openSocket(ctx context.Context, path string) ([]net.Listener, error) {
	var d net.Dialer
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("another process answers on %s", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("finding out whose socket %s is: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing an old socket: %w", err)
		}
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// Until this line the process's umask decides who may connect; an ordinary
	// one lets nobody else write.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("keeping others off the socket: %w", err)
	}
	return []net.Listener{l}, nil
}

// callbackPort is the port where a browser finds the sidecar's pages, or "".
func (l *listeners) callbackPort() string {
	pages := l.callback
	if len(pages) == 0 {
		pages = l.app
	}
	if a, ok := pages[0].Addr().(*net.TCPAddr); ok {
		return fmt.Sprint(a.Port)
	}
	return ""
}

func (l *listeners) close() {
	for _, group := range [][]net.Listener{l.app, l.callback, l.admin} {
		for _, one := range group {
			_ = one.Close()
		}
	}
}
