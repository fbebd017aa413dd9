package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sfm-sidecar/internal/telemetry"
)

// keeping is an in-memory exporter that survives its shutdown.
type keeping struct {
	*tracetest.InMemoryExporter
	spans tracetest.SpanStubs
}

func (k *keeping) Shutdown(ctx context.Context) error {
	k.spans = k.GetSpans()
	return k.InMemoryExporter.Shutdown(ctx)
}

// traced gives the spans that do makes.
func traced(t *testing.T, do func(*telemetry.Traces)) tracetest.SpanStubs {
	t.Helper()
	to := &keeping{InMemoryExporter: tracetest.NewInMemoryExporter()}
	traces := telemetry.NewTraces(telemetry.TraceOptions{Exporter: to})
	do(traces)
	traces.Close(t.Context())
	return to.spans
}

// answering is a RoundTripper's function.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever the libraries note of a call that is marked everywhere, and of errors that
// quote it, nothing of it is in a span.
func TestSpansHoldNoMarks(t *testing.T) {
	const mark = "marked"
	fails := answering(func(*http.Request) (*http.Response, error) { return nil, errors.New("malformed HTTP response " + mark) })
	spans := traced(t, func(traces *telemetry.Traces) {
		h := traces.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			span := trace.SpanFromContext(r.Context())
			span.AddEvent(mark)
			span.RecordError(errors.New(mark))
			span.AddLink(trace.Link{SpanContext: span.SpanContext()})
			_, child := traces.Start(r.Context(), "a child", telemetry.AttrGrant, "refresh_token", "other", mark)
			child.End("token-mismatch")
			for _, sender := range []http.RoundTripper{traces.SFM(fails), traces.HelseID(fails)} {
				out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://user"+mark+"@sfm.example/"+mark+"?q="+mark, strings.NewReader(mark))
				if err != nil {
					t.Fatal(err)
				}
				out.Header.Set("Authorization", "DPoP "+mark)
				if _, err = sender.RoundTrip(out); err == nil {
					t.Error("no error")
				}
			}
			telemetry.CallEnded(r.Context(), r.Method, "basis", "upstream-unavailable", "hit")
			http.Error(w, mark, http.StatusBadGateway)
		}))
		r := httptest.NewRequest("MARKED", "http://"+mark+".example/"+mark+"?q="+mark, strings.NewReader(mark))
		r.Header = http.Header{
			"User-Agent": {mark}, "X-Forwarded-For": {mark}, "Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "Tracestate": {"a=" + mark},
		}
		r.RemoteAddr = mark + ":1"
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
	if len(spans) != 4 {
		t.Fatalf("%d spans", len(spans))
	}
	for _, s := range spans {
		said := []string{s.Name, s.Status.Description, s.SpanContext.TraceState().String(), s.Parent.TraceState().String()}
		for _, a := range s.Attributes {
			said = append(said, string(a.Key), a.Value.String())
		}
		if text := strings.Join(said, "\n"); strings.Contains(strings.ToLower(text), mark) {
			t.Errorf("the span %q says:\n%s", s.Name, text)
		}
		if len(s.Events)+len(s.Links) > 0 {
			t.Errorf("the span %q has %d events and %d links", s.Name, len(s.Events), len(s.Links))
		}
	}
}

// A request to SFM is the same but for two headers, and its answer is untouched.
func TestSFMRequestStaysAsItIs(t *testing.T) {
	hidden := strings.ToLower("Idempotency-Key") // a form that net/http does not know
	traced(t, func(traces *telemetry.Traces) {
		body, trailer := io.NopCloser(strings.NewReader("x")), http.Header{"Late": nil}
		answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
		sender := traces.SFM(answering(func(r *http.Request) (*http.Response, error) {
			if r.Body != body || r.GetBody != nil || !r.Close {
				t.Error("the body, its copy or Close is another")
			}
			if trailer["Late"] = []string{"came"}; r.Trailer.Get("Late") != "came" {
				t.Error("the trailers are others: what comes late is lost")
			}
			if r.Header.Get("Traceparent") == "" || r.Header.Get("Tracestate") != "" || len(r.Header[hidden]) != 1 {
				t.Errorf("the headers are %v", r.Header)
			}
			return answer, nil
		}))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sfm.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body, r.Trailer, r.Close = body, trailer, true
		r.Header = http.Header{"Traceparent": {"nonsense"}, "Tracestate": {"a=b"}, hidden: {"1"}}
		res, err := sender.RoundTrip(r)
		if err != nil || res != answer || res.Request != r {
			t.Errorf("the answer is another, %v", err)
		}
		if r.Header.Get("Traceparent") != "nonsense" || r.Header.Get("Tracestate") != "a=b" {
			t.Error("the caller's own headers were changed")
		}
	})
}

