//go:build unix

package app_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/app"
)

// answering is a server that says the same to whatever it is told.
func answering(t *testing.T, text string, wrap func(net.Listener) net.Listener) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := make([]byte, 4096); ; {
					if _, err := c.Read(in); err != nil {
						return
					}
					if _, err := c.Write([]byte(text)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return address
}

// userOfDocs makes the user "sidecar", as docs/shared-store.md has it.
func (s *sharedServer) userOfDocs(password string) {
	s.t.Helper()
	text, err := os.ReadFile("../../docs/shared-store.md")
	if err != nil {
		s.t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(text), "\nuser")
	command, _, _ = strings.Cut(strings.Replace(command, ">PASSWORD", ">"+password, 1), "\n")
	if said := s.cli(append([]string{"ACL", "SETUSER"}, strings.Fields(command)...)...); said != "OK\n" {
		s.t.Fatalf("the server does not take the rights of docs/shared-store.md: %s", said)
	}
}

// What only another configuration mends stops the start, with the variable and the
// mend; what may be over in a moment is a warning, and the sidecar serves.
func TestStartWithBadStore(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	unix := "unix://USER:" + "PASSWORD@" + server.socket
	at := func(user, password string) string {
		return strings.NewReplacer("USER", user, "PASSWORD", password).Replace(unix)
	}
	server.userOfDocs("right")
	server.cli("ACL", "SETUSER", "poor", "on", ">right", "resetchannels", "~sfm:*", "&sfm:*", "-@all", "+evalsha", "+eval", "+get", "+set")
	server.cli("ACL", "SETUSER", "deaf", "on", ">right", "~sfm:*", "resetchannels", "+@all")
	certificate := httptest.NewTLSServer(nil)
	t.Cleanup(certificate.Close)
	encrypted := func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: certificate.TLS.Certificates})
	}
	a := newWorld(t, setup{env: append(server.env(), "SIDECAR_STORE="+at("sidecar", "right"))})
	a.wantCode(a.call(a.logIn("lege"), 0), "")

	for what, tt := range map[string]struct {
		address string
		says    string // of a fault, or, after "warn: ", of the log
	}{
		"wrong password":     {at("sidecar", "wrong"), "SIDECAR_STORE: names a store that refuses this sidecar: WRONGPASS"},
		"unknown user":       {at("nobody", "right"), "WRONGPASS"},
		"no right to delete": {at("poor", "right"), "docs/shared-store.md"},
		"no channels":        {at("deaf", "right"), "docs/shared-store.md"},
		"unknown authority":  {"rediss://" + answering(t, "", encrypted), "SIDECAR_CA_FILE"},
		"part of a cluster":  {"redis://" + answering(t, "-MOVED 42 127.0.0.1:1\r\n", nil), "cluster=true"},
		"other parameters":   {"unix://" + server.socket + "?read_timeout=1s", "read_timeout"},
		"nobody there":       {"unix://" + server.socket + ".not", "warn: no such file"},
		"garbage":            {"redis://" + answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n", nil), "warn: can't be used"},
		"full":               {"redis://" + answering(t, "-OOM command not allowed\r\n", nil), "warn: maxmemory"},
		"read only":          {"redis://" + answering(t, "-READONLY You can't write\r\n", nil), "warn: give the address of the primary"},
		"starting":           {"redis://" + answering(t, "-LOADING Redis is loading\r\n", nil), "warn: LOADING"},
		"too many clients":   {"redis://" + answering(t, "-ERR max number of clients reached\r\n", nil), "warn: max number"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			// A slow answer would be another fault than the one that is meant, with which a sidecar starts and then serves.
			env := slices.Concat(a.env, []string{"SIDECAR_STORE=" + tt.address, "SIDECAR_STORE_TIMEOUT=5s"})
			warned, found := strings.CutPrefix(tt.says, "warn: ")
			if !found {
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
				defer stop()
				code := app.Run(ctx, app.Options{Stderr: &stderr, Environ: env})
				if said := stderr.String(); code != 2 || !strings.Contains(said, tt.says) || !strings.Contains(said, "SIDECAR_STORE: ") ||
					strings.Contains(said, "right@") || strings.Contains(said, "wrong@") {
					t.Errorf("exit code %d: %s", code, said)
				}
				return
			}
			ctx, stop := context.WithCancel(t.Context())
			log := seen.log()
			s, err := app.Start(ctx, app.Options{Stderr: log, Environ: env, Version: "test"})
			if err != nil {
				stop()
				t.Fatal(err)
			}
			b := &world{t: t, sim: a.sim, sidecar: s, base: "http://" + s.Addr(), client: a.client, logFrom: a.logFrom}
			b.wantLogged(warned)
			eventually(t, "it is ready", func() bool { return b.probe("/readyz") == http.StatusOK }) // once it has HelseID's metadata
			refused := b.send(b.request(http.MethodPost, "/_sidecar/sessions", "{}"))
			b.wantCode(refused, "store-unavailable")
			if p := problemOf(t, refused); !p.Retryable || refused.header.Get("Retry-After") == "" {
				t.Error("it may be tried again")
			}
			stop()
			if err := s.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
