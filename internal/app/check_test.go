package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// clinic is a set-up to examine: stand-ins, and the environment of a sidecar that
// is not running.
type clinic struct {
	t   *testing.T
	sim *simulator.Running
	env []string
	key []byte
}

func newClinic(t *testing.T, s setup) *clinic {
	t.Helper()
	client, key, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	if s.client != nil {
		s.client(&client)
	}
	s.sim.Clients, s.sim.SigningKey = []simulator.Client{client}, signingKey()
	sim := standIns(t, s)
	file := filepath.Join(t.TempDir(), "client.jwk")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return &clinic{t: t, sim: sim, key: key, env: append([]string{
		"HELSEID_ISSUER=" + sim.HelseID, "HELSEID_CLIENT_ID=" + clientID, "HELSEID_CLIENT_JWK_FILE=" + file,
		"SFM_UPSTREAMS=basis=" + sim.SFM, "SIDECAR_LISTEN=127.0.0.1:0",
	}, expand(s.env, sim)...)}
}

// machine makes the grant client-credentials.
var machine = []string{"HELSEID_GRANT=client-credentials", "SIDECAR_CALLER_KEY=0123456789abcdef0123456789abcdef"}

// examined is what a check printed.
type examined struct {
	code           int
	stdout, stderr string
	Result         string         `json:"result"`
	Counts         map[string]int `json:"counts"`
	Steps          []struct {
		Name, Subject, Tried, Status, Found, Means, Do, Code, HID string
		Details                                                   map[string]string
	} `json:"steps"`
	Answers []struct {
		Question, Asks, Answer, Sure, How string
		Set                               []string
	} `json:"answers"`
}

// check runs the program as from a terminal, and reads its report.
func (c *clinic) check(args ...string) examined {
	c.t.Helper()
	r := c.run(append([]string{"-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(r.stdout), &r); err != nil && r.code != 2 {
		c.t.Fatalf("no report (%v): %s %s", err, r.stdout, r.stderr)
	}
	for _, s := range r.Steps {
		if s.Status == "failed" && (s.Found == "" || s.Means == "" || s.Do == "" || s.Tried == "") {
			c.t.Errorf("the step %s %s failed and does not say everything: %+v", s.Name, s.Subject, s)
		}
		if s.Status == "skipped" && s.Means == "" {
			c.t.Errorf("the step %s %s was skipped and does not say why", s.Name, s.Subject)
		}
	}
	return r
}

func (c *clinic) run(args ...string) examined {
	c.t.Helper()
	var stdout bytes.Buffer
	stderr := &invited{person: "lege", ctx: c.t.Context()}
	code := app.Run(c.t.Context(), app.Options{
		Args: append([]string{"check"}, args...), Environ: c.env, Stdout: &stdout, Stderr: stderr, Version: "test",
	})
	stderr.wait.Wait()
	r := examined{code: code, stdout: stdout.String(), stderr: stderr.String()}
	c.harmless(r.stdout)
	return r
}

// registry makes TENANTS_FILE hold this.
func (c *clinic) registry(content string) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "tenants.yaml")
	replaceFile(c.t, path, content)
	c.env = append(c.env, "TENANTS_FILE="+path)
}

// harmless looks for what a report must never hold.
func (c *clinic) harmless(report string) {
	c.t.Helper()
	seen.keep(report)
	for _, p := range simulator.Persons() {
		for _, secret := range []string{p.PID, p.Name, p.Subject} {
			if strings.Contains(report, secret) {
				c.t.Error("the report names a person")
			}
		}
	}
	var jwk map[string]any
	if err := json.Unmarshal(c.key, &jwk); err != nil {
		c.t.Fatal(err)
	}
	if strings.Contains(report, jwk["d"].(string)) || strings.Contains(report, "eyJ") || strings.Contains(report, simulatedTestKey) {
		c.t.Error("the report holds a secret")
	}
}

// invited is a standard error stream with a person behind it, who opens the
// address that is printed there.
type invited struct {
	person string
	ctx    context.Context

	mu   sync.Mutex
	text bytes.Buffer
	wait sync.WaitGroup
}

var invitation = regexp.MustCompile(`http://\S+/connect/authorize\S+`)

func (i *invited) Write(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if address := invitation.FindString(string(p)); address != "" {
		i.wait.Go(func() { i.open(address + "&auto=" + i.person) })
	}
	return i.text.Write(p)
}