// Without tracing nothing stands in the way.
func TestNoTraces(t *testing.T) {
	var off *telemetry.Traces
	sender := &http.Transport{}
	if off.SFM(sender) != http.RoundTripper(sender) || off.HelseID(sender) != http.RoundTripper(sender) {
		t.Error("a transport is wrapped")
	}
	ctx, span := off.Start(t.Context(), "x")
	span.End("ok")
	off.Waited(ctx, "x", time.Now())
	off.Close(ctx)
	if ctx != t.Context() {
		t.Error("the context is another")
	}
	if n := testing.AllocsPerRun(100, func() {
		_, span := off.Start(ctx, "x")
		span.End("ok")
		telemetry.CallEnded(ctx, "GET", "basis", "", "hit")
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Each sampler keeps what its name says: of roots, of children of kept callers, of
// children of others.
func TestSamplers(t *testing.T) {
	for name, want := range map[string][3]bool{
		"always_on": {true, true, true}, "always_off": {}, "traceidratio": {}, "parentbased_always_on": {true, true, false},
		"parentbased_always_off": {false, true, false}, "parentbased_traceidratio": {false, true, false}, "unheard of": {true, true, false},
	} {
		traces := telemetry.NewTraces(telemetry.TraceOptions{Exporter: tracetest.NewNoopExporter(), Sampler: name})
		for i, flags := range []trace.TraceFlags{0, trace.FlagsSampled, 0} {
			ctx := t.Context()
			if i > 0 {
				ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
					TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: flags,
				}))
			}
			ctx, _ = traces.Start(ctx, "x")
			if got := trace.SpanContextFromContext(ctx).IsSampled(); got != want[i] {
				t.Errorf("%s keeps the %dth: %v", name, i, got)
			}
		}
		traces.Close(t.Context())
	}
}

// lossy is an exporter that fails, with a secret in its words.
type lossy struct{ sdk.SpanExporter }

func (lossy) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return errors.New("a secret") }
func (lossy) Shutdown(context.Context) error                        { return errors.New("a secret") }

// That spans are lost is said once a minute, in constant words.
func TestLossIsToldSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		traces := telemetry.NewTraces(telemetry.TraceOptions{Exporter: lossy{}, Log: slog.New(slog.NewTextHandler(&out, nil))})
		for range 13 { // some batches a minute, for two minutes
			_, span := traces.Start(t.Context(), "x")
			span.End("ok")
			<-time.After(10 * time.Second)
		}
		traces.Close(t.Context())
		if n := strings.Count(out.String(), "could not be delivered"); n != 2 && n != 3 || strings.Contains(out.String(), "secret") {
			t.Errorf("it was said %d times:\n%s", n, out.String())
		}
	})
}

// A collector that asks for it gets a batch again, another does not; a redirect is not
// followed with the key.
func TestCollectorTries(t *testing.T) {
	for name, tt := range map[string]struct {
		statuses []int
		tries    int32
	}{
		"good": {[]int{200}, 1}, "again": {[]int{503, 429, 202}, 3}, "never": {[]int{400, 200}, 1}, "key": {[]int{401, 200}, 1}, "redirect": {[]int{307, 200}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Api-Key") != "k" || r.Header.Get("Content-Encoding") != "gzip" {
					t.Error("the key or the compression is missing")
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.statuses[tries.Add(1)-1])
			}))
			defer c.Close()
			var out bytes.Buffer
			traces := telemetry.NewTraces(telemetry.TraceOptions{
				Endpoint: c.URL + "/v1/traces", Headers: map[string]string{"x-api-key": "k"}, Gzip: true, Log: slog.New(slog.NewTextHandler(&out, nil)),
			})
			_, span := traces.Start(t.Context(), "x")
			span.End("ok")
			traces.Close(t.Context())
			if tries.Load() != tt.tries {
				t.Errorf("%d tries, want %d", tries.Load(), tt.tries)
			}
			if lost := strings.Contains(out.String(), "could not be delivered"); lost != (tt.statuses[tt.tries-1] >= 300) {
				t.Errorf("the log: %s", out.String())
			}
		})
	}
}

// The SDK reads variables of its own, and panics at some: it is told all of them.
func TestBatchVariablesAreNotTheSDKs(t *testing.T) {
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"} {
		t.Setenv(name, "-1")
	}
	spans := traced(t, func(traces *telemetry.Traces) {
		_, span := traces.Start(t.Context(), "x")
		span.End("ok")
	})
	if len(spans) != 1 {
		t.Errorf("%d spans were delivered", len(spans))
	}
}
