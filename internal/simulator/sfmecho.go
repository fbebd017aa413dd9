package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// maxAnswerBytes bounds what the knob answer_bytes may ask for.
const maxAnswerBytes = 64 << 20

// Echo is what /echo answers, for tests of what comes through a proxy.
type Echo struct {
	Method string `json:"method"`
	// Path is as received, with all percent-encoding. Of the query string only the length is told.
	Path        string `json:"path"`
	QueryLength int    `json:"query_length"`
	Protocol    string `json:"protocol"`
	Host        string `json:"host"`
	// Headers are all but Authorization and DPoP.
	Headers    http.Header `json:"headers"`
	BodyLength int64       `json:"body_length"`
	BodySHA256 string      `json:"body_sha256"`
	// BodyFraming is "none", "length" or "chunked".
	BodyFraming string      `json:"body_framing"`
	Trailers    http.Header `json:"trailers,omitempty"`
}

// echo tells what arrived. Its query string orders what else is to be seen of a proxy: status=302 sets the status,
// header=Name:value (any number) sets answer headers, trailer=Name:value an answer trailer, early=Name:value sends
// them in a 103 first.
func echo(c *sfmCall) sfmAnswer {
	headers := c.r.Header.Clone()
	headers.Del("Authorization")
	headers.Del("DPoP")
	query := c.r.URL.Query()
	c.sendEarly(query["early"])
	answer := jsonAnswer(echoStatus(query.Get("status")), jsonType, Echo{
		Method: c.r.Method, Path: c.path, QueryLength: len(c.r.URL.RawQuery), Protocol: c.r.Proto, Host: c.r.Host, Headers: headers,
		BodyLength: c.length, BodySHA256: c.bodySHA, BodyFraming: framing(c.r), Trailers: c.r.Trailer,
	})
	addPairs(answer.header, query["header"])
	return withTrailers(answer, query["trailer"])
}

func echoStatus(wanted string) int {
	if status, err := strconv.Atoi(wanted); err == nil && status >= 200 && status <= 599 {
		return status
	}
	return http.StatusOK
}

func framing(r *http.Request) string {
	switch {
	case r.ContentLength > 0:
		return "length"
	case r.ContentLength < 0:
		return "chunked"
	default:
		return "none"
	}
}

// sendEarly writes a 103 with the given headers, which are then gone again.
func (c *sfmCall) sendEarly(pairs []string) {
	if len(pairs) == 0 {
		return
	}
	early := http.Header{}
	addPairs(early, pairs)
	for name, values := range early {
		c.w.Header()[name] = values
	}
	c.w.WriteHeader(http.StatusEarlyHints)
	for name := range early {
		c.w.Header().Del(name)
	}
}

func addPairs(to http.Header, pairs []string) {
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, ":")
		to.Add(name, strings.TrimSpace(value))
	}
}

// withTrailers turns an answer into one that ends with trailers.
func withTrailers(answer sfmAnswer, pairs []string) sfmAnswer {
	if len(pairs) == 0 {
		return answer
	}
	trailer := http.Header{}
	addPairs(trailer, pairs)
	for name := range trailer {
		answer.trailers = append(answer.trailers, name)
	}
	body := answer.body
	answer.body, answer.size = nil, int64(len(body))
	answer.stream = func(w io.Writer) (http.Header, error) {
		_, err := w.Write(body)
		return trailer, err
	}
	return answer
}

// downloadTrailer tells the hash of a download, in hex.
const downloadTrailer = "X-Content-Sha256"

// download streams as many bytes as bytes= says, always the same ones and hardly compressible, without a length, and
// their hash in a trailer. With length=1 there is a Content-Length, and therefore no trailer.
func download(c *sfmCall) sfmAnswer {
	query := c.r.URL.Query()
	n, err := strconv.ParseInt(query.Get("bytes"), 10, 64)
	if err != nil || n < 0 {
		return refused(invalid("bytes= is missing or not a number", ""))
	}
	answer := sfmAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/octet-stream"}}, size: n}
	if query.Get("length") != "" {
		answer.header.Set("Content-Length", strconv.FormatInt(n, 10))
	} else {
		answer.trailers = []string{downloadTrailer}
	}
	answer.stream = func(w io.Writer) (http.Header, error) {
		hash := sha256.New()
		source := rand.NewChaCha8([32]byte{})
		if _, err := io.CopyN(io.MultiWriter(hash, w), source, n); err != nil {
			return nil, err
		}
		return http.Header{downloadTrailer: {hex.EncodeToString(hash.Sum(nil))}}, nil
	}
	return answer
}
