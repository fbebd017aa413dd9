package proxy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/refusals.md anew")

const documentFile = "../../docs/refusals.md"

const documentPreface = `# Refusals

What the sidecar answers when it does not forward a call, or can't: a problem document (RFC 9457) whose ` + "`type`" + ` is
` + "`urn:sfm-sidecar:problem:<code>`" + `, with the code in ` + "`Sidecar-Error`" + ` and ` + "`Sidecar-Retryable: true|false`" + `. An answer without
` + "`Sidecar-Error`" + ` is SFM's own, whatever its status. Retry only where ` + "`Sidecar-Retryable`" + ` is true: then no work can have been done.
The ` + "`request_id`" + ` is in the sidecar's log, with the cause.

| code | status | retry | from | means | what to do |
| --- | --- | --- | --- | --- | --- |
`

// The page of refusals is the table of refusals.
func TestDocument(t *testing.T) {
	var page strings.Builder
	page.WriteString(documentPreface)
	for _, code := range slices.Sorted(maps.Keys(rows)) {
		r, status, retry := rows[code], fmt.Sprint(rows[code].status), "no"
		switch code {
		case "login-failed":
			status = "400, on a call to SFM 401"
		case "control-unknown":
			status = "404, for a wrong method 405"
		}
		if r.retryable {
			retry = "yes"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s | %s |\n", code, status, retry, r.origin, r.title, r.hint)
	}
	if *update {
		if err := os.WriteFile(documentFile, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("docs/refusals.md is not what the code says; write it anew with make docs (-want +got):\n%s", diff)
	}
}
