package desk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sfm-sidecar/internal/desk"
)

// added runs add on a file and returns what the file holds afterwards.
func added(t *testing.T, registry string, args ...string) (result, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "t.yaml")
	if registry != "" {
		if err := os.WriteFile(name, []byte(registry), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	r := runOn(t, name, func(o *desk.Options) { o.Random = bytes.NewReader(make([]byte, 16)) }, append([]string{"add"}, args...)...)
	text, err := os.ReadFile(name)
	if err != nil && registry != "" {
		t.Fatal(err)
	}
	return r, string(text)
}

func TestAdd(t *testing.T) {
	const minted = "00000000-0000-4000-8000-000000000000"
	for name, test := range map[string]struct {
		registry string
		args     []string
		holds    []string
		origin   string
	}{
		"a new customer in a new file": {"", []string{"--alias", "ny", "--parent", "310000140", "--name", "Ny AS", "--her-id", "90033", "--address", "Gata 1", "--phone", "22000033"},
			[]string{"id: " + minted, `ny: {parent: "310000140", journal: ` + minted + "}", `her_id: "90033"`, "active: false"}, "minted"},
		"a new customer": {good, []string{"--alias", "ny", "--parent", "310000140", "--her-id", "90033", "--journal-name", "Ny"},
			[]string{"# kept\n", "# kept too\n", "id: " + minted, "name: Ny", `ny: {parent: "310000140", journal: ` + minted}, "minted"},
		"an SFM-id taken over": {good, []string{"--alias", "gammel", "--parent", "310000140", "--her-id", "90033", "--active", "--sfm-id", "5f3a0001-0000-4000-8000-00000a11ce00"},
			[]string{"# kept\n", "id: 5f3a0001-0000-4000-8000-00000a11ce00", "created: true", "active: true", "journal: 5f3a0001-0000-4000-8000-00000a11ce00}"}, "sfm-id"},
		"a sub-unit of a customer": {good, []string{"--alias", "vest", "--parent", "310000000", "--child", "310000140", "--part-of", "310000000", "--journal", strings.ToUpper(journalID)},
			[]string{`- {orgnr: "310000140", part_of: "310000000", parent: "310000000", active: false}`, `vest: {parent: "310000000", child: "310000140", journal: ` + journalID + "}"}, "registry"},
		"an organization that is there": {good, []string{"--alias", "topp", "--parent", "310000000", "--journal", journalID},
			[]string{`topp: {parent: "310000000", journal: ` + journalID + "}"}, "registry"},
		"by a further id": {good, []string{"--alias", "topp", "--parent", "310000000", "--journal", "ce75db36-c57b-4592-9d47-5dfae8a34340"},
			[]string{`topp: {parent: "310000000", journal: ce75db36-c57b-4592-9d47-5dfae8a34340}`}, "registry"},
		"contents that nobody keeps": {good, []string{"--alias", "ny", "--parent", "310000140", "--journal-name", "Ny"},
			[]string{"- id: " + minted + "\n    name: Ny\ntenants:", `ny: {parent: "310000140", journal: ` + minted + "}"}, "minted"},
		"more of what nobody keeps": {"journals:\n  - id: " + journalID + "\ntenants: {}\n", []string{"--alias", "ny", "--parent", "310000140", "--journal", journalID},
			[]string{"- id: " + journalID + "\ntenants:", `ny: {parent: "310000140", journal: ` + journalID + "}"}, "registry"},
		"a further journal": {good, []string{"--alias", "egen", "--parent", "310000000", "--her-id", "90033", "--new-journal"}, []string{"id: " + minted}, "minted"},
	} {
		t.Run(name, func(t *testing.T) {
			r, text := added(t, test.registry, test.args...)
			if r.code != 0 || r.faults != "" {
				t.Fatalf("%+v", r)
			}
			has(t, text, test.holds...)
			has(t, r.out, "Written to t.yaml\n", "Next\n", "sidecar tenants explain "+test.args[1])
			r, _ = added(t, test.registry, append(test.args, "-o", "json")...)
			var got struct {
				Origin string
				Next   []string
			}
			decode(t, r, &got)
			if got.Origin != test.origin || len(got.Next) == 0 {
				t.Errorf("%s", r.out)
			}
		})
	}
}

// What follows can be pasted into a shell, whatever the alias and the file are called.
func TestAddNamesCommands(t *testing.T) {
	for _, test := range []struct{ more, plan string }{{"", " --plan new"}, {"5f3a0001-0000-4000-8000-00000a11ce00", " --plan single-to-multi"}} {
		name := filepath.Join(t.TempDir(), "the registry.yaml")
		args := []string{"add", "-f", name, "--alias", "$(id); x", "--parent", "310000140", "--her-id", "90033"}
		if test.more != "" {
			args = append(args, "--sfm-id", test.more)
		}
		r := runOn(t, name, func(o *desk.Options) { o.File = "" }, args...)
		has(t, r.out, "sidecar tenants explain '$(id); x' -f 'the registry.yaml'\n", "sidecar tenants onboard"+test.plan+" --alias '$(id); x' -f 'the registry.yaml'\n")
	}
	r, _ := added(t, good, "--alias", "topp", "--parent", "310000000", "--journal", journalID)
	has(t, r.out, "sidecar tenants onboard --alias topp\n")
}

// Whatever is refused, the file stays as it was.
func TestAddRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		registry string
		args     []string
		says     []string
	}{
		"an alias in use":            {good, []string{"--alias", "nord", "--parent", "310000140", "--her-id", "90033"}, []string{"alias", "already", "nothing was written"}},
		"a combination in use":       {good, []string{"--alias", "x", "--parent", "310000000", "--child", "310000078", "--journal", journalID}, []string{"already"}},
		"a journal nobody knows":     {good, []string{"--alias", "x", "--parent", "310000140", "--journal", "5f3a0001-0000-4000-8000-00000a11ce00"}, []string{"has no journal 5f3a", "--sfm-id"}},
		"an SFM-id that is there":    {good, []string{"--alias", "x", "--parent", "310000140", "--sfm-id", journalID}, []string{"has the journal", "--journal"}},
		"an alias id as SFM-id":      {good, []string{"--alias", "x", "--parent", "310000140", "--sfm-id", "ce75db36-c57b-4592-9d47-5dfae8a34340"}, []string{"has the journal"}},
		"a second journal by chance": {good, []string{"--alias", "x", "--parent", "310000000", "--child", "310000140", "--her-id", "90033"}, []string{"has a journal already: " + journalID, "--new-journal"}},
		"another's HER-id":           {good, []string{"--alias", "x", "--parent", "310000140", "--her-id", "90001"}, []string{"nothing was written", "error    J4"}},
		"no HER-id":                  {good, []string{"--alias", "x", "--parent", "310000140", "--name", "X AS"}, []string{"error    H1", "with --her-id", "--part-of", "leave out"}},
		"no HER-id, a bad digit":     {good, []string{"--alias", "x", "--parent", "310000141", "--name", "X AS"}, []string{"error    H1", "warning  O1"}},
		"a known customer, an alias": {good, []string{"--alias", "nord", "--parent", "310000000"}, []string{"the alias nord is in the registry already"}},
		"part of nothing":            {good, []string{"--alias", "x", "--parent", "310000140", "--part-of", "310000000", "--her-id", "90033"}, []string{"error    H2"}},
		"other facts":                {good, []string{"--alias", "x", "--parent", "310000000", "--journal", journalID, "--her-id", "90033"}, []string{"310000000 is already in the journal"}},
		"a broken file":              {"tenants: {a: {parnet: x}}\n", []string{"--alias", "x", "--parent", "310000140"}, []string{"is broken", "t.yaml:1:"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, text := added(t, test.registry, test.args...)
			if r.code != 1 || r.out != "" || text != test.registry {
				t.Errorf("exit code %d, printed %q, and the file is\n%s", r.code, r.out, text)
			}
			has(t, r.faults, test.says...)
		})
	}
	strict := func(o *desk.Options) { o.Strict = true }
	r := run(t, good, strict, "add", "--alias", "x", "--parent", "310000141", "--her-id", "90033")
	if r.code != 1 || !strings.Contains(r.faults, "O1") {
		t.Errorf("a wrong check digit is written where it is to be refused: %+v", r)
	}
	r = run(t, good, func(o *desk.Options) { o.Random = strings.NewReader("short") }, "add", "--alias", "x", "--parent", "310000140", "--her-id", "90033")
	if r.code != 1 || !strings.Contains(r.faults, "making a journal-id") {
		t.Errorf("%+v", r)
	}
}

