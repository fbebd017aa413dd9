package app

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/session"
)

const syntheticPID = "13827015061"

func TestReadSessions(t *testing.T) {
	const id, dashed = "abcdefghijkl", "-bcdefghijkl"
	type choice = session.Choice
	for line, want := range map[string]choice{
		"list":                               {},
		"list --sfm --hpr 1":                 {Person: session.Expect{HPRNumber: "1"}},
		"list --state active,pending --json": {States: []session.State{"active", "pending"}},
		"list --older-than 7d":               {OlderThan: 7 * 24 * time.Hour},
		"list --unused-for 90m " + id:        {UnusedFor: 90 * time.Minute, IDs: []string{id}},
		"list --hpr 1234567":                 {Person: session.Expect{HPRNumber: "1234567"}},
		"end --all --yes":                    {},
		"end --all --dry-run --state active": {States: []session.State{"active"}},
		"end " + id + " --yes abcdef":        {IDs: []string{id, "abcdef"}},
		"end --yes " + dashed:                {IDs: []string{dashed}},
		"end --json " + dashed + " abcdef":   {IDs: []string{dashed, "abcdef"}},
		"end --sub " + dashed:                {Person: session.Expect{Subject: dashed}},
		"end --sub=x --older-than 1h":        {Person: session.Expect{Subject: "x"}, OlderThan: time.Hour},
		"end --orgnr 100100126":              {Organization: "100100126"},
		"end --pid - --dry-run":              {},
		"end --pid-file x":                   {},
	} {
		words := strings.Fields(line)
		ask, err := readSessions(words[0], words[1:])
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if diff := cmp.Diff(want, ask.choice); diff != "" {
			t.Errorf("%s (-want +got)\n%s", line, diff)
		}
	}
	for line, says := range map[string]string{
		"list --pid " + syntheticPID:         "in the list of processes",
		"list --pid=" + syntheticPID:         "in the list of processes",
		"list --pid 1234":                    "in the list of processes",
		"end " + syntheticPID:                "in the list of processes",
		"end --sub " + syntheticPID:          "in the list of processes",
		"end --hpr " + syntheticPID:          "in the list of processes",
		"end --pid-file " + syntheticPID:     "in the list of processes",
		"end --" + syntheticPID:              "flag provided but not defined",
		"end --hpr x":                        "nine digits",
		"end --hpr 1 --sub x":                "name one person",
		"end --pid - --pid-file x":           "name one person",
		"end --pid - --hpr 1":                "name one person",
		"end":                                "say which sessions",
		"end --all --sfm":                    "flag provided but not defined",
		"end --state active":                 "say which sessions",
		"end --unused-for 3d --yes":          "say which sessions",
		"end --all --hpr 1":                  "say which sessions",
		"end --all abcdef":                   "say which sessions",
		"end --orgnr 100100126 abcdef":       "say which sessions",
		"end --all --older-then":             "say which sessions", // as long as an ID
		"end --orgnr 1001001260":             "nine digits",
		"end --hpr=":                         "--hpr is empty",
		"end --sub= --all":                   "--sub is empty",
		"end abc":                            "number 1",
		"end abcdef not/an/id":               "number 2",
		"list --state asleep":                "--state takes",
		"list --older-than 3":                "such as 90m",
		"list --older-than -3h":              "such as 90m",
		"list --older-than -3d":              "such as 90m",
		"list --unused-for 0s":               "such as 90m",
		"list --unused-for 10ms":             "such as 90m",
		"list --older-than 99999d":           "such as 90m",
		"list --older-than x" + syntheticPID: "such as 90m",
		"list --all":                         "flag provided but not defined: -all",
		"list --yes":                         "flag provided but not defined: -yes",
		"list -x":                            "flag provided but not defined: -x",
	} {
		words := strings.Fields(line)
		_, err := readSessions(words[0], words[1:])
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want something about %q", line, err, says)
		} else if strings.Contains(err.Error(), syntheticPID) {
			t.Errorf("%s: the refusal repeats the number", line)
		}
	}
	if _, err := readSessions("end", []string{"--sub", ""}); err == nil {
		t.Error("a variable that was not set chose something")
	}
}

func TestReadPID(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, tt := range map[string]struct {
		ask   sessionsAsk
		stdin string
		want  string // "" = refused
		rest  string // of the standard input
	}{
		"standard input":      {ask: sessionsAsk{pid: "-"}, stdin: syntheticPID, want: syntheticPID},
		"a line of it":        {ask: sessionsAsk{pid: "-"}, stdin: " " + syntheticPID + "\r\n \n", want: syntheticPID, rest: " \n"},
		"several lines":       {ask: sessionsAsk{pid: "-"}, stdin: syntheticPID + "\n" + syntheticPID + "\n"},
		"file":                {ask: sessionsAsk{pidFile: file("pid", syntheticPID+"\n")}, want: syntheticPID},
		"empty":               {ask: sessionsAsk{pid: "-"}},
		"an empty line":       {ask: sessionsAsk{pid: "-"}, stdin: "\n", rest: ""},
		"too short":           {ask: sessionsAsk{pid: "-"}, stdin: syntheticPID[1:]},
		"words around it":     {ask: sessionsAsk{pid: "-"}, stdin: "pid " + syntheticPID},
		"several in a file":   {ask: sessionsAsk{pidFile: file("two", syntheticPID+"\n"+syntheticPID+"\n")}},
		"a file without end":  {ask: sessionsAsk{pidFile: file("long", strings.Repeat(" ", 1<<20)+syntheticPID)}},
		"a line without end":  {ask: sessionsAsk{pid: "-"}, stdin: strings.Repeat(" ", 1<<16) + syntheticPID, rest: "*"},
		"a file not there":    {ask: sessionsAsk{pidFile: filepath.Join(dir, "none")}},
		"a folder for a file": {ask: sessionsAsk{pidFile: dir}},
	} {
		stdin := bufio.NewReader(strings.NewReader(tt.stdin))
		err := tt.ask.readPID(stdin)
		if got := tt.ask.choice.Person.PID; tt.want != "" && (err != nil || got != tt.want) || tt.want == "" && err == nil {
			t.Errorf("%s: %d characters, %v", name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), syntheticPID[1:]) {
			t.Errorf("%s: the refusal repeats the number", name)
		}
		if rest, _ := stdin.ReadString('*'); rest != tt.rest && tt.rest != "*" && tt.want != "" {
			t.Errorf("%s: %q is left", name, rest)
		}
	}
	none := sessionsAsk{}
	if err := none.readPID(nil); err != nil {
		t.Errorf("nobody was named: %v", err)
	}
}

// Whatever is written there, nothing ends without a selection, and no national identity
// number is taken from it or repeated.
func FuzzReadSessions(f *testing.F) {
	for _, line := range []string{
		"--all --yes", "--pid " + syntheticPID, "--sub=" + syntheticPID, "-bcdefghijkl abcdef", "--older-than 7d --hpr 1", "-- " + syntheticPID, "--state ,,",
		"--" + syntheticPID + "=x", "--older-than " + syntheticPID,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		ask, err := readSessions("end", strings.Fields(line))
		if err != nil {
			if strings.Contains(err.Error(), syntheticPID) {
				t.Errorf("%q: the refusal repeats the number: %v", line, err)
			}
			return
		}
		selected := len(ask.choice.IDs) > 0 || ask.named() || ask.choice.Organization != "" || ask.all
		if !selected || ask.choice.Check() != nil || ask.choice.Person.PID != "" || ask.choice.Person.Subject == syntheticPID {
			t.Errorf("%q was read as %+v", line, ask.choice)
		}
	})
}
