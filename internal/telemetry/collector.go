package telemetry

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector posts spans to an OpenTelemetry collector: OTLP over HTTP, protobuf.
// It stands in place of otlptracehttp, which brings gRPC into the program (2 MB of
// code that never runs), reads the process's environment and not SIDECAR_ENV_FILE,
// and quotes what it can't read, a header with a key say, on the standard error
// (docs/decisions/0015-opentelemetry.md).
type collector struct {
	endpoint string
	headers  map[string]string
	gzip     bool
	timeout  time.Duration
	client   *http.Client
}

// undelivered says why a batch was given up, without quoting anybody.
type undelivered struct {
	why   string
	cause error
	again bool // it may be tried once more
	after time.Duration
}

func (u *undelivered) Error() string { return u.why }
func (u *undelivered) Unwrap() error { return u.cause }

const defaultDelivery = 10 * time.Second

func newCollector(o TraceOptions) *collector {
	return &collector{
		endpoint: o.Endpoint, headers: o.Headers, gzip: o.Gzip, timeout: cmp.Or(o.Timeout, defaultDelivery),
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: o.Proxy, TLSClientConfig: &tls.Config{RootCAs: o.CA, MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second,
			},
			// The headers may hold a key, which is for the endpoint alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Start implements [otlptrace.Client]. There is nothing to start.
func (*collector) Start(context.Context) error { return nil }

// Stop implements [otlptrace.Client].
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements [otlptrace.Client]. What the collector asks to be sent
// again is, until the time for the batch is up.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire it is the same as an ExportTraceServiceRequest, whose package would
	// bring gRPC along.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err == nil && c.gzip {
		body, err = compress(body)
	}
	if err != nil {
		return &undelivered{why: "the batch can't be encoded", cause: err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for pause := time.Second; ; pause *= 2 {
		lost := c.post(ctx, body)
		if lost == nil {
			return nil
		}
		if !lost.again || !sleep(ctx, max(pause, lost.after)) {
			return lost
		}
	}
}

// post makes one try.
func (c *collector) post(ctx context.Context, body []byte) *undelivered {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return &undelivered{why: "the endpoint is no URL", cause: err}
	}
	for name, value := range c.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "sfm-sidecar")
	if c.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	res, err := c.client.Do(r)
	if err != nil {
		return &undelivered{why: unreachable(err), cause: err, again: true}
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	lost := &undelivered{why: fmt.Sprintf("the collector answered %d", res.StatusCode)}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		lost.again = true
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
			lost.after = time.Duration(min(s, 3600)) * time.Second
		}
	}
	return lost
}

// unreachable says in constant words why no answer came.
func unreachable(err error) string {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "the collector did not answer in time"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the collector's name is not known"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the collector's certificate is not trusted"
	}
	if u, ok := errors.AsType[*url.Error](err); ok && errors.Is(u.Err, context.Canceled) {
		return "tracing ended"
	}
	return "the collector can't be reached"
}

// sleep waits, unless ctx would end before: then it says false at once.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func compress(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(body)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}
