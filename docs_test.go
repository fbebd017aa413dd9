package sidecar_test

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The documents are held to the code: what they link to, quote and name must exist.
// Names are looked up in what the code itself says: pages that are made from it, and
// its sources.

//go:generate go test -run ^TestExcerpts$ -update .

var update = flag.Bool("update", false, "write the excerpts of the examples into the documents anew")

// documents returns every Markdown file of the repository by its name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	walk(t, func(name string, content []byte) {
		if strings.HasSuffix(name, ".md") {
			all[name] = string(content)
		}
	})
	if len(all) < 10 {
		t.Fatalf("found only %d documents", len(all))
	}
	return all
}

var (
	fenced  = regexp.MustCompile("(?ms)^[ ]*```.*?^[ ]*```[ ]*$")
	inCode  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

// TestLinks follows every relative link and every anchor of the documents.
func TestLinks(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		prose := inCode.ReplaceAllString(fenced.ReplaceAllString(text, ""), "``")
		for _, match := range link.FindAllStringSubmatch(prose, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue // to somewhere else
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.FromSlash(file)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, match[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", name, match[1], file)
			}
		}
	}
}

// anchors are the headings of a document as a link names them.
func anchors(text string) []string {
	var all []string
	seen := make(map[string]int)
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		slug := slugOf(match[1])
		if n := seen[slug]; n > 0 {
			all = append(all, fmt.Sprintf("%s-%d", slug, n))
		} else {
			all = append(all, slug)
		}
		seen[slug]++
	}
	return all
}

func slugOf(heading string) string {
	heading = link.ReplaceAllString(heading, "]")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// quoted is a block that is cut out of a file: the comment names file and part.
var quoted = regexp.MustCompile("(?s)<!-- ([^ ]+) ([a-z]+) -->\n```([a-z]+)\n(.*?)```")

// TestExcerpts compares the blocks that documents quote with the files they are from.
func TestExcerpts(t *testing.T) {
	found := 0
	for name, text := range documents(t) {
		want := quoted.ReplaceAllStringFunc(text, func(block string) string {
			found++
			m := quoted.FindStringSubmatch(block)
			return fmt.Sprintf("<!-- %s %s -->\n```%s\n%s```", m[1], m[2], m[3], excerpt(t, m[1], m[2]))
		})
		if want == text {
			continue
		}
		if !*update {
			t.Errorf("%s quotes other lines than the files have; write it anew with make docs", name)
			continue
		}
		if err := os.WriteFile(filepath.FromSlash(name), []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := 4 * 6; found != want { // languages, parts
		t.Errorf("the documents quote %d excerpts, want %d", found, want)
	}
}

// excerpt returns the lines between "begin: part" and "end: part", as far to the left
// as they go.
func excerpt(t *testing.T, file, part string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	marks := regexp.MustCompile(`(?s)\n([ \t]*)(?://|#) begin: ` + part + `\n(.*?)\n[ \t]*(?://|#) end: ` + part + `\n`)
	m := marks.FindSubmatch(content)
	if m == nil {
		t.Fatalf("%s has no part %s", file, part)
	}
	lines := strings.Split(string(m[2]), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], string(m[1]))
	}
	return strings.Join(lines, "\n") + "\n"
}
