package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// refusalRow spoils one thing of a good call.
type refusalRow struct {
	name    string
	prepare func(*epj)                // before token and proof are made
	spoil   func(*epj, *http.Request) // after
	status  int                       // 0 = 401
	code    string
	says    string
}

func claim(name string, value any) func(*epj) {
	return func(e *epj) { e.claims[name] = value }
}

func proven(name string, value any) func(*epj) {
	return func(e *epj) { e.proof[name] = value }
}

func header(name string, values ...string) func(*epj, *http.Request) {
	return func(_ *epj, r *http.Request) {
		r.Header.Del(name)
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
}

var refusalRows = []refusalRow{
	{name: "no Authorization", spoil: header("Authorization"), code: codeInvalidToken, says: "no Authorization"},
	{name: "two Authorizations", spoil: func(_ *epj, r *http.Request) { r.Header.Add("Authorization", "DPoP x") }, code: codeInvalidToken, says: "more than one"},
	{name: "Bearer", spoil: func(_ *epj, r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "DPoP", "Bearer", 1))
	}, code: codeInvalidToken, says: "exactly DPoP"},
	{name: "scheme in small letters", spoil: func(_ *epj, r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "DPoP", "dpop", 1))
	}, code: codeInvalidToken, says: "exactly DPoP"},
	{name: "two spaces", spoil: func(_ *epj, r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), " ", "  ", 1))
	}, code: codeInvalidToken, says: "one space"},
	{name: "no token", spoil: header("Authorization", "DPoP"), code: codeInvalidToken, says: "one space"},
	{name: "no JWT", spoil: header("Authorization", "DPoP opaque"), code: codeInvalidToken, says: "access token"},
	{name: "forged token", spoil: func(e *epj, r *http.Request) {
		raw := r.Header.Get("Authorization")
		r.Header.Set("Authorization", raw[:len(raw)-8]+"AAAAAAAA")
	}, code: codeInvalidToken, says: "access token"},
	{name: "expired token", prepare: func(e *epj) { e.claims["exp"] = time.Now().Unix() - 1 }, code: codeInvalidToken, says: "expired"},
	{name: "other issuer", prepare: claim("iss", "https://else.example"), code: codeInvalidToken, says: "iss"},

	{name: "other audience", prepare: claim("aud", "nhn:other"), code: codeInvalidToken, says: "aud"},
	{name: "no audience", prepare: claim("aud", nil), code: codeInvalidToken, says: "aud"},
	{name: "old scope", prepare: claim("scope", []any{"e-helse:sfm.api/sfm.api"}), status: 403, code: codeInsufficientScope, says: "scope"},
	{name: "no scope", prepare: claim("scope", nil), status: 403, code: codeInsufficientScope, says: "scope"},
	{name: "not bound", prepare: claim("cnf", nil), code: codeInvalidToken, says: "cnf.jkt is missing"},
	{name: "bound to another key", prepare: claim("cnf", map[string]any{"jkt": "x"}), code: codeInvalidToken, says: "another key"},
	{name: "no journal", prepare: claim(claimJournal, nil), code: codeInvalidToken, says: "journal-id is missing"},
	{name: "journal no UUID", prepare: claim(claimJournal, "7"), code: codeInvalidToken, says: "not a UUID"},
	{name: "sfm-id means nothing when multi-tenant", prepare: func(e *epj) {
		e.claims[claimJournal], e.claims[claimSFMID] = nil, testJournal
	}, code: codeInvalidToken, says: "journal-id is missing"},
	{name: "single-tenant without sfm-id", prepare: func(e *epj) {
		e.claims[claimTenancy], e.claims[claimJournal] = nil, nil
	}, code: codeInvalidToken, says: "sfm-id is missing"},
	{name: "no parent", prepare: claim(claimParent, nil), code: codeInvalidToken, says: "orgnr_parent"},
	{name: "parent with letters", prepare: claim(claimParent, "NO1234567"), code: codeInvalidToken, says: "orgnr_parent"},
	{name: "child too short", prepare: claim(claimChild, "123"), code: codeInvalidToken, says: "orgnr_child"},
	{name: "child is parent", prepare: claim(claimChild, testParent), code: codeInvalidToken, says: "parent's own number"},
	{name: "no supplier", prepare: claim(claimSupplier, nil), code: codeInvalidToken, says: "orgnr_supplier"},
	{name: "unknown supplier", prepare: claim(claimSupplier, "987654321"), code: codeInvalidToken, says: "not registered"},
	{name: "no person", prepare: claim(claimPID, nil), code: codeInvalidToken, says: "pid is missing"},
	{name: "level 3", prepare: claim(claimLevel, "3"), code: codeInvalidToken, says: "security_level"},
	{name: "no level", prepare: claim(claimLevel, nil), code: codeInvalidToken, says: "security_level"},
	{name: "assurance", prepare: claim(claimAssurance, "substantial"), code: codeInvalidToken, says: "assurance_level"},

	{name: "no proof", spoil: header("DPoP"), code: codeInvalidProof, says: "exactly one"},
	{name: "two proofs", spoil: func(_ *epj, r *http.Request) { r.Header.Add("DPoP", r.Header.Get("DPoP")) }, code: codeInvalidProof, says: "exactly one"},
	{name: "htm", prepare: proven("htm", "GET"), code: codeInvalidProof, says: "htm"},
	{name: "htm in small letters", prepare: proven("htm", "post"), code: codeInvalidProof, says: "htm"},
	{name: "htu with query", prepare: func(e *epj) { e.proof["htu"] = e.url + getPath + "?a=b" }, code: codeInvalidProof, says: "htu"},
	{name: "htu with %24", prepare: func(e *epj) { e.proof["htu"] = e.url + "/Patient/%24getMedication" }, code: codeInvalidProof, says: "htu"},
	{name: "htu with https", prepare: func(e *epj) { e.proof["htu"] = strings.Replace(e.url, "http:", "https:", 1) + getPath }, code: codeInvalidProof, says: "htu"},
	{name: "htu with a slash more", prepare: func(e *epj) { e.proof["htu"] = e.url + getPath + "/" }, code: codeInvalidProof, says: "htu"},
	{name: "old proof", prepare: func(e *epj) { e.proof["iat"] = time.Now().Unix() - 8 }, code: codeInvalidProof, says: "iat"},
	{name: "proof from the future", prepare: func(e *epj) { e.proof["iat"] = time.Now().Unix() + 7 }, code: codeInvalidProof, says: "iat"},
	{name: "no iat", prepare: proven("iat", nil), code: codeInvalidProof, says: "iat"},
	{name: "no jti", prepare: proven("jti", nil), code: codeInvalidProof, says: "jti"},
	{name: "no ath", prepare: proven("ath", nil), code: codeInvalidProof, says: "ath"},
	{name: "ath of another token", prepare: proven("ath", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), code: codeInvalidProof, says: "ath"},
	{name: "replayed proof", spoil: func(e *epj, r *http.Request) {
		if got := e.send(r.Clone(e.t.Context())); got.status == 401 {
			e.t.Fatal("the first use of the proof was refused")
		}
	}, code: codeInvalidProof, says: "seen before"},
}

