package proxy

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen is one attempt as SFM saw it.
type seen struct {
	authorization, proof string
	length               int64
	sum                  uint32
	expect               bool
	read                 bool
}

// refuser answers the first attempts from a list, and 200 after that.
type refuser struct {
	mu      sync.Mutex
	answers []func(http.ResponseWriter, *http.Request)
	got     []seen
}

func (f *refuser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := seen{authorization: r.Header.Get("Authorization"), proof: r.Header.Get("Dpop"), expect: r.Header.Get("Expect") != ""}
	f.mu.Lock()
	n := len(f.got)
	f.mu.Unlock()
	if n >= len(f.answers) {
		body, _ := io.ReadAll(r.Body)
		s.length, s.sum, s.read = int64(len(body)), crc32.ChecksumIEEE(body), true
	}
	f.mu.Lock()
	f.got = append(f.got, s)
	f.mu.Unlock()
	if n < len(f.answers) {
		f.answers[n](w, r)
	}
}

func answer401(challenge string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		w.Header().Set("DPoP-Nonce", "fresh-nonce")
		w.WriteHeader(401)
		io.WriteString(w, "no")
	}
}

func readFirst(f func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); f(w, r) }
}

const (
	nonceWanted  = `DPoP error="use_dpop_nonce", error_description="x"`
	invalidToken = `Other error="invalid_token"`
)

type handler = func(http.ResponseWriter, *http.Request)

func TestTheOneExtraAttempt(t *testing.T) {
	expectation := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(417) }
	tests := []struct {
		name     string
		answers  []handler
		body     int
		chunked  bool
		keep     bool // Forget says no
		bearer   bool
		status   int
		code     string
		attempts int
		forgets  int
		tokens   int // how many tokens were asked for
	}{
		{name: "nonce", answers: []handler{answer401(nonceWanted)}, status: 200, attempts: 2, tokens: 1},
		{name: "nonce, 1 KiB", answers: []handler{answer401(nonceWanted)}, body: 1 << 10, status: 200, attempts: 2, tokens: 1},
		{name: "nonce, 64 KiB after it was read", answers: []handler{readFirst(answer401(nonceWanted))}, body: maxKept, status: 200, attempts: 2, tokens: 1},
		{name: "nonce, one byte more", answers: []handler{answer401(nonceWanted)}, body: maxKept + 1, status: 200, attempts: 2, tokens: 1},
		{name: "nonce, 5 MiB", answers: []handler{answer401(nonceWanted)}, body: 5 << 20, status: 200, attempts: 2, tokens: 1},
		{name: "nonce, 5 MiB in chunks", answers: []handler{answer401(nonceWanted)}, body: 5 << 20, chunked: true, status: 200, attempts: 2, tokens: 1},
		{name: "nonce, 5 MiB after it was read", answers: []handler{readFirst(answer401(nonceWanted))}, body: 5 << 20, status: 503, code: "resend-needed", attempts: 1, tokens: 1},
		{name: "token", answers: []handler{answer401(invalidToken)}, status: 200, attempts: 2, forgets: 1, tokens: 2},
		{name: "token, bearer", answers: []handler{answer401(`Bearer error="invalid_token"`)}, bearer: true, status: 200, attempts: 2, forgets: 1, tokens: 2},
		{name: "token, 5 MiB", answers: []handler{answer401(invalidToken)}, body: 5 << 20, status: 200, attempts: 2, forgets: 1, tokens: 2},
		{name: "token, 5 MiB after it was read", answers: []handler{readFirst(answer401(invalidToken))}, body: 5 << 20, status: 503, code: "resend-needed", attempts: 1, forgets: 1, tokens: 1},
		{name: "token, replaced lately", answers: []handler{answer401(invalidToken)}, keep: true, status: 401, attempts: 1, forgets: 1, tokens: 1},
		{name: "nonce twice", answers: []handler{answer401(nonceWanted), answer401(nonceWanted)}, status: 401, attempts: 2, tokens: 1},
		{name: "nonce, then token", answers: []handler{answer401(nonceWanted), answer401(invalidToken)}, status: 401, attempts: 2, tokens: 1},
		{name: "no reason given", answers: []handler{answer401("")}, status: 401, attempts: 1, tokens: 1},
		{name: "another reason", answers: []handler{answer401(`DPoP error="invalid_dpop_proof"`)}, status: 401, attempts: 1, tokens: 1},
		{name: "403 with a reason", answers: []handler{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", nonceWanted)
			w.WriteHeader(403)
		}}, status: 403, attempts: 1, tokens: 1},
		{name: "500", answers: []handler{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }}, body: 10, status: 500, attempts: 1, tokens: 1},
		{name: "503", answers: []handler{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }}, status: 503, attempts: 1, tokens: 1},
		{name: "redirect", answers: []handler{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(307)
		}}, body: 10, status: 307, attempts: 1, tokens: 1},
		{name: "417 to our Expect", answers: []handler{expectation}, body: 1 << 20, status: 200, attempts: 2, tokens: 1},
		{name: "417 without our Expect", answers: []handler{expectation}, body: 10, status: 417, attempts: 1, tokens: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sfm := &refuser{answers: tt.answers}
			h := open(t, upstreamServer(t, sfm.ServeHTTP), func(o *Options) {
				if tt.bearer {
					o.Upstreams[0].Scheme = "Bearer"
				}
			})
			h.tokens.keep = tt.keep
			body := bytes.Repeat([]byte{7}, tt.body)
			r := h.ask("POST", "/basis/x", bytes.NewReader(body))
			if tt.chunked {
				r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(body)), -1, nil
			}
			a := h.do(r)
			if tt.code != "" {
				h.refused(a, tt.code, tt.status)
			} else if a.StatusCode != tt.status || a.Header.Get("Sidecar-Error") != "" {
				t.Errorf("status %d, %s", a.StatusCode, a.Header.Get("Sidecar-Error"))
			}
			if a.Header.Get("WWW-Authenticate") != "" || a.Header.Get("DPoP-Nonce") != "" {
				t.Error("what is between SFM and the sidecar reached the EPJ")
			}
			h.checkAttempts(sfm, tt.attempts, tt.bearer)
			if h.tokens.forgets != tt.forgets || len(h.tokens.asks) != tt.tokens {
				t.Errorf("%d forgets, %d tokens", h.tokens.forgets, len(h.tokens.asks))
			}
			if last := sfm.got[len(sfm.got)-1]; last.read && (last.length != int64(tt.body) || last.sum != crc32.ChecksumIEEE(body)) {
				t.Errorf("SFM read %d bytes, or others", last.length)
			}
		})
	}
}

