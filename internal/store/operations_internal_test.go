package store

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var operationRow = regexp.MustCompile("(?m)^\\| (`[a-z-]+`(?:, `[a-z-]+`)*) \\|")

// Operators find each operation that may fail in docs/observability.md, and no other.
func TestOperationsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/observability.md")
	must(t, err)
	_, section, _ := strings.Cut(string(text), "\n### The store\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for _, row := range operationRow.FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			documented = append(documented, strings.Trim(name, "`"))
		}
	}
	documented = slices.DeleteFunc(documented, func(name string) bool { return name == "operation" })
	slices.Sort(documented)
	if diff := cmp.Diff(operations(t), documented); diff != "" {
		t.Errorf("operations of the code (-) and of docs/observability.md (+):\n%s", diff)
	}
}

// operations are those that are told of when they fail: each is a word where it is
// asked for.
func operations(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("redis*.go")
	must(t, err)
	found := map[string]bool{}
	for _, name := range append(files, "listing.go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"do", "bytes", "put", "Observe"}, method.Sel.Name) {
				return true
			}
			for _, arg := range call.Args {
				if word, ok := arg.(*ast.BasicLit); ok && word.Kind == gotoken.STRING && word.Value != `""` {
					operation, err := strconv.Unquote(word.Value)
					must(t, err)
					found[operation] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}