// wellFormed is RFC 9110's challenge with the two parameters we give.
var wellFormed = regexp.MustCompile(`^(DPoP|Bearer) error="[a-z_]+", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]+"$`)

func TestRefusals(t *testing.T) {
	for _, row := range refusalRows {
		t.Run(row.name, func(t *testing.T) {
			e := newEPJ(t)
			if row.prepare != nil {
				row.prepare(e)
			}
			r := e.request("POST", getPath+"?pid="+testPID, SampleGetMedication(testPID))
			if row.spoil != nil {
				row.spoil(e, r)
			}
			r.Body, _ = r.GetBody()
			done := e.sim.WorkDone(getPath, "")
			got := e.send(r)
			want := row.status
			if want == 0 {
				want = 401
			}
			challenge := got.header.Get("WWW-Authenticate")
			if got.status != want || !wellFormed.MatchString(challenge) || !strings.HasPrefix(challenge, `DPoP error="`+row.code+`"`) {
				t.Fatalf("status %d, challenge %q; want %d and %s", got.status, challenge, want, row.code)
			}
			if !strings.Contains(challenge, row.says) {
				t.Errorf("challenge %q does not say %q", challenge, row.says)
			}
			outcome(t, got)
			o := e.last()
			if o.Accepted || o.WorkDone || o.Refusal != row.code || o.Status != want || o.BodyLength != 0 {
				t.Errorf("the ledger says %+v", o)
			}
			if e.sim.WorkDone(getPath, "") != done {
				t.Error("work was done")
			}
		})
	}
}

// TestAccepted: what differs from the ordinary and must pass all the same.
func TestAccepted(t *testing.T) {
	for name, prepare := range map[string]func(*epj){
		"ordinary":            func(*epj) {},
		"without child":       claim(claimChild, nil),
		"audience as a list":  claim("aud", []any{"other", sfmAudience}),
		"scope as a text":     claim("scope", "openid e-helse:sfm.api/sfm.api2"),
		"level as a number":   claim(claimLevel, 4),
		"migration scope":     claim("scope", []any{"e-helse:sfm.api/sfm-migrering.api2"}),
		"no HPR number":       claim("helseid://claims/hpr/hpr_number", nil),
		"proof 5 seconds old": func(e *epj) { e.proof["iat"] = time.Now().Unix() - 5 },
		"proof 4 s ahead":     func(e *epj) { e.proof["iat"] = time.Now().Unix() + 4 },
		"single-tenant": func(e *epj) {
			e.claims[claimTenancy], e.claims[claimJournal], e.claims[claimSFMID] = nil, nil, testJournal
		},
		"no supplier, single":  func(e *epj) { e.claims[claimTenancy], e.claims[claimSupplier] = nil, nil },
		"tenancy in few words": claim(claimTenancy, "multi"),
	} {
		t.Run(name, func(t *testing.T) {
			e := newEPJ(t)
			prepare(e)
			e.mustCall("POST", getPath, SampleGetMedication(testPID))
			if o := e.last(); o.Tenant.Journal != strings.ToLower(testJournal) || o.Tenant.Parent != testParent {
				t.Errorf("tenant = %+v", o.Tenant)
			}
		})
	}
}

