package desk

import (
	"bytes"
	"context"
	"flag"
	"strings"
	"testing"
)

// Each command's help names every flag that the command reads.
func TestHelp(t *testing.T) {
	for name, run := range commands {
		var out, faults bytes.Buffer
		d := newDesk(Options{Args: []string{name, "-h"}, Stdout: &out, Stderr: &faults})
		if code := d.end(run(d, context.Background(), []string{"-h"})); code != exitDone || faults.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", name, code, &faults)
		}
		if !strings.HasPrefix(out.String(), "usage: sidecar tenants "+name+" ") {
			t.Errorf("%s prints\n%s", name, &out)
		}
		d.flags.VisitAll(func(f *flag.Flag) {
			dashes := "--"
			if len(f.Name) == 1 {
				dashes = "-"
			}
			if !strings.Contains(out.String(), " "+dashes+f.Name+" ") && !strings.Contains(out.String(), " "+dashes+f.Name+"\n") {
				t.Errorf("%s does not tell of %s%s:\n%s", name, dashes, f.Name, &out)
			}
		})
	}
}
