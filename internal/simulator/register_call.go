package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The registers around SFM and HelseID that have a stand-in, as they are called in
// addresses, in [RegisterCall] and in the arguments of functions here.
const (
	RegisterBrreg         = "brreg"             // Enhetsregisteret, open API
	RegisterAddresses     = "adresseregisteret" // CommunicationParty API
	RegisterSelvbetjening = "selvbetjening"     // a client's own registration at HelseID
	RegisterTestTokens    = "ttt"               // HelseID's test token service
)

// maxRegisterBody bounds what is posted to a register; the largest honest body
// is a JWK.
const maxRegisterBody = 64 << 10

// RegisterCall is one call to a register, as it was answered. It holds no token,
// no key and no person.
type RegisterCall struct {
	Time     time.Time `json:"time"` // of arrival, by the stand-ins' clock
	Register string    `json:"register"`
	Method   string    `json:"method"`
	Path     string    `json:"path"` // within the register, without the query
	// Client is the client_id of a good token.
	Client string `json:"client,omitempty"`
	// Items is how many numbers were asked for in one call.
	Items int `json:"items,omitempty"`
	// InFlight counts the calls to the register that were under way when this one
	// came, itself included.
	InFlight int `json:"in_flight"`
	// Status is the HTTP status of the answer, 0 when the connection was reset or
	// the client left.
	Status int `json:"status"`
}

// maxRegisterCalls bounds the record; the oldest half is forgotten when it is full.
const maxRegisterCalls = 100_000

// registerState is what the registers hold.
type registerState struct {
	units   map[string]Unit // by organization number; never changed
	order   []Unit          // never changed
	parties map[int]Party   // by HER-id; never changed
	proofs  map[string]*replayList
	nonces  nonceBook

	mu       sync.Mutex // guards the rest
	calls    []RegisterCall
	inFlight map[string]int
	maxInFly map[string]int
}

func newRegisterState(options Options) *registerState {
	state := &registerState{
		units: map[string]Unit{}, order: options.Units, parties: map[int]Party{},
		proofs:   map[string]*replayList{},
		inFlight: map[string]int{}, maxInFly: map[string]int{},
	}
	for _, unit := range options.Units {
		state.units[unit.Orgnr] = unit
	}
	for _, party := range options.Parties {
		state.parties[party.HERID] = party
	}
	for name := range registers {
		state.proofs[name] = newReplayList(time.Minute)
	}
	return state
}

// RegisterCalls returns the calls to registers since the start, or the last
// reset, in the order in which they were answered.
func (s *Simulator) RegisterCalls() []RegisterCall {
	s.registers.mu.Lock()
	defer s.registers.mu.Unlock()
	return slices.Clone(s.registers.calls)
}

// MaxConcurrentRegisterCalls is the largest number of calls to one register (see
// [RegisterBrreg]) that were under way at the same moment.
func (s *Simulator) MaxConcurrentRegisterCalls(register string) int {
	s.registers.mu.Lock()
	defer s.registers.mu.Unlock()
	return s.registers.maxInFly[register]
}

// ResetRegisterCalls forgets the record and its counts.
func (s *Simulator) ResetRegisterCalls() {
	s.registers.mu.Lock()
	defer s.registers.mu.Unlock()
	s.registers.calls = nil
	clear(s.registers.maxInFly)
}

// registerReport is GET /_simulator/registers.
func (s *Simulator) registerReport() map[string]any {
	s.registers.mu.Lock()
	defer s.registers.mu.Unlock()
	return map[string]any{
		"calls":         append([]RegisterCall{}, s.registers.calls...),
		"max_in_flight": maps.Clone(s.registers.maxInFly),
	}
}

// registerCall is one call on its way through a register. Answers are gathered
// and leave when the call is recorded.
type registerCall struct {
	sim    *Simulator
	r      *http.Request
	body   []byte
	path   string // within the register
	base   string // the register's address
	record RegisterCall
	answer bufferedAnswer
	claims map[string]any // of the token, where one is wanted
}

// registers are the stand-ins under the registers' common address.
var registers = map[string]func(*registerCall){
	RegisterBrreg:         (*registerCall).brreg,
	RegisterAddresses:     (*registerCall).addresses,
	RegisterSelvbetjening: (*registerCall).selvbetjening,
	RegisterTestTokens:    (*registerCall).testTokens,
}

