package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// run carries out a command line with the environment of this world's sidecar.
func (w *world) run(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = app.Run(t.Context(), app.Options{
		Args: args, Environ: append(slices.Clone(w.env), env...), Stdout: &out, Stderr: &complaints, Version: "test",
	})
	seen.keep(complaints.String()) // not the output: a kid is random, and one in thousands looks like a JWT
	return code, out.String(), complaints.String()
}

// keyWorld is a world whose key lies in a file.
func keyWorld(t *testing.T, s setup) (w *world, file string) {
	t.Helper()
	client, key, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "client.jwk")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	change := s.client
	s.client = func(c *simulator.Client) {
		*c = client
		if change != nil {
			change(c)
		}
	}
	s.env = append(s.env, "HELSEID_CLIENT_JWK=", "HELSEID_CLIENT_JWK_FILE="+file)
	w = newWorld(t, s)
	w.env = append(w.env, "SELVBETJENING_URL="+w.sim.Selvbetjening)
	return w, file
}

// A key is rotated under a sidecar that serves, at a HelseID that asks for nonces
// and lets the old key end at once.
func TestRotateWhileServing(t *testing.T) {
	w, file := keyWorld(t, setup{})
	w.sim.SetKnobs(func(k *simulator.Knobs) {
		k.Selvbetjening.RetireOldSecrets, k.Selvbetjening.RequireNonce = true, true
	})
	handle := w.logIn("lege")
	tenants := simulator.Tenants()
	if got := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenants[0])...)).status; got != http.StatusOK {
		t.Fatal(got)
	}
	if strings.Contains(w.metrics(), "client_key_not_after") {
		t.Error("the key's end is shown before it is known")
	}
	code, stdout, stderr := w.run(t, nil, "keys", "rotate", "-o", "json")
	var report struct {
		Signs   string    `json:"signs"`
		Expires time.Time `json:"expires"`
	}
	if code != 0 || json.Unmarshal([]byte(stdout), &report) != nil || report.Signs == "" {
		t.Fatal(code, stdout, stderr)
	}
	eventually(t, "the sidecar takes up the new key", func() bool {
		return w.metric("sfm_sidecar_client_key_not_after_seconds") == float64(report.Expires.Unix())
	})
	if got := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenants[1])...)).status; got != http.StatusOK {
		t.Error("after the change:", got)
	}
	if content, _ := os.ReadFile(file); strings.Contains(stdout+stderr, `"d"`) || !bytes.Contains(content, []byte(report.Signs)) {
		t.Error("the private key is shown, or not kept")
	}
}

