// Package desk is the command "sidecar tenants": a vendor's own desk, where a wrong set-up of journals and organizations
// is found before SFM finds it.
//
//	lint     every fault and finding of the registry file, and of the registers when asked
//	explain  how SFM will resolve one tenant, drawn
//	add      a tenant, its organization and its journal, into the file
//	list     the tenants of the file
//	onboard  the whole way of a new customer, and of the two changes that go wrong most
//
// What is judged is [sfm-sidecar/internal/journal]'s to say, and what a file may look like [sfm-sidecar/internal/tenantmap]'s.
// This room asks them and prints: text for people, aligned and coloured on a terminal, or JSON with -o json, whose member
// names are part of the contract (docs/tenants.md).
//
// # Exit codes
//
// 0 done; 1 failed, found an error, or could not ask a register that was to be asked; 2 wrong usage or configuration.
//
// # What is sent where
//
// Nothing, but for what was asked for: --brreg, --adresseregisteret, and the checks of onboard. Registers get
// organization numbers and HER-ids, which are no personal data.
package desk

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/tenantmap"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Brreg is Enhetsregisteret.
type Brreg interface {
	Unit(ctx context.Context, orgnr string) (register.Unit, error)
}

// Addresses is Adresseregisteret.
type Addresses interface {
	Parties(ctx context.Context, herIDs []string) (map[string]register.Party, error)
}

// TenantStatus is what HelseID Selvbetjening says about a customer.
type TenantStatus struct {
	Active  bool
	Missing []string // what is missing, for people: "delegation in Altinn", say
}

// Options are what the commands may use. The zero value of each field leaves out what it is for, and a check that can't
// be made for that says why.
type Options struct {
	// Args are the words behind "sidecar tenants".
	Args []string
	// Stdin is read by onboard alone.
	Stdin io.Reader
	// Stdout takes what was asked for, Stderr what went wrong.
	Stdout, Stderr io.Writer
	// Color is for a terminal.
	Color bool
	// Interactive says that a person sits at Stdin: onboard then asks. Otherwise it prints every step.
	Interactive bool
	// File is the registry, unless -f names another.
	File string
	// Strict makes a wrong check digit of an organization number an error.
	Strict bool
	// Claim is what a client assertion says about a tenant: the claim's name and its value. If nil, explain leaves it out.
	Claim func(tenantmap.Tenant) (name string, value json.RawMessage)
	// Brreg and Addresses connect to the registers; the error says why that can't be done, for people. If nil, this
	// program has none.
	Brreg     func() (Brreg, error)
	Addresses func() (Addresses, error)
	// Status asks HelseID Selvbetjening about the tenant with this parent. If nil, nobody can be asked.
	Status func(ctx context.Context, parent string) (TenantStatus, error)
	// Do sends a request to the running sidecar that onboard's --sidecar names. If nil, none is asked.
	Do func(*http.Request) (*http.Response, error)
	// Random makes journal-ids. If nil, crypto/rand.
	Random io.Reader
	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// usageError is a command line that can't be carried out.
type usageError struct{ problem string }

func (e usageError) Error() string { return e.problem }

// failure is what went wrong, with what to do about it.
type failure struct {
	message, mend string
	findings      []finding
}

func (e failure) Error() string { return e.message }

// errFound ends a command that has printed what it found.
var errFound = errors.New("found errors")

// desk is one command being carried out.
type desk struct {
	Options
	out   printer
	flags *flag.FlagSet
	file  string // of -f
	json  bool
}

var commands = map[string]func(*desk, context.Context, []string) error{
	"lint": (*desk).lint, "explain": (*desk).explain, "add": (*desk).add, "list": (*desk).list, "onboard": (*desk).onboard,
}

// Run carries out one command and returns the exit code.
func Run(ctx context.Context, o Options) int {
	d := newDesk(o)
	if len(o.Args) == 0 {
		return d.end(usageError{"name a command"})
	}
	name := o.Args[0]
	if slices.Contains([]string{"help", "-h", "--help"}, name) {
		_, _ = fmt.Fprint(o.Stdout, usage)
		return exitDone
	}
	run, ok := commands[name]
	if !ok {
		return d.end(usageError{fmt.Sprintf("there is no command %q", clean(name))})
	}
	return d.end(run(d, ctx, o.Args[1:]))
}

// Misconfigured tells what is wrong with the configuration that a command was to go by, and returns the exit code.
func Misconfigured(o Options, err error) int {
	d := newDesk(o)
	if d.json = asksJSON(o.Args); d.json {
		d.tell(err)
	} else {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
	}
	return exitUsage
}

// asksJSON reports whether a command line asks for JSON, also one that can't be read to its end.
func asksJSON(args []string) bool {
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if (name == "-o" || name == "--o") && value == "json" {
			return true
		}
	}
	return false
}

