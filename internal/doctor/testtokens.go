package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sfm-sidecar/internal/helseid"
)

// TestTokens is HelseID's test token service: it signs whatever it is asked for with the test environment's key, so SFM
// can be called before a client is registered.
type TestTokens struct {
	URL       *url.URL          // the service's base
	Key       string            // its API key
	Transport http.RoundTripper // required; reaches the service
	// Proving sends a request to SFM with the proof that its token needs. Required.
	Proving http.RoundTripper

	ClientID, Tenancy, Scheme string // Scheme: DPoP or Bearer
	Scopes                    []string
	Audience                  string
	Thumbprint                string // of the DPoP key; "" = Bearer
	Supplier                  string // organization number of the client's owner; "" = what the service makes up
	Person                    bool   // the token names a person, one that the service makes up
}

// String hides the key.
func (TestTokens) String() string { return "doctor.TestTokens" }

// GoString hides the key.
func (TestTokens) GoString() string { return "doctor.TestTokens" }

const testTokenPath = "v2/create-test-token-with-key"

// maxTestAnswer bounds what is read of any answer here.
const maxTestAnswer = 1 << 20

// testToken is one that was made. It is never shown.
type testToken struct {
	tenant Tenant
	access string
}

func (e *examination) testTokens(ctx context.Context) {
	t := e.o.TestTokens
	if len(e.o.Tenants) == 0 {
		e.run(ctx, step{name: stepTestToken, tried: "nothing", look: func(context.Context) Finding {
			return skipped("no tenant was named: sidecar check --test-tokens URL … PARENT[:CHILD]@JOURNAL")
		}})
	}
	for _, tenant := range e.o.Tenants {
		e.run(ctx, step{
			name: stepTestToken, subject: tenant.Label, tried: "POST " + t.URL.JoinPath(testTokenPath).String(),
			look: func(ctx context.Context) Finding { return e.testToken(ctx, tenant) },
		})
	}
}

func (e *examination) testToken(ctx context.Context, tenant Tenant) Finding {
	access, err := e.o.TestTokens.token(ctx, tenant.Tenant)
	if err != nil {
		refused, _ := errors.AsType[*refusedToken](err)
		switch {
		case refused == nil:
			return wrong("no usable answer: "+err.Error(), "the test token service can't be reached, or something else answers in its place",
				"check --test-tokens (https://helseid-ttt.test.nhn.no), the network and HTTPS_PROXY")
		case refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden:
			return wrong(err.Error(), "the service does not accept the API key", "make a key at https://selvbetjening.test.nhn.no/ttt and put it into the file of --test-token-key-file")
		}
		return wrong(err.Error(), "the service does not take what was asked for", "read what it says; the forms of this check may be older than the service")
	}
	facts, ok := helseid.Describe(access)
	if !ok {
		return wrong("a token that is no JWT", "this is not the test token service", "check --test-tokens")
	}
	f := good("a test token", "SFM's test environment can be called with it; that says nothing about your client, which was not asked about")
	f.Details = facts
	e.tests = append(e.tests, testToken{tenant, access})
	return f
}

// Ways in which the service makes claims (NHN, "Test Token Tjenesten").
const (
	generateNone   = "GenerateNone"
	generateFilled = "GenerateDefaultWithClaimsFromNonEmptyParameterValues"
)

// token asks for one test token.
func (t *TestTokens) token(ctx context.Context, tenant helseid.Tenant) (string, error) {
	client := map[string]any{
		"scope": t.Scopes, "clientId": t.ClientID, "sfmJournalId": tenant.Journal,
		"orgnrParent": tenant.Parent, "clientTenancy": t.Tenancy + "-tenant",
	}
	if tenant.Child != "" {
		client["orgnrChild"] = tenant.Child
	}
	if t.Supplier != "" {
		client["orgnrSupplier"] = t.Supplier
	}
	if t.Thumbprint != "" {
		client["cnfJkt"] = t.Thumbprint
	}
	wish := map[string]any{
		"audience":                         t.Audience,
		"clientClaimsParametersGeneration": generateFilled,
		"clientClaimsParameters":           client,
		"userClaimsParametersGeneration":   generateNone,
	}
	if t.Person {
		wish["userClaimsParametersGeneration"] = generateFilled
		wish["userClaimsParameters"] = map[string]any{"securityLevel": "4", "assuranceLevel": "high"}
	}
	body, err := json.Marshal(wish)
	if err != nil {
		return "", fmt.Errorf("writing the question: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL.JoinPath(testTokenPath).String(), bytes.NewReader(body))
	if err != nil {
		return "", errors.New("the service's address can't be used")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("X-Auth-Key", t.Key)
	resp, err := t.Transport.RoundTrip(r)
	if err != nil {
		return "", errors.New("the connection failed")
	}
	defer resp.Body.Close()
	return readTestToken(resp)
}

// refusedToken is the service saying no. Its own words are not repeated whole: they may hold what was sent.
type refusedToken struct {
	status int
	text   string
}

// Error says what the service said.
func (r *refusedToken) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the service answered %d %s", r.status, r.text))
}

func readTestToken(resp *http.Response) (string, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTestAnswer+1))
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var answer struct {
		IsError bool `json:"isError"`
		Success *struct {
			Token string `json:"accessTokenJwt"`
		} `json:"successResponse"`
		Error *struct {
			Message string `json:"errorMessage"`
		} `json:"errorResponse"`
	}
	whole := err == nil && len(body) <= maxTestAnswer && media == "application/json" && json.Unmarshal(body, &answer) == nil
	switch {
	case whole && answer.IsError || resp.StatusCode >= 400:
		refused := &refusedToken{status: resp.StatusCode}
		if answer.Error != nil {
			refused.text = helseid.Scrub(answer.Error.Message)
		}
		return "", refused
	case !whole || resp.StatusCode != http.StatusOK || answer.Success == nil || answer.Success.Token == "":
		return "", fmt.Errorf("an answer with status %d without a token", resp.StatusCode)
	}
	return answer.Success.Token, nil
}

