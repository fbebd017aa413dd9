package service

import (
	"bytes"
	"encoding/json"
	"strings"
)

// severity is how grave an entry of the Event Log is.
type severity int

const (
	information severity = iota
	warning
	failure
)

// severityOf reads how grave a line of the log is. Lines that are no JSON are what
// the program says before it has a log, or text as LOG_FORMAT=text has it.
func severityOf(line []byte) severity {
	var entry struct{ Level string }
	if json.Unmarshal(line, &entry) == nil {
		switch entry.Level {
		case "ERROR":
			return failure
		case "WARN":
			return warning
		}
		return information
	}
	switch words := strings.Fields(string(line[:min(len(line), 64)])); {
	case bytes.HasPrefix(line, []byte("sidecar: warning:")), len(words) > 1 && words[1] == "WRN":
		return warning
	case bytes.HasPrefix(line, []byte("sidecar:")), len(words) > 1 && words[1] == "ERR":
		return failure
	}
	return information
}

// maxEvent is a little below what an entry of the Event Log may hold (31839
// characters).
const maxEvent = 30000

// eventText is a line as an entry: no line end, no NUL (which would end it early,
// and is refused), not too long.
func eventText(line []byte) string {
	text := strings.TrimRight(string(line[:min(len(line), maxEvent)]), "\r\n")
	return strings.ReplaceAll(text, "\x00", " ")
}
