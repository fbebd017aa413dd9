package tenantmap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/journal"
)

// sample is the registry of the documentation.
const sample = `journals:
  - id: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35      # journal-id; never re-made once used
    aliases: [ce75db36-c57b-4592-9d47-5dfae8a34340] # further ids of the same instance (an old SFM-id, say)
    name: Eksempel legekontor
    created: true                                   # the instance exists in SFM
    organizations:                                  # as written to SFM
      - {orgnr: "100100126", name: Eksempel AS, her_id: "90001", active: true, address: Storgata 1, phone: "22000000"}
      - {orgnr: "999944582", name: Eksempel avd. sentrum, part_of: "100100126", parent: "100100126", active: true}
tenants:
  sentrum: {parent: "100100126", child: "999944582", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}
`

const aliasID = "ce75db36-c57b-4592-9d47-5dfae8a34340"

func writeFile(tb testing.TB, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "tenants.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func load(tb testing.TB, content string) *Registry {
	tb.Helper()
	r, err := Load(writeFile(tb, content))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestLoad(t *testing.T) {
	r := load(t, sample)
	want := journal.Set{
		Journals: []journal.Journal{{
			ID: journalUUID, Aliases: []string{aliasID}, Name: "Eksempel legekontor", Created: true,
			Organizations: []journal.Organization{
				{Orgnr: parent, Name: "Eksempel AS", HERID: "90001", Active: true, Address: "Storgata 1", Phone: "22000000"},
				{Orgnr: child, Name: "Eksempel avd. sentrum", PartOf: parent, Parent: parent, Active: true},
			},
		}},
		Tenants: []journal.Tenant{{Alias: "sentrum", Parent: parent, Child: child, Journal: journalUUID}},
	}
	if diff := cmp.Diff(want, *r.Set()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	both := Tenant{parent, child, journalUUID}
	if got, ok := r.Tenant("sentrum"); !ok || got != both {
		t.Errorf("the alias gives %v, %v", got, ok)
	}
	for alias, want := range map[string]bool{"Sentrum": false, "": false, "sentrum ": false} {
		if _, ok := r.Tenant(alias); ok != want {
			t.Errorf("the alias %q is there", alias)
		}
	}
	for tenant, want := range map[Tenant]bool{
		both: true, {parent, child, upper}: true,
		{parent, "", journalUUID}: false, {child, "", journalUUID}: false, {parent, child, aliasID}: false,
		{parent, "x", journalUUID}: false, {}: false,
	} {
		if r.Lists(tenant) != want {
			t.Errorf("lists %v: %v", tenant, !want)
		}
	}
	if load(t, with(`child: "999944582", `, "")).Lists(Tenant{parent, "x", journalUUID}) {
		t.Error("a malformed child is taken for none")
	}
	for uuid, want := range map[string]bool{journalUUID: true, upper: true, aliasID: true, "": false, "x": false, aliasID[:35] + "1": false} {
		if r.Created(uuid) != want {
			t.Errorf("created %q: %v", uuid, !want)
		}
	}
	if r.Len() != 1 || len(r.Files()) != 1 || r.LoadedAt().IsZero() {
		t.Errorf("%d tenants in %v, loaded %v", r.Len(), r.Files(), r.LoadedAt())
	}
}

func TestPosition(t *testing.T) {
	second := "  - {id: 11111111-6f08-4e95-9f7a-9d69c40f6a35, organizations: [{name: Æøå, orgnr: \"100100126\"}]}\n"
	for _, whole := range []int64{0, 1} { // in one go, and in pieces
		path := writeFile(t, strings.Replace(sample, "tenants:\n", second+"tenants:\n", 1))
		r, err := Loader{whole: whole}.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			at   journal.Place
			want string
		}{
			{place(0, -1, ""), "2:5"},
			{place(0, -1, "id"), "2:9"},
			{place(0, -1, "created"), "5:14"},
			{place(0, 1, ""), "8:9"},
			{place(0, 1, "part_of"), "8:68"},
			{place(0, 1, "phone"), "8:9"}, // not written
			{place(1, 0, "orgnr"), "9:83"},
			{place(1, 1, "orgnr"), "9:5"}, // no such organization
			{journal.Place{Journal: -1, Organization: -1, Tenant: 0, Field: "alias"}, "11:3"},
			{journal.Place{Journal: -1, Organization: -1, Tenant: 0, Field: "journal"}, "11:63"},
			{journal.Place{Journal: -1, Organization: -1, Tenant: -1}, "1:1"},
			{journal.Place{Journal: 9, Organization: -1, Tenant: 9}, "1:1"},
		} {
			if got := r.Position(test.at).String(); got != path+":"+test.want {
				t.Errorf("%+v is at %s, want %s", test.at, got, test.want)
			}
		}
	}
}

// with puts a line in place of another one of the sample.
func with(old, new string) string { return strings.Replace(sample, old, new, 1) }

func TestFaults(t *testing.T) {
	long := strings.Repeat("x", 1001)
	second := "\n  - id: 11111111-6f08-4e95-9f7a-9d69c40f6a35\n"
	tests := []struct {
		name, content string
		want          []string // line:column, and words of the message or the mend
	}{
		{"unknown key", with("    name:", "    nam:"), []string{"4:5 the unknown key nam", "aliases, name"}},
		{"unknown key, not named", with("    name:", "    \"13116900216\":"), []string{"4:5 a key that is not known"}},
		{"unknown section", with("tenants:", "tenant:"), []string{"9:1 the unknown key tenant"}},
		{"unknown in organization", with("her_id", "her-id"), []string{"7:49 unknown key her-id"}},
		{"unknown in tenant", with("child:", "kid:"), []string{"10:34 unknown key kid"}},
		{"key twice", with("    created: true", "    name: x"), []string{"5:5 name a second time"}},
		{"section twice", sample + "tenants: {}\n", []string{"11:1 tenants a second time"}},
		{"alias twice", sample + "  sentrum: {parent: \"100100126\", journal: " + journalUUID + "}\n", []string{"11:3 the alias sentrum is already used in", "line 10"}},
		{"digits without quotes", with(`orgnr: "100100126"`, `orgnr: 100100126`), []string{"7:17 orgnr is a number", "quotes"}},
		{"phone without quotes", with(`"22000000"`, `22000000`), []string{"phone is a number"}},
		{"a date", with("Eksempel legekontor", "2026-01-01"), []string{"4:11 name is a time"}},
		{"truth for text", with("Eksempel legekontor", "true"), []string{"4:11 name is a truth value"}},
		{"text for truth", with("created: true", `created: "true"`), []string{"5:14 neither true nor false"}},
		{"null", with("Eksempel legekontor", ""), []string{"name has no value"}},
		{"empty", with("Eksempel legekontor", `""`), []string{"4:11 name has no value"}},
		{"list for text", with("Eksempel legekontor", "[a]"), []string{"4:11 name is a list"}},
		{"text for list", with("[ce75db36-c57b-4592-9d47-5dfae8a34340]", aliasID), []string{"3:14 aliases is no list"}},
		{"journals no list", "journals: {a: b}\n", []string{"1:11 journals is no list"}},
		{"tenants no mapping", "tenants: [a]\n", []string{"1:10 tenants is no mapping"}},
		{"journal no mapping", "journals: [a]\n", []string{"1:12 the journal is no mapping"}},
		{"tenant no mapping", "tenants: {a: b}\n", []string{"1:14 the tenant is no mapping"}},
		{"no mapping at all", "hello\n", []string{"1:1 the registry is no mapping"}},
		{"too long", with("Eksempel legekontor", long), []string{"4:11 name is too long"}},
		{"line break", with("Eksempel legekontor", `"a\nb"`), []string{"4:11 control character"}},
		{"anchor", with("name: Eksempel legekontor", "name: &a x"), []string{"4:11 anchor"}},
		{"alias", with("Eksempel legekontor", "&a x\n    created: *a") + "#", []string{"4:11 anchor", "5:14 alias (*)", "6:5 created a second time"}},
		{"alias of nothing", with("Eksempel legekontor", "*a"), []string{"alias (*)"}},
		{"tag", with("Eksempel legekontor", "!!str 1"), []string{"4:11 tag"}},
		{"merge key", with("    name: Eksempel legekontor", "    <<: {name: x}"), []string{"4:5 merge key"}},
		{"two documents", sample + "---\n" + sample, []string{"second document"}},
		{"broken second document", sample + "---\n[", []string{"is not YAML"}},
		{"no YAML", with("Eksempel legekontor", "[a"), []string{"has a bracket"}},
		{"too few digits", with(`child: "999944582"`, `child: "99994458"`), []string{"10:41 child 99994458 is not an organization number"}},
		{"a person's number", with(`child: "999944582"`, `child: "13116900216"`), []string{"10:41 child is not an organization number"}},
		{"a letter in a UUID", with("id: "+journalUUID, "id: "+journalUUID[:35]+"g"), []string{"2:9 id " + journalUUID[:35] + "g is not a UUID"}},
		{"a tab", with("    name", "\tname"), []string{"4:1 begins with a tab"}},
		{"no text", "\x00\x01", []string{"1:1 this line is no text in UTF-8"}},
		{"empty file", "", []string{"1:1 says nothing"}},
		{"comments alone", "# nothing\n", []string{"1:1 says nothing"}},
		{"J1", with("  - id: 7fb", "  - id: 7f"), []string{"2:9 id 7f", "hexadecimal"}},
		{"J1 zeros", with("id: "+journalUUID, "id: 00000000-0000-0000-0000-000000000000"), []string{"2:9 zeros"}},
		{"J1 alias", with(aliasID, "x"), []string{"3:15 not a UUID"}},
		{"no id", "journals:\n  - name: x\n", []string{"2:5 no id", "tenants add"}},
		{"J2", with("\ntenants:", "\n  - id: "+upper+"\ntenants:"), []string{"9:9 is already used in", "line 2"}},
		{"J2 alias", with("\ntenants:", second+"    aliases: ["+journalUUID+"]\ntenants:"), []string{"10:15 is already used in"}},
		{"J2 in itself", with(aliasID, upper), []string{"3:15 twice in this journal"}},
		{"O1", with(`orgnr: "100100126"`, `orgnr: "10010012"`), []string{"7:17 orgnr 10010012 is not an organization number"}},
		{"O1 part of", with(`part_of: "100100126"`, `part_of: "x"`), []string{"8:68 part_of is not"}},
		{"O1 parent", with(`{parent: "100100126"`, `{parent: "1 00100126"`), []string{"10:21 parent is not"}},
		{"no orgnr", with(`orgnr: "100100126", `, ""), []string{"7:9 no orgnr"}},
		{"own parent", with(`child: "999944582"`, `child: "100100126"`), []string{"10:41 child is 100100126, the parent's own"}},
		{"own parent, child first", "tenants:\n  a: {child: \"100100126\", parent: \"100100126\", journal: " + journalUUID + "}\n", []string{"2:35 the parent's own"}},
		{"no parent", with(`{parent: "100100126", `, "{"), []string{"10:3 no parent"}},
		{"no journal", with(`, journal: `+journalUUID+"}", "}"), []string{"10:3 no journal"}},
		{"journal not there", with("journal: 7fb", "journal: 8fb"), []string{"10:63 is not among the journals"}},
		{"alias a number", with("sentrum:", "12:"), []string{"10:3 the alias is a number"}},
		{"alias no header", with("sentrum:", "sentrumsgården:"), []string{"10:3 can't be sent in a header"}},
		{"alias too long", with("sentrum:", strings.Repeat("a", 257)+":"), []string{"10:3 can't be sent"}},
		{"alias with space", with("sentrum:", `" sentrum":`), []string{"10:3 can't be sent"}},
		{"a key that is a mapping", with("sentrum:", "? {a: b}\n  :"), []string{"the alias is a list or mapping"}},
		{"all together", strings.NewReplacer("name: Eksempel legekontor", "nam: x", `orgnr: "100100126"`, "orgnr: 1", "child:", "kid:").Replace(sample),
			[]string{"4:5 nam", "7:17 orgnr is a number", "10:34 kid"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := writeFile(t, test.content)
			_, err := Load(path)
			faults, ok := errors.AsType[Faults](err)
			if !ok {
				t.Fatalf("not refused: %v", err)
			}
			text := strings.ReplaceAll(err.Error(), path+":", "")
			for _, words := range test.want {
				at, rest, _ := strings.Cut(words, " ")
				if at != "" && (at[0] < '0' || at[0] > '9') {
					at, rest = "", words
				}
				if !strings.Contains(text, at) || !strings.Contains(text, rest) {
					t.Errorf("%q is not in\n%s", words, text)
				}
			}
			for _, f := range faults {
				if f.Message == "" || f.Mend == "" || f.File != path || f.Line < 1 || f.Column < 1 {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if strings.Contains(text, "13116900216") {
				t.Error("a value that may be anything was repeated")
			}
			wholeOnly := len(faults) == 1 && strings.Contains(text, "is not YAML")
			if _, inPieces := (Loader{whole: 1}).Load(path); inPieces == nil && len(test.content) > 1 && !wholeOnly {
				t.Error("in pieces it is let through")
			}
		})
	}
}

func TestFine(t *testing.T) {
	for name, content := range map[string]string{
		"tenants alone":        "tenants:\n  a: {parent: \"100100126\", journal: " + journalUUID + "}\n",
		"journals alone":       "journals:\n- id: " + journalUUID + "\n  created: true\n",
		"sections empty":       "journals:\ntenants:\n",
		"sections empty, flow": "journals: []\ntenants: {}\n",
		"JSON":                 `{"tenants": {"a": {"parent": "100100126", "journal": "` + journalUUID + `"}}}`,
		"a document's begin":   "---\n" + sample,
		"byte order mark":      "\uFEFF" + sample,
		"Windows":              strings.ReplaceAll(sample, "\n", "\r\n"),
		"journal by alias":     with("journal: "+journalUUID, "journal: "+aliasID),
		"wrong check digit":    with(`child: "999944582"`, `child: "999944583"`),
		"no last line end":     strings.TrimSuffix(sample, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, content)
			whole, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			pieces, err := Loader{whole: 1}.Load(path)
			if name == "JSON" {
				if err == nil || !strings.Contains(err.Error(), ":1:1: this line") {
					t.Errorf("large JSON: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(whole.set, pieces.set); diff != "" {
				t.Errorf("in pieces it says something else\n%s", diff)
			}
		})
	}
}

func TestLoadChecksDigits(t *testing.T) {
	path := writeFile(t, with(`child: "999944582"`, `child: "999944583"`))
	if _, err := (Loader{CheckDigit: "strict"}).Load(path); err == nil || !strings.Contains(err.Error(), ":10:41: child is 999944583, whose check digit") {
		t.Errorf("got %v", err)
	}
}

// TestTooMuch gives it what could bring a reader down.
func TestTooMuch(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"10 MB of nested lists":      {"journals: " + strings.Repeat("[", 10<<20), "too long a line"},
		"10 MB of nested hyphens":    {"journals:\n  " + strings.Repeat("- ", 5<<20), "too long a line"},
		"10 MB of nested blocks":     {nested(4400), "is too long"},
		"nested lists":               {"journals: " + strings.Repeat("[", 1000), "nested more than 16 deep"},
		"nested blocks":              {nested(100), "nested more than 16 deep"},
		"nested in a piece":          {strings.Repeat("# much\n", 200_000) + sample + "  a: " + strings.Repeat("[", 100), "nested more than 16 deep"},
		"10 MB of empty lists":       {"journals: [" + strings.Repeat("[],", 3<<20) + "]", "too long a line"},
		"one journal without end":    {"journals:\n  - id: " + journalUUID + "\n    aliases:\n" + strings.Repeat("      - "+aliasID+"\n", 50_000), "too long"},
		"aliases that grow":          {"journals:\n- &a [x]\n- &b [*a,*a]\n- &c [*b,*b]\n", "anchor"},
		"large, and not to be cut":   {strings.Repeat("# much\n", 200_000) + "tenants: {a: b}\n", "200001:1: this line is neither"},
		"large, and indented oddly":  {strings.Repeat("# much\n", 200_000) + sample + " a: b\n", "200011:1: this line is not indented"},
		"large, and two documents":   {strings.Repeat("# much\n", 200_000) + sample + "---\n" + sample, "200011:1: this line is neither"},
		"large, and a section twice": {strings.Repeat("# much\n", 200_000) + sample + sample, "200011:1: this line begins journals a second time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(writeFile(t, test.content))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.300v", err)
			}
		})
	}
}

