package desk_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"sfm-sidecar/internal/desk"
	"sfm-sidecar/internal/register"
)

func TestLint(t *testing.T) {
	for name, test := range map[string]struct {
		registry string
		code     int
		says     []string
	}{
		"good": {good, 0, []string{"0 errors, 0 warnings in t.yaml: 1 journal, 2 organizations, 1 tenant\n"}},
		"circle": {strings.Replace(good, `her_id: "90001"`, `her_id: "90001", part_of: "310000078"`, 1), 1,
			[]string{"t.yaml:8:", "error    H2", "mend: "}},
		"HER-id in two journals": {strings.Replace(good, "tenants:", `  - id: 5f3a0001-0000-4000-8000-00000a11ce00
    organizations: [{orgnr: "310000140", her_id: "90001", active: true}]
tenants:`, 1), 1, []string{"t.yaml:11:", "error    J4", "mend: "}},
		"check digit":      {strings.ReplaceAll(good, "310000078", "310000079"), 0, []string{"t.yaml:9:17", "warning  O1", "310000079", "mend: "}},
		"child its parent": {strings.Replace(good, `child: "310000078"`, `child: "310000000"`, 1), 1, []string{"t.yaml:11:", "error    file", "mend: "}},
		"journal-id twice": {strings.Replace(good, "tenants:", "  - id: 7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35\ntenants:", 1), 1, []string{"t.yaml:10:9", "error    file", "mend: "}},
		"unknown key":      {strings.Replace(good, "name: Eksempel l", "nmae: Eksempel l", 1), 1, []string{"t.yaml:5:5", "nmae", "broken, nothing of it is used"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, test.registry, nil, "lint")
			if r.code != test.code || r.faults != "" {
				t.Errorf("exit code %d, want %d; %s", r.code, test.code, r.faults)
			}
			has(t, r.out, test.says...)
		})
	}
	r := run(t, strings.ReplaceAll(good, "310000078", "310000079"), func(o *desk.Options) { o.Strict = true }, "lint")
	if r.code != 1 {
		t.Errorf("a wrong check digit is no error where it is to be one: %s", r.out)
	}
}

// brreg is Enhetsregisteret with a few units.
type brreg struct {
	units map[string]register.Unit
	err   error
	asked atomic.Int32
}

func (b *brreg) Unit(_ context.Context, orgnr string) (register.Unit, error) {
	b.asked.Add(1)
	if b.err != nil {
		return register.Unit{}, b.err
	}
	u, ok := b.units[orgnr]
	if !ok {
		return register.Unit{}, register.ErrUnknown
	}
	u.Orgnr = orgnr
	return u, nil
}

// kommune is a top-level unit with a child two levels below.
func kommune() *brreg {
	return &brreg{units: map[string]register.Unit{
		"310000000": {Name: "EKSEMPEL AS"},
		"310000140": {Name: "EKSEMPEL ETAT", Parent: "310000000"},
		"310000078": {Name: "EKSEMPEL AVD NORD", Parent: "310000140", SubUnit: true},
		"310000213": {Name: "ANNEN AS"},
	}}
}

func TestLintBrreg(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*brreg)
		code   int
		says   []string
	}{
		"as it should be": {func(*brreg) {}, 0, []string{"0 errors, 0 warnings", "Enhetsregisteret: asked about 3\n"}},
		"unknown":         {func(b *brreg) { delete(b.units, "310000000") }, 1, []string{"t.yaml:8:", "error    O2", "310000000 is not in Enhetsregisteret"}},
		"struck off": {func(b *brreg) {
			b.units["310000078"] = register.Unit{Name: "EKSEMPEL AVD NORD", Parent: "310000140", SubUnit: true, Deleted: true}
		}, 1,
			[]string{"error    O2", "is struck off", "new-orgnr"}},
		"parent is no top": {func(b *brreg) { b.units["310000000"] = register.Unit{Name: "EKSEMPEL AS", Parent: "310000213"} }, 1,
			[]string{"t.yaml:11:", "error    O2", "hangs below 310000213", "make 310000213 the parent"}},
		"parent is a sub-unit":      {func(b *brreg) { b.units["310000000"] = register.Unit{Name: "EKSEMPEL AS", SubUnit: true} }, 1, []string{"no top-level unit"}},
		"child of another":          {func(b *brreg) { b.units["310000140"] = register.Unit{Parent: "310000213"} }, 1, []string{"error    O4", "but below 310000213", "make 310000213 the parent"}},
		"child is a top-level unit": {func(b *brreg) { b.units["310000078"] = register.Unit{Name: "EKSEMPEL AVD NORD"} }, 1, []string{"error    O4", "is a top-level unit"}},
		"another name":              {func(b *brreg) { b.units["310000000"] = register.Unit{Name: "NOE ANNET AS"} }, 0, []string{"t.yaml:8:", "warning  name", "NOE ANNET AS"}},
		"units in a circle":         {func(b *brreg) { b.units["310000140"] = register.Unit{Parent: "310000078"} }, 1, []string{"error    O4"}},
		"down": {func(b *brreg) {
			b.err = &register.Error{Register: "Enhetsregisteret", Problem: "it can't be reached", Mend: "check the network"}
		}, 1, []string{"warning  brreg", "Enhetsregisteret could not be asked: it can't be reached", "mend: check the network"}},
		"down in an unforeseen way":  {func(b *brreg) { b.err = errors.New("boom") }, 1, []string{"warning  brreg", "boom"}},
		"a name in another spelling": {func(b *brreg) { b.units["310000000"] = register.Unit{Name: "Eksempel  A S"} }, 0, []string{"0 errors"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := kommune()
			test.change(b)
			r := run(t, good, func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return b, nil } }, "lint", "--brreg")
			if r.code != test.code || r.faults != "" {
				t.Errorf("exit code %d, want %d", r.code, test.code)
			}
			has(t, r.out, test.says...)
		})
	}
	// Another tenant's parent is a unit in between; whoever names the topmost one is right all the same.
	upper := strings.Replace(good, `  nord: {`, `  etat: {parent: "310000140", child: "310000078", journal: 5f3a0001-0000-4000-8000-00000a11ce00}
  nord: {`, 1)
	upper = strings.Replace(upper, "tenants:", "  - id: 5f3a0001-0000-4000-8000-00000a11ce00\ntenants:", 1)
	for _, known := range []bool{true, false} {
		b := kommune()
		if !known {
			b.err = errors.New("boom")
		}
		r := run(t, upper, func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return b, nil } }, "lint", "--brreg")
		if o4 := strings.Contains(r.out, "error    O4"); o4 == known || !strings.Contains(r.out, "1 error,") {
			t.Errorf("Enhetsregisteret answers %t:\n%s", known, r.out)
		}
	}
	own := strings.Replace(good, `name: Eksempel AS,`, `name: Eksempel AS, parent: "310000000",`, 1) // which no register says anything about
	r := run(t, own, func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return kommune(), nil } }, "lint", "--brreg")
	has(t, r.out, "warning  O4", "its own legal unit")
	b := kommune()
	b.units["310000078"] = register.Unit{Deleted: true} // removed: no name is told
	r = run(t, good, func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return b, nil } }, "lint", "--brreg")
	has(t, r.out, "310000078 is struck off")
	b = kommune()
	run(t, good, func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return b, nil } }, "lint")
	if b.asked.Load() != 0 {
		t.Error("a register is asked that nobody wanted to be")
	}
}

