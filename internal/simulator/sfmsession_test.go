package simulator

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func sessionBody() []byte {
	sum := sha512.Sum512([]byte("a nonce"))
	return []byte(`{"nonce":"` + base64.StdEncoding.EncodeToString(sum[:]) + `"}`)
}

func TestSessionLife(t *testing.T) {
	e := newEPJ(t)
	if got := e.call("POST", "/api/v2/Session/refresh", nil); got.status != 404 {
		t.Errorf("refresh before create: %d", got.status)
	}
	created := decode(t, e.mustCall("POST", "/api/v2/Session/create", sessionBody()).body)
	metadata, _ := created["metadata"].(resource)
	for _, name := range []string{"id", "code", "apiAddress", "clientAddress"} {
		if text(created, name) == "" {
			t.Errorf("create answers without %s", name)
		}
	}
	for _, name := range []string{"patientportal", "enterpriseportal", "healthcareportal", "displayportal"} {
		if text(metadata, name) == "" {
			t.Errorf("create answers without metadata.%s", name)
		}
	}
	e.mustCall("POST", "/api/v2/Session/refresh", nil) // every call of this client has a new token
	again := decode(t, e.mustCall("POST", "/api/v2/Session/create", sessionBody()).body)
	if again["id"] != created["id"] || again["code"] == created["code"] {
		t.Error("a second machine must get the same session and a code of its own")
	}
	sessions := e.sim.SFMSessions()
	if len(sessions) != 1 || sessions[0].State != SFMSessionOpen || sessions[0].Refreshes != 1 || sessions[0].NewTokens != 1 || sessions[0].Creates != 2 || sessions[0].Parent != testParent {
		t.Errorf("sessions: %+v", sessions)
	}
	e.mustCall("POST", "/api/v2/Session/end", nil)
	for _, path := range []string{"/api/v2/Session/refresh", "/api/v2/Session/end"} {
		if got := e.call("POST", path, nil); got.status != 404 {
			t.Errorf("%s after the end: %d", path, got.status)
		}
	}
	if got := e.sim.SFMSessions()[0].State; got != SFMSessionEnded {
		t.Errorf("state %q", got)
	}
	if fresh := decode(t, e.mustCall("POST", "/api/v2/Session/create", sessionBody()).body); fresh["id"] == created["id"] {
		t.Error("an ended session came back")
	}
}

// TestSessionLivesAsLongAsItsToken: a refresh with the same token is of no use.
func TestSessionLivesAsLongAsItsToken(t *testing.T) {
	now := time.Now()
	e := newEPJ(t)
	e.sim.options.Now = func() time.Time { return now }
	e.mustCall("POST", "/api/v2/Session/create", sessionBody())
	until := e.sim.SFMSessions()[0].ExpiresAt

	now = now.Add(5 * time.Minute)
	r := e.request("POST", "/api/v2/Session/refresh", nil)
	repeated := e.request("POST", "/api/v2/Session/refresh", nil)
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	repeated.Header.Set("Authorization", r.Header.Get("Authorization"))
	repeated.Header.Set("DPoP", e.proofFor("POST", "/api/v2/Session/refresh", token))
	if got := e.send(r); got.status != 204 {
		t.Fatalf("status %d", got.status)
	}
	later := e.sim.SFMSessions()[0]
	if d := later.ExpiresAt.Sub(until); d != 5*time.Minute {
		t.Errorf("a new token prolongs by %v", d)
	}
	e.send(repeated)
	if s := e.sim.SFMSessions()[0]; s.Refreshes != 2 || s.NewTokens != 1 || !s.ExpiresAt.Equal(later.ExpiresAt) {
		t.Errorf("after the same token again: %+v", s)
	}
	now = later.ExpiresAt
	if got := e.call("POST", "/api/v2/Session/refresh", nil); got.status != 409 || e.last().Refusal != "session-expired" {
		t.Errorf("refresh too late: %d", got.status)
	}
	if got := e.sim.SFMSessions()[0].State; got != SFMSessionExpired {
		t.Errorf("state %q", got)
	}
}

func TestSessionsAreApart(t *testing.T) {
	e := newEPJ(t)
	e.mustCall("POST", "/api/v2/Session/create", sessionBody())
	e.claims["sub"] = "sub-2"
	if got := e.call("POST", "/api/v2/Session/refresh", nil); got.status != 404 {
		t.Errorf("another person: %d", got.status)
	}
	e.claims["sub"], e.claims[claimParent] = "sub-1", "313325016"
	if got := e.call("POST", "/api/v2/Session/refresh", nil); got.status != 404 {
		t.Errorf("another parent: %d", got.status)
	}
	e.mustCall("POST", "/api/v2/Session/create", sessionBody())
	if n := len(e.sim.SFMSessions()); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
}

func TestSessionKeyKnob(t *testing.T) {
	e := newEPJ(t)
	e.mustCall("POST", "/api/v2/Session/create", sessionBody())
	e.key = newTestKey(t)
	e.mustCall("POST", "/api/v2/Session/refresh", nil)
	e.setSFM(func(k *SFMKnobs) { k.BindSessionKey = true })
	if got := e.call("POST", "/api/v2/Session/refresh", nil); got.status != 409 {
		t.Errorf("under another key: %d", got.status)
	}
}

func TestSessionNonceIsChecked(t *testing.T) {
	e := newEPJ(t)
	for _, body := range []string{"", "{}", `{"nonce":"AAAA"}`, `{"nonce":"?"}`, "[]"} {
		if got := e.call("POST", "/api/v2/Session/create", []byte(body)); got.status != 400 {
			t.Errorf("body %q: %d", body, got.status)
		}
	}
	if n := len(e.sim.SFMSessions()); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestPatientTicket(t *testing.T) {
	e := newEPJ(t)
	ticket := func(patient, accept string) (string, answer) {
		t.Helper()
		r := e.request("POST", "/api/v2/PatientTicket", []byte(`{"patientPid":"`+patient+`"}`))
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		got := e.send(r)
		if accept != "" {
			return text(decode(t, got.body), "patientTicket"), got
		}
		var bare string
		if err := json.Unmarshal(got.body, &bare); err != nil {
			t.Fatalf("not a bare JSON string: %v", err)
		}
		return bare, got
	}
	bare, got := ticket(testPID, "")
	if bare == "" || len(bare) > 200 {
		t.Errorf("a ticket of %d characters", len(bare))
	}
	if expires, err := http.ParseTime(got.header.Get("Expires")); err != nil || time.Until(expires) < 50*time.Minute {
		t.Errorf("Expires %q", got.header.Get("Expires"))
	}
	if object, _ := ticket(testPID, "application/json"); object != bare {
		t.Error("the same person and patient must get the same ticket")
	}
	if other, _ := ticket("24868224009", ""); other == bare {
		t.Error("two patients with one ticket")
	}
	e.claims["sub"] = "sub-2"
	if other, _ := ticket(testPID, ""); other == bare {
		t.Error("two persons with one ticket")
	}
	if got := e.call("POST", "/api/v2/PatientTicket", []byte("{}")); got.status != 400 {
		t.Errorf("no patient: %d", got.status)
	}
}