// checkAttempts checks how often SFM was asked, and that no proof was used
// twice.
func (h *house) checkAttempts(sfm *refuser, want int, bearer bool) {
	h.t.Helper()
	sfm.mu.Lock()
	defer sfm.mu.Unlock()
	if len(sfm.got) != want {
		h.t.Errorf("%d attempts, want %d", len(sfm.got), want)
	}
	proofs := map[string]bool{}
	for _, s := range sfm.got {
		if proofs[s.proof] && !bearer {
			h.t.Error("a proof was used twice")
		}
		proofs[s.proof] = true
		if (s.proof == "") != bearer {
			h.t.Error("a proof too many, or too few")
		}
	}
	if h.events.nonces > 1 {
		h.t.Errorf("%d nonce challenges", h.events.nonces)
	}
}

func TestNewTokenIsUsed(t *testing.T) {
	sfm := &refuser{answers: []handler{answer401(invalidToken)}}
	h := open(t, upstreamServer(t, sfm.ServeHTTP))
	h.get("/basis/x")
	if len(sfm.got) != 2 || sfm.got[0].authorization != "DPoP token-1" || sfm.got[1].authorization != "DPoP token-2" {
		t.Error("the second attempt did not carry the second token")
	}
}

func TestNoNewToken(t *testing.T) {
	sfm := &refuser{answers: []handler{answer401(invalidToken)}}
	h := open(t, upstreamServer(t, sfm.ServeHTTP))
	n := 0
	h.tokens.onToken = func(context.Context) {
		if n++; n == 2 {
			h.tokens.mu.Lock()
			h.tokens.err = coded{code: "helseid-unavailable"}
			h.tokens.mu.Unlock()
		}
	}
	h.refused(h.get("/basis/x"), "helseid-unavailable", 503)
}

// TestSilentOrigin shows that a wait for 100 Continue is paid once, not per
// call, and that no Expect is then sent.
func TestSilentOrigin(t *testing.T) {
	sfm := rawServer(t, nil)
	h := open(t, sfm.url)
	for i := range 3 {
		begun := time.Now()
		a := h.do(h.ask("POST", "/basis/x", bytes.NewReader(make([]byte, 100<<10))))
		if took := time.Since(begun); a.StatusCode != 200 || i == 0 && took < 900*time.Millisecond {
			t.Errorf("call %d: status %d after %v", i, a.StatusCode, took)
		}
	}
	var expects []string
	for _, r := range sfm.got() {
		expects = append(expects, r.header.Get("Expect"))
	}
	if got := strings.Join(expects, ","); got != "100-continue,," {
		t.Errorf("Expect: %q", got)
	}
}

