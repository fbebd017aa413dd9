package app

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestPageAddresses(t *testing.T) {
	tests := map[string]struct{ configured, port, redirect, base string }{
		"by default": {
			"", "8080", "http://localhost:8080/_sidecar/callback", "http://localhost:8080",
		},
		"our page, by address": {
			"http://127.0.0.1:8080/_sidecar/callback", "8080", "http://127.0.0.1:8080/_sidecar/callback", "http://127.0.0.1:8080",
		},
		"our page, behind another port": {
			"http://localhost:9000/_sidecar/callback", "8080", "http://localhost:9000/_sidecar/callback", "http://localhost:9000",
		},
		"our page, by another scheme": {
			"https://sidecar.example/_sidecar/callback", "8080", "https://sidecar.example/_sidecar/callback", "https://sidecar.example",
		},
		"the EPJ's page": {
			"https://epj.example/callback", "8080", "https://epj.example/callback", "http://localhost:8080",
		},
		"not an address": {
			"http://[::1/_sidecar/callback", "8080", "http://[::1/_sidecar/callback", "http://localhost:8080",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			redirect, base := pageAddresses(tt.configured, tt.port)
			if redirect != tt.redirect || base != tt.base {
				t.Errorf("%s and %s, want %s and %s", redirect, base, tt.redirect, tt.base)
			}
		})
	}
}

func TestOpenSocket(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, path string)
		opens   bool
	}{
		"nothing there": {opens: true},
		"left behind by a crash": {opens: true, prepare: func(t *testing.T, path string) {
			l := listenUnix(t, path)
			l.SetUnlinkOnClose(false)
			l.Close()
		}},
		"somebody answers": {prepare: func(t *testing.T, path string) { listenUnix(t, path) }},
		"a file": {prepare: func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"a link to a socket": {prepare: func(t *testing.T, path string) {
			listenUnix(t, path+".there")
			if err := os.Symlink(path+".there", path); err != nil {
				t.Fatal(err)
			}
		}},
		"no such directory": {prepare: func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := socketName(t)
			if tt.prepare != nil {
				tt.prepare(t, path)
			}
			before, _ := os.Lstat(path)
			opened, err := openSocket(t.Context(), path)
			after, statErr := os.Lstat(path)
			if !tt.opens {
				if err == nil {
					opened[0].Close()
					t.Error("opened")
				}
				if before != nil && !os.SameFile(before, after) {
					t.Error("what was there is gone")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if statErr != nil || after.Mode() != fs.ModeSocket|0o600 {
				t.Errorf("mode %v", after.Mode())
			}
			if got := opened[0].Addr().String(); got != path {
				t.Errorf("address %s", got)
			}
			opened[0].Close()
			if _, err := os.Lstat(path); err == nil {
				t.Error("the socket outlives its listener")
			}
		})
	}
}

// Where it can't be found out whether somebody answers, nothing is removed.
func TestOpenSocketInDoubt(t *testing.T) {
	path := socketName(t)
	listenUnix(t, path)
	ended, end := context.WithCancel(t.Context())
	end()
	if opened, err := openSocket(ended, path); err == nil {
		opened[0].Close()
		t.Error("opened")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the socket of another process is gone: %v", err)
	}
	conn.Close()
}

// Both families or none: on the one that is left out somebody else could meet
// the browser.
func TestOpenPair(t *testing.T) {
	if probe, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6")
	} else {
		probe.Close()
	}
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		for kept := range 2 { // the other one is closed, and somebody else has this one
			pair, err := openPair(t.Context(), net.JoinHostPort(host, "0"))
			if err != nil || len(pair) != 2 {
				t.Fatalf("%s: %d listeners, %v", host, len(pair), err)
			}
			first, second := pair[0].Addr().(*net.TCPAddr), pair[1].Addr().(*net.TCPAddr)
			if first.Port != second.Port || first.IP.Equal(second.IP) || !first.IP.IsLoopback() || !second.IP.IsLoopback() {
				t.Errorf("%s: %v and %v", host, first, second)
			}
			pair[1-kept].Close()
			if again, err := openPair(t.Context(), net.JoinHostPort(host, strconv.Itoa(first.Port))); err == nil {
				t.Errorf("%s: opened %d beside somebody else's listener", host, len(again))
				for _, l := range again {
					l.Close()
				}
			}
			pair[kept].Close()
		}
	}
	alone, err := openPair(t.Context(), "0.0.0.0:0")
	if err != nil || len(alone) != 1 {
		t.Fatalf("every address: %d listeners, %v", len(alone), err)
	}
	alone[0].Close()
}

// socketName is a name in a directory of its own, short enough for a socket.
func socketName(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s") //nolint:usetesting // t.TempDir's names are too long for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func listenUnix(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
