package simulator

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	fhirType = "application/fhir+json; charset=utf-8"
	jsonType = "application/json; charset=utf-8"
)

// packedFrom is the size from which an answer is worth packing.
const packedFrom = 1024

// sfmAnswer is what an operation answers. Exactly one of body and stream is used.
type sfmAnswer struct {
	status   int
	header   http.Header
	body     []byte
	packable bool   // may be sent with gzip
	packed   []byte // body with gzip, if somebody has it ready
	refusal  *sfmRefusal

	// stream writes a body of unknown length and returns the trailers announced in trailers; size is how much it will
	// write.
	stream   func(io.Writer) (http.Header, error)
	trailers []string
	size     int64
}

func (a sfmAnswer) gzipped() []byte {
	if a.packed != nil {
		return a.packed
	}
	return pack(a.body)
}

func pack(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("BUG: gzip into memory: " + err.Error())
	}
	return b.Bytes()
}

// packs reports whether this answer goes out with gzip. As "Accept-Encoding: gzip;q=0" is nothing a client of SFM
// sends, it is not looked for.
func (c *sfmCall) packs(a sfmAnswer) bool {
	return a.packable && len(a.body) >= packedFrom && strings.Contains(c.r.Header.Get("Accept-Encoding"), "gzip")
}

// resource is any JSON object, a FHIR resource mostly.
type resource = map[string]any

func jsonAnswer(status int, mediaType string, value any) sfmAnswer {
	body, err := json.Marshal(value)
	if err != nil {
		panic("BUG: an answer that is not JSON: " + err.Error())
	}
	return sfmAnswer{status: status, header: http.Header{"Content-Type": {mediaType}}, body: body, packable: true}
}

func fhirAnswer(status int, value any) sfmAnswer { return jsonAnswer(status, fhirType, value) }

// sfmRefusal is a no, by authentication or by an operation.
type sfmRefusal struct {
	status     int
	code       string // for the ledger, and for WWW-Authenticate where challenge is set
	text       string // what is wrong, for the client; names claims and rules, never a person's values
	issue      string // FHIR's issue type
	expression string // FHIR path of the faulty element
	challenge  string // scheme of a WWW-Authenticate header; "" = none
	header     http.Header
}

// refused makes the answer to a refusal: SFM's OperationOutcome, and for authentication the challenge of RFC 9449
// section 7.1 (or RFC 6750 section 3 in API version 1).
func refused(refusal *sfmRefusal) sfmAnswer {
	answer := fhirAnswer(refusal.status, operationOutcome(refusal.issue, refusal.text, refusal.expression))
	for name, values := range refusal.header {
		answer.header[name] = values
	}
	if refusal.challenge != "" {
		answer.header.Set("WWW-Authenticate", fmt.Sprintf(`%s error="%s", error_description="%s"`, refusal.challenge, refusal.code, quotable(refusal.text)))
	}
	answer.refusal = refusal
	return answer
}

// quotable makes text fit error_description, which takes printable ASCII but the quote and the backslash (RFC 6750
// section 3).
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < 0x20 || r > 0x7e:
			return '.'
		default:
			return r
		}
	}, text)
}

// operationOutcome has the shape captured from the real Basis service: an error with an id for the support desk, the
// error itself, and a trace id.
func operationOutcome(issue, text, expression string) resource {
	id := newUUID()
	fault := resource{"severity": "error", "code": issue, "diagnostics": text}
	if expression != "" {
		fault["expression"] = []string{expression}
	}
	return resource{
		"resourceType": "OperationOutcome",
		"id":           id,
		"issue": []resource{
			{"severity": "error", "code": "processing", "diagnostics": "The request was refused. Quote the id '" + id + "' when you ask for help."},
			fault,
			{"severity": "information", "code": "informational", "details": resource{"text": "TraceId: " + randomHex(16)}},
		},
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// newUUID is a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return formatUUID(b)
}

func formatUUID(b []byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
