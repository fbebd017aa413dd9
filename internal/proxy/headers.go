package proxy

import (
	"net/http"
	"net/http/httputil"
	"strings"
)

// own are the request headers that speak to the sidecar. They are read from
// the incoming request and never leave it.
var own = []string{
	"Sfm-Orgnr-Parent", "Sfm-Orgnr-Child", "Sfm-Journal-Id", "Sfm-Tenant",
	"Sfm-Session", "Sfm-Grant", "Sfm-Journal-Intent", "Sidecar-Key",
}

// foreign are further request headers that never leave: what the caller put
// there could pass for ours at SFM, or tell SFM about the caller's machine.
var foreign = []string{"Authorization", "Dpop", "Cookie", "Forwarded"}

// kept are answer headers that never reach the EPJ: what they speak of is
// between SFM and the sidecar.
var kept = []string{"Dpop-Nonce", "Set-Cookie", "Set-Cookie2", "Www-Authenticate"}

// rewrite makes the outgoing request: routed to the upstream, scrubbed,
// otherwise as it came. It can't fail. Four things ReverseProxy would change
// are put back: a query with ; in it, the trailers (whose values arrive after
// the copy was made), the absent Host override, and an Upgrade that is not
// passed on.
func rewrite(pr *httputil.ProxyRequest) {
	c := callOf(pr.In.Context())
	c.upstream.aim(pr.Out.URL, c.rest)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	pr.Out.URL.ForceQuery = pr.In.URL.ForceQuery
	pr.Out.Host = ""
	pr.Out.Trailer = pr.In.Trailer
	h := pr.Out.Header
	if len(h["Upgrade"]) > 0 {
		h.Del("Upgrade")
		h.Del("Connection")
	}
	scrubRequest(h)
	scrubRequest(pr.Out.Trailer)
	hideIdempotency(h)
}

// scrubRequest removes what must not leave, from headers or trailers.
func scrubRequest(h http.Header) {
	for _, name := range own {
		delete(h, name)
	}
	for _, name := range foreign {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") {
			delete(h, name)
		}
	}
}

// hideIdempotency keeps these two headers out of net/http's sight: with one of
// them it resends a POST by itself. In lower case they are the same header on
// the wire (RFC 9110 section 5.1), and none to net/http.
func hideIdempotency(h http.Header) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, there := h[name]; there {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

// scrubAnswer removes what must not reach the EPJ, from headers, trailers or
// interim answers. Sidecar- headers are ours alone, so that an answer of SFM
// can't pass for a refusal of ours.
func scrubAnswer(h http.Header) {
	for _, name := range kept {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Sidecar-") {
			delete(h, name)
		}
	}
}

// modify makes SFM's answer fit for the EPJ. A page of an allowed origin gets
// our CORS headers and not SFM's, which speak of another origin.
func modify(res *http.Response) error {
	c := callOf(res.Request.Context())
	if res.StatusCode == http.StatusSwitchingProtocols {
		return &refusal{code: "upstream-outcome-unknown", detail: "SFM switched to another protocol unasked"}
	}
	scrubAnswer(res.Header)
	scrubAnswer(res.Trailer)
	c.relocate(res)
	if c.origin != "" {
		for name := range res.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(res.Header, name)
			}
		}
	}
	c.mark(res.Header)
	c.outcomeCopy = copyOutcome(res)
	res.Body = &answerBody{ReadCloser: res.Body, res: res, c: c}
	return nil
}

// relocate rewrites both address headers of an answer.
func (c *call) relocate(res *http.Response) {
	for _, name := range []string{"Location", "Content-Location"} {
		values := res.Header[name]
		if len(values) == 0 {
			continue
		}
		there := place{up: c.upstream, asked: res.Request.URL, local: c.localBase()}
		var moved []string
		for _, v := range values {
			to, ok := there.here(v)
			if !ok {
				c.p.log.Warn("address outside the upstream's base path removed", "request_id", c.id, "upstream", c.upstream.Name, "header", name)
				continue
			}
			moved = append(moved, to)
		}
		if res.Header[name] = moved; len(moved) == 0 {
			delete(res.Header, name)
		}
	}
}

// localBase is how the EPJ addresses the upstream here.
func (c *call) localBase() (base localAddress) {
	base.origin = "http://" + c.in.Host
	if c.in.TLS != nil {
		base.origin = "https://" + c.in.Host
	}
	if c.upstream.Name != "" {
		base.path = "/" + c.upstream.Name
	}
	return base
}
