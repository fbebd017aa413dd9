package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"sfm-sidecar/internal/app"
)

var update = flag.Bool("update", false, "write what the commands print into docs/tenants.md")

// console is a block of the docs with one command and what it prints.
var console = regexp.MustCompile("(?s)```console\n\\$ sidecar ([^\n]*)\n(.*?)```\n")

// TestTenantDocs runs each command that docs/tenants.md shows, and compares what it prints with what stands there.
func TestTenantDocs(t *testing.T) {
	t.Chdir("../..")
	const name = "docs/tenants.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	want := console.ReplaceAllStringFunc(string(text), func(block string) string {
		commands++
		words := console.FindStringSubmatch(block)[1]
		var out, complaints bytes.Buffer
		app.Run(t.Context(), app.Options{Args: strings.Fields(words), Stdout: &out, Stderr: &complaints})
		if complaints.Len() > 0 {
			t.Errorf("sidecar %s complains: %s", words, &complaints)
		}
		return "```console\n$ sidecar " + words + "\n" + out.String() + "```\n"
	})
	if commands < 5 {
		t.Errorf("found %d commands in %s, want those of both set-ups and of what is wrong", commands, name)
	}
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s shows other output than the commands print; write it anew with: go test ./cmd/sidecar -run TestTenantDocs -update", name)
	}
}
