package simulator

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

var machine = url.Values{"grant_type": {GrantClientCredentials}}

func TestTokenProofRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		change      func(*vendor)
		code, about string
	}{
		"no proof":    {func(v *vendor) { v.bearer = true }, codeInvalidProof, "exactly one"},
		"no nonce":    {func(v *vendor) { v.nonce = "" }, codeUseNonce, "no nonce"},
		"own nonce":   {func(v *vendor) { v.nonce = "made up" }, codeUseNonce, "not from here"},
		"stale nonce": {func(v *vendor) { v.clock = v.clock.Add(601 * time.Second) }, codeUseNonce, "stale"},
		"iat old":     {func(v *vendor) { v.proof = map[string]any{"iat": v.clock.Unix() - 11} }, codeInvalidProof, "11.0 s old"},
		"iat early":   {func(v *vendor) { v.proof = map[string]any{"iat": v.clock.Unix() + 6} }, codeInvalidProof, "6.0 s in the future"},
		"htu":         {func(v *vendor) { v.proof = map[string]any{"htu": v.sim.options.Issuer + "/connect/token?x"} }, codeInvalidProof, "htu"},
		"htm":         {func(v *vendor) { v.proof = map[string]any{"htm": "GET"} }, codeInvalidProof, "htm"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.nonce = v.sim.nonces.issue(v.clock)
			row.change(v)
			got := v.token(machine, nil)
			v.wantRefusal(got, row.code, row.about)
			if row.code == codeUseNonce && got.header.Get("DPoP-Nonce") == "" {
				t.Error("use_dpop_nonce without a DPoP-Nonce header")
			}
		})
	}
}

func TestProofIsSingleUse(t *testing.T) {
	v := newVendor(t)
	v.proof = map[string]any{"jti": "the same"}
	v.wantRefusal(v.token(machine, nil), codeUseNonce, "no nonce")
	v.wantRefusal(v.token(machine, nil), codeInvalidProof, "seen before")
}

func TestNonceLives(t *testing.T) {
	for name, row := range map[string]struct {
		knob  func(*HelseIDKnobs)
		wait  time.Duration
		again bool // the same nonce is good a second time
	}{
		"default":     {func(*HelseIDKnobs) {}, 9 * time.Minute, true},
		"too late":    {func(*HelseIDKnobs) {}, 11 * time.Minute, false},
		"zero":        {func(k *HelseIDKnobs) { k.NonceSeconds = 0 }, 0, false},
		"single use":  {func(k *HelseIDKnobs) { k.SingleUseNonce = true }, 0, false},
		"two seconds": {func(k *HelseIDKnobs) { k.NonceSeconds = 2 }, 2 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.sim.SetKnobs(func(k *Knobs) { row.knob(&k.HelseID) })
			nonce := v.token(machine, nil).header.Get("DPoP-Nonce")
			if got := v.token(machine, nil); got.status != http.StatusOK {
				t.Fatalf("a fresh nonce is refused: %v", got.json["error_description"])
			}
			v.clock, v.nonce = v.clock.Add(row.wait), nonce
			if got := v.token(machine, nil); (got.status == http.StatusOK) != row.again {
				t.Errorf("the second use gave status %d", got.status)
			}
		})
	}
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.NoNonceOnSuccess = true })
	if got := v.granted(machine, nil); got.header.Get("DPoP-Nonce") != "" {
		t.Error("the knob no_nonce_on_success does nothing")
	}
}

func TestNonceBookIsBounded(t *testing.T) {
	var book nonceBook
	now := time.Now()
	first := book.issue(now)
	for range maxNonces {
		book.issue(now)
	}
	if len(book.issued) > maxNonces || len(book.order) > maxNonces || book.good(first, now, DefaultKnobs().HelseID) {
		t.Error("the book grows beyond its bound")
	}
}

