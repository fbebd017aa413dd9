package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// readable is a refusal that a person reads.
type readable struct{ error }

func (p readable) Unwrap() error { return p.error }

func (readable) WritePage(w http.ResponseWriter, _ *http.Request, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "code "+w.Header().Get("Sidecar-Error"))
}

// A page has the status, headers, metric and log line of any refusal, and keeps
// the cookie that its room gave; only the body is its own.
func TestRefusalAsPage(t *testing.T) {
	h := open(t, "http://127.0.0.1:1", func(o *Options) {
		o.Control = func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Set-Cookie", "a=b")
			w.Header().Set("Content-Length", "3")
			return readable{fmt.Errorf("finishing: %w", coded{code: "login-failed", reason: "denied"})}
		}
	})
	a := h.get("/_sidecar/callback")
	if a.StatusCode != http.StatusBadRequest || string(a.body) != "code login-failed" || a.Header.Get("Content-Type") != "text/html" {
		t.Errorf("status %d, %s, body %q", a.StatusCode, a.Header.Get("Content-Type"), a.body)
	}
	if a.Header.Get("Sidecar-Retryable") != "false" || a.Header.Get("Sidecar-Request-Id") == "" || a.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("headers %v", a.Header)
	}
	if h.events.lastRefusal() != "login-failed" {
		t.Error("it was not counted")
	}
}

// Problem shows an error as the document of a refusal, without answering.
func TestProblem(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	for code, err := range map[string]error{
		"session-expired": coded{code: "session-expired", detail: "it has ended"},
		"internal":        errors.New("what only the log may say"),
	} {
		r := httptest.NewRequest(http.MethodGet, "/_sidecar/session", nil)
		r.Header.Set("X-Request-Id", "request-1")
		text, encodeErr := json.Marshal(h.Problem(r, err))
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		var doc problem
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Type != "urn:sfm-sidecar:problem:"+code || doc.Status != rows[code].status || doc.RequestID != "request-1" {
			t.Errorf("%s: %s", code, text)
		}
		if code == "internal" && doc.Detail != rows[code].title {
			t.Errorf("the detail tells more: %s", text)
		}
	}
	if h.events.lastRefusal() != "" {
		t.Error("a refusal was counted")
	}
}
