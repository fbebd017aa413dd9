package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxJournals bounds a list of journals, in bytes.
const maxJournals = 64 << 20

// ReadJournals reads a list of journals in JSON, as GET /_simulator/journals tells it. What is unknown or too much is
// refused, with the line where that can be said. The rules of SFM are for [New] to judge.
func ReadJournals(from io.Reader) ([]Journal, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxJournals+1))
	if err != nil {
		return nil, fmt.Errorf("reading journals: %w", err)
	}
	if len(content) > maxJournals {
		return nil, fmt.Errorf("reading journals: more than %d bytes", maxJournals)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var journals []Journal
	if err := decoder.Decode(&journals); err != nil {
		return nil, fmt.Errorf("reading journals, line %d: %w", 1+bytes.Count(content[:faultAt(err, decoder)], []byte("\n")), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading journals: there is something behind the list")
	}
	return journals, nil
}

// faultAt is where a decoder found a fault, in bytes from the start.
func faultAt(err error, decoder *json.Decoder) int64 {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return syntax.Offset
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrong.Offset
	}
	return decoder.InputOffset()
}

// putJournals replaces all journals.
func (s *Simulator) putJournals(w http.ResponseWriter, r *http.Request) {
	journals, err := ReadJournals(http.MaxBytesReader(w, r.Body, maxJournals))
	if err == nil {
		err = s.sfm.journals.loadJournals(journals, s.people)
	}
	if err != nil {
		writeControl(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	writeControl(w, http.StatusOK, s.Journals())
}