func TestGrantRefusals(t *testing.T) {
	v := newVendor(t, func(c *Client) {
		c.Grants = []string{GrantClientCredentials, GrantTokenExchange}
		c.Audience = "epj:api"
	})
	v.nonce = v.sim.nonces.issue(v.clock)
	v.wantRefusal(v.token(url.Values{}, nil), "unsupported_grant_type", "missing")
	v.wantRefusal(v.token(url.Values{"grant_type": {"password"}}, nil), "unsupported_grant_type", "password")
	v.wantRefusal(v.token(refreshForm("x"), nil), "unauthorized_client", GrantRefresh)
	v.wantRefusal(v.post("/connect/par", pushForm(), nil), "unauthorized_client", GrantCode)
	for _, scope := range []string{"openid", "profile", "helseid://scopes/identity/pid", "helseid://scopes/hpr/hpr_number"} {
		v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}, "scope": {scope}}, nil), "invalid_scope", "about a person")
	}
	v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}, "scope": {"nhn:other/api"}}, nil), "invalid_scope", "nhn:other/api")
	v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}, "scope": {SFMScope}, "resource": {"x"}}, nil), "invalid_target", `"x"`)
}

func TestClientCredentials(t *testing.T) {
	v := newVendor(t)
	got := v.granted(url.Values{"grant_type": {GrantClientCredentials}, "scope": {SFMScope}, "resource": {"e-helse:sfm.api"}}, nil)
	if got.json["scope"] != SFMScope || got.json["refresh_token"] != nil || got.json["id_token"] != nil {
		t.Error("client credentials gave another scope, or tokens of a person")
	}
	if claims := claimsOf(t, got.json["access_token"]); claims["sub"] != nil || claims["aud"] != "e-helse:sfm.api" || claims["sid"] != nil {
		t.Error("the machine's token tells of a person")
	}
}

func TestBearerClient(t *testing.T) {
	v := newVendor(t, func(c *Client) { c.DPoP = false })
	v.bearer = true
	got := v.granted(machine, nil)
	if got.json["token_type"] != "Bearer" || claimsOf(t, got.json["access_token"])["cnf"] != nil || got.header.Get("DPoP-Nonce") != "" {
		t.Error("a token without a proof is bound, or a nonce was given for nothing")
	}
	v.bearer = false
	if got := v.granted(machine, nil); got.json["token_type"] != "DPoP" {
		t.Error("a proof does not bind the token of a client that need not send one")
	}
}

func TestRefreshRefusals(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"]
	with := func(name, value string) url.Values {
		form := refreshForm(token)
		form.Set(name, value)
		return form
	}
	v.wantRefusal(v.token(refreshForm("x"), nil), "invalid_grant", "not known")
	v.wantRefusal(v.token(url.Values{"grant_type": {GrantRefresh}}, nil), "invalid_grant", "missing")
	v.wantRefusal(v.token(with("scope", "openid nhn:other/api"), nil), "invalid_scope", "nhn:other/api")
	v.wantRefusal(v.token(with("resource", "nhn:other"), nil), "invalid_target", "nhn:other")
	v.wantRefusal(v.token(refreshForm(token), aboutTenant("NO:ORGNR:"+ParentNotDelegated)), "invalid_request", "HID-1001")
	v.nonce = ""
	v.wantRefusal(v.token(refreshForm(token), nil), codeUseNonce, "no nonce")
	if got := v.granted(refreshForm(token), nil); got.json["refresh_token"] == nil {
		t.Error("one of the refusals spent the refresh token")
	}
	other := v.client
	other.ID = "another"
	if err := v.sim.RegisterClient(other); err != nil {
		t.Fatal(err)
	}
	v.client = other
	v.wantRefusal(v.token(refreshForm(token), nil), "invalid_grant", "another client")
}

func TestRefreshTokenReuse(t *testing.T) {
	v := newVendor(t)
	first := v.logIn("lege").json["refresh_token"]
	second := v.granted(refreshForm(first), nil).json["refresh_token"]
	if v.sim.Reuses() != 0 {
		t.Fatal("a reuse was counted where there was none")
	}
	v.wantRefusal(v.token(refreshForm(first), nil), "invalid_grant", "number 1 of this log-in was rotated before")
	v.wantRefusal(v.token(refreshForm(second), nil), "invalid_grant", "revoked")
	if v.sim.Reuses() != 1 {
		t.Errorf("%d reuses counted, want 1", v.sim.Reuses())
	}
	records := v.sim.TokenRequests()
	if last := records[len(records)-1]; last.Login != 1 || last.Ordinal != 2 || last.Reuse {
		t.Errorf("recorded as log-in %d, ordinal %d, reuse %v", last.Login, last.Ordinal, last.Reuse)
	}
}

