package scale

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of docs/scale.md anew")

const (
	documentFile = "../../docs/scale.md"
	// The tables stand between this line and the end of the page.
	documentBegin = "<!-- Made from internal/scale by \"make docs\", down to the end of this page; edit there. -->\n"
)

// tables are made once: a part of them is played.
var tables = sync.OnceValue(Tables)

// TestDocument keeps the tables of docs/scale.md the same as the model; with -update it
// writes them.
func TestDocument(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors round otherwise")
	}
	content, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	above, got, ok := strings.Cut(string(content), documentBegin)
	if !ok {
		t.Fatal("docs/scale.md has no place for the tables")
	}
	want := tables()
	if *update {
		if err := os.WriteFile(documentFile, []byte(above+documentBegin+want), 0o600); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the tables in docs/scale.md are not what the code says; write them anew with make docs (-want +got):\n%s", diff)
	}
}
