package dpop

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"
)

// scheme is the authentication scheme of a token that is bound to a key (RFC 9449 section 7.1).
const scheme = "DPoP"

// ErrNotProven says that Base answered a request without ever reporting a connection to it, so that no proof was made.
// The request, if it went anywhere, went without its token: it has done no work. It is a fault in how Base was built.
var ErrNotProven = errors.New("sending with DPoP: the base round tripper did not report its connection, the token was withheld")

// Transport gives a request whose Authorization is `DPoP <token>` a fresh proof over that very token, and hands it to
// Base. A request with another scheme, or none, is passed on as it is. Nonces are learned from every answer.
//
// The proof is made when net/http has found a connection (httptrace.ClientTrace.GotConn): after every wait for a dial
// or for a free connection, so that it is not old when it is written. When net/http repairs a connection on which
// nothing could be written, it finds another one, and the request gets another proof. So no proof is ever sent twice.
//
// The token itself is withheld until that moment, too. If Base reports no connection, nothing bound leaves without a
// proof: the server sees a request without a token and refuses it, and the caller gets [ErrNotProven].
//
// The caller's request and its header map are never changed. Its Trailer map is shared, since net/http fills it late.
// A Transport is safe for concurrent use, and must not be changed once it is used.
type Transport struct {
	// Base sends the request. Required: an *http.Transport for HTTP/1.1 only, or one that passes the request's context
	// and its header map on to such a one. (net/http may read the headers of an HTTP/2 request while it repeats it.)
	Base http.RoundTripper
	// Key signs requests whose context names no key ([WithKey]). If nil, the key in use in Keys does. One of the two is
	// required.
	Key *Key
	// Keys are asked for the key in use at each request, where there is no Key.
	Keys *Ring
	// Nonces is what the servers said last. If nil, proofs have no nonce.
	Nonces *Nonces
	// Now is the clock for iat. If nil, time.Now.
	Now func() time.Time
	// Proven is called after each proof made. If nil, nobody is told.
	Proven func()
}

// RoundTrip sends one request; see [Transport]. Like any round tripper it closes the request's body, also on an error.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	key := t.keyFor(req)
	token, err := t.boundToken(req.Header, key)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if token == "" {
		resp, err := t.Base.RoundTrip(req)
		t.learn(req, resp)
		return resp, err
	}

	p := t.prove(req, token, key)
	resp, err := t.Base.RoundTrip(p.out)
	t.learn(req, resp)
	if err != nil {
		return resp, err
	}
	if !p.made {
		_ = resp.Body.Close()
		return nil, ErrNotProven
	}
	resp.Request = req
	return resp, nil
}

// keyFor is the key that the token of a request is bound to.
func (t *Transport) keyFor(req *http.Request) *Key {
	if k, ok := req.Context().Value(BoundTo{}).(*Key); ok && k != nil {
		return k
	}
	if t.Key == nil && t.Keys != nil {
		return t.Keys.Current()
	}
	return t.Key
}

// boundToken gives the token that needs a proof, or "" if the request has none.
func (t *Transport) boundToken(h http.Header, key *Key) (string, error) {
	if t.Base == nil || key == nil {
		return "", errors.New("sending with DPoP: the transport has no base or no key")
	}
	for i, value := range h["Authorization"] {
		name, token, _ := strings.Cut(value, " ")
		if !strings.EqualFold(name, scheme) {
			continue
		}
		if i > 0 || len(h["Authorization"]) > 1 {
			return "", errors.New("sending with DPoP: the request has several Authorization headers")
		}
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", errors.New("sending with DPoP: the token has characters that no token may have")
		}
		return token, nil
	}
	return "", nil
}

// learn notes the nonce of an answer (RFC 9449 section 8.2: any answer may bring a new one).
func (t *Transport) learn(req *http.Request, resp *http.Response) {
	if t.Nonces == nil || resp == nil {
		return
	}
	if nonce := resp.Header.Get("DPoP-Nonce"); nonce != "" {
		t.Nonces.Learn(Origin(req.URL), nonce)
	}
}

// proving is one request on its way to a connection.
type proving struct {
	transport     *Transport
	out           *http.Request
	token         string
	key           *Key
	authorization []string
	htu           string
	origin        int // how much of htu is the origin
	made          bool
	trace         httptrace.ClientTrace
}

// prove makes the request that goes out: a shallow copy with a header map of its own, from which the token is missing
// until there is a connection. A DPoP header that came with the request is dropped, however its name is written.
func (t *Transport) prove(req *http.Request, token string, key *Key) *proving {
	p := &proving{transport: t, token: token, key: key, authorization: req.Header["Authorization"]}
	p.htu, p.origin = address(req.URL)
	p.trace.GotConn = p.gotConn
	p.out = req.WithContext(httptrace.WithClientTrace(req.Context(), &p.trace))
	p.out.Header = maps.Clone(req.Header)
	maps.DeleteFunc(p.out.Header, func(name string, _ []string) bool {
		return strings.EqualFold(name, "DPoP") || strings.EqualFold(name, "Authorization")
	})
	return p
}

// gotConn makes the proof. net/http calls it in the goroutine of RoundTrip, before its write loop sees the request; and
// when it tries again, only after the write loop of the connection before has ended. So nobody reads the map meanwhile.
func (p *proving) gotConn(httptrace.GotConnInfo) {
	t := p.transport
	claims := Claims{
		Method:      cmp.Or(p.out.Method, http.MethodGet),
		URL:         p.htu,
		AccessToken: p.token,
	}
	if t.Now != nil {
		claims.Issued = t.Now()
	}
	if t.Nonces != nil {
		claims.Nonce = t.Nonces.Last(p.htu[:p.origin])
	}
	p.out.Header["Dpop"] = []string{p.key.Proof(claims)}
	p.out.Header["Authorization"] = p.authorization
	p.made = true
	if t.Proven != nil {
		t.Proven()
	}
}
