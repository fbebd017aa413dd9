package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/selvbetjening"
	"sfm-sidecar/internal/simulator"
)

// machineWorld is a client that speaks for itself to the stand-ins. Its grants do
// not hold client-credentials.
func machineWorld(t *testing.T, env ...string) (*machine, *simulator.Running) {
	t.Helper()
	client, key, err := simulator.NewClient("machine-epj")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.Start(simulator.Options{Clients: []simulator.Client{client}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	cfg, _, err := config.Load(append([]string{
		"HELSEID_ISSUER=" + sim.HelseID, "HELSEID_CLIENT_ID=machine-epj", "HELSEID_CLIENT_JWK=" + string(key), "SFM_UPSTREAMS=basis=" + sim.SFM,
		"BRREG_URL=" + sim.Brreg, "ADRESSEREGISTERET_URL=" + sim.Adresseregisteret, "SELVBETJENING_URL=" + sim.Selvbetjening,
		"HELSEID_RESOURCE=e-helse:sfm.api",
	}, env...))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := clientKeys(cfg.HelseID)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(cfg, ring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m, sim
}

// A HER-id hangs on the organization that its nearest ancestor has; the register is
// asked in bulk, with a token of the client itself, of one kind for all questions.
func TestAddressesAgainstTheStandIn(t *testing.T) {
	for _, api := range []string{"v2", "v1"} {
		m, sim := machineWorld(t, "SFM_API="+api)
		sim.SetKnobs(func(k *simulator.Knobs) { k.Addresses.RequireNonce = true })
		addresses, err := m.addresses()
		if err != nil {
			t.Fatal(err)
		}
		got, err := addresses.Parties(t.Context(), []string{"8190001", "8190002", "8190003", "8190004", "8199999"})
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, id := range []string{"8190001", "8190002", "8190003", "8190004", "8199999"} {
			p, ok := got[id]
			rows = append(rows, fmt.Sprintf("%s %v %s %v %s", id, ok, p.Kind, p.Active, p.Orgnr))
		}
		if diff := cmp.Diff([]string{
			"8190001 true Service true 100100126", "8190002 true Person true 100100126", "8190003 true Organization false 100100126",
			"8190004 true Service true ", "8199999 false  false ",
		}, rows); diff != "" {
			t.Error(api, diff)
		}
		if tokens := granted(sim); tokens != 1 {
			t.Errorf("%s: %d tokens", api, tokens)
		}
	}
}

func granted(sim *simulator.Running) (n int) {
	for _, r := range sim.TokenRequests() {
		if r.Outcome == "granted" {
			n++
		}
	}
	return n
}

func TestBrregAgainstTheStandIn(t *testing.T) {
	m, sim := machineWorld(t)
	b, err := brreg(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		child, parent string
		below         bool
	}{
		{"341000076", "341000041", true}, // ward, department, municipality
		{"999944582", "100100126", true},
		{"999944582", "341000041", false},
		{"341000092", "100100126", false}, // its own superior
	} {
		if below, err := b.Below(t.Context(), test.child, test.parent); below != test.below || err != nil {
			t.Errorf("%s below %s: %v %v", test.child, test.parent, below, err)
		}
	}
	for orgnr, want := range map[string]string{
		"341000017": "{true false true}", "341000025": "{true false true}", "341000033": "{true true false}", "341000041": "{false false true}",
	} {
		u, err := b.Unit(t.Context(), orgnr)
		if got := fmt.Sprint(struct{ Deleted, SubUnit, Top bool }{u.Deleted, u.SubUnit, u.Top()}); got != want || err != nil {
			t.Errorf("%s: %s %v", orgnr, got, err)
		}
	}
	var group sync.WaitGroup
	for n := range 40 {
		group.Go(func() {
			if _, err := b.Unit(t.Context(), fmt.Sprint(341000200+n)); err == nil || !strings.Contains(err.Error(), register.ErrUnknown.Error()) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most := sim.MaxConcurrentRegisterCalls(simulator.RegisterBrreg); most > 4 || len(sim.TokenRequests()) != 0 {
		t.Errorf("%d calls at once, %d token requests", most, len(sim.TokenRequests()))
	}
}

func TestSelvbetjeningAgainstTheStandIn(t *testing.T) {
	m, sim := machineWorld(t)
	api, err := m.selvbetjening()
	if err != nil {
		t.Fatal(err)
	}
	sim.SetKnobs(func(k *simulator.Knobs) {
		k.Selvbetjening.RequireNonce, k.Selvbetjening.OldPathOnly = true, true
	})
	client, err := api.Client(t.Context())
	if err != nil || client.ClientID != "machine-epj" || len(client.Scopes) == 0 || client.Scopes[0].Status != selvbetjening.StatusOK {
		t.Errorf("%+v %v", client, err)
	}
	tenants, err := api.Tenants(t.Context())
	if err != nil || len(tenants) == 0 {
		t.Errorf("%+v %v", tenants, err)
	}
	if tokens := granted(sim); tokens != 1 {
		t.Errorf("%d tokens", tokens)
	}
}

// scripted answers requests in turn.
type scripted struct {
	statuses []int
	bodies   []string
	tokens   []string
}

func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	s.bodies, s.tokens = append(s.bodies, string(body)), append(s.tokens, req.Header.Get("Authorization"))
	status := s.statuses[len(s.bodies)-1]
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// After a 401 there is one more attempt, with another token and the same body, and
// no third.
func TestMachineTransportRepeatsOnce(t *testing.T) {
	m, _ := machineWorld(t)
	for _, test := range []struct {
		statuses []int
		want     int
	}{{[]int{200}, 200}, {[]int{401, 200}, 200}, {[]int{401, 401}, 401}, {[]int{500}, 500}, {[]int{401, 503}, 503}} {
		transport := m.transport(addressScope, addressAudience).(*machineTransport)
		server := &scripted{statuses: test.statuses}
		transport.send = server
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://register.example/", strings.NewReader("[1]"))
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != test.want || len(server.bodies) != len(test.statuses) {
			t.Fatal(test, err, server.bodies)
		}
		for i, body := range server.bodies {
			if body != "[1]" || i > 0 && server.tokens[i] == server.tokens[i-1] {
				t.Errorf("%v: attempt %d had the body %q, the same token %v", test.statuses, i, body, i > 0)
			}
		}
		_ = resp.Body.Close()
	}
}
