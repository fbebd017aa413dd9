package tenantmap

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/journal"
)

const newID = "11111111-6f08-4e95-9f7a-9d69c40f6a35"

// north is a further customer.
var north = journal.Journal{
	ID: newID, Aliases: []string{"22222222-6f08-4e95-9f7a-9d69c40f6a35"}, Name: "Nord: legekontor", Created: true,
	Organizations: []journal.Organization{{Orgnr: "123456785", Name: "Nord AS", HERID: "90002", Active: true, Address: "Åsen 1", Phone: "22000001"}},
}

func edited(t *testing.T, content string, change func(*Editor) error) (string, error) {
	t.Helper()
	path := writeFile(t, content)
	e, err := Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := change(e); err != nil {
		if now, _ := os.ReadFile(path); string(now) != content {
			t.Error("a refused change was written")
		}
		return content, err
	}
	if err := e.Save(); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(now), nil
}

// TestEdit shows each change as the lines that it takes away and adds; every other byte stays.
func TestEdit(t *testing.T) {
	tenant := journal.Tenant{Alias: "nord", Parent: parent, Journal: journalUUID}
	west := journal.Organization{Orgnr: "123456785", Name: "Vest", PartOf: parent}
	block := "# top\n\njournals:\n\n- id: " + journalUUID + " # first\n  # about it\n\n# between\n- id: " + aliasID + "\n  organizations:\n  - orgnr: \"100100126\"\n" +
		"    name: 'A'\n    # inside\n  # after A\n\n  name: B # the name\n  # the end\n\n  # far away\n\n# last words\n"
	tests := []struct {
		name, before string
		change       func(*Editor) error
		old, new     string
	}{
		{"tenant", sample, func(e *Editor) error { return e.AddTenant(tenant) }, "", "\n  nord: {parent: \"100100126\", journal: " + journalUUID + "}"},
		{"tenant, no last line end", strings.TrimSuffix(sample, "\n"), func(e *Editor) error { return e.AddTenant(tenant) }, "", "\n  nord: {parent: \"100100126\", journal: " + journalUUID + "}\n"},
		{"first tenant", block, func(e *Editor) error { return e.AddTenant(tenant) }, "", "tenants:\n  nord: {parent: \"100100126\", journal: " + journalUUID + "}\n"},
		{"created, block", block, func(e *Editor) error { return e.SetCreated(aliasID, true) }, "- id: " + aliasID + "\n", "- id: " + aliasID + "\n  created: true\n"},
		{"created, there", sample, func(e *Editor) error { return e.SetCreated(journalUUID, false) }, "created: true ", "created: false "},
		{"created, by alias", sample, func(e *Editor) error { return e.SetCreated(aliasID, false) }, "created: true ", "created: false "},
		{"created, nothing to do", sample, func(e *Editor) error { return e.SetCreated(aliasID, true) }, "", ""},
		{"active, braces", sample, func(e *Editor) error { return e.SetActive(journalUUID, child, false) }, `parent: "100100126", active: true}`, `parent: "100100126", active: false}`},
		{"active, block", block, func(e *Editor) error { return e.SetActive(aliasID, parent, true) }, "- orgnr: \"100100126\"\n", "- orgnr: \"100100126\"\n    active: true\n"},
		{
			"active, braces, not there", with(", active: true}\ntenants", "}\ntenants"),
			func(e *Editor) error { return e.SetActive(journalUUID, child, true) }, "}\ntenants", ", active: true}\ntenants",
		},
		{"alias", sample, func(e *Editor) error { return e.AddAlias(journalUUID, newID) }, aliasID + "]", aliasID + ", " + newID + "]"},
		{"first alias", block, func(e *Editor) error { return e.AddAlias(journalUUID, newID) }, " # first\n", " # first\n  aliases: [" + newID + "]\n"},
		{"organization", sample, func(e *Editor) error { return e.AddOrganization(journalUUID, west) }, "active: true}\ntenants", "active: true}\n      - {orgnr: \"123456785\", name: Vest, part_of: \"100100126\", active: false}\ntenants"},
		{"organization, block", block, func(e *Editor) error { return e.AddOrganization(aliasID, west) }, "    # inside\n", "    # inside\n  - {orgnr: \"123456785\", name: Vest, part_of: \"100100126\", active: false}\n"},
		{"first organization", block, func(e *Editor) error { return e.AddOrganization(journalUUID, west) }, "  # about it\n", "  # about it\n  organizations:\n    - {orgnr: \"123456785\", name: Vest, part_of: \"100100126\", active: false}\n"},
		{
			"organization, brackets", `journals: [{id: ` + journalUUID + `, name: "]}", organizations: [{orgnr: "100100126"}]}]` + "\n",
			func(e *Editor) error { return e.AddOrganization(journalUUID, west) }, `"100100126"}]`, `"100100126"}, {orgnr: "123456785", name: Vest, part_of: "100100126", active: false}]`,
		},
		{
			"created, braces", `journals: [{id: ` + journalUUID + `, name: "}"}]` + "\n",
			func(e *Editor) error { return e.SetCreated(journalUUID, true) }, `"}"}`, `"}", created: true}`,
		},
		{"journal", sample, func(e *Editor) error { return e.AddJournal(north) }, "active: true}\ntenants", "active: true}\n" + northText("  ") + "tenants"},
		{"journal, at the margin", block, func(e *Editor) error { return e.AddJournal(north) }, "  # the end\n", "  # the end\n" + northText("")},
		{"journal, brackets", "journals: [] # none\ntenants: {}\n", func(e *Editor) error { return e.AddJournal(north) }, "journals: [] # none\n", "journals: # none\n" + northText("  ")},
		{"begun", "# mine\n", func(e *Editor) error { return e.AddJournal(north) }, "# mine\n", "# mine\njournals:\n" + northText("  ")},
		{"Windows", strings.ReplaceAll(sample, "\n", "\r\n"), func(e *Editor) error { return e.AddTenant(tenant) }, "", "\r\n  nord: {parent: \"100100126\", journal: " + journalUUID + "}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.before == "" {
				test.before = sample
			}
			got, err := edited(t, test.before, test.change)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(test.before, test.old, test.new, 1)
			if test.old == "" { // behind everything
				end := ""
				if strings.HasPrefix(test.new, "\n") && strings.HasSuffix(test.before, "\n") {
					end = "\n"
				} else if strings.HasPrefix(test.new, "\r\n") {
					end = "\r\n"
				}
				want = strings.TrimSuffix(test.before, end) + test.new + end
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func northText(indent string) string {
	lines := []string{
		"- id: " + newID, "  aliases: [22222222-6f08-4e95-9f7a-9d69c40f6a35]", "  name: \"Nord: legekontor\"", "  created: true", "  organizations:",
		"    - {orgnr: \"123456785\", name: Nord AS, her_id: \"90002\", active: true, address: Åsen 1, phone: \"22000001\"}",
	}
	return indent + strings.Join(lines, "\n"+indent) + "\n"
}

func TestEditRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Editor) error
		want   error
	}{
		"journal's id":       {func(e *Editor) error { return e.AddJournal(journal.Journal{ID: upper}) }, ErrInUse},
		"journal's alias":    {func(e *Editor) error { return e.AddJournal(journal.Journal{ID: newID, Aliases: []string{aliasID}}) }, ErrInUse},
		"alias of itself":    {func(e *Editor) error { return e.AddAlias(journalUUID, journalUUID) }, ErrInUse},
		"alias known":        {func(e *Editor) error { return e.AddAlias(journalUUID, aliasID) }, ErrInUse},
		"alias of nothing":   {func(e *Editor) error { return e.AddAlias(newID, newID) }, ErrNotThere},
		"organization":       {func(e *Editor) error { return e.AddOrganization(journalUUID, journal.Organization{Orgnr: child}) }, ErrInUse},
		"organization of":    {func(e *Editor) error { return e.AddOrganization(newID, journal.Organization{Orgnr: child}) }, ErrNotThere},
		"no organization":    {func(e *Editor) error { return e.AddOrganization(journalUUID, journal.Organization{Orgnr: "1"}) }, ErrForm},
		"active of nothing":  {func(e *Editor) error { return e.SetActive(journalUUID, "123456785", true) }, ErrNotThere},
		"created of nothing": {func(e *Editor) error { return e.SetCreated(newID, true) }, ErrNotThere},
		"tenant's alias": {func(e *Editor) error {
			return e.AddTenant(journal.Tenant{Alias: "sentrum", Parent: parent, Journal: journalUUID})
		}, ErrInUse},
		"tenant's numbers": {func(e *Editor) error {
			return e.AddTenant(journal.Tenant{Alias: "x", Parent: parent, Child: child, Journal: upper})
		}, ErrInUse},
		"tenant's journal":    {func(e *Editor) error { return e.AddTenant(journal.Tenant{Alias: "x", Parent: parent, Journal: newID}) }, ErrForm},
		"tenant without more": {func(e *Editor) error { return e.AddTenant(journal.Tenant{Alias: "x"}) }, ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := edited(t, sample, test.change); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestEditInverts(t *testing.T) {
	content := "journals:\n  - {id: " + journalUUID + "}\ntenants:\n  a: {parent: \"100100126\", journal: " + journalUUID + "}\n"
	got, err := edited(t, content, func(e *Editor) error {
		return errors.Join(e.SetCreated(journalUUID, true), e.SetCreated(journalUUID, false), e.AddAlias(journalUUID, aliasID),
			e.AddOrganization(journalUUID, journal.Organization{Orgnr: parent}), e.SetActive(journalUUID, parent, true))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(content, "}\n", ", created: false, aliases: ["+aliasID+"], organizations: [{orgnr: \"100100126\", active: true}]}\n", 1)
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tenants.yaml")
	e, err := Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	tenant := journal.Tenant{Alias: "nord", Parent: "123456785", Journal: newID}
	if err := errors.Join(e.AddJournal(north), e.AddTenant(tenant), e.Save()); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path)
	if err != nil || !sameSet(r.set, journal.Set{Journals: []journal.Journal{north}, Tenants: []journal.Tenant{tenant}}) {
		t.Fatalf("%v: %+v", err, r)
	}
	if !sameSet(e.Registry().set, r.set) {
		t.Error("the editor knows another registry")
	}

	// Mode and links stay, and nothing else is left behind.
	link := filepath.Join(dir, "link.yaml")
	if err := errors.Join(os.Chmod(path, 0o604), os.Symlink("tenants.yaml", link)); err != nil {
		t.Skip("no links here:", err)
	}
	if e, err = Edit(link); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.SetCreated(newID, false), e.Save()); err != nil {
		t.Fatal(err)
	}
	linked, err := os.Lstat(link)
	if err != nil || linked.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", linked, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// What somebody else wrote meanwhile stays.
	if err := errors.Join(e.SetCreated(newID, true), os.WriteFile(path, []byte(sample), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := e.Save(); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	if now, _ := os.ReadFile(path); string(now) != sample {
		t.Error("it was overwritten")
	}
}

func TestEditDirectory(t *testing.T) {
	dir := t.TempDir()
	journals, tenants, _ := strings.Cut(sample, "tenants:")
	for name, content := range map[string]string{"a.yaml": journals, "b.yaml": "tenants:" + tenants} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Edit(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		e.AddJournal(north), e.AddTenant(journal.Tenant{Alias: "nord", Parent: "123456785", Journal: newID}),
		e.AddTenant(journal.Tenant{Alias: "sør", Parent: parent, Journal: journalUUID}),
	); err == nil {
		t.Error("an alias that no header can carry was added")
	}
	if err := e.Save(); err != nil {
		t.Fatal(err)
	}
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Position(journal.Place{Journal: -1, Tenant: 0}); filepath.Base(got.File) != newID+".yaml" || r.Len() != 2 {
		t.Errorf("the tenant is in %s", got)
	}
	for _, missing := range []string{filepath.Join(dir, "a.yaml", "x"), filepath.Join(dir, "none", "x.yaml")} {
		e, err := Edit(missing)
		if err == nil {
			err = errors.Join(e.AddJournal(north), e.Save())
		}
		if err == nil {
			t.Errorf("%s was written", missing)
		}
	}
}
