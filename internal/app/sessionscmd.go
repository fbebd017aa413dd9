package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/telemetry"
)

// sessions lists sessions, or ends them, for whoever operates the sidecar.
func sessions(ctx context.Context, o Options) int {
	if len(o.Args) == 0 || o.Args[0] != "list" && o.Args[0] != "end" {
		return misused(o)
	}
	word := o.Args[0]
	ask, err := readSessions(word, o.Args[1:])
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: sessions %s: %v\nsee sidecar sessions -h\n", word, err)
		return exitUsage
	}
	run := &sessionsRun{o: o, ask: ask, interactive: terminal(o.Stdin) && terminal(o.Stderr)}
	if o.Stdin != nil {
		run.stdin = bufio.NewReader(o.Stdin)
	} else {
		run.stdin = bufio.NewReader(bytes.NewReader(nil))
	}
	if run.interactive && ask.pid != "" {
		_, _ = fmt.Fprint(o.Stderr, "National identity number: ")
	}
	if err := ask.readPID(run.stdin); err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: sessions %s: %v\n", word, err)
		return exitUsage
	}
	if run.desk, err = openDesk(o, ask); err != nil {
		return failed(o, err)
	}
	defer run.desk.close()
	if word == "list" {
		return run.list(ctx)
	}
	return run.end(ctx)
}

// openDesk finds the sessions: in the store that replicas share, or in the running
// process, which keeps the others.
func openDesk(o Options, ask *sessionsAsk) (sessionDesk, error) {
	cfg, err := config.LoadPart(o.Environ, "SIDECAR_STORE")
	if err != nil {
		return nil, err
	}
	if !cfg.Keep.Shared() {
		return openRemote(o.Environ)
	}
	if cfg, _, err = config.Load(o.Environ); err != nil {
		return nil, err
	}
	log, _ := telemetry.NewLogger(o.Stderr, cfg.Log.Level, cfg.Log.Format)
	desk, err := visitStore(cfg, log, versionOf(o))
	desk.countSFM = ask.sfm
	return desk, err
}

// sessionsRun is one run of the command.
type sessionsRun struct {
	o           Options
	ask         *sessionsAsk
	desk        sessionDesk
	stdin       *bufio.Reader
	interactive bool // somebody can be asked
}

// failed says what went wrong, and what to do about it.
func (s *sessionsRun) failed(err error) int {
	code, hint := failed(s.o, err), ""
	if u, ok := errors.AsType[*unasked](err); ok {
		hint = u.mend
	} else if p, ok := errors.AsType[*session.Error](err); ok && p.Code() == "store-unavailable" {
		hint = "the store that SIDECAR_STORE names must answer; see store-unavailable in docs/operating.md"
	}
	if hint != "" {
		_, _ = fmt.Fprintf(s.o.Stderr, "hint: %s\n", hint)
	}
	return code
}

func (s *sessionsRun) list(ctx context.Context) int {
	out := newRows(s.o.Stdout, s.ask.json, tableHead)
	unreadable, err := s.desk.list(ctx, s.ask.choice, func(row sessionRow) error { return out.add(row, row.line()) })
	if err := errors.Join(err, out.end(err == nil, count{"count", out.n}, count{"unreadable", unreadable})); err != nil {
		return s.failed(err)
	}
	if out.n == 0 && !s.ask.json {
		_, _ = fmt.Fprintln(s.o.Stderr, "There is no such session.")
	}
	s.tellUnreadable(unreadable)
	return exitDone
}

// tellUnreadable says that there may be more sessions than could be looked at.
func (s *sessionsRun) tellUnreadable(n int) {
	if n > 0 {
		_, _ = fmt.Fprintf(s.o.Stderr, "sidecar: %s could not be read: sealed with a key that is not in SIDECAR_STORE_KEY,"+
			" written by a newer version, or damaged; whose they are is not known\n", howMany(n, "entry", "entries"))
	}
}

func (s *sessionsRun) end(ctx context.Context) int {
	n, code := s.resolve(ctx)
	switch {
	case code != exitDone:
		return code
	case s.ask.dry:
		s.ask.choice.Open = true
		return s.list(ctx)
	case n > 0 && !s.confirmed(n):
		return exitUsage
	}
	out := newRows(s.o.Stdout, s.ask.json, "")
	var ended, over, kept, undone int
	unreadable, err := s.desk.end(ctx, s.ask.choice, func(row endedRow) {
		switch row.Outcome {
		case hasEnded:
			ended++
		case wasOver:
			over++
		default:
			kept++
		}
		undone += len(row.Undone)
		_ = out.add(row, row.lines()) // that nobody reads does not stop it
		_ = out.out.Flush()
	})
	summary := out.end(err == nil, count{"ended", ended}, count{"was_over", over}, count{"not_ended", kept}, count{"unreadable", unreadable})
	if !s.ask.json {
		_, _ = fmt.Fprintln(s.o.Stdout, summaryOf(ended, over, kept))
	}
	s.tellUnreadable(unreadable)
	if err := errors.Join(err, summary); err != nil {
		return s.failed(err)
	}
	if kept+undone+unreadable > 0 {
		return exitFailed
	}
	return exitDone
}

