package proxy

import "net/http"

// exposed are the headers of ours and of SFM that a page of an allowed origin
// may read.
const exposed = "Sidecar-Request-Id, Sidecar-Error, Sidecar-Retryable, Retry-After, Location, Content-Location, ETag, Last-Modified, " +
	"Tus-Resumable, Upload-Offset, Upload-Length, Upload-Expires"

// answerPreflight tells a browser that a page of an allowed origin may call
// with what it announced. The call itself will need the caller key.
func (p *Proxy) answerPreflight(c *call) {
	c.isControl = isControl(c.in.URL)
	h := c.w.Header()
	c.mark(h)
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", c.in.Header.Get("Access-Control-Request-Method"))
	if asked := c.in.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	if c.in.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	h.Set("Access-Control-Max-Age", "600")
	c.w.WriteHeader(http.StatusNoContent)
}

// mark puts on an answer what every answer carries: the request's id, and for
// a page of an allowed origin the leave to read it. Credentials are never
// allowed: there are no cookies here.
func (c *call) mark(h http.Header) {
	h["Sidecar-Request-Id"] = []string{c.id}
	if c.origin == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", c.origin)
	h.Set("Access-Control-Expose-Headers", exposed)
	h.Add("Vary", "Origin")
}
