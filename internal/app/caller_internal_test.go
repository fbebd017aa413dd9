//go:build linux

package app

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestNewCallers(t *testing.T) {
	c, err := newCallers([]string{"1000", "root"})
	if err != nil || !slices.Equal(c.allowed, []string{"1000", "0"}) {
		t.Errorf("%v, %v", c, err)
	}
	for _, name := range []string{"nobody-has-this-name", "-1", "4294967296", ""} {
		_, err := newCallers([]string{"1000", name})
		if err == nil || !strings.Contains(err.Error(), "SIDECAR_ALLOWED_UIDS") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCallersCheck(t *testing.T) {
	tests := map[string]struct {
		allowed []string
		uid     string // "" = nobody knows
		ok      bool
	}{
		"not told apart":      {nil, "", true},
		"allowed":             {[]string{"1000", "1001"}, "1001", true},
		"another":             {[]string{"1000"}, "1001", false},
		"unknown":             {[]string{"1000"}, "", false},
		"part of the number":  {[]string{"1000"}, "100", false},
		"root is not special": {[]string{"1000"}, "0", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if tt.uid != "" {
				r = r.WithContext(context.WithValue(r.Context(), callerKey{}, func() string { return tt.uid }))
			}
			c := &callers{allowed: tt.allowed}
			err := c.check(r)
			if tt.ok && err != nil {
				t.Error(err)
			} else if !tt.ok {
				wantRefusal(t, err, "caller-refused")
			}
			if c.owner(r) != tt.uid {
				t.Errorf("owner %q", c.owner(r))
			}
		})
	}
}

// The kernel is asked for this very process, over every kind of connection.
func TestCallersKnow(t *testing.T) {
	own := strconv.Itoa(os.Getuid())
	for network, address := range map[string]string{"unix": socketName(t), "tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Logf("%s: %v", network, err)
			continue
		}
		client, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		asOwner := func(c *callers) string {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			return c.owner(r.WithContext(c.know(t.Context(), server)))
		}
		if got := asOwner(&callers{allowed: []string{own}}); got != own {
			t.Errorf("%s: user %q, want %s", network, got, own)
		}
		if got := asOwner(new(callers)); got != "" {
			t.Errorf("%s: user %q though users are not told apart", network, got)
		}
		if network != "unix" {
			// A peer that is gone already is nobody, least of all root.
			client.Close()
			if got := asOwner(&callers{allowed: []string{own}}); got != "" {
				t.Errorf("%s: a closed connection is user %q", network, got)
			}
		}
		for _, one := range []net.Conn{client, server} {
			one.Close()
		}
		l.Close()
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if uid, err := peerUID(a); err == nil {
		t.Errorf("a pipe is user %q", uid)
	}
}

func TestSameAddress(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the samples are of a little-endian machine")
	}
	const loopback6 = "00000000000000000000000001000000"
	tests := map[string]struct {
		printed, want string
		same          bool
	}{
		"IPv4":               {"0100007F:1F90", "127.0.0.1:8080", true},
		"lower case":         {"0100007f:1f90", "127.0.0.1:8080", true},
		"another port":       {"0100007F:1F91", "127.0.0.1:8080", false},
		"another address":    {"0200007F:1F90", "127.0.0.1:8080", false},
		"bytes not turned":   {"7F000001:1F90", "127.0.0.1:8080", false},
		"IPv6":               {loopback6 + ":1F90", "[::1]:8080", true},
		"IPv6 of another":    {loopback6 + ":1F90", "127.0.0.1:8080", false},
		"every word turned":  {"B80D0120000000000000000001000000:0050", "[2001:db8::1]:80", true},
		"mapped in table":    {"0000000000000000FFFF00000100007F:1F90", "127.0.0.1:8080", true},
		"mapped in question": {"0100007F:1F90", "[::ffff:127.0.0.1]:8080", true},
		"heading":            {"local_address", "127.0.0.1:8080", false},
		"no port":            {"0100007F:", "127.0.0.1:8080", false},
		"port too large":     {"0100007F:11F90", "127.0.0.1:8080", false},
		"not hexadecimal":    {"0100007G:1F90", "127.0.0.1:8080", false},
		"half a byte":        {"0100007:1F90", "127.0.0.1:8080", false},
		"half a word":        {"0100:1F90", "127.0.0.1:8080", false},
		"two words":          {"0100007F0100007F:1F90", "127.0.0.1:8080", false},
		"nothing":            {":1F90", "127.0.0.1:8080", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sameAddress(tt.printed, netip.MustParseAddrPort(tt.want)); got != tt.same {
				t.Errorf("%s is %s: %v", tt.printed, tt.want, got)
			}
		})
	}
}

func TestLookUp(t *testing.T) {
	const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	const rest = " 00000000:00000000 00:00000000 00000000 "
	row := func(local, remote, state, uid string) string {
		return "   1: " + local + " " + remote + " " + state + rest + uid + "        0 12345 1\n"
	}
	const client, server = "0100007F:C350", "0100007F:1F90" // 50000 and 8080
	tests := map[string]struct{ table, uid string }{
		"ours":                {row(client, server, "01", "1000"), "1000"},
		"behind others":       {row("0100007F:C351", server, "01", "7") + row(client, "0100007F:1F91", "01", "8") + row(client, server, "01", "1000"), "1000"},
		"the server's own":    {row(server, client, "01", "1000"), ""},
		"closed, so root's":   {row(client, server, "06", "0"), ""},
		"closing":             {row(client, server, "05", "0"), ""},
		"closed, then reused": {row(client, server, "06", "0") + row(client, server, "01", "1000"), "1000"},
		"cut off":             {"   1: " + client + " " + server + " 01\n", ""},
		"empty":               {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tcp")
			if err := os.WriteFile(file, []byte(heading+tt.table), 0o600); err != nil {
				t.Fatal(err)
			}
			uid, err := lookUp(file, netip.MustParseAddrPort("127.0.0.1:50000"), netip.MustParseAddrPort("127.0.0.1:8080"))
			if uid != tt.uid || (err == nil) != (tt.uid != "") {
				t.Errorf("user %q, want %q (%v)", uid, tt.uid, err)
			}
		})
	}
	if _, err := lookUp(filepath.Join(t.TempDir(), "none"), netip.AddrPort{}, netip.AddrPort{}); err == nil {
		t.Error("a table that is not there has no one in it")
	}
}
