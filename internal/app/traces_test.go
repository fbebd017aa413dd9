package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"sfm-sidecar/internal/simulator"
)

// What a caller sends of its own trace.
const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + callerSpan + "-01"
)

// end ends the sidecar, so that all its spans have been delivered.
func (w *world) end() {
	w.t.Helper()
	seen.keep(w.metrics())
	w.client.CloseIdleConnections()
	w.stop()
	if err := w.sidecar.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// One call from the EPJ to SFM is one trace, whose spans hang together.
func TestTraceOfACall(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	helseID := &traceparents{}
	knobs := simulator.DefaultKnobs()
	knobs.SFM.RequireNonce = true
	w := newWorld(t, setup{helseID: helseID.note, sim: simulator.Options{Knobs: &knobs}, env: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL + "/", "OTEL_EXPORTER_OTLP_HEADERS=X-Api-Key=a%20secret%20key",
		"OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=a%20test",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=1",
	}})
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	got, echo := w.echo(w.request(http.MethodPost, "/basis/echo", "a body", append(headers(handle, tenant),
		"Traceparent", traceparent, "Tracestate", "vendor=state", "Baggage", "user=x")...))
	if got.status != http.StatusOK {
		t.Fatalf("status %d %s", got.status, got.header.Get("Sidecar-Error"))
	}
	w.end()

	call := c.one(t, traceID, "POST /{upstream}")
	if call.parent != callerSpan || call.kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("the call's span hangs on %s", call.parent)
	}
	for name, want := range map[string]string{
		"http.route": "/{upstream}", "http.request.method": "POST", "sidecar.upstream": "basis", "sidecar.token.source": "fetched",
	} {
		if call.attrs[name] != want {
			t.Errorf("the call's %s is %q, want %q", name, call.attrs[name], want)
		}
	}
	wait, fetch := c.one(t, traceID, "wait for a token"), c.one(t, traceID, "fetch a token")
	if wait.parent != call.id || fetch.parent != call.id || wait.attrs["sidecar.token.source"] != "fetched" {
		t.Errorf("waiting for the token: %+v, fetching it: %+v", wait, fetch)
	}
	refresh := c.one(t, traceID, "HelseID refresh_token")
	if refresh.parent != fetch.id || refresh.attrs["sidecar.outcome"] != "ok" || refresh.attrs["sidecar.grant"] != "refresh_token" {
		t.Errorf("the refresh: %+v", refresh)
	}
	asked := c.of(traceID, "POST HelseID")
	if len(asked) == 0 || asked[0].parent != refresh.id || asked[0].kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("the requests to HelseID: %+v", asked)
	}
	attempts := c.of(traceID, "POST SFM")
	if len(attempts) != 2 { // the first had no nonce
		t.Fatalf("%d attempts at SFM", len(attempts))
	}
	for i, status := range []string{"401", "200"} {
		if attempts[i].parent != call.id || !strings.Contains(attempts[i].attrs["http.response.status_code"], status) {
			t.Errorf("attempt %d: %+v", i, attempts[i])
		}
	}
	if want := "00-" + traceID + "-" + attempts[1].id + "-01"; strings.Join(echo.Headers["Traceparent"], ",") != want {
		t.Errorf("SFM got traceparent %q, want %s", echo.Headers["Traceparent"], want)
	}
	if strings.Join(echo.Headers["Tracestate"], ",") != "vendor=state" || strings.Join(echo.Headers["Baggage"], ",") != "user=x" {
		t.Errorf("SFM got tracestate %q, baggage %q", echo.Headers["Tracestate"], echo.Headers["Baggage"])
	}
	helseID.check(t)
	if c.service["service.name"] != "sfm-sidecar" || c.service["service.version"] != "test" || c.service["deployment.environment"] != "a test" {
		t.Errorf("the service is %v", c.service)
	}
	if c.headers[0].Get("X-Api-Key") != "a secret key" {
		t.Error("the collector's key did not come along")
	}
	if len(c.headers) != len(c.spans) {
		t.Errorf("%d spans came in %d batches, want each alone", len(c.spans), len(c.headers))
	}
}

// traceparents notes what HelseID is told of a trace.
type traceparents struct{ headers chan http.Header }

func (s *traceparents) note(next http.Handler) http.Handler {
	s.headers = make(chan http.Header, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.headers <- r.Header.Clone()
		next.ServeHTTP(w, r)
	})
}

func (s *traceparents) check(t *testing.T) {
	t.Helper()
	close(s.headers)
	continued := 0
	for h := range s.headers {
		if strings.HasPrefix(h.Get("Traceparent"), "00-"+traceID+"-") && !strings.Contains(h.Get("Traceparent"), callerSpan) {
			continued++
		}
		if h.Get("Tracestate") != "" || h.Get("Baggage") != "" {
			t.Error("HelseID got the caller's tracestate or baggage")
		}
	}
	if continued == 0 {
		t.Error("HelseID got no traceparent of the trace")
	}
}

