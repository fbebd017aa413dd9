package app_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/simulator"
)

// echo sends a request to SFM's /echo, which tells what arrived.
func (w *world) echo(r *http.Request) (answer, simulator.Echo) {
	w.t.Helper()
	a := w.send(r)
	var e simulator.Echo
	if err := json.Unmarshal(a.body, &e); a.status != http.StatusOK || err != nil {
		w.t.Fatalf("%s %s: %d %s", r.Method, r.URL.Path, a.status, a.header.Get("Sidecar-Error"))
	}
	return a, e
}

// caller is a world with a person logged in, and the headers of a good call.
func caller(t *testing.T, s setup) (*world, []string) {
	t.Helper()
	w := newWorld(t, s)
	return w, slices.Clip(headers(w.logIn("lege"), simulator.Tenants()[0]))
}

// What speaks to the sidecar, or of the caller's machine, never reaches SFM; what
// speaks to SFM arrives as it was sent.
func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{env: []string{"OTEL_SDK_DISABLED=true"}}) // TestTraceOfACall has the other case
	private := []string{
		"Authorization", "Basic c3ludGhldGljOnN5bnRoZXRpYw==", "DPoP", "synthetic", "Cookie", "a=b", "Forwarded", "for=192.0.2.1",
		"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Host", "epj.example", "X-Forwarded-Proto", "https", "X-Forwarded-Anything", "x",
		"Sfm-Grant", "user", "Sfm-Journal-Intent", "existing", "Sidecar-Key", "synthetic", "Proxy-Authorization", "Basic eDp5",
		"Keep-Alive", "timeout=5", "Te", "gzip", "Connection", "X-Hop", "X-Hop", "of this connection only",
	}
	public := []string{
		"Accept", "application/fhir+json", "Accept-Language", "nb, en;q=0.5", "Content-Type", "application/fhir+json; charset=utf-8",
		"Expires", "0", "If-Match", `W/"3"`, "Idempotency-Key", "0b5ff2f8", "Prefer", "return=minimal", "Sfm-User-Agent", "epj/1.0",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "User-Agent", "epj/1.0", "X-Anything", "one",
		"X-Request-Id", "hygiene",
	}
	_, e := w.echo(w.request(http.MethodPost, "/basis/echo", "body", slices.Concat(good, private, public)...))
	for i := 0; i < len(public); i += 2 {
		if got := e.Headers.Values(public[i]); !cmp.Equal(got, public[i+1:i+2]) {
			t.Errorf("%s arrived as %q, want %q", public[i], got, public[i+1])
		}
	}
	for i := 0; i < len(private); i += 2 {
		if name := private[i]; name != "Authorization" && name != "DPoP" && e.Headers.Values(name) != nil {
			t.Errorf("%s reached SFM", name) // these two are the sidecar's own here, or SFM would have refused the call
		}
	}
	op := w.operations("hygiene")
	if len(op) != 1 || len(op[0].Strangers) > 0 {
		t.Errorf("SFM saw %d calls, with the strangers %v", len(op), op[0].Strangers)
	}
	known := slices.Concat(public, []string{"Content-Length", "", "Accept-Encoding", ""})
	for name := range e.Headers {
		if !slices.ContainsFunc(known, func(s string) bool { return strings.EqualFold(s, name) }) {
			t.Errorf("the sidecar added %s", name)
		}
	}
	if e.Host != strings.TrimPrefix(w.sim.SFM, "http://") || e.BodyFraming != "length" || e.BodyLength != 4 {
		t.Errorf("Host %s, a body of %d bytes framed by %s", e.Host, e.BodyLength, e.BodyFraming)
	}
}