// Registers returns the stand-ins for the registers, to be mounted at the
// options' Registers. Where that is the issuer, [Simulator.HelseID] serves them.
func (s *Simulator) Registers() http.Handler {
	return s.withControl(s.withRegisters(http.NotFound))
}

// registerURL is a register's base URL, without a trailing slash.
func (s *Simulator) registerURL(register string) string {
	return s.options.Registers + "/" + register
}

// withRegisters serves the registers, and everything else by next.
func (s *Simulator) withRegisters(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		serve, known := registers[name]
		if !known {
			next(w, r)
			return
		}
		call := &registerCall{
			sim: s, r: r, path: "/" + rest, base: s.registerURL(name),
			record: RegisterCall{Time: s.now(), Register: name, Method: r.Method, Path: "/" + rest},
			answer: bufferedAnswer{header: http.Header{}},
		}
		call.serve(w, serve)
	}
}

// serve meets the faults, does the work, records, and sends the answer last.
func (c *registerCall) serve(w http.ResponseWriter, work func(*registerCall)) {
	c.enter()
	early := c.sim.takeRegisterFault(c.record.Register, c.path, false)
	if !early.pause(c.r.Context()) {
		c.leave(0)
		return
	}
	if early.spoilsBefore() {
		c.leave(early.status())
		early.spoil(w)
		return
	}
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, c.r.Body, maxRegisterBody)); err != nil {
		c.problem(http.StatusRequestEntityTooLarge, "the body could not be read, or is larger than %d bytes", maxRegisterBody)
	} else {
		work(c)
	}
	late := Fault{}
	if c.answer.status < http.StatusBadRequest {
		late = c.sim.takeRegisterFault(c.record.Register, c.path, true)
	}
	there := late.pause(c.r.Context())
	if !there || late.DropAnswer {
		c.answer.status = 0
	}
	c.leave(c.answer.status)
	switch {
	case !there:
	case late != (Fault{}):
		late.spoilAnswer(w, &c.answer)
	default:
		c.answer.send(w)
	}
}

// status is what the fault will answer with, 0 = nothing.
func (f Fault) status() int {
	switch {
	case f.Reset:
		return 0
	case f.Status == 0:
		return http.StatusOK
	default:
		return f.Status
	}
}

func (c *registerCall) enter() {
	state := c.sim.registers
	state.mu.Lock()
	defer state.mu.Unlock()
	name := c.record.Register
	state.inFlight[name]++
	c.record.InFlight = state.inFlight[name]
	state.maxInFly[name] = max(state.maxInFly[name], state.inFlight[name])
}

func (c *registerCall) leave(status int) {
	c.record.Status = status
	state := c.sim.registers
	state.mu.Lock()
	defer state.mu.Unlock()
	state.inFlight[c.record.Register]--
	if len(state.calls) >= maxRegisterCalls {
		state.calls = slices.Clone(state.calls[maxRegisterCalls/2:])
	}
	state.calls = append(state.calls, c.record)
}

func (c *registerCall) write(status int, media string, value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic("BUG: an answer that is no JSON: " + err.Error())
	}
	c.answer.header.Set("Content-Type", media)
	c.answer.WriteHeader(status)
	c.answer.body.Write(encoded)
}

func (c *registerCall) writeJSON(value any) { c.write(http.StatusOK, "application/json", value) }

// problem answers with problem details (RFC 9457, which keeps the form of RFC
// 7807). The text says what was wrong and quotes no token, proof or key.
func (c *registerCall) problem(status int, format string, args ...any) {
	c.write(status, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status,
		"detail": fmt.Sprintf(format, args...), "instance": c.r.URL.EscapedPath(),
	})
}

// onlyMethods refuses other methods than those given; false when it did.
func (c *registerCall) onlyMethods(methods ...string) bool {
	if slices.Contains(methods, c.r.Method) {
		return true
	}
	c.answer.header.Set("Allow", strings.Join(methods, ", "))
	c.problem(http.StatusMethodNotAllowed, "the method is %s, %s is wanted", c.r.Method, strings.Join(methods, " or "))
	return false
}

// jsonBody refuses a body that is no JSON by its Content-Type; false when it did.
func (c *registerCall) jsonBody() bool {
	if media := mediaType(c.r.Header.Get("Content-Type")); media != "application/json" {
		c.problem(http.StatusUnsupportedMediaType, "the Content-Type is %q, application/json is wanted", media)
		return false
	}
	return true
}
