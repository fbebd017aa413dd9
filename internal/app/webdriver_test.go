package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A small client of the WebDriver protocol (W3C WebDriver 2), as far as these
// tests need it. It speaks to chromedriver, which starts the browser.

// driver is a chromedriver that runs for one test.
type driver struct {
	t    testing.TB
	base string
	// chromium is the browser's program.
	chromium string
}

// startDriver starts chromedriver at a free port of its own choice. Where there
// is no browser the test is skipped: "make test" installs one where it can.
func startDriver(t testing.TB) *driver {
	t.Helper()
	program, err := exec.LookPath("chromedriver")
	chromium, missing := exec.LookPath("chromium")
	if err = errors.Join(err, missing); err != nil {
		t.Skipf("no browser to test with; install chromium and chromedriver: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, "--port=0")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 5 * time.Second
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	port, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		readPort(stdout, port)
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		_ = command.Wait() // it was told to end; how it does is no matter
	})
	select {
	case p, ok := <-port:
		if !ok {
			t.Fatal("chromedriver ended at once")
		}
		return &driver{t: t, base: "http://127.0.0.1:" + p, chromium: chromium}
	case <-time.After(30 * time.Second):
		t.Fatal("chromedriver does not start")
	}
	return nil
}

var startedOn = regexp.MustCompile(`started successfully on port (\d+)`)

// readPort sends the port that chromedriver prints, and reads on to its end, so
// that it never waits for its reader.
func readPort(output io.Reader, port chan<- string) {
	defer close(port)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if found := startedOn.FindStringSubmatch(lines.Text()); found != nil {
			port <- found[1]
		}
	}
}

// chrome is one browser with a fresh profile.
type chrome struct {
	d       *driver
	session string
}

// chromeFlags keep the browser without a screen, and from doing anything that
// nobody asked for.
var chromeFlags = []string{
	"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-default-browser-check", "--disable-default-apps",
	"--window-size=1000,760", "--hide-scrollbars",
}

// chromeOptions is what a test wants of its browser.
type chromeOptions struct {
	language string // of Accept-Language
	noScript bool
}

// browser starts one; it ends with the test.
func (d *driver) browser(t testing.TB, o chromeOptions) *chrome {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium-profile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // after the browser has ended; a late file of it is no matter
	prefs := map[string]any{}
	if o.noScript {
		prefs["profile.managed_default_content_settings.javascript"] = 2
	}
	c := &chrome{d: d}
	var made struct {
		SessionID string `json:"sessionId"`
	}
	c.must(t, http.MethodPost, "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome",
		"timeouts":    map[string]any{"pageLoad": 30_000, "implicit": 10_000},
		"goog:chromeOptions": map[string]any{
			"binary": d.chromium, "prefs": prefs,
			"args": append([]string{"--user-data-dir=" + profile, "--lang=" + o.language, "--accept-lang=" + o.language}, chromeFlags...),
		},
		"goog:loggingPrefs": map[string]any{"browser": "ALL"},
	}}}, &made)
	c.session = made.SessionID
	t.Cleanup(func() { _ = c.call(http.MethodDelete, "/session/"+c.session, nil, nil) })
	return c
}

// call sends a command. No failure quotes what was sent: addresses hold one-time
// values.
func (c *chrome) call(method, path string, body, result any) error {
	var payload io.Reader
	if method == http.MethodPost {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.d.base+path, payload)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var fault struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(answer.Value, &fault) // the status says enough
		return fmt.Errorf("chromedriver: %d %s", resp.StatusCode, fault.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, result)
}

func (c *chrome) must(t testing.TB, method, path string, body, result any) {
	t.Helper()
	if err := c.call(method, path, body, result); err != nil {
		t.Fatal(err)
	}
}

// do is a command within the session.
func (c *chrome) do(t testing.TB, command string, body, result any) {
	t.Helper()
	c.must(t, http.MethodPost, "/session/"+c.session+"/"+command, body, result)
}

func (c *chrome) get(t testing.TB, what string) (text string) {
	t.Helper()
	c.must(t, http.MethodGet, "/session/"+c.session+"/"+what, nil, &text)
	return text
}

// open goes to an address and returns when the page there has loaded.
func (c *chrome) open(t testing.TB, address string) {
	t.Helper()
	c.do(t, "url", map[string]string{"url": address}, nil)
}

// element finds one by a CSS selector.
func (c *chrome) element(t testing.TB, selector string) string {
	t.Helper()
	var found map[string]string
	c.do(t, "element", map[string]string{"using": "css selector", "value": selector}, &found)
	for _, id := range found {
		return id
	}
	t.Fatal("nothing found")
	return ""
}

func (c *chrome) click(t testing.TB, selector string) {
	t.Helper()
	c.do(t, "element/"+c.element(t, selector)+"/click", map[string]any{}, nil)
}

func (c *chrome) text(t testing.TB, selector string) string {
	t.Helper()
	return c.get(t, "element/"+c.element(t, selector)+"/text")
}

func (c *chrome) css(t testing.TB, selector, property string) string {
	t.Helper()
	return c.get(t, "element/"+c.element(t, selector)+"/css/"+property)
}

// devtools sends a command of the Chrome DevTools protocol.
func (c *chrome) devtools(t testing.TB, command string, parameters, result any) {
	t.Helper()
	c.do(t, "goog/cdp/execute", map[string]any{"cmd": command, "params": parameters}, result)
}

// scheme makes the browser prefer "dark" or "light".
func (c *chrome) scheme(t testing.TB, value string) {
	t.Helper()
	c.devtools(t, "Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": value}},
	}, nil)
}

// accessible lists what a screen reader is told of the page, as "role: name".
func (c *chrome) accessible(t testing.TB) []string {
	t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value string }
		}
	}
	c.devtools(t, "Accessibility.getFullAXTree", map[string]any{}, &tree)
	var told []string
	for _, n := range tree.Nodes {
		if !n.Ignored {
			told = append(told, n.Role.Value+": "+n.Name.Value)
		}
	}
	return told
}

// violations are the lines of the browser's log that speak of a security policy,
// with all addresses cut off.
func (c *chrome) violations(t testing.TB) []string {
	t.Helper()
	var entries []struct{ Message string }
	c.do(t, "se/log", map[string]string{"type": "browser"}, &entries)
	var found []string
	for _, e := range entries {
		if strings.Contains(e.Message, "Content Security Policy") || strings.Contains(e.Message, "CSP") {
			_, said, _ := strings.Cut(e.Message, " ")
			found = append(found, said)
		}
	}
	return found
}

// screenshot keeps a picture of the page among the test's artefacts.
func (c *chrome) screenshot(t testing.TB, name string) {
	t.Helper()
	picture, err := base64.StdEncoding.DecodeString(c.get(t, "screenshot"))
	if err != nil {
		t.Fatal(err)
	}
	folder := os.Getenv("TEST_ARTIFACTS")
	if folder == "" {
		folder = t.ArtifactDir()
	}
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644)); err != nil {
		t.Fatal(err)
	}
}
