package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The two ids that SFM's support asks for are in the line of the call; nothing else of
// the answer is, and the answer reaches the EPJ as it was.
func TestOutcomeIDsAreLogged(t *testing.T) {
	const id, trace = "0B6B4B1E-33A4-4E0C-9B2C-0f3c7ab5f111", "4bf92f3577b34da6a3ce929d0e0e4736"
	outcome := func(id, text string) string {
		return fmt.Sprintf(`{"resourceType":"OperationOutcome","id":%q,"issue":[{"diagnostics":"Kari Nordmann 01017012345"},{"details":{"text":%q}}]}`, id, text)
	}
	good := outcome(id, "TraceId: "+trace)
	tests := []struct {
		name, kind, packing, body string
		status                    int
		id, trace                 bool
	}{
		{"an OperationOutcome", "application/fhir+json; charset=utf-8", "", good, 422, true, true},
		{"a fault of SFM's", "application/json", "", good, 500, true, true},
		{"packed", "application/fhir+json", "gzip", good, 403, true, true},
		{"packed otherwise", "application/fhir+json", "br", good, 403, false, false},
		{"packed in name only", "application/fhir+json", "gzip", good, 403, false, false},
		{"a good answer", "application/fhir+json", "", good, 200, false, false},
		{"no JSON", "text/html", "", good, 500, false, false},
		{"garbled", "application/json", "", good[:40], 500, false, false},
		{"another form of the one", "application/json", "", outcome("01017012345", "TraceId: "+trace), 500, false, true},
		{"another form of the other", "application/json", "", outcome(id, "TraceId: "+trace+"1"), 500, true, false},
		{"the trace within a text", "application/json", "", outcome(id, "see TraceId: "+trace), 500, true, false},
		{"not hexadecimal", "application/json", "", outcome(strings.Replace(id, "0", "g", 1), "TraceId: "+strings.Repeat("x", 32)), 500, false, false},
		{"ids of another type", "application/json", "", `{"id":7,"issue":"x"}`, 500, false, false},
		{"too large", "application/json", "", good[:len(good)-1] + strings.Repeat(" ", maxOutcome) + "}", 500, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body)
			if tt.name == "packed" {
				var b bytes.Buffer
				zip := gzip.NewWriter(&b)
				_, _ = zip.Write(body)
				_ = zip.Close()
				body = b.Bytes()
			}
			h := open(t, upstreamServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				if tt.packing != "" {
					w.Header().Set("Content-Encoding", tt.packing)
				}
				w.WriteHeader(tt.status)
				for part := body; len(part) > 0; part = part[min(len(part), 100):] { // in pieces, and without a length
					_, _ = w.Write(part[:min(len(part), 100)])
					_ = http.NewResponseController(w).Flush()
				}
			}))
			h.tokens.next = func() Token { return Token{AccessToken: "t", Type: "DPoP", Source: "joined"} }
			a := h.get("/basis/Patient")
			if !bytes.Equal(a.body, body) || a.StatusCode != tt.status {
				t.Errorf("the answer changed: %d %s", a.StatusCode, a.body)
			}
			h.events.done(t, 1)
			if err := h.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			var line map[string]any
			if err := json.Unmarshal([]byte(h.log.String()), &line); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"sfm_outcome_id": strings.ToLower(id), "sfm_trace_id": trace}
			for name, there := range map[string]bool{"sfm_outcome_id": tt.id, "sfm_trace_id": tt.trace} {
				if got := line[name]; there && got != want[name] || !there && got != nil {
					t.Errorf("%s is %v", name, got)
				}
			}
			if line["token"] != "joined" {
				t.Errorf("token source %v", line["token"])
			}
			for _, attr := range []string{"whole_ms", "sfm_ms", "added_ms"} {
				if _, ok := line[attr].(float64); !ok {
					t.Errorf("%s is %v", attr, line[attr])
				}
			}
			if text := h.log.String(); strings.Contains(text, "Kari") || strings.Contains(text, "01017012345") {
				t.Error("a person of the answer is in the log")
			}
		})
	}
}

// A HEAD, and an answer that breaks off, have nothing to read.
func TestOutcomeOfHalfAnAnswer(t *testing.T) {
	o := copyOutcome(&http.Response{StatusCode: 500, Header: http.Header{"Content-Type": {"application/json"}}})
	o.take([]byte(`{"id":"0b6b4b1e-33a4-4e0c-9b2c-0f3c7ab5f111"}`), nil)
	if id, _ := o.ids(); id != "" {
		t.Error("it did not end, yet it is read")
	}
	var none *outcomeCopy
	none.take(nil, nil)
	if id, trace := none.ids(); id != "" || trace != "" {
		t.Error("ids out of nothing")
	}
}

func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`{"id":"0b6b4b1e-33a4-4e0c-9b2c-0f3c7ab5f111","issue":[{"details":{"text":"TraceId: 4bf92f3577b34da6a3ce929d0e0e4736"}}]}`), false)
	f.Fuzz(func(t *testing.T, text []byte, packed bool) {
		id, trace := (&outcomeCopy{text: text, packed: packed, whole: true}).ids()
		if id != "" && !guid(id) || trace != "" && !hexadecimal(trace, 32) {
			t.Errorf("%q, %q", id, trace)
		}
	})
}
