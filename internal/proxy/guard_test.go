package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"
)

// guardedSFM answers the guard's GETs with statuses in turn, the last for ever, and
// all else with 201.
type guardedSFM struct {
	mu       sync.Mutex // guards all below
	statuses []int
	bearer   string // challenge beside a 401
	gets     []*http.Request
	posts    []*http.Request
	proofs   []string
	refuse   int // so many POSTs get 401 invalid_token
}

func (s *guardedSFM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proofs = append(s.proofs, r.Header.Get("Dpop"))
	if r.Header.Get("User-Agent") != "sfm-sidecar" {
		s.posts = append(s.posts, r)
		if s.refuse > 0 {
			s.refuse--
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusCreated)
		return
	}
	status := s.statuses[min(len(s.gets), len(s.statuses)-1)]
	s.gets = append(s.gets, r)
	if status == http.StatusUnauthorized && s.bearer != "" {
		w.Header().Set("DPoP-Nonce", fmt.Sprint("nonce-", len(s.gets)))
		w.Header().Set("WWW-Authenticate", s.bearer)
	}
	w.WriteHeader(status)
}

// intend is a POST of an Organization with an intent.
func (h *house) intend(path, intent string) *http.Request {
	r := h.ask("POST", path, strings.NewReader(`{"resourceType":"Organization"}`))
	if intent != "" {
		r.Header.Set("Sfm-Journal-Intent", intent)
	}
	return r
}

// What SFM answers to the guard decides, and nothing else does (contract 8).
func TestJournalGuard(t *testing.T) {
	tests := []struct {
		intent string
		status int
		reason string // empty: the call goes on
	}{
		{"new", 401, ""}, {"new", 403, ""}, {"new", 404, ""},
		{"new", 200, "journal-exists"}, {"new", 201, "unclear"}, {"new", 204, "unclear"}, {"new", 302, "unclear"},
		{"new", 400, "unclear"}, {"new", 410, "unclear"}, {"new", 429, "unclear"}, {"new", 500, "unclear"}, {"new", 503, "unclear"},
		{"existing", 200, ""}, {"existing", 401, "journal-unknown"}, {"existing", 403, "journal-unknown"},
		{"existing", 404, "journal-unknown"}, {"existing", 206, "unclear"}, {"existing", 302, "unclear"}, {"existing", 500, "unclear"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.intent, " ", tt.status), func(t *testing.T) {
			sfm := &guardedSFM{statuses: []int{tt.status}}
			h := open(t, upstreamServer(t, sfm.ServeHTTP)+"/base")
			a := h.do(h.intend("/basis/v2/Organization?x=1", tt.intent))
			if len(sfm.gets) != 1 {
				t.Fatalf("%d guarding GETs", len(sfm.gets))
			}
			get := sfm.gets[0]
			if get.Method != "GET" || get.URL.Path != "/base/v2/Organization" || get.URL.RawQuery != "" || get.ContentLength != 0 ||
				get.Header.Get("Authorization") != "DPoP token-1" || get.Header.Get("Sfm-Journal-Intent") != "" {
				t.Errorf("the guarding call is %s %s %v", get.Method, get.URL, get.Header)
			}
			if h.tokens.forgets != 0 {
				t.Error("the token was forgotten")
			}
			if tt.reason == "" {
				if a.StatusCode != 201 || a.Header.Get("Sidecar-Error") != "" || len(sfm.posts) != 1 {
					t.Fatalf("status %d, %s, %d sent", a.StatusCode, a.body, len(sfm.posts))
				}
				if sfm.posts[0].Header.Get("Sfm-Journal-Intent") != "" {
					t.Error("the intent went to SFM")
				}
				if slices.Contains(sfm.proofs, "") || sfm.proofs[0] == sfm.proofs[1] {
					t.Error("the two calls do not have a proof each")
				}
				return
			}
			doc := h.refused(a, "journal-guard", 409)
			if doc.Reason != tt.reason || !strings.Contains(doc.Detail, fmt.Sprint(tt.status)) || len(sfm.posts) != 0 {
				t.Errorf("reason %q, detail %q, %d sent", doc.Reason, doc.Detail, len(sfm.posts))
			}
		})
	}
}

