package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"sfm-sidecar/internal/helseid"
)

// Upstream is one API of SFM's.
type Upstream struct {
	Name string // "" = the only one
	URL  *url.URL
}

// metadataPaths are where an SFM API may keep its capability statement; which, NHN does not say (sfm.md 1.4.5).
var metadataPaths = []string{"/metadata", "/v2/metadata", "/api/v2/metadata"}

// askLimit bounds one question to an upstream.
const askLimit = 10 * time.Second

// certificateWarn is how near the end of a server's certificate must be to be spoken of.
const certificateWarn = 14 * 24 * time.Hour

func (e *examination) upstreams(ctx context.Context) {
	for _, u := range e.o.Upstreams {
		own := u.URL.JoinPath("metadata").String()
		e.run(ctx, step{
			name: stepUpstream, subject: u.Name, limit: (time.Duration(len(metadataPaths)) + 1) * askLimit,
			tried: "GET " + own + " and the paths " + words(metadataPaths) + " of its host, without a token",
			look:  func(ctx context.Context) Finding { return e.upstream(ctx, u, own) },
		})
	}
}

// visit is what came back from one address.
type visit struct {
	status int
	fhir   bool
	tls    *tls.ConnectionState
}

// says is a visit in a few words.
func (v visit) says() string {
	if v.status == http.StatusOK && !v.fhir {
		return "200, but no capability statement"
	}
	return fmt.Sprintf("%d %s", v.status, http.StatusText(v.status))
}

func (e *examination) upstream(ctx context.Context, u Upstream, own string) Finding {
	first, err := e.visit(ctx, own)
	if err != nil {
		return unreached(err, u.URL)
	}
	details := Details{{Name: pathOf(own), Value: first.says()}}
	var elsewhere []string
	for _, path := range metadataPaths {
		address := (&url.URL{Scheme: u.URL.Scheme, Host: u.URL.Host, Path: path}).String()
		if address == own {
			continue
		}
		v, err := e.visit(ctx, address)
		if err != nil {
			details = append(details, helseid.Fact{Name: path, Value: "no answer"})
			continue
		}
		details = append(details, helseid.Fact{Name: path, Value: v.says()})
		if v.fhir {
			elsewhere = append(elsewhere, path)
		}
	}
	f := judgeUpstream(u, first, elsewhere)
	if first.tls != nil {
		details = append(details, tlsFacts(first.tls)...)
		warnCertificate(&f, first.tls, time.Now())
	}
	f.Details = details
	return f
}

// judgeUpstream says what the answers mean; elsewhere are the other paths with a capability statement.
func judgeUpstream(u Upstream, own visit, elsewhere []string) Finding {
	found := "the server answers; at the configured address: " + own.says()
	switch {
	case own.fhir:
		return good(found, "the upstream is a FHIR API, and the configured address is its base")
	case own.status >= 500:
		return wrong(found, "the server, or a gateway before it, has trouble", "try again later; NHN's status page tells of disturbances")
	case len(elsewhere) > 0:
		base := *u.URL
		base.Path = strings.TrimSuffix(elsewhere[0], "/metadata")
		return careful(found, "the FHIR API is there, but under another path",
			"if this upstream is meant to be that API, write "+base.String()+" in SFM_UPSTREAMS; paths that the EPJ sends are added to it")
	case own.status == http.StatusUnauthorized || own.status == http.StatusForbidden:
		return good(found, "the server wants a token before it says anything")
	case own.status == http.StatusNotFound || own.status == http.StatusMethodNotAllowed:
		return careful(found, "the server is there, but none of the known paths has a capability statement: right for the session gateway and the upload of migrations, wrong for a FHIR API",
			"for a FHIR API, ask NHN for the base path of its version 2 and put it into SFM_UPSTREAMS")
	}
	return careful(found, "something answers, but not as SFM does", "see that SFM_UPSTREAMS names the right host, and whether a proxy answers in its place")
}

// visit asks for a capability statement. That of a large API is of a few hundred KiB.
func (e *examination) visit(ctx context.Context, address string) (visit, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return visit{}, err
	}
	r.Header.Set("Accept", "application/fhir+json")
	r.Header.Set("User-Agent", "sfm-sidecar")
	resp, err := e.o.Plain.RoundTrip(r)
	if err != nil {
		return visit{}, err
	}
	defer resp.Body.Close()
	const enough = 8 << 20
	var statement struct {
		ResourceType string `json:"resourceType"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, enough)).Decode(&statement) // what was cut off is no statement
	return visit{
		status: resp.StatusCode, tls: resp.TLS,
		fhir: resp.StatusCode == http.StatusOK && err == nil && statement.ResourceType == "CapabilityStatement",
	}, nil
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.EscapedPath()
}

// unreached tells the ways apart in which a server can be out of reach.
func unreached(err error, u *url.URL) Finding {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var slow net.Error
	f := Finding{Status: Failed, Code: "upstream-unavailable"}
	switch {
	case errors.As(err, &dns):
		f.Found, f.Means, f.Do = "the name "+u.Hostname()+" is not found", "no connection is possible", "check the host in SFM_UPSTREAMS, and the name server (some of NHN's names are known within the health network only)"
	case errors.As(err, &authority):
		f.Found, f.Means, f.Do = "the server's certificate is by an authority that this machine does not know", "something between here and SFM may read along: an inspecting proxy", "have the proxy let SFM through untouched, or name its authority in SIDECAR_CA_FILE"
	case errors.As(err, &name), errors.As(err, &invalid):
		f.Found, f.Means, f.Do = "the server's certificate is not good for "+u.Hostname(), "it is another's, or has run out", "check the host in SFM_UPSTREAMS, and this machine's clock"
	case errors.As(err, &record):
		f.Found, f.Means, f.Do = "the server does not speak TLS", "it is no https server", "check scheme and port in SFM_UPSTREAMS"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Found, f.Means, f.Do = "connection refused", "the machine is there, but nothing listens at that port", "check host and port in SFM_UPSTREAMS, and firewalls"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		f.Found, f.Means, f.Do = fmt.Sprintf("no answer within %s", askLimit), "a firewall, or no way there", "open the way to "+u.Host+" (outbound, TCP), or set HTTPS_PROXY"
	default:
		f.Found, f.Means, f.Do = "the connection failed", "the server, or something before it, broke it off", "check the network, HTTPS_PROXY and firewalls"
	}
	return f
}

func tlsFacts(s *tls.ConnectionState) Details {
	facts := Details{{Name: "tls", Value: tls.VersionName(s.Version)}}
	if len(s.PeerCertificates) > 0 {
		facts = append(facts, helseid.Fact{Name: "certificate_until", Value: s.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)})
	}
	return facts
}

// warnCertificate adds that the server's certificate soon runs out.
func warnCertificate(f *Finding, s *tls.ConnectionState, now time.Time) {
	if len(s.PeerCertificates) == 0 || s.PeerCertificates[0].NotAfter.Sub(now) > certificateWarn || f.Status != OK {
		return
	}
	f.Status, f.Means = Warning, f.Means+"; but its certificate runs out within two weeks"
	f.Do = "tell NHN, unless it is your own proxy's"
}
