package simulator

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestBearerKnob(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.Bearer = true })
	bearer := func(method, path string) answer {
		r := e.request(method, path, nil)
		r.Header.Del("DPoP")
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "DPoP", "Bearer", 1))
		return e.send(r)
	}
	if got := bearer("GET", "/Task"); got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), `Bearer error="invalid_token"`) {
		t.Errorf("a bound token as bearer token: %d", got.status)
	}
	e.claims["cnf"] = nil
	if got := bearer("GET", "/Task"); got.status != 403 || !strings.Contains(got.header.Get("WWW-Authenticate"), codeInsufficientScope) {
		t.Errorf("the scope of version 2: %d", got.status)
	}
	e.claims["scope"] = []any{"e-helse:sfm.api/sfm.api"}
	for path, want := range map[string]int{"/Task": 200, "/api/Task": 200, "/v2/Task": 404, "/api/v2/Task": 404} {
		if got := bearer("GET", path); got.status != want {
			t.Errorf("GET %s: %d, want %d", path, got.status, want)
		}
	}
	if got := e.call("GET", "/Task", nil); got.status != 401 || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("DPoP in version 1: %d", got.status)
	}
	if got := bearer("POST", "/api/Session/refresh"); got.status != 404 || e.last().Name != "refreshSession" {
		t.Errorf("Session/refresh of version 1: %d as %s", got.status, e.last().Name)
	}
}

func TestNonceKnobs(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.RequireNonce, k.NonceEvery = true, 2 })
	first := e.call("GET", "/Task", nil)
	nonce := first.header.Get("DPoP-Nonce")
	if first.status != 401 || nonce == "" || !strings.Contains(first.header.Get("WWW-Authenticate"), codeUseNonce) || e.last().WorkDone {
		t.Fatalf("without nonce: %d", first.status)
	}
	e.proof["nonce"] = nonce
	if got := e.mustCall("GET", "/Task", nil); got.header.Get("DPoP-Nonce") != nonce {
		t.Error("the nonce changed too early")
	}
	second := e.mustCall("GET", "/Task", nil).header.Get("DPoP-Nonce")
	if second == nonce || second == "" {
		t.Error("no new nonce after two calls")
	}
	if got := e.call("GET", "/Task", nil); got.status != 401 || got.header.Get("DPoP-Nonce") != second {
		t.Errorf("with the former nonce: %d", got.status)
	}
	e.proof["nonce"] = second
	e.setSFM(func(k *SFMKnobs) { k.NonceEvery, k.NonceKeep = 1, 1 })
	e.mustCall("GET", "/Task", nil)
	e.mustCall("GET", "/Task", nil) // the former one, kept
	if got := e.call("GET", "/Task", nil); got.status != 401 {
		t.Errorf("with the last but two: %d", got.status)
	}
}

func TestStaleNonces(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.RequireNonce, k.StaleNonces = true, 1 })
	e.proof["nonce"] = e.sim.sfm.nonces.newest()
	got := e.call("GET", "/Task", nil)
	if got.status != 401 || got.header.Get("DPoP-Nonce") == e.proof["nonce"] {
		t.Fatalf("status %d", got.status)
	}
	e.proof["nonce"] = got.header.Get("DPoP-Nonce")
	e.mustCall("GET", "/Task", nil)
}

func TestRejectTokens(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.RejectTokens = 2 })
	for i, want := range []int{401, 401, 200} {
		got := e.call("GET", "/Task", nil)
		if got.status != want || (want == 401) != strings.Contains(got.header.Get("WWW-Authenticate"), codeInvalidToken) {
			t.Errorf("call %d: status %d", i, got.status)
		}
	}
	if n := e.sim.knobs().SFM.RejectTokens; n != 0 {
		t.Errorf("%d left", n)
	}
}

