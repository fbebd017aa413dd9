package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var freePorts = []string{"-helseid", "127.0.0.1:0", "-sfm", "127.0.0.1:0"}

// TestServesUntilTold makes a client, reads the lines for the sidecar, asks
// both stand-ins, and stops.
func TestServesUntilTold(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "client.jwk")
	if err := os.WriteFile(keyFile, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	journals := filepath.Join(t.TempDir(), "journals.json")
	if err := os.WriteFile(journals, []byte(`[{"ids":["7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"],"organizations":[{"orgnr":"100100126","name":"Syntetisk kommune","her_id":"8001","active":true}]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan int)
	go func() {
		code := run(ctx, append(freePorts, "-write-client-jwk", keyFile, "-client-id", "test-epj", "-journals", journals, "-strict-journals"), streams{out: write, err: io.Discard})
		write.Close()
		done <- code
	}()
	lines := map[string]string{}
	scanner := bufio.NewScanner(read)
	for range 11 {
		if !scanner.Scan() {
			t.Fatal("too few lines")
		}
		if name, value, ok := strings.Cut(strings.TrimPrefix(scanner.Text(), "export "), "="); ok && !strings.HasPrefix(name, "#") {
			lines[name] = value
		}
	}
	if lines["HELSEID_CLIENT_ID"] != "test-epj" || lines["HELSEID_CLIENT_JWK_FILE"] != keyFile || !strings.HasPrefix(lines["SFM_UPSTREAMS"], "basis=http://127.0.0.1:") {
		t.Error("the lines for the sidecar are wrong")
	}
	for name, path := range map[string]string{"BRREG_URL": "/brreg", "ADRESSEREGISTERET_URL": "/adresseregisteret", "SELVBETJENING_URL": "/selvbetjening"} {
		if lines[name] != lines["HELSEID_ISSUER"]+path {
			t.Errorf("%s is %q", name, lines[name])
		}
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	got, err := client.Get(lines["HELSEID_ISSUER"] + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	for name, want := range map[string]string{"journals": `"orgnr": "100100126"`, "rf": `"her_id": "8001"`, "knobs": `"strict_journals": true`} {
		if told := get(t, client, lines["HELSEID_ISSUER"]+"/_simulator/"+name); !strings.Contains(told, want) {
			t.Errorf("%s: %s", name, told)
		}
	}
	checkPrivateFile(t, keyFile)
	stop()
	if code := <-done; code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	got, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	content, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func checkPrivateFile(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v, want 0600", info.Mode().Perm())
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]string
	if err := json.Unmarshal(content, &jwk); err != nil || jwk["d"] == "" {
		t.Error("the key file holds no private JWK")
	}
}

func TestRefusals(t *testing.T) {
	directory := t.TempDir()
	private := filepath.Join(directory, "private.jwk")
	if _, _, err := makeClient(flags{clientID: "x", writeJWK: private}); err != nil {
		t.Fatal(err)
	}
	circle, broken := filepath.Join(directory, "circle.json"), filepath.Join(directory, "broken.json")
	for name, content := range map[string]string{
		circle: `[{"ids":["7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"],"organizations":[{"orgnr":"100100126","part_of":"100100126"}]}]`,
		broken: "[\n{\"id\":1}]",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct {
		args  []string
		code  int
		about string
	}{
		"nothing":          {nil, exitUsage, "give one of"},
		"both":             {[]string{"-client-jwk", "a", "-write-client-jwk", "b"}, exitUsage, "give one of"},
		"unknown flag":     {[]string{"-x"}, exitUsage, "-x"},
		"argument":         {[]string{"-client-jwk", "a", "b"}, exitUsage, `"b"`},
		"not loopback":     {[]string{"-client-jwk", "a", "-sfm", "0.0.0.0:1"}, exitUsage, "not loopback"},
		"any address":      {[]string{"-client-jwk", "a", "-helseid", ":1"}, exitUsage, "not loopback"},
		"no port":          {[]string{"-client-jwk", "a", "-helseid", "localhost"}, exitUsage, "host:port"},
		"missing key file": {append(freePorts, "-client-jwk", filepath.Join(directory, "none")), exitFailed, "reading the client's public key"},
		"private key":      {append(freePorts, "-client-jwk", private), exitFailed, "private member"},
		"no such folder":   {append(freePorts, "-write-client-jwk", filepath.Join(directory, "none", "k")), exitFailed, "writing the key file"},
		"no journals":      {append(freePorts, "-write-client-jwk", filepath.Join(directory, "k"), "-journals", filepath.Join(directory, "none")), exitFailed, "opening the journals"},
		"broken journals":  {append(freePorts, "-write-client-jwk", filepath.Join(directory, "k"), "-journals", broken), exitFailed, "line 2"},
		"H2 journals":      {append(freePorts, "-write-client-jwk", filepath.Join(directory, "k"), "-journals", circle), exitFailed, "H2"},
		"EPJ's argument":   {[]string{"epj", "x"}, exitUsage, `"x"`},
		"EPJ's flag":       {[]string{"epj", "-x"}, exitUsage, "-x"},
		"EPJ's help":       {[]string{"epj", "-h"}, exitDone, "-person"},
		"no sidecar":       {[]string{"epj", "-sidecar", "http://127.0.0.1:1"}, exitFailed, "logging in"},
		"nothing to probe": {[]string{"probe", "-helseid", "127.0.0.1:1"}, exitFailed, "127.0.0.1:1"},
		"probe's argument": {[]string{"probe", "x"}, exitUsage, `"x"`},
		"help":             {[]string{"-h"}, exitDone, "-write-client-jwk"},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			if code := run(t.Context(), row.args, streams{out: io.Discard, err: &said}); code != row.code || !strings.Contains(said.String(), row.about) {
				t.Errorf("exit code %d, want %d and something about %q", code, row.code, row.about)
			}
		})
	}
}
