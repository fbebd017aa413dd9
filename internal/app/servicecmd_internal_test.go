package app

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/service"
)

// What docs/desktop.md and the usage tell people to type must exist.
func TestServiceWordsOfTheDocs(t *testing.T) {
	desktop, reference := docs(t, "desktop.md"), docs(t, "configuration.md")
	words := []string{"install", "start", "stop", "restart", "status", "uninstall"}
	found := regexp.MustCompile(`sidecar(?:\.exe")? service ([a-z]+)`).FindAllStringSubmatch(desktop+usage, -1)
	if len(found) < 10 {
		t.Fatalf("found %d commands in the docs", len(found))
	}
	for _, word := range found {
		if !slices.Contains(words, word[1]) {
			t.Errorf("the docs name the word %s", word[1])
		}
	}
	flags := map[string]string{"env-file": "x", "log-file": "y", "account": "z", "name": "n", "user": ""}
	for _, flag := range regexp.MustCompile(`[^-]--([a-z][a-z-]*)`).FindAllStringSubmatch(desktop, -1) {
		if _, ok := flags[flag[1]]; !ok && !slices.Contains([]string{"system", "shell"}, flag[1]) { // useradd's
			t.Errorf("the docs name the option --%s", flag[1])
		}
	}
	for flag, value := range flags {
		args := []string{"--env-file=/e", "--" + flag}
		if value != "" {
			args = append(args, value)
		}
		if _, err := define(Options{Args: args, Stderr: io.Discard}, "install"); err != nil {
			t.Errorf("--%s is not taken: %v", flag, err)
		}
	}
	for _, variable := range regexp.MustCompile(`\b(?:SIDECAR|HELSEID|SFM)_[A-Z_]+\b`).FindAllString(desktop, -1) {
		if !strings.Contains(reference, "`"+strings.TrimSuffix(variable, "_FILE")+"`") && !strings.Contains(reference, "`"+variable+"`") {
			t.Errorf("the docs name the variable %s", variable)
		}
	}
}

func docs(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A service whose log file can't be opened says so in the system's log.
func TestServiceLogFallsBack(t *testing.T) {
	var said strings.Builder
	life := service.Life{Ready: func() {}, Log: func() (io.WriteCloser, error) { return closer{&said}, nil }}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code := serviceServe(context.Background(), Options{Stderr: io.Discard}, filepath.Join(blocked, "x.log"), life)
	if code != exitFailed || !strings.Contains(said.String(), "log's folder") {
		t.Errorf("exit code %d, said %q", code, said.String())
	}
	said.Reset()
	if code := serviceServe(context.Background(), Options{Stderr: io.Discard}, "", life); code != exitUsage || !strings.Contains(said.String(), "HELSEID_ISSUER") {
		t.Errorf("exit code %d, said %q", code, said.String())
	}
	life.Log = func() (io.WriteCloser, error) { return nil, errors.New("no Event Log") }
	var console strings.Builder
	if code := serviceServe(context.Background(), Options{Stderr: &console}, "", life); code != exitFailed || !strings.Contains(console.String(), "no Event Log") {
		t.Errorf("exit code %d, said %q", code, console.String())
	}
}

type closer struct{ io.Writer }

func (closer) Close() error { return nil }
