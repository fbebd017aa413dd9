package config

import (
	"slices"
	"strings"
)

// A Fault is one thing that the operator has to mend before the sidecar starts.
type Fault struct {
	Variable string // the environment variable at fault
	Problem  string // what is wrong with it; never a secret value
	Mend     string // what to do about it
}

// String returns the fault on one line: variable, what is wrong, how to mend it.
func (f Fault) String() string { return f.Variable + ": " + f.Problem + "; " + f.Mend }

// Error makes a Fault usable as an error, which is how the parsers of single
// values return it. They leave Variable empty; [Load] fills it in.
func (f Fault) Error() string { return f.Problem + "; " + f.Mend }

// Faults is every fault of a configuration together, so that the operator mends
// them in one round. [Load] returns it as its error; the exit code is 2.
type Faults []Fault

// Error returns one line per fault.
func (f Faults) Error() string {
	lines := make([]string, 0, len(f))
	for _, fault := range f {
		lines = append(lines, fault.String())
	}
	return strings.Join(lines, "\n")
}

// A Warning is something that the operator should look at, but that does not
// keep the sidecar from starting. Variable may hold a name that is not ours: a
// misspelt one.
type Warning struct {
	Variable string // the environment variable in question
	Problem  string // what looks wrong; never a secret value
	Mend     string // what to do about it
}

// String returns the warning on one line.
func (w Warning) String() string { return w.Variable + ": " + w.Problem + "; " + w.Mend }

// findings collects what the rules of this package have to say, in the order in
// which they say it.
type findings struct {
	faults   Faults
	warnings []Warning
}

func (f *findings) fault(variable, problem, mend string) {
	f.faults = append(f.faults, Fault{variable, problem, mend})
}

func (f *findings) warn(variable, problem, mend string) {
	f.warnings = append(f.warnings, Warning{variable, problem, mend})
}

// has reports whether the variable already has a fault. Rules that compare
// several variables are silent about those that are wrong by themselves.
func (f *findings) has(variable string) bool {
	return slices.ContainsFunc(f.faults, func(fault Fault) bool { return fault.Variable == variable })
}
