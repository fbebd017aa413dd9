package desk_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	r := run(t, good, nil, "explain", "nord")
	want := `Tenant   nord: parent 310000000, child 310000078
Journal  7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35 Eksempel legekontor, exists in SFM
         found by its journal-id
Entry    310000078 Eksempel avd. nord, the child

How SFM walks from there
  310000078     Eksempel avd. nord  active  no HER-id     ← entry
  └─ 310000000  Eksempel AS         active  HER-id 90001  ← Aktør, address, phone

What comes of it
  Aktør in RF       HER-id 90001  from 310000000 Eksempel AS
  sender's address  Storgata 1    from 310000000 Eksempel AS
  sender's phone    22000000      from 310000000 Eksempel AS

What the token request says (assertion_details)
  [
    "310000000:310000078"
  ]

Findings
  none: SFM resolves this tenant as the registry means it
`
	if diff := cmp.Diff(want, r.out); diff != "" || r.code != 0 || r.faults != "" {
		t.Errorf("exit code %d, %s (-want +got):\n%s", r.code, r.faults, diff)
	}
}

func TestExplainWhatGoesWrong(t *testing.T) {
	for name, test := range map[string]struct {
		registry string
		args     []string
		code     int
		says     []string
	}{
		"unknown alias":   {good, []string{"nrod"}, 1, nil},
		"unknown journal": {good, []string{"310000000", "--journal", "5f3a0001-0000-4000-8000-00000a11ce00"}, 1, []string{"not in the registry", "error"}},
		"not written":     {good, []string{"310000213", "--journal", journalID}, 1, []string{"none: SFM finds no organization", "error    O6"}},
		"fallback": {good, []string{"310000000:310000140", "--journal", journalID}, 0,
			[]string{"310000000 Eksempel AS, the parent:", "the child 310000140 is not written to this journal, and SFM falls back", "warning  O7"}},
		"alias id": {good, []string{"310000000", "--journal", "CE75DB36-C57B-4592-9D47-5DFAE8A34340"}, 0,
			[]string{"found by its further id ce75db36-c57b-4592-9d47-5dfae8a34340", "310000000 Eksempel AS, the parent\n"}},
		"no HER-id": {strings.Replace(good, `her_id: "90001", `, "", 1), []string{"nord"}, 1, []string{"Aktør in RF       none", "error    H1"}},
		"not written, by alias": {strings.Replace(good, `parent: "310000000", child: "310000078"`, `parent: "310000213"`, 1), []string{"nord"}, 1,
			[]string{"t.yaml:11:18", "error    O6"}},
		"not described": {good[strings.Index(good, "tenants:"):], []string{"nord"}, 1, []string{"t.yaml:2:60", "warning  O6"}},
		"circle": {strings.Replace(good, `her_id: "90001"`, `her_id: "90001", part_of: "310000078"`, 1), []string{"nord"}, 1,
			[]string{"  310000078     Eksempel avd. nord  active", "     └─ and back to one of these", "error    H2"}},
		"passive": {strings.Replace(good, `parent: "310000000", active: true`, `parent: "310000000"`, 1), []string{"nord"}, 1, []string{"passive  no HER-id", "O8"}},
		"shared": {strings.Replace(good, "tenants:", `      - {orgnr: "310000140", name: Eksempel avd. vest, part_of: "310000000", active: true}
tenants:`, 1), []string{"nord"}, 0, []string{"                                  shared with 310000140 Eksempel avd. vest\n"}},
		"two readings": {strings.Replace(good, `part_of: "310000000"`, `her_id: "90001", part_of: "310000000"`, 1),
			[]string{"nord"}, 0, []string{"nothing", "if SFM stops at the organization of the HER-id", "warning  S1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, test.registry, nil, append([]string{"explain"}, test.args...)...)
			if r.code != test.code {
				t.Errorf("exit code %d, want %d: %s", r.code, test.code, r.faults)
			}
			has(t, r.out, test.says...)
		})
	}
	has(t, run(t, good, nil, "explain", "nrod").faults, `no tenant "nrod"`, "one of nord")
	has(t, run(t, "tenants: {}\n", nil, "explain", "nrod").faults, "none yet")
}

func TestExplainAsJSON(t *testing.T) {
	r := run(t, good, nil, "explain", "-o", "json", "nord")
	var got map[string]any
	decode(t, r, &got)
	hop := func(orgnr, name string, more map[string]any) map[string]any {
		m := map[string]any{"orgnr": orgnr, "name": name, "active": true}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	from := func(value string) map[string]any { return map[string]any{"value": value, "from": "310000000"} }
	top := hop("310000000", "Eksempel AS", map[string]any{"her_id": "90001", "address": "Storgata 1", "phone": "22000000"})
	want := map[string]any{
		"tenant":   map[string]any{"alias": "nord", "parent": "310000000", "child": "310000078", "journal": journalID},
		"journal":  map[string]any{"id": journalID, "name": "Eksempel legekontor", "found_by": journalID, "by_alias": false, "created": true},
		"fallback": false, "cycle": false, "resolved": true, "her_id": from("90001"),
		"walk":    []any{hop("310000078", "Eksempel avd. nord", nil), top},
		"sharing": []any{},
		"sender": map[string]any{
			"address": from("Storgata 1"), "phone": from("22000000"), "strict_address": from("Storgata 1"), "strict_phone": from("22000000"),
		},
		"token":    map[string]any{"claim": "assertion_details", "value": []any{"310000000:310000078"}},
		"findings": []any{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var unknown struct {
		Journal  any
		HERID    any `json:"her_id"`
		Resolved bool
		Findings []any
	}
	decode(t, run(t, good, nil, "explain", "310000000", "--journal", "5f3a0001-0000-4000-8000-00000a11ce00", "-o", "json"), &unknown)
	if unknown.Journal != nil || unknown.HERID != nil || unknown.Resolved || len(unknown.Findings) == 0 {
		t.Errorf("%+v", unknown)
	}
}
