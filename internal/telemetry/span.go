package telemetry

import (
	"context"
	"maps"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The attributes of ours. Their values come of small, fixed sets.
const (
	AttrUpstream = "sidecar.upstream"     // the configured name
	AttrRefusal  = "sidecar.refusal"      // the code of what was refused
	AttrSource   = "sidecar.token.source" // hit, joined, fetched
	AttrGrant    = "sidecar.grant"        // as in token_requests_total, or the configured grant
	AttrOutcome  = "sidecar.outcome"      // ok, or the code of what went wrong
)

const outcomeOK = "ok"

// Span is a span under way. The zero one is none.
type Span struct{ span trace.Span }

// SpanOf is the span of a context; there may be none.
func SpanOf(ctx context.Context) Span {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return Span{}
	}
	return Span{span}
}

// Set says something more about the span. Empty values are left out.
func (s Span) Set(name, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Route names the span by its method and the kind of its call.
func (s Span) route(method, route string) {
	if s.span != nil {
		s.span.SetName(method + " " + route)
		s.span.SetAttributes(attribute.String("http.route", route))
	}
}

// End ends the span. The outcome is "ok" or the code of what went wrong.
func (s Span) End(outcome string) {
	if s.span == nil {
		return
	}
	s.Set(AttrOutcome, outcome)
	if outcome != outcomeOK {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// CallEnded tells the span of a call to an upstream what became of it.
func CallEnded(ctx context.Context, method, upstream, refusal, source string) {
	s := SpanOf(ctx)
	s.route(bounded(method), routeUpstream)
	s.Set(AttrUpstream, upstream)
	s.Set(AttrRefusal, refusal)
	s.Set(AttrSource, source)
}

// SFM makes a span of every request to SFM, from its beginning until the answer's
// headers are there, and passes traceparent and tracestate on. It is no
// otelhttp.Transport: that copies the trailers, which arrive only with the body's
// end and would be lost, and wraps bodies, about which proxy has rules of its own.
// Here the request is the same but for its header map; the answer is untouched. next
// is what makes the proof, which thus still is made last.
func (t *Traces) SFM(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &sfmTransport{t, next}
}

type sfmTransport struct {
	traces *Traces
	next   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (s *sfmTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := s.traces.tracer.Start(r.Context(), bounded(r.Method)+" SFM", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", bounded(r.Method)), attribute.String("server.address", r.URL.Hostname())))
	defer span.End()
	out := r.WithContext(ctx)
	out.Header = maps.Clone(r.Header)
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	// The caller's speak of its own span. (A tracestate without a good traceparent
	// counts for nothing, and is not passed on: W3C Trace Context 3.3.1.)
	delete(out.Header, "Traceparent")
	delete(out.Header, "Tracestate")
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(out.Header))
	res, err := s.next.RoundTrip(out)
	if err != nil {
		span.SetStatus(codes.Error, "")
		return res, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", res.StatusCode))
	if res.StatusCode >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	res.Request = r
	return res, nil
}
