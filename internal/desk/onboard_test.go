package desk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/desk"
	"sfm-sidecar/internal/register"
)

// sfm answers GET …/Organization through a sidecar, by the parent that the call names.
type sfm struct {
	status  int
	refusal string
	orgs    map[string]bool // organization number, and whether it is active
	body    string          // in place of orgs
	err     error
	seen    []*http.Request
}

func (s *sfm) do(r *http.Request) (*http.Response, error) {
	s.seen = append(s.seen, r)
	if s.err != nil {
		return nil, s.err
	}
	h := http.Header{}
	body := s.body
	if s.refusal != "" {
		h.Set("Sidecar-Error", s.refusal)
		body = `{"detail":"the detail","hint":"the hint"}`
	}
	if body == "" {
		var entries []string
		for orgnr, active := range s.orgs {
			entries = append(entries, organization(orgnr, active))
		}
		body = `{"resourceType":"Bundle","entry":[` + strings.Join(entries, ",") + `]}`
	}
	return &http.Response{StatusCode: s.status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// organization is one as an entry of a Bundle.
func organization(orgnr string, active bool) string {
	return fmt.Sprintf(`{"resource":{"resourceType":"Organization","active":%t,"identifier":[`+
		`{"system":"urn:oid:2.16.578.1.12.4.1.4.101","value":"%s"},{"system":"urn:oid:2.16.578.1.12.4.1.2","value":"1"}]}}`, active, orgnr)
}

// page is the first of several, with one organization.
func page(orgnr string, active bool) string {
	return `{"resourceType":"Bundle","entry":[` + organization(orgnr, active) + `],"link":[{"relation":"self","url":"x"},{"relation":"next","url":"y"}]}`
}

// report is what onboard prints for programs.
type report struct {
	Customer map[string]any
	Steps    []struct {
		ID, Title string
		Do        []string
		Checks    []struct{ State, Text string }
		Confirmed *time.Time
	}
	Wrong int
}

// states are those of a step's checks.
func (r report) states(id string) string {
	for _, s := range r.Steps {
		if s.ID == id {
			var all []string
			for _, c := range s.Checks {
				all = append(all, c.State)
			}
			return strings.Join(all, " ")
		}
	}
	return "no such step"
}

// everything is a desk that can check all there is, with the good registry's customer in place.
func everything(s *sfm) func(*desk.Options) {
	return func(o *desk.Options) {
		o.Do = s.do
		o.Brreg = func() (desk.Brreg, error) { return kommune(), nil }
		o.Addresses = func() (desk.Addresses, error) {
			return addresses{parties: map[string]register.Party{"90001": {Active: true, Orgnr: "310000000"}}}, nil
		}
		o.Status = func(context.Context, string) (desk.TenantStatus, error) { return desk.TenantStatus{Active: true}, nil }
	}
}

var (
	newCustomer = []string{"onboard", "-o", "json", "--plan", "new", "--alias", "nord", "--parent", "310000000", "--child", "310000078",
		"--sidecar", "http://127.0.0.1:8080", "--session", "handle"}
	switching = []string{"onboard", "-o", "json", "--plan", "single-to-multi", "--alias", "nord", "--parent", "310000000", "--child", "310000078",
		"--sfm-id", journalID, "--sidecar", "http://127.0.0.1:8080", "--session", "handle"}
	newNumber = []string{"onboard", "-o", "json", "--plan", "new-orgnr", "--alias", "nord", "--parent", "310000000", "--child", "310000078",
		"--old-parent", "310000213", "--journal", journalID, "--sidecar", "http://127.0.0.1:8080", "--session", "handle"}
)

func TestOnboardChecks(t *testing.T) {
	there := map[string]bool{"310000078": true, "310000000": true}
	for name, test := range map[string]struct {
		args   []string
		sfm    sfm
		change func(*desk.Options)
		step   string
		want   string
		code   int
	}{
		"units":                   {newCustomer, sfm{status: 200, orgs: there}, nil, "units", "ok", 0},
		"units, no register":      {newCustomer, sfm{status: 200, orgs: there}, func(o *desk.Options) { o.Brreg = nil }, "units", "unchecked", 0},
		"active":                  {newCustomer, sfm{status: 200, orgs: there}, nil, "status", "ok", 0},
		"not active":              {newCustomer, sfm{status: 200, orgs: there}, status(desk.TenantStatus{Missing: []string{"Altinn"}}, nil), "status", "open", 0},
		"status unknown":          {newCustomer, sfm{status: 200, orgs: there}, status(desk.TenantStatus{}, errors.New("boom")), "status", "unchecked", 0},
		"HER-id of the registry":  {newCustomer, sfm{status: 200, orgs: there}, nil, "her-id", "ok", 0},
		"HER-id not there":        {append(newCustomer, "--her-id", "90009"), sfm{status: 200, orgs: there}, nil, "her-id", "wrong", 1},
		"registry":                {newCustomer, sfm{status: 200, orgs: there}, nil, "registry", "ok", 0},
		"another organization":    {append(newCustomer, "--child", "310000140"), sfm{status: 200, orgs: there}, nil, "registry", "wrong", 1},
		"not in the registry":     {append(newCustomer, "--alias", "vest"), sfm{status: 404}, nil, "registry", "open", 0},
		"token":                   {newCustomer, sfm{status: 404}, nil, "token", "ok", 0},
		"token refused":           {newCustomer, sfm{status: 403, refusal: "helseid-refused"}, nil, "token", "wrong", 1},
		"sidecar away":            {newCustomer, sfm{err: errors.New("refused")}, nil, "token", "unchecked", 0},
		"no sidecar in a program": {newCustomer, sfm{}, func(o *desk.Options) { o.Do = nil }, "token", "unchecked", 0},
		"journal not made":        {newCustomer, sfm{status: 403}, nil, "create", "open", 0},
		"journal without it":      {newCustomer, sfm{status: 200}, nil, "create", "open", 0},
		"written":                 {newCustomer, sfm{status: 200, orgs: map[string]bool{"310000078": false}}, nil, "create", "ok", 0},
		"not active at SFM":       {newCustomer, sfm{status: 200, orgs: map[string]bool{"310000078": false}}, nil, "activate", "open", 0},
		"active at SFM":           {newCustomer, sfm{status: 200, orgs: there}, nil, "activate", "ok", 0},
		"SFM ill":                 {newCustomer, sfm{status: 500}, nil, "activate", "unchecked", 0},
		"no Bundle":               {newCustomer, sfm{status: 200, body: "<html>"}, nil, "activate", "unchecked", 0},
		"people":                  {newCustomer, sfm{status: 200}, nil, "people", "unchecked", 0},
		"noted":                   {newCustomer, sfm{status: 200}, nil, "noted", "ok", 0},
		"ready":                   {newCustomer, sfm{status: 200}, nil, "ready", "ok", 0},
		"the old journal":         {switching, sfm{status: 200, orgs: there}, nil, "data", "ok ok", 0},
		"a new, empty journal":    {switching, sfm{status: 404}, nil, "data", "ok wrong", 1},
		"a journal of nobody":     {switching, sfm{status: 200}, nil, "data", "ok wrong", 1},
		"old still active":        {newNumber, sfm{status: 200, orgs: map[string]bool{"310000078": true, "310000213": true}}, nil, "passive", "open", 0},
		"old passive":             {newNumber, sfm{status: 200, orgs: map[string]bool{"310000078": true, "310000213": false}}, nil, "passive", "ok", 0},
		"old mistyped":            {newNumber, sfm{status: 200, orgs: map[string]bool{"310000078": true, "310000221": true}}, nil, "passive", "wrong", 1},
		"old not on this page":    {newNumber, sfm{status: 200, body: page("310000078", true)}, nil, "passive", "unchecked", 0},
		"new not on this page":    {newNumber, sfm{status: 200, body: page("310000213", true)}, nil, "passive", "unchecked", 0},
		"written on another page": {newNumber, sfm{status: 200, body: page("310000213", true)}, nil, "create", "unchecked", 0},
		"old on the first page":   {newNumber, sfm{status: 200, body: strings.Replace(page("310000078", true), "[", "["+organization("310000213", true)+",", 1)}, nil, "passive", "open", 0},
		"an empty first page":     {switching, sfm{status: 200, body: strings.Replace(page("1", true), organization("1", true), "", 1)}, nil, "data", "ok unchecked", 0},
		"old passive too early":   {newNumber, sfm{status: 200, orgs: map[string]bool{"310000078": false, "310000213": false}}, nil, "passive", "wrong", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.sfm
			r := run(t, good, func(o *desk.Options) {
				everything(&s)(o)
				if test.change != nil {
					test.change(o)
				}
			}, test.args...)
			var got report
			decode(t, r, &got)
			if got.states(test.step) != test.want || r.code != test.code || (got.Wrong > 0) != (test.code == 1) {
				t.Errorf("%s is %q with exit code %d, want %q and %d:\n%s", test.step, got.states(test.step), r.code, test.want, test.code, r.out)
			}
		})
	}
}

func status(s desk.TenantStatus, err error) func(*desk.Options) {
	return func(o *desk.Options) {
		o.Status = func(context.Context, string) (desk.TenantStatus, error) { return s, err }
	}
}

// A registry may list tenants alone: what it does not say is no error.
func TestTenantsAlone(t *testing.T) {
	alone := `tenants: {nord: {parent: "310000000", child: "310000078", journal: ` + journalID + "}}\n"
	s := sfm{status: 200, orgs: map[string]bool{"310000078": true}}
	var got report
	r := run(t, alone, everything(&s), newCustomer...)
	decode(t, r, &got)
	if r.code != 0 || got.states("registry") != "unchecked" || got.states("ready") != "unchecked" || got.states("activate") != "ok" {
		t.Errorf("%+v", r)
	}
	r = run(t, alone, nil, "explain", "nord")
	has(t, r.out, "warning  O6", "does not say which organizations", "310000000:310000078")
	if r.code != 1 || strings.Contains(r.out, "error ") {
		t.Errorf("%+v", r)
	}
}

// A new customer's organization is not active yet: the registry is right to say so.
func TestOnboardBeforeActivation(t *testing.T) {
	passive := strings.Replace(good, `parent: "310000000", active: true`, `parent: "310000000", active: false`, 1)
	s := sfm{status: 403}
	var got report
	decode(t, run(t, passive, everything(&s), newCustomer...), &got)
	if got.states("registry") != "ok" || got.states("noted") != "open" || got.states("ready") != "open" || got.Wrong != 0 {
		t.Errorf("registry %s, noted %s, ready %s", got.states("registry"), got.states("noted"), got.states("ready"))
	}
}

// The new organization is written with the old one's token and the same journal, and asked for by its own afterwards.
func TestOnboardAsksAsTheRightTenant(t *testing.T) {
	s := sfm{status: 200}
	run(t, good, everything(&s), newNumber...)
	var asked []string
	for _, r := range s.seen {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Sfm-Orgnr-Parent")+" "+r.Header.Get("Sfm-Orgnr-Child")+" "+
			r.Header.Get("Sfm-Journal-Id")+" "+r.Header.Get("Sfm-Session"))
	}
	want := "GET http://127.0.0.1:8080/basis/Organization 310000213  " + journalID + " handle\n" +
		"GET http://127.0.0.1:8080/basis/Organization 310000000 310000078 " + journalID + " handle"
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
}