// An organization that SFM has is not to be written once more.
func TestAddOfWhatSFMHas(t *testing.T) {
	for _, active := range []bool{false, true} {
		args := []string{"--alias", "vest", "--parent", "310000000", "--child", "310000140", "--part-of", "310000000", "--journal", journalID}
		if active {
			args = append(args, "--active")
		}
		r, _ := added(t, good, args...)
		if r.code != 0 || strings.Contains(r.out, "POST …/Organization") == active {
			t.Errorf("active %t:\n%s", active, r.out)
		}
	}
}

// What was wrong before must not keep another customer out.
func TestAddBesideWhatIsWrong(t *testing.T) {
	wrong := strings.Replace(good, `her_id: "90001", `, "", 1)
	r, text := added(t, wrong, "--alias", "ny", "--parent", "310000140", "--her-id", "90033")
	if r.code != 0 || !strings.Contains(text, "ny:") {
		t.Errorf("%+v", r)
	}
}

// An SFM-id is of a journal that exists; a minted id is not yet.
func TestAddKnowsWhatExists(t *testing.T) {
	for _, test := range []struct {
		more []string
		want int
	}{{[]string{"--sfm-id", "5f3a0001-0000-4000-8000-00000a11ce00"}, 2}, {nil, 1}} {
		_, text := added(t, good, append([]string{"--alias", "x", "--parent", "310000140", "--her-id", "90033"}, test.more...)...)
		if got := strings.Count(text, "created: true"); got != test.want {
			t.Errorf("%s: %d journals exist, want %d:\n%s", test.more, got, test.want, text)
		}
	}
}