// What SFM says to the sidecar never reaches the EPJ, and nothing of SFM's passes
// for a word of the sidecar.
func TestAnswerHeaders(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	q := url.Values{
		"header": {
			"Set-Cookie:a=b", "DPoP-Nonce:synthetic", "WWW-Authenticate:DPoP", "Sidecar-Error:internal", "Sidecar-Retryable:true", "Sidecar-New:x",
			"ETag:W/\"4\"", "Expires:0", "X-Anything:one", "X-Anything:two", "Cache-Control:no-cache", "Retry-After:3",
		},
		"early":   {"Link:</style.css>; rel=preload", "Set-Cookie:c=d"},
		"trailer": {"X-Checksum:abc", "Set-Cookie:e=f", "Sidecar-Error:internal"},
	}
	var hints []textproto.MIMEHeader
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		if status != http.StatusEarlyHints {
			return fmt.Errorf("interim answer %d", status)
		}
		hints = append(hints, h)
		return nil
	}}
	r := w.request(http.MethodPost, "/basis/echo?"+q.Encode(), "body", good...)
	resp, err := w.client.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Set-Cookie", "DPoP-Nonce", "WWW-Authenticate", "Sidecar-Error", "Sidecar-Retryable", "Sidecar-New"} {
		if resp.Header.Values(name) != nil || resp.Trailer.Values(name) != nil {
			t.Errorf("%s reached the EPJ", name)
		}
	}
	want := http.Header{"Etag": {`W/"4"`}, "Expires": {"0"}, "X-Anything": {"one", "two"}, "Cache-Control": {"no-cache"}, "Retry-After": {"3"}}
	for name := range want {
		if !cmp.Equal(resp.Header[name], want[name]) {
			t.Errorf("%s came as %q, want %q", name, resp.Header[name], want[name])
		}
	}
	if resp.Trailer.Get("X-Checksum") != "abc" {
		t.Errorf("the trailers were %v", resp.Trailer)
	}
	if len(hints) != 1 || hints[0].Get("Link") == "" || hints[0].Get("Set-Cookie") != "" {
		t.Errorf("the early hints were %v", hints)
	}
}

// Every path arrives byte for byte, and the proof names it as SFM's judge does: as
// a string, without the query.
func TestAwkwardPaths(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{env: []string{"SFM_UPSTREAMS=basis={SFM},deep={SFM}/api/v2"}})
	for i, path := range []string{
		"/Patient/$getMedication", "/Patient/%24getMedication", "/echo/a%2Fb", "/echo/a%2fb", "//echo//x", "/echo//", "/echo/", "/echo",
		"/echo/a;b=c", "/echo/a,b", "/echo/a+b", "/echo/a%20b", "/echo/a%2Bb", "/echo/%C3%A6%C3%B8%C3%A5", "/echo/%c3%a6", "/echo/a:b@c",
		"/echo/(a)!*'~", "/echo/[a]", "/echo/a&b=c", "/echo/%25", "/echo/%2525", "/echo/...", "/echo/a..b/.c", "/echo/%7E", "/echo/%22%3C%3E",
		"/echo/_history/1", "/echo/" + strings.Repeat("x", 2000), "", "/",
	} {
		for prefix, base := range map[string]string{"/basis": "", "/deep": "/api/v2"} {
			for _, query := range []string{"", "?", "?identifier=a%7Cb&code=x;y+z&PatientNiN=%24"} {
				id := fmt.Sprintf("path-%d%s-%d", i, prefix, len(query))
				u, err := url.Parse(w.base + prefix + path + query)
				if err != nil {
					t.Fatal(err)
				}
				r := w.request(http.MethodGet, "/", "", append(good, "X-Request-Id", id)...)
				r.URL = u
				a := w.send(r)
				want := base + path
				if want == "" {
					want = "/"
				}
				ops := w.operations(id)
				if len(ops) != 1 || !ops[0].Accepted || ops[0].Path != want || a.header.Get("Sidecar-Error") != "" {
					t.Fatalf("%s%s: %d calls reached SFM, answer %d %s", prefix, path, len(ops), a.status, a.header.Get("Sidecar-Error"))
				}
				var e simulator.Echo
				if ops[0].Name == "echo" && json.Unmarshal(a.body, &e) == nil && e.QueryLength != max(len(query)-1, 0) {
					t.Errorf("%s%s: the query came with %d bytes, want %d", prefix, path, e.QueryLength, len(query)-1)
				}
			}
		}
	}
}

// Compressed answers stay as SFM packed them; nothing is packed unasked.
func TestCompressionIsLeftAlone(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	get := func(encoding string) answer {
		return w.send(w.request(http.MethodPost, "/basis/Patient/$getMedication", string(simulator.SampleGetMedication("13827015061")),
			append(good, "Accept-Encoding", encoding)...))
	}
	plain, packed := get("identity"), get("gzip")
	if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("Content-Encoding %q and %q", plain.header.Get("Content-Encoding"), packed.header.Get("Content-Encoding"))
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(unpacked, plain.body) || len(plain.body) < 20_000 {
		t.Errorf("%d packed bytes are %d, not the %d of the plain answer: %v", len(packed.body), len(unpacked), len(plain.body), err)
	}
	if got := packed.header.Get("Content-Length"); got != strconv.Itoa(len(packed.body)) || packed.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("Content-Length %s for %d bytes, Vary %q", got, len(packed.body), packed.header.Get("Vary"))
	}
}

