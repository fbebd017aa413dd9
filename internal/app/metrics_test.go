package app_test

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zalando/go-keyring"

	"sfm-sidecar/internal/app"
	"sfm-sidecar/internal/simulator"
)

// described is a metric's type and the names of its labels.
type described struct{ kind, labels string }

// ofContract are the metrics that are promised; what reads them relies on names, types
// and labels.
var ofContract = map[string]described{
	"requests_total":                 {"counter", "code method upstream"},
	"request_duration_seconds":       {"histogram", "upstream"},
	"overhead_seconds":               {"histogram", "upstream"},
	"refusals_total":                 {"counter", "code"},
	"token_requests_total":           {"counter", "grant outcome"},
	"token_request_duration_seconds": {"histogram", "grant"},
	"token_cache_total":              {"counter", "result"},
	"token_cache_entries":            {"gauge", ""},
	"dpop_nonce_challenges_total":    {"counter", "party"},
	"clock_skew_seconds":             {"gauge", "party"},
	"sessions":                       {"gauge", ""},
	"sfm_sessions":                   {"gauge", "state"},
	"store_errors_total":             {"counter", "operation"},
	"client_key_not_after_seconds":   {"gauge", ""},
	"build_info":                     {"gauge", "version"},
}

// beyond are those that are there besides.
var beyond = map[string]described{
	"sfm_session_refreshes_total": {"counter", "outcome"},
	"registry_loads_total":        {"counter", "outcome"},
	"registry_tenants":            {"gauge", ""},
	"registry_broken":             {"gauge", ""},
	"store_resting":               {"gauge", ""},
	"own_dpop_key":                {"gauge", ""},
}

const prefix = "sfm_sidecar_"

var (
	typeLine  = regexp.MustCompile(`^# TYPE ` + prefix + `(\S+) (\S+)$`)
	seriesOf  = regexp.MustCompile(`^` + prefix + `([a-z_]+)(?:\{(.*)\})? (\S+)$`)
	labelPair = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
)

// describe reads the metrics of ours: their types, their labels, and all values of
// labels.
func describe(t *testing.T, text string) (metrics map[string]described, values []string) {
	t.Helper()
	metrics = make(map[string]described)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := typeLine.FindStringSubmatch(line); m != nil {
			metrics[m[1]] = described{kind: m[2]}
			continue
		}
		m := seriesOf.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && metrics[base].kind == "histogram" {
				name = base
			}
		}
		var labels []string
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if pair[1] != "le" {
				labels = append(labels, pair[1])
				values = append(values, pair[2])
			}
		}
		slices.Sort(labels)
		metrics[name] = described{metrics[name].kind, strings.Join(labels, " ")}
	}
	return metrics, values
}