func TestRefreshTokenLife(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"]
	v.clock = v.clock.Add(7 * time.Hour)
	got := v.granted(refreshForm(token), nil)
	if got.json["rt_expires_in"] != 3600.0 {
		t.Errorf("rt_expires_in = %v, want 3600: rotation must not prolong the log-in", got.json["rt_expires_in"])
	}
	v.clock = v.clock.Add(3601 * time.Second)
	v.nonce = v.sim.nonces.issue(v.clock)
	v.wantRefusal(v.token(refreshForm(got.json["refresh_token"]), nil), "invalid_grant", "expired")
}

// A refresh with another key is refused where that is wanted, and costs the token nothing.
func TestBoundRefreshToken(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"]
	own, about := v.dpop, aboutTenant("NO:ORGNR:"+Tenants()[0].Parent+":"+Tenants()[0].Child)
	v.dpop = v.newKey()
	token = v.granted(refreshForm(token), about).json["refresh_token"]
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.BindRefreshToken = "invalid_grant" })
	v.wantRefusal(v.token(refreshForm(token), about), "invalid_grant", "another DPoP key")
	v.dpop = own
	v.granted(refreshForm(token), about)
}

func TestRotationOff(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.RotationOff = true })
	token := v.logIn("lege").json["refresh_token"]
	for range 2 {
		if got := v.granted(refreshForm(token), nil); got.json["refresh_token"] != token {
			t.Error("the refresh token changed")
		}
	}
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.OmitRefreshToken = true })
	if got := v.granted(refreshForm(token), nil); got.json["refresh_token"] != nil {
		t.Error("the knob omit_refresh_token does nothing")
	}
	if v.sim.Reuses() != 0 {
		t.Error("a reuse was counted although tokens do not rotate")
	}
}

func TestNarrowedRefresh(t *testing.T) {
	v := newVendor(t)
	form := refreshForm(v.logIn("lege").json["refresh_token"])
	form.Set("scope", "openid "+SFMScope)
	got := v.granted(form, nil)
	if got.json["scope"] != "openid "+SFMScope {
		t.Errorf("scope = %v", got.json["scope"])
	}
	if again := v.granted(refreshForm(got.json["refresh_token"]), nil); again.json["scope"] != strings.Join(defaultScopes, " ") {
		t.Error("narrowing once narrowed the log-in")
	}
}

func TestNoOfflineAccess(t *testing.T) {
	v := newVendor(t)
	form := pushForm()
	form.Set("scope", "openid "+SFMScope)
	got := v.granted(codeForm(v.authorize(form, "lege").Get("code")), nil)
	if got.json["refresh_token"] != nil {
		t.Error("a refresh token without offline_access")
	}
	if claims := claimsOf(t, got.json["access_token"]); claims[claimPID] != nil || claims["name"] != nil {
		t.Error("claims about the person without their scopes")
	}
}

