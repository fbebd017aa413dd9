package doctor

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// How the report is set for people: the status, and behind it the step with its four answers, one below the other.
const (
	statusWidth = 9
	labelWidth  = 7
	lineWidth   = 108
)

// ANSI escapes (ECMA-48 8.3.117) for the status words.
var colours = map[string]string{
	string(OK): "\x1b[32m", string(Warning): "\x1b[33m", string(Failed): "\x1b[31m", string(Skipped): "\x1b[2m",
	string(Certain): "\x1b[32m", string(Likely): "\x1b[33m", string(Open): "\x1b[2m",
}

const plain = "\x1b[0m"

// WriteText writes the report for people, in colour if asked to.
func (r *Report) WriteText(w io.Writer, colour bool) error {
	t := &text{w: bufio.NewWriter(w), colour: colour}
	for _, s := range r.Steps {
		t.step(s)
	}
	if len(r.Answers) > 0 {
		_, _ = t.w.WriteString("What was learned\n\n")
	}
	for _, a := range r.Answers {
		t.answer(a)
	}
	t.settings(r.Answers)
	_, _ = fmt.Fprintf(t.w, "%d steps: %d ok, %d with warnings, %d failed, %d skipped\n",
		len(r.Steps), r.count(OK), r.count(Warning), r.count(Failed), r.count(Skipped))
	if err := t.w.Flush(); err != nil { // it remembers the first failure of all writes
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

type text struct {
	w      *bufio.Writer
	colour bool
}

func (t *text) step(s Step) {
	title := s.Name
	if s.Subject != "" {
		title += " " + s.Subject
	}
	t.head(string(s.Status), title)
	if s.Status != Skipped { // else it was not
		t.line("tried", s.Tried)
	}
	t.line("found", s.Found)
	width := 0
	for _, f := range s.Details {
		width = max(width, len(f.Name))
	}
	for _, f := range s.Details {
		t.columns("", fmt.Sprintf("%-*s  ", width, f.Name), f.Value)
	}
	t.line("means", s.Means)
	t.line("do", s.Do)
	_ = t.w.WriteByte('\n')
}

func (t *text) answer(a Answer) {
	t.head(string(a.Sure), a.Asks)
	t.line("answer", a.Answer)
	t.line("seen", a.How)
	for _, line := range a.Set {
		t.line("set", line)
	}
	_ = t.w.WriteByte('\n')
}

// settings repeats what to set, ready to be copied.
func (t *text) settings(answers []Answer) {
	var all []string
	for _, a := range answers {
		all = append(all, a.Set...)
	}
	switch {
	case len(answers) == 0:
		return
	case len(all) == 0:
		_, _ = t.w.WriteString("Nothing needs to be set.\n\n")
		return
	}
	_, _ = t.w.WriteString("To set:\n  " + strings.Join(all, "\n  ") + "\n\n")
}

func (t *text) head(status, title string) {
	padding := strings.Repeat(" ", max(0, statusWidth-len(status)))
	if t.colour {
		status = colours[status] + status + plain
	}
	_, _ = t.w.WriteString(status + padding + title + "\n")
}

// line writes one labelled text, broken between words. What another server said may be among it; control characters
// could do things to a terminal.
func (t *text) line(label, value string) {
	if value != "" {
		t.columns(label, "", value)
	}
}

// columns writes a text behind a name. What it is broken into stands below the text, not below the name.
func (t *text) columns(label, name, value string) {
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, value)
	for _, line := range wrap(value, max(lineWidth-statusWidth-labelWidth-len(name), lineWidth/2)) {
		_, _ = fmt.Fprintf(t.w, "%*s%-*s%s%s\n", statusWidth, "", labelWidth, label, name, line)
		label, name = "", strings.Repeat(" ", len(name))
	}
}

// wrap breaks s at spaces into lines of at most width characters; a longer word stays whole. A text that fits keeps its
// own spaces.
func wrap(s string, width int) []string {
	if len([]rune(s)) <= width {
		return []string{s}
	}
	var lines []string
	line, length := "", 0
	for _, word := range strings.Fields(s) {
		n := len([]rune(word))
		if length > 0 && length+1+n > width {
			lines, line, length = append(lines, line), "", 0
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+n
	}
	return append(lines, line)
}
