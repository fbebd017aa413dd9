package sidecar_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// named is what the product is called by from outside, as its code has it.
type named struct {
	sources   string // all Go code without tests, and what it embeds
	variables []string
	commands  []string
	codes     []string
}

var (
	variableRow = regexp.MustCompile("(?m)^\\| `([A-Z_]+)`( \\(`_FILE`\\))? \\|")
	codeRow     = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|")
	commandRow  = regexp.MustCompile(`"([a-z-]+)": `)
)

// names reads them from the pages that are made from the code, and from the code.
func names(t *testing.T) named {
	t.Helper()
	var n named
	var sources strings.Builder
	walk(t, func(name string, content []byte) {
		code := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
		if (strings.HasPrefix(name, "internal/") || strings.HasPrefix(name, "cmd/")) && (code || strings.HasSuffix(name, ".json")) {
			sources.Write(content)
		}
	})
	n.sources = sources.String()
	for _, m := range variableRow.FindAllStringSubmatch(read(t, "docs/configuration.md"), -1) {
		n.variables = append(n.variables, m[1])
		if m[2] != "" {
			n.variables = append(n.variables, m[1]+"_FILE")
		}
	}
	n.codes = refusalCodes(t)
	table := read(t, "internal/app/commands.go")
	_, table, _ = strings.Cut(table, "func commands()")
	table, _, _ = strings.Cut(table, "\n}\n")
	for _, m := range commandRow.FindAllStringSubmatch(table, -1) {
		n.commands = append(n.commands, m[1])
	}
	if len(n.variables) < 40 || len(n.codes) < 30 || len(n.commands) < 8 {
		t.Fatalf("read %d variables, %d codes and %d commands", len(n.variables), len(n.codes), len(n.commands))
	}
	return n
}

func refusalCodes(t *testing.T) []string {
	t.Helper()
	var codes []string
	for _, m := range codeRow.FindAllStringSubmatch(read(t, "docs/refusals.md"), -1) {
		codes = append(codes, m[1])
	}
	return codes
}

// literal reports whether the code has a word in quotes, alone or behind an
// underscore (the end of a metric's name), or as the name of a JSON member.
func (n named) literal(word string) bool {
	return strings.Contains(n.sources, `"`+word+`"`) || strings.Contains(n.sources, `"_`+word+`"`) ||
		strings.Contains(n.sources, `"`+word+`,omit`)
}

var (
	variable  = regexp.MustCompile(`\b(?:HELSEID|SFM|SIDECAR|TENANTS|BRREG|ADRESSEREGISTERET|SELVBETJENING|LOG)_[A-Z_]*[A-Z]\b`)
	ourHeader = regexp.MustCompile(`\b(?:Sfm|Sidecar)-[A-Z][A-Za-z-]*[a-z]\b`)
	metric    = regexp.MustCompile(`\bsfm_sidecar_([a-z_]*[a-z])\b`)
	histogram = regexp.MustCompile(`_(bucket|sum|count)$`)
	command   = regexp.MustCompile("(?m)(?:`|^\\$ |^|/)sidecar ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
	codeSpan  = regexp.MustCompile("`([a-z]+(?:[-_][a-z]+)+)`")
)

// families are commands whose second word is a command too.
var families = []string{"tenants", "keys", "probe", "service", "sessions", "audit"}

// readers are the pages whose every word of the form a-b or a_b, alone between
// backticks, must be a code, reason, member or attribute of ours.
var readers = []string{
	"README.md", "docs/data-protection.md", "docs/examples.md", "docs/from-helseid-library.md", "docs/integrate.md",
	"docs/kubernetes.md", "docs/operating.md", "docs/refusals.md", "docs/running.md",
}

// TestNames looks up every variable, header, metric, command, code and member that a
// document names.
func TestNames(t *testing.T) {
	n := names(t)
	for name, text := range documents(t) {
		for _, v := range variable.FindAllString(text, -1) {
			if !slices.Contains(n.variables, v) {
				t.Errorf("%s names the variable %s, which is not known", name, v)
			}
		}
		for _, h := range ourHeader.FindAllString(text, -1) {
			if !n.literal(h) {
				t.Errorf("%s names the header %s, which is not known", name, h)
			}
		}
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			if !n.literal(m[1]) && !n.literal(histogram.ReplaceAllString(m[1], "")) {
				t.Errorf("%s names the metric %s, which is not known", name, m[0])
			}
		}
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(n.commands, m[1]) || m[2] != "" && slices.Contains(families, m[1]) && !n.literal(m[2]) {
				t.Errorf("%s names the command %q, which is not known", name, strings.Trim(m[0], "`$ \n"))
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(readers, name) || strings.HasPrefix(m[1], "sfm_sidecar_") {
				continue
			}
			if !n.literal(m[1]) && !slices.Contains(n.commands, m[1]) {
				t.Errorf("%s names %s, which is nowhere in the code", name, m[1])
			}
		}
	}
}

