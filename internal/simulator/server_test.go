package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// served puts the vendor's world behind a real listener.
func served(t *testing.T, v *vendor) string {
	t.Helper()
	server := httptest.NewServer(v.sim.HelseID())
	t.Cleanup(server.Close)
	return server.URL
}

// over sends r over the wire.
func over(t *testing.T, base string, r *http.Request) (*http.Response, error) {
	t.Helper()
	target, err := url.Parse(base + r.URL.RequestURI())
	if err != nil {
		t.Fatal(err)
	}
	r.URL, r.RequestURI = target, ""
	client := &http.Client{Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return client.Do(r)
}

func (v *vendor) provenRequest(form url.Values) *http.Request {
	r := v.request("/connect/token", form, nil)
	r.Header.Set("DPoP", v.proofFor("/connect/token"))
	return r
}

func TestFaultsBeforeTheWork(t *testing.T) {
	for name, row := range map[string]struct {
		fault  Fault
		status int
		media  string
		about  string
	}{
		"503":         {Fault{Status: 503, RetryAfter: 7}, 503, "text/plain", "told to fail"},
		"429":         {Fault{Status: 429}, 429, "text/plain", "told to fail"},
		"web page":    {Fault{HTML: true}, 200, "text/html", "<h1>"},
		"web page503": {Fault{HTML: true, Status: 503}, 503, "text/html", "<h1>"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			base := served(t, v)
			row.fault.Count = 1
			v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = row.fault })
			got, err := over(t, base, v.provenRequest(machine))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			body, err := io.ReadAll(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != row.status || !strings.HasPrefix(got.Header.Get("Content-Type"), row.media) || !strings.Contains(string(body), row.about) {
				t.Errorf("status %d, %s", got.StatusCode, got.Header.Get("Content-Type"))
			}
			if after := got.Header.Get("Retry-After"); (after == strconv.Itoa(row.fault.RetryAfter)) != (row.fault.RetryAfter > 0) {
				t.Errorf("Retry-After = %q", after)
			}
			if len(v.sim.TokenRequests()) != 0 {
				t.Error("the request was judged")
			}
			if v.sim.knobs().HelseID.Fault != (Fault{}) {
				t.Error("a fault for one answer was not used up")
			}
		})
	}
}

func TestResetIsARealReset(t *testing.T) {
	v := newVendor(t)
	base := served(t, v)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = Fault{Reset: true} })
	_, err := over(t, base, v.provenRequest(machine))
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("error = %v, want a reset connection", err)
	}
}

// TestLostAnswer: the refresh is done, its answer never comes, and the nonce
// challenge before it does not use the fault up.
func TestLostAnswer(t *testing.T) {
	v := newVendor(t)
	base := served(t, v)
	token := v.logIn("lege").json["refresh_token"]
	v.nonce = ""
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = Fault{DropAnswer: true, Count: 1, Path: "/connect/token"} })
	challenge, err := over(t, base, v.provenRequest(refreshForm(token)))
	if err != nil {
		t.Fatal("the nonce challenge was lost, which is no good answer")
	}
	challenge.Body.Close()
	v.nonce = challenge.Header.Get("DPoP-Nonce")
	if _, err := over(t, base, v.provenRequest(refreshForm(token))); err == nil {
		t.Fatal("the answer came")
	}
	records := v.sim.TokenRequests()
	if records[len(records)-1].Outcome != "granted" {
		t.Error("the work was not done")
	}
	v.wantRefusal(v.token(refreshForm(token), nil), "invalid_grant", "came again")
}

func TestSpoiltAnswers(t *testing.T) {
	for name, row := range map[string]struct {
		fault Fault
		check func(body []byte) bool
	}{
		"truncated": {Fault{Truncate: true}, func(body []byte) bool { return !json.Valid(body) && strings.HasPrefix(string(body), "{") }},
		"oversize":  {Fault{Oversize: true}, func(body []byte) bool { return json.Valid(body) && len(body) > 2<<20 }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.nonce = v.sim.nonces.issue(v.clock)
			v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = row.fault })
			recorder := httptest.NewRecorder()
			v.sim.HelseID().ServeHTTP(recorder, v.provenRequest(machine))
			if recorder.Code != http.StatusOK || !row.check(recorder.Body.Bytes()) {
				t.Error("the answer is not spoilt as ordered")
			}
		})
	}
}

