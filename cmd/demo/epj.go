package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"sfm-sidecar/internal/simulator"
)

// epj is a record system as simple as can be: it knows an address, tenants and
// the handle of a session. It never sees a token, a key or a proof.
type epj struct {
	base    string
	session string
	client  http.Client
}

// begun is the sidecar's answer to a new log-in.
type begun struct {
	Session  string `json:"session"`
	State    string `json:"state"`
	LoginURL string `json:"login_url"`
}

func (e *epj) begin(ctx context.Context) (begun, error) {
	var b begun
	_, err := e.call(ctx, http.MethodPost, "/_sidecar/sessions", nil, []byte("{}"), &b)
	return b, err
}

// logIn lets a person log in, with a browser that clicks by itself.
func (e *epj) logIn(ctx context.Context, r *report, person string) error {
	b, err := e.begin(ctx)
	if err != nil {
		return err
	}
	r.line("EPJ     POST /_sidecar/sessions  ->  %s, login_url for the browser", b.State)
	if err := browse(ctx, b.LoginURL, person); err != nil {
		return err
	}
	e.session = b.Session
	var s state
	if _, err := e.call(ctx, http.MethodGet, "/_sidecar/session", e.headers(nil), nil, &s); err != nil {
		return err
	}
	r.line("browser %s logs in at HelseID (PAR, PKCE, state, nonce)", s.User.Name)
	r.line("EPJ     GET  /_sidecar/session   ->  %s, security level %s", s.State, s.Level)
	if s.State != "active" {
		return fmt.Errorf("the session is %s", s.State)
	}
	return nil
}

// others offers log-ins to whoever sits at the browser, one after the other,
// until ctx ends.
func (e *epj) others(ctx context.Context, r *report) error {
	for ctx.Err() == nil {
		b, err := e.begin(ctx)
		if err != nil {
			return err
		}
		r.line("\nLog in yourself, as one of the synthetic persons:\n\n  %s\n", b.LoginURL)
		s := state{State: "pending"}
		for s.State == "pending" {
			h := http.Header{"Sfm-Session": {b.Session}}
			if _, err := e.call(ctx, http.MethodGet, "/_sidecar/session?wait=30s", h, nil, &s); err != nil {
				return err
			}
		}
		if s.State != "active" {
			r.line("That log-in is %s.", s.State)
			continue
		}
		r.line("%s is logged in. Call with this session:\n", s.User.Name)
		r.task(e.base, b.Session)
	}
	return nil
}

// state is what the sidecar tells of a session.
type state struct {
	State string `json:"state"`
	Level string `json:"security_level"`
	User  struct {
		Name string `json:"name"`
	} `json:"user"`
}

// browse opens the log-in link as a person's browser would, and chooses a
// synthetic person on HelseID's page.
func browse(ctx context.Context, link, person string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/connect/authorize") {
			q := r.URL.Query()
			q.Set("auto", person)
			r.URL.RawQuery = q.Encode()
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return err
	}
	resp, err := browser.Do(req)
	if err != nil {
		if u, ok := err.(*url.Error); ok { //nolint:errorlint // http.Client.Do returns this very type
			err = u.Err // without the address, which carries one-time values
		}
		return fmt.Errorf("browsing: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the page after the log-in says %s %s", resp.Status, resp.Header.Get("Sidecar-Error"))
	}
	return nil
}

// sample is one call of the demonstration.
type sample struct {
	method, path string
	body         func(t simulator.Tenant) []byte
}

func samples() []sample {
	return []sample{
		{http.MethodPost, "/basis/Patient/$getMedication", func(t simulator.Tenant) []byte {
			return simulator.SampleGetMedication("patient-of-" + t.Parent)
		}},
		{http.MethodPost, "/basis/Patient/$sendMedication", func(t simulator.Tenant) []byte {
			return simulator.SampleSendMedication("patient-of-"+t.Parent, "demo")
		}},
		{http.MethodPost, "/session/api/v2/Session/create", func(simulator.Tenant) []byte {
			return []byte(`{"nonce":"` + strings.Repeat("A", 86) + `=="}`)
		}},
	}
}

// sampleCalls makes each sample for two tenants, and shows what SFM made of it.
func (e *epj) sampleCalls(ctx context.Context, r *report, sim *simulator.Running) error {
	for _, t := range simulator.Tenants()[:2] {
		r.tenant(t)
		for i, s := range samples() {
			begun := time.Now()
			n, err := e.call(ctx, s.method, s.path, e.headers(&t), s.body(t), nil)
			if err != nil {
				return err
			}
			r.call(s, n, time.Since(begun))
			seen, asked := sim.Seen(), sim.TokenRequests()
			if i == 0 {
				r.refresh(asked[len(asked)-1], seen[len(seen)-1])
			}
			r.proof(seen[len(seen)-1])
		}
	}
	r.totals(sim)
	return nil
}

// headers name the session and the tenant of a call.
func (e *epj) headers(t *simulator.Tenant) http.Header {
	h := http.Header{"Sfm-Session": {e.session}}
	if t != nil {
		h.Set("Sfm-Orgnr-Parent", t.Parent)
		h.Set("Sfm-Journal-Id", t.Journal)
		if t.Child != "" {
			h.Set("Sfm-Orgnr-Child", t.Child)
		}
	}
	return h
}

// call makes one call to the sidecar, reads the answer into v if there is one,
// and returns its size. Anything but success is an error that names the refusal.
func (e *epj) call(ctx context.Context, method, path string, h http.Header, body []byte, v any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, values := range h {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode >= 300 {
		return 0, fmt.Errorf("%s %s: %s %s %s", method, path, resp.Status, resp.Header.Get("Sidecar-Error"), answer)
	}
	if v == nil {
		return len(answer), nil
	}
	return len(answer), json.Unmarshal(answer, v)
}