func (i *invited) open(address string) {
	r, err := http.NewRequestWithContext(i.ctx, http.MethodGet, address, nil)
	if err != nil {
		return
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	if resp, err := client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func (i *invited) String() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.text.String()
}

// named is how a tenant of the default world is written on the command line.
func named(tenant simulator.Tenant) string {
	name := tenant.Parent
	if tenant.Child != "" {
		name += ":" + tenant.Child
	}
	return name + "@" + tenant.Journal
}

// status is how the first step of a name ended.
func (r examined) status(name string) string {
	for _, s := range r.Steps {
		if s.Name == name {
			return s.Status
		}
	}
	return "absent"
}

func (r examined) said(name string) string {
	for _, s := range r.Steps {
		if s.Name == name {
			return strings.Join([]string{s.Found, s.Means, s.Do, s.Code, s.HID, fmt.Sprint(s.Details)}, " | ")
		}
	}
	return ""
}

func TestCheckOfAGoodSetUp(t *testing.T) {
	t.Parallel()
	c := newClinic(t, setup{})
	tenants := []string{named(simulator.Tenants()[0]), named(simulator.Tenants()[1])}
	r := c.check(append([]string{"--login"}, tenants...)...)
	if r.code != 0 || r.Result != "ok" || r.Counts["failed"] != 0 {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
	for _, name := range []string{"client key", "discovery", "clock", "authorization request", "nonce handshake", "log-in", "token", "upstream"} {
		if got := r.status(name); got != "ok" {
			t.Errorf("%s is %s: %s", name, got, r.said(name))
		}
	}
	token := r.said("token")
	for _, want := range []string{simulator.Tenants()[0].Parent, simulator.Tenants()[0].Child, simulator.Tenants()[0].Journal, "e-helse:sfm.api", "security_level:4", "dpop_key"} {
		if !strings.Contains(token, want) {
			t.Errorf("the token's claims lack %s: %s", want, token)
		}
	}
	requests := c.sim.TokenRequests()
	if last := requests[len(requests)-1]; last.Endpoint != "revocation" {
		t.Errorf("the log-in was not revoked: the last request was to %s", last.Endpoint)
	}
	if c.sim.Reuses() != 0 {
		t.Error("a refresh token was used twice")
	}
}

func TestCheckWithClientCredentials(t *testing.T) {
	t.Parallel()
	c := newClinic(t, setup{env: machine})
	r := c.check(named(simulator.Tenants()[0]))
	if r.code != 0 || r.status("token") != "ok" || r.status("authorization request") != "skipped" {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
}

// Each thing that can be wrong, once: which step finds it, what it says, and what
// is then left out.
func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	first := simulator.Tenants()[0]
	gone := func() string { // an address where nobody listens
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "http://" + l.Addr().String()
	}()
	for name, test := range map[string]struct {
		setup   setup
		knobs   func(*simulator.Knobs)
		break_  func(*clinic)
		args    []string
		step    string
		status  string
		says    string
		skipped string // a step that must be skipped for it
		code    int
	}{
		"another key": {
			break_: func(c *clinic) { c.otherKey() },
			args:   []string{named(first)}, step: "authorization request", status: "failed", says: "public half", skipped: "", code: 1,
		},
		"another key, machine": {
			setup:  setup{env: machine},
			break_: func(c *clinic) { c.otherKey() },
			args:   []string{named(first)}, step: "nonce handshake", status: "failed", says: "public half", skipped: "token", code: 1,
		},
		"not in the registry": {
			setup:  setup{env: machine},
			break_: func(c *clinic) { c.registry(registryOf(map[string]simulator.Tenant{"other": simulator.Tenants()[1]})) },
			args:   []string{named(first)}, step: "registry", status: "warning", says: "sidecar tenants add", code: 0,
		},
		"clock off 90 s": {
			knobs: func(k *simulator.Knobs) { k.ClockOffset = 90 },
			step:  "clock", status: "warning", says: "corrects it", code: 0,
		},
		"clock off 90 s, not corrected": {
			setup: setup{env: []string{"SIDECAR_CLOCK=system"}},
			knobs: func(k *simulator.Knobs) { k.ClockOffset = 90 },
			step:  "clock", status: "failed", says: "SIDECAR_CLOCK", skipped: "authorization request", code: 1,
		},
		"clock off 10 min": {
			knobs: func(k *simulator.Knobs) { k.ClockOffset = -600 },
			args:  []string{named(first)}, step: "clock", status: "failed", says: "clock-skew", skipped: "nonce handshake", code: 1,
		},
		"no delegation": {
			setup: setup{env: machine},
			args:  []string{named(simulator.Tenant{Parent: simulator.ParentNotDelegated, Journal: first.Journal})},
			step:  "token", status: "failed", says: "Altinn, at the PARENT", code: 1,
		},
		"terms unsigned": {
			setup: setup{env: machine},
			args:  []string{named(simulator.Tenant{Parent: simulator.ParentWithoutTerms, Journal: first.Journal})},
			step:  "token", status: "failed", says: "tenant-terms-unsigned", code: 1,
		},
		"level too low": {
			knobs: func(k *simulator.Knobs) { k.HelseID.SecurityLevel = "3" },
			args:  []string{"--login", named(first)}, step: "log-in", status: "failed", says: "level 4", skipped: "token", code: 1,
		},
		"HelseID down": {
			setup: setup{env: []string{"HELSEID_ISSUER=" + gone}},
			args:  []string{named(first)}, step: "discovery", status: "failed", says: "HTTPS_PROXY", skipped: "clock", code: 1,
		},
		"HelseID answers 503": {
			knobs: func(k *simulator.Knobs) { k.HelseID.Fault = simulator.Fault{Status: 503} },
			step:  "discovery", status: "failed", says: "trouble", skipped: "authorization request", code: 1,
		},
		"redirect address not registered": {
			setup: setup{env: []string{"HELSEID_REDIRECT_URI=https://epj.example/callback"}},
			step:  "authorization request", status: "failed", says: "HELSEID_REDIRECT_URI", code: 1,
		},
		"scope not registered": {
			setup: setup{env: []string{"HELSEID_LOGIN_SCOPES=openid offline_access other.api/scope"}},
			step:  "authorization request", status: "failed", says: "not registered for one of the scopes", code: 1,
		},
		"wrong journal in the token": {
			setup: setup{env: machine},
			knobs: claim("nhn:sfm:journal-id", "00000000-0000-4000-8000-000000000000"),
			args:  []string{named(first)}, step: "token", status: "failed", says: "nhn:sfm:journal-id", code: 1,
		},
		"upstream down": {
			setup: setup{env: []string{"SFM_UPSTREAMS=basis=" + gone}},
			step:  "upstream", status: "failed", says: "connection refused", code: 1,
		},
		"upstream name unknown": {
			setup: setup{env: []string{"SFM_UPSTREAMS=basis=https://sfm.invalid"}},
			step:  "upstream", status: "failed", says: "name sfm.invalid is not found", code: 1,
		},
		"upstream under another path": {
			setup: setup{env: []string{"SFM_UPSTREAMS=basis={SFM}/fhir"}},
			step:  "upstream", status: "warning", says: "in SFM_UPSTREAMS", code: 0,
		},
		"upstream without metadata": {
			break_: func(c *clinic) { c.otherUpstream(http.NotFoundHandler()) },
			step:   "upstream", status: "warning", says: "none of the known paths", code: 0,
		},
		"upstream with trouble": {
			break_: func(c *clinic) {
				c.otherUpstream(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
			},
			step: "upstream", status: "failed", says: "has trouble", code: 1,
		},
		"key open to others": {
			break_: func(c *clinic) { c.openKey() },
			step:   "client key", status: "warning", says: "chmod 600", code: 0,
		},
		"nobody logs in": {
			args: []string{named(first)}, step: "token", status: "skipped", says: "--login", code: 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, test.setup)
			if test.knobs != nil {
				c.sim.SetKnobs(test.knobs)
			}
			if test.break_ != nil {
				test.break_(c)
			}
			r := c.check(test.args...)
			if got := r.status(test.step); got != test.status || !strings.Contains(r.said(test.step), test.says) {
				t.Errorf("%s is %s: %s", test.step, got, r.said(test.step))
			}
			if test.skipped != "" && r.status(test.skipped) != "skipped" {
				t.Errorf("%s is %s", test.skipped, r.status(test.skipped))
			}
			if r.code != test.code {
				t.Errorf("exit code %d, want %d: %s", r.code, test.code, r.stdout)
			}
		})
	}
}

func (c *clinic) otherKey() {
	_, key, err := simulator.NewClient(clientID)
	if err != nil {
		c.t.Fatal(err)
	}
	c.env = append(c.env, "HELSEID_CLIENT_JWK="+string(key), "HELSEID_CLIENT_JWK_FILE=")
}

func (c *clinic) otherUpstream(h http.Handler) {
	server := httptest.NewServer(h)
	c.t.Cleanup(server.Close)
	c.env = append(c.env, "SFM_UPSTREAMS=basis="+server.URL)
}

func (c *clinic) openKey() {
	file := filepath.Join(c.t.TempDir(), "open.jwk")
	if err := errors.Join(os.WriteFile(file, c.key, 0o600), os.Chmod(file, 0o644)); err != nil {
		c.t.Fatal(err)
	}
	c.env = append(c.env, "HELSEID_CLIENT_JWK_FILE="+file)
}

// What the check learns, each answer both ways.
func TestCheckLearns(t *testing.T) {
	t.Parallel()
	first, alone := named(simulator.Tenants()[0]), named(simulator.Tenants()[1])
	for name, test := range map[string]struct {
		setup    setup
		knobs    func(*simulator.HelseIDKnobs)
		args     []string
		question string
		answer   string
		sure     string
		set      []string
	}{
		"rotates":                 {args: []string{"--login", first}, question: "refresh_token_rotates", answer: "yes", sure: "certain"},
		"rotates, no tenant":      {args: []string{"--login"}, question: "refresh_token_rotates", answer: "yes", sure: "certain"},
		"stays":                   {knobs: func(k *simulator.HelseIDKnobs) { k.RotationOff = true }, args: []string{"--login", first}, question: "refresh_token_rotates", answer: "no", sure: "certain"},
		"rotation unknown":        {args: []string{first}, question: "refresh_token_rotates", sure: "open"},
		"spent":                   {args: []string{"--login", first}, question: "spent_refresh_token", answer: "yes", sure: "certain"},
		"none spent":              {knobs: func(k *simulator.HelseIDKnobs) { k.RotationOff = true }, args: []string{"--login", first}, question: "spent_refresh_token", sure: "open"},
		"nonce good twice":        {question: "nonce_good_twice", answer: "yes", sure: "likely"},
		"nonce good once":         {knobs: func(k *simulator.HelseIDKnobs) { k.SingleUseNonce = true }, question: "nonce_good_twice", answer: "no", sure: "likely"},
		"once, none on success":   {knobs: func(k *simulator.HelseIDKnobs) { k.SingleUseNonce, k.NoNonceOnSuccess = true, true }, question: "nonce_good_twice", answer: "no", sure: "likely"},
		"no organization":         {args: []string{"--login", first}, question: "log_in_without_organization", answer: "yes", sure: "certain"},
		"no organization, pushed": {args: []string{first}, question: "log_in_without_organization", answer: "yes", sure: "likely"},
		"could be without": {
			setup: setup{env: []string{"HELSEID_LOGIN_TENANT=request-object"}}, args: []string{first},
			question: "log_in_without_organization", answer: "yes", sure: "likely", set: []string{"HELSEID_LOGIN_TENANT=none"},
		},
		"organization needed": {
			knobs: func(k *simulator.HelseIDKnobs) { k.OrganizationAtLogin = true }, args: []string{first},
			question: "log_in_without_organization", answer: "no", sure: "certain", set: []string{"HELSEID_LOGIN_TENANT=request-object"},
		},
		"organization perhaps needed": {
			knobs:    func(k *simulator.HelseIDKnobs) { k.OrganizationAtLogin = true },
			question: "log_in_without_organization", sure: "open",
		},
		"either form": {args: []string{"--login", alone}, question: "parent_only_form", answer: "both", sure: "certain"},
		"colon":       {knobs: form("colon"), args: []string{"--login", alone}, question: "parent_only_form", answer: "colon", sure: "certain"},
		"bare": {
			knobs: form("bare"), args: []string{"--login", first}, question: "parent_only_form", answer: "bare", sure: "certain",
			set: []string{"HELSEID_PARENT_ONLY_FORM=bare"},
		},
		"bare, machine": {
			setup: setup{env: machine}, knobs: form("bare"), args: []string{first}, question: "parent_only_form", answer: "bare", sure: "certain",
			set: []string{"HELSEID_PARENT_ONLY_FORM=bare"},
		},
		"bare, set already": {
			setup: setup{env: append([]string{"HELSEID_PARENT_ONLY_FORM=bare"}, machine...)}, knobs: form("bare"), args: []string{alone},
			question: "parent_only_form", answer: "bare", sure: "certain",
		},
		"neither form": {
			setup: setup{env: machine}, args: []string{named(simulator.Tenant{Parent: simulator.ParentNotDelegated, Journal: simulator.Tenants()[0].Journal})},
			question: "parent_only_form", sure: "open",
		},
		"scopes":     {setup: setup{env: machine}, args: []string{first}, question: "scopes_that_come_back", answer: simulator.SFMScope, sure: "certain"},
		"no scopes":  {question: "scopes_that_come_back", sure: "open"},
		"journal":    {setup: setup{env: machine}, args: []string{first}, question: "journal_without_scope_of_its_own", answer: "yes", sure: "certain"},
		"no journal": {setup: setup{env: machine}, knobs: func(k *simulator.HelseIDKnobs) { k.ClaimOverrides = map[string]any{"nhn:sfm:journal-id": nil} }, args: []string{first}, question: "journal_without_scope_of_its_own", answer: "no", sure: "likely", set: []string{"HELSEID_LOGIN_SCOPES=… nhn:sfm:journal-id"}},
		"one organization": {
			setup: setup{env: append([]string{"HELSEID_TENANCY=single"}, machine...), client: func(c *simulator.Client) {
				c.Tenancy, c.Parent, c.SFMID = simulator.TenancySingle, simulator.Tenants()[1].Parent, simulator.Tenants()[1].Journal
			}},
			args: []string{alone}, question: "parent_only_form", sure: "open",
		},
		"lifetimes":           {args: []string{"--login", first}, question: "token_lifetimes", answer: "access token 1h, refresh token 8h", sure: "certain"},
		"HelseID unavailable": {knobs: func(k *simulator.HelseIDKnobs) { k.Fault = simulator.Fault{Status: 500} }, question: "nonce_good_twice", sure: "open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, test.setup)
			if test.knobs != nil {
				c.sim.SetKnobs(func(k *simulator.Knobs) { test.knobs(&k.HelseID) })
			}
			r := c.check(append([]string{"--learn"}, test.args...)...)
			for _, a := range r.Answers {
				if a.Question != test.question {
					continue
				}
				if a.Answer != test.answer || a.Sure != test.sure || !slices.Equal(a.Set, test.set) {
					t.Errorf("%+v\n%s", a, r.stdout)
				}
				if a.How == "" || a.Asks == "" {
					t.Errorf("the answer does not say how: %+v", a)
				}
				return
			}
			t.Errorf("no answer: %s %s", r.stdout, r.stderr)
		})
	}
}

