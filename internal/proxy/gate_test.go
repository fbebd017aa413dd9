package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const page = "https://epj.example"

func TestGate(t *testing.T) {
	sfm := upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		io.WriteString(w, "from SFM")
	})
	keyed := Gate{CallerKey: "correct horse", AllowedOrigins: []string{page}, AllowedHosts: []string{"Sidecar.Internal:8080"}}
	withKey := http.Header{"Sidecar-Key": {"correct horse"}}
	pages := Gate{CallerKey: "k", BrowserPage: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/_sidecar/login/") }}
	tests := []struct {
		name   string
		gate   Gate
		path   string
		host   string
		header http.Header
		code   string // empty: let in
	}{
		{name: "localhost", host: "localhost:1"},
		{name: "upper case", host: "LOCALHOST"},
		{name: "127.0.0.1 without a port", host: "127.0.0.1"},
		{name: "IPv6 loopback", host: "[::1]:8080"},
		{name: "another name", host: "evil.example", code: "host-refused"},
		{name: "a name that begins like ours", host: "localhost.evil.example", code: "host-refused"},
		{name: "a trailing dot", host: "localhost.", code: "host-refused"},
		{name: "another loopback address", host: "127.0.0.2", code: "host-refused"},
		{name: "IPv6 without brackets", host: "::1", code: "host-refused"},
		{name: "a port that is none", host: "localhost:x", code: "host-refused"},
		{name: "an allowed host", gate: Gate{AllowedHosts: []string{"Sidecar.Internal:8080"}}, host: "sidecar.internal:8080"},
		{name: "an allowed host on another port", gate: Gate{AllowedHosts: []string{"sidecar.internal:8080"}}, host: "sidecar.internal", code: "host-refused"},

		{name: "a page", header: http.Header{"Origin": {page}}, code: "origin-refused"},
		{name: "a page without an origin", header: http.Header{"Origin": {"null"}}, code: "origin-refused"},
		{name: "our own address as origin", header: http.Header{"Origin": {"http://localhost:8080"}}, code: "origin-refused"},
		{name: "an allowed page", gate: keyed, header: http.Header{"Origin": {page}, "Sec-Fetch-Site": {"cross-site"}, "Sidecar-Key": {"correct horse"}}},
		{name: "an allowed page without the key", gate: keyed, header: http.Header{"Origin": {page}}, code: "caller-key"},
		{name: "an allowed page and another", gate: keyed, header: http.Header{"Origin": {page, "https://evil.example"}, "Sidecar-Key": {"correct horse"}}, code: "origin-refused"},
		{name: "a page like an allowed one", gate: keyed, header: http.Header{"Origin": {page + ".evil"}, "Sidecar-Key": {"correct horse"}}, code: "origin-refused"},
		{name: "typed into the address bar", header: http.Header{"Sec-Fetch-Site": {"none"}}},
		{name: "an image in a page", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, code: "origin-refused"},
		{name: "a page of the same origin", header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, code: "origin-refused"},
		{name: "an empty Sec-Fetch-Site", header: http.Header{"Sec-Fetch-Site": {""}}, code: "origin-refused"},

		{name: "the key", gate: keyed, header: withKey},
		{name: "no key", gate: keyed, code: "caller-key"},
		{name: "a wrong key", gate: keyed, header: http.Header{"Sidecar-Key": {"correct horsf"}}, code: "caller-key"},
		{name: "a longer key", gate: keyed, header: http.Header{"Sidecar-Key": {"correct horse battery"}}, code: "caller-key"},
		{name: "the key twice", gate: keyed, header: http.Header{"Sidecar-Key": {"correct horse", "correct horse"}}, code: "request-invalid"},
		{name: "an empty key", gate: keyed, header: http.Header{"Sidecar-Key": {""}}, code: "request-invalid"},
		{name: "a key nobody asked for", header: http.Header{"Sidecar-Key": {"anything"}}},
		{name: "control without the key", gate: keyed, path: "/_sidecar/session", code: "caller-key"},
		{name: "control from a page", path: "/_sidecar/sessions", header: http.Header{"Origin": {page}}, code: "origin-refused"},

		{name: "a page for browsers", gate: pages, path: "/_sidecar/login/abc", header: http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://helseid.example"}}},
		{name: "a page for browsers under another host", gate: pages, path: "/_sidecar/login/abc", host: "evil.example", code: "host-refused"},
		{name: "a page for browsers, spelled otherwise", gate: pages, path: "/%5Fsidecar/login/abc"},
		{name: "another page", gate: pages, path: "/_sidecar/session", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, code: "origin-refused"},
		{name: "no page but a call", gate: Gate{CallerKey: "k", BrowserPage: func(*http.Request) bool { return true }}, code: "caller-key"},

		{name: "another user of the machine", gate: Gate{Caller: func(*http.Request) error { return errors.New("uid 1001") }}, code: "caller-refused"},
		{name: "a user with a code of its own", gate: Gate{Caller: func(*http.Request) error { return coded{code: "caller-refused"} }}, code: "caller-refused"},

		{name: "a header of ours twice", header: http.Header{"Sfm-Grant": {"user", "user"}}, code: "request-invalid"},
		{name: "an empty header of ours", header: http.Header{"Sfm-Session": {" "}}, code: "request-invalid"},
		{name: "an oversized header of ours", header: http.Header{"Sfm-Tenant": {strings.Repeat("a", maxOwn+1)}}, code: "request-invalid"},
		{name: "Authorization twice", header: http.Header{"Authorization": {"Bearer a", "Bearer b"}}, code: "request-invalid"},
		{name: "a token as large as they come", header: http.Header{"Authorization": {"Bearer " + strings.Repeat("a", 8<<10)}}},
		{name: "an oversized token", header: http.Header{"Authorization": {"Bearer " + strings.Repeat("a", maxToken)}}, code: "request-invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, sfm, func(o *Options) {
				o.Gate = tt.gate
				o.Control = func(w http.ResponseWriter, r *http.Request) error { _, err := io.WriteString(w, "control"); return err }
			})
			if tt.path == "" {
				tt.path = "/basis/x"
			}
			r := h.ask("GET", tt.path, nil)
			r.Host = tt.host
			for name, values := range tt.header {
				r.Header[name] = values
			}
			a := h.do(r)
			if tt.code != "" {
				h.refused(a, tt.code, rows[tt.code].status)
				return
			}
			if a.StatusCode != 200 || a.Header.Get("Sidecar-Error") != "" {
				t.Fatalf("status %d, %s", a.StatusCode, a.body)
			}
			if origin := tt.header.Get("Origin"); origin == page {
				if got := a.Header["Access-Control-Allow-Origin"]; len(got) != 1 || got[0] != page {
					t.Errorf("Access-Control-Allow-Origin %q", got)
				}
				if !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "Sidecar-Error") {
					t.Error("the page can't read Sidecar-Error")
				}
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	h := open(t, "http://127.0.0.1:1", func(o *Options) { o.Gate = Gate{CallerKey: "k", AllowedOrigins: []string{page}} })
	r := h.ask("OPTIONS", "/basis/Patient", nil)
	r.Header = http.Header{
		"Origin": {page}, "Sec-Fetch-Site": {"cross-site"}, "Access-Control-Request-Method": {"POST"},
		"Access-Control-Request-Headers": {"sidecar-key,sfm-tenant"}, "Access-Control-Request-Private-Network": {"true"},
	}
	a := h.do(r)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": page, "Access-Control-Allow-Methods": "POST",
		"Access-Control-Allow-Headers": "sidecar-key,sfm-tenant", "Access-Control-Allow-Private-Network": "true",
		"Sidecar-Error": "", "Access-Control-Allow-Credentials": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.StatusCode != 204 || a.Header.Get("Sidecar-Request-Id") == "" {
		t.Errorf("status %d", a.StatusCode)
	}
	r.Header.Set("Origin", "https://evil.example")
	h.refused(h.do(r), "origin-refused", 403)
	r.Header.Set("Origin", page)
	r.Header.Del("Access-Control-Request-Method")
	refused := h.do(r)
	h.refused(refused, "caller-key", 401)
	if refused.Header.Get("Access-Control-Allow-Origin") != page {
		t.Error("an allowed page can't read its refusal")
	}
}

func TestHostIsNotAskedOnASocket(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h.Proxy, ReadHeaderTimeout: time.Minute}
	go srv.Serve(l)
	defer srv.Close()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer tr.CloseIdleConnections()
	for host, code := range map[string]string{"anything.example": "upstream-unknown", "localhost": "upstream-unknown"} {
		res, err := tr.RoundTrip(func() *http.Request { r := h.ask("GET", "/nothing", nil); r.Host = host; return r }())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Sidecar-Error"); got != code {
			t.Errorf("host %s: %s", host, got)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	h := open(t, upstreamServer(t, func(http.ResponseWriter, *http.Request) {}))
	for id, kept := range map[string]bool{
		"7f3a-01_x.y:z": true, strings.Repeat("a.", 64): true, strings.Repeat("a.", 64) + "a": false,
		"with blank": false, "12345678901": false, "123456789012": true, "13827015061x": false, "pid_13827015061": false, "a-13827015061-b": false,
		"138270-15061": false, "x:138270.15061": false, "13-82-70_15061-1": false, "1-138270/15061": false, "138270-1506": true, "138270x15061": true, "192.168.100.101": true,
		"5f3a0001-0000-4000-8000-12345678901a": true, "12345678-123a-4000-8000-000000000000": true, "abcdef12345678901abcdef012345678": true,
		"the-session": false, "the-session-1": false, "a/the-session": false, "2-the-key": false, "opaque.1": false, "session": true,
		strings.Repeat("a", 42): true, strings.Repeat("a", 43): false, "x." + strings.Repeat("aB3-_", 9): false,
		"eyJhbGciOiJFUzI1NiJ9.e30.c2ln": false, "t:eyJhbGciOiJFUzI1NiJ9": false, "a1b2": true, "æ": false, "<script>": false, "": false,
	} {
		for _, path := range []string{"/basis/x", "/nothing"} {
			r := h.ask("GET", path, nil)
			r.Header["X-Request-Id"] = []string{id}
			r.Header.Set("Sfm-Session", "the-session")
			r.Header.Set("Sidecar-Key", "the-key")
			r.Header.Set("Authorization", "DPoP opaque")
			got := h.do(r).Header["Sidecar-Request-Id"]
			if len(got) != 1 || got[0] == "" || (got[0] == id) != kept {
				t.Errorf("%q became %q", id, got)
			}
		}
	}
}

// A header that can only be meant for the sidecar is not passed over because it
// is misspelt: without its child, a call is for the parent.
func TestMisspeltHeaders(t *testing.T) {
	for name, misspelt := range map[string]bool{
		"Sfm-Orgnr-Chlid": true, "Sfm-Child": true, "Sfm_Orgnr_Child": true, "SFM-ORGNR-KID": true, "Sfm-Journalid": true,
		"Sfm-Session-Id": true, "Sfm-Grants": true, "Sfm-Parent": true, "Sfm-Tenants": true, "Sidecar-Kay": true,
		"Sfm-User-Agent": false, "X-Point-Of-Care": false, "Sec-Fetch-Mode": false, "Sfm-": false, "Sidecar-Version": false,
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, upstreamServer(t, func(http.ResponseWriter, *http.Request) {}))
			r := h.ask("GET", "/basis/x", nil)
			r.Header.Set(name, "1")
			a := h.do(r)
			if !misspelt {
				if a.StatusCode != http.StatusOK {
					t.Errorf("status %d, %s", a.StatusCode, a.body)
				}
				return
			}
			if doc := h.refused(a, "request-invalid", 400); !strings.Contains(doc.Hint, "Sfm-Orgnr-Child") {
				t.Errorf("the hint does not name the headers: %s", doc.Hint)
			}
		})
	}
}