func TestRequestTrailers(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	r := w.request(http.MethodPost, "/basis/echo", "", good...)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), -1
	r.Trailer = http.Header{"X-Checksum": nil, "X-Forwarded-For": nil, "Cookie": nil}
	r.Body = &trailing{Reader: r.Body, trailer: r.Trailer}
	_, e := w.echo(r)
	sum := sha256.Sum256(body)
	if e.BodySHA256 != hex.EncodeToString(sum[:]) || e.BodyFraming != "chunked" {
		t.Errorf("%d bytes arrived, framed by %s", e.BodyLength, e.BodyFraming)
	}
	if want := (http.Header{"X-Checksum": {"abc"}}); !cmp.Equal(compact(e.Trailers), want) {
		t.Errorf("the trailers were %v, want %v", e.Trailers, want)
	}
}

// trailing fills a request's trailers when its body has been read, as a client
// that counts as it goes would.
type trailing struct {
	io.Reader
	trailer http.Header
}

func (r *trailing) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		for name := range r.trailer {
			r.trailer[name] = []string{"abc"}
		}
	}
	return n, err
}

func (r *trailing) Close() error { return nil }

// compact drops names that were announced and never came.
func compact(h http.Header) http.Header {
	for name, values := range h {
		if len(values) == 0 {
			delete(h, name)
		}
	}
	return h
}