// Without an intent, or with a wrong one, SFM is not even asked.
func TestJournalGuardAsksForTheIntent(t *testing.T) {
	sfm := &guardedSFM{statuses: []int{200}}
	h := open(t, upstreamServer(t, sfm.ServeHTTP), func(o *Options) {
		o.Created = func(journal string) bool { return journal == "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35" }
	})
	if doc := h.refused(h.do(h.intend("/basis/Organization", "")), "journal-guard", 409); doc.Reason != "intent-missing" {
		t.Errorf("reason %q", doc.Reason)
	}
	r := h.intend("/basis/Organization", "new")
	r.Header.Set("Sfm-Journal-Id", "7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35")
	if doc := h.refused(h.do(r), "journal-guard", 409); doc.Reason != "created" || !strings.Contains(doc.Hint, "existing") {
		t.Errorf("reason %q, hint %q", doc.Reason, doc.Hint)
	}
	for _, intent := range []string{"New", "none", "new,existing", "existing "} {
		for _, method := range []string{"POST", "GET"} {
			r := h.ask(method, "/basis/Organization", nil)
			r.Header.Set("Sfm-Journal-Intent", strings.TrimSpace(intent)+strings.Repeat("x", len(intent)-len(strings.TrimSpace(intent))))
			h.refused(h.do(r), "request-invalid", 400)
		}
	}
	if n := len(sfm.gets) + len(sfm.posts) + len(h.tokens.asks); n != 0 {
		t.Errorf("%d calls or tokens for what needs neither", n)
	}
	if a := h.do(h.intend("/basis/Organization", "existing")); a.StatusCode != 201 {
		t.Errorf("existing, though created: %d", a.StatusCode)
	}
}

