package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/tenantmap"
)

// The plans of onboard.
const (
	planNew       = "new"
	planSwitch    = "single-to-multi"
	planNewOrgnr  = "new-orgnr"
	maxStateBytes = 64 << 10
	// defaultUpstream is where organizations are written, unless --upstream says otherwise.
	defaultUpstream = "basis"
)

// customer is what the guide knows of the customer. It is kept in the state file, and holds nothing about a person.
type customer struct {
	Plan   string `json:"plan"`
	Alias  string `json:"alias"`
	Parent string `json:"parent"`
	Child  string `json:"child,omitempty"`
	HERID  string `json:"her_id,omitempty"`
	// Journal is the journal-id, once it is known; for single-to-multi the SFM-id.
	Journal string `json:"journal,omitempty"`
	// OldParent and OldChild are what new-orgnr leaves.
	OldParent string `json:"old_parent,omitempty"`
	OldChild  string `json:"old_child,omitempty"`
	// Confirmed holds when a person said of a step that it is done.
	Confirmed map[string]time.Time `json:"confirmed"`
}

// The outcomes of a check.
const (
	outcomeOK        = "ok"
	outcomeOpen      = "open"      // not done yet
	outcomeWrong     = "wrong"     // going on like this would do harm
	outcomeUnchecked = "unchecked" // could not be checked, or only a person can
)

// outcome is what a step's check found.
type outcome struct {
	State string `json:"state"`
	Text  string `json:"text"`
}

func ok(format string, args ...any) outcome {
	return outcome{outcomeOK, fmt.Sprintf(format, args...)}
}

func open(format string, args ...any) outcome {
	return outcome{outcomeOpen, fmt.Sprintf(format, args...)}
}

func wrong(format string, args ...any) outcome {
	return outcome{outcomeWrong, fmt.Sprintf(format, args...)}
}

func unchecked(format string, args ...any) outcome {
	return outcome{outcomeUnchecked, fmt.Sprintf(format, args...)}
}

// step is one thing to do.
type step struct {
	id, title string
	do        []string
	// checks are made before the person is asked; none = only a person can know.
	checks []func(context.Context) outcome
}

// stepJSON is a step and how it stands, for programs.
type stepJSON struct {
	ID        string     `json:"id"`
	Title     string     `json:"title"`
	Do        []string   `json:"do"`
	Checks    []outcome  `json:"checks"`
	Confirmed *time.Time `json:"confirmed"`
}

// guide leads through one plan.
type guide struct {
	*desk
	customer customer
	state    string // the file; "" = nothing is kept
	sidecar  string // URL of a running sidecar
	session  string
	upstream string
	asked    map[tenantmap.Tenant]*reply // what the sidecar answered, within one step
}

// onboard leads through the way of a customer. A person at the terminal is asked to confirm each step, may stop at any,
// and goes on later where it was; without one, all steps are printed with what their checks say. It fails when a check
// found something wrong.
func (d *desk) onboard(ctx context.Context, args []string) error {
	g := &guide{desk: d, asked: map[tenantmap.Tenant]*reply{}}
	if err := g.read(args); err != nil {
		return err
	}
	if g.talks() {
		return g.talk(ctx)
	}
	if missing := g.customer.missing(); missing != "" {
		return usageError{"onboard needs " + missing}
	}
	return g.print(ctx)
}

// read takes the flags, and what the state file kept. A flag wins.
func (g *guide) read(args []string) error {
	var said customer
	for name, target := range map[string]*string{
		"plan": &said.Plan, "alias": &said.Alias, "parent": &said.Parent, "child": &said.Child, "her-id": &said.HERID, "old-parent": &said.OldParent,
		"old-child": &said.OldChild,
		"state":     &g.state, "sidecar": &g.sidecar, "session": &g.session,
	} {
		g.flags.StringVar(target, name, "", "")
	}
	var sfmID, journalID string
	g.flags.StringVar(&sfmID, "sfm-id", "", "")
	g.flags.StringVar(&journalID, "journal", "", "")
	g.flags.StringVar(&g.upstream, "upstream", defaultUpstream, "")
	if _, err := g.parse(args, 0); err != nil {
		return err
	}
	said.Journal = journalID + sfmID
	if sfmID != "" && journalID != "" {
		return usageError{"say one of --journal and --sfm-id"}
	}
	if err := g.readSession(); err != nil {
		return err
	}
	return g.begin(said)
}

// begin puts together what was kept, what was said, and what the registry knows.
func (g *guide) begin(said customer) error {
	if g.state == "" && g.talks() && fileName(said.Alias) {
		g.state = "onboard-" + said.Alias + ".json"
	}
	if err := g.resume(); err != nil {
		return err
	}
	if kept := g.customer; kept.Plan != "" && said.Plan != "" && kept.Plan != said.Plan {
		return usageError{"the state file " + g.state + " is of the plan " + kept.Plan + ": leave --plan out, or name another file with --state"}
	}
	if kept := g.customer; kept.Alias != "" && said.Alias != "" && kept.Alias != said.Alias {
		return usageError{"the state file " + g.state + " is about " + kept.Alias + ": name another with --state"}
	}
	if flag := g.customer.turned(said); flag != "" {
		return usageError{"the state file " + g.state + " has confirmed steps with another " + flag + ": leave it out, or name another file with --state"}
	}
	g.customer.take(said)
	g.fromRegistry()
	return g.customer.check()
}

