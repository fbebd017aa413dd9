package app_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	pages "sfm-sidecar/internal/control" // the package has a test function of its name
	"sfm-sidecar/internal/simulator"
)

// admin sends a request to the admin listener.
func (w *world) admin(method, path string, header ...string) answer {
	w.t.Helper()
	r := w.request(method, path, "", header...)
	r.URL.Host = w.sidecar.AdminAddr()
	if r.Host = r.URL.Host; r.Header.Get("Host") != "" {
		r.Host = r.Header.Get("Host")
	}
	return w.send(r)
}

// The page, and its content for the support bundle, are for nobody but who may call.
func TestWhoMayReadTheStatus(t *testing.T) {
	t.Parallel()
	const key = "the-key-of-this-test"
	open, keyed := newWorld(t, setup{}), newWorld(t, setup{env: []string{"SIDECAR_CALLER_KEY=" + key}})
	far := newWorld(t, setup{env: []string{"SIDECAR_ADMIN_LISTEN=0.0.0.0:0"}})
	basic := func(password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth("anybody", password)
		return r.Header.Get("Authorization")
	}
	for name, c := range map[string]struct {
		w      *world
		method string
		header []string
		status int
		code   string
	}{
		"anybody, where no key is set": {open, "GET", nil, 200, ""},
		"without its body":             {open, "HEAD", nil, 200, ""},
		"another name":                 {open, "GET", []string{"Host", "evil.example"}, 403, "host-refused"},
		"a web page":                   {open, "GET", []string{"Origin", "http://evil.example"}, 403, "origin-refused"},
		"a link on a web page":         {open, "GET", []string{"Sec-Fetch-Site", "cross-site"}, 403, "origin-refused"},
		"typed by a person":            {open, "GET", []string{"Sec-Fetch-Site", "none"}, 200, ""},
		"another method":               {open, "POST", nil, 405, "control-unknown"},
		"no key":                       {keyed, "GET", nil, 401, "caller-key"},
		"a wrong key":                  {keyed, "GET", []string{"Sidecar-Key", "wrong"}, 401, "caller-key"},
		"a wrong password":             {keyed, "GET", []string{"Authorization", basic("wrong")}, 401, "caller-key"},
		"no password":                  {keyed, "GET", []string{"Authorization", basic("")}, 401, "caller-key"},
		"no credentials of ours":       {keyed, "GET", []string{"Authorization", "Bearer " + key}, 401, "caller-key"},
		"a name, no key":               {keyed, "GET", []string{"Host", "evil.example"}, 403, "host-refused"},
		"the key":                      {keyed, "GET", []string{"Sidecar-Key", key}, 200, ""},
		"the key as password":          {keyed, "GET", []string{"Authorization", basic(key)}, 200, ""},
		"a wrong key beside it":        {keyed, "GET", []string{"Authorization", basic(key), "Sidecar-Key", "wrong"}, 401, "caller-key"},
		"an address for all":           {far, "GET", []string{"Host", "127.0.0.1"}, 404, "control-unknown"},
	} {
		for _, path := range []string{"/", "/support"} {
			c.w.t = t
			a := c.w.admin(c.method, path, c.header...)
			if a.status != c.status || a.header.Get("Sidecar-Error") != c.code {
				t.Errorf("%s, %s: %d %s, want %d %s", path, name, a.status, a.header.Get("Sidecar-Error"), c.status, c.code)
			}
			asks := a.header.Get("WWW-Authenticate")
			if want := path == "/" && c.code == "caller-key"; want != (asks != "") {
				t.Errorf("%s, %s: WWW-Authenticate %q", path, name, asks)
			}
			if a.status != 200 && strings.Contains(string(a.body), "registry") {
				t.Errorf("%s, %s: the refusal tells of the status", path, name)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s, %s: headers %v", path, name, a.header)
			}
		}
	}
}

// The header of the page's policy allows its own style and nothing else.
func TestStatusPolicy(t *testing.T) {
	t.Parallel()
	a := newWorld(t, setup{}).admin(http.MethodGet, "/")
	policy := a.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "style-src 'sha256-", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy %q lacks %q", policy, part)
		}
	}
	for _, no := range []string{"<script", "<a ", "<form", "<img", "http://", "https://"} {
		if strings.Contains(string(a.body), no) {
			t.Errorf("the page has %q", no)
		}
	}
}

// support is the status as the bundle gets it.
func (w *world) support() (s pages.Status) {
	w.t.Helper()
	a := w.admin(http.MethodGet, "/support")
	seen.keep(string(a.body))
	if err := json.Unmarshal(a.body, &s); err != nil {
		w.t.Fatalf("%d: %v", a.status, err)
	}
	return s
}