// An EPJ that announces its body is asked for it when SFM has taken the call, and
// not at all when the call is refused.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	body := strings.Repeat("x", 100_000)
	for name, tt := range map[string]struct {
		headers []string
		knobs   turn
		lines   []string // status lines, in order
	}{
		"taken":                {headers: good, lines: []string{"100", "200"}},
		"nonce wanted":         {headers: good, knobs: nonces(0), lines: []string{"100", "200"}},
		"refused by the gate":  {headers: append(good, "Sfm-Grant", "nobodys"), lines: []string{"400"}},
		"refused by SFM's 401": {headers: good, knobs: rejects(5), lines: []string{"401"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.sim.SetKnobs(func(k *simulator.Knobs) {
				k.SFM = simulator.SFMKnobs{}
				if tt.knobs != nil {
					tt.knobs(k)
				}
			})
			conn, err := net.Dial("tcp", w.sidecar.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST /basis/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", len(body))
			for i := 0; i < len(tt.headers); i += 2 {
				fmt.Fprintf(conn, "%s: %s\r\n", tt.headers[i], tt.headers[i+1])
			}
			fmt.Fprint(conn, "\r\n")
			reader := bufio.NewReader(conn)
			for _, want := range tt.lines {
				resp, err := http.ReadResponse(reader, nil)
				if err != nil || strconv.Itoa(resp.StatusCode) != want {
					t.Fatalf("want %s: %v %v", want, resp, err)
				}
				if want == "100" {
					fmt.Fprint(conn, body)
				}
				resp.Body.Close()
			}
		})
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	a := w.send(w.request(http.MethodHead, "/basis/echo", "", append(good, "X-Request-Id", "head")...))
	if n, err := strconv.Atoi(a.header.Get("Content-Length")); a.status != http.StatusOK || err != nil || n < 100 || len(a.body) > 0 {
		t.Errorf("%d, Content-Length %q, %d bytes", a.status, a.header.Get("Content-Length"), len(a.body))
	}
	if ops := w.operations("head"); len(ops) != 1 || ops[0].Method != http.MethodHead {
		t.Errorf("SFM saw %d calls", len(ops))
	}
	a = w.send(w.request(http.MethodHead, "/basis/echo", ""))
	if a.status != http.StatusBadRequest || a.header.Get("Sidecar-Error") != "tenant-missing" || len(a.body) > 0 {
		t.Errorf("refused: %d %s, %d bytes", a.status, a.header.Get("Sidecar-Error"), len(a.body))
	}
}

// A resumable upload goes on at the address that SFM gave for it, which the EPJ
// reaches through the sidecar. It takes a token of the migration scope.
func TestResumableUpload(t *testing.T) {
	t.Parallel()
	knobs := simulator.DefaultKnobs()
	knobs.SFM.StrictScopes = true
	w, good := caller(t, setup{
		sim: simulator.Options{Knobs: &knobs},
		env: []string{"SFM_UPSTREAMS=basis={SFM},migration={SFM}/v2"},
	})
	tus := append(good, "Tus-Resumable", "1.0.0")
	content := bytes.Repeat([]byte("journal "), 25_000)
	half := len(content) / 2

	a := w.send(w.request(http.MethodPost, "/migration/files", "", append(tus, "Upload-Length", strconv.Itoa(len(content)))...))
	location := a.header.Get("Location")
	path, ok := strings.CutPrefix(location, w.base)
	if a.status != http.StatusCreated || !ok || !strings.HasPrefix(path, "/migration/files/") {
		t.Fatalf("creating: %d %s, Location %q", a.status, a.header.Get("Sidecar-Error"), location)
	}
	part := func(offset int, part []byte) answer {
		return w.send(w.request(http.MethodPatch, path, string(part), append(tus,
			"Upload-Offset", strconv.Itoa(offset), "Content-Type", "application/offset+octet-stream")...))
	}
	if a := part(0, content[:half]); a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != strconv.Itoa(half) {
		t.Errorf("the first half: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	if a := w.send(w.request(http.MethodHead, path, "", tus...)); a.status != http.StatusOK || a.header.Get("Upload-Offset") != strconv.Itoa(half) {
		t.Errorf("asking how far: %d, Upload-Offset %s", a.status, a.header.Get("Upload-Offset"))
	}
	if a := part(half, content[half:]); a.status != http.StatusNoContent {
		t.Errorf("the second half: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	sum := sha256.Sum256(content)
	uploads := w.sim.SFMUploads()
	if len(uploads) != 1 || uploads[0].Offset != int64(len(content)) || uploads[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("SFM has %+v", uploads)
	}
	if a := w.send(w.request(http.MethodGet, "/basis/Task", "", good...)); a.status != http.StatusOK {
		t.Errorf("the other upstream's token: %d %s", a.status, a.header.Get("Sidecar-Error"))
	}
	if n := len(w.refreshes()); n != 2 {
		t.Errorf("%d tokens were fetched, want one for each scope", n)
	}
}

// Addresses in an answer lead back through the sidecar, or away from SFM, or
// nowhere.
func TestLocations(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{env: []string{"SFM_UPSTREAMS=deep={SFM}/api/v2"}})
	local := w.base + "/deep"
	for sent, want := range map[string]string{
		w.sim.SFM + "/api/v2/Organization/1":         local + "/Organization/1",
		w.sim.SFM + "/api/v2/Organization/1?a=b;c":   local + "/Organization/1?a=b;c",
		"/api/v2/Organization/1":                     "/deep/Organization/1",
		"2":                                          "/deep/echo/2",
		w.sim.SFM + "/Organization/1":                "",
		"https://elsewhere.example/api/v2/files/1":   "https://elsewhere.example/api/v2/files/1",
		w.sim.SFM + "/api/v2/Patient/$getMedication": local + "/Patient/$getMedication",
	} {
		q := url.Values{"status": {"201"}, "header": {"Location:" + sent, "Content-Location:" + sent}}
		a := w.send(w.request(http.MethodPost, "/deep/echo/1?"+q.Encode(), "x", good...))
		if a.status != http.StatusCreated || a.header.Get("Location") != want || a.header.Get("Content-Location") != want {
			t.Errorf("%s: %d, Location %q and Content-Location %q, want %q", sent, a.status, a.header.Get("Location"), a.header.Get("Content-Location"), want)
		}
	}
	q := url.Values{"status": {"307"}, "header": {"Location:" + w.sim.SFM + "/api/v2/echo/next"}}
	a := w.send(w.request(http.MethodPost, "/deep/echo/redirect?"+q.Encode(), "x", good...))
	if a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != local+"/echo/next" {
		t.Errorf("a redirect: %d %q", a.status, a.header.Get("Location"))
	}
	for _, op := range w.sim.Ledger() {
		if strings.HasSuffix(op.Path, "/next") {
			t.Error("the sidecar followed a redirect")
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	made := map[string]bool{}
	for _, tt := range []struct {
		sent string
		kept bool
	}{
		{"7f1c-4.a:b/c+d=e@f~", true}, {strings.Repeat("x.", 64), true},
		{"", false}, {strings.Repeat("x.", 64) + "x", false}, {"two words", false}, {"13827015061", false}, {`quote"`, false},
	} {
		h := good
		if tt.sent != "" {
			h = append(slices.Clone(good), "X-Request-Id", tt.sent)
		}
		for _, path := range []string{"/basis/Task", "/nowhere", "/_sidecar/nothing"} {
			id := w.send(w.request(http.MethodGet, path, "", h...)).header.Get("Sidecar-Request-Id")
			if id == "" || tt.kept != (id == tt.sent) || !tt.kept && made[id] {
				t.Errorf("%s: sent %q, got %q", path, tt.sent, id)
			}
			made[id] = true
		}
	}
}

// A journal-id goes to HelseID as it was written, without braces, and all its
// spellings share one token.
func TestJournalSpellings(t *testing.T) {
	t.Parallel()
	lower := simulator.Tenants()[0].Journal
	upper := strings.ToUpper(lower)
	for name, tt := range map[string]struct {
		spellings []string
		sent      string
	}{
		"upper first": {[]string{"{" + upper + "}", lower, upper, "{" + lower + "}"}, upper},
		"lower first": {[]string{lower, "{" + upper + "}", upper}, lower},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{})
			handle := w.logIn("lege")
			for _, spelling := range tt.spellings {
				tenant := simulator.Tenants()[0]
				tenant.Journal = spelling
				a := w.send(w.request(http.MethodGet, "/basis/Task", "", headers(handle, tenant)...))
				if a.status != http.StatusOK {
					t.Fatalf("%s: %d %s", spelling, a.status, a.header.Get("Sidecar-Error"))
				}
			}
			fetched := w.refreshes()
			if len(fetched) != 1 || fetched[0].Tenant.Journal != tt.sent {
				t.Errorf("%d tokens were fetched, the first for %q, want one for %q", len(fetched), fetched[0].Tenant.Journal, tt.sent)
			}
			tokens := map[string]bool{}
			for _, op := range w.sim.Ledger() {
				tokens[op.TokenHash] = true
			}
			if len(tokens) != 1 {
				t.Errorf("SFM saw %d tokens", len(tokens))
			}
		})
	}
}

// A body of SFM's that breaks off is never passed on as if it were whole.
func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	for _, path := range []string{"/basis/download?bytes=300000", "/basis/download?bytes=300000&length=1", "/basis/Task"} {
		w.sim.SetKnobs(func(k *simulator.Knobs) {
			k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultResetHalf, When: simulator.AfterWork, Count: 1}}
		})
		a, err := w.do(w.request(http.MethodGet, path, "", good...))
		if err == nil {
			t.Errorf("%.20s: %d with %d bytes came as if whole", path, a.status, len(a.body))
		}
		if a, err := w.do(w.request(http.MethodGet, path, "", good...)); err != nil || a.status != http.StatusOK {
			t.Errorf("%.20s: the next call: %d %v", path, a.status, err)
		}
	}
}

