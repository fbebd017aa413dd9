package telemetry

import (
	"cmp"
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceOptions says where traces go and which are kept.
type TraceOptions struct {
	// Endpoint is the very URL that traces are posted to (OTLP over HTTP, protobuf).
	// Required, unless Exporter is set.
	Endpoint string
	// Headers go with every post. They may hold a key and are never shown.
	Headers map[string]string
	// Timeout is how long the delivery of a batch may take, all tries together. If
	// zero, 10 s.
	Timeout time.Duration
	// Gzip compresses the posts.
	Gzip bool
	// CA are the certificates that the collector's is judged by. If nil, the system's.
	CA *x509.CertPool
	// Proxy finds the HTTP proxy for a post. If nil, none is used.
	Proxy func(*http.Request) (*url.URL, error)
	// Attributes describe the service; service.name should be among them.
	Attributes map[string]string
	// Sampler is one of OpenTelemetry's names; if unknown, parentbased_always_on.
	// Share is what one with a ratio keeps, from 0 to 1.
	Sampler string
	Share   float64
	// Delay is how long a span waits for others, Delivery how long the SDK lets a batch
	// take, Queue how many spans wait (what is more is dropped), Batch how many go
	// together. What is zero is OpenTelemetry's default, whatever its variables say.
	Delay, Delivery time.Duration
	Queue, Batch    int
	// Log is told, seldom, that traces could not be delivered. If nil, nobody is.
	Log *slog.Logger
	// Exporter takes the spans in place of Endpoint's collector.
	Exporter sdk.SpanExporter
}

// Traces makes spans of calls and sends them to a collector. Nil makes none: its
// methods return what they are given, so that tracing that is off costs nothing.
// Its methods are safe for concurrent use.
//
// What a span may say is an allow list (spanfilter.go): whatever the libraries note
// beside it, addresses and texts of errors above all, stays here.
//
// OpenTelemetry's global provider, propagator and error handler are left alone.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// NewTraces begins to trace.
func NewTraces(o TraceOptions) *Traces {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	exporter := o.Exporter
	if exporter == nil {
		exporter = otlptrace.NewUnstarted(newCollector(o))
	}
	attributes := make([]attribute.KeyValue, 0, len(o.Attributes))
	for name, value := range o.Attributes {
		attributes = append(attributes, attribute.String(name, value))
	}
	provider := sdk.NewTracerProvider(
		// The SDK would read its variables itself, and panic at a queue below 0.
		sdk.WithBatcher(&filter{next: exporter, log: log},
			sdk.WithBatchTimeout(cmp.Or(o.Delay, sdk.DefaultScheduleDelay*time.Millisecond)),
			sdk.WithExportTimeout(cmp.Or(o.Delivery, sdk.DefaultExportTimeout*time.Millisecond)),
			sdk.WithMaxQueueSize(cmp.Or(o.Queue, sdk.DefaultMaxQueueSize)),
			sdk.WithMaxExportBatchSize(cmp.Or(o.Batch, sdk.DefaultMaxExportBatchSize)),
		),
		sdk.WithSampler(sampler(o.Sampler, o.Share)),
		sdk.WithResource(resource.NewSchemaless(attributes...)),
	)
	return &Traces{provider: provider, tracer: provider.Tracer("sfm-sidecar")}
}

// sampler finds a sampler by OpenTelemetry's name for it.
func sampler(name string, share float64) sdk.Sampler {
	switch name {
	case "always_on":
		return sdk.AlwaysSample()
	case "always_off":
		return sdk.NeverSample()
	case "traceidratio":
		return sdk.TraceIDRatioBased(share)
	case "parentbased_always_off":
		return sdk.ParentBased(sdk.NeverSample())
	case "parentbased_traceidratio":
		return sdk.ParentBased(sdk.TraceIDRatioBased(share))
	}
	return sdk.ParentBased(sdk.AlwaysSample())
}

// Close delivers what is still here, for as long as ctx lives, and ends tracing.
func (t *Traces) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // the filter has said what there is to say
	}
}

// Routes of the application listener, in place of paths.
const (
	routeUpstream = "/{upstream}"
	routeControl  = "/_sidecar"
)

// Handler makes a span of every request, a child of the caller's.
func (t *Traces) Handler(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return otelhttp.NewHandler(next, "",
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return bounded(r.Method) + " " + route(r.URL.Path) }),
	)
}

// route is what stands for a path: which of the two kinds of calls it is.
func route(path string) string {
	if len(path) >= len(routeControl) && path[:len(routeControl)] == routeControl {
		return routeControl
	}
	return routeUpstream
}

// HelseID makes a span of every request to HelseID, and passes traceparent on. The
// state and the baggage that a caller's tracing may carry are not HelseID's business.
func (t *Traces) HelseID(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return otelhttp.NewTransport(next,
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelhttp.WithPropagators(parentOnly{}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return bounded(r.Method) + " HelseID" }),
	)
}

// parentOnly passes traceparent on without tracestate.
type parentOnly struct{ propagation.TraceContext }

// Inject implements [propagation.TextMapPropagator].
func (p parentOnly) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	span := trace.SpanContextFromContext(ctx).WithTraceState(trace.TraceState{})
	p.TraceContext.Inject(trace.ContextWithSpanContext(ctx, span), carrier)
}

// Start begins a span, a child of ctx's. The name and the attributes are constants
// or of small, fixed sets. The caller ends it with [Span.End].
func (t *Traces) Start(ctx context.Context, name string, attributes ...string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(pairs(attributes)...))
	return ctx, Span{span}
}

// Waited makes a span, a child of ctx's, of something that began earlier and ends now.
func (t *Traces) Waited(ctx context.Context, name string, since time.Time, attributes ...string) {
	if t == nil {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(since), trace.WithAttributes(pairs(attributes)...))
	span.End()
}

// pairs reads names and values that follow each other.
func pairs(flat []string) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		all = append(all, attribute.String(flat[i], flat[i+1]))
	}
	return all
}
