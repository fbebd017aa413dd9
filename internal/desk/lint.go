package desk

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/tenantmap"
)

// fileRule stands where a finding is about the file's form and no rule of the model: an unknown key, say.
const fileRule = "file"

// finding is what a command has to say about one place of the registry.
type finding struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Mend     string `json:"mend"`
}

const (
	severityError   = "error"
	severityWarning = "warning"
)

// lintReport is what lint found.
type lintReport struct {
	File          string           `json:"file"`
	Journals      int              `json:"journals"`
	Organizations int              `json:"organizations"`
	Tenants       int              `json:"tenants"`
	Errors        int              `json:"errors"`
	Warnings      int              `json:"warnings"`
	Findings      []finding        `json:"findings"`
	Registers     []registerReport `json:"registers"`
	// Broken says that nothing of the file is used.
	Broken bool `json:"broken"`
}

// registerReport is what came of asking one register.
type registerReport struct {
	Name  string `json:"name"`
	Asked int    `json:"asked"`
	// Problem says why it could not be asked, or not for everything.
	Problem string `json:"problem,omitempty"`
}

// lint prints everything that is wrong with a registry. It fails when anything is an error, and when a register that was
// to be asked could not be.
func (d *desk) lint(ctx context.Context, args []string) error {
	var brreg, addresses bool
	d.flags.BoolVar(&brreg, "brreg", false, "")
	d.flags.BoolVar(&addresses, "adresseregisteret", false, "")
	words, err := d.parse(args, 1)
	if err != nil {
		return err
	}
	if len(words) == 1 {
		d.file = words[0]
	}
	report := lintReport{File: d.file, Findings: []finding{}, Registers: []registerReport{}}
	registry, err := d.load()
	if broken, ok := errors.AsType[failure](err); ok && len(broken.findings) > 0 {
		report.Findings, report.Broken = broken.findings, true
	} else if err != nil {
		return err
	} else {
		var answered units
		if brreg {
			var asked registerReport
			asked, answered = d.askBrreg(ctx, registry, &report.Findings)
			report.Registers = append(report.Registers, asked)
		}
		report.fill(registry, answered)
		if addresses {
			report.Registers = append(report.Registers, d.askAddresses(ctx, registry, &report.Findings))
		}
	}
	report.count()
	return d.printLint(report)
}

// fill puts in what the file alone shows, before what registers have shown.
func (r *lintReport) fill(registry *tenantmap.Registry, answered units) {
	set := registry.Set()
	r.Journals, r.Tenants = len(set.Journals), len(set.Tenants)
	for _, j := range set.Journals {
		r.Organizations += len(j.Organizations)
	}
	var own []finding
	for _, f := range set.Lint() {
		if !answered.overrule(set, f) {
			own = append(own, placed(registry, f))
		}
	}
	r.Findings = append(own, r.Findings...)
	if r.Findings == nil {
		r.Findings = []finding{} // JSON's empty list
	}
}

func (r *lintReport) count() {
	slices.SortStableFunc(r.Findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for _, f := range r.Findings {
		if f.Severity == severityError {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
}

// placed gives a finding of the model its place in the file.
func placed(registry *tenantmap.Registry, f journal.Finding) finding {
	out := finding{Rule: f.Rule, Severity: string(f.Severity), Message: f.Message, Mend: f.Mend}
	if registry != nil && (f.At.Journal >= 0 || f.At.Organization >= 0 || f.At.Tenant >= 0) {
		at := registry.Position(f.At)
		out.File, out.Line, out.Column = at.File, at.Line, at.Column
	}
	return out
}

// printLint prints the report and says whether the command failed.
func (d *desk) printLint(r lintReport) error {
	unasked := slices.ContainsFunc(r.Registers, func(one registerReport) bool { return one.Problem != "" })
	if d.json {
		if err := d.encode(r); err != nil {
			return err
		}
	} else {
		d.out.findings(r.Findings)
		if len(r.Findings) > 0 {
			d.out.say("\n")
		}
		for _, one := range r.Registers {
			d.out.say("%s: asked about %d\n", one.Name, one.Asked)
		}
		holds := count(r.Journals, "journal") + ", " + count(r.Organizations, "organization") + ", " + count(r.Tenants, "tenant")
		if r.Broken {
			holds = "broken, nothing of it is used"
		}
		d.out.say("%s, %s in %s: %s\n", d.out.paint(styleOf(r.Errors, red), count(r.Errors, "error")),
			d.out.paint(styleOf(r.Warnings, yellow), count(r.Warnings, "warning")), r.File, holds)
	}
	if r.Errors > 0 || unasked {
		return errFound
	}
	return nil
}

func styleOf(n int, style string) string {
	if n == 0 {
		return green
	}
	return style
}

// findings prints each with its place, rule and severity, and what to do below it.
func (p printer) findings(all []finding) {
	var places []int
	width := 0
	for _, f := range all {
		places = append(places, len([]rune(clean(f.place()))))
		width = max(width, places[len(places)-1])
	}
	for i, f := range all {
		style := yellow
		if f.Severity == severityError {
			style = red
		}
		head := clean(f.place()) + spaces(width-places[i])
		if width > 0 {
			head += "  "
		}
		head += string(p.paint(style, f.Severity)) + spaces(len(severityWarning)-len(f.Severity)) + "  " + string(p.paint(bold, f.Rule)) + spaces(len(fileRule)-len(f.Rule))
		p.say("%s  %s\n", styled(head), f.Message)
		if f.Mend != "" {
			p.say("        %s\n", p.paint(dim, "mend: "+f.Mend))
		}
	}
}

// place is file:line:column, as compilers write it and editors follow.
func (f finding) place() string {
	if f.File == "" {
		return ""
	}
	s := f.File
	if f.Line > 0 {
		s += ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column)
	}
	return s
}

func spaces(n int) string {
	const many = "                                                                "
	if n <= 0 {
		return ""
	}
	if n > len(many) {
		return many + spaces(n-len(many))
	}
	return many[:n]
}
