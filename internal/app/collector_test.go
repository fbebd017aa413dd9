package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is a stand-in for an OpenTelemetry collector.
type collector struct {
	*httptest.Server
	mu      sync.Mutex // guards all below
	raw     bytes.Buffer
	spans   []span
	headers []http.Header
	service map[string]string
}

// span is one that arrived.
type span struct {
	name, trace, id, parent string
	kind                    tracepb.Span_SpanKind
	failed                  bool
	attrs                   map[string]string
	extras                  int // events, links, trace state, status text: none may be there
}

// newCollector takes spans until the test ends.
func newCollector(t testing.TB) *collector {
	c := &collector{service: make(map[string]string)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
			var unzip *gzip.Reader
			if unzip, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
				body, err = io.ReadAll(unzip)
			}
		}
		var data tracepb.TracesData
		if err != nil || proto.Unmarshal(body, &data) != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Error("the collector can't read what it got")
		}
		c.take(r.Header, body, &data)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(h http.Header, body []byte, data *tracepb.TracesData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	c.headers = append(c.headers, h)
	for _, of := range data.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			c.service[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, read(s))
			}
		}
	}
}

func read(s *tracepb.Span) span {
	read := span{
		name: s.GetName(), trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()),
		parent: hex.EncodeToString(s.GetParentSpanId()), kind: s.GetKind(),
		failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, attrs: make(map[string]string),
		extras: len(s.GetEvents()) + len(s.GetLinks()) + len(s.GetTraceState()) + len(s.GetStatus().GetMessage()),
	}
	for _, a := range s.GetAttributes() {
		read.attrs[a.GetKey()] = a.GetValue().String()
		if text := a.GetValue().GetStringValue(); text != "" {
			read.attrs[a.GetKey()] = text
		}
	}
	return read
}

// of gives the spans of a trace that have a name, or all with "".
func (c *collector) of(trace, name string) (found []span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.trace == trace && (name == "" || s.name == name) {
			found = append(found, s)
		}
	}
	return found
}

// one gives the only span of a trace with a name.
func (c *collector) one(t testing.TB, trace, name string) span {
	t.Helper()
	found := c.of(trace, name)
	if len(found) != 1 {
		var names []string
		for _, s := range c.of(trace, "") {
			names = append(names, s.name)
		}
		slices.Sort(names)
		t.Fatalf("%d spans named %q in the trace; it has %q", len(found), name, names)
	}
	return found[0]
}

// traced is the environment that has all worlds of a test run trace, with
// TEST_TRACES set: every other lock must hold while tracing, too.
func traced(t testing.TB) []string {
	if os.Getenv("TEST_TRACES") == "" {
		return nil
	}
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + newCollector(t).URL}
}