func TestGarbageIsNotQuoted(t *testing.T) {
	sfm, _ := lineServer(t, "PERSON 12345678901 IS NOT HTTP\r\n\r\n")
	h := open(t, sfm)
	h.refused(h.get("/basis/x"), "upstream-outcome-unknown", 502)
	h.events.done(t, 1)
	if strings.Contains(h.log.String(), "12345678901") {
		t.Error("what SFM sent is in the log")
	}
}

func TestLogLine(t *testing.T) {
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") }))
	r := h.ask("GET", "/basis/secret-path?secret=query", nil)
	r.Header.Set("Sfm-Session", "secret-handle")
	r.Header.Set("X-Request-Id", "id-7")
	h.do(r)
	h.refused(h.get("/nothing/secret-path?secret=query"), "upstream-unknown", 404)
	h.events.done(t, 2)
	eventually(t, func() bool { return strings.Count(h.log.String(), "\n") == 2 })
	log := h.log.String()
	for _, want := range []string{`"msg":"call forwarded"`, `"msg":"call refused"`, `"request_id":"id-7"`, `"upstream":"basis"`, `"method":"GET"`,
		`"status":200`, `"whole_ms":`, `"sfm_ms":`, `"added_ms":`, `"code":"upstream-unknown"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "secret") || strings.Contains(log, "token-1") {
		t.Error("the log holds what it must not")
	}
}

// TestOverheadLeavesSFMOut compares with the whole, which grows with whatever
// else the machine is doing.
func TestOverheadLeavesSFMOut(t *testing.T) {
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Millisecond) // SFM's time to its headers
		w.(http.Flusher).Flush()
		time.Sleep(100 * time.Millisecond) // SFM's time to its body
	}))
	h.get("/basis/x")
	if c := h.events.done(t, 1); c.Whole < 300*time.Millisecond || c.Added > c.Whole-290*time.Millisecond {
		t.Errorf("whole %v, added %v", c.Whole, c.Added)
	}
	h.tokens.onToken = func(context.Context) {
		time.Sleep(100 * time.Millisecond) // HelseID's time
	}
	h.get("/basis/x")
	if c := h.events.done(t, 2); c.Added < 100*time.Millisecond {
		t.Errorf("waiting for a token is not counted: %v", c.Added)
	}
}

// TestAnswerBeforeTheBody is an upstream that refuses a large body at once and
// keeps the connection. The body must not follow then; net/http would have sent
// it, now and then soon enough to spoil the second attempt, had the request not
// been the connection's last.
func TestAnswerBeforeTheBody(t *testing.T) {
	for range 30 {
		first := true
		sfm := rawServer(t, nil)
		sfm.before = func(c net.Conn, _ http.Header) bool {
			if !first {
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				return true
			}
			first = false
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: "+nonceWanted+"\r\nContent-Length: 2\r\n\r\nno")
			if n, _ := io.Copy(io.Discard, c); n > 0 {
				t.Errorf("%d bytes of a refused body came", n)
			}
			return false
		}
		h := open(t, sfm.url)
		a := h.do(h.ask("POST", "/basis/x", bytes.NewReader(make([]byte, 1<<20))))
		if got := sfm.got(); a.StatusCode != 200 || len(got) != 2 || got[1].body != 1<<20 {
			t.Fatalf("status %d, %d arrivals", a.StatusCode, len(got))
		} else if !got[0].last {
			t.Error("net/http may send the body after the answer")
		}
	}
}

// A token that grows too old while a connection is made is not sent: the call
// goes on with another.
func TestTokenThatAgesWhileDialling(t *testing.T) {
	var seen []string
	address := upstreamServer(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Header.Get("Authorization")+" "+string(body))
	})
	for name, tt := range map[string]struct{ method, body string }{
		"GET": {"GET", ""}, "POST": {"POST", "body"}, "large POST": {"POST", strings.Repeat("x", maxKept+1)},
	} {
		t.Run(name, func(t *testing.T) {
			seen = nil
			h := open(t, address)
			asked := 0
			h.tokens.next = func() Token {
				asked++
				token := Token{AccessToken: fmt.Sprintf("token-%d", asked), Type: "DPoP"}
				if asked == 1 {
					token.Until = time.Now().Add(-time.Second)
				}
				return token
			}
			a := h.do(h.ask(tt.method, "/basis/x", strings.NewReader(tt.body)))
			if a.StatusCode != http.StatusOK || len(seen) != 1 || seen[0] != "DPoP token-2 "+tt.body {
				t.Errorf("status %d, %s; %d calls reached SFM", a.StatusCode, a.Header.Get("Sidecar-Error"), len(seen))
			}
		})
	}
}
