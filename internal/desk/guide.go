package desk

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// errStopped says that the person wants to go on another time.
var errStopped = errors.New("stopped")

// onboardReport is a plan and how it stands, for programs.
type onboardReport struct {
	Customer customer   `json:"customer"`
	Steps    []stepJSON `json:"steps"`
	Wrong    int        `json:"wrong"`
}

// print shows every step with what its checks say.
func (g *guide) print(ctx context.Context) error {
	report := onboardReport{Steps: []stepJSON{}}
	ids := g.steps()
	for i := range ids {
		s := g.steps()[i] // made anew: a check may have learnt the journal-id
		one := stepJSON{ID: s.id, Title: s.title, Do: s.do, Checks: s.run(ctx)}
		if at, done := g.customer.Confirmed[s.id]; done {
			one.Confirmed = &at
		}
		for _, o := range one.Checks {
			if o.State == outcomeWrong {
				report.Wrong++
			}
		}
		report.Steps = append(report.Steps, one)
	}
	report.Customer = g.customer
	if g.json {
		if err := g.encode(report); err != nil {
			return err
		}
	} else {
		g.heading()
		for i, s := range report.Steps {
			g.show(i+1, len(report.Steps), s)
		}
	}
	if report.Wrong > 0 {
		return errFound
	}
	return nil
}

// run makes the checks of a step. Where there is none, only a person can know.
func (s step) run(ctx context.Context) []outcome {
	if len(s.checks) == 0 {
		return []outcome{unchecked("no register or API shows this")}
	}
	var all []outcome
	for _, check := range s.checks {
		all = append(all, check(ctx))
	}
	return all
}

// heading says who and what it is about.
func (g *guide) heading() {
	c := g.customer
	g.out.say("%s: %s\n", g.out.paint(bold, c.Alias), planTitle(c.Plan))
	who := "parent " + c.Parent
	if c.Child != "" {
		who += ", child " + c.Child
	}
	if c.Plan == planNewOrgnr {
		who += ", in place of " + entry(c.old())
	}
	if c.Journal != "" {
		who += ", journal " + c.Journal
	}
	g.out.say("%s\n", who)
	if g.state != "" {
		g.out.say("confirmed steps are kept in %s\n", g.state)
	}
}

// show prints one step.
func (g *guide) show(number, of int, s stepJSON) {
	p := g.out
	done := styled("")
	if s.Confirmed != nil {
		done = "  " + p.paint(green, "confirmed "+s.Confirmed.Format("2006-01-02 15:04"))
	}
	p.say("\n%s%s\n", p.paint(bold, strconv.Itoa(number)+"/"+strconv.Itoa(of)+"  "+s.Title), done)
	for _, line := range s.Do {
		if strings.HasPrefix(line, commandMark) {
			p.say("    %s\n", line) // whole, to be pasted
			continue
		}
		for i, part := range wrap(line, 104) {
			p.say("%s%s\n", styled([]string{"  - ", "    "}[min(i, 1)]), part)
		}
	}
	marks := map[string][2]string{
		outcomeOK: {"ok", green}, outcomeOpen: {"not yet", yellow}, outcomeWrong: {"wrong", red}, outcomeUnchecked: {"not checked", dim},
	}
	for _, o := range s.Checks {
		mark := marks[o.State]
		p.say("  => %s: %s\n", p.paint(mark[1], mark[0]), o.Text)
	}
}

// talk leads a person through the steps, beginning with the first that is not confirmed.
func (g *guide) talk(ctx context.Context) error {
	in := bufio.NewScanner(io.LimitReader(g.Stdin, maxStateBytes))
	err := g.fill(in)
	if err == nil {
		g.heading()
		err = g.walk(ctx, in)
	}
	if errors.Is(err, errStopped) {
		g.out.say("\nStopped. ")
		if g.state == "" {
			g.out.say("Nothing was kept; name a file with --state to be able to go on.\n")
			return nil
		}
		again := ""
		if g.sidecar != "" {
			again = " --sidecar " + quoted(g.sidecar) + " --session @FILE" // the handle itself is not to be shown
		}
		if g.upstream != defaultUpstream {
			again += " --upstream " + quoted(g.upstream)
		}
		g.out.say("Go on with: sidecar tenants onboard --state %s%s%s\n", quoted(g.state), again, g.elsewhere())
		return nil
	}
	return err
}

