package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// sfmSession opens an SFM session for a tenant.
func (w *world) sfmSession(handle string, t simulator.Tenant) {
	w.t.Helper()
	w.wantStep(handle, t, "create", `{"nonce":"`+strings.Repeat("A", 86)+`=="}`)
}

// wantStep makes a call for an SFM session that SFM must answer well.
func (w *world) wantStep(handle string, t simulator.Tenant, step, body string) {
	w.t.Helper()
	a := w.send(w.request(http.MethodPost, "/session/api/v2/Session/"+step, body,
		append(headers(handle, t), "Content-Type", "application/json")...))
	if a.status != http.StatusOK && a.status != http.StatusNoContent {
		w.t.Fatalf("Session/%s: %d %s", step, a.status, a.header.Get("Sidecar-Error"))
	}
}

// sfmStates are the states that the EPJ is told, by the tenant's parent.
func (w *world) sfmStates(handle string) map[string]string {
	w.t.Helper()
	a := w.send(w.request(http.MethodGet, "/_sidecar/session", "", "Sfm-Session", handle))
	var v struct {
		SFM []struct {
			Tenant simulator.Tenant `json:"tenant"`
			State  string           `json:"state"`
			Since  time.Time        `json:"since"`
		} `json:"sfm_sessions"`
	}
	if err := json.Unmarshal(a.body, &v); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("asking for the session: %d %v", a.status, err)
	}
	states := make(map[string]string)
	for _, s := range v.SFM {
		if s.Since.IsZero() || s.Tenant.Journal == "" {
			w.t.Errorf("an SFM session without tenant or since: %+v", s)
		}
		states[s.Tenant.Parent] = s.State
	}
	return states
}

// atSFM is the SFM session of a parent, as SFM has it.
func (w *world) atSFM(parent string) simulator.SFMSession {
	w.t.Helper()
	for _, s := range w.sim.SFMSessions() {
		if s.Parent == parent {
			return s
		}
	}
	w.t.Fatal("SFM has no such session")
	return simulator.SFMSession{}
}

// shortLived is a world whose access tokens live so many seconds.
func shortLived(t *testing.T, seconds int, env ...string) *world {
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.AccessTokenSeconds = seconds
	knobs.SFM.BindSessionKey = true
	return newWorld(t, setup{env: env, sim: simulator.Options{Knobs: &knobs}})
}

func failSteps(faults ...simulator.SFMFault) func(*simulator.Knobs) {
	return func(k *simulator.Knobs) { k.SFM.Faults = faults }
}

// A person works in SFM's own pages and makes no calls: the SFM session goes on, each
// refresh with a new token and the same key, and ends when the EPJ ends it.
func TestSFMSessionOutlivesItsToken(t *testing.T) {
	t.Parallel()
	const life = 8 * time.Second
	w := shortLived(t, int(life/time.Second))
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.RequireNonce, k.SFM.NonceEvery = true, 2 })
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	w.sfmSession(handle, tenant)
	begun := time.Now()
	eventually(t, "three new tokens", func() bool { return w.atSFM(tenant.Parent).NewTokens >= 3 })
	if took := time.Since(begun); took < 3*life/2 {
		t.Errorf("three tokens of %v within %v", life, took)
	}
	s := w.atSFM(tenant.Parent)
	if s.State != simulator.SFMSessionOpen || s.Refreshes != s.NewTokens {
		t.Errorf("%s after %d refreshes, of them %d with a new token", s.State, s.Refreshes, s.NewTokens)
	}
	if states := w.sfmStates(handle); states[tenant.Parent] != "open" {
		t.Errorf("the EPJ is told %v", states)
	}
	if n := w.metric(`sfm_sidecar_sfm_sessions{state="open"}`); n != 1 {
		t.Errorf("%v sessions are counted open", n)
	}
	for _, op := range w.sim.Ledger() {
		if op.Name == "refreshSession" && op.Status == http.StatusNoContent &&
			(op.Path != "/api/v2/Session/refresh" || op.BodyLength != 0 || op.Tenant != folded(tenant) || len(op.Strangers) > 0) {
			t.Errorf("refreshed by %+v", op)
		}
	}

	w.wantStep(handle, tenant, "end", "")
	if states := w.sfmStates(handle); len(states) != 0 {
		t.Errorf("after the end the EPJ is told %v", states)
	}
	w.sim.ResetLedger()
	time.Sleep(life) // stands for a life in which nothing may happen
	if ops := w.sim.Ledger(); len(ops) != 0 {
		t.Errorf("%d calls after the end, the first %s", len(ops), ops[0].Name)
	}
	if n := w.metric(`sfm_sidecar_sfm_session_refreshes_total{outcome="refreshed"}`); n < 3 {
		t.Errorf("%v refreshes are counted", n)
	}
}

