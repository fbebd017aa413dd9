package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// allowed are the attributes that may leave. otelhttp notes more: the path, the whole
// URL with its query, the caller's address and program, its Host. They stay here, and
// so does whatever a later version of it comes to note.
var allowed = map[attribute.Key]func(trace.SpanKind) bool{
	"http.request.method":       always,
	"http.response.status_code": always,
	"http.route":                always,
	"error.type":                always,
	"network.protocol.version":  always,
	// Whom we call is configured; whom a caller calls is what it wrote into Host.
	"server.address": toOthers,
	"server.port":    toOthers,
	AttrUpstream:     always,
	AttrRefusal:      always,
	AttrSource:       always,
	AttrGrant:        always,
	AttrOutcome:      always,
}

func always(trace.SpanKind) bool        { return true }
func toOthers(kind trace.SpanKind) bool { return kind == trace.SpanKindClient }
func state(c trace.SpanContext) trace.SpanContext {
	return c.WithTraceState(trace.TraceState{})
}

// filter takes from each span what must not leave, and passes it on. It never fails:
// the library would print the error, with whatever it quotes, on the standard error.
type filter struct {
	next   sdk.SpanExporter
	log    *slog.Logger
	warned atomic.Int64 // when it was last said that spans were lost, Unix nanoseconds
}

// ExportSpans implements [sdk.SpanExporter].
func (f *filter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	filtered := make([]sdk.ReadOnlySpan, len(spans))
	for i, s := range spans {
		filtered[i] = filteredSpan{s}
	}
	f.lost(len(spans), f.next.ExportSpans(ctx, filtered))
	return nil
}

// Shutdown implements [sdk.SpanExporter].
func (f *filter) Shutdown(ctx context.Context) error {
	_ = f.next.Shutdown(ctx)
	return nil
}

// warnEvery is how often at most it is said that spans are lost.
const warnEvery = time.Minute

// lost says that spans could not be delivered. Errors that are not the collector's
// own are not quoted: they could hold its address or its answer.
func (f *filter) lost(count int, err error) {
	if err == nil {
		return
	}
	now, last := time.Now().UnixNano(), f.warned.Load()
	if now-last < int64(warnEvery) || !f.warned.CompareAndSwap(last, now) {
		return
	}
	cause := "unknown"
	if undelivered, ok := errors.AsType[*undelivered](err); ok {
		cause = undelivered.Error()
	}
	f.log.Warn("traces could not be delivered; calls are not affected", "spans", count, "cause", cause)
}

// filteredSpan is a span without what must not leave. Events hold texts of errors,
// links and trace states hold what others wrote.
type filteredSpan struct{ sdk.ReadOnlySpan }

func (s filteredSpan) SpanContext() trace.SpanContext { return state(s.ReadOnlySpan.SpanContext()) }
func (s filteredSpan) Parent() trace.SpanContext      { return state(s.ReadOnlySpan.Parent()) }
func (s filteredSpan) Events() []sdk.Event            { return nil }
func (s filteredSpan) Links() []sdk.Link              { return nil }
func (s filteredSpan) Status() sdk.Status             { return sdk.Status{Code: s.ReadOnlySpan.Status().Code} }

// Attributes are those on the list, texts shortened and masked like a log's.
func (s filteredSpan) Attributes() []attribute.KeyValue {
	var kept []attribute.KeyValue
	for _, a := range s.ReadOnlySpan.Attributes() {
		may := allowed[a.Key]
		if may == nil || !may(s.SpanKind()) {
			continue
		}
		if a.Value.Type() == attribute.STRING {
			a = a.Key.String(clean(short(a.Value.AsString())))
		}
		kept = append(kept, a)
	}
	return kept
}

// maxAttribute bounds a text; those of ours are far shorter.
const maxAttribute = 200

func short(text string) string { return text[:min(len(text), maxAttribute)] }
