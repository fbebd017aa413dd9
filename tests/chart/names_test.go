package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
)

// variable is a row of docs/configuration.md, which is made from internal/config.
type variable struct {
	name   string
	secret bool
}

func variables(t *testing.T) []variable {
	t.Helper()
	var all []variable
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`( \\(`_FILE`\\))?").FindAllStringSubmatch(read(t, "docs", "configuration.md"), -1) {
		all = append(all, variable{row[1], row[2] != ""})
	}
	if len(all) < 40 {
		t.Fatalf("read only %d variables", len(all))
	}
	return all
}

// TestVariables sees that the sidecar knows every variable that a chart may give it.
func TestVariables(t *testing.T) {
	known := map[string]bool{}
	for _, v := range variables(t) {
		known[v.name] = true
		known[v.name+"_FILE"] = v.secret
	}
	for set := range sets {
		for _, pod := range pods(t, set) {
			c, _ := find(t, pod.Spec)
			seen := map[string]bool{}
			for _, v := range c.Env {
				if !known[v.Name] || seen[v.Name] {
					t.Errorf("%s: %s is no variable of the sidecar's, or there twice", set, v.Name)
				}
				seen[v.Name] = true
			}
		}
	}
	written := read(t, "helm", "sfm-sidecar", "templates", "_env.tpl")
	for _, v := range variables(t) {
		_, free := schema(t, "sfm-sidecar").Properties["env"].Properties[v.name]
		fixed := regexp.MustCompile(`(?m)^- name: ` + v.name + `(_FILE)?$`).MatchString(written)
		switch {
		case free && (fixed || v.secret):
			t.Errorf("%s is a value of env, though it has one of its own or is a secret", v.name)
		case !free && !fixed && !slices.Contains(leftOut, v.name):
			t.Errorf("%s can't be given: put it into env in values.schema.json, or into leftOut", v.name)
		}
	}
	for name := range schema(t, "sfm-sidecar").Properties["env"].Properties {
		if !known[name] {
			t.Errorf("env has %s, which the sidecar does not know", name)
		}
	}
}

// leftOut has no use in a pod: a desktop's settings, an env file where the pod has an
// environment, listening beyond the pod, and a file where the root can't be written.
// Headers of a collector for traces alone are those of the collector: otlpHeaders.
var leftOut = []string{
	"SIDECAR_ENV_FILE", "SIDECAR_SESSION_STORE", "SIDECAR_ALLOWED_SIDS", "SIDECAR_UNSAFE_LISTEN_ANY", "SIDECAR_AUDIT_FILE",
	"OTEL_EXPORTER_OTLP_TRACES_HEADERS",
}

// metrics returns the names of all metrics that internal/telemetry makes.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal", "telemetry", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`(?:\b(counter|gauge|histogram|live)\(|(NewDesc)\(namespace ?\+ ?)"_?([a-z_]+)"`)
	all := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range made.FindAllStringSubmatch(string(text), -1) {
			all["sfm_sidecar_"+found[3]] = true
			if found[1] == "histogram" {
				all["sfm_sidecar_"+found[3]+"_bucket"] = true
			}
		}
	}
	if !all["sfm_sidecar_refusals_total"] || !all["sfm_sidecar_sfm_sessions"] {
		t.Fatalf("metrics were not found in the code: %v", all)
	}
	return all
}

func alerts(t *testing.T) []monitoring.Rule {
	t.Helper()
	for _, object := range objectsOf(t, "everything") {
		if rule, ok := object.(*monitoring.PrometheusRule); ok && len(rule.Spec.Groups) == 1 {
			return rule.Spec.Groups[0].Rules
		}
	}
	t.Fatal("there are no alerts")
	return nil
}

// TestAlerts checks the names in every alert, and that whoever it wakes is told what
// it means and what to do.
func TestAlerts(t *testing.T) {
	known, used := metrics(t), map[string]bool{}
	codes := read(t, "docs", "refusals.md")
	page := read(t, "docs", "alerts.md")
	for _, rule := range alerts(t) {
		expression := rule.Expr.String()
		names := regexp.MustCompile(`\bsfm_sidecar_[a-z_]+`).FindAllString(expression, -1)
		for _, name := range names {
			used[name] = true
			if !known[name] {
				t.Errorf("%s: there is no metric %s", rule.Alert, name)
			}
		}
		if len(names) == 0 || strings.Count(expression, `{job="clinic/release-sfm-sidecar"`) != len(names) {
			t.Errorf("%s: looks at other releases too: %s", rule.Alert, expression)
		}
		for _, matched := range regexp.MustCompile(`(?:code|outcome)=~?"([a-z|-]+)"`).FindAllStringSubmatch(expression, -1) {
			for code := range strings.SplitSeq(matched[1], "|") {
				if !strings.Contains(codes, "| `"+code+"` |") && !slices.Contains([]string{"failed", "lost"}, code) {
					t.Errorf("%s: there is no code %s", rule.Alert, code)
				}
			}
		}
		for _, name := range []string{"summary", "consequence", "action", "runbook_url"} {
			if strings.TrimSpace(rule.Annotations[name]) == "" {
				t.Errorf("%s has no %s", rule.Alert, name)
			}
		}
		if got, want := rule.Annotations["runbook_url"], "https://runbooks.example.invalid/sfm#"+strings.ToLower(rule.Alert); got != want {
			t.Errorf("%s: runbook_url is %s", rule.Alert, got)
		}
		if !slices.Contains([]string{"warning", "critical"}, rule.Labels["severity"]) || rule.For == nil {
			t.Errorf("%s: severity or time is missing", rule.Alert)
		}
		for _, text := range []string{"## " + rule.Alert + "\n", rule.Annotations["consequence"], rule.Annotations["action"]} {
			if !strings.Contains(page, text) {
				t.Errorf("docs/alerts.md does not say: %s", text)
			}
		}
	}
	for _, name := range mustAlert {
		if known[name] && !used[name] {
			t.Errorf("no alert uses %s", name)
		}
	}
	if got, want := strings.Count(page, "\n## "), len(alerts(t)); got != want {
		t.Errorf("docs/alerts.md has %d sections for %d alerts", got, want)
	}
}

// mustAlert are metrics that somebody must be woken by, once they are there.
var mustAlert = []string{
	"sfm_sidecar_client_key_not_after_seconds", "sfm_sidecar_store_errors_total", "sfm_sidecar_registry_broken",
	"sfm_sidecar_clock_skew_seconds", "sfm_sidecar_token_requests_total",
}

// TestMismatchPages: the first token of somebody else is one too many. A counter that
// begins at one has not increased, so increase() alone would miss it.
func TestMismatchPages(t *testing.T) {
	for _, rule := range alerts(t) {
		if rule.Alert != "SfmSidecarTokenMismatch" {
			continue
		}
		if rule.Labels["severity"] != "critical" || string(*rule.For) != "0m" || !strings.Contains(rule.Expr.String(), " unless ") {
			t.Errorf("does not page at once: %+v", rule)
		}
		return
	}
	t.Error("there is no such alert")
}

// node is as much of a JSON schema as the charts' use.
type node struct {
	Type        any             `json:"type"`
	Description string          `json:"description"`
	Properties  map[string]node `json:"properties"`
	Additional  any             `json:"additionalProperties"`
}

func schema(t *testing.T, chart string) node {
	t.Helper()
	var n node
	if err := json.Unmarshal([]byte(read(t, "helm", chart, "values.schema.json")), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// each visits every value of a schema but "global", which is Helm's, and the variables
// of env, which docs/configuration.md describes.
func (n node) each(path string, visit func(path string, n node)) {
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		if at == "global" {
			continue
		}
		visit(at, n.Properties[name])
		if at != "env" {
			n.Properties[name].each(at, visit)
		}
	}
}

// TestSchemas sees that every default has a schema, every schema a default, and that no
// object takes members it does not know.
func TestSchemas(t *testing.T) {
	for _, chart := range []string{"sfm-sidecar", "demo"} {
		defaults := values(t, chart)
		if schema(t, chart).Additional != false {
			t.Errorf("%s: takes any value", chart)
		}
		schema(t, chart).each("", func(path string, n node) {
			library := chart == "demo" && strings.HasPrefix(path, "sfm-sidecar")
			if n.Description == "" {
				t.Errorf("%s: %s is not described", chart, path)
			}
			if n.Type == "object" && (n.Additional == nil || n.Additional == true) && !library {
				t.Errorf("%s: %s takes any member", chart, path)
			}
			if _, ok := lookup(defaults, path); !ok && !strings.HasPrefix(path, "resources.") {
				t.Errorf("%s: %s has no default in values.yaml", chart, path)
			}
		})
	}
}

// TestTableOfValues holds the table in the README to the schema and the defaults.
func TestTableOfValues(t *testing.T) {
	const begin, end = "<!-- values -->\n", "<!-- /values -->"
	defaults := values(t, "sfm-sidecar")
	var table strings.Builder
	table.WriteString("\n| value | default | meaning |\n| --- | --- | --- |\n")
	schema(t, "sfm-sidecar").each("", func(path string, n node) {
		if len(n.Properties) > 0 && path != "env" {
			return
		}
		shown := ""
		if v, ok := lookup(defaults, path); ok && v != "" {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			shown = "`" + strings.Trim(string(text), `"`) + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", path, shown, n.Description)
	})
	table.WriteString("\n")
	text := read(t, "helm", "README.md")
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("helm/README.md has no place for the table")
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(filepath.Join(root, "helm", "README.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Error("the table in helm/README.md is not of this schema (go test ./chart -update writes it anew)")
	}
}

// TestVersions holds the image's default tag to the chart's version of the sidecar: in
// a library, .Chart is the chart that uses it.
func TestVersions(t *testing.T) {
	chart := read(t, "helm", "sfm-sidecar", "Chart.yaml")
	version := regexp.MustCompile(`(?m)^appVersion: (.+)$`).FindStringSubmatch(chart)[1]
	if !strings.Contains(render(t, "native"), `image: "sfm-sidecar:`+version+`"`) {
		t.Errorf("the default tag is not %s", version)
	}
	if tag, _ := lookup(values(t, "demo"), "simulator.image.tag"); tag != version {
		t.Errorf("the demo's stand-ins are of %v", tag)
	}
}

// TestTemplatesInReadme sees that the README names only templates that there are.
func TestTemplatesInReadme(t *testing.T) {
	var library strings.Builder
	for _, name := range []string{"names", "container", "env", "volumes", "objects", "alerts"} {
		library.WriteString(read(t, "helm", "sfm-sidecar", "templates", "_"+name+".tpl"))
	}
	for _, name := range regexp.MustCompile("[`\"](sfm-sidecar\\.[a-zA-Z]+)[`\"]").FindAllStringSubmatch(read(t, "helm", "README.md"), -1) {
		if !strings.Contains(library.String(), `{{- define "`+name[1]+`" -}}`) {
			t.Errorf("helm/README.md names %s, which is no template", name[1])
		}
	}
}

// TestExpressions reads every alert as Prometheus does.
func TestExpressions(t *testing.T) {
	reader := parser.NewParser(parser.Options{})
	for _, rule := range alerts(t) {
		if _, err := reader.ParseExpr(rule.Expr.String()); err != nil {
			t.Errorf("%s: %v", rule.Alert, err)
		}
	}
}
