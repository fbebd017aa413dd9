package helseid

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokenCheck(t *testing.T) {
	upper := strings.ToUpper(testTenant.Journal)
	single := func(o *Options) { o.Tenancy = TenancySingle }
	noChild := func(r *Request) { r.Tenant.Child = "" }
	for name, tc := range map[string]struct {
		claims  map[string]any
		options func(*Options)
		request func(*Request)
		want    string // claim that is named; "" = accepted
	}{
		"as asked for":               {},
		"aud array":                  {claims: map[string]any{"aud": []string{"x", sfmAudience}}},
		"aud missing":                {claims: map[string]any{"aud": nil}, want: "aud"},
		"aud another":                {claims: map[string]any{"aud": "e-helse:other"}, want: "aud"},
		"aud with ours as a word":    {claims: map[string]any{"aud": "x " + sfmAudience}, want: "aud"},
		"aud not strings":            {claims: map[string]any{"aud": []any{sfmAudience, 1}}, want: "aud"},
		"another audience wanted":    {request: func(r *Request) { r.Audience = "nhn:other" }, want: "aud"},
		"parent missing":             {claims: map[string]any{claimParent: nil}, want: claimParent},
		"parent another":             {claims: map[string]any{claimParent: "999977774"}, want: claimParent},
		"parent a number":            {claims: map[string]any{claimParent: 100100126}, want: claimParent},
		"parent an array":            {claims: map[string]any{claimParent: []string{"100100126"}}, want: claimParent},
		"child missing":              {claims: map[string]any{claimChild: nil}, want: claimChild},
		"child another":              {claims: map[string]any{claimChild: "999977774"}, want: claimChild},
		"child not asked, absent":    {claims: map[string]any{claimChild: nil}, request: noChild},
		"child not asked, empty":     {claims: map[string]any{claimChild: ""}, request: noChild},
		"child not asked, there":     {request: noChild, want: claimChild},
		"child not asked, a number":  {claims: map[string]any{claimChild: 7}, request: noChild, want: claimChild},
		"journal missing":            {claims: map[string]any{claimJournal: nil}, want: claimJournal},
		"journal another":            {claims: map[string]any{claimJournal: "ce75db36-c57b-4592-9d47-5dfae8a34340"}, want: claimJournal},
		"journal in upper case":      {claims: map[string]any{claimJournal: upper}},
		"journal asked in upper":     {request: func(r *Request) { r.Tenant.Journal = upper }},
		"static sfm-id is no matter": {claims: map[string]any{claimSFMID: "ce75db36-c57b-4592-9d47-5dfae8a34340"}},
		"sfm-id does not stand in":   {claims: map[string]any{claimJournal: nil, claimSFMID: testTenant.Journal}, want: claimJournal},

		"single":                  {claims: map[string]any{claimJournal: nil, claimSFMID: upper}, options: single},
		"single without sfm-id":   {claims: map[string]any{claimJournal: nil}, options: single, want: claimSFMID},
		"single, another sfm-id":  {claims: map[string]any{claimJournal: nil, claimSFMID: "x"}, options: single, want: claimSFMID},
		"single, another journal": {claims: map[string]any{claimJournal: "x", claimSFMID: upper}, options: single, want: claimJournal},
		"single, another parent":  {claims: map[string]any{claimParent: "1", claimSFMID: upper}, options: single, want: claimParent},

		"scope a string":         {claims: map[string]any{"scope": "openid " + testScope}},
		"scope missing":          {claims: map[string]any{"scope": nil}, want: "scope"},
		"scope a part":           {claims: map[string]any{"scope": testScope + "x"}, want: "scope"},
		"scope array of phrases": {claims: map[string]any{"scope": []string{"openid " + testScope}}, want: "scope"},
		"cnf missing":            {claims: map[string]any{"cnf": nil}, want: claimThumbprint},
		"cnf another key":        {claims: map[string]any{"cnf": map[string]any{"jkt": "x"}}, want: claimThumbprint},
		"cnf without jkt":        {claims: map[string]any{"cnf": map[string]any{"x5t": "x"}}, want: claimThumbprint},
		"cnf a string":           {claims: map[string]any{"cnf": "x"}, want: claimThumbprint},

		"person missing":    {claims: map[string]any{claimPID: nil}, want: claimPID},
		"person another":    {claims: map[string]any{claimPID: "02027012345"}, want: claimPID},
		"person a number":   {claims: map[string]any{claimPID: 1017012345}, want: claimPID},
		"level a number":    {claims: map[string]any{claimLevel: 4}},
		"level missing":     {claims: map[string]any{claimLevel: nil}, want: claimLevel},
		"level 3":           {claims: map[string]any{claimLevel: "3"}, want: claimLevel},
		"level 40":          {claims: map[string]any{claimLevel: 40}, want: claimLevel},
		"level an array":    {claims: map[string]any{claimLevel: []string{"4"}}, want: claimLevel},
		"folded claim name": {claims: map[string]any{claimPID: nil, strings.ToUpper(claimPID): testPID}, want: claimPID},

		"renamed": {
			claims: map[string]any{claimParent: nil, "p": testTenant.Parent, claimPID: nil, "who": testPID},
			options: func(o *Options) {
				o.ClaimNames = map[string]string{"parent": "p", "pid": "who"}
			},
		},
		"renamed and missing": {options: func(o *Options) { o.ClaimNames = map[string]string{"journal": "j"} }, want: "j"},

		"another API without journal": {
			claims:  map[string]any{"aud": "nhn:other", claimJournal: nil},
			request: func(r *Request) { r.Audience = "nhn:other" },
		},
		"another API, wrong journal": {
			claims:  map[string]any{"aud": "nhn:other", claimJournal: "x"},
			request: func(r *Request) { r.Audience = "nhn:other" }, want: claimJournal,
		},
		"another API, wrong person": {
			claims:  map[string]any{"aud": "nhn:other", claimPID: "02027012345"},
			request: func(r *Request) { r.Audience = "nhn:other" }, want: claimPID,
		},
		"bearer, but bound": {options: func(o *Options) { o.DPoP = nil }, want: claimThumbprint},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
				f.grant(w, nil, tc.claims)
			}
			c := f.client(tc.options)
			if c.opt.DPoP == nil {
				f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
					f.grant(w, map[string]any{"token_type": "Bearer"}, tc.claims)
				}
			}
			r := Request{Tenant: testTenant, Wanted: []string{testScope}, PID: testPID}
			if tc.request != nil {
				tc.request(&r)
			}
			_, err := c.Refresh(t.Context(), "first-refresh", r)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := wantError(t, err, codeTokenMismatch); e.Reason() != tc.want || !strings.Contains(e.Detail(), tc.want) {
				t.Errorf("names %s, want %s", e.Reason(), tc.want)
			} else if !e.Permanent() || e.Garbled() {
				t.Error("permanent or garbled is wrong")
			}
		})
	}
}

