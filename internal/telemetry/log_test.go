package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/telemetry"
)

func TestFormats(t *testing.T) {
	for _, test := range []struct {
		format string
		json   bool
	}{{"auto", true}, {"json", true}, {"text", false}, {"", true}} {
		var out bytes.Buffer
		log, _ := telemetry.NewLogger(&out, "info", test.format)
		log.Info("hello", "n", 1)
		if json.Valid(out.Bytes()) != test.json {
			t.Errorf("format %q wrote %q", test.format, out.String())
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("format %q coloured what is no terminal", test.format)
		}
	}
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	log, _ := telemetry.NewLogger(file, "info", "auto")
	log.Info("hello")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || !json.Valid(text) {
		t.Errorf("auto wrote %q to a file, %v", text, err)
	}
}

func TestLevel(t *testing.T) {
	var out bytes.Buffer
	log, level := telemetry.NewLogger(&out, "warn", "json")
	log.Info("quiet")
	level.Set(slog.LevelDebug)
	log.Debug("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "loud") {
		t.Errorf("log: %s", got)
	}
	if _, level := telemetry.NewLogger(&out, "nonsense", "json"); level.Level() != slog.LevelInfo {
		t.Errorf("level %v", level.Level())
	}
}

// hiding is a value that resolves to another, as a lazily made attribute does.
type hiding struct{ slog.Value }

func (h hiding) LogValue() slog.Value { return h.Value }

// TestGuard puts each forbidden thing into each place where it could slip into
// the log. The bubble's clock stands, so that no time holds a secret's digits by chance.
func TestGuard(t *testing.T) {
	forbidden := map[string]string{
		"token":         "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
		"unsigned":      "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
		"person":        "13116900216",
		"spaced person": "131169 00216",
		"query":         "https://sfm.example/Patient?identifier=abc|def&x",
		"path":          "/Patient?identifier=abc",
	}
	secrets := []string{"eyJ", "c2lnbm", "13116900216", "00216", "identifier=", "abc", "def"}
	places := map[string]func(log *slog.Logger, bad string){
		"message":   func(log *slog.Logger, bad string) { log.Info("got " + bad + ".") },
		"string":    func(log *slog.Logger, bad string) { log.Info("m", "a", "x="+bad) },
		"error":     func(log *slog.Logger, bad string) { log.Info("m", "err", fmt.Errorf("x: %w", errors.New(bad))) },
		"with":      func(log *slog.Logger, bad string) { log.With("a", bad).Info("m") },
		"group":     func(log *slog.Logger, bad string) { log.WithGroup("g").Info("m", slog.Group("h", "a", bad)) },
		"lazy":      func(log *slog.Logger, bad string) { log.Info("m", "a", hiding{slog.StringValue(bad)}) },
		"bytes":     func(log *slog.Logger, bad string) { log.Info("m", "a", []byte(bad)) },
		"slice":     func(log *slog.Logger, bad string) { log.Info("m", "a", []string{bad}) },
		"header":    func(log *slog.Logger, bad string) { log.Info("m", "a", http.Header{"Authorization": {"DPoP " + bad}}) },
		"structure": func(log *slog.Logger, bad string) { log.Info("m", "a", struct{ A string }{bad}) },
	}
	synctest.Test(t, func(t *testing.T) {
		for what, bad := range forbidden {
			for where, put := range places {
				for _, format := range []string{"json", "text"} {
					var out bytes.Buffer
					log, _ := telemetry.NewLogger(&out, "info", format)
					put(log, bad)
					for _, secret := range secrets {
						if strings.Contains(out.String(), secret) {
							t.Errorf("a %s in a %s shows as %s", what, where, format)
						}
					}
					if !strings.Contains(out.String(), "[") {
						t.Errorf("a %s in a %s left no mask", what, where)
					}
				}
			}
		}
	})
}

