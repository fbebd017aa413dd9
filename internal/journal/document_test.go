package journal

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the rules in docs/tenants.md anew")

const (
	documentFile = "../../docs/tenants.md"
	// The rules stand between these lines of the page, which belongs to people otherwise.
	documentBegin = "<!-- Made from internal/journal by \"make docs\", down to the end of this page; edit there. -->\n"
	documentTable = `
An *error* would fail or send wrongly, a *warning* is risky; what is *permitted* looks wrong and is right, and nothing is said of
it. A rule may find less than its own severity: a check digit that does not fit is a warning of O1.

| rule | severity | what must hold | where it comes from | what enforces it | its test |
| --- | --- | --- | --- | --- | --- |
`
)

// TestDocument keeps the end of docs/tenants.md the same as the table; with -update it writes it.
func TestDocument(t *testing.T) {
	var page strings.Builder
	page.WriteString(documentTable)
	for _, r := range Rules() {
		fmt.Fprintf(&page, "| %s | %s | %s | %s | %s | %s |\n", r.ID, r.Severity, sentences(r), r.Source, enforced(r), test(r))
	}
	page.WriteString("\n### What enforces\n\n")
	for _, word := range slices.Sorted(maps.Keys(Enforcers())) {
		fmt.Fprintf(&page, "- *%s*: %s.\n", word, Enforcers()[word])
	}
	page.WriteString("\n### Sources\n\n")
	for _, name := range slices.Sorted(maps.Keys(Sources())) {
		fmt.Fprintf(&page, "- **%s**: %s.\n", name, Sources()[name])
	}
	content, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	above, got, ok := strings.Cut(string(content), documentBegin)
	if !ok {
		t.Fatal("docs/tenants.md has no place for the rules")
	}
	if *update {
		if err := os.WriteFile(documentFile, []byte(above+documentBegin+page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		got = page.String()
	}
	if diff := gocmp.Diff(page.String(), got); diff != "" {
		t.Errorf("the rules in docs/tenants.md are not what the code says; write them anew with make docs (-want +got):\n%s", diff)
	}
}

func sentences(r Rule) string {
	text := strings.ToUpper(r.Title[:1]) + r.Title[1:] + "."
	if r.Note != "" {
		text += " *" + r.Note + "*"
	}
	return text
}

func enforced(r Rule) string {
	if len(r.Enforced) == 0 {
		if r.Severity == Permitted {
			return "nothing to enforce"
		}
		return "nobody can"
	}
	return strings.Join(r.Enforced, ", ")
}

func test(r Rule) string {
	if r.Test == "" {
		return "–"
	}
	return "`" + r.Test + "`"
}

// TestRulesTable holds the table to what it refers to: sources, enforcers and tests that exist, and every rule of the kinds.
func TestRulesTable(t *testing.T) {
	tests := testFunctions(t)
	var ids []string
	for _, r := range Rules() {
		ids = append(ids, r.ID)
		for name := range strings.SplitSeq(r.Source, ", ") {
			if Sources()[name] == "" {
				t.Errorf("rule %s has the unknown source %q", r.ID, name)
			}
		}
		for _, by := range r.Enforced {
			if Enforcers()[by] == "" {
				t.Errorf("rule %s has the unknown enforcer %q", r.ID, by)
			}
		}
		if r.Test != "" && !tests[r.Test] {
			t.Errorf("rule %s names the test %s, which is not in the repository", r.ID, r.Test)
		}
		if r.Offline() != slices.Contains(r.Enforced, "lint") {
			t.Errorf("rule %s: judged offline %t, enforced by %v", r.ID, r.Offline(), r.Enforced)
		}
		if r.Severity == Permitted != (r.Test == "TestPermitted") || r.Test == "" && r.Offline() {
			t.Errorf("rule %s (%s) is shown by the test %q", r.ID, r.Severity, r.Test)
		}
	}
	want := strings.Fields("J1 J2 J3 J4 J5 J6 J7 J8 J9 J10 O1 O2 O3 O4 O5 O6 O7 O8 H1 H2 H3 H4 S1 S2 C1 C2 C3 C4 C5 C6 C7 T1 T2 T3")
	if diff := gocmp.Diff(want, ids); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRulesCopy lets a caller change what it got.
func TestRulesCopy(t *testing.T) {
	first := Rules()
	first[0].ID, first[0].Enforced[0] = "X", "nobody"
	if again := Rules()[0]; again.ID != "J1" || again.Enforced[0] != "lint" {
		t.Errorf("%+v", again)
	}
}

// TestPlaces orders places as a file shows them.
func TestPlaces(t *testing.T) {
	inOrder := []Place{nowhereAt("x"), {0, none, none, "id", 0}, {0, 0, none, "", 0}, {0, 1, none, "", 0}, {1, none, none, "", 0}, atTenant(0, ""), atTenant(1, "")}
	for i := range inOrder {
		for j := range inOrder {
			if got := inOrder[i].compare(inOrder[j]); got != cmp.Compare(i, j) {
				t.Errorf("%+v and %+v: %d", inOrder[i], inOrder[j], got)
			}
		}
	}
}

// testFunctions returns the names of all tests of the repository.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	names, declared := make(map[string]bool), regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		content, err := os.ReadFile(filepath.Join("../..", name))
		for _, match := range declared.FindAllSubmatch(content, -1) {
			names[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
