package config

import (
	"crypto/x509"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// Traces is what OpenTelemetry's own variables say. Many programs share them, and
// they may be set for a whole cluster: a word that is not known is a warning, as
// OpenTelemetry wants it. Only what keeps traces from leaving, although they shall,
// is a fault.
type Traces struct {
	OTLPEndpoint      string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	TracesEndpoint    string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"`
	OTLPHeaders       Secret `env:"OTEL_EXPORTER_OTLP_HEADERS"` // may hold a collector's key
	TracesHeaders     Secret `env:"OTEL_EXPORTER_OTLP_TRACES_HEADERS"`
	OTLPProtocol      string `env:"OTEL_EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf"`
	TracesProtocol    string `env:"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"`
	OTLPTimeout       string `env:"OTEL_EXPORTER_OTLP_TIMEOUT"`
	TracesTimeout     string `env:"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"`
	OTLPCompression   string `env:"OTEL_EXPORTER_OTLP_COMPRESSION" envDefault:"none"`
	TracesCompression string `env:"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"`
	OTLPCertificate   string `env:"OTEL_EXPORTER_OTLP_CERTIFICATE"`
	TracesCertificate string `env:"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"`

	SDKDisabled        string `env:"OTEL_SDK_DISABLED" envDefault:"false"`
	TracesExporter     string `env:"OTEL_TRACES_EXPORTER" envDefault:"otlp"`
	ServiceName        string `env:"OTEL_SERVICE_NAME"`
	ResourceAttributes string `env:"OTEL_RESOURCE_ATTRIBUTES"`
	Sampler            string `env:"OTEL_TRACES_SAMPLER" envDefault:"parentbased_always_on"`
	SamplerArg         string `env:"OTEL_TRACES_SAMPLER_ARG"`

	BatchDelay   string `env:"OTEL_BSP_SCHEDULE_DELAY" envDefault:"5000"`
	BatchTimeout string `env:"OTEL_BSP_EXPORT_TIMEOUT" envDefault:"30000"`
	BatchQueue   string `env:"OTEL_BSP_MAX_QUEUE_SIZE" envDefault:"2048"`
	BatchSize    string `env:"OTEL_BSP_MAX_EXPORT_BATCH_SIZE" envDefault:"512"`
}

const (
	protocolHTTP    = "http/protobuf"
	defaultService  = "sfm-sidecar"
	serviceName     = "service.name"
	defaultDelivery = 10 * time.Second
	compressionGzip = "gzip"
)

// On says whether traces leave.
func (t *Traces) On() bool {
	return t.Endpoint() != "" && !strings.EqualFold(t.SDKDisabled, "true") && t.TracesExporter == "otlp"
}

// Endpoint is the URL that traces are sent to; empty: none is set.
func (t *Traces) Endpoint() string {
	if t.TracesEndpoint != "" || t.OTLPEndpoint == "" {
		return t.TracesEndpoint
	}
	return strings.TrimSuffix(t.OTLPEndpoint, "/") + "/v1/traces"
}

// Headers are what the collector wants to see. They are secret.
func (t *Traces) Headers() map[string]string {
	read, _ := headers(either(t.TracesHeaders.Reveal(), t.OTLPHeaders.Reveal()))
	return read
}

// Timeout is how long the delivery of a batch may take, all tries together.
func (t *Traces) Timeout() time.Duration {
	n, err := strconv.Atoi(either(t.TracesTimeout, t.OTLPTimeout))
	if err != nil || n <= 0 {
		return defaultDelivery
	}
	return time.Duration(n) * time.Millisecond
}

// Gzip says whether batches are compressed.
func (t *Traces) Gzip() bool {
	return either(t.TracesCompression, t.OTLPCompression) == compressionGzip
}

// Certificate is the file of certificates that the collector's is judged by; empty:
// the ones that are trusted anyway.
func (t *Traces) Certificate() string { return either(t.TracesCertificate, t.OTLPCertificate) }

// Attributes describe the service; service.name is among them.
func (t *Traces) Attributes() map[string]string {
	read, _ := attributes(t.ResourceAttributes)
	if read == nil {
		read = make(map[string]string)
	}
	if t.ServiceName != "" || read[serviceName] == "" {
		// Protobuf takes no other text: no batch could be encoded.
		read[serviceName] = either(strings.ToValidUTF8(t.ServiceName, "\uFFFD"), defaultService)
	}
	return read
}

// attributes reads name=value pairs, comma separated, whose values are
// percent-encoded (W3C Baggage, as OpenTelemetry's variables have it). It returns
// nothing if one of them is none.
func attributes(v string) (map[string]string, bool) {
	read := make(map[string]string)
	for pair := range strings.SplitSeq(v, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || name == "" || err != nil || !plain(name) || !plain(value) {
			return nil, false
		}
		read[name] = value
	}
	return read, true
}

// headers are attributes whose names a request can bear.
func headers(v string) (map[string]string, bool) {
	read, ok := attributes(v)
	for name := range read {
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, false
		}
	}
	return read, ok
}

