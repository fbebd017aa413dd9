package helseid

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
)

// proofThumbprint is the thumbprint of the key of a request's proof.
func (f *fake) proofThumbprint(r *http.Request, keys ...*dpop.Key) string {
	head, _, _ := strings.Cut(r.Header.Get("DPoP"), ".")
	for _, k := range keys {
		other, _, _ := strings.Cut(k.Proof(dpop.Claims{Method: "POST", URL: testIssuer}), ".")
		if head == other {
			return k.Thumbprint()
		}
	}
	return "unknown"
}

// A refresh goes with the key in use; with the refresh token's own only where HelseID
// refuses the proof, and from then on at once. A token that is refused itself is sent once.
func TestRefreshWithAnotherKey(t *testing.T) {
	for name, tc := range map[string]struct {
		bound    string // the error with which another key than the token's own is refused; "" = none is
		obtained bool   // the session knows the key of its refresh token
		dropped  bool   // and it is no longer held
		posts    []int  // how many requests each of two refreshes makes
	}{
		"not bound":                      {obtained: true, posts: []int{1, 1}},
		"refused, not for its key":       {bound: errInvalidGrant, obtained: true, posts: []int{1, 1}},
		"bound":                          {bound: errInvalidProof, obtained: true, posts: []int{3, 1}},
		"another fault":                  {bound: "invalid_request", obtained: true, posts: []int{1, 1}},
		"the own key is not known":       {bound: errInvalidGrant, posts: []int{1, 1}},
		"the own key is no longer held":  {bound: errInvalidGrant, obtained: true, dropped: true, posts: []int{1, 1}},
		"nor is it, and the proof fails": {bound: errInvalidProof, obtained: true, dropped: true, posts: []int{2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			old := f.dpop
			current, err := dpop.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			ring := dpop.NewRing(current, old)
			if tc.dropped {
				ring.Replace(current)
			}
			f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
				used := f.proofThumbprint(r, old, current)
				if tc.bound != "" && used != old.Thumbprint() {
					writeError(w, http.StatusBadRequest, tc.bound, "")
					return
				}
				f.grant(w, nil, map[string]any{"cnf": map[string]any{"jkt": used}})
			}
			c := f.client(func(o *Options) { o.DPoP = ring })
			r := Request{Tenant: testTenant, Wanted: []string{testScope}, PID: testPID}
			if tc.obtained {
				r.Obtained = old.Thumbprint()
			}
			works := tc.bound == "" || tc.obtained && !tc.dropped && tc.bound == errInvalidProof
			want := current.Thumbprint()
			if tc.bound != "" {
				want = old.Thumbprint()
			}
			for i, posts := range tc.posts {
				before := len(f.posts())
				g, err := c.Refresh(t.Context(), "refresh", r)
				if n := len(f.posts()) - before; n != posts {
					t.Errorf("refresh %d: %d requests, want %d", i, n, posts)
				}
				if (err == nil) != works || works && g.Thumbprint != want {
					t.Errorf("refresh %d: %v", i, err)
				}
			}
			warned := slices.ContainsFunc(f.warnings, func(s string) bool { return strings.Contains(s, "binds refresh tokens") })
			if wanted := works && tc.bound != ""; warned != wanted || wanted && len(f.warnings) != 1 {
				t.Errorf("warnings %v", f.warnings)
			}
		})
	}
}

// A proof that is refused for its time would be refused with any key.
func TestRefreshWithAWrongClock(t *testing.T) {
	f := newFake(t)
	current, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
		if f.proofThumbprint(r, f.dpop, current) != current.Thumbprint() {
			t.Error("sent with the key of before")
		}
		w.Header().Set("Date", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		writeError(w, http.StatusBadRequest, errInvalidProof, "")
	}
	c := f.client(func(o *Options) { o.DPoP = dpop.NewRing(current, f.dpop) })
	r := Request{Tenant: testTenant, Wanted: []string{testScope}, PID: testPID, Obtained: f.dpop.Thumbprint()}
	_, err = c.Refresh(t.Context(), "refresh", r)
	wantError(t, err, codeClockSkew)
}

// A proof that HelseID takes elsewhere, and refuses for a refresh token whose own key is
// gone, means that the log-in is over; one that it takes nowhere does not.
func TestRefreshTokenOfALostKey(t *testing.T) {
	for name, elsewhere := range map[string]bool{"taken elsewhere": true, "taken nowhere": false} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
				if r.FormValue("grant_type") == "refresh_token" {
					writeError(w, http.StatusBadRequest, errInvalidProof, "")
					return
				}
				f.grant(w, nil, map[string]any{claimPID: nil, claimLevel: nil})
			}
			c := f.client(nil)
			if elsewhere {
				if _, err := c.ClientCredentials(t.Context(), Request{Tenant: testTenant, Wanted: []string{testScope}}); err != nil {
					t.Fatal(err)
				}
			}
			r := Request{Tenant: testTenant, Wanted: []string{testScope}, PID: testPID}
			r.Obtained = "gone"
			_, err := c.Refresh(t.Context(), "refresh", r)
			if e := wantError(t, err, codeRefused); e.InvalidGrant() != elsewhere {
				t.Errorf("the log-in is over: %v", e.InvalidGrant())
			}
		})
	}
}

// What is asked for with a key is compared with that one, whatever is in use by then.
func TestKeyChangesWhileATokenComes(t *testing.T) {
	f := newFake(t)
	ring := dpop.NewRing(f.dpop)
	other, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	f.post = func(_ int, w http.ResponseWriter, r *http.Request) {
		used := f.proofThumbprint(r, f.dpop, other)
		ring.Replace(other, f.dpop)
		f.grant(w, nil, map[string]any{"cnf": map[string]any{"jkt": used}})
	}
	c := f.client(func(o *Options) { o.DPoP = ring })
	for _, want := range []*dpop.Key{f.dpop, other} {
		g, err := refresh(t.Context(), c)
		if err != nil || g.Thumbprint != want.Thumbprint() {
			t.Errorf("%v", err)
		}
	}
	login, err := c.Exchange(t.Context(), CodeGrant{Code: "code"})
	if err != nil || login.Thumbprint != other.Thumbprint() {
		t.Errorf("the log-in began with another key, %v", err)
	}
}
