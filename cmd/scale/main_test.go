package main

import (
	"io"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(strings.Fields("-pods 5 -pairs 50 -play 10m"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"planned, in a second:", "played, in a second:", "token requests", "connections             10 to 105"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-pods 0", "-alone", "-pods many", "-pods 10000 -pairs 1000000 -play 10h"} {
		if err := run(strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
}
