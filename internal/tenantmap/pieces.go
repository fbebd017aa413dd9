package tenantmap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"unicode/utf8"
)

// A large registry is read in pieces. The library makes some eighty bytes of every byte that it reads, and reads on one
// processor; cut between journals and between tenants, a file of any size needs little memory and all processors.
//
// Only what is beyond doubt is cut: "journals:" and "tenants:" each at the beginning of a line, what is below them
// indented alike. A cut at a wrong place can't go unseen: in YAML what continues a value is indented more than what it
// is part of, and where the library lets a quoted text or a bracket go on further left, the piece ends inside of it,
// which is a fault.

// section is what the lines being read belong to.
type section int

const (
	noSection section = iota
	journalSection
	tenantSection
)

// piece is some journals or some tenants, with all their lines.
type piece struct {
	section section
	line    int // of the first byte, counted from 1
	text    []byte
}

const (
	pieceSize = 128 << 10 // enough to be worth handing over
	maxPiece  = 1 << 20   // of one journal or tenant
)

// irregular is that a file can't be cut at a line.
type irregular struct {
	line   int
	reason string
	mend   string // empty: a registry of this size needs another form
}

func (i *irregular) Error() string { return i.reason }

// header is a line that begins a section, and may say at once that there is nothing in it.
var header = regexp.MustCompile(`^(journals|tenants):[ ]*(\[[ ]*\]|\{[ ]*\})?[ ]*([ ]#.*)?\r?\n?$`)

// splitter cuts a file.
type splitter struct {
	emit    func(piece) error
	line    int // being read
	section section
	closed  bool // the section was said to be empty
	indent  int  // of the section's items, -1 before the first
	seen    [tenantSection + 1]bool
	current piece
}

// split cuts what r holds and hands over the pieces. Its errors are [irregular], those of r and those of emit.
func split(r io.Reader, emit func(piece) error) error {
	s := splitter{emit: emit, indent: -1}
	lines := bufio.NewReaderSize(r, pieceSize)
	var long []byte // a line longer than the buffer
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(long) > 0 {
			long = append(long, line...)
			line = long
			if len(long) > maxPiece {
				return &irregular{line: s.line + 1, reason: "is too long a line"}
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		s.line++
		if s.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if failed := s.take(line); failed != nil {
			return failed
		}
		long = long[:0]
		if err != nil {
			return s.end()
		}
	}
}

// take adds one line.
func (s *splitter) take(line []byte) error {
	if !utf8.Valid(line) {
		return &irregular{line: s.line, reason: "holds what is no text in UTF-8"}
	}
	if reason, mend := foreign(line); reason != "" {
		return &irregular{s.line, reason, mend}
	}
	content := bytes.TrimLeft(line, " ")
	indent := len(line) - len(content)
	switch rest := bytes.Trim(content, " \t\r\n"); {
	case len(rest) == 0 || rest[0] == '#' && content[0] == '#':
		if len(s.current.text) == 0 {
			return nil
		}
		return s.add(line)
	case indent == 0 && !s.dash(content):
		return s.top(line)
	case s.section == noSection || s.closed:
		return &irregular{line: s.line, reason: "belongs neither to journals nor to tenants"}
	}
	if s.indent < 0 {
		s.indent = indent
	}
	switch {
	case content[0] == '\t' || indent < s.indent:
		return &irregular{line: s.line, reason: "is not indented like what is above it"}
	case indent == s.indent && s.section == journalSection && !s.dash(content):
		return &irregular{line: s.line, reason: "does not begin a journal with a hyphen"}
	case indent == s.indent && len(s.current.text) >= pieceSize:
		if err := s.flush(); err != nil {
			return err
		}
	}
	return s.add(line)
}

// foreign says what a line of a registry may not hold, not even in a comment: what the YAML library takes for the end of
// a line and an editor shows as a blank, or the other way round. What stands behind it would be read and not be seen.
func foreign(line []byte) (reason, mend string) {
	text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	switch {
	case bytes.IndexByte(text, '\r') >= 0:
		return "has a carriage return in its middle", "end lines with LF, or CR and LF"
	case bytes.IndexByte(text, 0) >= 0:
		return "is no text in UTF-8", "save the file as UTF-8"
	case bytes.Contains(text, []byte("\u0085")), bytes.Contains(text, []byte("\u2028")), bytes.Contains(text, []byte("\u2029")):
		return "has a character that is a line end to some programs alone", "remove it, and end lines with LF"
	}
	return "", ""
}

// dash reports whether a line begins a journal.
func (s *splitter) dash(content []byte) bool {
	return s.section == journalSection && content[0] == '-' && (len(content) == 1 || bytes.IndexByte([]byte(" \r\n"), content[1]) >= 0)
}

// top takes a line that begins at the left margin.
func (s *splitter) top(line []byte) error {
	found := header.FindSubmatch(line)
	if found == nil {
		if string(bytes.TrimSpace(line)) == "---" && s.section == noSection && !s.seen[noSection] {
			s.seen[noSection] = true
			return nil
		}
		return &irregular{line: s.line, reason: "is neither journals: nor tenants: on a line of its own"}
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.section, s.indent, s.closed = journalSection, -1, len(found[2]) > 0
	if string(found[1]) == "tenants" {
		s.section = tenantSection
	}
	if s.seen[s.section] {
		return &irregular{line: s.line, reason: "begins " + string(found[1]) + " a second time"}
	}
	s.seen[s.section] = true
	if s.closed && (s.section == journalSection) != (found[2][0] == '[') {
		return &irregular{line: s.line, reason: "is no " + map[section]string{journalSection: "list", tenantSection: "mapping"}[s.section]}
	}
	return nil
}

// add puts a line into the current piece.
func (s *splitter) add(line []byte) error {
	if len(s.current.text) == 0 {
		s.current = piece{section: s.section, line: s.line, text: make([]byte, 0, pieceSize+pieceSize/4)}
	}
	s.current.text = append(s.current.text, line...)
	if len(s.current.text) > maxPiece+pieceSize {
		return &irregular{line: s.current.line, reason: "begins a journal or tenant that is too long"}
	}
	return nil
}

// end is after the last line.
func (s *splitter) end() error {
	if !s.seen[journalSection] && !s.seen[tenantSection] {
		return &irregular{line: 1, reason: "is the first of a file that says nothing"}
	}
	return s.flush()
}

// flush hands over the current piece.
func (s *splitter) flush() error {
	done := s.current
	s.current = piece{}
	if len(done.text) == 0 {
		return nil
	}
	return s.emit(done)
}
