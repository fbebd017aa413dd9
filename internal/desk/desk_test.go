package desk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/desk"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/tenantmap"
)

// good is a registry without findings.
const good = `# kept
journals:
  - id: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35 # kept too
    aliases: [ce75db36-c57b-4592-9d47-5dfae8a34340]
    name: Eksempel legekontor
    created: true
    organizations:
      - {orgnr: "310000000", name: Eksempel AS, her_id: "90001", active: true, address: Storgata 1, phone: "22000000"}
      - {orgnr: "310000078", name: Eksempel avd. nord, part_of: "310000000", parent: "310000000", active: true}
tenants:
  nord: {parent: "310000000", child: "310000078", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}
`

const journalID = "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"

// result is what a command did.
type result struct {
	code        int
	out, faults string
}

// run carries out one command with a registry file of this content.
func run(t *testing.T, registry string, change func(*desk.Options), args ...string) result {
	t.Helper()
	name := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(name, []byte(registry), 0o640); err != nil {
		t.Fatal(err)
	}
	return runOn(t, name, change, args...)
}

func runOn(t *testing.T, name string, change func(*desk.Options), args ...string) result {
	t.Helper()
	var out, faults bytes.Buffer
	o := desk.Options{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &faults, File: name,
		Claim: func(t tenantmap.Tenant) (string, json.RawMessage) {
			return "assertion_details", json.RawMessage(`["` + t.Parent + ":" + t.Child + `"]`)
		},
	}
	if change != nil {
		change(&o)
	}
	code := desk.Run(context.Background(), o)
	dir := filepath.Dir(name) + string(filepath.Separator)
	return result{code, strings.ReplaceAll(out.String(), dir, ""), strings.ReplaceAll(faults.String(), dir, "")}
}

// decode reads the one JSON document that a command printed.
func decode(t *testing.T, r result, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.out))
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	if d.More() {
		t.Fatalf("more than one document: %s", r.out)
	}
}

// has fails unless a text holds all of these.
func has(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, part := range all {
		if !strings.Contains(text, part) {
			t.Errorf("does not hold %q:\n%s", part, text)
		}
	}
}

func TestUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"nothing":             {nil, "name a command\n\nusage: sidecar tenants"},
		"unknown command":     {[]string{"lnit"}, `no command "lnit"`},
		"unknown flag":        {[]string{"lint", "--berg"}, "flag provided but not defined: -berg"},
		"unknown format":      {[]string{"list", "-o", "yaml"}, "json or text"},
		"two files":           {[]string{"lint", "a", "b"}, `"b" is one word too many`},
		"words behind list":   {[]string{"list", "a"}, "one word too many"},
		"explain whom":        {[]string{"explain"}, "needs an alias"},
		"numbers, no journal": {[]string{"explain", "310000000:310000078"}, "--journal ID"},
		"alias and journal":   {[]string{"explain", "nord", "--journal", journalID}, "leave --journal out"},
		"add whom":            {[]string{"add", "--parent", "310000000"}, "--alias and --parent"},
		"add two journals":    {[]string{"add", "--alias", "a", "--parent", "310000000", "--journal", journalID, "--new-journal"}, "say one of"},
		"add no number":       {[]string{"add", "--alias", "a", "--parent", "31000000"}, "--parent is no organization number"},
		"add no journal id":   {[]string{"add", "--alias", "a", "--parent", "310000000", "--sfm-id", "x"}, "--sfm-id is no UUID"},
		"child is parent":     {[]string{"add", "--alias", "a", "--parent", "310000000", "--child", "310000000"}, "same as --parent"},
		"unknown plan":        {[]string{"onboard", "--plan", "old"}, `no plan "old"`},
		"plan for whom":       {[]string{"onboard", "--plan", "new"}, "--alias, --parent"},
		"switch without id":   {[]string{"onboard", "--plan", "single-to-multi", "--alias", "x", "--parent", "310000000"}, "--sfm-id"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, good, nil, test.args...)
			if r.code != 2 || r.out != "" {
				t.Errorf("exit code %d, printed %q, want 2 and nothing", r.code, r.out)
			}
			has(t, r.faults, test.says, " -h")
			if len(test.args) > 0 && test.args[0] != "lnit" && (strings.Count(r.faults, "\n") != 2 || !strings.Contains(r.faults, "\nsee sidecar tenants "+test.args[0]+" -h\n")) {
				t.Errorf("more, or less, than the fault and where to read on:\n%s", r.faults)
			}
			if len(test.args) == 0 {
				return
			}
			for _, json := range [][]string{{"-o", "json"}, {"--o=json"}} {
				r = run(t, good, nil, append(slices.Clone(test.args), json...)...)
				var got struct {
					Error struct{ Message, Mend string }
				}
				decode(t, r, &got)
				if r.code != 2 || r.faults != "" || !strings.Contains(got.Error.Message, test.says) || got.Error.Mend == "" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// The configuration may be at fault before a command begins.
func TestMisconfigured(t *testing.T) {
	for _, json := range []bool{false, true} {
		var out, faults bytes.Buffer
		o := desk.Options{Args: []string{"list"}, Stdout: &out, Stderr: &faults}
		if json {
			o.Args = append(o.Args, "-o=json")
		}
		code := desk.Misconfigured(o, errors.New("X: is odd"))
		if code != 2 || json == (out.Len() == 0) || json != (faults.Len() == 0) || !strings.Contains(out.String()+faults.String(), "X: is odd") {
			t.Errorf("json %t: %d %q %q", json, code, &out, &faults)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"lint", "--help"}} {
		if r := run(t, good, nil, args...); r.code != 0 || !strings.HasPrefix(r.out, "usage: ") || r.faults != "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestNoRegistry(t *testing.T) {
	none := func(o *desk.Options) { o.File = "" }
	if r := run(t, good, none, "lint"); r.code != 2 || !strings.Contains(r.faults, "TENANTS_FILE") {
		t.Errorf("%+v", r)
	}
	r := runOn(t, filepath.Join(t.TempDir(), "none.yaml"), nil, "list")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	has(t, r.faults, "none.yaml")
}

func TestFailureAsJSON(t *testing.T) {
	r := run(t, "tenants: {a: {parnet: x}}\n", nil, "list", "-o", "json")
	var got struct {
		Error struct {
			Message, Mend string
			Findings      []struct {
				Line           int
				Rule, Severity string
			}
		}
	}
	decode(t, r, &got)
	if r.code != 1 || r.faults != "" || got.Error.Message == "" || got.Error.Mend == "" || len(got.Error.Findings) == 0 ||
		got.Error.Findings[0].Line != 1 || got.Error.Findings[0].Rule != "file" || got.Error.Findings[0].Severity != "error" {
		t.Errorf("%+v in %s", r, r.out)
	}
}

// What a registry and a register hold must not act on the terminal.
func TestTerminalIsSafe(t *testing.T) {
	turned := strings.Replace(good, "Eksempel avd. nord", `"Eks\u202eempel"`, 1)
	b := kommune()
	b.units["310000078"] = register.Unit{Name: "\x1b[2J\u009bA\nfake", Parent: "310000140", SubUnit: true}
	change := func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return b, nil } }
	for _, args := range [][]string{{"explain", "nord"}, {"lint", "--brreg"}, {"explain", "\x1b[2J"}, {"\x1b[2J"}} {
		r := run(t, turned, change, args...)
		if strings.ContainsAny(r.out+r.faults, "\x1b\u202e\u009b") || strings.Contains(r.out, "\nfake") || r.out+r.faults == "" {
			t.Errorf("%q prints %q and %q", args, r.out, r.faults)
		}
	}
}

func TestColor(t *testing.T) {
	coloured := run(t, good, func(o *desk.Options) { o.Color = true }, "explain", "nord").out
	plain := run(t, good, nil, "explain", "nord").out
	if !strings.Contains(coloured, "\x1b[32mactive\x1b[0m") || strings.Contains(plain, "\x1b") {
		t.Errorf("%q\n%q", coloured, plain)
	}
	for _, escape := range []string{"\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
		coloured = strings.ReplaceAll(coloured, escape, "")
	}
	if coloured != plain {
		t.Errorf("colours move columns:\n%s\n%s", coloured, plain)
	}
}

func TestList(t *testing.T) {
	registry := good + `  top: {parent: "310000000", journal: CE75DB36-c57b-4592-9d47-5dfae8a34340}
  lost: {parent: "310000213", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}
  other: {parent: "310000000", child: "310000140", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}
`
	var got struct {
		Tenants []struct {
			Alias, State string
			HERID        string `json:"her_id"`
			Line         int
		}
	}
	r := run(t, registry, nil, "list", "-o", "json")
	decode(t, r, &got)
	var states []string
	for _, one := range got.Tenants {
		states = append(states, one.Alias+" "+one.State+" "+one.HERID)
	}
	if want := "nord sound 90001, top sound 90001, lost error , other warning 90001"; strings.Join(states, ", ") != want || r.code != 0 {
		t.Errorf("got %q, want %q", strings.Join(states, ", "), want)
	}
	text := run(t, registry, nil, "list").out
	has(t, text, "ALIAS  PARENT     CHILD      HER-ID  STATE    JOURNAL\n", "lost   310000213  -          -       error    ")
	has(t, run(t, "tenants: {}\n", nil, "list").out, "no tenants in")
	unknown := `tenants: {a: {parent: "310000000", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}}` + "\n"
	has(t, run(t, unknown, nil, "list").out, "unknown")
}
