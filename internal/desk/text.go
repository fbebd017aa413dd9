package desk

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printer writes text for people. Whatever comes from a file or a register is cleaned: it must not move the cursor of a
// terminal, or colour a finding away.
type printer struct {
	to    io.Writer
	color bool
}

// styled is text that the printer made itself and that is not cleaned again.
type styled string

// clean replaces what a terminal would act on.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
			return '\uFFFD'
		}
		return r
	}, s)
}

// say is Fprintf with every string, error and Stringer cleaned.
func (p printer) say(format string, args ...any) {
	for i, arg := range args {
		switch v := arg.(type) {
		case styled, int, bool:
		case string:
			args[i] = clean(v)
		default:
			args[i] = clean(fmt.Sprint(v))
		}
	}
	_, _ = fmt.Fprintf(p.to, format, args...)
}

// The escapes of ECMA-48 that are used.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours cleaned text.
func (p printer) paint(style, text string) styled {
	text = clean(text)
	if !p.color || style == "" || strings.TrimSpace(text) == "" {
		return styled(text)
	}
	return styled("\x1b[" + style + "m" + text + "\x1b[0m")
}

// cell is one field of a table.
type cell struct{ text, style string }

// table prints rows with aligned columns, indented by so many spaces.
func (p printer) table(indent int, rows [][]cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < lastOf(row) { // what ends a line needs no room for what follows
				widths[i] = max(widths[i], utf8.RuneCountInString(clean(c.text)))
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		line.WriteString(strings.Repeat(" ", indent))
		last := lastOf(row)
		for i, c := range row[:last+1] {
			line.WriteString(string(p.paint(c.style, c.text)))
			if i < last {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(clean(c.text))+2))
			}
		}
		_, _ = fmt.Fprintln(p.to, strings.TrimRight(line.String(), " "))
	}
}

// lastOf is the index of the last cell that holds anything.
func lastOf(row []cell) int {
	last := len(row) - 1
	for last > 0 && row[last].text == "" {
		last--
	}
	return last
}

// wrap breaks text at spaces, so that no line is longer than width, where the words let it.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// count is a number with its noun: "1 error", "2 errors".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
