package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SFM returns the SFM stand-in, to be mounted at the options' SFM address.
func (s *Simulator) SFM() http.Handler { return s.withControl(s.serveSFM) }

const controlPrefix = "/_simulator/"

// maxControlBody bounds what is put to /_simulator/.
const maxControlBody = 1 << 20

// withControl puts /_simulator/ above a stand-in, and the stand-ins' own clock
// into the Date header. No ServeMux: it would clean paths, and what is wrong
// with a path must reach the judge.
func (s *Simulator) withControl(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		if name, isControl := strings.CutPrefix(r.URL.Path, controlPrefix); isControl {
			s.serveControl(w, r, name)
			return
		}
		serve(w, r)
	})
}

// serveControl is the simulator's own interface, for tests in other languages:
// GET and PUT knobs; GET, PUT and DELETE journals; GET and DELETE ledger, registers and token-requests; GET seen,
// sfm-sessions, rf, world and subject-token; POST reset.
func (s *Simulator) serveControl(w http.ResponseWriter, r *http.Request, name string) {
	switch r.Method + " " + name {
	case "GET knobs":
		writeControl(w, http.StatusOK, s.knobs())
	case "PUT knobs":
		s.putKnobs(w, r)
	case "GET ledger":
		writeControl(w, http.StatusOK, s.Ledger())
	case "DELETE ledger":
		s.ResetLedger()
		w.WriteHeader(http.StatusNoContent)
	case "GET token-requests":
		writeControl(w, http.StatusOK, s.TokenRequests())
	case "DELETE token-requests":
		s.ResetTokenRequests()
		w.WriteHeader(http.StatusNoContent)
	case "GET seen":
		writeControl(w, http.StatusOK, s.Seen())
	case "GET sfm-sessions":
		writeControl(w, http.StatusOK, s.SFMSessions())
	case "GET journals":
		writeControl(w, http.StatusOK, s.Journals())
	case "PUT journals":
		s.putJournals(w, r)
	case "DELETE journals":
		s.ResetJournals()
		w.WriteHeader(http.StatusNoContent)
	case "GET rf":
		writeControl(w, http.StatusOK, s.RFActors())
	case "GET registers":
		writeControl(w, http.StatusOK, s.registerReport())
	case "DELETE registers":
		s.ResetRegisterCalls()
		w.WriteHeader(http.StatusNoContent)
	case "GET world":
		writeControl(w, http.StatusOK, map[string]any{"persons": s.options.Persons, "tenants": Tenants(), "delegations": s.options.Delegations,
			"units": s.options.Units, "parties": s.options.Parties})
	case "GET subject-token":
		s.serveSubjectToken(w, r)
	case "POST reset":
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		writeControl(w, http.StatusNotFound, map[string]string{"error": "no such call; there are GET and PUT knobs, GET and DELETE ledger, GET and DELETE token-requests, GET seen, GET sfm-sessions, GET, PUT and DELETE journals, GET rf, GET and DELETE registers, GET world, GET subject-token, POST reset"})
	}
}

// Reset puts the knobs back and forgets ledger, token requests and the calls to
// registers. Clients, their keys, log-ins and tokens stay good.
func (s *Simulator) Reset() {
	s.SetKnobs(func(knobs *Knobs) { *knobs = *s.options.Knobs })
	s.ResetLedger()
	s.ResetTokenRequests()
	s.ResetRegisterCalls()
}

// putKnobs merges, so that {"helseid":{"rotation_off":true}} changes one knob. A
// misspelt name is refused.
func (s *Simulator) putKnobs(w http.ResponseWriter, r *http.Request) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
	decoder.DisallowUnknownFields()
	if err := s.mergeKnobs(decoder.Decode); err != nil {
		writeControl(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	writeControl(w, http.StatusOK, s.knobs())
}

// serveSubjectToken answers with [Simulator.SubjectToken] for the query's person,
// audience and, if there, life in seconds.
func (s *Simulator) serveSubjectToken(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	subject := Subject{Person: query.Get("person"), Audience: query.Get("audience")}
	var fault error
	if life := query.Get("life"); life != "" {
		var whole int
		whole, fault = strconv.Atoi(life)
		subject.Life = time.Duration(whole) * time.Second
	}
	token, err := s.SubjectToken(subject)
	if err := errors.Join(fault, err); err != nil {
		writeControl(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	writeControl(w, http.StatusOK, map[string]string{"access_token": token})
}

func writeControl(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // the client may have left
}

// Running is a world that is being served on loopback ports.
type Running struct {
	*Simulator
	HelseID string // base URL: the issuer
	SFM     string // base URL
	// The registers' base URLs.
	Brreg, Adresseregisteret, Selvbetjening, TestTokens string

	servers []*http.Server
	wait    sync.WaitGroup
}

// Start serves a new world on two free ports of 127.0.0.1. The options' Issuer
// and SFM are set to them.
func Start(options Options) (*Running, error) {
	return Serve(options, "127.0.0.1:0", "127.0.0.1:0")
}

// Serve is Start at chosen addresses (host:port, port 0 = a free one). An Issuer
// or SFM given in the options is kept: the world may be reached by another name.
func Serve(options Options, helseID, sfm string) (*Running, error) {
	first, err := net.Listen("tcp", helseID)
	if err != nil {
		return nil, fmt.Errorf("listening for HelseID: %w", err)
	}
	second, err := net.Listen("tcp", sfm)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for SFM: %w", err), first.Close())
	}
	if options.Issuer == "" {
		options.Issuer = "http://" + first.Addr().String()
	}
	if options.SFM == "" {
		options.SFM = "http://" + second.Addr().String()
	}
	world, err := New(options)
	if err != nil {
		return nil, errors.Join(err, first.Close(), second.Close())
	}
	running := &Running{
		Simulator: world, HelseID: options.Issuer, SFM: options.SFM,
		Brreg: world.registerURL(RegisterBrreg), Adresseregisteret: world.registerURL(RegisterAddresses),
		Selvbetjening: world.registerURL(RegisterSelvbetjening), TestTokens: world.registerURL(RegisterTestTokens),
	}
	running.serve(first, world.HelseID())
	running.serve(second, world.SFM())
	return running, nil
}

// serve answers on a listener until Close. There is no limit for reading or
// writing a whole message, since SFM's may be gigabytes that are streamed; a
// client that sends no request, or idles, is cut off.
func (r *Running) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // aborted connections are ordered here, not news
	}
	r.servers = append(r.servers, server)
	r.wait.Go(func() { _ = server.Serve(listener) }) // ErrServerClosed, after Close
}

// closeGrace is how long Close lets answers be finished.
const closeGrace = 2 * time.Second

// Close stops both servers: answers under way get a moment, then their
// connections are cut.
func (r *Running) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	var failed []error
	for _, server := range r.servers {
		if err := server.Shutdown(ctx); err != nil {
			failed = append(failed, server.Close())
		}
	}
	r.wait.Wait()
	return errors.Join(failed...)
}