// TestRefusedBeforeTheBody: a client that waits with its body for "100 Continue" gets the 401 without sending it.
func TestRefusedBeforeTheBody(t *testing.T) {
	e := newEPJ(t)
	for _, good := range []bool{true, false} {
		body := &countingBody{left: 1 << 20}
		r := e.request("POST", "/echo", nil)
		r.Body, r.ContentLength, r.GetBody = body, 1<<20, nil
		r.Header.Set("Expect", "100-continue")
		if !good {
			r.Header.Del("DPoP")
		}
		got := e.send(r)
		switch {
		case good && (got.status != 200 || body.read != 1<<20):
			t.Errorf("good call: status %d, %d bytes read", got.status, body.read)
		case !good && (got.status != 401 || body.read != 0):
			t.Errorf("refused call: status %d, %d bytes of the body read", got.status, body.read)
		}
	}
}

type countingBody struct{ left, read int }

func (b *countingBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), b.left)
	b.left -= n
	b.read += n
	return n, nil
}

func (b *countingBody) Close() error { return nil }

// TestProofsOfGoJose: the stand-in takes proofs and tells thumbprints as go-jose makes them.
func TestProofsOfGoJose(t *testing.T) {
	e := newEPJ(t)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: e.key},
		(&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	r := e.request("POST", getPath, SampleGetMedication(testPID))
	_, ours, _ := strings.Cut(r.Header.Get("DPoP"), ".")
	payload, _, _ := strings.Cut(ours, ".")
	claims, err := decodeBase64URL(payload)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("DPoP", compact)
	if got := e.send(r); got.status != 200 {
		t.Errorf("status %d: %s", got.status, got.header.Get("WWW-Authenticate"))
	}
}

// TestLedgerAndSeenKeepSecrets: neither holds the token, the proof, the person's number or the query string.
func TestLedgerAndSeenKeepSecrets(t *testing.T) {
	e := newEPJ(t)
	r := e.request("GET", "/Task?code=10&PatientNiN="+testPID, nil)
	r.Header.Set("X-Request-Id", "request-7")
	r.Header.Set("Sfm-Session", "handle")
	r.Header.Set("Cookie", "a=b")
	e.send(r)
	ledger, err := json.Marshal(e.sim.Ledger())
	if err != nil {
		t.Fatal(err)
	}
	seen, err := json.Marshal(e.sim.Seen())
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for name, secret := range map[string]string{"token": token, "proof": r.Header.Get("DPoP"), "pid": testPID, "query": "PatientNiN", "handle": "handle"} {
		if strings.Contains(string(ledger), secret) {
			t.Errorf("the ledger holds the %s", name)
		}
		if strings.Contains(string(seen), secret) {
			t.Errorf("what was seen holds the %s", name)
		}
	}
	o := e.last()
	if o.RequestID != "request-7" || o.Subject != "sub-1" || o.TokenMarginS < 590 || o.TokenMarginS > 600 || o.ProofAgeMS < 0 || o.ProofAgeMS > 3000 || len(o.JTIHash) != 16 || len(o.TokenHash) != 16 {
		t.Errorf("the ledger says %+v", o)
	}
	if got := strings.Join(o.Strangers, " "); got != "Cookie Sfm-Session" {
		t.Errorf("strangers = %q", got)
	}
	last := e.sim.Seen()[0]
	if last.TokenClaims[claimParent] != testParent || last.TokenClaims[claimPID] != "***********" || last.ProofClaims["htm"] != "GET" || last.Path != "/Task" {
		t.Errorf("seen: %+v", last)
	}
}

func TestSeenIsBounded(t *testing.T) {
	list := &seenList{}
	for range seenCap + 5 {
		list.add(Seen{})
	}
	if len(list.last) != seenCap {
		t.Errorf("%d kept, want %d", len(list.last), seenCap)
	}
}

// TestUnauthenticatedMetadata: the only thing that is told to everybody.
func TestUnauthenticatedMetadata(t *testing.T) {
	e := newEPJ(t)
	for path, want := range map[string]int{"/metadata": 200, "/Organization": 401, "/nothing": 401, "/echo": 401} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", e.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.send(r); got.status != want {
			t.Errorf("GET %s without token: %d, want %d", path, got.status, want)
		}
	}
}