// Each way to write an Organization is seen, however it is spelt, and nothing else.
func TestWhatIsGuarded(t *testing.T) {
	bundle := func(method, url string) string {
		return fmt.Sprintf(`{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"GET","url":"Patient"}},{"resource":{"resourceType":"Organization"},"request":{"method":%q,"url":%q}}]}`, method, url)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(bundle("POST", "Organization")))
	_ = zip.Close()
	tests := []struct {
		method, path, body string
		asked              string // path of the guarding GET; empty: not guarded
		header             []string
	}{
		{method: "POST", path: "/Organization", asked: "/Organization"},
		{method: "POST", path: "/fhir/r4/Organization?identifier=1", asked: "/fhir/r4/Organization"},
		{method: "POST", path: "/Organization/", asked: "/Organization/"},
		{method: "POST", path: "//Organization//", asked: "//Organization//"},
		{method: "POST", path: "/organization", asked: "/organization"},
		{method: "POST", path: "/%4Frganization", asked: "/%4Frganization"},
		{method: "POST", path: "/v2%2FOrganization", asked: "/v2%2FOrganization"},
		{method: "POST", path: "/%254Frganization", asked: "/%254Frganization"},
		{method: "POST", path: "/Organization%3Fx=1", asked: "/Organization%3Fx=1"},
		{method: "POST", path: "/Organization;v=1", asked: "/Organization;v=1"},
		{method: "POST", path: "/Organization%20", asked: "/Organization%20"},
		{method: "POST", path: "/x%5COrganization", asked: "/x%5COrganization"},
		{method: "POST", path: "/Organization", header: []string{"If-None-Exist", "identifier=1"}, asked: "/Organization"},
		{method: "PUT", path: "/Organization?identifier=1", asked: "/Organization"},
		{method: "SAVE", path: "/Organization", asked: "/Organization"},
		{method: "post", path: "/Organization", asked: "/Organization"},
		{method: "GET", path: "/Organization", header: []string{"X-HTTP-Method-Override", "POST"}, asked: "/Organization"},

		{method: "POST", path: "/Organization.json", asked: "/Organization.json"},
		{method: "POST", path: "/Organization%C2%A0", asked: "/Organization%C2%A0"},
		{method: "POST", path: "/%20Organization", asked: "/%20Organization"},
		{method: "POST", path: "/Organization,x", asked: "/Organization,x"},
		{method: "GET", path: "/Organization?_method=POST", asked: "/Organization"},
		{method: "GET", path: "/Organization?x=1&_Metho%64=POST", asked: "/Organization"},

		{method: "GET", path: "/Organization"},
		{method: "HEAD", path: "/Organization"},
		{method: "DELETE", path: "/Organization?x=1"},
		{method: "PATCH", path: "/Organization?x=1"},
		{method: "PUT", path: "/Organization/1"},
		{method: "POST", path: "/Organization/_search"},
		{method: "POST", path: "/Organization/$validate"},
		{method: "POST", path: "/OrganizationAffiliation"},
		{method: "POST", path: "/Patient/$getMedication", body: `{"resourceType":"Parameters","parameter":[{"name":"request","resource":{"reference":"Organization/1"}}]}`},
		{method: "POST", path: "/Patient?x=/Organization"},

		{method: "POST", path: "", body: bundle("POST", "Organization"), asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("POST", "Organization"), asked: "/Organization"},
		{method: "POST", path: "/v2/", body: bundle("POST", "/Organization?x=1"), asked: "/v2/Organization"},
		{method: "POST", path: "/odd/place", body: bundle("POST", "https://sfm.example/r4/Organization"), asked: "/odd/place/Organization"},
		{method: "POST", path: "/Bundle", body: bundle("post", "Organization"), asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("PUT", "Organization?identifier=1"), asked: "/Organization"},
		{method: "POST", path: "/", body: "\ufeff \n" + bundle("POST", "%4Frganization"), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.ReplaceAll(bundle("POST", "Organization"), "Organization", `\u004frganization`), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.ReplaceAll(bundle("POST", "Organization"), `"entry"`, `"Entry"`), asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[{"request":{"method":"POST","method":"GET","url":"Organization"}}]}`, asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[{"request":{"url":"Organization"}}]}`, asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[],"entry":[{"request":{"url":"Patient","url":"Organization","method":"POST"}}],"entry":[]}`, asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("POST", "%4frganization?name=100%"), asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("POST", "Organization?name=100%"), asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("POST", "%254frganization%3Fname=100%25"), asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("", "Organization"), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.Replace(bundle("POST", "Organization"), `"POST"`, `["POST"]`, 1), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.Replace(bundle("POST", "Organization"), `"POST"`, `null`, 1), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.Replace(bundle("POST", "Organization"), `"url":"Organization"`, `"url":["Organization"]`, 1), asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[{"resource":` + bundle("POST", "Organization") + `,"request":{"method":"POST","url":"Bundle"}}]}`, asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[{"resource":{"resourceType":"Organization","type":[{}]}}],"type":"transaction"}`, asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[{"resource":{"resourceType":"Organization","type":[{}]}}],"type":"document"}`},
		{method: "POST", path: "/", body: bundle("POST", "Patient")},
		{method: "POST", path: "/", body: bundle("GET", "Organization?x=1")},
		{method: "POST", path: "/", body: bundle("PUT", "Organization/1")},
		{method: "POST", path: "/", body: `{"entry":[{"request":{"method":"POST","url":"Patient"}},{"request":{"method":"GET","url":"Organization"}}]}`},

		{method: "POST", path: "/api/v2.1/", body: "<Bundle/>", asked: "/api/v2.1/Organization"},
		{method: "POST", path: "/", body: packed.String(), header: []string{"Content-Encoding", "gzip"}, asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":[{"request":{"url":"Organization"`[:40] + `nization"`, asked: "/Organization"},
		{method: "POST", path: "/", body: `{"entry":{"request":"Organization"}}`, asked: "/Organization"},
		{method: "POST", path: "/", body: strings.Repeat(" ", maxKept) + "{}", asked: "/Organization"},
		{method: "POST", path: "/", body: utf16LE(bundle("POST", "Organization")), header: []string{"Content-Type", "application/fhir+json; charset=utf-16"}, asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("GET", "Patient"), header: []string{"Content-Type", "application/fhir+json; charset=utf-7"}, asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("GET", "Patient"), header: []string{"Content-Type", "application/fhir+json; charset="}, asked: "/Organization"},
		{method: "POST", path: "/", body: strings.ReplaceAll(bundle("POST", "Organization"), `"`, `'`), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.ReplaceAll(bundle("POST", "Organization"), `"request"`, `request`), asked: "/Organization"},
		{method: "POST", path: "/", body: strings.ReplaceAll(bundle("POST", "Organization"), `"request"`, `'request'`), asked: "/Organization"},
		{method: "POST", path: "/", body: "{}" + bundle("POST", "Organization"), asked: "/Organization"},
		{method: "POST", path: "/", body: "{\"x\":\"\xff\"}", asked: "/Organization"},
		{method: "POST", path: "/", body: bundle("GET", "Patient"), header: []string{"Content-Type", `application/fhir+json; charset="UTF-8"`}},
		{method: "POST", path: "/"},
		{method: "POST", path: "/", body: "{}", header: []string{"Content-Encoding", "identity"}},
		{method: "POST", path: "/Patient", body: "<Patient/>"},
		{method: "POST", path: "/v2/files", body: strings.Repeat("x", maxKept+1)},
		{method: "POST", path: "/api/v2/Session/create", body: "no JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			sfm := &guardedSFM{statuses: []int{200}}
			h := open(t, upstreamServer(t, sfm.ServeHTTP))
			send := func(intent string) answered {
				r := h.ask(tt.method, "/basis"+tt.path, strings.NewReader(tt.body))
				for i := 0; i < len(tt.header); i += 2 {
					r.Header.Set(tt.header[i], tt.header[i+1])
				}
				if intent != "" {
					r.Header.Set("Sfm-Journal-Intent", intent)
				}
				return h.do(r)
			}
			a := send("")
			if tt.asked == "" {
				if a.Header.Get("Sidecar-Error") != "" || len(sfm.gets) != 0 {
					t.Errorf("it is guarded: %s", a.body)
				}
				return
			}
			h.refused(a, "journal-guard", 409)
			if a := send("existing"); a.StatusCode != 201 || len(sfm.gets) != 1 || len(sfm.posts) != 1 {
				t.Fatalf("with an intent: %d %s", a.StatusCode, a.body)
			}
			if got := sfm.gets[0].RequestURI; got != tt.asked {
				t.Errorf("asked at %s", got)
			}
		})
	}
}

