package app

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"time"

	"sfm-sidecar/internal/session"
)

// Sessions at the admin listener, for the command that lists and ends them: those of a
// store in memory, or in a desktop's key store, are in this process alone. They are
// there on listeners that no other machine reaches, by the rules of every other call.
//
// An answer is lines of JSON, each a deskLine. The last one says that it is whole.
const (
	sessionsPath    = "/sessions"     // GET: all; POST: those that the body chooses
	sessionsEndPath = "/sessions/end" // POST: ends those that the body chooses
)

// sessionsBody is that of a POST. That a national identity number may stand in it
// is why it does not stand in the address.
type sessionsBody struct {
	All          bool            `json:"all,omitempty"` // must be said to end all
	IDs          []string        `json:"ids,omitempty"`
	PID          string          `json:"pid,omitempty"`
	Subject      string          `json:"sub,omitempty"`
	HPRNumber    string          `json:"hpr_number,omitempty"`
	Organization string          `json:"orgnr,omitempty"`
	States       []session.State `json:"states,omitempty"`
	OlderThan    int64           `json:"older_than,omitempty"` // seconds
	UnusedFor    int64           `json:"unused_for,omitempty"`
	Open         bool            `json:"open,omitempty"`
}

// maxSessionsBody bounds it: some thousand IDs.
const maxSessionsBody = 64 << 10

// bodyOf is the body for a choice.
func bodyOf(c session.Choice, all bool) sessionsBody {
	return sessionsBody{
		All: all, IDs: c.IDs, PID: c.Person.PID, Subject: c.Person.Subject, HPRNumber: c.Person.HPRNumber, Organization: c.Organization,
		States: c.States, OlderThan: int64(c.OlderThan / time.Second), UnusedFor: int64(c.UnusedFor / time.Second), Open: c.Open,
	}
}

func (a *sessionsBody) choice() session.Choice {
	return session.Choice{
		IDs: a.IDs, Person: session.Expect{PID: a.PID, Subject: a.Subject, HPRNumber: a.HPRNumber}, Organization: a.Organization,
		States: a.States, OlderThan: time.Duration(a.OlderThan) * time.Second, UnusedFor: time.Duration(a.UnusedFor) * time.Second,
		Open: a.Open,
	}
}

// selections are how many ways of naming sessions are used; one ends what it names.
func (a *sessionsBody) selections() (n int) {
	person := a.PID != "" || a.Subject != "" || a.HPRNumber != ""
	for _, given := range []bool{a.All, len(a.IDs) > 0, person, a.Organization != ""} {
		if given {
			n++
		}
	}
	return n
}

// deskLine is a line of an answer; one of its members is set.
type deskLine struct {
	Session *sessionRow `json:"session,omitempty"`
	Ended   *endedRow   `json:"ended,omitempty"`
	Done    *deskDone   `json:"done,omitempty"`
}

type deskDone struct {
	Unreadable int    `json:"unreadable,omitempty"`
	Error      string `json:"error,omitempty"`
}

// serveSessions answers both addresses.
func (s *Sidecar) serveSessions(w http.ResponseWriter, r *http.Request) {
	if !s.fromHere(r) {
		s.elsewhere(w, r, "sessions are listed and ended at loopback addresses alone; see SIDECAR_ADMIN_LISTEN")
		return
	}
	ask, err := s.readSessionsCall(w, r)
	if err != nil {
		s.house.proxy.Refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out := &deskWriter{json.NewEncoder(w), http.NewResponseController(w)}
	_ = out.flush() // so that the caller can tell a long answer from none
	var done deskDone
	if desk := (ownDesk{house: s.house}); r.URL.Path == sessionsPath {
		done.Unreadable, err = desk.list(r.Context(), ask.choice(), func(row sessionRow) error { return out.Encode(deskLine{Session: &row}) })
	} else {
		done.Unreadable, err = desk.end(r.Context(), ask.choice(), func(row endedRow) {
			_ = out.Encode(deskLine{Ended: &row}) // who asked may have left; then nothing more is begun
			_ = out.flush()
		})
	}
	if err != nil {
		done.Error = err.Error()
	}
	_ = out.Encode(deskLine{Done: &done})
}

// deskWriter writes an answer line by line.
type deskWriter struct {
	*json.Encoder
	connection *http.ResponseController
}

func (l *deskWriter) flush() error { return l.connection.Flush() }

// readSessionsCall judges a request and reads what it asks for.
func (s *Sidecar) readSessionsCall(w http.ResponseWriter, r *http.Request) (ask sessionsBody, err error) {
	if err := s.house.proxy.Admit(r); err != nil {
		return ask, err
	}
	methods := []string{http.MethodPost}
	if r.URL.Path == sessionsPath {
		methods = []string{http.MethodGet, http.MethodPost}
	}
	if !slices.Contains(methods, r.Method) {
		for _, method := range methods {
			w.Header().Add("Allow", method)
		}
		return ask, &wrongMethod{refusal{"control-unknown", "sessions are listed by GET or POST, and ended by POST"}}
	}
	if r.Method == http.MethodPost {
		if ask, err = readSessionsBody(w, r); err != nil {
			return ask, err
		}
	}
	if c := ask.choice(); c.Check() != nil || ask.OlderThan > maxAge || ask.UnusedFor > maxAge {
		return ask, &refusal{"request-invalid", "the body chooses no sessions as it should"}
	}
	if r.URL.Path == sessionsEndPath && ask.selections() != 1 {
		return ask, &refusal{"request-invalid", "the body does not say by one of all, ids, a person and orgnr which sessions are to end"}
	}
	return ask, nil
}

// maxAge is the longest time that can be asked for, in seconds: more than a session lives.
const maxAge = 10 * 366 * 24 * 3600

// readSessionsBody reads a body. What is wrong with it is not quoted: it may name a person.
func readSessionsBody(w http.ResponseWriter, r *http.Request) (ask sessionsBody, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return ask, &refusal{"request-invalid", "the body must be application/json, and its Content-Type must say so"}
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSessionsBody))
	d.DisallowUnknownFields()
	err = d.Decode(&ask)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("more follows")
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ask, &refusal{"request-invalid", "the body did not come within " + adminBodyTime.String()}
	}
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok && tooLong != nil {
		return ask, &refusal{"request-invalid", "the body is too large"}
	}
	if err != nil {
		return ask, &refusal{"request-invalid", "the body is not the JSON object that this call takes"}
	}
	// It is there. Of any other the rest is not waited for: the deadline stays.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return ask, nil
}
