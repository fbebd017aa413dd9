package telemetry

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// namespace begins the name of every metric of ours.
const namespace = "sfm_sidecar"

// Metrics is the sidecar's metrics, in a registry of their own. Its methods are
// safe for concurrent use. Their arguments become labels: callers pass values of
// small, fixed sets only, never a tenant, a person, a path or a query.
type Metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	overheads  *prometheus.HistogramVec
	refusals   *prometheus.CounterVec
	tokens     *prometheus.CounterVec
	tokenTimes *prometheus.HistogramVec
	cache      *prometheus.CounterVec
	challenges *prometheus.CounterVec
	skews      *prometheus.GaugeVec

	storeErrors   *prometheus.CounterVec
	storeResting  atomic.Pointer[func() bool]
	ownDPoPKey    atomic.Pointer[func() bool]
	sfmRefreshes  *prometheus.CounterVec
	registryLoads *prometheus.CounterVec
}

// The upper limits of the histograms' buckets, in seconds.
var (
	// A whole call: from SFM's quickest answers to the time limit for its headers.
	durationBuckets = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120}
	// What the sidecar itself adds: some 50 µs for a proof when all is at hand, up
	// to a second where a token has to be fetched first.
	overheadBuckets = []float64{0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1}
	// A call to the token endpoint, up to the longest that one is waited for.
	tokenBuckets = []float64{0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
)

// NewMetrics returns metrics in which nothing has been counted yet. The version is
// the label of build_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		requests:   counter("requests_total", "Calls passed on to SFM or refused, by the status they were answered with.", "upstream", "method", "code"),
		durations:  histogram("request_duration_seconds", "Time from a call's arrival to the end of its answer.", durationBuckets, "upstream"),
		overheads:  histogram("overhead_seconds", "Time that the sidecar added to a call, without SFM.", overheadBuckets, "upstream"),
		refusals:   counter("refusals_total", "Calls that the sidecar refused, by the code of the refusal.", "code"),
		tokens:     counter("token_requests_total", "Requests to HelseID's token endpoint.", "grant", "outcome"),
		tokenTimes: histogram("token_request_duration_seconds", "Time that HelseID's token endpoint took.", tokenBuckets, "grant"),
		cache:      counter("token_cache_total", "How calls came by their token.", "result"),
		challenges: counter("dpop_nonce_challenges_total", "Answers that asked for another DPoP nonce.", "party"),
		skews:      gauge("clock_skew_seconds", "How far a party's clock is ahead of ours.", "party"),

		storeErrors:   counter("store_errors_total", "Operations of the store that failed.", "operation"),
		registryLoads: counter("registry_loads_total", "How often the tenant registry was read anew.", "outcome"),
		sfmRefreshes:  counter("sfm_session_refreshes_total", "What became of giving SFM a new token for an open session.", "outcome"),
	}
	m.registry.MustRegister(
		m.requests, m.durations, m.overheads, m.refusals, m.tokens, m.tokenTimes, m.cache, m.challenges, m.skews, m.storeErrors, m.sfmRefreshes, m.registryLoads,
		buildInfo(version), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.showStore()
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

func buildInfo(version string) prometheus.Collector {
	info := gauge("build_info", "Always 1; the label tells which version runs.", "version")
	info.WithLabelValues(version).Set(1)
	return info
}

// Request counts a finished call: its status, how long the whole of it took and
// how much of that the sidecar added itself. The upstream is a configured name or
// empty, never what a caller typed. ctx may hold a span, which the times then lead to.
func (m *Metrics) Request(ctx context.Context, upstream, method, status string, whole, added time.Duration) {
	m.requests.WithLabelValues(upstream, bounded(method), status).Inc()
	observe(ctx, m.durations.WithLabelValues(upstream), whole)
	observe(ctx, m.overheads.WithLabelValues(upstream), max(0, added))
}

// observe notes a time, with the trace as its exemplar if that is kept.
func observe(ctx context.Context, to prometheus.Observer, d time.Duration) {
	span := trace.SpanContextFromContext(ctx)
	if exemplary, ok := to.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		exemplary.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	to.Observe(d.Seconds())
}

// methods are those that a label may hold. Callers may invent any other.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// bounded returns a known method as it is and "OTHER" for the rest: labels must
// not grow with what callers send.
func bounded(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "OTHER"
}

// Refusal counts a call that the sidecar refused. The code is the refusal's own.
func (m *Metrics) Refusal(code string) { m.refusals.WithLabelValues(code).Inc() }

// TokenRequest counts one request to HelseID's token endpoint. ctx may hold a span, as
// for Request.
func (m *Metrics) TokenRequest(ctx context.Context, grant, outcome string, took time.Duration) {
	m.tokens.WithLabelValues(grant, outcome).Inc()
	observe(ctx, m.tokenTimes.WithLabelValues(grant), took)
}

// TokenCache counts how a call came by its token: hit, joined, fetched, shared or renewed.
func (m *Metrics) TokenCache(result string) { m.cache.WithLabelValues(result).Inc() }

// NonceChallenge counts an answer of HelseID or SFM that asked for another nonce.
func (m *Metrics) NonceChallenge(party string) { m.challenges.WithLabelValues(party).Inc() }

// StoreError counts an operation of the store that failed; docs/observability.md lists
// them.
func (m *Metrics) StoreError(operation string) { m.storeErrors.WithLabelValues(operation).Inc() }

// Skew tells how far a party's clock is ahead of ours; negative is behind.
func (m *Metrics) Skew(party string, ahead time.Duration) {
	m.skews.WithLabelValues(party).Set(ahead.Seconds())
}

// CacheEntries makes token_cache_entries show what the function returns whenever
// it is asked for. It panics when called twice.
func (m *Metrics) CacheEntries(count func() int) {
	m.live("token_cache_entries", "Tokens in memory.", count)
}

// Sessions makes sessions show what the function returns whenever it is asked for.
// It panics when called twice.
func (m *Metrics) Sessions(count func() int) {
	m.live("sessions", "Sessions of persons that are logged in or logging in.", count)
}

// ClientKeyNotAfter makes client_key_not_after_seconds show when the client key
// that signs ends, in seconds since 1970. While the function returns the zero time
// the metric is not there. It panics when called twice.
func (m *Metrics) ClientKeyNotAfter(end func() time.Time) {
	m.registry.MustRegister(notAfter{end, prometheus.NewDesc(namespace+"_client_key_not_after_seconds",
		"When the client key's registration at HelseID ends, in seconds since 1970; not there while that is not known.", nil, nil)})
}

// notAfter is a gauge that is there only while there is something to show.
type notAfter struct {
	end  func() time.Time
	desc *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (n notAfter) Describe(to chan<- *prometheus.Desc) { to <- n.desc }

// Collect implements [prometheus.Collector].
func (n notAfter) Collect(to chan<- prometheus.Metric) {
	if end := n.end(); !end.IsZero() {
		to <- prometheus.MustNewConstMetric(n.desc, prometheus.GaugeValue, float64(end.Unix()))
	}
}

func (m *Metrics) live(name, help string, count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help},
		func() float64 { return float64(count()) }))
}

// Handler answers with all metrics, in the form that Prometheus reads; in OpenMetrics',
// which has the exemplars, to whoever asks for that.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
