package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// TestMarkdown compares docs/configuration.md with what the code says.
func TestMarkdown(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	var want bytes.Buffer
	if err := config.WriteMarkdown(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")) // a checkout on Windows
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/configuration.md is out of date; run \"make docs\" (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	byName := make(map[string]config.Variable)
	for _, v := range config.Table() {
		byName[v.Name] = v
	}
	if v := byName["HELSEID_CLIENT_JWK"]; !v.Secret || !v.Required || v.Section != "HelseID" || v.Meaning == "" {
		t.Errorf("HELSEID_CLIENT_JWK: %+v", v)
	}
	if v := byName["SIDECAR_STORE_TIMEOUT"]; v.Default != "500ms" || v.Required || v.Secret {
		t.Errorf("SIDECAR_STORE_TIMEOUT: %+v", v)
	}
	if v := byName["SIDECAR_AUDIT_FILE"]; v.NotYet == "" {
		t.Errorf("SIDECAR_AUDIT_FILE: %+v", v)
	}
}

func TestWriteCurrent(t *testing.T) {
	var out strings.Builder
	environ := with("SIDECAR_CALLER_KEY_FILE="+write(t, "key"), "HELSEID_CLIENT_ID=", "LOG_LEVEL=debug", "HELSEID_TIMEOUT=nonsense",
		"SIDECAR_STORE=redis://user:pass@word@host/0")
	if err := config.WriteCurrent(&out, environ); err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]string)
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); len(fields) > 1 {
			lines[fields[0]] = strings.Join(fields[1:], " ")
		}
	}
	want := map[string]string{
		"HELSEID_CLIENT_ID":         "- required, not set",
		"HELSEID_CLIENT_JWK":        "[hidden] set",
		"HELSEID_SCOPES":            "e-helse:sfm.api/sfm.api2 default",
		"HELSEID_TIMEOUT":           "nonsense set",
		"SIDECAR_STORE":             "[hidden] set",
		"SIDECAR_MAX_SIGTERM_DELAY": "2m10s default",
		"LOG_LEVEL":                 "debug set",
		"TENANTS_FILE":              "- default",
	}
	for name, line := range want {
		if lines[name] != line {
			t.Errorf("%s: %q, want %q", name, lines[name], line)
		}
	}
	if got := lines["SIDECAR_CALLER_KEY"]; !strings.HasPrefix(got, "[hidden] from ") {
		t.Errorf("SIDECAR_CALLER_KEY: %q", got)
	}
}

// Whatever was pasted into whichever variable, neither the tables nor the faults
// repeat what looks like a secret.
func TestSecretsInTheWrongVariable(t *testing.T) {
	values := []string{
		`{"kty":"EC","crv":"P-256","d":"MARKED"}`, "{kty:EC,d:MARKED}", "-----BEGIN PRIVATE KEY-----\nMARKED\n-----END PRIVATE KEY-----",
		"user:MARKED@host", "user:MARKED@host, https://host", "a=user:MARKED@host", "redis://MARKED@host", "eyJMARKED.e30.c2ln", "/x?key=MARKED", "MARKED_13827015061",
	}
	for _, v := range config.Table() {
		for _, value := range values {
			environ := []string{v.Name + "=" + value}
			var out strings.Builder
			if err := config.WriteCurrent(&out, environ); err != nil {
				t.Fatal(err)
			}
			_, warnings, err := config.Load(environ)
			if text := fmt.Sprint(out.String(), warnings, err); strings.Contains(text, "MARKED") {
				t.Errorf("%s shows %q", v.Name, value)
			}
		}
	}
	var out strings.Builder
	if err := config.WriteCurrent(&out, []string{"HELSEID_LOGIN_PARAMS=login_hint=MARKED", "OTEL_RESOURCE_ATTRIBUTES=key=MARKED",
		"SIDECAR_LISTEN=unix:@sidecar", "HELSEID_CLIENT_ID=7fbfbcbd-6f08-4e95-9f7a-123456789012"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "MARKED") || !strings.Contains(out.String(), "unix:@sidecar") || !strings.Contains(out.String(), "7fbfbcbd-6f08-4e95-9f7a-123456789012") {
		t.Error(out.String())
	}
}
