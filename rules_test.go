package sidecar_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sfm-sidecar/"

// mayImport is the table of docs/architecture.md: which of our packages each may
// import. One that is not here fails, so that a new room gets a line, and a reason.
var mayImport = map[string][]string{
	".":                      {},
	"internal/config":        {},
	"internal/dpop":          {},
	"internal/register":      {},
	"internal/selvbetjening": {},
	"internal/doctor":        {"internal/helseid", "internal/selvbetjening"},
	"internal/desk":          {"internal/journal", "internal/tenantmap", "internal/register"},
	"internal/journal":       {},
	"internal/keepalive":     {},
	"internal/keyfile":       {},
	"internal/service":       {},
	"internal/simulator":     {},
	"internal/scale":         {},
	"internal/store":         {},
	"internal/telemetry":     {},
	"internal/tenantmap":     {"internal/journal"},
	"internal/helseid":       {"internal/dpop"},
	"internal/tokencache":    {"internal/store"},
	"internal/session":       {"internal/helseid", "internal/store"},
	"internal/proxy":         {"internal/tenantmap", "internal/session", "internal/tokencache", "internal/dpop"},
	"internal/control":       {"internal/session", "internal/tenantmap"},
	"internal/app": {
		"internal/config", "internal/control", "internal/desk", "internal/doctor", "internal/dpop", "internal/helseid",
		"internal/journal", "internal/keepalive", "internal/keyfile", "internal/proxy", "internal/register", "internal/selvbetjening",
		"internal/service", "internal/session", "internal/store", "internal/telemetry", "internal/tenantmap", "internal/tokencache",
	},
	"cmd/sidecar":   {"internal/app"},
	"cmd/demo":      {"internal/app", "internal/simulator"},
	"cmd/scale":     {"internal/scale"},
	"cmd/simulator": {"internal/simulator"},
}

// Why a rule is there, for whoever breaks it.
const (
	whyTable     = "rooms know only the rooms below them, so that each can be read and tested alone (docs/architecture.md)"
	whyIssuer    = "whoever can make tokens must not be in the production program"
	whyConfig    = "only the wiring sees the configuration; a room that imports it can't be read alone"
	whyJudge     = "a stand-in that shares code with what it judges shares its mistakes"
	whyBlackBox  = "a room's own tests use small fakes; the whole is tested against the simulator in internal/app and cmd"
	whyComment   = "the package comment teaches what the room is for"
	whyName      = "such a package has no subject and gathers everything; name the noun it is about"
	whyFile      = "a file is one concept, read in one sitting"
	whyFunction  = "a function is read on one screen"
	whyExit      = "os.Exit skips every defer; return an error to main, which knows the exit codes"
	whyInit      = "importing a package must do nothing"
	whySleep     = "a sleep in a test waits for luck; use a bubble of testing/synctest, or say in a comment what the sleep stands for"
	whyOwner     = "a note without an owner is never done; write the name in parentheses behind it, or do it now"
	maxFile      = 400
	maxFunction  = 80
	simulatorDir = "internal/simulator"
	scaleDir     = "internal/scale"
)

// source is one Go file of this module.
type source struct {
	path   string // slash separated, from the root
	dir    string // the folder, "." for the root
	test   bool
	lines  int
	syntax *ast.File
}

// imports returns the folders of our own packages that a file imports.
func (s source) imports() []string {
	var own []string
	for _, spec := range s.allImports() {
		if dir, ok := strings.CutPrefix(spec, module); ok {
			own = append(own, dir)
		}
	}
	return own
}

func (s source) allImports() []string {
	var all []string
	for _, spec := range s.syntax.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, name)
		}
	}
	return all
}

// room returns the folder in the table that a folder belongs to: a room may have
// folders inside, which follow its rules.
func room(dir string) string {
	if parts := strings.Split(dir, "/"); len(parts) > 2 {
		return path.Join(parts[:2]...)
	}
	return dir
}

var positions = token.NewFileSet()