// In every plan the order is what keeps a customer's data and access.
func TestOnboardOrder(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{newCustomer, "supplier agreements units delegation status her-id registry token create people activate epjinfo noted ready"},
		{switching, "supplier agreements units delegation status sfm-id registry data compare retire epjinfo noted ready"},
		{newNumber, "supplier agreements units delegation status registry create activate token passive epjinfo noted ready"},
	} {
		var got report
		decode(t, run(t, good, nil, test.args...), &got)
		var ids []string
		for _, s := range got.Steps {
			ids = append(ids, s.ID)
			if s.ID == "registry" && !strings.Contains(strings.Join(s.Do, "\n"), " --her-id HERID") {
				t.Errorf("the command lacks what add asks for: %s", s.Do)
			}
			if s.Title == "" || len(s.Do) == 0 || len(s.Checks) == 0 {
				t.Errorf("%s says too little: %+v", s.ID, s)
			}
		}
		if strings.Join(ids, " ") != test.want {
			t.Errorf("got %q, want %q", strings.Join(ids, " "), test.want)
		}
	}
}

// A person is asked, may stop, and goes on where it stopped.
func TestOnboardTalks(t *testing.T) {
	dir := t.TempDir()
	registry, state := filepath.Join(dir, "t.yaml"), filepath.Join(dir, "state.json")
	if err := os.WriteFile(registry, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	s := sfm{status: 200, orgs: map[string]bool{"310000078": false}}
	talk := func(lines string, args ...string) result {
		return runOn(t, registry, func(o *desk.Options) {
			everything(&s)(o)
			o.Interactive, o.Stdin = true, strings.NewReader(lines)
			o.Now = func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }
		}, append([]string{"onboard", "--state", state, "--sidecar", "http://127.0.0.1:8080", "--session", "secret-handle"}, args...)...)
	}
	r := talk("never\nnew\nvest\n31\n310000000\n310000078\n\nl\nc\nx\nq\n")
	if r.code != 0 || r.faults != "" {
		t.Fatalf("%+v", r)
	}
	has(t, r.out, `no plan "never"`, "--parent is no organization number", "vest: a new customer", "1/14  You are", "2/14  Agreements", "3/14  Organization numbers",
		"=> ok: 310000000 EKSEMPEL AS is a top-level unit", "Stopped. Go on with: sidecar tenants onboard --state state.json --sidecar http://127.0.0.1:8080 --session @FILE\n")
	if strings.Count(r.out, "3/14") != 2 || strings.Count(r.out, "4/14") != 0 {
		t.Errorf("checking again does not show the step again, once:\n%s", r.out)
	}
	kept, err := os.ReadFile(state)
	if err != nil || strings.Contains(string(kept), "secret-handle") {
		t.Fatalf("%v: %s", err, kept)
	}
	info, _ := os.Stat(state)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the state file has the mode %v", info.Mode())
	}
	var saved struct{ Confirmed map[string]time.Time }
	if json.Unmarshal(kept, &saved) != nil || len(saved.Confirmed) != 1 || saved.Confirmed["supplier"].IsZero() {
		t.Errorf("kept %s", kept)
	}

	r = talk("\n\n\n\n\n\n\nyes\n") // ends within registry: its check says that there is no such tenant yet
	has(t, r.out, "1/14  You are a supplier that HelseID and SFM know: confirmed", "2/14  Agreements",
		"=> not yet: the registry t.yaml has no tenant vest", "the check says otherwise", "Stopped.")
	r = talk("", "--alias", "other")
	if r.code != 2 || !strings.Contains(r.faults, "is about vest") {
		t.Errorf("a state file of one customer is used for another: %+v", r)
	}
	r = talk("", "--plan", "new-orgnr")
	if r.code != 2 || !strings.Contains(r.faults, "is of the plan new") {
		t.Errorf("a state file of one plan is used for another: %+v", r)
	}
}