// callSFM calls each upstream with each test token, for the organizations that SFM knows.
func (e *examination) callSFM(ctx context.Context) {
	for _, t := range e.tests {
		for _, u := range e.o.Upstreams {
			address := u.URL.JoinPath("Organization")
			e.run(ctx, step{
				name: stepSFMCall, subject: strings.TrimSpace(u.Name + " " + t.tenant.Label),
				tried: "GET " + address.String() + " with the test token and a proof",
				look:  func(ctx context.Context) Finding { return e.organizations(ctx, address, t) },
			})
		}
	}
}

func (e *examination) organizations(ctx context.Context, address *url.URL, t testToken) Finding {
	if !isTest(address.Hostname()) {
		return skipped(address.Hostname() + " does not look like a test environment (no label test, test2 or …-test in its name); test tokens go to no other")
	}
	resp, err := e.send(ctx, address, t)
	if err == nil && resp.status == http.StatusUnauthorized && resp.nonce { // RFC 9449 §9
		resp, err = e.send(ctx, address, t)
	}
	if err != nil {
		return unreached(err, address)
	}
	f := judgeCall(resp.status)
	if resp.challenge != "" {
		f.Details = Details{{Name: "challenge", Value: resp.challenge}}
	}
	return f
}

// called is what SFM answered.
type called struct {
	status    int
	nonce     bool   // it asks for a nonce of its own
	challenge string // error of WWW-Authenticate
}

func (e *examination) send(ctx context.Context, address *url.URL, t testToken) (called, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return called{}, err
	}
	r.Header.Set("Accept", "application/fhir+json")
	r.Header.Set("User-Agent", "sfm-sidecar")
	r.Header.Set("Authorization", e.o.TestTokens.Scheme+" "+t.access)
	resp, err := e.o.TestTokens.Proving.RoundTrip(r)
	if err != nil {
		return called{}, err
	}
	defer resp.Body.Close()
	c := called{status: resp.StatusCode}
	for _, value := range resp.Header.Values("WWW-Authenticate") {
		for _, known := range []string{"use_dpop_nonce", "invalid_dpop_proof", "invalid_token", "insufficient_scope"} {
			if c.challenge == "" && strings.Contains(value, `error="`+known+`"`) {
				c.challenge, c.nonce = known, known == "use_dpop_nonce"
			}
		}
	}
	return c, nil
}

func judgeCall(status int) Finding {
	found := fmt.Sprintf("%d %s", status, http.StatusText(status))
	switch {
	case status >= 200 && status < 300:
		return good(found, "SFM takes token and proof, and knows the journal")
	case status == http.StatusUnauthorized:
		return wrong(found, "SFM does not take token or proof, or (as NHN's documents have it) does not know the journal", "look at the challenge, the clock, and whether the journal has been made (POST Organization makes it); HELSEID_SUPPLIER_ORGNR must be the supplier that SFM knows")
	case status == http.StatusForbidden:
		return wrong(found, "token and proof are good, but the organizations, the level or the journal are not to SFM's liking", "compare organizations and journal with what is registered in SFM's test environment")
	case status == http.StatusNotFound:
		return careful(found, "SFM has no such journal or organization yet, or the path is another", "see the step "+quoted(stepUpstream)+" for the path; POST Organization makes a journal")
	case status >= 500:
		return wrong(found, "SFM, or a gateway before it, has trouble", "try again later")
	}
	return careful(found, "SFM answers in a way that says little about token and proof", "read SFM's documents for this status")
}

// testLabel is what a label of a test environment's name looks like: test, test2, test-inside, sfm-test; and no testimonials.
var testLabel = regexp.MustCompile(`^test[0-9]*-|^(.*-)?test[0-9]*$`)

// isTest reports whether a host is this machine or in a test environment, by a label of its name.
func isTest(host string) bool {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(strings.Split(strings.ToLower(host), "."), func(label string) bool {
		return testLabel.MatchString(label)
	})
}

// CheckTestTokens says what is wrong with where test tokens are to come from; nil = nothing.
func CheckTestTokens(u *url.URL) error {
	loopback := u.Scheme == "http" && isTest(u.Hostname()) && !strings.Contains(u.Hostname(), "test")
	switch {
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("the address of the test token service must be https://host[/path]")
	case u.Scheme != "https" && !loopback:
		return errors.New("the address of the test token service must be https (http only on this machine)")
	case !isTest(u.Hostname()):
		return errors.New("the test token service is one of the test environment; this address does not look like it")
	}
	return nil
}