func TestTokenExchange(t *testing.T) {
	const typ = "urn:ietf:params:oauth:token-type:access_token"
	v := newVendor(t, func(c *Client) { c.Grants = append(c.Grants, GrantTokenExchange); c.Audience = "epj:api" })
	subject := func(s Subject) string {
		raw, err := v.sim.SubjectToken(s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	form := func(token, typ, scope string) url.Values {
		return url.Values{"grant_type": {GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {typ}, "scope": {scope}}
	}
	good := subject(Subject{Person: "lege", Audience: "epj:api", JKT: "x"})
	got := v.granted(form(good, typ, SFMScope), aboutTenant("NO:ORGNR:100100126:"))
	claims := claimsOf(t, got.json["access_token"])
	if got.json["issued_token_type"] != typ {
		t.Error("issued_token_type is missing (RFC 8693 section 2.2.1)")
	}
	if claims[claimPID] != testPID || claims[claimParent] != "100100126" || claims["aud"] != "e-helse:sfm.api" || got.json["refresh_token"] != nil {
		t.Error("the exchanged token is not the person's, for SFM and the parent")
	}
	for about, row := range map[string]url.Values{
		"subject_token_type": form(good, "x", SFMScope),
		"three parts":        form("x", typ, SFMScope),
		"own API":            form(subject(Subject{Person: "lege", Audience: "other"}), typ, SFMScope),
		"expired":            form(subject(Subject{Person: "lege", Audience: "epj:api", Life: -time.Minute}), typ, SFMScope),
		"signature":          form(subject(Subject{Person: "lege", Audience: "epj:api", Forged: true}), typ, SFMScope),
		"typ is":             form(subject(Subject{Person: "lege", Audience: "epj:api", Type: "logout+jwt"}), typ, SFMScope),
		"iss":                form(subject(Subject{Person: "lege", Audience: "epj:api", Claims: map[string]any{"iss": "x"}}), typ, SFMScope),
	} {
		v.wantRefusal(v.token(row, nil), "invalid_request", about)
	}
	v.wantRefusal(v.token(form(good, typ, ""), nil), "invalid_scope", "missing")
	v.wantRefusal(v.token(form(good, typ, "nhn:other/api"), nil), "invalid_scope", "nhn:other/api")
	if _, err := v.sim.SubjectToken(Subject{Person: "nobody", Audience: "x"}); err == nil {
		t.Error("a token for nobody was made")
	}
	if _, err := v.sim.SubjectToken(Subject{Person: "lege"}); err == nil {
		t.Error("a token for no API was made")
	}
}

func TestAnswerKnobs(t *testing.T) {
	for name, row := range map[string]struct {
		knob  func(*HelseIDKnobs)
		check func(reply) bool
	}{
		"expires_in 0":       {func(k *HelseIDKnobs) { k.ExpiresIn = 0 }, func(r reply) bool { return r.json["expires_in"] == 0.0 }},
		"expires_in -5":      {func(k *HelseIDKnobs) { k.ExpiresIn = -5 }, func(r reply) bool { return r.json["expires_in"] == -5.0 }},
		"expires_in text":    {func(k *HelseIDKnobs) { k.ExpiresIn = "300" }, func(r reply) bool { return r.json["expires_in"] == "300" }},
		"expires_in missing": {func(k *HelseIDKnobs) { k.ExpiresIn = "missing" }, func(r reply) bool { _, there := r.json["expires_in"]; return !there }},
		"token_type":         {func(k *HelseIDKnobs) { k.TokenType = "Bearer" }, func(r reply) bool { return r.json["token_type"] == "Bearer" }},
		"short life":         {func(k *HelseIDKnobs) { k.AccessTokenSeconds = 3 }, func(r reply) bool { return r.json["expires_in"] == 3.0 }},
		"no ID token":        {func(k *HelseIDKnobs) { k.OmitIDToken = true }, func(r reply) bool { return r.json["id_token"] == nil }},
		"opaque":             {func(k *HelseIDKnobs) { k.OpaqueAccessToken = true }, func(r reply) bool { return !strings.Contains(r.json["access_token"].(string), ".") }},
		"claims": {func(k *HelseIDKnobs) { k.ClaimOverrides = map[string]any{claimParent: "999999999", claimLevel: nil} },
			func(r reply) bool {
				claims := claimsOf(t, r.json["access_token"])
				_, level := claims[claimLevel]
				return claims[claimParent] == "999999999" && !level
			}},
		"ID token's claims": {func(k *HelseIDKnobs) { k.IDTokenOverrides = map[string]any{"aud": "other"} },
			func(r reply) bool { return claimsOf(t, r.json["id_token"])["aud"] == "other" }},
		"dropped scope": {func(k *HelseIDKnobs) { k.DropScopes = []string{SFMScope} },
			func(r reply) bool { return r.json["rejected_scope"] == SFMScope }},
		"level": {func(k *HelseIDKnobs) { k.SecurityLevel = "3" },
			func(r reply) bool { return claimsOf(t, r.json["id_token"])[claimLevel] == "3" }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.sim.SetKnobs(func(k *Knobs) { row.knob(&k.HelseID) })
			if !row.check(v.logIn("lege")) {
				t.Error("the knob does nothing")
			}
		})
	}
}

func TestPersonsDiffer(t *testing.T) {
	v := newVendor(t)
	if claims := claimsOf(t, v.logIn("lav").json["id_token"]); claims[claimLevel] != "3" {
		t.Error("nobody logs in at level 3")
	}
	if claims := claimsOf(t, v.logIn("sekretar").json["access_token"]); claims[claimHPR] != nil {
		t.Error("the secretary has an HPR number")
	}
}

// TestRequestObject is the log-in for an organization, and the knob that
// demands it.
func TestRequestObject(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.OrganizationAtLogin = true })
	v.wantRefusal(v.post("/connect/par", pushForm(), nil), "invalid_request", "at log-in")
	object := func(more map[string]any) url.Values {
		form := pushForm()
		form.Set("request", v.assertion(overridden(map[string]any{"client_id": "epj"}, more)))
		return form
	}
	details := aboutTenant("NO:ORGNR:100100126:999944582")["assertion_details"]
	v.wantRefusal(v.post("/connect/par", object(map[string]any{"assertion_details": details}), nil), "invalid_request", "authorization_details, not")
	v.wantRefusal(v.post("/connect/par", object(map[string]any{"client_id": "x"}), nil), "invalid_request_object", "client_id")
	v.wantRefusal(v.post("/connect/par", object(map[string]any{"authorization_details": details, "scope": "openid"}), nil), "invalid_request", "differ")
	code := v.authorize(object(map[string]any{"authorization_details": details, "sub": nil}), "lege").Get("code")
	first := v.granted(codeForm(code), nil)
	if claims := claimsOf(t, first.json["access_token"]); claims[claimChild] != "999944582" || claims[claimJournal] != testJournal {
		t.Error("the organization of the request object is not in the token")
	}
	second := v.granted(refreshForm(first.json["refresh_token"]), nil)
	if claims := claimsOf(t, second.json["access_token"]); claims[claimParent] != "100100126" {
		t.Error("a refresh without organization lost that of the log-in")
	}
}