// Where Enter confirms, yes does too, and no leaves a step for later.
func TestOnboardTakesYesAndNo(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	s := sfm{status: 200}
	r := run(t, good, func(o *desk.Options) {
		everything(&s)(o)
		// Of the seventh step the check says that there is no such tenant.
		o.Interactive, o.Stdin = true, strings.NewReader("y\nn\nYes\nNo\nl\nl\ny\nn\ny\ny\nq\n")
	}, "onboard", "--state", state, "--plan", "new", "--alias", "vest", "--parent", "310000000", "--child", "310000078")
	kept, err := os.ReadFile(state)
	var saved struct{ Confirmed map[string]time.Time }
	if err != nil || json.Unmarshal(kept, &saved) != nil {
		t.Fatalf("%v: %s", err, kept)
	}
	got := slices.Sorted(maps.Keys(saved.Confirmed))
	if diff := cmp.Diff([]string{"registry", "supplier", "units"}, got); diff != "" {
		t.Errorf("confirmed (-want +got)\n%s\n%s", diff, r.out)
	}
}

// What was confirmed holds for one customer. What was not known yet may be said later.
func TestOnboardKeepsToItsCustomer(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	kept := `{"plan":"new-orgnr","alias":"nord","parent":"310000000","old_parent":"310000213","confirmed":{"supplier":"2026-11-22T10:00:00Z"}}`
	for _, test := range []struct {
		args []string
		want string // "" = taken
	}{
		{[]string{"--parent", "310000140"}, "--parent"},
		{[]string{"--child", "310000078"}, "--child"},
		{[]string{"--old-parent", "310000140"}, "--old-parent"},
		{[]string{"--old-child", "310000078"}, "--old-child"},
		{[]string{"--parent", "310000000", "--journal", journalID}, ""},
		{[]string{"--sfm-id", "5f3a0001-0000-4000-8000-00000a11ce00", "--her-id", "90001"}, ""},
	} {
		if err := os.WriteFile(state, []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
		r := run(t, "tenants: {}\n", nil, append([]string{"onboard", "--state", state}, test.args...)...)
		if test.want == "" && r.code == 2 || test.want != "" && (r.code != 2 || !strings.Contains(r.faults, "another "+test.want+":")) {
			t.Errorf("%s: %+v", test.args, r)
		}
	}
	known := strings.Replace(kept, `"confirmed"`, `"journal":"`+journalID+`","confirmed"`, 1)
	for id, code := range map[string]int{strings.ToUpper(journalID): 0, "5f3a0001-0000-4000-8000-00000a11ce00": 2} {
		for _, flag := range []string{"--journal", "--sfm-id"} {
			if err := os.WriteFile(state, []byte(known), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := run(t, "tenants: {}\n", nil, "onboard", "--state", state, flag, id); r.code != code {
				t.Errorf("%s %s: %+v", flag, id, r)
			}
		}
	}
	if err := os.WriteFile(state, []byte(strings.Replace(kept, `"supplier":"2026-11-22T10:00:00Z"`, "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "tenants: {}\n", nil, "onboard", "--state", state, "--parent", "310000140", "--journal", journalID); r.code != 0 {
		t.Errorf("with nothing confirmed: %+v", r)
	}
}

// The commands of a guide can be pasted: they name this registry, and the tenant's token before there is a sidecar.
func TestOnboardNamesCommands(t *testing.T) {
	elsewhere := func(o *desk.Options) { o.File = "other.yaml" }
	name := filepath.Join(t.TempDir(), "the registry.yaml")
	if err := os.WriteFile(name, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{newCustomer, newNumber, switching} {
		args = append([]string{"onboard", "-f", name, "-o", "text"}, args[3:]...)
		r := runOn(t, name, elsewhere, args...)
		has(t, r.out, " --phone PHONE -f 'the registry.yaml'\n", "$ sidecar tenants explain nord -f 'the registry.yaml'\n",
			"$ sidecar check --login 310000000:310000078@"+journalID+"\n")
	}
}

// To the end, with every step confirmed against what the checks say.
func TestOnboardEnds(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	talk := func(lines string) result {
		return run(t, good, func(o *desk.Options) { o.Interactive, o.Stdin = true, strings.NewReader(lines) },
			"onboard", "--state", state, "--plan", "new", "--alias", "nord", "--parent", "310000000")
	}
	r := talk("\nl\n" + strings.Repeat("\nyes\n", 40))
	has(t, r.out, "Left for later: ")
	r = talk(strings.Repeat("\nyes\n", 40))
	has(t, r.out, "All steps are confirmed.")
	if r.code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestOnboardStateFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"no JSON": "{", "too large": `{"plan":"` + strings.Repeat("x", 70<<10) + `"}`, "another type": `{"confirmed":[]}`,
	} {
		state := filepath.Join(dir, "state")
		if err := os.WriteFile(state, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := run(t, good, nil, append(newCustomer, "--state", state)...); r.code != 1 || !strings.Contains(r.out, "remove it to begin anew") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	state := filepath.Join(dir, "plan")
	if err := os.WriteFile(state, []byte(`{"plan":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, good, nil, "onboard", "--state", state); r.code != 2 {
		t.Errorf("an unknown plan of a state file is taken: %+v", r)
	}
}

// The handle of a session is a secret; a file keeps it out of the list of processes.
func TestOnboardReadsTheSessionFromAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "handle")
	if err := os.WriteFile(name, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := sfm{status: 200}
	r := run(t, good, everything(&s), append(newCustomer, "--session", "@"+name)...)
	if len(s.seen) == 0 || s.seen[0].Header.Get("Sfm-Session") != "from-a-file" || strings.Contains(r.out, "from-a-file") {
		t.Errorf("%+v", r)
	}
	if r := run(t, good, everything(&s), append(newCustomer, "--session", "@"+name+"x")...); r.code != 1 {
		t.Errorf("%+v", r)
	}
}

// What is checked again is asked again; within one step SFM is asked once.
func TestOnboardChecksAgain(t *testing.T) {
	s := sfm{status: 200, orgs: map[string]bool{"310000078": true}}
	lines := strings.Repeat("l\n", 7) + "c\nc\nq\n" // to the data of the other plan
	r := run(t, good, func(o *desk.Options) {
		everything(&s)(o)
		o.Interactive, o.Stdin = true, strings.NewReader(lines)
	}, "onboard", "--state", filepath.Join(t.TempDir(), "state.json"), "--plan", "single-to-multi", "--alias", "nord", "--parent", "310000000",
		"--sfm-id", journalID, "--sidecar", "http://127.0.0.1:8080", "--session", "handle", "--upstream", "other")
	if len(s.seen) != 3 {
		t.Errorf("SFM was asked %d times, want 3:\n%s", len(s.seen), r.out)
	}
	has(t, r.out, "the SFM-id leads to a journal with 1 organization\n", " --sidecar http://127.0.0.1:8080 --session @FILE --upstream other\n")
}
