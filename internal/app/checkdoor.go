package app

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"sfm-sidecar/internal/doctor"
)

// door is where the browser comes back to after a log-in of a check: it stands in
// for the sidecar's own callback page, at the same address, and takes one answer.
// It is open for as long as the check runs.
type door struct {
	path   string
	server *http.Server
	came   chan doctor.Return

	mu    sync.Mutex
	state string // that is awaited; "" = none
}

// openDoor opens the address of the redirect URI and puts it into the options, or
// why it can't be opened.
func (h *house) openDoor(ctx context.Context, d *doctor.Options) *door {
	listeners, redirect, err := h.listenForBrowser(ctx, d.Authorization.RedirectURI)
	if err != nil {
		d.NoDoorway = err
		return nil
	}
	d.Authorization.RedirectURI = redirect.String()
	o := &door{path: redirect.Path, came: make(chan doctor.Return, 1)}
	o.server = &http.Server{
		Handler: o, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // it would print what a browser sent
	}
	for _, l := range listeners {
		go func() { _ = o.server.Serve(l) }() // ends with close
	}
	d.Doorway = o
	return o
}

// listenForBrowser listens where the redirect address points, if that is here.
// With port 0 any free one becomes the address's.
func (h *house) listenForBrowser(ctx context.Context, address string) ([]net.Listener, *url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return nil, nil, fmt.Errorf("HELSEID_REDIRECT_URI (%s) is no http address with a port on this machine", address)
	}
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return nil, nil, fmt.Errorf("HELSEID_REDIRECT_URI (%s) is not an address of this machine alone", address)
	}
	opened, err := openPair(ctx, net.JoinHostPort(host, u.Port()))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, nil, fmt.Errorf("port %s is taken, by a running sidecar most likely", u.Port())
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the address %s can't be listened at: %w", address, err)
	}
	if u.Port() == "0" {
		u.Host = net.JoinHostPort(u.Hostname(), portOf(opened[0].Addr().String()))
	}
	return opened, u, nil
}

// Await implements [doctor.Doorway].
func (d *door) Await(ctx context.Context, state string, open func()) (doctor.Return, error) {
	d.await(state)
	defer d.await("")
	open()
	select {
	case r := <-d.came:
		return r, nil
	case <-ctx.Done():
		return doctor.Return{}, ctx.Err()
	}
}

func (d *door) await(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
}

// expects takes the state up: it is good once.
func (d *door) expects(state string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state == "" || subtle.ConstantTimeCompare([]byte(d.state), []byte(state)) != 1 {
		return false
	}
	d.state = ""
	return true
}

// ServeHTTP answers the browser. Only the one that brings the awaited state, which
// nobody can guess, is let through.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the code
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if r.Method != http.MethodGet || r.URL.Path != d.path {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	q := r.URL.Query()
	if !d.expects(q.Get("state")) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "Denne innloggingen er ikke kjent her.\nThis log-in is not known here.\n") // the browser may have left
		return
	}
	_, _ = io.WriteString(w, "Ferdig. Gå tilbake til terminalen.\nDone. Go back to the terminal.\n") // the browser may have left
	d.came <- doctor.Return{Code: q.Get("code"), Issuer: q.Get("iss"), Error: q.Get("error")}
}

// close lets the browser's last page out and ends the listeners.
func (d *door) close() {
	if d == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = d.server.Shutdown(ctx) // what is still open then is nobody's
	_ = d.server.Close()
}
