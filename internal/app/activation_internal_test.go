package app

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// What is for this machine alone depends on every admin listener, and on both ends of
// the request's own connection.
func TestFromHere(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9090} }
	socket := &net.UnixAddr{Name: "/s", Net: "unix"}
	for name, tt := range map[string]struct {
		listeners []net.Addr
		local     net.Addr
		remote    string
		want      bool
	}{
		"loopback":                      {[]net.Addr{at("127.0.0.1")}, at("127.0.0.1"), "127.0.0.1:40000", true},
		"loopback, the other family":    {[]net.Addr{at("::1")}, at("::1"), "[::1]:40000", true},
		"IPv4 within IPv6":              {[]net.Addr{at("127.0.0.1")}, at("127.0.0.1"), "[::ffff:127.0.0.1]:40000", true},
		"a socket":                      {[]net.Addr{socket}, socket, "@", true},
		"every address":                 {[]net.Addr{at("0.0.0.0")}, at("127.0.0.1"), "127.0.0.1:40000", false},
		"the second is for others":      {[]net.Addr{at("127.0.0.1"), at("0.0.0.0")}, at("127.0.0.1"), "127.0.0.1:40000", false},
		"led here from another machine": {[]net.Addr{at("127.0.0.1")}, at("127.0.0.1"), "192.0.2.1:40000", false},
		"led to another address":        {[]net.Addr{at("127.0.0.1")}, at("192.0.2.2"), "127.0.0.1:40000", false},
		"nobody knows":                  {[]net.Addr{at("127.0.0.1")}, nil, "127.0.0.1:40000", false},
	} {
		s := &Sidecar{listeners: new(listeners)}
		for _, a := range tt.listeners {
			s.listeners.admin = append(s.listeners.admin, addressed{a})
		}
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, tt.local), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = tt.remote
		if got := s.fromHere(r); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// addressed is a listener of which the address alone is asked.
type addressed struct{ at net.Addr }

func (addressed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (addressed) Close() error              { return nil }
func (a addressed) Addr() net.Addr          { return a.at }
