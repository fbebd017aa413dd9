//go:build unix

package app_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// Sessions that live in a process are listed and ended by it, for who may ask.
func TestOperatorEndsSessionsInMemory(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"open": nil, "with a caller key": {"SIDECAR_CALLER_KEY=the-key-of-this-test"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{env: env})
			key := []string{}
			if env != nil {
				key = []string{"Sidecar-Key", "the-key-of-this-test"}
			}
			tenant := simulator.Tenants()[0]
			call := func(handle string) answer {
				return w.send(w.request(http.MethodGet, "/basis/Task", "", append(headers(handle, tenant), key...)...))
			}
			handle, other := w.keyedLogIn("the-key-of-this-test"), w.keyedLogIn("the-key-of-this-test")
			w.wantCode(call(handle), "")
			open := w.send(w.request(http.MethodPost, "/session/api/v2/Session/create", `{"nonce":"`+strings.Repeat("A", 86)+`=="}`,
				append(append(headers(handle, tenant), "Content-Type", "application/json"), key...)...))
			if open.status != http.StatusOK {
				t.Fatalf("opening a session at SFM: %d", open.status)
			}
			all := w.wantShown("", "list")
			sfm := 0
			for _, s := range all.Sessions {
				sfm += *s.SFM
			}
			if all.Count != 2 || sfm != 1 {
				t.Errorf("%d sessions with %d at SFM", all.Count, sfm)
			}
			if n := w.wantShown("24868224009", "list", "--pid", "-").Count; n != 0 {
				t.Errorf("%d sessions of somebody who has none", n)
			}
			from := len(seen.logged())
			code, stdout, stderr := w.operate("13827015061", "end", "--pid", "-", "--yes")
			if code != 0 || !strings.Contains(stdout, "2 sessions ended.") {
				t.Errorf("exit %d: %s%s", code, stdout, stderr)
			}
			if n := strings.Count(seen.logged()[from:], `"msg":"a session was ended"`); n < 2 {
				t.Errorf("%d ends were logged", n)
			}
			w.wantEnded(call(handle))
			w.wantEnded(call(other))
			if s := w.atSFM(tenant.Parent); s.State == simulator.SFMSessionOpen {
				t.Error("the session at SFM goes on")
			}
			if n := w.requestsTo("revocation"); n != 2 {
				t.Errorf("%d refresh tokens were revoked", n)
			}
		})
	}
}