// sources parses every Go file of the module, without tools/ and tests/ (modules of
// their own) and testdata.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "tools/") || strings.HasPrefix(name, "tests/") {
			return
		}
		syntax, err := parser.ParseFile(positions, name, content, parser.ParseComments)
		if err != nil {
			t.Fatalf("parsing %s: %v", name, err)
		}
		all = append(all, source{
			path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(content, []byte("\n")), syntax: syntax,
		})
	})
	if len(all) == 0 {
		t.Fatal("found no Go files")
	}
	return all
}

// walk visits every file of the repository but those that are built, or belong to
// version control or a test's data.
func walk(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	skip := []string{".git", ".bin", "bin", "build", "node_modules", "obj", "testdata"}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(skip, entry.Name()):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		visit(name, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	for _, file := range sources(t) {
		allowed, known := mayImport[room(file.dir)]
		if !known {
			t.Errorf("%s: the package is not in the table of imports: %s", file.path, whyTable)
			continue
		}
		for _, imported := range file.imports() {
			if file.test {
				continue // TestTestImports
			}
			if !slices.Contains(allowed, room(imported)) && room(imported) != room(file.dir) {
				t.Errorf("%s imports %s: %s", file.path, imported, reason(imported))
			}
		}
		if file.dir == simulatorDir && !file.test {
			refuseLibraries(t, file)
		}
	}
}

// reason says why an import that is not in the table is forbidden.
func reason(imported string) string {
	switch room(imported) {
	case simulatorDir:
		return whyIssuer
	case "internal/config":
		return whyConfig
	}
	return whyTable
}

// refuseLibraries keeps the simulator to the standard library, whose import paths
// have no dot in their first element.
func refuseLibraries(t *testing.T, file source) {
	t.Helper()
	for _, imported := range file.allImports() {
		first, _, _ := strings.Cut(imported, "/")
		if strings.Contains(first, ".") || strings.HasPrefix(imported, module) {
			t.Errorf("%s imports %s: %s", file.path, imported, whyJudge)
		}
	}
}

// TestTestImports holds the tests to the same table, with two differences. They
// may also make the values that come up from further below, and those that test
// the whole may use the simulator, and the model of a fleet.
func TestTestImports(t *testing.T) {
	for _, file := range sources(t) {
		if !file.test {
			continue
		}
		whole := file.dir == "internal/app" || strings.HasPrefix(file.dir, "cmd/")
		for _, imported := range file.imports() {
			target := room(imported)
			switch {
			case target == room(file.dir):
			case file.dir == simulatorDir:
				t.Errorf("%s imports %s: %s", file.path, imported, whyJudge)
			case target == simulatorDir && !whole:
				t.Errorf("%s imports %s: %s", file.path, imported, whyBlackBox)
			case target == simulatorDir, target == scaleDir && whole:
			case !below(room(file.dir), target):
				t.Errorf("%s imports %s: %s", file.path, imported, reason(imported))
			}
		}
	}
}

// below reports whether the table lets one room reach another, over any number of
// steps.
func below(from, target string) bool {
	return slices.ContainsFunc(mayImport[from], func(next string) bool { return next == target || below(next, target) })
}

// TestProductionProgram follows the imports of cmd/sidecar to their end.
func TestProductionProgram(t *testing.T) {
	direct, zones := make(map[string][]string), false
	for _, file := range sources(t) {
		if !file.test {
			zones = zones || file.dir == "cmd/sidecar" && slices.Contains(file.allImports(), "time/tzdata")
			direct[file.dir] = append(direct[file.dir], file.imports()...)
		}
	}
	reached := map[string]bool{}
	var follow func(dir string)
	follow = func(dir string) {
		if !reached[dir] {
			reached[dir] = true
			for _, imported := range direct[dir] {
				follow(imported)
			}
		}
	}
	follow("cmd/sidecar")
	if !zones {
		t.Error("cmd/sidecar has no time zone data: its image has none either, and TZ would count for nothing there")
	}
	if reached[simulatorDir] {
		t.Errorf("cmd/sidecar reaches %s: %s", simulatorDir, whyIssuer)
	}
	if reached[scaleDir] {
		t.Errorf("cmd/sidecar reaches %s, which is for planning", scaleDir)
	}
}

func TestPackages(t *testing.T) {
	documented := make(map[string]bool)
	for _, file := range sources(t) {
		if file.test {
			continue
		}
		documented[file.dir] = documented[file.dir] || file.syntax.Doc != nil
		switch name := file.syntax.Name.Name; name {
		case "util", "utils", "common", "helpers", "helper", "types", "models", "misc", "shared":
			t.Errorf("%s: package %s: %s", file.path, name, whyName)
		}
	}
	for dir, has := range documented {
		if !has {
			t.Errorf("%s has no package comment: %s", dir, whyComment)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, file := range sources(t) {
		if file.test {
			continue
		}
		if file.lines > maxFile {
			t.Errorf("%s has %d lines, more than %d: %s", file.path, file.lines, maxFile, whyFile)
		}
		ast.Inspect(file.syntax, func(node ast.Node) bool {
			var body *ast.BlockStmt
			switch f := node.(type) {
			case *ast.FuncDecl:
				body = f.Body
			case *ast.FuncLit:
				body = f.Body
			}
			if body == nil {
				return true
			}
			start, end := positions.Position(body.Lbrace), positions.Position(body.Rbrace)
			if lines := end.Line - start.Line + 1; lines > maxFunction {
				t.Errorf("%s: a function of %d lines, more than %d: %s", start, lines, maxFunction, whyFunction)
			}
			return true
		})
	}
}

func TestFunctions(t *testing.T) {
	isMain := regexp.MustCompile(`^cmd/[^/]+/main\.go$`)
	all := sources(t)
	bubbles := make(map[string]bool) // folders whose tests run in bubbles; a helper of theirs may sleep there
	for _, file := range all {
		bubbles[file.dir] = bubbles[file.dir] || slices.Contains(file.allImports(), "testing/synctest")
	}
	for _, file := range all {
		ast.Inspect(file.syntax, func(node ast.Node) bool {
			if f, ok := node.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init: %s", positions.Position(f.Pos()), whyInit)
			}
			switch called := selector(node); {
			case called == "os.Exit" && !isMain.MatchString(file.path) && !file.test:
				t.Errorf("%s: %s: %s", positions.Position(node.Pos()), called, whyExit)
			case called == "time.Sleep" && file.test && !bubbles[file.dir] && !explained(file, node):
				t.Errorf("%s: %s: %s", positions.Position(node.Pos()), called, whySleep)
			}
			return true
		})
	}
}

// explained reports whether a comment ends on the line of a node or on one of the
// four above it.
func explained(file source, node ast.Node) bool {
	const reach = 4
	at := positions.Position(node.Pos()).Line
	return slices.ContainsFunc(file.syntax.Comments, func(comment *ast.CommentGroup) bool {
		line := positions.Position(comment.End()).Line
		return at-reach <= line && line <= at
	})
}

// selector returns package.Name for such an expression, and "" for any other node.
func selector(node ast.Node) string {
	expression, ok := node.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	owner, ok := expression.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return owner.Name + "." + expression.Sel.Name
}

// TestNotesHaveOwners looks for reminders in every text of the repository.
func TestNotesHaveOwners(t *testing.T) {
	note := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b(\([^)]+\))?`) // in two parts: this file is read too
	walk(t, func(name string, content []byte) {
		if bytes.IndexByte(content, 0) >= 0 {
			return // no text
		}
		for _, match := range note.FindAllSubmatchIndex(content, -1) {
			if match[4] < 0 {
				line := 1 + bytes.Count(content[:match[0]], []byte("\n"))
				t.Errorf("%s:%d: %s: %s", name, line, content[match[2]:match[3]], whyOwner)
			}
		}
	})
}
