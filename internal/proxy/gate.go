package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// Gate says who may call. It is the policy against everything that can reach
// the listener but is not the EPJ: other users of the machine, other
// processes, and web pages that talk a browser into calling (by DNS rebinding
// or straight away).
type Gate struct {
	// AllowedHosts are further values of Host that are answered to, compared
	// in lower case, port included. localhost, 127.0.0.1 and [::1] always are,
	// on any port. On a Unix socket Host is not looked at: no name leads there.
	AllowedHosts []string
	// AllowedOrigins are the origins whose pages may call. They need a
	// CallerKey.
	AllowedOrigins []string
	// CallerKey must stand in Sidecar-Key. Empty: none is asked for.
	CallerKey string
	// Caller, if not nil, judges the operating system's user. An error without
	// a code of its own is caller-refused.
	Caller func(*http.Request) error
	// BrowserPage, if not nil, names the pages under /_sidecar/ that a browser
	// may open: neither Origin nor caller key is asked of them.
	BrowserPage func(*http.Request) bool
}

// gate is a Gate made ready. The key itself is not kept, only its hash.
type gate struct {
	hosts       []string
	origins     []string
	keyed       bool
	key         [sha256.Size]byte
	caller      func(*http.Request) error
	browserPage func(*http.Request) bool
}

func newGate(g Gate) (*gate, error) {
	if len(g.AllowedOrigins) > 0 && g.CallerKey == "" {
		return nil, errors.New("allowed origins need a caller key")
	}
	made := &gate{
		origins: g.AllowedOrigins, keyed: g.CallerKey != "",
		key: sha256.Sum256([]byte(g.CallerKey)), caller: g.Caller, browserPage: g.BrowserPage,
	}
	for _, h := range g.AllowedHosts {
		made.hosts = append(made.hosts, strings.ToLower(h))
	}
	return made, nil
}

// pass is what the gate found out about a call it let in.
type pass struct {
	origin    string // the allowed origin of a web page, or empty
	preflight bool   // a browser asks whether it may ask (CORS)
}

// Admit judges a request of another listener by the same rules. Its error is for Refuse.
func (p *Proxy) Admit(r *http.Request) error {
	_, err := p.gate.check(r, false)
	return err
}

// check judges one request. A preflight is let in without a key, since a
// browser can't send one with it; what it announces will need the key.
func (g *gate) check(r *http.Request, control bool) (pass, error) {
	if err := g.checkHost(r); err != nil {
		return pass{}, err
	}
	page := control && g.browserPage != nil && g.browserPage(r)
	var in pass
	if !page {
		var err error
		if in, err = g.checkOrigin(r); err != nil {
			return pass{}, err
		}
	}
	if err := checkOwn(r.Header); err != nil || in.preflight {
		return in, err
	}
	if !page {
		if err := g.checkKey(r.Header); err != nil {
			return in, err
		}
	}
	return in, g.checkCaller(r)
}

// checkHost refuses a name that is not ours: a page that has its own name
// resolve to 127.0.0.1 still sends its own name.
func (g *gate) checkHost(r *http.Request) error {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && addr.Network() == "unix" {
		return nil
	}
	host := strings.ToLower(r.Host)
	if loopback(host) || slices.Contains(g.hosts, host) {
		return nil
	}
	return &refusal{code: "host-refused"}
}

// loopback says whether a Host is one of the loopback names, on any port.
func loopback(host string) bool {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], host[i+1:]
	}
	if strings.Trim(port, "0123456789") != "" {
		return false
	}
	return name == "localhost" || name == "127.0.0.1" || name == "[::1]"
}

// checkOrigin refuses web pages but those of an allowed origin. A browser can
// leave Origin out of a simple GET, but then says Sec-Fetch-Site.
func (g *gate) checkOrigin(r *http.Request) (pass, error) {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		for _, site := range r.Header["Sec-Fetch-Site"] {
			if site != "none" {
				return pass{}, &refusal{code: "origin-refused"}
			}
		}
		return pass{}, nil
	}
	if len(origins) > 1 || !slices.Contains(g.origins, origins[0]) {
		return pass{}, &refusal{code: "origin-refused"}
	}
	asks := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	return pass{origin: origins[0], preflight: asks}, nil
}

// checkKey compares hashes, which takes as long for any key of any length.
func (g *gate) checkKey(h http.Header) error {
	if !g.keyed {
		return nil
	}
	sent := h["Sidecar-Key"]
	if len(sent) == 0 {
		return &refusal{code: "caller-key", detail: "the header Sidecar-Key is missing"}
	}
	sum := sha256.Sum256([]byte(sent[0]))
	if subtle.ConstantTimeCompare(sum[:], g.key[:]) != 1 {
		return &refusal{code: "caller-key", detail: "the header Sidecar-Key does not hold the caller key"}
	}
	return nil
}

func (g *gate) checkCaller(r *http.Request) error {
	if g.caller == nil {
		return nil
	}
	err := g.caller(r)
	if err == nil || codeOf(err) != "" {
		return err
	}
	return &refusal{code: "caller-refused", err: err}
}

// maxOwn bounds one header of ours, in bytes. Session handles and keys are far
// below it.
const maxOwn = 1024

// maxToken bounds the caller's own access token (grant token-exchange).
const maxToken = 16 << 10

// checkOwn refuses a header of ours that is there twice, empty or too long:
// which of two values counts is not for us to guess.
func checkOwn(h http.Header) error {
	for _, name := range own {
		if err := checkOne(h, name, maxOwn); err != nil {
			return err
		}
	}
	for name := range h {
		if misspelt(name) {
			return &refusal{
				code: "request-invalid", detail: fmt.Sprintf("the header %.40s is none of the sidecar's", name),
				hint: "The sidecar's headers are " + strings.Join(own, ", ") + ".",
			}
		}
	}
	return checkOne(h, "Authorization", maxToken)
}

// alike are beginnings of names that can only be meant for the sidecar. Others
// that begin with Sfm- (Sfm-User-Agent, say) are SFM's own, and pass.
var alike = []string{"sfm-org", "sfm-par", "sfm-chi", "sfm-jour", "sfm-ten", "sfm-ses", "sfm-gra", "sidecar-k"}

// misspelt says whether a header seems meant for the sidecar and is not one of
// its own. Passed over in silence, a misspelt child would leave a call that is
// for the parent.
func misspelt(name string) bool {
	if len(name) < 5 || name[0]|0x20 != 's' || slices.Contains(own, name) {
		return false
	}
	plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return slices.ContainsFunc(alike, func(beginning string) bool { return strings.HasPrefix(plain, beginning) })
}

func checkOne(h http.Header, name string, most int) error {
	values, there := h[name]
	fault := ""
	switch {
	case !there:
		return nil
	case len(values) != 1:
		fault = "is there more than once"
	case strings.TrimSpace(values[0]) == "":
		fault = "is empty"
	case len(values[0]) > most:
		fault = "is too long"
	default:
		return nil
	}
	return &refusal{code: "request-invalid", detail: fmt.Sprintf("the header %s %s", name, fault)}
}