// Who asks is judged, and what is asked for is read, before anything is done.
func TestWhoMayEndSessions(t *testing.T) {
	t.Parallel()
	open, keyed := newWorld(t, setup{}), newWorld(t, setup{env: []string{"SIDECAR_CALLER_KEY=the-key-of-this-test"}})
	far := newWorld(t, setup{env: []string{"SIDECAR_ADMIN_LISTEN=0.0.0.0:0"}})
	strangers := newWorld(t, setup{env: []string{"SIDECAR_ALLOWED_UIDS=54321"}})
	handle := open.logIn("lege")
	for name, c := range map[string]struct {
		w            *world
		method, path string
		body         string
		header       []string
		status       int
		code         string
	}{
		"list":                 {open, "GET", "/sessions", "", nil, 200, ""},
		"list some":            {open, "POST", "/sessions", `{"hpr_number":"1"}`, nil, 200, ""},
		"end none":             {open, "POST", "/sessions/end", `{"hpr_number":"1"}`, nil, 200, ""},
		"end by GET":           {open, "GET", "/sessions/end", "", nil, 405, "control-unknown"},
		"list by DELETE":       {open, "DELETE", "/sessions", "", nil, 405, "control-unknown"},
		"another path":         {open, "POST", "/sessions/end/", "{}", nil, 404, "control-unknown"},
		"end nobody's":         {open, "POST", "/sessions/end", `{}`, nil, 400, "request-invalid"},
		"end by state alone":   {open, "POST", "/sessions/end", `{"states":["active"]}`, nil, 400, "request-invalid"},
		"no body":              {open, "POST", "/sessions/end", "", nil, 400, "request-invalid"},
		"no object":            {open, "POST", "/sessions/end", `[true]`, nil, 400, "request-invalid"},
		"an unknown member":    {open, "POST", "/sessions/end", `{"all":true,"dry_run":true}`, nil, 400, "request-invalid"},
		"two bodies":           {open, "POST", "/sessions/end", `{"all":true}{}`, nil, 400, "request-invalid"},
		"rubbish behind":       {open, "POST", "/sessions/end", `{"all":true}x`, nil, 400, "request-invalid"},
		"all and a person":     {open, "POST", "/sessions/end", `{"all":true,"pid":"13827015061"}`, nil, 400, "request-invalid"},
		"two selections":       {open, "POST", "/sessions/end", `{"ids":["abcdefgh"],"orgnr":"999999999"}`, nil, 400, "request-invalid"},
		"plain text":           {open, "POST", "/sessions/end", `{"all":true}`, []string{"Content-Type", "text/plain"}, 400, "request-invalid"},
		"of no type":           {open, "POST", "/sessions", `{}`, []string{"Content-Type", ""}, 400, "request-invalid"},
		"a type with more":     {open, "POST", "/sessions", `{}`, []string{"Content-Type", "application/json; charset=utf-8"}, 200, ""},
		"two persons":          {open, "POST", "/sessions/end", `{"pid":"13827015061","sub":"x"}`, nil, 400, "request-invalid"},
		"a strange state":      {open, "POST", "/sessions", `{"states":["asleep"]}`, nil, 400, "request-invalid"},
		"a time without end":   {open, "POST", "/sessions", `{"older_than":18446744075}`, nil, 400, "request-invalid"}, // a second, where it wraps around
		"another":              {open, "POST", "/sessions", `{"unused_for":18446744075}`, nil, 400, "request-invalid"},
		"a time before":        {open, "POST", "/sessions", `{"unused_for":-1}`, nil, 400, "request-invalid"},
		"a large body":         {open, "POST", "/sessions/end", `{"ids":["` + strings.Repeat("x", 70<<10) + `"]}`, nil, 400, "request-invalid"},
		"a web page":           {open, "POST", "/sessions/end", `{"all":true}`, []string{"Origin", "https://evil.example"}, 403, "origin-refused"},
		"a page's GET":         {open, "GET", "/sessions", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "origin-refused"},
		"another name":         {open, "POST", "/sessions/end", `{"all":true}`, []string{"Host", "evil.example"}, 403, "host-refused"},
		"without the key":      {keyed, "POST", "/sessions/end", `{"all":true}`, nil, 401, "caller-key"},
		"list without the key": {keyed, "GET", "/sessions", "", nil, 401, "caller-key"},
		"with a wrong key":     {keyed, "POST", "/sessions/end", `{"all":true}`, []string{"Sidecar-Key", "wrong"}, 401, "caller-key"},
		"with the key":         {keyed, "POST", "/sessions/end", `{"all":true}`, []string{"Sidecar-Key", "the-key-of-this-test"}, 200, ""},
		"another user":         {strangers, "GET", "/sessions", "", nil, 403, "caller-refused"},
		"from anywhere":        {far, "GET", "/sessions", "", nil, 404, "control-unknown"},
		"ended from anywhere":  {far, "POST", "/sessions/end", `{"all":true}`, nil, 404, "control-unknown"},
	} {
		r := c.w.request(c.method, c.path, c.body, c.header...)
		if _, given := r.Header["Content-Type"]; !given {
			r.Header.Set("Content-Type", "application/json")
		}
		r.URL.Host = strings.Replace(c.w.sidecar.AdminAddr(), "[::]", "127.0.0.1", 1)
		r.Host = "localhost"
		if host := r.Header.Get("Host"); host != "" {
			r.Host = host
		}
		a := c.w.send(r)
		if a.status != c.status || a.header.Get("Sidecar-Error") != c.code {
			t.Errorf("%s: %d %q, want %d %q", name, a.status, a.header.Get("Sidecar-Error"), c.status, c.code)
		}
		if c.code == "" {
			if !bytes.HasSuffix(a.body, []byte(`{"done":{}}`+"\n")) || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s", name, a.body)
			}
			seen.keep(string(a.body))
		} else if p := problemOf(t, a); strings.Contains(p.Detail, "13827015061") {
			t.Errorf("%s: the refusal repeats the number", name)
		}
	}
	open.wantCode(open.call(handle, 0), "")
}