// nested is lists in lists, each indented one more.
func nested(depth int) string {
	var out strings.Builder
	out.WriteString("journals:\n")
	for i := range depth {
		out.WriteString(strings.Repeat(" ", i+1) + "-\n")
	}
	return out.String()
}

func TestFaultsAreBounded(t *testing.T) {
	_, err := Load(writeFile(t, "journals:\n"+strings.Repeat("  - id: x\n", 5000)))
	faults, _ := errors.AsType[Faults](err)
	if len(faults) != maxFaults+1 || faults[0].Line != 2 || faults[99].Line != 101 || !strings.Contains(faults[100].Message, "more faults") {
		t.Errorf("%d faults, the last: %v", len(faults), faults[len(faults)-1])
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	expect("is a directory without a registry")
	journals, tenants, _ := strings.Cut(sample, "tenants:")
	put("..2026/journals.yaml", journals)
	if err := errors.Join(os.Symlink("..2026", filepath.Join(dir, "..data")), os.Symlink("..data/journals.yaml", filepath.Join(dir, "journals.yaml"))); err != nil {
		t.Skip("no links here:", err)
	}
	put("tenants.yml", "tenants:"+tenants)
	put(".hidden.yaml", "{")
	put("notes.txt", "{")
	put("tenants.yaml~", "{")
	put("below.yaml/more.yaml", "{")
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(dir, "journals.yaml"), filepath.Join(dir, "tenants.yml")}; !cmp.Equal(want, r.Files()) || r.Len() != 1 {
		t.Errorf("read %v", r.Files())
	}
	if got := r.Position(journal.Place{Journal: -1, Tenant: 0}).String(); !strings.HasSuffix(got, "tenants.yml:2:3") {
		t.Errorf("the tenant is at %s", got)
	}
	put("x.yaml", "journals:\n  - id: "+upper+"\n")
	expect("x.yaml:2:9: the journal-id " + upper + " is already used in " + filepath.Join(dir, "journals.yaml") + ", line 2")
	put("x.yaml", "tenants:"+tenants)
	expect("x.yaml:2:3: the alias sentrum is already used in")
	put("x.yaml", "")
	expect("x.yaml:1:1: says nothing")
	if err := errors.Join(os.Remove(filepath.Join(dir, "x.yaml")), os.Symlink("nowhere", filepath.Join(dir, "x.yaml"))); err != nil {
		t.Fatal(err)
	}
	expect("x.yaml: can't be read")
}