func TestRevocation(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"].(string)
	v.wantRefusal(v.post("/connect/revocation", url.Values{}, nil), "invalid_request", "token is missing")
	for _, value := range []string{"unknown", token} {
		if got := v.post("/connect/revocation", url.Values{"token": {value}}, nil); got.status != http.StatusOK {
			t.Errorf("status %d", got.status)
		}
	}
	v.wantRefusal(v.token(refreshForm(token), nil), "invalid_grant", "revoked")
}

func TestEndSession(t *testing.T) {
	v := newVendor(t)
	hint := v.logIn("lege").json["id_token"].(string)
	v.clock = v.clock.Add(time.Hour) // an expired hint is good
	for name, row := range map[string]struct {
		query  url.Values
		status int
		about  string
	}{
		"nothing":      {url.Values{}, http.StatusOK, "logged out"},
		"hint only":    {url.Values{"id_token_hint": {hint}}, http.StatusOK, "logged out"},
		"bad hint":     {url.Values{"id_token_hint": {"x"}}, http.StatusBadRequest, "id_token_hint"},
		"unregistered": {url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"http://example.com/"}}, http.StatusBadRequest, "not registered"},
		"back":         {url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"http://localhost:7/"}, "state": {"s"}}, http.StatusFound, ""},
	} {
		got := v.do(httptest.NewRequest(http.MethodGet, "/connect/endsession?"+row.query.Encode(), nil))
		if got.status != row.status || !strings.Contains(got.raw, row.about) {
			t.Errorf("%s: status %d, want %d and %q", name, got.status, row.status, row.about)
		}
		if row.status == http.StatusFound && got.header.Get("Location") != "http://localhost:7/?state=s" {
			t.Errorf("%s: sent to %q", name, got.header.Get("Location"))
		}
	}
}

// TestConcurrentRefreshes proves that the judge sees what it is to judge: two
// refreshes of one log-in at once are counted, and one of them loses.
func TestConcurrentRefreshes(t *testing.T) {
	v := newVendor(t)
	token := v.logIn("lege").json["refresh_token"]
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.Fault = Fault{DelayMS: 100} })
	requests := []*http.Request{v.request("/connect/token", refreshForm(token), nil), v.request("/connect/token", refreshForm(token), nil)}
	statuses := make([]int, len(requests))
	var all sync.WaitGroup
	for i, r := range requests {
		r.Header.Set("DPoP", v.proofFor("/connect/token"))
		all.Go(func() {
			recorder := httptest.NewRecorder()
			v.sim.HelseID().ServeHTTP(recorder, r)
			statuses[i] = recorder.Code
		})
	}
	all.Wait()
	if statuses[0]+statuses[1] != http.StatusOK+http.StatusBadRequest {
		t.Errorf("statuses %v, want one 200 and one 400", statuses)
	}
	if v.sim.MaxConcurrentRefreshes() != 2 || v.sim.Reuses() != 1 {
		t.Errorf("%d at once and %d reuses counted, want 2 and 1", v.sim.MaxConcurrentRefreshes(), v.sim.Reuses())
	}
}