func form(form string) func(*simulator.HelseIDKnobs) {
	return func(k *simulator.HelseIDKnobs) { k.ParentOnlyForm = form }
}

// A sidecar that runs has the port of the redirect address.
func TestCheckBesideARunningSidecar(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	u, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{t: t, sim: w.sim, key: w.key, env: append(slices.Clone(w.env), "SIDECAR_LISTEN="+u.Host)}
	r := c.check("--login", named(simulator.Tenants()[0]))
	if said := r.said("log-in"); r.code != 1 || !strings.Contains(said, "port "+u.Port()+" is taken") || r.status("token") != "skipped" {
		t.Errorf("exit code %d: %s", r.code, said)
	}
}

func TestCheckUsage(t *testing.T) {
	t.Parallel()
	c := newClinic(t, setup{})
	for _, args := range [][]string{
		{"-o", "yaml"}, {"--what"}, {"alias"}, {"123@x"}, {"--test-tokens", "https://ttt.test.nhn.no"},
		{"--test-tokens", "https://ttt.example", "--test-token-key-file", "/dev/null"},
		slices.Repeat([]string{named(simulator.Tenants()[0])}, 51),
	} {
		if r := c.run(args...); r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, "sidecar: check: ") {
			t.Errorf("%v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	c.env = append(c.env, machine...)
	if r := c.run("--login"); r.code != 2 {
		t.Errorf("--login without persons: exit code %d", r.code)
	}
	c.env = append(c.env, "HELSEID_TENANCY=both", "HELSEID_CLIENT_ID=")
	r := c.check()
	if r.code != 2 || r.Result != "failed" || !strings.Contains(r.said("configuration"), "HELSEID_TENANCY") || !strings.Contains(r.said("configuration"), "HELSEID_CLIENT_ID") {
		t.Errorf("faults as JSON: exit code %d, %s", r.code, r.stdout)
	}
	if r := c.run(); r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, "sidecar: HELSEID_") {
		t.Errorf("faults as text: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

const simulatedTestKey = "simulated-auth-key"
