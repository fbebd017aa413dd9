package proxy

import (
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
)

// TestTLS calls an upstream that would rather speak HTTP/2, and checks that
// bytes are counted beneath TLS too.
func TestTLS(t *testing.T) {
	fail := false
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fail {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	trust := x509.NewCertPool()
	trust.AddCert(srv.Certificate())
	h := open(t, srv.URL, func(o *Options) {
		o.Transport.(*dpop.Transport).Base = NewTransport(TransportOptions{CA: trust, ResponseTimeout: time.Second})
	})
	if a := h.get("/basis/x"); string(a.body) != "HTTP/1.1" {
		t.Errorf("status %d, %q", a.StatusCode, a.body)
	}
	fail = true
	h.refused(h.get("/basis/x"), "upstream-outcome-unknown", 502)
	h = open(t, srv.URL) // does not trust the certificate
	h.refused(h.get("/basis/x"), "upstream-unavailable", 502)
}
