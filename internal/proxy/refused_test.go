package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"sfm-sidecar/internal/tenantmap"
)

// Whoever runs the sidecar is told of refused calls as the caller is, with their
// tenant; not of what other listeners refuse.
func TestRefusedIsTold(t *testing.T) {
	var told []Refused
	sfm := upstreamServer(t, func(http.ResponseWriter, *http.Request) {})
	h := open(t, sfm, func(o *Options) {
		o.Tokens = &fakeTokens{err: coded{code: "tenant-refused"}}
		o.Observe.Refused = func(r Refused) { told = append(told, r) }
	})
	ask := h.ask("GET", "/basis/Task", nil)
	ask.Header.Set("X-Request-Id", "request-1")
	a := h.do(ask)
	h.refused(a, "tenant-refused", http.StatusForbidden)
	if len(told) != 1 {
		t.Fatalf("told of %d", len(told))
	}
	r := told[0]
	if r.Code != "tenant-refused" || r.Origin != "helseid" || r.RequestID != "request-1" || r.Upstream != "basis" || r.Hint == "" || r.Title == "" || r.At.IsZero() {
		t.Errorf("told %+v", r)
	}
	if r.Tenant == (tenantmap.Tenant{}) {
		t.Error("the tenant is missing")
	}
	h.Refuse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), coded{code: "host-refused"})
	if len(told) != 1 {
		t.Error("told of another listener's refusal")
	}
}
