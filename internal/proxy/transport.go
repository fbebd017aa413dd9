package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"
)

// TransportOptions says how SFM is reached.
type TransportOptions struct {
	// ResponseTimeout is the wait for an answer's headers once the request has
	// been written. If zero, there is none. Bodies are never timed out.
	ResponseTimeout time.Duration
	// CA are the trusted certificates. If nil, the system's.
	CA *x509.CertPool
	// Proxy finds the HTTP proxy for a request. If nil, none is used.
	Proxy func(*http.Request) (*url.URL, error)
	// DialContext makes connections. If nil, a net.Dialer does, in 10 s.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewTransport makes the transport towards SFM. It speaks HTTP/1.1 only, as
// HTTP/2 resends requests that may have been worked on; it counts the bytes
// each connection has written; it leaves compressed answers compressed; and it
// drops idle connections after 30 s, before SFM's side is likely to.
func NewTransport(o TransportOptions) *http.Transport {
	dial := o.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	only1 := new(http.Protocols)
	only1.SetHTTP1(true)
	return &http.Transport{
		Proxy: o.Proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countingConn{Conn: conn}, nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: o.CA, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        30 * time.Second,
		ResponseHeaderTimeout:  o.ResponseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         8 << 10,
		WriteBufferSize:        8 << 10,
		ForceAttemptHTTP2:      false,
		Protocols:              only1,
	}
}