func newDesk(o Options) *desk {
	d := &desk{Options: o, out: printer{to: o.Stdout, color: o.Color}, flags: flag.NewFlagSet("", flag.ContinueOnError)}
	if d.Now == nil {
		d.Now = time.Now
	}
	d.flags.SetOutput(io.Discard)
	d.flags.StringVar(&d.file, "f", o.File, "")
	d.flags.Func("o", "", func(format string) error {
		if format != "json" && format != "text" {
			return errors.New("-o is json or text")
		}
		d.json = format == "json"
		return nil
	})
	return d
}

// parse reads the flags, which may stand before, between and behind the words it returns.
func (d *desk) parse(args []string, most int) ([]string, error) {
	var words []string
	for {
		if err := d.flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err.Error()}
		}
		if args = d.flags.Args(); len(args) == 0 {
			break
		}
		words, args = append(words, args[0]), args[1:]
	}
	if len(words) > most {
		return nil, usageError{fmt.Sprintf("%q is one word too many", words[most])}
	}
	return words, nil
}

// command is how the command line begins, as far as it is known, and that command's usage.
func (d *desk) command() (name, own string) {
	const all = "sidecar tenants"
	if len(d.Args) > 0 && usages[d.Args[0]] != "" {
		return all + " " + d.Args[0], usages[d.Args[0]]
	}
	return all, ""
}

// end tells how a command ended, and returns its exit code.
func (d *desk) end(err error) int {
	name, own := d.command()
	if wrong, ok := errors.AsType[usageError](err); ok {
		help := name + " -h"
		if asksJSON(d.Args) {
			_ = d.encode(map[string]any{"error": errorJSON{Message: wrong.problem, Mend: "see " + help}})
			return exitUsage
		}
		_, _ = fmt.Fprintf(d.Stderr, "%s: %s\n", name, clean(wrong.problem))
		if own == "" {
			_, _ = fmt.Fprintf(d.Stderr, "\n%s", usage)
		} else {
			_, _ = fmt.Fprintf(d.Stderr, "see %s\n", help)
		}
		return exitUsage
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(d.Stdout, own+commonUsage)
		return exitDone
	case errors.Is(err, errFound):
	default:
		d.tell(err)
	}
	return exitFailed
}

// tell prints a failure: for people to Stderr, for programs to Stdout.
func (d *desk) tell(err error) {
	f, ok := errors.AsType[failure](err)
	if !ok {
		f = failure{message: err.Error()}
	}
	if d.json {
		_ = d.encode(map[string]any{"error": errorJSON{Message: f.message, Mend: f.mend, Findings: f.findings}})
		return
	}
	p := printer{to: d.Stderr, color: false}
	p.say("sidecar tenants: %s\n", f.message)
	if f.mend != "" {
		p.say("  mend: %s\n", f.mend)
	}
	p.findings(f.findings)
}

// errorJSON is a failure for programs.
type errorJSON struct {
	Message  string    `json:"message"`
	Mend     string    `json:"mend,omitempty"`
	Findings []finding `json:"findings,omitempty"`
}

// encode prints one JSON document. Names in a registry are shown as they are, so nothing is escaped for HTML.
func (d *desk) encode(v any) error {
	e := json.NewEncoder(d.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
