package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/telemetry"
)

// buildTraces begins to trace when there is somewhere to send traces to.
func (h *house) buildTraces() error {
	c := &h.cfg.Traces
	if !c.On() {
		return nil
	}
	roots := h.roots
	if file := c.Certificate(); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the certificates for the trace collector: %w", err)
		}
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
	}
	attributes, batches := c.Attributes(), c.Batches()
	attributes["service.version"] = h.version
	h.traces = telemetry.NewTraces(telemetry.TraceOptions{
		Endpoint: c.Endpoint(), Headers: c.Headers(), Timeout: c.Timeout(), Gzip: c.Gzip(), CA: roots, Proxy: h.cfg.Keep.Proxy(),
		Attributes: attributes, Sampler: c.Sampler, Share: c.Share(), Log: h.log,
		Delay: batches.Delay, Delivery: batches.Timeout, Queue: batches.Queue, Batch: batches.Size,
	})
	return nil
}

// flushTime bounds the delivery of the last spans when the process ends.
const flushTime = 3 * time.Second

func (h *house) closeTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	h.traces.Close(ctx)
}

// callEnded counts a call and tells its span what became of it.
func (h *house) callEnded(ctx context.Context, c proxy.Call) {
	h.metrics.Request(ctx, c.Upstream, c.Method, strconv.Itoa(c.Status), c.Whole, c.Added)
	telemetry.CallEnded(ctx, c.Method, c.Upstream, c.Refusal, c.Source)
}

// tokenRequestBegins and tokenRequestEnded make a span of every request to HelseID;
// those for its attempts are within.
func (h *house) tokenRequestBegins(ctx context.Context, grant string) context.Context {
	ctx, _ = h.traces.Start(ctx, "HelseID "+grant, telemetry.AttrGrant, grant)
	return ctx
}

func (h *house) tokenRequestEnded(ctx context.Context, grant, outcome string, took time.Duration) {
	h.metrics.TokenRequest(ctx, grant, outcome, took)
	h.witness.asked(outcome)
	if h.traces != nil {
		telemetry.SpanOf(ctx).End(outcome)
	}
}

// outcome is "ok", the code of a refusal, or "internal".
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if refused, ok := errors.AsType[interface {
		error
		Code() string
	}](err); ok {
		return refused.Code()
	}
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	return "internal"
}
