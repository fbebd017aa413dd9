package session_test

import (
	"testing"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/session"
)

// A log-in for a tenant is pushed for it, whenever the browser comes, and as often.
// The session is not limited to it: HelseID decides what a refresh may name.
func TestLoginForATenant(t *testing.T) {
	tenant := session.Tenant{Parent: "100100126", Child: "999944582", Journal: "7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35"}
	tests := map[string]struct {
		options session.LoginOptions
		want    session.Tenant
	}{
		"own callback":   {session.LoginOptions{Tenant: tenant}, tenant},
		"without tenant": {session.LoginOptions{}, session.Tenant{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			handle, link, browser, state := r.pending(t, session.Begin{LoginOptions: tt.options})
			if _, err := r.Open(t.Context(), link, browser); err != nil { // the person reloads the page
				t.Fatal(err)
			}
			if len(r.helseID.pushed) != 2 {
				t.Fatalf("%d requests were pushed, want 2", len(r.helseID.pushed))
			}
			for i, a := range r.helseID.pushed {
				if a.Tenant != helseid.Tenant(tt.want) {
					t.Errorf("request %d is for %+v", i, a.Tenant)
				}
			}
			if err := r.Finish(t.Context(), own(state, browser)); err != nil {
				t.Fatal(err)
			}
			s, err := r.ByHandle(t.Context(), handle, "")
			if err != nil || !s.Allows(session.Tenant{Parent: "313325016", Journal: tenant.Journal}) {
				t.Errorf("the session is limited to the tenant of its log-in (%v)", err)
			}
		})
	}
}

func TestLoginForATenantWithTheEPJsCallback(t *testing.T) {
	r := newRig(t)
	want := session.Tenant{Parent: "100100126", Journal: "j"}
	_, err := r.Begin(t.Context(), session.Begin{LoginOptions: session.LoginOptions{Tenant: want, RedirectURI: "https://epj.example/cb"}})
	if err != nil || len(r.helseID.pushed) != 1 || r.helseID.pushed[0].Tenant != helseid.Tenant(want) {
		t.Errorf("%d requests were pushed, %v", len(r.helseID.pushed), err)
	}
}
