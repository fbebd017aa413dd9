package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/session"
)

// fakeDesk has some sessions, and ends what it is told to.
type fakeDesk struct {
	rows       []sessionRow
	unreadable int
	err        error
	outcome    func(id string) endedRow
	ended      []string
	asked      []session.Choice // of the ends
}

func (d *fakeDesk) close() {}

func (d *fakeDesk) list(_ context.Context, c session.Choice, visit func(sessionRow) error) (int, error) {
	for _, row := range d.rows {
		if len(c.IDs) > 0 && !slices.ContainsFunc(c.IDs, func(b string) bool { return strings.HasPrefix(row.ID, b) }) || c.Open && !row.Open {
			continue
		}
		if err := visit(row); err != nil {
			return 0, err
		}
	}
	return d.unreadable, d.err
}

func (d *fakeDesk) end(ctx context.Context, c session.Choice, tell func(endedRow)) (int, error) {
	d.asked = append(d.asked, c)
	c.Open = true
	return d.list(ctx, c, func(row sessionRow) error {
		d.ended = append(d.ended, row.ID)
		tell(d.outcome(row.ID))
		return nil
	})
}

func TestSessionsEnd(t *testing.T) {
	begun := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	two := 2
	rows := []sessionRow{
		{ID: "abcdef-one-xxxx", State: "active", Begun: begun, Used: begun, SecurityLevel: "4", SFM: &two, Open: true},
		{ID: "abcdef-two-xxxx", State: "pending", Begun: begun, Open: true, Tenants: []session.Tenant{{Parent: "100100126", Child: "999944582", Journal: "j"}}},
		{ID: "over-already-xx", State: "expired", Begun: begun},
	}
	for name, tt := range map[string]struct {
		args        string
		stdin       string
		interactive bool
		desk        fakeDesk
		code        int
		ended       string
		out, errs   []string
		not         string // in what is printed
	}{
		"one":                  {args: "abcdef-one", ended: "abcdef-one-xxxx", out: []string{"abcdef-one-xxxx  ended\n", "1 session ended."}},
		"two, unconfirmed":     {args: "--all", code: 2, errs: []string{"2 sessions would end; nothing was ended", "--yes"}},
		"two, confirmed":       {args: "--all --yes", ended: "abcdef-one-xxxx abcdef-two-xxxx", out: []string{"2 sessions ended."}},
		"asked, yes":           {args: "--all", interactive: true, stdin: "Yes\n", ended: "abcdef-one-xxxx abcdef-two-xxxx", errs: []string{"End 2 sessions? [y/N] "}},
		"asked, ja":            {args: "--all", interactive: true, stdin: "ja\n", ended: "abcdef-one-xxxx abcdef-two-xxxx"},
		"asked, no":            {args: "--all", interactive: true, stdin: "\n", code: 2, errs: []string{"Nothing was ended."}},
		"asked, gone":          {args: "--all", interactive: true, code: 2, errs: []string{"Nothing was ended."}},
		"asked for one":        {args: "abcdef-one", interactive: true, stdin: "n\n", code: 2, errs: []string{"End 1 session? [y/N] "}},
		"dry run":              {args: "--all --dry-run", out: []string{"LIMITED TO", "abcdef-one-x  active ", "  2    -\n", "100100126:999944582"}, not: "over-already"},
		"ambiguous":            {args: "abcdef --yes", code: 2, errs: []string{"more than one session", "number 1"}},
		"unknown":              {args: "abcdef-one nothing --yes", code: 1, errs: []string{"no session has ID number 2", "a handle is none"}},
		"over":                 {args: "over-already", out: []string{"0 sessions ended."}},
		"nothing to end":       {args: "--hpr 7 --yes", desk: fakeDesk{rows: []sessionRow{}}, out: []string{"0 sessions ended."}},
		"unreadable":           {args: "--all --yes", desk: fakeDesk{unreadable: 1}, code: 1, ended: "abcdef-one-xxxx abcdef-two-xxxx", errs: []string{"1 entry could not be read"}},
		"a store that is down": {args: "--all --yes", desk: fakeDesk{err: errors.New("it is down")}, code: 1, errs: []string{"sidecar: it is down"}},
		"undone": {
			args: "abcdef-one", code: 1, ended: "abcdef-one-xxxx", out: []string{"ended\n  HelseID\n", "1 session ended."},
			desk: fakeDesk{outcome: func(id string) endedRow { return endedRow{ID: id, Outcome: hasEnded, Undone: []string{"HelseID"}} }},
		},
		"not ended": {
			args: "abcdef-one", code: 1, ended: "abcdef-one-xxxx", out: []string{"not ended\n  broken\n", "0 sessions ended, 1 could not be ended."},
			desk: fakeDesk{outcome: func(id string) endedRow { return endedRow{ID: id, Outcome: notEnded, Error: "broken"} }},
		},
		"over meanwhile": {
			args: "abcdef-one", ended: "abcdef-one-xxxx", out: []string{"0 sessions ended, 1 had ended before."},
			desk: fakeDesk{outcome: func(id string) endedRow { return endedRow{ID: id, Outcome: wasOver} }},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ask, err := readSessions("end", strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			desk := tt.desk
			if desk.rows == nil {
				desk.rows = rows
			}
			if desk.outcome == nil {
				desk.outcome = func(id string) endedRow { return endedRow{ID: id, Outcome: hasEnded} }
			}
			var out, errs bytes.Buffer
			run := &sessionsRun{
				o: Options{Stdout: &out, Stderr: &errs}, ask: ask, desk: &desk, interactive: tt.interactive,
				stdin: bufio.NewReader(strings.NewReader(tt.stdin)),
			}
			if code := run.end(t.Context()); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if got := strings.Join(desk.ended, " "); got != tt.ended {
				t.Errorf("ended %q, want %q", got, tt.ended)
			}
			for _, text := range tt.out {
				if !strings.Contains(out.String(), text) {
					t.Errorf("%q is missing from %q", text, out.String())
				}
			}
			if tt.not != "" && strings.Contains(out.String(), tt.not) {
				t.Errorf("%q stands in %q", tt.not, out.String())
			}
			for _, text := range tt.errs {
				if !strings.Contains(errs.String(), text) {
					t.Errorf("%q is missing from %q", text, errs.String())
				}
			}
		})
	}
}