// talks reports whether a person is asked.
func (g *guide) talks() bool { return g.Interactive && !g.json }

// fileName reports whether an alias can be part of a file's name.
func fileName(alias string) bool {
	return alias != "" && strings.Trim(strings.ToLower(alias), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// readSession reads the handle from a file, where it is written as @FILE: words of a command line can be seen by every
// user of the machine.
func (g *guide) readSession() error {
	name, isFile := strings.CutPrefix(g.session, "@")
	if !isFile {
		return nil
	}
	text, err := readBounded(name)
	if err != nil {
		return fmt.Errorf("reading the session handle: %w", err)
	}
	g.session = strings.TrimSpace(string(text))
	return nil
}

func readBounded(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxStateBytes+1))
	if err == nil && len(text) > maxStateBytes {
		err = fmt.Errorf("%s is too large", name)
	}
	return text, err
}

// resume reads the state file, where there is one.
func (g *guide) resume() error {
	g.customer.Confirmed = map[string]time.Time{}
	if g.state == "" {
		return nil
	}
	text, err := readBounded(g.state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &g.customer)
	}
	if err != nil {
		return failure{message: "the state file " + g.state + " can't be read: " + err.Error(), mend: "name another with --state, or remove it to begin anew"}
	}
	if g.customer.Confirmed == nil {
		g.customer.Confirmed = map[string]time.Time{}
	}
	return nil
}

// keep writes the state file: to a new file that takes the old one's place, so that it is never half written.
func (g *guide) keep() error {
	if g.state == "" {
		return nil
	}
	text, err := json.MarshalIndent(g.customer, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(g.state), ".onboard-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keeping the state: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), g.state)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("keeping the state: %w", err)
	}
	return nil
}

// turned is the flag that would make another customer of the one whose steps are confirmed; "" = none.
func (c customer) turned(said customer) string {
	if len(c.Confirmed) == 0 {
		return ""
	}
	for _, one := range []struct {
		flag, kept, said string
		later            bool // it may have become known since
	}{
		{"--parent", c.Parent, said.Parent, false}, {"--child", c.Child, said.Child, false},
		{"--old-parent", c.OldParent, said.OldParent, false}, {"--old-child", c.OldChild, said.OldChild, false},
		{"--journal or --sfm-id", c.Journal, said.Journal, true},
	} {
		if one.said != "" && !strings.EqualFold(one.said, one.kept) && (one.kept != "" || !one.later) {
			return one.flag
		}
	}
	return ""
}

// take lets what was said now win over what was kept.
func (c *customer) take(said customer) {
	for _, pair := range [][2]*string{
		{&c.Plan, &said.Plan}, {&c.Alias, &said.Alias}, {&c.Parent, &said.Parent}, {&c.Child, &said.Child},
		{&c.HERID, &said.HERID}, {&c.Journal, &said.Journal}, {&c.OldParent, &said.OldParent}, {&c.OldChild, &said.OldChild},
	} {
		if *pair[1] != "" {
			*pair[0] = *pair[1]
		}
	}
}

// fromRegistry fills in what the registry says of the alias.
func (g *guide) fromRegistry() {
	if g.customer.Alias == "" || g.file == "" {
		return
	}
	registry, err := g.load()
	if err != nil {
		return // the registry's own step says so
	}
	t, ok := registry.Tenant(g.customer.Alias)
	if !ok {
		return
	}
	for _, pair := range []struct {
		to   *string
		from string
	}{{&g.customer.Parent, t.Parent}, {&g.customer.Child, t.Child}, {&g.customer.Journal, t.Journal}} {
		if *pair.to == "" {
			*pair.to = pair.from
		}
	}
}

// check refuses what can't be right, wherever it came from.
func (c customer) check() error {
	if c.Plan != "" && !slices.Contains([]string{planNew, planSwitch, planNewOrgnr}, c.Plan) {
		return usageError{fmt.Sprintf("there is no plan %q: choose %s, %s or %s", c.Plan, planNew, planSwitch, planNewOrgnr)}
	}
	for name, orgnr := range map[string]string{"--parent": c.Parent, "--child": c.Child, "--old-parent": c.OldParent, "--old-child": c.OldChild} {
		if orgnr != "" && !journal.IsOrgnr(orgnr) {
			return usageError{name + " is no organization number: nine digits without spaces"}
		}
	}
	if c.Journal != "" && !journal.IsUUID(c.Journal) {
		return usageError{"the journal is no UUID: 8-4-4-4-12 hexadecimal digits"}
	}
	return nil
}

// missing is what the plan can't go without, for people; "" = nothing.
func (c customer) missing() string {
	var all []string
	for _, one := range []struct{ flag, value string }{{"--plan", c.Plan}, {"--alias", c.Alias}, {"--parent", c.Parent}} {
		if one.value == "" {
			all = append(all, one.flag)
		}
	}
	if c.Plan == planSwitch && c.Journal == "" {
		all = append(all, "--sfm-id")
	}
	if c.Plan == planNewOrgnr && c.Journal == "" {
		all = append(all, "--journal")
	}
	if c.Plan == planNewOrgnr && c.OldParent == "" {
		all = append(all, "--old-parent")
	}
	return strings.Join(all, ", ")
}