func TestUnreadable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(missing)
	if err == nil || !strings.Contains(err.Error(), missing+": can't be read: no such file") || strings.Count(err.Error(), missing) != 1 {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(os.DevNull); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a device: %v", err)
	}
	large := writeFile(t, "")
	if err := os.Truncate(large, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); err == nil || !strings.Contains(err.Error(), "is too large") {
		t.Errorf("a large file: %v", err)
	}
}

// TestPieces reads more than a few pieces, and finds everything where it stands.
func TestPieces(t *testing.T) {
	path := writeRegistry(t, 4000)
	pieces, err := Loader{whole: 1}.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Loader{whole: maxBytes}.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole.set, pieces.set); diff != "" {
		t.Errorf("in pieces it says something else\n%s", diff)
	}
	if diff := cmp.Diff(whole.places, pieces.places, cmp.AllowUnexported(places{}, item{})); diff != "" {
		t.Errorf("in pieces it stands elsewhere\n%s", diff)
	}
	if whole.digest != pieces.digest || whole.digest != glance(path) {
		t.Error("the digests differ")
	}
}

// FuzzLoad reads anything: nothing may panic, and what is taken in pieces must be what is taken whole.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		sample, "", "journals: []", "tenants: {a: {}}", "---\n" + sample, sample + "...\n", "journals:\n- id: x\n-\n", "a: &a [*a]\n",
		"tenants:\n  a: \"x\n  b: {}\"\n", "journals:\n  - name: |\n      - id: x\n  # y\n", "tenants:\n ? a\n : b\n", "\uFEFFjournals:\r\n",
		"tenants:\n  a: {parent: \"100100126\",\n  journal: " + journalUUID + "}\n  b: {parent: \"100100126\", journal: " + journalUUID + "}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		read := func(whole int64) (*Registry, Faults) {
			b := newBuilder()
			b.names = []string{"f"}
			if err := (Loader{whole: whole}).readContent(0, "f", int64(len(content)), strings.NewReader(content), b); err != nil {
				t.Fatal(err)
			}
			return b.finish()
		}
		whole, faults := read(maxBytes)
		for _, f := range faults {
			if f.Line < 1 || f.Column < 1 || f.Message == "" || f.Mend == "" {
				t.Errorf("incomplete: %+v", f)
			}
		}
		if len(content) < 2 {
			return
		}
		pieces, inPieces := read(1)
		if len(inPieces) > 0 {
			return // less is taken in pieces
		}
		if len(faults) > 0 {
			if text := fmt.Sprint(faults); !strings.Contains(text, "says nothing") && !strings.Contains(text, "control characters") {
				t.Fatalf("taken in pieces, not whole: %v", faults)
			}
			return
		}
		if diff := cmp.Diff(whole.set, pieces.set); diff != "" {
			t.Fatalf("in pieces it says something else\n%s", diff)
		}
	})
}

// One wrong id is one fault, not one more for each tenant that names it.
func TestOneFaultOfOneID(t *testing.T) {
	_, err := Load(writeFile(t, with("- id: 7fbf", "- id: 7fb")))
	if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 1 {
		t.Errorf("got %v", err)
	}
}