// walk goes through the steps.
func (g *guide) walk(ctx context.Context, in *bufio.Scanner) error {
	total := len(g.steps())
	var left []string
	for i := range total {
		s := g.steps()[i]
		if _, done := g.customer.Confirmed[s.id]; done {
			g.out.say("\n%s\n", g.out.paint(dim, strconv.Itoa(i+1)+"/"+strconv.Itoa(total)+"  "+s.title+": confirmed"))
			continue
		}
		confirmed, err := g.one(ctx, in, i, total)
		if err != nil {
			return err
		}
		if !confirmed {
			left = append(left, g.steps()[i].title)
		}
	}
	if len(left) > 0 {
		g.out.say("\nLeft for later: %s\n", strings.Join(left, "; "))
		return nil
	}
	g.out.say("\n%s\n", g.out.paint(green, "All steps are confirmed."))
	return nil
}

// one shows a step until the person has confirmed it, or wants to leave it.
func (g *guide) one(ctx context.Context, in *bufio.Scanner, i, total int) (bool, error) {
	for {
		clear(g.asked)
		s := g.steps()[i]
		outcomes := s.run(ctx)
		s = g.steps()[i] // a check may have learnt the journal-id
		g.show(i+1, total, stepJSON{ID: s.id, Title: s.title, Do: s.do, Checks: outcomes})
		answer, err := g.choose(in, "done (Enter), check again (c), leave for later (l), stop (q)? ", "", "y", "yes", "n", "no", "c", "l", "q")
		switch {
		case err != nil:
			return false, err
		case answer == "q":
			return false, errStopped
		case answer == "l", answer == "n", answer == "no":
			return false, nil
		case answer == "c":
			continue
		}
		if slices.ContainsFunc(outcomes, func(o outcome) bool { return o.State == outcomeWrong || o.State == outcomeOpen }) {
			sure, err := g.choose(in, "the check says otherwise. Confirm all the same (yes), or not (Enter)? ", "", "n", "no", "y", "yes")
			if err != nil {
				return false, err
			}
			if !strings.HasPrefix(sure, "y") {
				continue
			}
		}
		g.customer.Confirmed[s.id] = g.Now().UTC()
		return true, g.keep()
	}
}

// choose asks until the answer is one of those that may be given.
func (g *guide) choose(in *bufio.Scanner, question string, answers ...string) (string, error) {
	for {
		answer, err := g.question(in, question)
		if err != nil || slices.Contains(answers, strings.ToLower(answer)) {
			return strings.ToLower(answer), err
		}
	}
}

// question reads one line. The end of the input is a person who stops.
func (g *guide) question(in *bufio.Scanner, question string) (string, error) {
	g.out.say("%s", question)
	if !in.Scan() {
		if err := in.Err(); err != nil {
			return "", err
		}
		return "", errStopped
	}
	return strings.TrimSpace(in.Text()), nil
}

// fill asks for what the plan can't go without.
func (g *guide) fill(in *bufio.Scanner) error {
	for g.customer.missing() != "" {
		flag, _, _ := strings.Cut(g.customer.missing(), ",")
		questions := map[string]string{
			"--plan":       "Which plan: " + planNew + ", " + planSwitch + " or " + planNewOrgnr + "? ",
			"--alias":      "A name for the tenant, for you and the EPJ: ",
			"--parent":     "Organization number of the top-level unit (parent): ",
			"--sfm-id":     "The customer's SFM-id: ",
			"--journal":    "The customer's journal-id: ",
			"--old-parent": "Organization number of the top-level unit that is left: ",
		}
		answer, err := g.question(in, questions[flag])
		if err != nil {
			return err
		}
		said := map[string]customer{
			"--plan": {Plan: answer}, "--alias": {Alias: answer}, "--parent": {Parent: answer},
			"--sfm-id": {Journal: answer}, "--journal": {Journal: answer}, "--old-parent": {OldParent: answer},
		}[flag]
		if err := said.check(); err != nil {
			g.out.say("%s\n", err)
			continue
		}
		if flag == "--alias" {
			said.take(g.customer)
			g.customer = customer{}
			if err := g.begin(said); err != nil {
				return err
			}
			continue
		}
		g.customer.take(said)
		if flag == "--parent" && g.customer.Child == "" {
			if err := g.fillChild(in); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillChild asks for the sub-unit, which there may be none of.
func (g *guide) fillChild(in *bufio.Scanner) error {
	for {
		answer, err := g.question(in, "Organization number of the sub-unit (child), Enter for none: ")
		if err != nil || answer == "" {
			return err
		}
		said := customer{Child: answer}
		if err := said.check(); err != nil {
			g.out.say("%s\n", err)
			continue
		}
		g.customer.take(said)
		return nil
	}
}