// What the command ends is named by whole IDs, and a document says whether it is whole.
func TestSessionsJSON(t *testing.T) {
	rows := []sessionRow{{ID: "abcdef-one-xxxx", State: "active", Open: true}, {ID: "abcdef-two-xxxx", State: "active", Open: true}}
	for word, tt := range map[string]struct {
		args     string
		err      error
		sessions int
		complete bool
	}{
		"list": {args: "--json", sessions: 2, complete: true},
		"end":  {args: "--json --yes abcdef-one", sessions: 1, complete: true},
		"cut":  {args: "--json", sessions: 2, err: errors.New("broke off")},
	} {
		desk := &fakeDesk{rows: rows, err: tt.err, outcome: func(id string) endedRow { return endedRow{ID: id, Outcome: hasEnded} }}
		verb := word
		if word == "cut" {
			verb = "list"
		}
		ask, err := readSessions(verb, strings.Fields(tt.args))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		run := &sessionsRun{o: Options{Stdout: &out, Stderr: &bytes.Buffer{}}, ask: ask, desk: desk, stdin: bufio.NewReader(&bytes.Buffer{})}
		if verb == "list" {
			run.list(t.Context())
		} else {
			run.end(t.Context())
		}
		var said struct {
			Sessions []struct{ ID string }
			Ended    int
			Complete bool
		}
		if err := json.Unmarshal(out.Bytes(), &said); err != nil || len(said.Sessions) != tt.sessions || said.Complete != tt.complete || said.Sessions[0].ID != "abcdef-one-xxxx" {
			t.Errorf("%s: %v: %s", word, err, out.String())
		}
		if word == "end" && (said.Ended != 1 || desk.asked[0].IDs[0] != "abcdef-one-xxxx") {
			t.Errorf("ended %d by %v", said.Ended, desk.asked)
		}
	}
}

func TestLimits(t *testing.T) {
	tenant := func(parent string) session.Tenant { return session.Tenant{Parent: parent, Journal: "j"} }
	for want, tenants := range map[string][]session.Tenant{
		"-":                nil,
		"1":                {tenant("1"), tenant("1")},
		"1 2 3 and 2 more": {tenant("1"), tenant("2"), tenant("3"), tenant("4"), tenant("5")},
	} {
		if got := limits(tenants); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