// Many calls that want the same token wait for one fetch; each says so in its trace.
func TestTraceOfJoinedCalls(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	slow := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-time.After(200 * time.Millisecond) // a slow HelseID
			next.ServeHTTP(w, r)
		})
	}
	w := newWorld(t, setup{helseID: slow, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL}})
	handle := w.logIn("lege")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r := w.request(http.MethodGet, "/basis/Task", "", append(headers(handle, simulator.Tenants()[0]), "Traceparent", traceparent)...)
			if a, err := w.do(r); err != nil || a.status != http.StatusOK {
				t.Errorf("status %d, %v", a.status, err)
			}
		})
	}
	all.Wait()
	w.end()
	from := make(map[string]int)
	for _, s := range c.of(traceID, "wait for a token") {
		from[s.attrs["sidecar.token.source"]]++
	}
	if from["fetched"] != 1 || from["joined"] == 0 || from["hit"] != 0 {
		t.Errorf("the calls waited for tokens from %v", from)
	}
	c.one(t, traceID, "fetch a token")
}

// What is done without a call has a trace of its own.
func TestTraceOfKeepingASession(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := shortLived(t, 5, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	handle, tenant := w.logIn("lege"), simulator.Tenants()[0]
	w.sfmSession(handle, tenant)
	eventually(t, "a refresh", func() bool { return w.atSFM(tenant.Parent).NewTokens >= 1 })
	w.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	is := func(name string) func(span) bool { return func(s span) bool { return s.name == name } }
	i := slices.IndexFunc(c.spans, is("call about an SFM session"))
	if i < 0 {
		t.Fatal("there is no span of it")
	}
	kept := c.spans[i]
	if kept.attrs["sidecar.outcome"] != "ok" || kept.attrs["sidecar.upstream"] != "session" || kept.failed {
		t.Errorf("it says %+v", kept)
	}
	if !slices.ContainsFunc(c.spans, func(s span) bool { return s.name == "POST SFM" && s.parent == kept.id }) {
		t.Error("the request to SFM is not beneath it")
	}
}

// While no traces are made, the caller's own headers pass as they are.
func TestTraceparentWithoutTracing(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	for name, env := range map[string][]string{
		"no endpoint": nil,
		"disabled":    {"OTEL_SDK_DISABLED=TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL},
		"no exporter": {"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{env: append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT="}, env...)})
			_, echo := w.echo(w.request(http.MethodGet, "/basis/echo", "", append(headers(w.logIn("lege"), simulator.Tenants()[0]),
				"Traceparent", traceparent, "Tracestate", "vendor=state")...))
			if strings.Join(echo.Headers["Traceparent"], ",") != traceparent || strings.Join(echo.Headers["Tracestate"], ",") != "vendor=state" {
				t.Errorf("SFM got %q, %q", echo.Headers["Traceparent"], echo.Headers["Tracestate"])
			}
			w.end()
			if len(c.of(traceID, "")) > 0 {
				t.Error("spans left")
			}
		})
	}
}

// A caller that does not want its trace kept is heard, and the chain stays whole.
func TestTraceNotSampled(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, setup{env: []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + c.URL}})
	_, echo := w.echo(w.request(http.MethodGet, "/basis/echo", "", append(headers(w.logIn("lege"), simulator.Tenants()[0]),
		"Traceparent", "00-"+traceID+"-"+callerSpan+"-00")...))
	got := strings.Join(echo.Headers["Traceparent"], ",")
	if !strings.HasPrefix(got, "00-"+traceID+"-") || !strings.HasSuffix(got, "-00") || strings.Contains(got, callerSpan) {
		t.Errorf("SFM got %q", got)
	}
	if strings.Contains(string(w.openMetrics().body), traceID) {
		t.Error("an exemplar leads to a trace that is not kept")
	}
	w.end()
	if found := c.of(traceID, ""); len(found) > 0 {
		t.Errorf("%d spans left", len(found))
	}
}

// Marks that stand wherever a caller can put something, and must be in no span and
// no metric.
const (
	markPath, markQuery, markHeader, markHost = "MarkedPath", "MarkedQuery", "MarkedHeader", "marked-host.example"
	markMethod, markUpstream, markBody        = "MARKEDMETHOD", "markedupstream", "MarkedBody"
)

