// Package selvbetjening asks HelseID Selvbetjening, by its API for clients, what it knows of this very client: which
// scopes and addresses are registered, which keys, and until when. It also registers a new key.
//
// What is known of the API comes from NHN's own samples and libraries (NorskHelsenett/Selvbetjening.Samples,
// HelseID.Library). A list of a multi-tenant client's tenants with their status is said to exist, but not published;
// [API.Tenants] asks for it in the form that our simulator has, and is behind an interface of its own ([TenantLister])
// so that the real form takes its place without touching anything else.
//
// The calls are authorized by the Transport: a token of the client itself (client credentials) with the scope [Scope],
// and a DPoP proof. What comes back is bounded in bytes and in time; redirects are not followed, and nothing is sent
// twice. An error never repeats an answer but for the texts of a problem document (RFC 7807), cut, cleaned and masked.
package selvbetjening

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Scope is what the token for these calls must carry.
const Scope = "nhn:selvbetjening/client"

const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 4 << 20
	maxList        = 100_000 // tenants, or anything else
)

// Options are how the API is reached.
type Options struct {
	// URL is the address that the paths are put behind, https://api.selvbetjening.nhn.no for instance. Required.
	URL string
	// Transport sends the requests, authorized. If nil, net/http's own.
	Transport http.RoundTripper
	// Timeout bounds one call. If 0, 20 s.
	Timeout time.Duration
}

// API is Selvbetjening as this client sees it. Safe for concurrent use.
type API struct {
	url     *url.URL
	http    *http.Client
	timeout time.Duration
}

// New checks the options. It asks nothing yet.
func New(o Options) (*API, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("setting up Selvbetjening: its address is not an http or https URL without query")
	}
	a := &API{url: u, timeout: o.Timeout, http: &http.Client{
		Transport:     o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if a.timeout <= 0 {
		a.timeout = defaultTimeout
	}
	return a, nil
}

// get reads an answer of 200 into a value.
func (a *API) get(ctx context.Context, path string, into any) error {
	return a.call(ctx, http.MethodGet, path, nil, into)
}

// call makes one request. Its error is an [*Error], or the end of ctx.
func (a *API) call(ctx context.Context, method, path string, body []byte, into any) error {
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var sent atomic.Bool // a connection was had: bytes may have been written
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(limited, trace), method, a.url.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking Selvbetjening: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sfm-sidecar")
	if body == nil {
		req.Body = nil
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return silence(ctx, limited, err, sent.Load())
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return refused(resp, answer)
	}
	media, _, mediaErr := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return &Error{Status: resp.StatusCode, Problem: "its answer broke off", Mend: "try again later", Unknown: true}
	case len(answer) > maxAnswer || mediaErr != nil || media != "application/json" || json.Unmarshal(answer, into) != nil:
		return &Error{Status: resp.StatusCode, Problem: "its answer can't be understood", Mend: "check SELVBETJENING_URL; it may be of another version", Unknown: true}
	}
	return nil
}

// unauthorized is the error of a Transport that got no token to send.
type unauthorized interface {
	error
	Detail() string
	Hint() string
}

// silence says what it means that no answer came.
func silence(ctx, limited context.Context, err error, sent bool) error {
	if ctx.Err() != nil && !sent {
		return context.Cause(ctx)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the address
	}
	if u, ok := errors.AsType[unauthorized](err); ok {
		mend := u.Hint()
		if mend == "" {
			mend = "have the scope " + Scope + " and the grant client_credentials added to the client in Selvbetjening"
		}
		if o, ok := errors.AsType[interface {
			error
			OAuthError() string
		}](err); ok && o.OAuthError() == "invalid_client" {
			mend = "look at HELSEID_CLIENT_ID, and whether the public half of this key is registered for it: a first key is registered in Selvbetjening by hand; " +
				"or name the file of the key that is registered"
		}
		return &Error{Problem: "there is no token for it: " + u.Detail(), Mend: mend, cause: err}
	}
	e := &Error{Problem: "it can't be reached", Mend: "check SELVBETJENING_URL, the network and HTTPS_PROXY", Unknown: sent, cause: err}
	switch {
	case limited.Err() != nil:
		e.Problem, e.Mend = "it did not answer in time", "try again later"
	case sent:
		e.Problem, e.Mend = "the connection broke before an answer came", "try again later"
	}
	return e
}

// moment reads a point in time as .NET writes it: with a zone, or without, which then is UTC.
type moment struct{ time.Time }

// UnmarshalJSON takes null and "" for no time at all.
func (m *moment) UnmarshalJSON(raw []byte) error {
	var text *string
	if json.Unmarshal(raw, &text) != nil {
		return errors.New("not a point in time")
	}
	if text == nil || *text == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if at, err := time.Parse(layout, strings.TrimSpace(*text)); err == nil {
			m.Time = at.UTC()
			return nil
		}
	}
	return errors.New("not a point in time")
}
