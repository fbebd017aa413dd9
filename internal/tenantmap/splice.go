package tenantmap

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"sfm-sidecar/internal/journal"
)

// edit puts insert in place of the bytes from..to of a file.
type edit struct {
	file     string
	from, to int
	insert   string
}

// lines are the lines of a text, each with its end.
func (e *Editor) lines(file string) (all [][]byte, newline string) {
	newline = "\n"
	for _, t := range e.texts {
		if t.name == file {
			all = bytes.SplitAfter(t.content, []byte("\n"))
			if bytes.Contains(t.content, []byte("\r\n")) {
				newline = "\r\n"
			}
		}
	}
	if n := len(all); n > 0 && len(all[n-1]) == 0 {
		all = all[:n-1]
	}
	return all, newline
}

// offset is where line i begins, counted from 0.
func offset(lines [][]byte, i int) int {
	bytes := 0
	for _, line := range lines[:i] {
		bytes += len(line)
	}
	return bytes
}

func indentOf(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// bare reports whether a line is blank or holds a comment alone.
func bare(line []byte) bool {
	content := bytes.TrimSpace(line)
	return len(content) == 0 || content[0] == '#'
}

// endOf is the line behind an item that begins at line start: behind its last line, and behind the comments right below
// that are indented like its inside.
func endOf(lines [][]byte, start, indent int) int {
	end := start + 1
	for i := end; i < len(lines); i++ {
		switch deeper := indentOf(lines[i]) > indent; {
		case bare(lines[i]) && !deeper:
			continue
		case !deeper:
			return end
		case bare(lines[i]) && i != end:
			continue
		}
		end = i + 1
	}
	return end
}

// insertLines puts new lines before line at.
func insertLines(file string, lines [][]byte, at, indent int, newline string, block []string) edit {
	var out strings.Builder
	if at > 0 && !bytes.HasSuffix(lines[at-1], []byte("\n")) {
		out.WriteString(newline)
	}
	for _, line := range block {
		out.WriteString(strings.Repeat(" ", indent) + line + newline)
	}
	from := offset(lines, at)
	return edit{file, from, from, out.String()}
}

// appendTo puts an item behind the last one of a section, or begins the section.
func (e *Editor) appendTo(file, name string, item []string) []edit {
	lines, newline := e.lines(file)
	for i, line := range lines {
		found := header.FindSubmatch(line)
		if found == nil || string(found[1]) != name {
			continue
		}
		if len(found[2]) > 0 { // "journals: []": the brackets go
			begin := offset(lines, i)
			block := insertLines(file, lines, i+1, 2, newline, item)
			rest := string(line[bytes.Index(line, found[2])+len(found[2]):])
			return []edit{{
				file, begin + len(name+":"), begin + len(line),
				strings.TrimRight(rest, "\r\n") + newline + strings.TrimPrefix(block.insert, newline),
			}}
		}
		last, indent := i, 2
		for k := i + 1; k < len(lines); k++ {
			if bare(lines[k]) {
				continue
			}
			deep := indentOf(lines[k])
			if deep == 0 && (name == "tenants" || lines[k][0] != '-') {
				break
			}
			if last == i {
				indent = deep
			}
			if deep == indent {
				last = k
			}
		}
		end := i + 1
		if last > i {
			end = endOf(lines, last, indent)
		}
		return []edit{insertLines(file, lines, end, indent, newline, item)}
	}
	begin := []string{name + ":"}
	if len(lines) == 0 {
		begin = []string{"# The tenants that the sidecar knows; docs/tenants.md explains each line.", name + ":"}
	}
	for _, line := range item {
		begin = append(begin, "  "+line)
	}
	return []edit{insertLines(file, lines, len(lines), 0, newline, begin)}
}

// spot is a place in a text.
type spot struct {
	file    string
	lines   [][]byte
	newline string
	line    int // counted from 0
	column  int // in bytes, counted from 0
}

func (e *Editor) spot(at journal.Place) spot {
	p := e.now.Position(at)
	lines, newline := e.lines(p.File)
	// Should the two ever count lines differently, the change is made at a wrong place, and not taken (see apply).
	s := spot{p.File, lines, newline, min(p.Line, len(lines)) - 1, 0}
	for i := range string(lines[s.line]) { // columns count characters
		if p.Column--; p.Column == 0 {
			s.column = i
			break
		}
	}
	return s
}

// from is the text from the spot on.
func (s spot) from() []byte { return bytes.Join(s.lines[s.line:], nil)[s.column:] }

func (s spot) offset() int { return offset(s.lines, s.line) + s.column }

var word = regexp.MustCompile(`^[A-Za-z]+`)

// setTruth writes true or false where a field stands, or adds the field.
func (e *Editor) setTruth(at journal.Place, name string, value bool) []edit {
	if !e.has(at) {
		return e.addField(at, name+": "+strconv.FormatBool(value))
	}
	s := e.spot(at)
	length := len(word.Find(s.from()))
	return []edit{{s.file, s.offset(), s.offset() + length, strconv.FormatBool(value)}}
}

// has reports whether a field is written in the file.
func (e *Editor) has(at journal.Place) bool {
	whole := at
	whole.Field = ""
	return e.now.Position(at) != e.now.Position(whole) || at.Field == "id" || at.Field == "orgnr"
}

// addField adds a member to a journal or an organization: in braces behind the last member, else on a line of its own
// below the first.
func (e *Editor) addField(at journal.Place, member ...string) []edit {
	at.Field = ""
	s := e.spot(at)
	if s.lines[s.line][s.column] == '{' {
		return s.beforeClosing('}', ", "+member[0])
	}
	indent := len(bytes.TrimRight(s.lines[s.line][:s.column], "\r\n")) // of the first member, behind the hyphen
	end := s.line + 1
	for end < len(s.lines) && !bare(s.lines[end]) && indentOf(s.lines[end]) > indent {
		end++
	}
	return []edit{insertLines(s.file, s.lines, end, indent, s.newline, member)}
}

// beforeClosing are the edits that put something before each of the next brackets: one of them is the right one.
func (s spot) beforeClosing(bracket byte, insert string) []edit {
	const tries = 20
	var all []edit
	text, start := s.from(), s.offset()
	for i, c := range text {
		if c != bracket || len(all) == tries {
			continue
		}
		at := start + len(bytes.TrimRight(text[:i], " \r\n"))
		all = append(all, edit{s.file, at, at, insert})
	}
	return all
}

// addToList adds an item to a list that may not be there. The list's way of writing is kept.
func (e *Editor) addToList(at journal.Place, name string, filled bool, item string) []edit {
	if !e.has(at) {
		if name == "aliases" {
			return e.addField(at, name+": ["+item+"]")
		}
		end := e.addAtEnd(at, name+":", "  - "+item)
		return append(end, e.addField(at, name+": ["+item+"]")...)
	}
	s := e.spot(at)
	switch {
	case s.lines[s.line][s.column] != '[':
		return []edit{insertLines(s.file, s.lines, s.endOfList(), s.column, s.newline, []string{"- " + item})}
	case filled:
		return s.beforeClosing(']', ", "+item)
	}
	return s.beforeClosing(']', item)
}

// endOfList is the line behind a list that begins, with its first hyphen, at the spot.
func (s spot) endOfList() int {
	last := s.line
	for i := s.line + 1; i < len(s.lines); i++ {
		if bare(s.lines[i]) || indentOf(s.lines[i]) > s.column {
			continue
		}
		if indentOf(s.lines[i]) < s.column || s.lines[i][s.column] != '-' {
			break
		}
		last = i
	}
	return endOf(s.lines, last, s.column)
}

// addAtEnd adds lines as the last member of a journal that is not in braces.
func (e *Editor) addAtEnd(at journal.Place, member ...string) []edit {
	at.Field = ""
	s := e.spot(at)
	if s.lines[s.line][s.column] == '{' {
		return nil
	}
	hyphen := indentOf(s.lines[s.line])
	return []edit{insertLines(s.file, s.lines, endOf(s.lines, s.line, hyphen), s.column, s.newline, member)}
}
