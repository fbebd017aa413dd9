package app_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// seen is everything that left a sidecar in these tests by way of logs, metrics
// and refusals. When all tests are done it is searched for what must never be
// there.
var seen artefacts

type artefacts struct {
	mu      sync.Mutex // guards all
	text    bytes.Buffer
	secrets []string
}

// log is a writer for one sidecar's log.
func (a *artefacts) log() io.Writer { return logWriter{a} }

type logWriter struct{ a *artefacts }

func (w logWriter) Write(p []byte) (int, error) {
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	return w.a.text.Write(p)
}

// keep adds a text.
func (a *artefacts) keep(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.WriteString(text + "\n")
}

// logged is everything so far.
func (a *artefacts) logged() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// secret adds a value that must never be seen.
func (a *artefacts) secret(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets = append(a.secrets, value)
}

// forbidden are shapes that must never be seen: tokens, assertions and proofs
// are JWTs, national identity numbers have eleven digits, and queries of these
// tests carry marked values.
var forbidden = map[string]*regexp.Regexp{
	"a JWT":                      regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}`),
	"a national identity number": regexp.MustCompile(`(^|[^0-9A-Za-z.-])[0-9]{11}([^0-9A-Za-z.-]|$)`),
	"a query string":             regexp.MustCompile(`[?&](PatientNiN|code|state|iss|request_uri|identifier)=`),
	"a DPoP or Bearer value":     regexp.MustCompile(`(?i)(dpop|bearer) [A-Za-z0-9_-]{20,}`),
}

// leaks lists what was found, without repeating it.
func (a *artefacts) leaks() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []string
	for line := range strings.Lines(a.text.String()) {
		for what, shape := range forbidden {
			if shape.MatchString(line) {
				found = append(found, fmt.Sprintf("%s in a line that begins %.60q", what, line))
			}
		}
		for _, secret := range a.secrets {
			if strings.Contains(line, secret) {
				found = append(found, fmt.Sprintf("a session handle in a line that begins %.60q", line))
			}
		}
	}
	return found
}

func TestMain(m *testing.M) {
	code := m.Run()
	if found := seen.leaks(); len(found) > 0 {
		for _, leak := range found[:min(len(found), 20)] {
			fmt.Fprintln(os.Stderr, "LEAK:", leak)
		}
		fmt.Fprintf(os.Stderr, "FAIL: %d secrets in logs, metrics or refusals\n", len(found))
		code = max(code, 1)
	}
	os.Exit(code)
}

// The search itself must find what it is for.
func TestLeaksAreFound(t *testing.T) {
	var a artefacts
	a.secret("handle-of-a-session")
	for _, text := range []string{
		`{"msg":"x","token":"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}`, `{"pid":"13827015061"}`, `pid=13827015061`,
		`/Task?PatientNiN=x`, `callback?a=b&state=x`, `Authorization: DPoP abcdefghijklmnopqrstuvwxyz`, `session handle-of-a-session`,
	} {
		a.keep(text)
		if len(a.leaks()) == 0 {
			t.Errorf("not found: %s", text)
		}
		a.text.Reset()
	}
	a.keep(`{"time":"2026-11-21T08:00:00.123456789Z","request_id":"0123456789abcdef","whole_ms":12345678901.5,"parent":"100100126"}`)
	if found := a.leaks(); len(found) > 0 {
		t.Errorf("found in an innocent line: %v", found)
	}
}
