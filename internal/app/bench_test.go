package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// BenchmarkCall compares a call through the whole sidecar, over real sockets,
// with the same call through a bare ReverseProxy; both in one run, to the same
// plain server. The token is in the cache; the proof is made for each call.
func BenchmarkCall(b *testing.B) {
	body := strings.Repeat("x", 1000)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		b.Fatal(err)
	}
	bare := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 200, DisableCompression: true},
	})
	defer bare.Close()
	tenant := simulator.Tenants()[0]
	b.Run("bare", func(b *testing.B) { calls(b, bare.URL+"/Task", nil) })
	for _, level := range []string{"error", "info"} {
		w := newWorld(b, setup{env: []string{"SFM_UPSTREAMS=basis=" + upstream.URL, "LOG_LEVEL=" + level}})
		handle := w.logIn("lege")
		b.Run("sidecar/log="+level, func(b *testing.B) { calls(b, w.base+"/basis/Task", headers(handle, tenant)) })
	}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer collector.Close()
	for _, sampler := range []string{"always_off", "always_on"} { // a trace that is not kept is passed on all the same
		w := newWorld(b, setup{env: []string{
			"SFM_UPSTREAMS=basis=" + upstream.URL, "LOG_LEVEL=error", "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_TRACES_SAMPLER=" + sampler,
		}})
		handle := w.logIn("lege")
		b.Run("sidecar/traces="+sampler, func(b *testing.B) { calls(b, w.base+"/basis/Task", headers(handle, tenant)) })
	}
}

// calls sends b.N calls, several at a time.
func calls(b *testing.B, address string, header []string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200, DisableCompression: true}}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequest(http.MethodGet, address, nil)
			if err != nil {
				b.Error(err)
				return
			}
			for i := 0; i+1 < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Errorf("status %d %s", resp.StatusCode, resp.Header.Get("Sidecar-Error"))
				return
			}
		}
	})
}
