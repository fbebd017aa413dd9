package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Any program may listen where no sidecar runs: it gets the caller key from nobody
// who has not said so.
func TestSupportBundleKeepsTheKey(t *testing.T) {
	t.Parallel()
	keys := make(chan string, 4)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Sidecar-Key")
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	t.Cleanup(other.Close)
	w := newWorld(t, setup{})
	env := []string{"SIDECAR_ADMIN_LISTEN=" + other.Listener.Addr().String(), "SIDECAR_CALLER_KEY=the-key-of-this-test"}
	for _, c := range []struct {
		key  string
		args []string
	}{{"", nil}, {"the-key-of-this-test", []string{"--with-key"}}} {
		code, _, stderr := w.run(t, env, append([]string{"support-bundle", "-o", "-"}, c.args...)...)
		if got := <-keys; code != 0 || got != c.key || !strings.Contains(stderr, "it answers 307") {
			t.Errorf("%q: exit %d, the other program got %q, %q", c.args, code, got, stderr)
		}
	}
}

// What was pasted into the wrong variable is in no file of the bundle.
func TestSupportBundleHidesKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	key := strings.Repeat("MARKED-k3y_", 4)
	for _, value := range []string{
		`{"kty":"EC","d":"` + key + `"}`, "{kty:EC,d:" + key + "}", "-----BEGIN PRIVATE KEY-----\n" + key + "\n-----END PRIVATE KEY-----", "user:" + key + "@host",
	} {
		env := []string{"SIDECAR_ADMIN_LISTEN=127.0.0.1:1"}
		for _, name := range []string{"HELSEID_CLIENT_ID", "HELSEID_RESOURCE", "HELSEID_LOGIN_PARAMS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "TENANTS_FILE", "SIDECAR_LISTEN"} {
			env = append(env, name+"="+value)
		}
		code, stdout, stderr := w.run(t, env, "support-bundle", "-o", "-")
		if code != 0 || strings.Contains(stderr, "MARKED") {
			t.Fatalf("exit %d", code)
		}
		for name, text := range unzip(t, []byte(stdout)) {
			if strings.Contains(text, "MARKED") {
				t.Errorf("%s holds the key of %s", name, strings.ReplaceAll(value, key, "…"))
			}
		}
	}
}
