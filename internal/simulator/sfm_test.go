package simulator

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testPID     = "13827015061"
	testParent  = "100100126"
	testChild   = "999944582"
	testJournal = "5F3A0001-0000-4000-8000-00000A11CE00"
	sendPath    = "/Patient/$sendMedication"
	getPath     = "/Patient/$getMedication"
)

// epj is a client of the SFM stand-in: it mints tokens as HelseID would and proofs as a sidecar would.
type epj struct {
	t      *testing.T
	sim    *Simulator
	url    string
	key    *ecdsa.PrivateKey
	client *http.Client
	// claims are put into every token, nil removes one; proof into every proof.
	claims, proof map[string]any
	serving       sync.WaitGroup // calls at the server
}

func newEPJ(t *testing.T) *epj {
	t.Helper()
	e := &epj{t: t, claims: map[string]any{}, proof: map[string]any{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.serving.Add(1)
		defer e.serving.Done()
		e.sim.serveSFM(w, r)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL
	var err error
	if e.sim, err = New(Options{SFM: e.url, SigningKey: testSigningKey()}); err != nil {
		t.Fatal(err)
	}
	e.key = newTestKey(t)
	e.client = &http.Client{Transport: &http.Transport{DisableCompression: true, ExpectContinueTimeout: 10 * time.Second}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(e.client.CloseIdleConnections)
	return e
}

// testSigningKey is one key for all tests, for making one takes long.
var testSigningKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newTestKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (e *epj) jwk() map[string]any {
	jwk, err := publicJWK(e.key.Public())
	if err != nil {
		e.t.Fatal(err)
	}
	return jwk
}

func overridden(claims, by map[string]any) map[string]any {
	for name, value := range by {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// token is what HelseID gives for a person, a parent, a child and a journal.
func (e *epj) token() string {
	e.t.Helper()
	jkt, err := thumbprint(e.jwk())
	if err != nil {
		e.t.Fatal(err)
	}
	now := e.sim.now().Unix()
	raw, err := e.sim.signToken("at+jwt", overridden(map[string]any{
		"iss": e.sim.options.Issuer, "aud": sfmAudience, "sub": "sub-1", "iat": now, "nbf": now, "exp": now + 600, "jti": newUUID(),
		"scope": []any{"openid", "e-helse:sfm.api/sfm.api2"}, "cnf": map[string]any{"jkt": jkt},
		claimJournal: testJournal, claimPID: testPID, claimLevel: "4", claimAssurance: "high",
		claimParent: testParent, claimChild: testChild, claimSupplier: Supplier, claimTenancy: "multi-tenant",
	}, e.claims))
	if err != nil {
		e.t.Fatal(err)
	}
	return raw
}

func (e *epj) proofFor(method, path, token string) string {
	e.t.Helper()
	path, _, _ = strings.Cut(path, "?")
	sum := sha256.Sum256([]byte(token))
	raw, err := sign(e.key, "ES256", "", map[string]any{"typ": "dpop+jwt", "jwk": e.jwk()}, overridden(map[string]any{
		"htm": method, "htu": e.url + path, "iat": e.sim.now().Unix(), "jti": newUUID(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}, e.proof))
	if err != nil {
		e.t.Fatal(err)
	}
	return raw
}

// request is a whole good request, to be spoiled by the test.
func (e *epj) request(method, path string, body []byte) *http.Request {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, bytes.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	token := e.token()
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", e.proofFor(method, path, token))
	r.Header.Set("Content-Type", "application/fhir+json")
	return r
}

// answer is a response read whole.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	trailer http.Header
}

func (e *epj) send(r *http.Request) answer {
	e.t.Helper()
	response, err := e.client.Do(r)
	if err != nil {
		e.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatalf("%s %s: reading the answer: %v", r.Method, r.URL.Path, err)
	}
	return answer{response.StatusCode, response.Header, body, response.Trailer}
}

func (e *epj) call(method, path string, body []byte) answer {
	e.t.Helper()
	return e.send(e.request(method, path, body))
}

// mustCall is call for what has to succeed.
func (e *epj) mustCall(method, path string, body []byte) answer {
	e.t.Helper()
	got := e.call(method, path, body)
	if got.status/100 != 2 {
		e.t.Fatalf("%s %s: status %d, %s", method, path, got.status, got.body)
	}
	return got
}

func (e *epj) setSFM(change func(*SFMKnobs)) { e.sim.SetKnobs(func(k *Knobs) { change(&k.SFM) }) }

func (e *epj) last() Operation {
	e.t.Helper()
	ledger := e.sim.Ledger()
	if len(ledger) == 0 {
		e.t.Fatal("the ledger is empty")
	}
	return ledger[len(ledger)-1]
}

func sha(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func decode(t *testing.T, body []byte) resource {
	t.Helper()
	var r resource
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("not a JSON object: %v in %.200q", err, body)
	}
	return r
}

// outcome checks the shape of an OperationOutcome and returns its second issue, which says what is wrong.
func outcome(t *testing.T, a answer) resource {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != fhirType {
		t.Errorf("Content-Type = %q, want FHIR", got)
	}
	r := decode(t, a.body)
	issues, _ := r["issue"].([]any)
	if r["resourceType"] != "OperationOutcome" || !isUUID(text(r, "id")) || len(issues) != 3 {
		t.Fatalf("not SFM's OperationOutcome: %s", a.body)
	}
	first, _ := issues[0].(resource)
	third, _ := issues[2].(resource)
	details, _ := third["details"].(resource)
	if first["code"] != "processing" || third["code"] != "informational" || !strings.HasPrefix(text(details, "text"), "TraceId: ") {
		t.Errorf("issues 1 and 3 of the OperationOutcome are not SFM's: %s", a.body)
	}
	second, _ := issues[1].(resource)
	return second
}

func TestEveryOperationAnswers(t *testing.T) {
	e := newEPJ(t)
	send := SampleSendMedication(testPID, "1")
	for _, row := range []struct {
		method, path string
		body         []byte
		name, holds  string
	}{
		{"GET", "/metadata", nil, "metadata", "CapabilityStatement"},
		{"GET", "/v2/metadata", nil, "metadata", "CapabilityStatement"},
		{"POST", getPath, SampleGetMedication(testPID), "getMedication", "KJFeilkode"},
		{"POST", "/v2" + getPath, SampleGetMedication(testPID), "getMedication", "KJFeilkode"},
		{"POST", "/api/v2" + getPath, SampleGetMedication(testPID), "getMedication", "KJFeilkode"},
		{"POST", sendPath, send, "sendMedication", "prescriptionOperationResult"},
		{"GET", "/Organization", nil, "searchOrganization", testChild},
		{"GET", "/Task?code=10&PatientNiN=" + testPID, nil, "searchTask", `"searchset"`},
		{"GET", "/Patient", nil, "searchPatient", `"searchset"`},
		{"GET", "/Practitioner?identifier=1", nil, "searchPractitioner", `"searchset"`},
		{"GET", "/echo", nil, "echo", `"method":"GET"`},
	} {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			e.t = t
			got := e.mustCall(row.method, row.path, row.body)
			if !bytes.Contains(got.body, []byte(row.holds)) {
				t.Errorf("the answer does not hold %q", row.holds)
			}
			o := e.last()
			if o.Name != row.name || !o.Accepted || !o.WorkDone || o.Status != got.status || o.WorksDone < 1 {
				t.Errorf("the ledger says %+v", o)
			}
			if path, _, _ := strings.Cut(row.path, "?"); o.Path != path {
				t.Errorf("path in the ledger = %q", o.Path)
			}
			if o.BodySHA256 != sha(row.body) || o.BodyLength != int64(len(row.body)) {
				t.Errorf("body in the ledger = %d bytes, %s", o.BodyLength, o.BodySHA256)
			}
		})
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	e := newEPJ(t)
	for _, row := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/Basic", 404, "not-found"},
		{"GET", "/", 404, "not-found"},
		{"GET", "/v2/v2/Organization", 404, "not-found"},
		{"GET", "/Organization/a/b", 404, "not-found"},
		{"GET", "/Organization/", 404, "not-found"},
		{"DELETE", "/Organization/1", 501, "not-supported"},
		{"POST", "/Task", 501, "not-supported"},
		{"GET", sendPath, 501, "not-supported"},
		{"POST", "/api/Session/create", 404, "not-found"}, // version 1
		{"POST", "/Session/create", 404, "not-found"},
		{"POST", "/files", 404, "not-found"}, // version 1
	} {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			e.t = t
			got := e.call(row.method, row.path, nil)
			if got.status != row.status {
				t.Fatalf("status = %d, want %d", got.status, row.status)
			}
			if issue := outcome(t, got); issue["code"] != row.code {
				t.Errorf("issue code = %v, want %s", issue["code"], row.code)
			}
			if o := e.last(); o.WorkDone || o.Refusal != row.code {
				t.Errorf("the ledger says %+v", o)
			}
			if row.status == 501 && got.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
}

func TestGzipWhereAsked(t *testing.T) {
	e := newEPJ(t)
	plain := e.mustCall("POST", getPath, SampleGetMedication(testPID))
	if plain.header.Get("Content-Encoding") != "" {
		t.Fatal("packed without being asked")
	}
	r := e.request("POST", getPath, SampleGetMedication(testPID))
	r.Header.Set("Accept-Encoding", "br, gzip")
	packed := e.send(r)
	if packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("header = %v", packed.header)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(unpacked, plain.body) {
		t.Errorf("unpacked %d bytes (%v), want the %d plain ones", len(unpacked), err, len(plain.body))
	}
	if len(packed.body) >= len(plain.body) {
		t.Error("packing made it no smaller")
	}
}

func TestClinicalBodiesAreChecked(t *testing.T) {
	e := newEPJ(t)
	for name, row := range map[string]struct {
		path, body, holds string
	}{
		"not JSON":      {getPath, `<xml/>`, "Parameters"},
		"not FHIR":      {getPath, `{"patient":1}`, "Parameters"},
		"no patient":    {getPath, `{"resourceType":"Parameters","parameter":[]}`, "patient is missing"},
		"no resource":   {getPath, `{"resourceType":"Parameters","parameter":[{"name":"patient"}]}`, "no resource"},
		"nobody":        {getPath, `{"resourceType":"Parameters","parameter":[{"name":"patient","resource":{"resourceType":"Patient"}}]}`, "neither an identifier"},
		"no document":   {sendPath, `{"resourceType":"Parameters","parameter":[{"name":"other"}]}`, "medication is missing"},
		"not a bundle":  {sendPath, `{"resourceType":"Parameters","parameter":[{"name":"medication","resource":{"resourceType":"Bundle","type":"batch"}}]}`, "type document"},
		"wrong content": {sendPath, `[]`, "Parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			e.t = t
			got := e.call("POST", row.path, []byte(row.body))
			issue := outcome(t, got)
			if got.status != 400 || issue["code"] != "invalid" || issue["expression"] == nil || !strings.Contains(text(issue, "diagnostics"), row.holds) {
				t.Errorf("%d %s", got.status, got.body)
			}
			if o := e.last(); o.WorkDone || !o.Accepted || e.sim.WorkDone(row.path, sha([]byte(row.body))) != 0 {
				t.Errorf("the ledger says %+v", o)
			}
		})
	}
}

func TestSendMedicationCounts(t *testing.T) {
	e := newEPJ(t)
	entry := func(status, kind, id string) string {
		return `{"resource":{"resourceType":"` + kind + `","status":"` + status + `","identifier":[{"type":{"text":"` + id + `"},"value":"id-` + status + `"}]}}`
	}
	body := `{"resourceType":"Parameters","parameter":[{"name":"medication","resource":{"resourceType":"Bundle","type":"document","entry":[` +
		entry("active", "MedicationStatement", "ReseptId") + "," + entry("stopped", "MedicationStatement", "ReseptId") + "," +
		entry("active", "MedicationStatement", "PLL") + "," + entry("active", "Medication", "ReseptId") + `]}}]}`
	got := string(e.mustCall("POST", sendPath, []byte(body)).body)
	for _, want := range []string{`{"name":"prescriptionCount","valueInteger":1}`, `{"name":"recallCount","valueInteger":1}`, "id-active", "id-stopped", "PllResult"} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer lacks %s: %s", want, got)
		}
	}
}

// FuzzBodies: no body makes the clinical operations do anything but answer.
func FuzzBodies(f *testing.F) {
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[{"name":"patient","resource":{"resourceType":"Patient","identifier":[{}]}}]}`))
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[{"name":"medication","resource":{"resourceType":"Bundle","type":"document","entry":[{"resource":{"resourceType":"MedicationStatement","identifier":[{"type":{"text":"ReseptId"},"value":"1"}]}}]}}]}`))
	f.Add([]byte(`null`))
	sim, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, work := range []func(*sfmCall) sfmAnswer{getMedication, sendMedication, createOrganization, createSession, patientTicket} {
			r := httptest.NewRequest("POST", "/x", nil)
			c := &sfmCall{sim: sim, r: r, path: "/x", body: body}
			if got := work(c); got.status < 200 || got.status > 499 {
				t.Errorf("status %d", got.status)
			}
		}
	})
}
