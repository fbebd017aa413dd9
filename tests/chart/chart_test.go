// Package chart_test tests the Helm charts: what they render, what they refuse, and
// that every name in them exists in the product.
package chart_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files and the table of values anew")

const root = "../.."

// sets are the value sets, and the chart that each is for.
var sets = map[string]string{
	"native": "epj", "ordinary": "epj", "everything": "epj", "job": "epj", "demo": "demo",
}

// helm runs helm and returns what it says.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(root, ".bin", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("there is no .bin/helm: run \"make around\", which builds it first")
	}
	var out, complaint bytes.Buffer
	run := exec.CommandContext(t.Context(), program, args...)
	run.Stdout, run.Stderr = &out, &complaint
	run.Env = append(os.Environ(), "HOME="+t.TempDir())
	err = run.Run()
	return out.String(), complaint.String(), err
}

var once struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if once.dir != "" {
		_ = os.RemoveAll(once.dir)
	}
	os.Exit(code)
}

// charts returns a folder with copies of the charts, side by side, each with the
// library in it.
func charts(t *testing.T) string {
	t.Helper()
	once.Do(func() { once.dir, once.err = assemble(t) })
	if once.err != nil {
		t.Fatal(once.err)
	}
	return once.dir
}

func assemble(t *testing.T) (string, error) {
	dir, err := os.MkdirTemp("", "charts")
	if err != nil {
		return "", err
	}
	for name, from := range map[string]string{
		"sfm-sidecar": filepath.Join(root, "helm", "sfm-sidecar"), "demo": filepath.Join(root, "helm", "demo"), "epj": filepath.Join("testdata", "epj"),
	} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(from)); err != nil {
			return dir, err
		}
	}
	for _, name := range []string{"demo", "epj"} {
		if err := os.RemoveAll(filepath.Join(dir, name, "charts")); err != nil {
			return dir, err
		}
		// "build" takes what Chart.lock says, and fails where that is out of date.
		if _, stderr, err := helm(t, "dependency", "build", filepath.Join(dir, name)); err != nil {
			return dir, fmt.Errorf("%w: %s", err, stderr)
		}
	}
	return dir, nil
}

func render(t *testing.T, set string) string {
	t.Helper()
	out, stderr, err := helm(t, "template", "release", filepath.Join(charts(t), sets[set]), "--namespace", "clinic",
		"--values", filepath.Join("testdata", "values", set+".yaml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	return out
}

func TestLint(t *testing.T) {
	for _, args := range [][]string{
		{"sfm-sidecar"},
		{"demo"},
		{"epj", "--values", filepath.Join("testdata", "values", "native.yaml")},
		{"epj", "--values", filepath.Join("testdata", "values", "everything.yaml")},
	} {
		args[0] = filepath.Join(charts(t), args[0])
		if out, stderr, err := helm(t, append([]string{"lint", "--strict"}, args...)...); err != nil {
			t.Errorf("%v: %v\n%s%s", args, err, out, stderr)
		}
	}
}

func TestGolden(t *testing.T) {
	for set := range sets {
		t.Run(set, func(t *testing.T) {
			file := filepath.Join("testdata", "golden", set+".yaml")
			got := render(t, set)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("other than the golden file (go test ./chart -update writes it anew):\n%s", diff)
			}
		})
	}
}

// kinds are the types that rendered objects are decoded into. Another kind fails.
var kinds = map[string]func() any{
	"apps/v1 Deployment":                      func() any { return &apps.Deployment{} },
	"batch/v1 Job":                            func() any { return &batch.Job{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return &networking.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":           func() any { return &policy.PodDisruptionBudget{} },
	"monitoring.coreos.com/v1 PodMonitor":     func() any { return &monitoring.PodMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return &monitoring.PrometheusRule{} },
}

// decode reads every object of a manifest into its Go type. Fields that the type does
// not know, and members that are there twice, fail.
func decode(manifest string) ([]any, error) {
	var all []any
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var kind meta.TypeMeta
		if err := strict.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		if kind.Kind == "" {
			continue // nothing but comments
		}
		create := kinds[kind.APIVersion+" "+kind.Kind]
		if create == nil {
			return nil, fmt.Errorf("an object of %s %s is not expected", kind.APIVersion, kind.Kind)
		}
		object := create()
		if err := strict.UnmarshalStrict(document, object); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		all = append(all, object)
	}
}

func TestStrictlyDecoded(t *testing.T) {
	found := map[string]bool{}
	for set := range sets {
		objects, err := decode(render(t, set))
		if err != nil {
			t.Errorf("%s: %v", set, err)
		}
		for _, object := range objects {
			found[fmt.Sprintf("%T", object)] = true
		}
	}
	if len(found) != len(kinds) {
		t.Errorf("of %d kinds only %v were rendered", len(kinds), found)
	}
	for _, broken := range []string{
		"apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {restartPolicies: Never}}}",
		"apiVersion: batch/v1\nkind: Job\nkind: Job",
		"apiVersion: v1\nkind: Secret",
	} {
		if _, err := decode(broken); err == nil {
			t.Errorf("decoded: %s", broken)
		}
	}
}

// pods returns the pods of all workloads of a set, by the workload's kind.
func pods(t *testing.T, set string) map[string]core.PodTemplateSpec {
	t.Helper()
	all := map[string]core.PodTemplateSpec{}
	for _, object := range objectsOf(t, set) {
		switch o := object.(type) {
		case *apps.Deployment:
			all["Deployment"] = o.Spec.Template
		case *batch.Job:
			all["Job"] = o.Spec.Template
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no pods", set)
	}
	return all
}

func objectsOf(t *testing.T, set string) []any {
	t.Helper()
	objects, err := decode(render(t, set))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, elements...)...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