// utf16LE is a text as some would send it, without a byte order mark.
func utf16LE(s string) string {
	var all []byte
	for _, c := range utf16.Encode([]rune(s)) {
		all = binary.LittleEndian.AppendUint16(all, c)
	}
	return string(all)
}

// A Bundle's address that SFM may read otherwise than the guard does is not asked
// about: the 404 would be the address's, and pass for an unknown journal.
func TestGuardNeverAsksElsewhere(t *testing.T) {
	const body = `{"entry":[{"request":{"method":"POST","url":"Organization"}}]}`
	for _, path := range []string{
		"/%42undle", "/%2542undle", "/v2/%62undle", "/Bundle%2F", "/Bundle;x", "/x;y/Bundle", "/%5CBundle", "//Bundle", "/$process-message",
	} {
		sfm := &guardedSFM{statuses: []int{404}}
		h := open(t, upstreamServer(t, sfm.ServeHTTP))
		for _, intent := range []string{"new", "existing"} {
			r := h.ask("POST", "/basis"+path, strings.NewReader(body))
			r.Header.Set("Sfm-Journal-Intent", intent)
			if doc := h.refused(h.do(r), "journal-guard", 409); doc.Reason != "unclear" || !strings.Contains(doc.Hint, "plainly") {
				t.Errorf("%s: reason %q, hint %q", path, doc.Reason, doc.Hint)
			}
		}
		if n := len(sfm.gets) + len(sfm.posts); n != 0 {
			t.Errorf("%s: %d calls were sent", path, n)
		}
	}
}

// A 401 that asks for a nonce, or blames the token, is no word about the journal where
// that matters; there is one extra attempt and no more.
func TestGuardAfterA401(t *testing.T) {
	const nonce, invalid = `DPoP error="use_dpop_nonce"`, `DPoP error="invalid_token"`
	tests := []struct {
		name, intent, challenge string
		statuses                []int
		gets, forgets           int
		reason                  string
	}{
		{"nonce, then unknown", "new", nonce, []int{401, 403}, 2, 0, ""},
		{"nonce, then known", "existing", nonce, []int{401, 200}, 2, 0, ""},
		{"nonce for ever", "new", nonce, []int{401}, 2, 0, "unclear"},
		{"the token is blamed, and new is meant", "new", invalid, []int{401}, 1, 0, ""},
		{"the token is blamed, and another helps", "existing", invalid, []int{401, 200}, 2, 1, ""},
		{"every token is blamed", "existing", invalid, []int{401}, 2, 1, "journal-unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sfm := &guardedSFM{statuses: tt.statuses, bearer: tt.challenge}
			h := open(t, upstreamServer(t, sfm.ServeHTTP))
			a := h.do(h.intend("/basis/Organization", tt.intent))
			if len(sfm.gets) != tt.gets || h.tokens.forgets != tt.forgets {
				t.Errorf("%d GETs, %d tokens forgotten", len(sfm.gets), h.tokens.forgets)
			}
			if tt.reason != "" {
				if doc := h.refused(a, "journal-guard", 409); doc.Reason != tt.reason || len(sfm.posts) != 0 {
					t.Errorf("reason %q, %d sent", doc.Reason, len(sfm.posts))
				}
				return
			}
			if a.StatusCode != 201 || len(sfm.posts) != 1 {
				t.Errorf("status %d %s", a.StatusCode, a.body)
			}
		})
	}
}