// resolve counts what would end, and finds the whole IDs of those that were named by a
// part of theirs. Nothing ends unless each of them names one session.
func (s *sessionsRun) resolve(ctx context.Context) (n int, code int) {
	named, found := s.ask.choice.IDs, map[string][]string{} // by what was given
	_, err := s.desk.list(ctx, s.ask.choice, func(row sessionRow) error {
		if row.Open {
			n++
		}
		for _, begin := range named {
			if strings.HasPrefix(row.ID, begin) && len(found[begin]) < 2 && !slices.Contains(found[begin], row.ID) {
				found[begin] = append(found[begin], row.ID)
			}
		}
		return nil
	})
	if err != nil {
		return 0, s.failed(err)
	}
	var whole []string
	for i, begin := range named {
		switch matches := found[begin]; len(matches) {
		case 1:
			whole = append(whole, matches[0])
		case 0:
			_, _ = fmt.Fprintf(s.o.Stderr, "sidecar: no session has ID number %d of those given; nothing was ended\n"+
				"hint: sidecar sessions list shows the IDs; a handle is none\n", i+1)
			return 0, exitFailed
		default:
			_, _ = fmt.Fprintf(s.o.Stderr, "sidecar: more than one session has an ID that begins like number %d of those given; nothing was ended\n"+
				"hint: give more of it; --json shows whole IDs\n", i+1)
			return 0, exitUsage
		}
	}
	s.ask.choice.IDs = whole
	return n, exitDone
}

// confirmed asks whoever sits there. Where nobody can be asked, more than one session
// ends by --yes alone.
func (s *sessionsRun) confirmed(n int) bool {
	what := howMany(n, "session", "sessions")
	switch {
	case s.ask.yes, n == 1 && !s.interactive:
		return true
	case !s.interactive:
		_, _ = fmt.Fprintf(s.o.Stderr, "sidecar: %s would end; nothing was ended\nhint: say --yes, or look with --dry-run first\n", what)
		return false
	}
	_, _ = fmt.Fprintf(s.o.Stderr, "End %s? [y/N] ", what)
	answer, _ := readLine(s.stdin)
	if slices.Contains([]string{"y", "yes", "j", "ja"}, strings.ToLower(strings.TrimSpace(answer))) {
		return true
	}
	_, _ = fmt.Fprintln(s.o.Stderr, "Nothing was ended.")
	return false
}

// tableHead and line are the columns of the list.
const tableForm = "%-12s  %-7s  %-20s  %-20s  %-20s  %-5s  %-8s  %-3s  %s\n"

var tableHead = fmt.Sprintf(tableForm, "ID", "STATE", "BEGUN", "LAST USED", "ENDS", "LEVEL", "OWNER", "SFM", "LIMITED TO")

// shortID is how much of an ID the table shows: enough to name the session.
const shortID = 12

func (r *sessionRow) line() string {
	sfm := "-"
	if r.SFM != nil {
		sfm = fmt.Sprint(*r.SFM)
	}
	return fmt.Sprintf(tableForm, plain(r.ID[:min(shortID, len(r.ID))]), plain(string(r.State)), moment(r.Begun), moment(r.Used), moment(r.Expires),
		dash(plain(r.SecurityLevel)), dash(plain(r.Owner)), sfm, limits(r.Tenants))
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// limits are the organizations that a session is limited to, some of them.
func limits(tenants []session.Tenant) string {
	const shown = 3
	var all []string
	for _, t := range tenants {
		name := t.Parent
		if t.Child != "" {
			name += ":" + t.Child
		}
		if name = plain(name); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(all) > shown {
		all = append(all[:shown], fmt.Sprintf("and %d more", len(all)-shown))
	}
	return dash(strings.Join(all, " "))
}

// lines say what became of one session.
func (r *endedRow) lines() string {
	text := fmt.Sprintf("%s  %s\n", plain(r.ID), plain(r.Outcome))
	if r.Error != "" {
		text += "  " + plain(r.Error) + "\n"
	}
	for _, undone := range r.Undone {
		text += "  " + plain(undone) + "\n"
	}
	return text
}

func summaryOf(ended, over, kept int) string {
	text := howMany(ended, "session", "sessions") + " ended"
	if over > 0 {
		text += fmt.Sprintf(", %d had ended before", over)
	}
	if kept > 0 {
		text += fmt.Sprintf(", %d could not be ended", kept)
	}
	return text + "."
}

// howMany counts in words.
func howMany(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