// TestCountsHoldUnderConcurrency: a fault for five calls strikes five of fifty.
func TestCountsHoldUnderConcurrency(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) {
		k.RejectTokens, k.Faults = 5, []SFMFault{{Kind: FaultStatus, Status: 503, Count: 5}}
	})
	requests := make([]*http.Request, 50)
	for i := range requests {
		requests[i] = e.request("GET", "/Task", nil)
	}
	var wg sync.WaitGroup
	for _, r := range requests {
		wg.Go(func() {
			if response, err := e.client.Do(r); err == nil {
				response.Body.Close()
			}
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, o := range e.sim.Ledger() {
		count[o.Status]++
	}
	if count[401] != 5 || count[503] != 5 || count[200] != 40 {
		t.Errorf("statuses: %v", count)
	}
}

func TestMachineTokens(t *testing.T) {
	e := newEPJ(t)
	for _, name := range []string{claimPID, claimLevel, claimAssurance} {
		e.claims[name] = nil
	}
	e.mustCall("GET", "/Task", nil)
	if !e.last().Machine {
		t.Error("the ledger does not say that a machine called")
	}
	if got := e.call("GET", "/Organization", nil); got.status != 401 {
		t.Errorf("a machine at /Organization: %d", got.status)
	}
	e.setSFM(func(k *SFMKnobs) { k.MachineTokens = true })
	e.mustCall("GET", "/Organization", nil)
}

func TestStrictScopes(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.StrictScopes = true })
	upload := func() int {
		r := e.request("POST", "/v2/files", nil)
		r.Header.Set("Tus-Resumable", tusVersion)
		r.Header.Set("Upload-Length", "1")
		return e.send(r).status
	}
	if got := upload(); got != 403 {
		t.Errorf("upload under the ordinary scope: %d", got)
	}
	e.claims["scope"] = []any{"e-helse:sfm.api/sfm-migrering.api2"}
	if got := upload(); got != 201 {
		t.Errorf("upload under the migration scope: %d", got)
	}
	if got := e.call("GET", "/Task", nil); got.status != 403 {
		t.Errorf("a task under the migration scope: %d", got.status)
	}
}

func TestSuppliers(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.Suppliers = []string{"987654321"} })
	if got := e.call("GET", "/Task", nil); got.status != 401 {
		t.Errorf("a supplier taken off the list: %d", got.status)
	}
	e.claims[claimSupplier] = "987654321"
	e.mustCall("GET", "/Task", nil)
}

func TestAnswerBytes(t *testing.T) {
	e := newEPJ(t)
	for _, size := range []int{30_000, 3_000_000} {
		e.setSFM(func(k *SFMKnobs) { k.AnswerBytes = size })
		if got := len(e.mustCall("POST", getPath, SampleGetMedication(testPID)).body); got < size*9/10 || got > size+10_000 {
			t.Errorf("%d bytes, asked for %d", got, size)
		}
	}
}

func TestClockOffset(t *testing.T) {
	e := newEPJ(t)
	proof := e.request("GET", "/Task", nil) // made by the old clock
	e.sim.SetKnobs(func(k *Knobs) { k.ClockOffset = 30 })
	if got := e.send(proof); got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), "clock") {
		t.Errorf("a proof 30 s old by SFM's clock: %d", got.status)
	}
	got := e.mustCall("GET", "/Task", nil)
	date, err := http.ParseTime(got.header.Get("Date"))
	if ahead := date.Sub(e.sim.options.Now()).Seconds(); err != nil || ahead < 27 || ahead > 31 {
		t.Errorf("Date is %.0f s ahead (%v), want 30", ahead, err)
	}
}

// A client that follows next from page to page comes to an end.
func TestSearchPages(t *testing.T) {
	e := newEPJ(t)
	if got := e.mustCall("GET", "/Task", nil); strings.Contains(string(got.body), `"next"`) {
		t.Error("a search has a second page unasked")
	}
	e.setSFM(func(k *SFMKnobs) { k.SearchPages = 3 })
	for path, want := range map[string]string{
		"/v2/Task?code=8": "/v2/Task?page=2", "/v2/Task?page=2": "/v2/Task?page=3", "/v2/Task?page=3": "", "/v2/Task?page=x": "/v2/Task?page=2",
	} {
		links, _ := decode(t, e.mustCall("GET", path, nil).body)["link"].([]any)
		next := ""
		for _, l := range links {
			if l := l.(map[string]any); l["relation"] == "next" {
				next = "/" + strings.SplitN(l["url"].(string), "/", 4)[3]
			}
		}
		if next != want {
			t.Errorf("%s leads to %q, want %q", path, next, want)
		}
	}
	if err := (SFMKnobs{SearchPages: -1}).validate(); err == nil {
		t.Error("a search of minus one page")
	}
}