// What one token was let see of the journal says nothing about the next: a POST that
// goes out again with another token is guarded again.
func TestGuardLooksAgainWithAnotherToken(t *testing.T) {
	sfm := &guardedSFM{statuses: []int{401, 200}, refuse: 1}
	h := open(t, upstreamServer(t, sfm.ServeHTTP))
	doc := h.refused(h.do(h.intend("/basis/Organization", "new")), "journal-guard", 409)
	if doc.Reason != "journal-exists" || len(sfm.posts) != 1 || len(sfm.gets) != 2 {
		t.Errorf("reason %q, %d sent, %d GETs", doc.Reason, len(sfm.posts), len(sfm.gets))
	}
	if got := sfm.gets[1].Header.Get("Authorization"); got != "DPoP token-2" {
		t.Errorf("looked with %q", got)
	}
}

// The guard's GET is nobody's call: one line, one report, and SFM's time apart.
func TestGuardIsNoCallOfTheEPJ(t *testing.T) {
	var told heard
	sfm := &guardedSFM{statuses: []int{404}}
	h := open(t, upstreamServer(t, sfm.ServeHTTP), told.hear)
	if a := h.do(h.intend("/basis/Organization", "new")); a.StatusCode != 201 {
		t.Fatal(a.StatusCode)
	}
	if c := h.events.done(t, 1); c.Method != "POST" || c.Status != 201 {
		t.Errorf("reported %+v", c)
	}
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(h.events.calls); n != 1 || len(told.answers()) != 1 {
		t.Errorf("%d calls are reported, %d answers told", n, len(told.answers()))
	}
	log := h.log.String()
	if strings.Count(log, "\n") != 1 || !strings.Contains(log, `"journal_intent":"new","guard_status":404,"guard_ms":`) {
		t.Errorf("log: %s", log)
	}
}

// When SFM does not answer the guard, nothing of the call was sent.
func TestGuardWithoutAnAnswer(t *testing.T) {
	h := open(t, "http://127.0.0.1:1")
	doc := h.refused(h.do(h.intend("/basis/Organization", "new")), "upstream-unavailable", 502)
	if !strings.Contains(doc.Detail, "guarding GET") {
		t.Errorf("detail %q", doc.Detail)
	}
	var gets atomic.Int32
	h = open(t, upstreamServer(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") == "sfm-sidecar" {
			gets.Add(1)
			panic(http.ErrAbortHandler)
		}
	}))
	h.get("/basis/x") // leaves a connection, on which net/http would send a GET again by itself
	h.refused(h.do(h.intend("/basis/Organization", "existing")), "upstream-unavailable", 502)
	if n := gets.Load(); n != 1 {
		t.Errorf("%d GETs after one that broke", n)
	}
}

// The wait for the guard's answer is bounded.
func TestGuardIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Options{
			Upstreams: []Upstream{{Name: "basis", URL: parse(t, "http://sfm.example"), Scheme: "DPoP"}},
			Tenants:   fakeTenants{}, Tokens: &fakeTokens{},
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		up := p.upstreams["basis"]
		r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://localhost/basis/Organization", nil)
		c := &call{p: p, in: r, upstream: up, rest: "/Organization", guard: &guard{intent: intentNew, path: "/Organization"}}
		err = c.checkJournal()
		if codeOf(err) != "upstream-unavailable" || time.Since(begun) != guardWithin || c.watch.guard != guardWithin {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

// Reading a Bundle ends, whatever comes, and agrees with itself on whether it was read.
func FuzzReadBundle(f *testing.F) {
	f.Add([]byte(`{"entry":[{"request":{"method":"POST","url":"Organization"}}]}`))
	f.Add([]byte(`{"entry":[[[{"request":null}]]],"x":"%"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		readable, writes := readBundle(&payload{kept: body}, nil)
		if writes && !readable {
			t.Error("it was read, and not")
		}
		namesOrganization(string(body))
		fhirBase(string(body))
	})
}
