package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/config"
)

const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"

// Traces leave only when there is somewhere to send them and nothing forbids it.
func TestTracesAreOn(t *testing.T) {
	for _, test := range []struct {
		set      []string
		endpoint string
		on       bool
	}{
		{nil, "", false},
		{[]string{endpoint}, "http://collector:4318/v1/traces", true},
		{[]string{endpoint + "/base/"}, "http://collector:4318/base/v1/traces", true},
		{[]string{endpoint, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://other/here"}, "http://other/here", true},
		{[]string{endpoint, "OTEL_SDK_DISABLED=True"}, "http://collector:4318/v1/traces", false},
		{[]string{endpoint, "OTEL_SDK_DISABLED=yes"}, "http://collector:4318/v1/traces", true},
		{[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, "http://collector:4318/v1/traces", false},
		{[]string{endpoint, "OTEL_TRACES_EXPORTER=zipkin"}, "http://collector:4318/v1/traces", false},
	} {
		c := mustLoad(t, with(test.set...))
		if c.Traces.Endpoint() != test.endpoint || c.Traces.On() != test.on {
			t.Errorf("%v: to %q, %v", test.set, c.Traces.Endpoint(), c.Traces.On())
		}
	}
}

// What is said for traces alone wins over what is said for all signals.
func TestTracesSettings(t *testing.T) {
	c := mustLoad(t, with(endpoint,
		"OTEL_EXPORTER_OTLP_HEADERS=a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS= x-api-key = se%2Ccret%20key ,b=2",
		"OTEL_EXPORTER_OTLP_TIMEOUT=1000", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=250",
		"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=gzip", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
		"OTEL_RESOURCE_ATTRIBUTES=service.name=x,region=norge%20nord", "OTEL_SERVICE_NAME=epj", "OTEL_TRACES_SAMPLER_ARG=0.25"))
	got := []any{c.Traces.Headers(), c.Traces.Timeout(), c.Traces.Gzip(), c.Traces.Attributes(), c.Traces.Share()}
	want := []any{
		map[string]string{"x-api-key": "se,cret key", "b": "2"}, 250 * time.Millisecond, true,
		map[string]string{"service.name": "epj", "region": "norge nord"}, 0.25,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c = mustLoad(t, with(endpoint))
	got = []any{c.Traces.Headers(), c.Traces.Timeout(), c.Traces.Gzip(), c.Traces.Attributes(), c.Traces.Share()}
	want = []any{map[string]string{}, 10 * time.Second, false, map[string]string{"service.name": "sfm-sidecar"}, 1.0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// A word that nobody knows is a warning without the value, which may be a key; and
// none at all while no traces leave, or of a variable that is another program's.
func TestTracesWarnings(t *testing.T) {
	wrong := []string{
		"OTEL_EXPORTER_OTLP_HEADERS=verysecret", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=10s", "OTEL_EXPORTER_OTLP_COMPRESSION=verysecret",
		"OTEL_RESOURCE_ATTRIBUTES=a=%zz", "OTEL_TRACES_SAMPLER=verysecret", "OTEL_TRACES_SAMPLER_ARG=NaN", "OTEL_EXPORTER_OTLP_PROTOCOL=verysecret",
	}
	_, warnings, err := config.Load(with(append(wrong, endpoint, "OTEL_METRICS_EXPORTER=x", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=x")...))
	if err != nil {
		t.Fatal(err)
	}
	warned := make(map[string]bool)
	for _, w := range warnings {
		warned[w.Variable] = true
		if strings.Contains(w.String(), "verysecret") {
			t.Errorf("%s repeats the value", w.Variable)
		}
	}
	for _, set := range wrong {
		if name, _, _ := strings.Cut(set, "="); !warned[name] {
			t.Errorf("no warning of %s", name)
		}
	}
	for name := range warned {
		if strings.Contains(name, "METRICS") {
			t.Errorf("a warning of %s", name)
		}
	}
	if _, warnings, err = config.Load(with(wrong...)); err != nil || strings.Contains(stringOf(warnings), "OTEL_") {
		t.Errorf("without an endpoint: %v, %v", warnings, err)
	}
}

// What no request and no batch can bear is not used: nothing would arrive.
func TestTracesThatCouldNotLeave(t *testing.T) {
	none, service := map[string]string{}, map[string]string{"service.name": "sfm-sidecar"}
	for _, test := range []struct {
		set            string
		warned         bool
		headers, about map[string]string
	}{
		{"OTEL_EXPORTER_OTLP_HEADERS=a b=1", true, nil, service},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS=k:=1,x=2", true, nil, service},
		{"OTEL_EXPORTER_OTLP_HEADERS=k=%0d%0ax", true, nil, service},
		{"OTEL_EXPORTER_OTLP_HEADERS=k=a%20b", false, map[string]string{"k": "a b"}, service},
		{"OTEL_RESOURCE_ATTRIBUTES=a=%ff", true, none, service},
		{"OTEL_RESOURCE_ATTRIBUTES=a b=1", false, none, map[string]string{"service.name": "sfm-sidecar", "a b": "1"}},
		{"OTEL_SERVICE_NAME=a\xff", false, none, map[string]string{"service.name": "a\uFFFD"}},
	} {
		c, warnings, err := config.Load(with(test.set, endpoint))
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(test.set, "=")
		if warned := strings.Contains(stringOf(warnings), name); warned != test.warned {
			t.Errorf("%q: %v", test.set, warnings)
		}
		if diff := cmp.Diff([]any{test.headers, test.about}, []any{c.Traces.Headers(), c.Traces.Attributes()}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.set, diff)
		}
	}
}

// What OpenTelemetry's SDK could not bear does not reach it.
func TestBatches(t *testing.T) {
	defaults := config.Batches{Delay: 5 * time.Second, Timeout: 30 * time.Second, Queue: 2048, Size: 512}
	for _, test := range []struct {
		set  []string
		want config.Batches
		warn string
	}{
		{nil, defaults, ""},
		{
			[]string{"OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BSP_EXPORT_TIMEOUT=3600000", "OTEL_BSP_MAX_QUEUE_SIZE=10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=20"},
			config.Batches{Delay: time.Millisecond, Timeout: time.Hour, Queue: 10, Size: 10}, "",
		},
		{[]string{"OTEL_BSP_MAX_QUEUE_SIZE=-1"}, defaults, "OTEL_BSP_MAX_QUEUE_SIZE"},
		{[]string{"OTEL_BSP_MAX_QUEUE_SIZE=999999999999"}, defaults, "OTEL_BSP_MAX_QUEUE_SIZE"},
		{[]string{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=-1"}, defaults, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"},
		{[]string{"OTEL_BSP_SCHEDULE_DELAY=0"}, defaults, "OTEL_BSP_SCHEDULE_DELAY"},
		{[]string{"OTEL_BSP_EXPORT_TIMEOUT=30s"}, defaults, "OTEL_BSP_EXPORT_TIMEOUT"},
	} {
		c, warnings, err := config.Load(with(append(test.set, endpoint)...))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Traces.Batches(); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.set, got, test.want)
		}
		var warned string
		for _, w := range warnings {
			if strings.HasPrefix(w.Variable, "OTEL_") {
				warned += w.Variable
			}
		}
		if warned != test.warn {
			t.Errorf("%v: %v", test.set, warnings)
		}
	}
}

func stringOf(warnings []config.Warning) string {
	var all strings.Builder
	for _, w := range warnings {
		all.WriteString(w.String())
	}
	return all.String()
}
