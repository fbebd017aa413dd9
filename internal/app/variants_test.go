package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// TestVariants logs in and calls for two tenants under each configuration that
// changes what HelseID or SFM see.
func TestVariants(t *testing.T) {
	tests := map[string]struct {
		setup   setup
		knobs   func(*simulator.Knobs)
		tenants []simulator.Tenant // if nil, the first two
		path    string             // if "", /basis/Task
		header  []string           // added to each call
		machine bool               // nobody logs in
	}{
		"ordinary": {},
		"parent only, bare": {
			setup: setup{env: []string{"HELSEID_PARENT_ONLY_FORM=bare"}},
			knobs: func(k *simulator.Knobs) { k.HelseID.ParentOnlyForm = "bare" },
		},
		"parent only, colon":         {knobs: func(k *simulator.Knobs) { k.HelseID.ParentOnlyForm = "colon" }},
		"authorization_details":      {setup: setup{env: []string{"HELSEID_ASSERTION_CLAIM=authorization_details"}}},
		"resource":                   {setup: setup{env: []string{"HELSEID_RESOURCE=e-helse:sfm.api"}}},
		"refresh tokens not rotated": {knobs: func(k *simulator.Knobs) { k.HelseID.RotationOff = true }},
		"no refresh token repeated": {knobs: func(k *simulator.Knobs) {
			k.HelseID.RotationOff, k.HelseID.OmitRefreshToken = true, true
		}},
		"nonces good once":            {knobs: func(k *simulator.Knobs) { k.HelseID.SingleUseNonce = true }},
		"SFM wants nonces":            {knobs: func(k *simulator.Knobs) { k.SFM.RequireNonce, k.SFM.NonceEvery = true, 1 }},
		"expires_in as text":          {knobs: func(k *simulator.Knobs) { k.HelseID.ExpiresIn = "300" }},
		"clock 90 s behind":           {knobs: func(k *simulator.Knobs) { k.ClockOffset = 90 }},
		"clock 4 min ahead":           {knobs: func(k *simulator.Knobs) { k.ClockOffset = -240 }},
		"log-in parameters":           {setup: setup{env: []string{"HELSEID_LOGIN_PARAMS=ui_locales=nb", "HELSEID_ACR_VALUES=Level4"}}},
		"migration beside the others": {setup: setup{env: []string{"SFM_UPSTREAMS=basis={SFM},migration={SFM}"}}, knobs: func(k *simulator.Knobs) { k.SFM.StrictScopes = true }},
		"one upstream at the root":    {setup: setup{env: []string{"SFM_UPSTREAMS={SFM}"}}, path: "/Task"},
		"base path":                   {setup: setup{env: []string{"SFM_UPSTREAMS=basis={SFM}/api/v2"}}},
		"API v1, Bearer": {
			setup: setup{env: []string{"SFM_API=v1"}, client: func(c *simulator.Client) { c.DPoP = false }},
			knobs: func(k *simulator.Knobs) { k.SFM.Bearer = true },
		},
		"single tenancy": {
			setup: setup{env: []string{"HELSEID_TENANCY=single"}, client: func(c *simulator.Client) {
				c.Tenancy, c.Parent, c.SFMID = simulator.TenancySingle, "100100126", "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"
			}},
			tenants: []simulator.Tenant{
				{Parent: "100100126", Child: "999944582", Journal: "7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35"},
				{Parent: "100100126", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"},
			},
		},
		"client credentials": {
			setup: setup{env: []string{"HELSEID_GRANT=client-credentials", "SIDECAR_CALLER_KEY=synthetic-key"}}, machine: true,
			header: []string{"Sidecar-Key", "synthetic-key"},
		},
		"two grants, the second chosen": {
			setup:   setup{env: []string{"HELSEID_GRANT=user,client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true"}},
			machine: true, header: []string{"Sfm-Grant", "client-credentials"},
		},
		"user of the machine": {setup: setup{env: []string{fmt.Sprintf("SIDECAR_ALLOWED_UIDS=%d", os.Getuid())}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.knobs != nil {
				knobs := simulator.DefaultKnobs()
				tt.knobs(&knobs)
				tt.setup.sim.Knobs = &knobs
			}
			w := newWorld(t, tt.setup)
			handle := ""
			if !tt.machine {
				handle = w.logIn("lege")
			}
			if tt.tenants == nil {
				tt.tenants = simulator.Tenants()[:2]
			}
			if tt.path == "" {
				tt.path = "/basis/Task"
			}
			for i, tenant := range append(tt.tenants, tt.tenants...) {
				a := w.send(w.request(http.MethodGet, tt.path+"?code=8&PatientNiN=marked", "", append(headers(handle, tenant), tt.header...)...))
				if a.status != http.StatusOK {
					t.Fatalf("call %d: %d %s %s", i, a.status, a.header.Get("Sidecar-Error"), a.body)
				}
			}
			checkLedger(t, w, tt.tenants, len(tt.tenants)*2)
		})
	}
}

// checkLedger compares what SFM received with what was asked for.
func checkLedger(t *testing.T, w *world, tenants []simulator.Tenant, calls int) {
	t.Helper()
	accepted := 0
	for _, op := range w.sim.Ledger() {
		if !op.Accepted {
			continue
		}
		want := tenants[accepted%len(tenants)]
		if op.Tenant.Parent != want.Parent || op.Tenant.Child != want.Child || !strings.EqualFold(op.Tenant.Journal, want.Journal) {
			t.Errorf("call %d came for %+v, want %+v", accepted, op.Tenant, want)
		}
		accepted++
		if len(op.Strangers) > 0 {
			t.Errorf("call %d brought headers that are not SFM's business: %v", accepted, op.Strangers)
		}
	}
	if accepted != calls {
		t.Errorf("SFM accepted %d calls, want %d", accepted, calls)
	}
	if n := w.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}

// The client's key can be replaced while the sidecar runs; a file that is no key
// leaves the old one in place.
func TestClientKeyIsTakenUpFromItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "client.jwk")
	old, oldKey, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	next, nextKey, err := simulator.NewClient(clientID)
	if err != nil {
		t.Fatal(err)
	}
	write := func(key []byte) {
		if err := os.WriteFile(file, key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(oldKey)
	w := newWorld(t, setup{
		env:    []string{"HELSEID_CLIENT_JWK=", "HELSEID_CLIENT_JWK_FILE=" + file},
		client: func(c *simulator.Client) { c.JWKS = old.JWKS },
	})
	handle := w.logIn("lege")
	tenants := simulator.Tenants()
	call := func(i int) int {
		return w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenants[i])...)).status
	}
	write([]byte("not a key"))
	if got := call(0); got != http.StatusOK {
		t.Errorf("with a broken file: %d", got)
	}
	client := next
	client.JWKS = []byte(`{"keys":[` + string(old.JWKS) + `,` + string(next.JWKS) + `]}`)
	if err := w.sim.RegisterClient(client); err != nil {
		t.Fatal(err)
	}
	write(nextKey)
	w.awaitLog(t, "took up a new client key")
	client.JWKS = next.JWKS // the old key is gone at HelseID
	if err := w.sim.RegisterClient(client); err != nil {
		t.Fatal(err)
	}
	if got := call(1); got != http.StatusOK {
		t.Errorf("after the change: %d", got)
	}
}

// awaitLog polls the collected log for a line that came after this world began.
func (w *world) awaitLog(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(seen.logged()[w.logFrom:], text) {
		if time.Now().After(deadline) {
			t.Fatalf("the log never said %q", text)
		}
		<-time.After(50 * time.Millisecond)
	}
}
