package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxKeptBody bounds a body that is kept for the operation's work; streamed ones have no limit.
const maxKeptBody = 32 << 20

// sfmCall is one request on its way through the stand-in. The order is that of a real service and matters to a
// client: authentication answers before a byte of the body is read, so that 100-continue does its work and a 401
// proves that nothing was done.
type sfmCall struct {
	sim     *Simulator
	w       http.ResponseWriter
	r       *http.Request
	knobs   SFMKnobs // as they were on arrival
	now     time.Time
	path    string        // as received
	op      *sfmOperation // nil: the path is not known
	id      string        // the path's last part, where the operation has one
	methods []string      // without an operation: what the path would take
	entry   *Operation
	caller  sfmCaller
	fault   SFMFault

	sink    io.Writer // where a streamed body goes; nil = nowhere
	offset  int64     // of an upload, when its part began to come
	body    []byte    // of an operation that is not streamed
	length  int64     // of the body
	bodySHA string    // of the body, hex
}

func (c *sfmCall) serve() {
	defer c.finish()
	if c.r.Header.Get("Expect") != "" && c.knobs.Expect == expectRefuse {
		c.refuse(&sfmRefusal{status: http.StatusExpectationFailed, code: "expectation-failed", issue: "not-supported", text: "this server does not take Expect"})
		return
	}
	if refusal := c.admit(); refusal != nil {
		c.refuse(refusal)
		return
	}
	c.fault = c.sim.takeFault(c.r.Method, c.path)
	if c.misbehave(BeforeBody, nil) {
		return
	}
	if refusal := c.takeBody(); refusal != nil {
		c.refuse(refusal)
		return
	}
	if c.misbehave(BeforeWork, nil) {
		return
	}
	answer := c.op.work(c)
	if answer.refusal == nil {
		c.sim.sfm.ledger.done(c.entry)
	}
	if c.misbehave(AfterWork, &answer) {
		return
	}
	c.send(answer)
}

// admit is everything that is decided before the body is read.
func (c *sfmCall) admit() *sfmRefusal {
	if refusal := c.authenticate(); refusal != nil {
		return refusal
	}
	if c.op == nil {
		return c.noOperation()
	}
	if refusal := c.checkJournal(); refusal != nil {
		return refusal
	}
	if c.op.prepare != nil {
		return c.op.prepare(c)
	}
	return nil
}

// noOperation tells a wrong method from a wrong path. SFM answers 501 for what FHIR knows and SFM does not offer.
func (c *sfmCall) noOperation() *sfmRefusal {
	if len(c.methods) == 0 {
		return &sfmRefusal{status: http.StatusNotFound, code: "not-found", issue: "not-found", text: "there is nothing at this path"}
	}
	return &sfmRefusal{
		status: http.StatusNotImplemented, code: "not-supported", issue: "not-supported",
		text:   "this path takes " + strings.Join(c.methods, ", "),
		header: http.Header{"Allow": {strings.Join(c.methods, ", ")}},
	}
}

// takeBody reads the whole body, and that is when net/http sends 100 Continue to a client that waits for it.
func (c *sfmCall) takeBody() *sfmRefusal {
	if c.knobs.Expect == expectSilent && c.r.Header.Get("Expect") != "" {
		if err := c.silence(); err != nil {
			return &sfmRefusal{status: http.StatusInternalServerError, code: "exception", issue: "exception", text: "this connection can't be kept from sending 100 Continue"}
		}
	}
	var kept bytes.Buffer
	hash := sha256.New()
	to := []io.Writer{hash}
	if c.sink != nil {
		to = append(to, c.sink)
	}
	var source io.Reader = c.r.Body
	if !c.op.streamed {
		to = append(to, &kept)
		source = http.MaxBytesReader(c.w, c.r.Body, maxKeptBody)
	}
	n, err := io.Copy(io.MultiWriter(to...), source)
	c.length, c.body = n, kept.Bytes()
	c.bodySHA = hex.EncodeToString(hash.Sum(nil))
	c.note(func(o *Operation) { o.BodyLength, o.BodySHA256 = n, c.bodySHA })
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return &sfmRefusal{status: http.StatusRequestEntityTooLarge, code: "too-long", issue: "too-long", text: "a body has at most 32 MiB here"}
	}
	if err != nil {
		return &sfmRefusal{status: http.StatusBadRequest, code: "body-broken", issue: "incomplete", text: "the body broke off"}
	}
	return nil
}

func (c *sfmCall) note(change func(*Operation)) { c.sim.sfm.ledger.note(c.entry, change) }

// refuse answers with an OperationOutcome, for authentication as for all else.
func (c *sfmCall) refuse(refusal *sfmRefusal) { c.send(refused(refusal)) }

// send enters the answer into the ledger and writes it.
func (c *sfmCall) send(answer sfmAnswer) {
	c.note(func(o *Operation) {
		o.Status = answer.status
		if answer.refusal != nil {
			o.Refusal = answer.refusal.code
		}
	})
	c.prepareHeader(answer)
	if answer.stream != nil {
		c.sendStream(answer)
		return
	}
	body := answer.body
	if c.packs(answer) {
		body = answer.gzipped()
		c.w.Header().Set("Content-Encoding", "gzip")
	}
	if bodyAllowed(answer.status) {
		c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	c.w.WriteHeader(answer.status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // the ledger has what happened here; a client that has left is its own affair
	}
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func (c *sfmCall) prepareHeader(answer sfmAnswer) {
	h := c.w.Header()
	for name, values := range answer.header {
		h[name] = values
	}
	h.Set("Date", c.sim.now().UTC().Format(http.TimeFormat))
	if c.knobs.RequireNonce && !c.knobs.Bearer {
		h.Set("DPoP-Nonce", c.sim.sfm.nonces.newest())
	}
	if answer.packable {
		h.Add("Vary", "Accept-Encoding")
	}
}

// sendStream writes an answer of unknown length. When it fails, the connection is broken off: the client must not
// take a part for the whole.
func (c *sfmCall) sendStream(answer sfmAnswer) {
	for _, name := range answer.trailers {
		c.w.Header().Add("Trailer", name)
	}
	c.w.WriteHeader(answer.status)
	trailer, err := answer.stream(c.w)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range trailer {
		c.w.Header()[name] = values
	}
}