// A 401 that another token does not mend is SFM's answer, without the challenge,
// and the token stays: a fault of one side must not become a storm of refreshes.
func TestPersistent401(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	w.sim.SetKnobs(rejects(100))
	for i := range 10 {
		a := w.send(w.request(http.MethodGet, "/basis/Task", "", good...))
		if a.status != http.StatusUnauthorized || a.header.Get("Sidecar-Error") != "" || !strings.Contains(string(a.body), "OperationOutcome") {
			t.Errorf("call %d: %d %s", i, a.status, a.header.Get("Sidecar-Error"))
		}
		if a.header.Get("WWW-Authenticate") != "" || a.header.Get("DPoP-Nonce") != "" {
			t.Errorf("call %d: SFM's challenge reached the EPJ", i)
		}
	}
	if n, calls := len(w.refreshes()), len(w.sim.Ledger()); n != 2 || calls != 11 {
		t.Errorf("%d tokens were fetched for %d attempts, want 2 for 11", n, calls)
	}
	w.sim.SetKnobs(rejects(0))
	if a := w.send(w.request(http.MethodGet, "/basis/Task", "", good...)); a.status != http.StatusOK {
		t.Errorf("when SFM takes the token again: %d", a.status)
	}
}

// A body that nobody asked for is read away behind the answer, so that the next
// call on the same connection is a call like any other.
func TestConnectionOutlivesAnUnreadBody(t *testing.T) {
	t.Parallel()
	w, good := caller(t, setup{})
	w.sim.SetKnobs(func(k *simulator.Knobs) {
		k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultStatus, When: simulator.BeforeBody, Path: "/echo/refused"}}
	})
	body, reused := strings.Repeat("x", large), 0
	trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if c.Reused {
			reused++
		}
	}}
	for i := range 100 {
		if a := w.send(w.request(http.MethodPost, "/basis/echo/refused", body, good...)); a.status != http.StatusInternalServerError {
			t.Fatalf("call %d: %d %s", i, a.status, a.header.Get("Sidecar-Error"))
		}
		r := w.request(http.MethodPost, "/basis/echo", body, good...)
		if a, err := w.do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace))); err != nil || a.status != http.StatusOK {
			t.Fatalf("the call after call %d: %d %v", i, a.status, err)
		}
	}
	if reused < 90 {
		t.Errorf("only %d of 100 calls met a kept connection", reused)
	}
}
