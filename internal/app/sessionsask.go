package app

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sfm-sidecar/internal/session"
)

// sessionsAsk is the command line of sidecar sessions.
type sessionsAsk struct {
	choice              session.Choice
	pid, pidFile        string
	all, yes, dry, json bool
	sfm                 bool // count SFM sessions, too, where that costs something
	states              string
	older, unused       string
}

var (
	idForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{6,43}$`)
	pidForm    = regexp.MustCompile(`^[0-9]{11}$`)
	hprForm    = regexp.MustCompile(`^[0-9]{1,9}$`)
	orgnrForm  = regexp.MustCompile(`^[0-9]{9}$`)
	dashedForm = regexp.MustCompile(`^-(.{11}|.{42})$`)
)

// errBarePID is the refusal of a national identity number among the arguments.
var errBarePID = errors.New("a national identity number among the arguments stands in the list of processes and in the shell's history;" +
	" give it on the standard input (--pid -), or in a file (--pid-file FILE)")

// readSessions reads the command line behind "list" or "end". Flags may stand behind IDs.
func readSessions(word string, args []string) (*sessionsAsk, error) {
	a := new(sessionsAsk)
	flags := flag.NewFlagSet("sessions "+word, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.StringVar(&a.pid, "pid", "", "")
	flags.StringVar(&a.pidFile, "pid-file", "", "")
	flags.StringVar(&a.choice.Person.HPRNumber, "hpr", "", "")
	flags.StringVar(&a.choice.Person.Subject, "sub", "", "")
	flags.StringVar(&a.choice.Organization, "orgnr", "", "")
	flags.StringVar(&a.states, "state", "", "")
	flags.StringVar(&a.older, "older-than", "", "")
	flags.StringVar(&a.unused, "unused-for", "", "")
	flags.BoolVar(&a.json, "json", false, "")
	if word == "list" {
		flags.BoolVar(&a.sfm, "sfm", false, "")
	}
	if word == "end" {
		flags.BoolVar(&a.all, "all", false, "")
		flags.BoolVar(&a.yes, "yes", false, "")
		flags.BoolVar(&a.dry, "dry-run", false, "")
	}
	ids, args := dashedIDs(flags, args)
	a.choice.IDs = ids
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return a, harmless(err)
		}
		if args = flags.Args(); len(args) > 0 {
			a.choice.IDs, args = append(a.choice.IDs, args[0]), args[1:]
		}
	}
	if err := errors.Join(a.checkPerson(flags), a.checkRest()); err != nil {
		return a, err
	}
	return a, a.checkSelection(word)
}

var elevenDigits = regexp.MustCompile(`[0-9]{11}`)

// harmless is what the flags' own parser says, unless that repeats what may be a
// national identity number.
func harmless(err error) error {
	if elevenDigits.MatchString(err.Error()) {
		return errors.New("flag provided but not defined, or with a wrong value")
	}
	return err
}

// dashedIDs takes those IDs out of the arguments that would pass for flags: one ID of
// some sixty begins with a dash. They are as long as those that the list shows.
func dashedIDs(flags *flag.FlagSet, args []string) (ids, rest []string) {
	value := false // of the flag before
	for _, arg := range args {
		known := flags.Lookup(strings.TrimLeft(arg, "-"))
		if !value && known == nil && dashedForm.MatchString(arg) && idForm.MatchString(arg) {
			ids = append(ids, arg)
			continue
		}
		value = !value && strings.HasPrefix(arg, "-") && known != nil && !isToggle(known)
		rest = append(rest, arg)
	}
	return ids, rest
}

// isToggle says whether a flag takes no value.
func isToggle(f *flag.Flag) bool {
	toggle, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && toggle.IsBoolFlag()
}

// checkPerson sees that at most one person is named, and no national identity number
// in the open.
func (a *sessionsAsk) checkPerson(flags *flag.FlagSet) error {
	named, empty := 0, ""
	flags.Visit(func(f *flag.Flag) {
		if slices.Contains([]string{"pid", "pid-file", "hpr", "sub"}, f.Name) {
			named++
		}
		if f.Value.String() == "" {
			empty = f.Name
		}
	})
	who := &a.choice.Person
	switch {
	case empty != "":
		return fmt.Errorf("--%s is empty", empty) // a variable of a script that was not set, most often
	case a.pid != "" && a.pid != "-", pidForm.MatchString(who.Subject), pidForm.MatchString(who.HPRNumber), pidForm.MatchString(a.pidFile),
		slices.ContainsFunc(a.choice.IDs, pidForm.MatchString):
		return errBarePID
	case named > 1:
		return errors.New("--pid, --pid-file, --hpr and --sub name one person; give one of them")
	case who.HPRNumber != "" && !hprForm.MatchString(who.HPRNumber):
		return errors.New("--hpr takes an HPR number of at most nine digits")
	}
	return nil
}

// checkRest reads what is left.
func (a *sessionsAsk) checkRest() (err error) {
	for i, id := range a.choice.IDs {
		if !idForm.MatchString(id) { // which is not repeated: it may be a handle, or worse
			return fmt.Errorf("ID number %d is none: the list shows them, and the first six characters are the least that is taken", i+1)
		}
	}
	if a.choice.Organization != "" && !orgnrForm.MatchString(a.choice.Organization) {
		return errors.New("--orgnr takes an organization number of nine digits")
	}
	for name := range strings.SplitSeq(a.states, ",") {
		if name = strings.TrimSpace(name); name != "" {
			a.choice.States = append(a.choice.States, session.State(name))
		}
	}
	if a.choice.OlderThan, err = readAge("older-than", a.older); err != nil {
		return err
	}
	if a.choice.UnusedFor, err = readAge("unused-for", a.unused); err != nil {
		return err
	}
	if err := a.choice.Check(); err != nil {
		return errors.New("--state takes pending, active, expired or failed, or several of them with commas")
	}
	return nil
}

// checkSelection wants sessions to be ended by one thing that was said on purpose.
func (a *sessionsAsk) checkSelection(word string) error {
	if word != "end" {
		return nil
	}
	selections := 0
	for _, given := range []bool{len(a.choice.IDs) > 0, a.named(), a.choice.Organization != "", a.all} {
		if given {
			selections++
		}
	}
	if selections != 1 {
		return errors.New("say which sessions are to end by one of: their IDs, a person (--pid -, --pid-file, --hpr, --sub), --orgnr, or --all")
	}
	return nil
}

// named says whether a person is.
func (a *sessionsAsk) named() bool {
	return a.pid != "" || a.pidFile != "" || a.choice.Person != session.Expect{}
}

// readAge reads a length of time, in days too.
func readAge(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 12)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("--%s takes a time of a second or more, such as 90m, 12h or 7d", name)
	}
	return d, nil
}

// maxPID bounds what is read to find a national identity number.
const maxPID = 256

// readPID gets the national identity number from where it was said to be.
func (a *sessionsAsk) readPID(stdin *bufio.Reader) error {
	if a.pid == "" && a.pidFile == "" {
		return nil
	}
	read := func() (string, error) { return readOnlyLine(stdin) }
	if a.pidFile != "" {
		read = func() (string, error) { return readShort(a.pidFile) }
	}
	line, err := read()
	if err != nil {
		return fmt.Errorf("the national identity number could not be read: %w", err)
	}
	if a.choice.Person.PID = strings.TrimSpace(line); !pidForm.MatchString(a.choice.Person.PID) {
		return errors.New("what was given as national identity number is none: it has eleven digits, and nothing else may stand there")
	}
	return nil
}

// readShort reads a file, or the beginning of a long one.
func readShort(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxPID))
	return string(content), err
}

// readOnlyLine reads a line, and what came along with it: a second number would be passed
// over otherwise. It does not wait for more, which may be somebody's answer to a question.
func readOnlyLine(r *bufio.Reader) (string, error) {
	line, err := readLine(r)
	if err != nil {
		return "", err
	}
	more, err := r.Peek(r.Buffered())
	if len(bytes.TrimSpace(more)) > 0 {
		line += string(more)
	}
	return line, err
}

// readLine reads a line of bounded length; what comes after it stays.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < maxPID {
		b, err := r.ReadByte()
		if errors.Is(err, io.EOF) && len(line) > 0 {
			break
		}
		if err != nil {
			return "", err
		}
		if line = append(line, b); b == '\n' {
			break
		}
	}
	return string(line), nil
}
