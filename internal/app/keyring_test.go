package app_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// restart ends the sidecar in order and starts another one, with variables that
// win over those before.
func (w *world) restart(env ...string) {
	w.t.Helper()
	w.client.CloseIdleConnections()
	w.stop()
	if err := w.sidecar.Wait(); err != nil {
		w.t.Fatal(err)
	}
	w.start(append(w.env, env...))
}

// dpopKeys counts the keys of the tokens that SFM accepted.
func (w *world) dpopKeys() int {
	keys := make(map[any]bool)
	for _, seen := range w.sim.Seen() {
		if cnf, ok := seen.TokenClaims["cnf"].(map[string]any); ok {
			keys[cnf["jkt"]] = true
		}
	}
	return len(keys)
}

// A log-in outlives the sidecar where that is asked for, and only as long as it
// fits the configuration.
func TestKeyringOutlivesTheSidecar(t *testing.T) {
	tests := map[string]struct {
		between []string // what is configured differently at the restart
		code    string   // of the call after it; "" = SFM answers
		keys    int
	}{
		"the same":             {keys: 1},
		"back in memory":       {between: []string{"SIDECAR_SESSION_STORE=memory"}, code: "session-unknown", keys: 2},
		"another scope":        {between: []string{"SFM_UPSTREAMS=basis={SFM},migration={SFM}"}, code: "session-unknown", keys: 2},
		"another listener":     {between: []string{"SIDECAR_LISTEN=localhost:0"}, code: "session-unknown", keys: 2},
		"what does not matter": {between: []string{"SIDECAR_CACHE_ENTRIES=7"}, keys: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { // one after the other: the stand-in for the key store is the process's
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
			keyring.MockInit()
			w := newWorld(t, setup{env: []string{"SIDECAR_SESSION_STORE=keyring"}})
			handle := w.logIn("lege")
			pending, _ := w.begin("{}")
			w.wantCode(w.call(handle, 0), "")
			w.wantCode(w.call(handle, 1), "")
			w.restart(expand(tt.between, w.sim)...)
			w.wantCode(w.call(handle, 0), tt.code)
			w.wantCode(w.call(pending, 0), "session-unknown")
			if tt.code == "" {
				if state, _ := w.state(handle, ""); state != "active" {
					t.Errorf("state %s", state)
				}
				if sessions := w.metric("sfm_sidecar_sessions"); sessions != 1 {
					t.Errorf("%v sessions are counted", sessions)
				}
			} else {
				w.wantCode(w.call(w.logIn("lege"), 0), "")
			}
			if keys, reuses := w.dpopKeys(), w.sim.Reuses(); keys != tt.keys || reuses != 0 {
				t.Errorf("%d DPoP keys, %d refresh tokens used twice", keys, reuses)
			}
		})
	}
}

// Bearer tokens need no DPoP key, and sessions live on all the same.
func TestKeyringWithoutDPoP(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	keyring.MockInit()
	knobs := simulator.DefaultKnobs()
	knobs.SFM.Bearer = true
	w := newWorld(t, setup{
		env:    []string{"SIDECAR_SESSION_STORE=keyring", "SFM_API=v1"},
		client: func(c *simulator.Client) { c.DPoP = false }, sim: simulator.Options{Knobs: &knobs},
	})
	handle := w.logIn("lege")
	w.restart()
	w.wantCode(w.call(handle, 0), "")
}

// A key store that does not answer is told like every other fault, before any
// call is taken.
func TestKeyringThatIsNotThere(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	keyring.MockInitWithError(errors.New("locked"))
	_, key, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	code := app.Run(t.Context(), app.Options{Stderr: &stderr, Environ: []string{
		"HELSEID_ISSUER=http://127.0.0.1:1", "HELSEID_CLIENT_ID=" + clientID, "HELSEID_CLIENT_JWK=" + string(key),
		"SFM_UPSTREAMS=http://127.0.0.1:1", "SIDECAR_LISTEN=127.0.0.1:0", "SIDECAR_ADMIN_LISTEN=127.0.0.1:0",
		"SIDECAR_SESSION_STORE=keyring", "LOG_LEVEL=error",
	}})
	said := stderr.String()
	if code != 2 || !strings.Contains(said, "SIDECAR_SESSION_STORE: ") || !strings.Contains(said, "locked") || !strings.Contains(said, "unset it") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if strings.Contains(said, string(key)) {
		t.Error("the client's key shows")
	}
}
