package app_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dashboard is what is looked at of Grafana's form.
type dashboard struct {
	UID    string `json:"uid"`
	Panels []struct {
		ID      int    `json:"id"`
		Type    string `json:"type"`
		Title   string `json:"title"`
		Targets []struct {
			Expr   string `json:"expr"`
			Legend string `json:"legendFormat"`
		} `json:"targets"`
	} `json:"panels"`
}

var (
	ourNames  = regexp.MustCompile(`\b` + prefix + `[a-z_]+`)
	groupedBy = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
	selected  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	shownBy   = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

// metricOf is the metric of a series' name, which a histogram has three of.
func metricOf(known map[string]described, series string) string {
	name := strings.TrimPrefix(series, prefix)
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && known[base].kind == "histogram" {
			return base
		}
	}
	return name
}

// TestDashboard holds the dashboard to metrics and labels that exist, and to showing all
// of them.
func TestDashboard(t *testing.T) {
	t.Parallel()
	known := maps.Clone(ofContract)
	maps.Copy(known, beyond)
	text, err := os.ReadFile("../../docs/grafana/sfm-sidecar.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil || d.UID == "" {
		t.Fatalf("no dashboard: %v", err)
	}
	var rows []string
	used, ids := make(map[string]bool), make(map[int]bool)
	for _, panel := range d.Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type == "row" {
			rows = append(rows, panel.Title)
		} else if len(panel.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			for _, name := range checkExpression(t, known, target.Expr, target.Legend) {
				used[name] = true
			}
		}
	}
	for name := range known {
		if !used[name] {
			t.Errorf("%s%s is not shown", prefix, name)
		}
	}
	want := []string{
		"Calls and refusals", "Added time", "Tokens", "HelseID's health", "Nonce challenges and the clock", "Sessions",
		"Client key, registry, version",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("the rows (-want +got):\n%s", diff)
	}
}

// checkExpression gives the metrics of an expression, all of which must have the labels
// that it speaks of.
func checkExpression(t *testing.T, known map[string]described, expr, legend string) (names []string) {
	t.Helper()
	labels := []string{"le", "job", "instance"} // the first of histograms, the others of Prometheus
	for _, series := range ourNames.FindAllString(expr, -1) {
		name := metricOf(known, series)
		if _, ok := known[name]; !ok {
			t.Errorf("there is no %s: %s", series, expr)
		}
		names = append(names, name)
		labels = append(labels, strings.Fields(known[name].labels)...)
	}
	var spoken []string
	for _, m := range groupedBy.FindAllStringSubmatch(expr, -1) {
		spoken = append(spoken, strings.Split(m[1], ", ")...)
	}
	for _, m := range slices.Concat(selected.FindAllStringSubmatch(expr, -1), shownBy.FindAllStringSubmatch(legend, -1)) {
		spoken = append(spoken, m[1])
	}
	for _, label := range spoken {
		if !slices.Contains(labels, label) {
			t.Errorf("there is no label %s in: %s", label, expr)
		}
	}
	return names
}

// TestDocumentedMetricsExist holds docs/observability.md's other words to the code: its
// table is compared in TestEveryMetricMoves.
func TestDocumentedMetricsExist(t *testing.T) {
	t.Parallel()
	known := maps.Clone(ofContract)
	maps.Copy(known, beyond)
	page := filepath.Join("..", "..", "docs", "observability.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range ourNames.FindAllString(string(text), -1) {
		if _, ok := known[metricOf(known, series)]; !ok {
			t.Errorf("%s names %s, which there is not", page, series)
		}
	}
}