// TestStatusRemembers: what went wrong is told of, newest first and no more than
// there is room for; a tenant's trouble ends with its next token.
func TestStatusRemembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, all := w.logIn("lege"), simulator.Tenants()
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.Withdrawn = []string{all[0].Parent} })
	w.wantCode(w.call(handle, 0), "tenant-not-delegated")
	for range 60 {
		w.wantCode(w.send(w.request(http.MethodGet, "/basis/Task", "")), "tenant-missing")
	}
	w.wantCode(w.call(handle, 1), "")
	s := w.support()
	if len(s.Refusals) != 50 || s.Refusals[0].Code != "tenant-missing" || s.Refusals[0].At.Before(s.Refusals[49].At) || s.Refusals[0].RequestID == s.Refusals[1].RequestID {
		t.Errorf("%d refusals, the first %+v", len(s.Refusals), s.Refusals[0])
	}
	if len(s.Tenants) != 2 || s.Tenants[0].Parent != all[0].Parent || s.Tenants[0].Trouble == nil || s.Tenants[0].Trouble.HID != "HID-1001" {
		t.Errorf("the troubled tenant: %+v", s.Tenants)
	}
	if other := s.Tenants[1]; other.Tokens != 1 || other.Until.IsZero() || other.Trouble != nil || other.Journal != all[1].Journal || s.Tokens != 1 {
		t.Errorf("the other: %+v", other)
	}
	if u := s.Upstreams[0]; u.Name != "basis" || u.Status != http.StatusOK || u.At.IsZero() || !s.Upstreams[1].At.IsZero() {
		t.Errorf("upstreams %+v", s.Upstreams)
	}
	if s.Sessions.Count != 1 || s.Sessions.NearestEnd.IsZero() || s.HelseID.Answered.IsZero() || !s.HelseID.Down.IsZero() || s.ClientKey.ID == "" {
		t.Errorf("%+v %+v %+v", s.Sessions, s.HelseID, s.ClientKey)
	}
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.Withdrawn = nil })
	eventually(t, "the tenant's token", func() bool { return w.call(handle, 0).status == http.StatusOK })
	if s = w.support(); s.Tenants[0].Trouble != nil || s.Tokens != 2 {
		t.Errorf("the trouble is not over: %+v", s.Tenants)
	}
	if a := w.send(w.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle)); a.status != http.StatusOK {
		t.Fatalf("logging out: %d", a.status)
	}
	if s = w.support(); s.Sessions.Count != 0 || !s.Sessions.NearestEnd.IsZero() || s.Tokens != 0 {
		t.Errorf("after the log-out: %+v, %d tokens", s.Sessions, s.Tokens)
	}
}

// unzip is what a bundle holds.
func unzip(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(text)
	}
	return files
}

// TestSupportBundle puts marked secrets wherever one could be and searches the bundle
// for them.
func TestSupportBundle(t *testing.T) {
	t.Parallel()
	const (
		callerKey = "MARKED-caller-key-9f2c"
		storeKey  = "TUFSS0VELXN0b3JlLWtleS0wMTIzNDU2Nzg5YWJjZGU=" // 32 bytes
		pid       = "13827015061"
	)
	folder := t.TempDir()
	tenants := filepath.Join(folder, "tenants.yaml")
	good := registryOf(map[string]simulator.Tenant{"first": simulator.Tenants()[0]})
	replaceFile(t, tenants, good)
	w := newWorld(t, setup{env: []string{
		"SIDECAR_CALLER_KEY=" + callerKey, "TENANTS_FILE=" + tenants, "HELSEID_LOGIN_PARAMS=login_hint=" + pid,
		"HTTPS_PROXY=http://user:MARKED-proxy-password@127.0.0.1:1",
	}})
	seen.secret(callerKey)
	handle := w.keyedLogIn(callerKey)
	call := func(header ...string) answer {
		return w.send(w.request(http.MethodGet, "/basis/Task?PatientNiN="+pid, "", append(header, "Sidecar-Key", callerKey)...))
	}
	w.wantCode(call(headers(handle, simulator.Tenants()[0])...), "")
	w.wantCode(call("Sfm-Session", handle), "tenant-missing")
	// The answer repeats its caller's own id to its caller; no other may see it.
	resp, err := w.client.Do(w.request(http.MethodGet, "/basis/Task", "", "Sidecar-Key", callerKey,
		"X-Request-Id", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "Sfm-Tenant", "MARKED-"+pid))
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.Header.Get("Sidecar-Error") != "tenant-unknown" {
		t.Errorf("an unknown alias: %s", resp.Header.Get("Sidecar-Error"))
	}
	replaceFile(t, tenants, good+"  x: {parent: \""+pid+"\", "+pid+": 1, journal: eyJhbGciOiJFUzI1NiJ9.e30.c2ln}\n")
	eventually(t, "the broken registry", func() bool { return w.metric("sfm_sidecar_registry_broken") == 1 })

	for _, path := range []string{"/", "/support"} { // as they come, before the command masks once more
		text := string(w.admin(http.MethodGet, path, "Sidecar-Key", callerKey).body)
		for what, secret := range map[string]string{"number": pid, "key": callerKey, "handle": handle, "token": "eyJ", "name": "Kari", "query": "PatientNiN"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows the %s", path, what)
			}
		}
		if !strings.Contains(text, "tenant-unknown") {
			t.Errorf("%s does not show the refusal", path)
		}
	}
	file := filepath.Join(folder, "bundle.zip")
	env := []string{"SIDECAR_ADMIN_LISTEN=" + w.sidecar.AdminAddr(), "SIDECAR_STORE_KEY=" + storeKey}
	code, stdout, stderr := w.run(t, env, "support-bundle", "--with-key", "-o", file)
	if code != 0 || strings.TrimSpace(stdout) != file || stderr != "" {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the bundle's mode is %v, %v", info.Mode(), err)
	}
	files := unzip(t, archive)
	for name, wanted := range map[string][]string{
		"about.json":        {`"running": true`, `"version": "test"`, runtime.Version()},
		"configuration.txt": {"SIDECAR_CALLER_KEY", "[hidden]", "TENANTS_FILE"},
		"status.json":       {`"tenant-missing"`, `"tenant-unknown"`, `"faults"`, `"first"`, `"kid"`, `"tokens": 1`},
		"metrics.txt":       {"sfm_sidecar_requests_total"},
		"faults.txt":        {},
		"README.txt":        {"no tokens"},
	} {
		text, there := files[name]
		if !there {
			t.Errorf("%s is missing", name)
		}
		for _, part := range wanted {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q:\n%s", name, part, text)
			}
		}
	}
	var key struct{ D string }
	if err := json.Unmarshal(w.key, &key); err != nil || key.D == "" {
		t.Fatalf("the client's key: %v", err)
	}
	for name, text := range files {
		if name != "configuration.txt" { // it says what SFM's session upstream is called
			seen.keep(text)
		}
		for what, secret := range map[string]string{
			"caller key": callerKey, "store key": storeKey, "proxy's password": "MARKED", "private key": key.D,
			"national identity number": pid, "session handle": handle, "token": "eyJ", "person's name": "Kari", "query": "PatientNiN",
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds the %s", name, what)
			}
		}
	}

	if code, _, stderr := w.run(t, env, "support-bundle", "-o", file); code != 1 || !strings.Contains(stderr, "not overwritten") {
		t.Errorf("over a file that is there: exit %d, %q", code, stderr)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, archive) {
		t.Error("the file that was there is another now")
	}
}

