package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/telemetry"
)

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	return w.Body.String()
}

// What is not known is not shown, rather than shown as 1970.
func TestClientKeyNotAfter(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	var end time.Time
	m.ClientKeyNotAfter(func() time.Time { return end })
	if strings.Contains(scrape(t, m), "not_after") {
		t.Error("shown before it is known")
	}
	end = time.Unix(1893456000, 0)
	if !strings.Contains(scrape(t, m), "\nsfm_sidecar_client_key_not_after_seconds 1.893456e+09\n") {
		t.Error("not shown")
	}
}

func TestMetrics(t *testing.T) {
	m := telemetry.NewMetrics("v1.2.3")
	entries := 3
	m.CacheEntries(func() int { return entries })
	m.Sessions(func() int { return 5 })
	m.SFMSessions(func() (int, int) { return 7, 2 })
	m.SFMSessionRefresh("lost")
	m.Refusal("tenant-missing")
	m.Request(t.Context(), "basis", http.MethodGet, "200", 120*time.Millisecond, 80*time.Microsecond)
	m.Request(t.Context(), "basis", "PROPFIND", "405", time.Millisecond, -time.Millisecond)
	m.TokenRequest(t.Context(), "refresh_token", "ok", 300*time.Millisecond)
	m.TokenCache("hit")
	m.NonceChallenge("helseid")
	m.Skew("helseid", -1500*time.Millisecond)
	entries = 4

	got := scrape(t, m)
	for _, line := range []string{
		`sfm_sidecar_build_info{version="v1.2.3"} 1`,
		`sfm_sidecar_requests_total{code="200",method="GET",upstream="basis"} 1`,
		`sfm_sidecar_requests_total{code="405",method="OTHER",upstream="basis"} 1`,
		`sfm_sidecar_request_duration_seconds_bucket{upstream="basis",le="0.25"} 2`,
		`sfm_sidecar_request_duration_seconds_count{upstream="basis"} 2`,
		`sfm_sidecar_overhead_seconds_bucket{upstream="basis",le="5e-05"} 1`,
		`sfm_sidecar_overhead_seconds_bucket{upstream="basis",le="0.0001"} 2`,
		`sfm_sidecar_refusals_total{code="tenant-missing"} 1`,
		`sfm_sidecar_token_requests_total{grant="refresh_token",outcome="ok"} 1`,
		`sfm_sidecar_token_request_duration_seconds_count{grant="refresh_token"} 1`,
		`sfm_sidecar_token_cache_total{result="hit"} 1`,
		`sfm_sidecar_token_cache_entries 4`,
		`sfm_sidecar_dpop_nonce_challenges_total{party="helseid"} 1`,
		`sfm_sidecar_clock_skew_seconds{party="helseid"} -1.5`,
		`sfm_sidecar_sessions 5`,
		`sfm_sidecar_sfm_sessions{state="open"} 7`,
		`sfm_sidecar_sfm_sessions{state="lost"} 2`,
		`sfm_sidecar_sfm_session_refreshes_total{outcome="lost"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !strings.Contains(got, "go_goroutines") {
		t.Error("the runtime's metrics are missing")
	}
}

// TestOwnRegistry sees that two sidecars in one process do not share metrics.
func TestOwnRegistry(t *testing.T) {
	one, other := telemetry.NewMetrics("a"), telemetry.NewMetrics("b")
	one.Refusal("internal")
	if strings.Contains(scrape(t, other), "refusals_total{") {
		t.Error("a refusal was counted in another registry")
	}
}

func TestHealth(t *testing.T) {
	var health telemetry.Health
	handler := health.Handler()
	expect := func(when, path string, status int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != status || strings.TrimSpace(w.Body.String()) != body {
			t.Errorf("%s, %s: %d %s", when, path, w.Code, w.Body)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("%s, %s: Content-Type %s", when, path, got)
		}
	}
	const live = `{"status":"ok","reason":"running"}`
	expect("before the start", "/startup", 503, `{"status":"unavailable","reason":"starting"}`)
	expect("before the start", "/readyz", 503, `{"status":"unavailable","reason":"starting"}`)
	expect("before the start", "/livez", 200, live)
	health.Started()
	expect("started", "/startup", 200, `{"status":"ok","reason":"started"}`)
	expect("started", "/readyz", 200, `{"status":"ok","reason":"ready"}`)
	health.Stopping()
	expect("stopping", "/startup", 200, `{"status":"ok","reason":"started"}`)
	expect("stopping", "/readyz", 503, `{"status":"unavailable","reason":"stopping"}`)
	expect("stopping", "/livez", 200, live)

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("/: %d", w.Code)
	}
}