func TestKeysFail(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w, file := keyWorld(t, setup{})
	jwk, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inPEM := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	locked := write("locked.jwk", jwk)
	if err := os.Mkdir(locked+".lock", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"key in the environment":  {[]string{"HELSEID_CLIENT_JWK=" + string(jwk), "HELSEID_CLIENT_JWK_FILE="}, []string{"keys", "rotate"}, 2, "HELSEID_CLIENT_JWK_FILE instead"},
		"PEM":                     {[]string{"HELSEID_CLIENT_JWK_FILE=" + inPEM}, []string{"keys", "rotate"}, 2, "sidecar keygen"},
		"a folder like a Secret":  {[]string{"HELSEID_CLIENT_JWK_FILE=" + locked}, []string{"keys", "rotate"}, 2, "Kubernetes Secret"},
		"pruning needs it too":    {[]string{"HELSEID_CLIENT_JWK_FILE=" + locked}, []string{"keys", "rotate", "-prune"}, 2, "Kubernetes Secret"},
		"no address":              {[]string{"SELVBETJENING_URL="}, []string{"keys", "list"}, 2, "SELVBETJENING_URL"},
		"bad configuration":       {[]string{"SFM_API=v9"}, []string{"keys", "list"}, 2, "SFM_API"},
		"unreachable":             {[]string{"SELVBETJENING_URL=http://127.0.0.1:1"}, []string{"keys", "list"}, 1, "hint: check SELVBETJENING_URL"},
		"another's path":          {[]string{"SELVBETJENING_URL=" + w.sim.HelseID + "/nowhere"}, []string{"keys", "rotate"}, 1, "no such address"},
		"nothing":                 {nil, []string{"keys"}, 2, "usage"},
		"unknown word":            {nil, []string{"keys", "forget"}, 2, "usage"},
		"too many":                {nil, []string{"keys", "list", "x"}, 2, "usage"},
		"list with another's key": {[]string{"HELSEID_CLIENT_JWK_FILE=" + inPEM}, []string{"keys", "list"}, 1, "no token"},
	} {
		code, stdout, stderr := w.run(t, test.env, test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("%s: code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	if now, _ := os.ReadFile(file); !bytes.Equal(now, jwk) {
		t.Error("the key file was changed")
	}
	// Keys that stand in the environment, or in a file that can't be changed, are
	// listed all the same.
	for _, env := range [][]string{{"HELSEID_CLIENT_JWK=" + string(jwk), "HELSEID_CLIENT_JWK_FILE="}, {"HELSEID_CLIENT_JWK_FILE=" + locked}} {
		code, stdout, stderr := w.run(t, env, "keys", "list")
		if code != 0 || !strings.Contains(stdout, "signs  registered (Gui)") {
			t.Error(code, stdout, stderr)
		}
	}
}

// What others call a key must not act on the terminal.
func TestKeysListIsSafe(t *testing.T) {
	w, _ := keyWorld(t, setup{client: func(c *simulator.Client) {
		other, _, err := simulator.NewClient("other")
		if err != nil {
			t.Fatal(err)
		}
		var jwk map[string]any
		if err := json.Unmarshal(other.JWKS, &jwk); err != nil {
			t.Fatal(err)
		}
		jwk["kid"] = "\x1b[2J\u202e\u009b\nfake\tsigns"
		stranger, err := json.Marshal(jwk)
		if err != nil {
			t.Fatal(err)
		}
		c.JWKS = json.RawMessage(`{"keys":[` + string(c.JWKS) + "," + string(stranger) + "]}")
	}})
	code, stdout, stderr := w.run(t, nil, "keys", "list")
	if code != 0 || stderr != "" || strings.ContainsAny(stdout, "\x1b\u202e\u009b\t") || strings.Contains(stdout, "\nfake") || !strings.Contains(stdout, "fake") {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}

// A client without the scope is told which one it lacks.
func TestKeysWithoutScope(t *testing.T) {
	w, _ := keyWorld(t, setup{client: func(c *simulator.Client) {
		c.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return strings.HasPrefix(s, "nhn:selvbetjening") })
	}})
	code, _, stderr := w.run(t, nil, "keys", "list")
	if code != 1 || !strings.Contains(stderr, "no token") || !strings.Contains(stderr, "hint: ") {
		t.Error(code, stderr)
	}
}

// Without HelseID's list nothing is begun, and so nothing is left behind.
func TestRotateWithoutList(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"refused once": {Status: 500, Count: 1, Path: "/v1/client-secret"},
		"refused":      {Status: 500, Count: 99, Path: "/v1/client-secret"},
	} {
		w, file := keyWorld(t, setup{})
		w.sim.SetKnobs(func(k *simulator.Knobs) { k.Selvbetjening.Fault = fault })
		before, _ := os.ReadFile(file)
		code, _, stderr := w.run(t, nil, "keys", "rotate")
		after, _ := os.ReadFile(file)
		if code != 1 || !bytes.Equal(before, after) || !strings.Contains(stderr, "try again later") {
			t.Error(name, code, stderr)
		}
		w.sim.SetKnobs(func(k *simulator.Knobs) { k.Selvbetjening.Fault = simulator.Fault{} })
		if code, _, stderr := w.run(t, nil, "keys", "rotate"); code != 0 {
			t.Error(name, "afterwards:", stderr)
		}
	}
}