// keyedLogIn is logIn where a caller key is asked for.
func (w *world) keyedLogIn(key string) string {
	w.t.Helper()
	a := w.send(w.request(http.MethodPost, "/_sidecar/sessions", "{}", "Sidecar-Key", key))
	var b struct {
		Session  string `json:"session"`
		LoginURL string `json:"login_url"`
	}
	if err := json.Unmarshal(a.body, &b); err != nil {
		w.t.Fatal(err)
	}
	seen.secret(b.Session)
	w.browse(b.LoginURL, "lege")
	return b.Session
}

// Without a running sidecar there is half a bundle, which says so.
func TestSupportBundleAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{env: []string{"SIDECAR_CALLER_KEY=the-key-of-this-test"}})
	here := "SIDECAR_ADMIN_LISTEN=" + w.sidecar.AdminAddr()
	for name, c := range map[string]struct {
		env   []string
		cause string
	}{
		"none answers":      {[]string{"SIDECAR_ADMIN_LISTEN=127.0.0.1:1"}, "127.0.0.1:1"},
		"another key":       {[]string{here, "SIDECAR_CALLER_KEY=wrong"}, "401 caller-key"},
		"no key to be read": {[]string{"SIDECAR_CALLER_KEY=", "SIDECAR_CALLER_KEY_FILE=/nowhere"}, "SIDECAR_CALLER_KEY_FILE"},
		"not a sidecar":     {[]string{"SIDECAR_ADMIN_LISTEN=" + strings.TrimPrefix(w.sim.SFM, "http://")}, "SIDECAR_ADMIN_LISTEN"},
		"far away":          {[]string{"SIDECAR_ADMIN_LISTEN=192.0.2.1:9090"}, "only a sidecar on this machine"},
		"no address":        {[]string{"SIDECAR_ADMIN_LISTEN=nonsense"}, "SIDECAR_ADMIN_LISTEN"},
	} {
		code, stdout, stderr := w.run(t, c.env, "support-bundle", "-with-key", "-o", "-")
		if code != 0 || !strings.Contains(stderr, "no status and no metrics") || !strings.Contains(stderr, c.cause) {
			t.Errorf("%s: exit %d, %q", name, code, stderr)
			continue
		}
		files := unzip(t, []byte(stdout))
		if _, there := files["status.json"]; there || len(files) != 4 || !strings.Contains(files["about.json"], `"running": false`) || !strings.Contains(files["about.json"], c.cause) {
			t.Errorf("%s: %d files, %s", name, len(files), files["about.json"])
		}
	}
	if _, _, stderr := w.run(t, []string{here}, "support-bundle", "-o", "-"); !strings.Contains(stderr, "--with-key") {
		t.Errorf("without the key: %q", stderr)
	}
	for _, args := range [][]string{{"support-bundle", "x"}, {"support-bundle", "-o", ""}, {"support-bundle", "-x"}} {
		if code, _, _ := w.run(t, nil, args...); code != 2 {
			t.Errorf("%q: exit %d, want 2", args, code)
		}
	}
}