func TestStaleNonceFault(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = Fault{StaleNonce: true, Count: 2} })
	v.nonce = v.sim.nonces.issue(v.clock)
	v.post("/connect/par", pushForm(), nil) // has no nonce, so uses nothing up
	v.wantRefusal(v.token(machine, nil), codeUseNonce, "stale")
	v.wantRefusal(v.token(machine, nil), codeUseNonce, "stale")
	v.granted(machine, nil)
}

func TestFaultOnOnePath(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = Fault{Status: 500, Path: "/connect/par"} })
	v.granted(machine, nil)
	for range 3 {
		if got := v.post("/connect/par", pushForm(), nil); got.status != 500 {
			t.Errorf("status %d: a fault without count must last", got.status)
		}
	}
}

func TestDateFollowsTheClock(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.ClockOffset = 90 })
	got := v.do(httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil))
	date, err := http.ParseTime(got.header.Get("Date"))
	if err != nil || !date.Equal(v.clock.Add(90*time.Second)) {
		t.Errorf("Date = %v, %v", date, err)
	}
}

func TestControl(t *testing.T) {
	v := newVendor(t)
	call := func(handler http.Handler, method, name, body string) reply {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(method, controlPrefix+name, strings.NewReader(body)))
		return reply{status: recorder.Code, raw: recorder.Body.String()}
	}
	v.granted(machine, nil)
	for _, handler := range []http.Handler{v.sim.HelseID(), v.sim.SFM()} {
		if got := call(handler, "PUT", "knobs", `{"clock_offset_seconds":1,"helseid":{"claim_overrides":{"aud":"x"},"fault":{"status":503}}}`); got.status != http.StatusOK {
			t.Fatalf("status %d: %s", got.status, got.raw)
		}
		knobs := v.sim.knobs()
		if knobs.ClockOffset != 1 || knobs.HelseID.Fault.Status != 503 || knobs.HelseID.AccessTokenSeconds != 3600 || knobs.HelseID.ClaimOverrides["aud"] != "x" {
			t.Error("the knobs were not merged")
		}
		for _, bad := range []string{`{"helseid":{"rotation":true}}`, `{`, `[]`, `{"sfm":{"expect":"never"}}`} {
			if got := call(handler, "PUT", "knobs", bad); got.status != http.StatusBadRequest {
				t.Errorf("%s: status %d", bad, got.status)
			}
		}
		if got := call(handler, "GET", "knobs", ""); !strings.Contains(got.raw, `"status": 503`) {
			t.Error("the knobs cannot be read")
		}
		if got := call(handler, "GET", "token-requests", ""); !strings.Contains(got.raw, `"grant": "client_credentials"`) {
			t.Error("the token requests cannot be read")
		}
		if got := call(handler, "GET", "world", ""); !strings.Contains(got.raw, ParentWithoutTerms) {
			t.Error("the world cannot be read")
		}
		for _, name := range []string{"ledger", "token-requests"} {
			if call(handler, "GET", name, "").status != http.StatusOK {
				t.Errorf("GET %s failed", name)
			}
		}
		if got := call(handler, "POST", "knobs", ""); got.status != http.StatusNotFound {
			t.Errorf("status %d for a call that is none", got.status)
		}
	}
	if call(v.sim.SFM(), "DELETE", "ledger", "").status != http.StatusNoContent || call(v.sim.SFM(), "DELETE", "token-requests", "").status != http.StatusNoContent {
		t.Error("ledger or token requests cannot be forgotten")
	}
	if len(v.sim.TokenRequests()) != 0 {
		t.Error("token requests were not forgotten")
	}
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = Fault{}; k.HelseID.ClaimOverrides = nil; k.ClockOffset = 0 })
	v.granted(machine, nil)
	v.sim.SetKnobs(func(k *Knobs) { k.ClockOffset = 1 })
	if call(v.sim.HelseID(), "POST", "reset", "").status != http.StatusNoContent || len(v.sim.TokenRequests()) != 0 || v.sim.knobs().ClockOffset != 0 {
		t.Error("reset did not reset")
	}
}

// TestNothingLeaks: no token, assertion, proof, code, person or key stands in
// what the simulator tells about itself.
func TestNothingLeaks(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"].(string)
	v.granted(refreshForm(token), aboutTenant("NO:ORGNR:100100126:"))
	v.token(refreshForm(token), nil)
	told, err := json.Marshal(v.sim.TokenRequests())
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{
		"a JWT": `eyJ[A-Za-z0-9_-]{10}`, "a token": regexp.QuoteMeta(token), "a person": testPID, "a random text": `[A-Z2-7]{26}`,
	} {
		if regexp.MustCompile(secret).Match(told) {
			t.Errorf("the token requests hold %s", name)
		}
	}
}