func folded(t simulator.Tenant) simulator.Tenant {
	t.Journal = strings.ToLower(t.Journal)
	return t
}

// SFM refuses to go on: it is tried again while the old token lives, then told.
func TestSFMSessionLost(t *testing.T) {
	t.Parallel()
	w := shortLived(t, 10)
	handle, tenants := w.logIn("lege"), simulator.Tenants()
	w.sim.SetKnobs(failSteps(simulator.SFMFault{Kind: simulator.FaultStatus, Path: "/Session/refresh"}))
	w.sfmSession(handle, tenants[0])
	eventually(t, "the loss", func() bool { return w.sfmStates(handle)[tenants[0].Parent] == "lost" })
	if lost, open := w.metric(`sfm_sidecar_sfm_sessions{state="lost"}`), w.metric(`sfm_sidecar_sfm_sessions{state="open"}`); lost != 1 || open != 0 {
		t.Errorf("%v lost, %v open are counted", lost, open)
	}
	if n := w.metric(`sfm_sidecar_sfm_session_refreshes_total{outcome="failed"}`); n < 2 {
		t.Errorf("it was tried %v times", n)
	}
	if n := w.metric(`sfm_sidecar_sfm_session_refreshes_total{outcome="lost"}`); n != 1 {
		t.Errorf("%v losses are counted", n)
	}
	if !strings.Contains(seen.logged(), "an SFM session is lost") {
		t.Error("the log does not tell of it")
	}
	w.wantCode(w.call(handle, 0), "") // the person's session goes on
	w.sim.SetKnobs(failSteps())
	w.sfmSession(handle, tenants[0])
	if states := w.sfmStates(handle); states[tenants[0].Parent] != "open" {
		t.Errorf("after another create the EPJ is told %v", states)
	}
}

// A refresh that fails in passing costs nothing; a token that SFM calls invalid is
// replaced.
func TestSFMSessionSurvivesAFailure(t *testing.T) {
	t.Parallel()
	w := shortLived(t, 20) // four seconds for the tries
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	w.sim.SetKnobs(failSteps(simulator.SFMFault{Kind: simulator.FaultReset, Path: "/Session/refresh", Count: 1}))
	w.sfmSession(handle, tenant)
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.RejectTokens = 1 })
	eventually(t, "a new token", func() bool { return w.atSFM(tenant.Parent).NewTokens == 1 })
	if s := w.atSFM(tenant.Parent); s.State != simulator.SFMSessionOpen {
		t.Errorf("the session is %s", s.State)
	}
	var refused, taken simulator.Operation
	for _, op := range w.sim.Ledger() {
		switch {
		case op.Name == "refreshSession" && !op.Accepted:
			refused = op
		case op.Name == "refreshSession" && op.Status == http.StatusNoContent:
			taken = op
		}
	}
	if refused.TokenHash == "" || refused.TokenHash == taken.TokenHash {
		t.Error("the token that SFM called invalid was sent again")
	}
}

// A person's session that ends for any other reason takes its SFM sessions along.
func TestSFMSessionEndsWithThePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle := w.logIn("lege")
	w.sfmSession(handle, simulator.Tenants()[0])
	w.sim.SetKnobs(claim("helseid://claims/identity/pid", simulator.Persons()[1].PID))
	w.wantCode(w.call(handle, 1), "token-mismatch")
	if n := w.metric(`sfm_sidecar_sfm_sessions{state="open"}`); n != 0 {
		t.Errorf("%v sessions are kept for nobody", n)
	}
}

// SFM gets a new token as soon as there is one, so that there is time for another try.
// (Without being told, it would be found more than a second later.)
func TestSFMSessionIsRefreshedAtOnce(t *testing.T) {
	t.Parallel()
	w := shortLived(t, 12)
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	w.sfmSession(handle, tenant)
	for try := 1; try <= 3; try++ { // a machine that stands still once is not the sidecar's fault
		var renewed time.Time
		eventually(t, "the renewal", func() bool {
			renewed = time.Now()
			return w.metric(`sfm_sidecar_token_cache_total{result="renewed"}`) >= float64(try)
		})
		eventually(t, "the refresh", func() bool { return w.atSFM(tenant.Parent).NewTokens >= try })
		took := time.Since(renewed)
		if took <= time.Second {
			return
		}
		t.Logf("SFM got its token %v after the renewal", took)
	}
	t.Error("SFM gets its tokens late")
}