// TestEveryMetricMoves goes through a sidecar's life with whatever moves each metric,
// compares what is then shown with what is promised and with the documentation, and
// looks at every value of every label. It is alone: the key store's stand-in is the
// process's.
func TestEveryMetricMoves(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	keyring.MockInit()
	tenants := simulator.Tenants()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	replaceFile(t, path, registryOf(map[string]simulator.Tenant{"markedalias": tenants[0], "second": tenants[1]}))
	knobs := simulator.DefaultKnobs()
	knobs.SFM.RequireNonce, knobs.SFM.BindSessionKey, knobs.HelseID.AccessTokenSeconds = true, true, 5
	w := newWorld(t, setup{
		sim: simulator.Options{Knobs: &knobs},
		env: []string{"SIDECAR_SESSION_STORE=keyring", "TENANTS_FILE=" + path},
	})
	file := filepath.Join(t.TempDir(), "client.jwk")
	if err := os.WriteFile(file, keyThatEnds(t, w.key), 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart("HELSEID_CLIENT_JWK=", "HELSEID_CLIENT_JWK_FILE="+file)

	moves := func(what, series string, by float64) {
		t.Helper()
		if got := w.metric(prefix + series); got < by {
			t.Errorf("%s: %s is %v, want %v or more", what, series, got, by)
		}
	}
	handle := w.logIn("lege")
	moves("a start", `build_info{version="test"}`, 1)
	moves("a start", "registry_tenants", 2)
	moves("a start", `registry_loads_total{outcome="loaded"}`, 1)
	moves("a key that ends", "client_key_not_after_seconds", 1)
	moves("a log-in", "sessions", 1)
	moves("a log-in", `token_requests_total{grant="par",outcome="ok"}`, 1)
	moves("a log-in", `token_requests_total{grant="authorization_code",outcome="ok"}`, 1)
	moves("a log-in", `token_request_duration_seconds_count{grant="par"}`, 1)

	w.wantCode(w.call(handle, 0), "")
	w.wantCode(w.call(handle, 0), "")
	moves("a call", `requests_total{code="200",method="GET",upstream="basis"}`, 2)
	moves("a call", `request_duration_seconds_count{upstream="basis"}`, 2)
	moves("a call", `overhead_seconds_count{upstream="basis"}`, 2)
	moves("a call", `token_cache_total{result="fetched"}`, 1)
	moves("another", `token_cache_total{result="hit"}`, 1)
	moves("a call", "token_cache_entries", 1)
	moves("a call", `dpop_nonce_challenges_total{party="sfm"}`, 1)
	moves("a log-in", `dpop_nonce_challenges_total{party="helseid"}`, 1)
	if !strings.Contains(w.metrics(), prefix+`clock_skew_seconds{party="helseid"} `) {
		t.Error("HelseID's clock is not shown")
	}
	w.sfmSession(handle, tenants[0])
	moves("an SFM session", `sfm_sessions{state="open"}`, 1)
	eventually(t, "a renewal", func() bool {
		w.wantCode(w.call(handle, 0), "")
		return w.metric(prefix+`token_cache_total{result="renewed"}`) > 0
	})
	eventually(t, "a refresh of it", func() bool {
		w.wantCode(w.call(handle, 0), "")
		return w.metric(prefix+`sfm_session_refreshes_total{outcome="refreshed"}`) > 0
	})

	marked := append(headers(handle, tenants[0]), "X-Marked", markHeader)
	for _, method := range []string{http.MethodPost, markMethod} {
		for _, at := range []string{"/basis/", "/" + markUpstream + "/", "/_sidecar/"} {
			w.send(w.request(method, at+markPath+"?identifier="+markQuery, markBody, marked...))
		}
	}
	moves("a refusal", `refusals_total{code="upstream-unknown"}`, 2)
	moves("a method nobody knows", `requests_total{code="404",method="OTHER",upstream=""}`, 1)

	replaceFile(t, path, "tenants: [")
	eventually(t, "a broken registry", func() bool { return w.metric(prefix+"registry_broken") == 1 })
	moves("a broken registry", `registry_loads_total{outcome="broken"}`, 1)

	keyring.MockInitWithError(errors.New("locked"))
	w.browse(w.beginAgain(), "vikar")
	moves("a key store that is locked", `store_errors_total{operation="put"}`, 1)

	shown, values := describe(t, w.metrics())
	promised := maps.Clone(ofContract)
	maps.Copy(promised, beyond)
	if diff := cmp.Diff(promised, shown, cmp.AllowUnexported(described{})); diff != "" {
		t.Errorf("the metrics (-promised +shown):\n%s", diff)
	}
	checkLabels(t, values, handle, tenants)
	checkDocumentation(t, w.metrics())
}

// keyThatEnds is the client's key with an end to its registration.
func keyThatEnds(t *testing.T, jwk []byte) []byte {
	t.Helper()
	return []byte(strings.Replace(string(jwk), "{", `{"exp":4102444800,`, 1))
}

// beginAgain starts a log-in and returns its link.
func (w *world) beginAgain() string {
	w.t.Helper()
	_, link := w.begin("{}")
	return link
}

// checkLabels looks for what no label may hold.
func checkLabels(t *testing.T, values []string, handle string, tenants []simulator.Tenant) {
	t.Helper()
	never := []string{
		markPath, markQuery, markHeader, markMethod, markUpstream, markBody, "markedalias", handle, "/", "?", "eyJ", "lege", "vikar",
	}
	for _, tenant := range tenants {
		never = append(never, tenant.Parent, tenant.Journal)
		if tenant.Child != "" {
			never = append(never, tenant.Child)
		}
	}
	for _, p := range simulator.Persons() {
		never = append(never, p.PID, p.Name, p.Subject)
	}
	for _, value := range values {
		for _, forbidden := range never {
			if strings.Contains(value, forbidden) {
				t.Errorf("a label holds what begins with %.12s", forbidden)
			}
		}
	}
}

// rowOf is a row of the table of metrics in docs/observability.md.
var rowOf = regexp.MustCompile("(?m)^\\| `" + prefix + "([a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\| ([^|]+) \\|$")

// checkDocumentation compares docs/observability.md with what is shown.
func checkDocumentation(t *testing.T, text string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	written := make(map[string]described)
	for _, row := range rowOf.FindAllStringSubmatch(string(page), -1) {
		labels := strings.Fields(strings.NewReplacer("`", " ", ",", " ").Replace(row[3]))
		slices.Sort(labels)
		written[row[1]] = described{row[2], strings.Join(labels, " ")}
	}
	shown, _ := describe(t, text)
	if diff := cmp.Diff(shown, written, cmp.AllowUnexported(described{})); diff != "" {
		t.Errorf("docs/observability.md (-shown +written):\n%s", diff)
	}
}

// A collector's headers hold its key: "sidecar env" hides them.
func TestCollectorHeadersAreHidden(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	code := app.Run(t.Context(), app.Options{Args: []string{"env"}, Stdout: &out, Stderr: &out, Environ: []string{
		"OTEL_EXPORTER_OTLP_HEADERS=x-api-key=verysecret", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=x-api-key=verysecret",
	}})
	if code != 0 || strings.Contains(out.String(), "verysecret") || strings.Count(out.String(), "[hidden]") != 2 {
		t.Errorf("exit code %d:\n%s", code, out.String())
	}
}
