package app

import (
	"encoding/json"
	"strings"
	"testing"
)

// What answers at the address may be anything: its names are masked like its texts.
func TestMasked(t *testing.T) {
	const token, pid = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "13827015061"
	told := `{"a":["` + token + `",{"` + pid + `":"x"}],"` + token + `":1795308173,"b":{"c":"/Task?PatientNiN=` + pid + `"}}`
	got, err := masked(json.RawMessage(told))
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(got) || strings.Contains(string(got), "eyJ") || strings.Contains(string(got), pid) || strings.Contains(string(got), "PatientNiN") {
		t.Errorf("masked: %s", got)
	}
	if !strings.Contains(string(got), "1795308173") {
		t.Errorf("a number is another now: %s", got)
	}
	for _, none := range []string{"", "x", "[1]", "null", `{"a":`} {
		if got, err := masked(json.RawMessage(none)); err == nil && string(got) != "{}\n" {
			t.Errorf("%q is taken for a status: %s", none, got)
		}
	}
}