// Switched off, nothing is refreshed, and the EPJ sees what became of it.
func TestSFMSessionNotKept(t *testing.T) {
	t.Parallel()
	w := shortLived(t, 3, "SFM_SESSION_KEEPALIVE=false")
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	w.sfmSession(handle, tenant)
	eventually(t, "the loss", func() bool { return w.sfmStates(handle)[tenant.Parent] == "lost" })
	eventually(t, "the end at SFM", func() bool { return w.atSFM(tenant.Parent).State == simulator.SFMSessionExpired })
	if s := w.atSFM(tenant.Parent); s.Refreshes != 0 {
		t.Errorf("%d refreshes", s.Refreshes)
	}
}

// Keep-alive is no use of the session: an idle one ends, and with it the keeping.
func TestSFMSessionDoesNotKeepAnIdleSession(t *testing.T) {
	t.Parallel()
	w := shortLived(t, 4, "SIDECAR_SESSION_IDLE=9s")
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	w.sfmSession(handle, tenant)
	eventually(t, "the end of the SFM session", func() bool { return w.atSFM(tenant.Parent).State == simulator.SFMSessionExpired })
	if n := w.atSFM(tenant.Parent).NewTokens; n < 1 || n > 4 {
		t.Errorf("it was refreshed %d times", n)
	}
	eventually(t, "the end of the keeping", func() bool { return w.metric(`sfm_sidecar_sfm_sessions{state="open"}`) == 0 })
	if state, _ := w.state(handle, ""); state != "expired" {
		t.Errorf("the session is %s", state)
	}
}

// logOut ends the person's session and returns what could not be done.
func (w *world) logOut(handle string) []string {
	w.t.Helper()
	a := w.send(w.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handle))
	var end struct {
		Undone []string `json:"undone"`
	}
	if err := json.Unmarshal(a.body, &end); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("logging out: %d %v", a.status, err)
	}
	seen.keep(string(a.body))
	return end.Undone
}

// Log-out ends each SFM session of the person with its own tenant's token; those of
// others go on.
func TestLogOutEndsSFMSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	handle, other, tenants := w.logIn("lege"), w.logIn("vikar"), simulator.Tenants()[:3]
	for _, tenant := range tenants {
		w.sfmSession(handle, tenant)
	}
	w.sfmSession(other, tenants[0])
	w.sim.ResetLedger()
	if undone := w.logOut(handle); len(undone) != 0 {
		t.Errorf("undone: %q", undone)
	}
	ended := make(map[simulator.Tenant]int)
	for _, op := range w.sim.Ledger() {
		if op.Name != "endSession" || op.Status != http.StatusNoContent || op.Subject != simulator.Persons()[0].Subject {
			t.Errorf("log-out sent %s, answered %d", op.Name, op.Status)
		}
		ended[op.Tenant]++
	}
	for _, tenant := range tenants {
		if ended[folded(tenant)] != 1 {
			t.Errorf("ended %v", ended)
		}
	}
	w.wantEnded(w.call(handle, 0))
	if states := w.sfmStates(other); states[tenants[0].Parent] != "open" {
		t.Errorf("the other person is told %v", states)
	}
}

// What SFM does not do at log-out is told, and keeps nothing alive.
func TestLogOutInPart(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.SFMFault{
		"refused":   {Kind: simulator.FaultStatus, Path: "/Session/end", Status: 503, Count: 1},
		"no answer": {Kind: simulator.FaultReset, Path: "/Session/end", Count: 1},
		"silent":    {Kind: simulator.FaultDelay, Path: "/Session/end", DelayMS: 60_000, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{})
			handle, tenants := w.logIn("lege"), simulator.Tenants()[:2]
			for _, tenant := range tenants {
				w.sfmSession(handle, tenant)
			}
			w.sim.SetKnobs(failSteps(fault))
			begun := time.Now()
			undone := w.logOut(handle)
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("log-out took %v", took)
			}
			if len(undone) != 1 || !strings.Contains(undone[0], "SFM") || !strings.Contains(undone[0], "parent ") {
				t.Errorf("undone: %q", undone)
			}
			ended := 0
			for _, s := range w.sim.SFMSessions() {
				if s.State == simulator.SFMSessionEnded {
					ended++
				}
			}
			if ended != 1 {
				t.Errorf("%d SFM sessions are ended, want the other one", ended)
			}
			w.wantEnded(w.call(handle, 0))
			if n := w.metric("sfm_sidecar_token_cache_entries"); n != 0 {
				t.Errorf("%v tokens are held", n)
			}
		})
	}
}