// TestNothingOfACallIsSeen makes calls that are marked in every place, answered and
// refused, and searches all that left for the marks, and for what the stand-ins know
// of persons, tenants and tokens.
func TestNothingOfACallIsSeen(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, setup{env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL}})
	person, tenant := "lege", simulator.Tenants()[0]
	handle := w.logIn(person)
	marked := append(headers(handle, tenant), "X-Marked", markHeader, "User-Agent", markHeader, "Traceparent", traceparent,
		"Tracestate", "vendor="+markHeader, "X-Forwarded-For", markHeader, "Baggage", "a="+markHeader, "Content-Type", "text/"+markHeader)
	send := func(method, path, host string) {
		r := w.request(method, path+"/"+markPath+"?identifier="+markQuery, markBody, marked...)
		if host != "" {
			r.Host = host
		}
		w.send(r)
	}
	for _, method := range []string{http.MethodPost, markMethod} {
		for _, path := range []string{"/basis", "/basis/echo", "/" + markUpstream, "/_sidecar", "/" + markPath} {
			send(method, path, "")
			send(method, path, markHost)
		}
	}
	w.end()

	c.mu.Lock()
	everything := c.raw.String()
	shown := seen.logged() // metrics of this world among much else; the marks are this test's own
	c.mu.Unlock()
	secrets := []string{handle, tenant.Parent, tenant.Child, tenant.Journal, "eyJ", "lege", "DPoP", "secret"}
	for _, p := range simulator.Persons() {
		secrets = append(secrets, p.PID)
	}
	for _, mark := range []string{markPath, markQuery, markHeader, markHost, markMethod, markUpstream, markBody} {
		if strings.Contains(everything, mark) {
			t.Errorf("a span holds %s", mark)
		}
		if strings.Contains(shown, mark) {
			t.Errorf("a metric, a refusal or a log line holds %s", mark)
		}
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(everything, secret) {
			t.Errorf("a span holds what begins with %.3s", secret)
		}
	}
	allowed := []string{
		"http.request.method", "http.response.status_code", "http.route", "error.type", "network.protocol.version",
		"sidecar.upstream", "sidecar.refusal", "sidecar.token.source", "sidecar.grant", "sidecar.outcome",
	}
	client := append(slices.Clone(allowed), "server.address", "server.port")
	refused := make(map[string]bool)
	for _, s := range c.spans {
		may := allowed
		if s.kind == tracepb.Span_SPAN_KIND_CLIENT {
			may = client
		}
		for name := range s.attrs {
			if !slices.Contains(may, name) {
				t.Errorf("the span %q has the attribute %s", s.name, name)
			}
		}
		if s.extras > 0 {
			t.Errorf("the span %q has events, links, a trace state or a status text", s.name)
		}
		refused[s.attrs["sidecar.refusal"]] = true
	}
	if !refused["upstream-unknown"] || !refused["host-refused"] {
		t.Errorf("the refusals in spans: %v", refused)
	}
}

// A collector that is not there, or that scolds, disturbs no call and delays no end,
// and its key is nowhere to be seen.
func TestCollectorThatFails(t *testing.T) {
	t.Parallel()
	scolding := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no such key: "+r.Header.Get("X-Api-Key"), http.StatusForbidden)
	}))
	t.Cleanup(scolding.Close)
	for name, tt := range map[string]struct{ endpoint, says string }{
		"refuses":   {scolding.URL, "answered 403"},
		"not there": {"http://127.0.0.1:1", "can't be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := "collectors" + strings.ReplaceAll(name, " ", "")
			seen.secret(key)
			w := newWorld(t, setup{env: []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=" + tt.endpoint, "OTEL_EXPORTER_OTLP_HEADERS=X-Api-Key=" + key, "OTEL_EXPORTER_OTLP_TIMEOUT=500",
			}})
			handle := w.logIn("lege")
			for range 5 {
				w.wantCode(w.call(handle, 0), "")
			}
			w.end()
			w.awaitLog(t, fmt.Sprintf(`"cause":"the collector %s"`, tt.says))
		})
	}
}

// openMetrics is what the admin listener shows to who asks for exemplars.
func (w *world) openMetrics() answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.sidecar.AdminAddr()+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	return w.send(r)
}

// The times of a call whose trace is kept lead to it, for whoever asks in OpenMetrics.
func TestExemplars(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, setup{env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL}})
	a := w.send(w.request(http.MethodGet, "/basis/Task", "", append(headers(w.logIn("lege"), simulator.Tenants()[0]), "Traceparent", traceparent)...))
	w.wantCode(a, "")
	shown := w.openMetrics()
	if got := shown.header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
		t.Errorf("Content-Type %s", got)
	}
	for _, name := range []string{"request_duration_seconds", "overhead_seconds", "token_request_duration_seconds"} {
		found := false
		for line := range strings.Lines(string(shown.body)) {
			found = found || strings.HasPrefix(line, "sfm_sidecar_"+name+"_bucket") && strings.Contains(line, `# {trace_id="`+traceID+`"}`)
		}
		if !found {
			t.Errorf("%s has no exemplar", name)
		}
	}
	if strings.Contains(w.metrics(), "trace_id") {
		t.Error("Prometheus' plain form holds exemplars, which it does not know")
	}
}