func TestStartAndClose(t *testing.T) {
	client, private, err := NewClient("epj")
	if err != nil {
		t.Fatal(err)
	}
	if jwk, err := decodeObject(private); err != nil || text(jwk, "d") == "" || text(jwk, "alg") != "ES256" {
		t.Error("the private JWK is none")
	}
	world, err := Start(Options{Clients: []Client{client}, SigningKey: testRSAKey()})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{world.HelseID + "/.well-known/openid-configuration", world.SFM + "/metadata"} {
		got, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != http.StatusOK {
			t.Errorf("status %d", got.StatusCode)
		}
	}
	if err := world.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if _, err := http.Get(world.SFM + "/metadata"); !errors.Is(err, syscall.ECONNREFUSED) && !os.IsTimeout(err) {
		t.Errorf("after Close: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	for name, options := range map[string]Options{
		"no id":       {Clients: []Client{{}}},
		"tenancy":     {Clients: []Client{{ID: "x", Tenancy: "both", JWKS: []byte(rfc7515ECKey)}}},
		"no key":      {Clients: []Client{{ID: "x", JWKS: []byte(`{"keys":[]}`)}}},
		"key no JSON": {Clients: []Client{{ID: "x", JWKS: []byte(`x`)}}},
		"odd set":     {Clients: []Client{{ID: "x", JWKS: []byte(`{"keys":[1]}`)}}},
		"private key": {Clients: []Client{{ID: "x", JWKS: []byte(strings.Replace(rfc7515ECKey, "{", `{"d":"AA",`, 1))}}},
	} {
		options.SigningKey = testRSAKey()
		if world, err := Start(options); err == nil {
			t.Errorf("%s: accepted", name)
			world.Close()
		}
	}
	if _, err := Serve(Options{}, "127.0.0.1:99999", "127.0.0.1:0"); err == nil {
		t.Error("a wrong address was accepted")
	}
	if _, err := Serve(Options{}, "127.0.0.1:0", "127.0.0.1:99999"); err == nil {
		t.Error("a wrong address was accepted")
	}
}

// TestRSAClient is the key HelseID's own tools make.
func TestRSAClient(t *testing.T) {
	client, private, err := NewClientWith("rsa", KeySpec{Alg: "PS256"})
	if err != nil {
		t.Fatal(err)
	}
	if jwk, err := decodeObject(private); err != nil || text(jwk, "kty") != "RSA" || text(jwk, "qi") == "" {
		t.Error("the private JWK is none")
	}
	if _, err := New(Options{Clients: []Client{client}, SigningKey: testRSAKey()}); err != nil {
		t.Error(err)
	}
	if _, _, err := NewClientWith("x", KeySpec{Alg: "none"}); err == nil {
		t.Error("a client with alg none was made")
	}
}

func TestKnobsAreCopies(t *testing.T) {
	v := newVendor(t)
	var kept *Knobs
	overrides := map[string]any{"aud": "x"}
	v.sim.SetKnobs(func(k *Knobs) { kept = k; k.HelseID.ClaimOverrides = overrides })
	overrides["aud"], kept.ClockOffset = "y", 99
	if knobs := v.sim.knobs(); knobs.ClockOffset != 0 || knobs.HelseID.ClaimOverrides["aud"] != "x" {
		t.Error("what SetKnobs was given still changes the knobs")
	}
}

// A caller's token can be had over HTTP too, and is one that can be exchanged.
func TestSubjectTokenOverHTTP(t *testing.T) {
	v := newVendor(t)
	for query, wanted := range map[string]int{
		"person=lege&audience=epj:api": 200, "person=lege&audience=epj:api&life=60": 200,
		"person=nobody&audience=epj:api": 400, "person=lege": 400, "person=lege&audience=epj:api&life=long": 400,
	} {
		w := httptest.NewRecorder()
		v.sim.HelseID().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_simulator/subject-token?"+query, nil))
		var body struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != wanted {
			t.Errorf("%s: status %d, %v", query, w.Code, err)
			continue
		}
		if wanted != http.StatusOK {
			continue
		}
		claims, err := v.sim.verifyAccessToken(body.AccessToken)
		if err != nil || claims["aud"] != "epj:api" {
			t.Errorf("%s: not a token for that API", query)
			continue
		}
		iat, _ := seconds(claims, "iat")
		if exp, _ := seconds(claims, "exp"); strings.Contains(query, "life") != (exp-iat == 60) {
			t.Errorf("%s: lives %v s", query, exp-iat)
		}
	}
}