// addresses is Adresseregisteret with a few parties.
type addresses struct {
	parties map[string]register.Party
	err     error
}

func (a addresses) Parties(context.Context, []string) (map[string]register.Party, error) {
	return a.parties, a.err
}

func TestLintAdresseregisteret(t *testing.T) {
	party := func(p register.Party) func(*desk.Options) {
		return func(o *desk.Options) {
			o.Addresses = func() (desk.Addresses, error) {
				return addresses{parties: map[string]register.Party{"90001": p}}, nil
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*desk.Options)
		code   int
		says   []string
	}{
		"as it should be":          {party(register.Party{Active: true, Orgnr: "310000000"}), 0, []string{"0 errors, 0 warnings", "Adresseregisteret: asked about 1\n"}},
		"not in use":               {party(register.Party{Orgnr: "310000000"}), 1, []string{"t.yaml:8:", "error    H3", "not in use"}},
		"another's":                {party(register.Party{Active: true, Orgnr: "310000213"}), 1, []string{"error    H3", "hangs on 310000213"}},
		"another's in the journal": {party(register.Party{Active: true, Orgnr: "310000078"}), 1, []string{"error    H3", "hangs on 310000078"}},
		"nobody's":                 {party(register.Party{Active: true}), 0, []string{"warning  H3", "does not say"}},
		"unknown":                  {func(o *desk.Options) { o.Addresses = func() (desk.Addresses, error) { return addresses{}, nil } }, 1, []string{"is not in Adresseregisteret"}},
		"down": {func(o *desk.Options) {
			o.Addresses = func() (desk.Addresses, error) { return addresses{err: errors.New("boom")}, nil }
		}, 1, []string{"warning  adresseregisteret", "boom"}},
		"not configured": {func(o *desk.Options) {
			o.Addresses = func() (desk.Addresses, error) { return nil, errors.New("no address") }
		}, 1, []string{"no address"}},
		"not in a program": {nil, 1, []string{"no way to ask it"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, good, test.change, "lint", "--adresseregisteret")
			if r.code != test.code || r.faults != "" {
				t.Errorf("exit code %d, want %d", r.code, test.code)
			}
			has(t, r.out, test.says...)
		})
	}
}

func TestLintAsJSON(t *testing.T) {
	r := run(t, strings.ReplaceAll(good, "310000078", "310000079"), nil, "lint", "-o", "json")
	var got struct {
		File                                               string
		Journals, Organizations, Tenants, Errors, Warnings int
		Findings                                           []map[string]any
		Registers                                          []any
		Broken                                             bool
	}
	decode(t, r, &got)
	if got.Journals != 1 || got.Organizations != 2 || got.Tenants != 1 || got.Errors != 0 || got.Warnings == 0 || got.Registers == nil || got.Broken ||
		got.Findings[0]["file"] == "" || got.Findings[0]["line"] != 9.0 || got.Findings[0]["column"] != 17.0 || got.Findings[0]["rule"] != "O1" {
		t.Errorf("%s", r.out)
	}
}

// What the registers say stands among the file's own findings, by line.
func TestLintOrder(t *testing.T) {
	b := kommune()
	b.units["310000000"] = register.Unit{Name: "NOE ANNET AS"}
	registry := strings.Replace(good, `address: Storgata 1, phone: "22000000"`, `address: Storgata 1`, 1)
	r := run(t, registry, func(o *desk.Options) { o.Brreg = func() (desk.Brreg, error) { return b, nil } }, "lint", "--brreg", "-o", "json")
	var got struct{ Findings []struct{ Line, Column int } }
	decode(t, r, &got)
	for i, f := range got.Findings {
		if i > 0 && f.Line < got.Findings[i-1].Line {
			t.Errorf("line %d comes after line %d", f.Line, got.Findings[i-1].Line)
		}
	}
	if len(got.Findings) < 2 || got.Findings[0].Line != 8 || got.Findings[len(got.Findings)-1].Line != 9 {
		t.Errorf("%s", r.out)
	}
}