var (
	section = regexp.MustCompile("(?ms)^#### `([a-z-]+)`\n\n(.*?)(?:^#|\\z)")
	calls   = regexp.MustCompile(`(?m)^\*\*Call:\*\* .`)
	alert   = regexp.MustCompile(`(?m)^## (SfmSidecar\w+)$`)
	alerts  = regexp.MustCompile(`(?m)^\| \[(SfmSidecar\w+)\]\(alerts\.md#(\w+)\) \|`)
)

// TestOperating wants a section for every refusal and a row for every alert, with whom
// to call, and nothing for what there is not.
func TestOperating(t *testing.T) {
	page := read(t, "docs/operating.md")
	codes := refusalCodes(t)
	described := make(map[string]bool)
	for rest := page; ; {
		at := section.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		code, text := rest[at[2]:at[3]], rest[at[4]:at[5]]
		described[code] = true
		if !slices.Contains(codes, code) {
			t.Errorf("docs/operating.md describes %s, which no call is refused with", code)
		}
		if !calls.MatchString(text) || len(text) < 60 {
			t.Errorf("docs/operating.md does not say of %s what it means and whom to call", code)
		}
		rest = rest[at[5]:]
	}
	for _, code := range codes {
		if !described[code] {
			t.Errorf("docs/operating.md has no section on %s", code)
		}
	}
	rows := make(map[string]bool)
	for _, m := range alerts.FindAllStringSubmatch(page, -1) {
		rows[m[1]] = true
		if m[2] != strings.ToLower(m[1]) {
			t.Errorf("the row of %s leads to %s", m[1], m[2])
		}
	}
	if _, err := os.Stat("docs/alerts.md"); err != nil {
		return // awaited
	}
	for _, m := range alert.FindAllStringSubmatch(read(t, "docs/alerts.md"), -1) {
		if !rows[m[1]] {
			t.Errorf("docs/operating.md has no row for the alert %s", m[1])
		}
		delete(rows, m[1])
	}
	for name := range rows {
		t.Errorf("docs/operating.md has a row for %s, which is no alert", name)
	}
}

var (
	notYetRow  = regexp.MustCompile(`Not yet supported by this version: ([^*]+)\*\*`)
	notYetLine = regexp.MustCompile(`(?m)^What this version does not do yet, and refuses when it is configured: (.+)\.$`)
)

// TestNotYet compares what the README says is missing with what the configuration
// refuses.
func TestNotYet(t *testing.T) {
	want := make(map[string]bool)
	for _, m := range notYetRow.FindAllStringSubmatch(read(t, "docs/configuration.md"), -1) {
		want[m[1]] = true
	}
	line := notYetLine.FindStringSubmatch(read(t, "README.md"))
	if line == nil {
		line = []string{"", ""}
	}
	for _, thing := range strings.Split(line[1], ", ") {
		if thing != "" && !want[thing] {
			t.Errorf("README.md says that %q is missing, and the configuration does not", thing)
		}
		delete(want, thing)
	}
	for thing := range want {
		t.Errorf("README.md does not say that %q is missing", thing)
	}
}

// TestReaders wants every page to be reachable from the README.
func TestReaders(t *testing.T) {
	all := documents(t)
	reached := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		for _, m := range link.FindAllStringSubmatch(all[name], -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if !strings.Contains(target, ":") && target != "" {
				follow(path.Join(path.Dir(name), target))
			}
		}
	}
	follow("README.md")
	for name := range all {
		if !reached[name] && !reached[path.Dir(name)] {
			t.Errorf("no way leads from README.md to %s", name)
		}
	}
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	content, err := fs.ReadFile(os.DirFS("."), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