// Who owes the rest of a body holds no connection: not of one that would be read, and
// not of one that is refused before.
func TestAdminBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	var all sync.WaitGroup
	for path, says := range map[string]string{
		"/sessions": "did not come within 10s", "/sessions/end": "did not come within 10s", "/nowhere": "control-unknown", "/quit": "control-unknown",
	} {
		all.Go(func() {
			c, err := net.Dial("tcp", w.sidecar.AdminAddr())
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			begun := time.Now()
			_ = c.SetDeadline(begun.Add(20 * time.Second))
			_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
			told, err := io.ReadAll(c) // to the end of the connection
			if !strings.Contains(string(told), says) || err != nil {
				t.Errorf("%s: after %v %q, %v", path, time.Since(begun), told, err)
			}
		})
	}
	all.Wait()
}

// Where nothing can be asked, the command says what to do.
func TestOperatorFindsNoSidecar(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SIDECAR_CALLER_KEY=the-key-of-this-test"}})
	here := "SIDECAR_ADMIN_LISTEN=" + w.sidecar.AdminAddr()
	for name, c := range map[string]struct {
		env  []string
		code int
		says []string
	}{
		"none answers":      {[]string{"SIDECAR_ADMIN_LISTEN=127.0.0.1:1"}, 1, []string{"no sidecar answers at 127.0.0.1:1", "hint: sessions are kept by the running process"}},
		"another key":       {[]string{here, "SIDECAR_CALLER_KEY=wrong"}, 1, []string{"answers caller-key: ", "hint: "}},
		"no key to be read": {[]string{here, "SIDECAR_CALLER_KEY=", "SIDECAR_CALLER_KEY_FILE=/nowhere"}, 2, []string{"SIDECAR_CALLER_KEY_FILE"}},
		"not a sidecar":     {[]string{"SIDECAR_ADMIN_LISTEN=" + strings.TrimPrefix(w.sim.SFM, "http://")}, 1, []string{"does not answer as a sidecar does"}},
		"far away":          {[]string{"SIDECAR_ADMIN_LISTEN=192.0.2.1:9090"}, 2, []string{"SIDECAR_ADMIN_LISTEN", "that other machines reach"}},
		"everywhere":        {[]string{"SIDECAR_ADMIN_LISTEN=0.0.0.0:9090"}, 2, []string{"SIDECAR_ADMIN_LISTEN", "that other machines reach", "a restart of the sidecar ends them all"}},
		"no address":        {[]string{"SIDECAR_ADMIN_LISTEN=nonsense"}, 2, []string{"SIDECAR_ADMIN_LISTEN"}},
		"no store":          {[]string{here, "SIDECAR_STORE=nonsense"}, 2, []string{"SIDECAR_STORE"}},
	} {
		for _, args := range [][]string{{"sessions", "list"}, {"sessions", "end", "--all", "--yes"}} {
			code, stdout, stderr := w.run(t, c.env, args...)
			for _, text := range c.says {
				if !strings.Contains(stderr, text) {
					t.Errorf("%s: %q is missing from %s", name, text, stderr)
				}
			}
			if code != c.code || stdout != "" {
				t.Errorf("%s: exit %d, %s", name, code, stdout)
			}
		}
	}
	for _, args := range [][]string{{"sessions"}, {"sessions", "forget"}, {"sessions", "end"}, {"sessions", "list", "-x"}} {
		if code, _, _ := w.run(t, nil, args...); code != 2 {
			t.Errorf("%q: exit %d, want 2", args, code)
		}
	}
}