// plain says whether text is what a header and Protobuf can hold.
func plain(text string) bool { return utf8.ValidString(text) && !strings.ContainsFunc(text, control) }

func control(r rune) bool { return r < ' ' || r == 0x7f }

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// samplers are the values of OTEL_TRACES_SAMPLER.
var samplers = []string{
	"always_on", "always_off", "traceidratio",
	"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// checkTraces is silent while no traces leave: then nothing is wrong. What is not
// known is replaced by its default. Values are not repeated: they may be keys.
func checkTraces(t *Traces, found *findings) {
	if t.TracesExporter != "otlp" && t.TracesExporter != "none" {
		found.warn("OTEL_TRACES_EXPORTER", "is neither otlp nor none: no traces leave", "write otlp, or none")
	}
	if !t.On() {
		return
	}
	checkCollector(t, found)
	warnTraces(t, found)
	warnBatches(t, found)
}

// checkCollector refuses what would keep every trace from arriving.
func checkCollector(t *Traces, found *findings) {
	endpoint, protocol, file := "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_CERTIFICATE"
	if t.TracesEndpoint != "" {
		endpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	}
	u, err := url.Parse(t.Endpoint())
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		found.fault(endpoint, "is no http or https URL", "write the collector's address for OTLP over HTTP, such as http://localhost:4318")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		found.fault(endpoint, "has a user, a query or a fragment", "put what is secret into OTEL_EXPORTER_OTLP_HEADERS")
	}
	if t.TracesProtocol != "" {
		protocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	}
	switch either(t.TracesProtocol, t.OTLPProtocol) {
	case protocolHTTP:
	case "grpc", "http/json":
		found.fault(protocol, "asks for a protocol that is not spoken here", "write http/protobuf, and the endpoint of that (port 4318 by custom)")
	default:
		found.warn(protocol, "is not a known protocol", "write http/protobuf; that is what is spoken")
	}
	if t.TracesCertificate != "" {
		file = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"
	}
	if path := t.Certificate(); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
			found.fault(file, "names no file with a certificate in PEM form", "name one, or unset it")
		}
	}
}

// warnTraces warns of what is replaced by its default.
func warnTraces(t *Traces, found *findings) {
	for _, list := range []struct {
		variable, text string
		read           func(string) (map[string]string, bool)
	}{
		{"OTEL_EXPORTER_OTLP_HEADERS", t.OTLPHeaders.Reveal(), headers},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", t.TracesHeaders.Reveal(), headers},
		{"OTEL_RESOURCE_ATTRIBUTES", t.ResourceAttributes, attributes},
	} {
		if _, ok := list.read(list.text); !ok {
			found.warn(list.variable, "is no list of name=value pairs that can be sent, and is not used", "write name=value,name=value, with percent-encoded values")
		}
	}
	for _, ms := range [][2]string{
		{"OTEL_EXPORTER_OTLP_TIMEOUT", t.OTLPTimeout}, {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", t.TracesTimeout},
	} {
		if n, err := strconv.Atoi(ms[1]); ms[1] != "" && (err != nil || n <= 0) {
			found.warn(ms[0], "is no number of milliseconds above 0 and is not used", "write digits only, such as 10000")
		}
	}
	if c := either(t.TracesCompression, t.OTLPCompression); c != compressionGzip && c != "none" {
		found.warn("OTEL_EXPORTER_OTLP_COMPRESSION", "is neither gzip nor none; nothing is compressed", "write gzip, or none")
	}
	if !slices.Contains(samplers, t.Sampler) {
		found.warn("OTEL_TRACES_SAMPLER", "is no known sampler; parentbased_always_on is used", "write one of "+strings.Join(samplers, ", "))
	}
	if share, err := strconv.ParseFloat(either(t.SamplerArg, "1"), 64); err != nil || !(share >= 0 && share <= 1) {
		found.warn("OTEL_TRACES_SAMPLER_ARG", "is no number from 0 to 1; 1 is used", "write a share, such as 0.1")
	}
}

// Share is the part of all traces that a traceidratio sampler keeps.
func (t *Traces) Share() float64 {
	share, err := strconv.ParseFloat(t.SamplerArg, 64)
	if err != nil || !(share >= 0 && share <= 1) {
		return 1
	}
	return share
}
