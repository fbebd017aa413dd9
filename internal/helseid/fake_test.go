package helseid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sfm-sidecar/internal/dpop"
)

const (
	testIssuer = "http://127.0.0.1"
	testClient = "2f6a6a53-1c9e-4a73-9d6b-0a8c2b3b7a11"
	testPID    = "01017012345" // synthetic
	testScope  = "e-helse:sfm.api/sfm.api2"
)

var testTenant = Tenant{Parent: "100100126", Child: "999944582", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}

// fake is a HelseID that answers what the test tells it to, over pipes. It understands nothing; the tests look at what
// it received.
type fake struct {
	t         *testing.T
	key       *ecdsa.PrivateKey // signs its tokens
	dpop      *dpop.Key         // of the client under test
	transport *http.Transport

	mu         sync.Mutex // guards what follows
	received   []received
	gets       map[string]int
	discovery  func() any
	jwks       func() any
	post       func(n int, w http.ResponseWriter, r *http.Request) // n counts from 1
	warnings   []string
	requests   []string // grant outcome
	challenges int
	skews      []time.Duration
}

// received is one POST as it came.
type received struct {
	path   string
	form   url.Values
	header http.Header
}

// newFake starts one; it and all its connections end with the test (or the bubble).
func newFake(t *testing.T) *fake {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, key: key, dpop: proof, gets: make(map[string]int)}
	f.discovery = func() any { return f.metadata() }
	f.jwks = func() any { return map[string]any{"keys": []any{f.publicJWK()}} }
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { f.grant(w, nil, nil) }
	pipes := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: f, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(pipes) }()
	f.transport = &http.Transport{DialContext: pipes.dial}
	t.Cleanup(func() {
		f.transport.CloseIdleConnections()
		_ = server.Close()
		<-done
	})
	return f
}

func (f *fake) metadata() map[string]any {
	return map[string]any{
		"issuer":                                testIssuer,
		"authorization_endpoint":                testIssuer + "/connect/authorize",
		"token_endpoint":                        testIssuer + "/connect/token",
		"pushed_authorization_request_endpoint": testIssuer + "/connect/par",
		"jwks_uri":                              testIssuer + "/jwks",
		"revocation_endpoint":                   testIssuer + "/connect/revocation",
		"end_session_endpoint":                  testIssuer + "/connect/endsession",
		"frontchannel_logout_supported":         "true", // a string, as one published copy has it
	}
}

func (f *fake) publicJWK() any {
	return jose.JSONWebKey{Key: &f.key.PublicKey, KeyID: "server-1", Algorithm: "ES256", Use: "sig"}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		f.mu.Lock()
		f.gets[r.URL.Path]++
		document := f.discovery
		if r.URL.Path == "/jwks" {
			document = f.jwks
		}
		f.mu.Unlock()
		body := document()
		if body == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, http.StatusOK, body)
		return
	}
	_ = r.ParseForm()
	f.mu.Lock()
	f.received = append(f.received, received{path: r.URL.Path, form: r.PostForm, header: r.Header.Clone()})
	n, post := len(f.received), f.post
	f.mu.Unlock()
	post(n, w, r)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func writeError(w http.ResponseWriter, status int, oauth, description string) {
	writeJSON(w, status, map[string]any{"error": oauth, "error_description": description})
}

func askNonce(w http.ResponseWriter, nonce string) {
	w.Header().Set("DPoP-Nonce", nonce)
	writeError(w, http.StatusBadRequest, errUseNonce, "nonce wanted")
}

// claims are those of a token that fits testTenant and testPID.
func (f *fake) claims() map[string]any {
	return map[string]any{
		"iss": testIssuer, "aud": sfmAudience, "scope": []string{"openid", testScope},
		claimParent: testTenant.Parent, claimChild: testTenant.Child, claimJournal: testTenant.Journal,
		claimSupplier: "313745392", claimPID: testPID, claimLevel: "4", claimAssurance: "high", claimHPR: "9000001",
		"cnf": map[string]any{"jkt": f.dpop.Thumbprint()}, "unknown": map[string]any{"a": 1},
	}
}

// grant answers with a token; nil members or claims change or remove one (value nil).
func (f *fake) grant(w http.ResponseWriter, member, claim map[string]any) {
	claims := merge(f.claims(), claim)
	answer := merge(map[string]any{
		"access_token": f.sign(claims), "token_type": "DPoP", "expires_in": 600, "scope": "openid " + testScope,
		"refresh_token": "next-refresh", "rt_expires_in": 3600, "id_token": "unread",
	}, member)
	writeJSON(w, http.StatusOK, answer)
}

func merge(base, change map[string]any) map[string]any {
	base = maps.Clone(base)
	for k, v := range change {
		if v == nil {
			delete(base, k)
		} else {
			base[k] = v
		}
	}
	return base
}

// sign makes a JWT with the fake's own key.
func (f *fake) sign(claims map[string]any) string {
	return signJWT(f.t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: f.key, KeyID: "server-1"}}, claims)
}

func signJWT(t *testing.T, key jose.SigningKey, claims map[string]any) string {
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Error(err)
		return ""
	}
	payload, _ := json.Marshal(claims)
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	compact, _ := jws.CompactSerialize()
	return compact
}

// options are those of a client of this fake.
func (f *fake) options() Options {
	return Options{
		Issuer: testIssuer, ClientID: testClient, Keys: NewKeyRing(testKey(f.t)), DPoP: dpop.NewRing(f.dpop), Transport: f.transport,
		Observe: Events{
			Request: func(_ context.Context, grant, outcome string, _ time.Duration) {
				f.note(func() { f.requests = append(f.requests, grant+" "+outcome) })
			},
			NonceChallenge: func() { f.note(func() { f.challenges++ }) },
			Skew:           func(d time.Duration) { f.note(func() { f.skews = append(f.skews, d) }) },
			Warn: func(msg string, attrs ...slog.Attr) {
				f.note(func() { f.warnings = append(f.warnings, fmt.Sprint(msg, attrs)) })
			},
		},
	}
}

func (f *fake) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

// client makes one, after change (may be nil) has seen the options.
func (f *fake) client(change func(*Options)) *Client {
	f.t.Helper()
	o := f.options()
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fake) posts() []received {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]received(nil), f.received...)
}

func (f *fake) fetched(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets[path]
}

// refresh asks for the ordinary token.
func refresh(ctx context.Context, c *Client) (*Grant, error) {
	return c.Refresh(ctx, "first-refresh", Request{Tenant: testTenant, Wanted: []string{testScope}, PID: testPID})
}

// testKey makes a client key on P-256.
func testKey(t *testing.T) *ClientKey {
	t.Helper()
	key, err := ParseKeys(testJWK(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testJWK(t *testing.T, kid string) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jose.JSONWebKey{Key: private, KeyID: kid}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// wantError returns the *Error with this code, or fails.
func wantError(t *testing.T, err error, code string) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error is %T (%v), want code %s", err, err, code)
	}
	if e.Code() != code {
		t.Fatalf("code = %s (%s, reason %s), want %s", e.Code(), e.Detail(), e.Reason(), code)
	}
	for _, secret := range []string{"eyJ", "first-refresh", "next-refresh", testPID} {
		if strings.Contains(e.Error()+e.Detail()+e.Hint()+e.Reason(), secret) {
			t.Fatalf("the error of code %s holds what it must not", code)
		}
	}
	return e
}

// pipeListener is a listener over net.Pipe, so that bubbles of synctest see all there is to wait for.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