func TestUnsignedTerms(t *testing.T) {
	for name, tc := range map[string]struct {
		members map[string]any
		refused bool
	}{
		"granted":                  {map[string]any{"rejected_scope": "other"}, false},
		"no scope member":          {map[string]any{"scope": nil}, false},
		"scope as an array":        {map[string]any{"scope": []string{testScope}}, false},
		"rejected string":          {map[string]any{"rejected_scope": "x " + testScope}, true},
		"rejected array":           {map[string]any{"rejected_scope": []string{"x", testScope}}, true},
		"left out":                 {map[string]any{"scope": "openid"}, true},
		"empty scope":              {map[string]any{"scope": ""}, true},
		"rejected and not granted": {map[string]any{"rejected_scope": testScope, "scope": "openid"}, true},
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { f.grant(w, tc.members, nil) }
		_, err := refresh(t.Context(), f.client(nil))
		if !tc.refused {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if e := wantError(t, err, codeTermsUnsigned); !e.Permanent() || !strings.Contains(e.Detail(), testScope) {
			t.Errorf("%s: permanent %v, detail %s", name, e.Permanent(), e.Detail())
		}
	}
}

func TestWarnings(t *testing.T) {
	f := newFake(t)
	f.post = func(_ int, w http.ResponseWriter, _ *http.Request) {
		f.grant(w, nil, map[string]any{claimHPR: nil, claimAssurance: "substantial"})
	}
	g, err := refresh(t.Context(), f.client(func(o *Options) { o.SupplierOrgnr = "999977774" }))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"the token has no HPR number", "the token's assurance level is not high",
		"the token names another supplier than HELSEID_SUPPLIER_ORGNR",
	}
	if diff := cmp.Diff(want, g.Warnings); diff != "" {
		t.Error("warnings (-want +got):\n", diff)
	}
}

// FuzzTokenClaims holds the promise of the check: no payload is accepted that another reader of JSON would understand
// as another tenant or person.
func FuzzTokenClaims(f *testing.F) {
	e := &expectation{
		names:  claimNames{parent: claimParent, child: claimChild, journal: claimJournal, pid: claimPID},
		tenant: testTenant, audience: sfmAudience, scopes: []string{testScope}, thumbprint: "jkt", pid: testPID,
	}
	good, err := json.Marshal(map[string]any{
		"aud": sfmAudience, "scope": []string{testScope}, claimParent: testTenant.Parent, claimChild: testTenant.Child,
		claimJournal: testTenant.Journal, claimPID: testPID, claimLevel: "4", "cnf": map[string]any{"jkt": "jkt"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), `{`, `{"aud":"x",`, 1)))
	f.Add([]byte(`{"aud":["e-helse:sfm.api"],"cnf":{"jkt":"a","jkt":"b"}}`))
	f.Add([]byte(`{"aud":null,"scope":7,"cnf":[]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parseMembers(payload)
		if err != nil {
			return
		}
		_ = e.warnings(m)
		if e.mismatch(m) != "" {
			return
		}
		var other map[string]any
		if json.Unmarshal(payload, &other) != nil {
			t.Fatal("accepted what encoding/json refuses")
		}
		for name, want := range map[string]string{
			claimParent: testTenant.Parent, claimChild: testTenant.Child, claimPID: testPID,
		} {
			if other[name] != want {
				t.Errorf("accepted another %s", name)
			}
		}
		if journal, _ := other[claimJournal].(string); !strings.EqualFold(journal, testTenant.Journal) {
			t.Error("accepted another journal")
		}
	})
}

func FuzzJWT(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		payload, claims, ok := parseJWT(raw)
		if !ok {
			return
		}
		if strings.Count(raw, ".") != 2 || strings.ContainsAny(raw, "\r\n \t,\"") || claims == nil || len(payload) < 2 {
			t.Error("accepted what is no compact JWT")
		}
	})
}
