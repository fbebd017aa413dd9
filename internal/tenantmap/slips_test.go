package tenantmap

import (
	"bytes"
	"strings"
	"testing"
)

// What people do to YAML is told of at the line where they did it, in words for people.
func TestSlips(t *testing.T) {
	for name, test := range map[string]struct {
		old, slip string
		want      string
	}{
		"tab":                         {"    name:", "\tname:", "4:1 begins with a tab use spaces"},
		"tab behind spaces":           {"    created", "   \tcreated", "5:1 begins with a tab"},
		"colon in a value":            {"name: Eksempel l", "name: Eksempel: l", "4:1 has a colon in a value put the value in quotes: it holds a colon"},
		"no colon":                    {"name: Eksempel l", "name Eksempel l", "4:1 has no colon behind its key"},
		"no colon behind a section":   {"tenants:", "tenants", "9:1 has no colon"},
		"no colon before a mapping":   {"sentrum: {", "sentrum {", "10:1 has no colon"},
		"no space behind the colon":   {"created: true", "created:true", "5:1 has no space behind the colon"},
		"brace":                       {"\"22000000\"}", "\"22000000\"", "7:1 has a bracket that is not closed"},
		"brace at the end":            {"journal: " + journalUUID + "}", "journal: " + journalUUID, "10:1 has a bracket that is not closed"},
		"bracket":                     {aliasID + "]", aliasID, "3:1 has a bracket that is not closed"},
		"quote":                       {"name: Eksempel l", "name: \"Eksempel l", "4:11 has a quote that is not closed"},
		"comma":                       {"Eksempel AS, her_id", "Eksempel AS her_id", "7:1 lacks a comma"},
		"sign":                        {"name: Eksempel l", "name: @Eksempel l", "4:1 has a value that begins with a sign"},
		"too deep":                    {"    created", "      created", "5:1 is indented more than the line above it"},
		"not deep enough":             {"    created", "   created", "5:1 is not indented like what is above it"},
		"typographic quotes":          {`orgnr: "100100126"`, "orgnr: “100100126”", "7:17 orgnr has typographic quotes type plain ones"},
		"typographic quotes of an id": {"- id: " + journalUUID, "- id: “" + journalUUID + "”", "2:9 id has typographic quotes"},
		"typographic, with a colon":   {"name: Eksempel l", "name: «Eksempel: l»", "4:1 has typographic quotes"},
		"Latin-1":                     {"name: Eksempel avd", "name: \xf8Eksempel avd", "8:36 holds a letter that is not written in UTF-8 save the file as UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(sample, test.old) {
				t.Fatal("nothing was changed")
			}
			for _, ending := range []string{"\n", "\r\n"} {
				text := strings.ReplaceAll(with(test.old, test.slip), "\n", ending)
				_, err := Load(writeFile(t, text))
				faults, ok := err.(Faults) //nolint:errorlint // it is what Load returns
				if !ok {
					t.Fatalf("no fault: %v", err)
				}
				f := faults[0]
				got := strings.TrimPrefix(f.Where(), f.File+":") + " " + f.Message + " " + f.Mend
				if !strings.HasPrefix(got, test.want) {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}
		})
	}
}

// Whatever a file holds, the search for a slip ends, and names one of its lines.
func FuzzSlip(f *testing.F) {
	f.Add([]byte(sample), 3, "mapping values are not allowed")
	f.Add([]byte("a\n\n\t{"), 9, "did not find expected ',' or '}'")
	f.Fuzz(func(t *testing.T, text []byte, at int, found string) {
		s, ok := findSlip(text, at, found)
		if ok && (s.line < 1 || s.line > bytes.Count(text, []byte("\n"))+1 || s.column < 0 || s.message == "" || s.mend == "") {
			t.Errorf("%+v", s)
		}
	})
}