// TestGuardLetsPass sees that ordinary values are written as they are.
func TestGuardLetsPass(t *testing.T) {
	address, err := url.Parse("https://sfm.example/Patient/$getMedication")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, _ := telemetry.NewLogger(&out, "info", "json")
	log.Info("which? that/this", "orgnr", "999977776", "journal", "7fbfbcbd-6f08-4e95-9f7a-123456789012", "bytes", int64(12345678901),
		"took", 90*time.Second, "url", address.String(), "list", []int{1, 2}, "hint", "is it so?")
	for _, want := range []string{
		`"which? that/this"`, `"999977776"`, `"7fbfbcbd-6f08-4e95-9f7a-123456789012"`, `12345678901`, `"https://sfm.example/Patient/$getMedication"`, `[1,2]`, `"is it so?"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing in %s", want, out.String())
		}
	}
}

func TestDurationsAreText(t *testing.T) {
	var out bytes.Buffer
	log, _ := telemetry.NewLogger(&out, "info", "json")
	log.Info("hello", "waits", 90*time.Second, slog.Group("g", "d", time.Minute))
	if got := out.String(); !strings.Contains(got, `"waits":"1m30s"`) || !strings.Contains(got, `"g":{"d":"1m0s"}`) {
		t.Errorf("log: %s", got)
	}
}

// A number of a person is masked whatever stands beside it and however it is parted.
// The bubble's clock stands, so that no time holds the digits by chance.
func TestNumbersOfPersons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, text := range []string{
			"13827015061", "pid_13827015061", "13827015061x", "id=138270 15061,", "138270-15061", "138270.15061", "138270\u00a015061", "138270\u202f15061",
			"13 82 70 15061", "13.82.70 15061", "13827015061,13827015061", "13827015061 13827015061", "a13827015061b", "13827015061-5f3a0001",
		} {
			var out bytes.Buffer
			log, _ := telemetry.NewLogger(&out, "info", "json")
			log.Info("hello", "value", text)
			if got := out.String(); strings.Contains(got, "15061") || !strings.Contains(got, "[person]") {
				t.Errorf("not masked among %d other characters: %s", len(text)-11, strings.ReplaceAll(text, "15061", "*"))
			}
		}
	})
}

// Ids that SFM's support asks for hold eleven digits in a row by chance; so do
// addresses and times, across their signs.
func TestMaskLeavesIDs(t *testing.T) {
	for _, text := range []string{
		"abcdef12345678901abcdef012345678", "trace=ABCDEF12345678901ABCDEF012345678.", "5f3a0001-0000-4000-8000-12345678901a",
		"5f3a0001-0000-4000-8000-123456789012", "192.168.100.10", "2026-11-22 04:55:52.12345", "123456-1234", "123456 123456", "1234567 12345", "12 34 56 78", "1795308173",
	} {
		if got := telemetry.Mask(text); got != text {
			t.Errorf("%q is masked: %q", text, got)
		}
	}
}

// A key, or an address with a password, may stand where none should: it was pasted
// into the wrong variable.
func TestMaskKeys(t *testing.T) {
	const key = "MARKEDkey_0123456789-abcdefghijklmnopqrstuvw"
	for _, text := range []string{
		"-----BEGIN PRIVATE KEY-----\n" + key + "\n-----END PRIVATE KEY-----", "x -----BEGIN EC PRIVATE KEY----- " + key, `"-----BEGIN RSA PRIVATE KEY-----\n` + key + `\n"`,
		`{"kty":"EC","d":"` + key + `","x":"y"}`, `{ "d" : "` + key + `" }`, `{kty:EC,d:` + key + `}`, `"{\"k\":\"` + key + `\"}"`, `{'qi':'` + key + `'}`,
		"user:" + key + "@host:6379", "redis://" + key + "@host/0", "http://user:" + key + "@host", "a=user:" + key + "@host",
	} {
		if got := telemetry.Mask(text); strings.Contains(got, "MARKED") || !strings.Contains(got, "[") {
			t.Errorf("%s stays", strings.ReplaceAll(got, key, "*"))
		}
	}
	for _, text := range []string{`{"kid":"` + key + `"}`, "unix:@sidecar", `d:\programfiles-sidecar`, "https://sfm.example/a@b", "kari@example.org", "-----BEGIN PUBLIC KEY-----" + key} {
		if got := telemetry.Mask(text); got != text {
			t.Errorf("%s is masked: %s", text, got)
		}
	}
}
