package simulator

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSelvbetjeningClient(t *testing.T) {
	for _, path := range []string{"/selvbetjening/v1/client", "/selvbetjening/v1/client-status"} {
		v := newVendor(t, func(c *Client) { c.Children = []string{"999944582"} })
		got := v.register(http.MethodGet, path, v.registerToken(SelvbetjeningScope), "").object()
		if got["clientId"] != v.client.ID || len(got["redirectUris"].([]any)) != 2 || len(got["postLogoutRedirectUris"].([]any)) != 2 {
			t.Errorf("%s: %v", path, got)
		}
		if children := got["childOrganizationNumbers"].([]any); len(children) != 1 || children[0] != "999944582" {
			t.Errorf("%s: children %v", path, children)
		}
		var scopes []string
		for _, entry := range got["apiScopes"].([]any) {
			scope := entry.(map[string]any)
			scopes = append(scopes, scope["scope"].(string))
			if scope["status"] != "ok" || scope["statusReason"] != nil {
				t.Errorf("%s: %v", path, scope)
			}
		}
		if !slices.Contains(scopes, SFMScope) || !slices.Contains(scopes, SelvbetjeningScope) || slices.Contains(scopes, "openid") {
			t.Errorf("%s: scopes %v", path, scopes)
		}
	}
}

func TestSelvbetjeningPendingScope(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) {
		k.Selvbetjening.PendingScopes = map[string]string{SFMScope: "The terms of use are not signed"}
	})
	got := v.register(http.MethodGet, "/selvbetjening/v1/client", v.registerToken(SelvbetjeningScope), "").object()
	at := slices.IndexFunc(got["apiScopes"].([]any), func(entry any) bool { return entry.(map[string]any)["scope"] == SFMScope })
	if entry := got["apiScopes"].([]any)[at].(map[string]any); entry["status"] != "pending" || entry["statusReason"] != "The terms of use are not signed" {
		t.Errorf("the pending scope is told as %v", entry)
	}
	v.wantRefusal(v.token(url.Values{"grant_type": {GrantClientCredentials}, "scope": {SFMScope}}, nil), "invalid_scope", SFMScope)
	v.sim.SetKnobs(func(k *Knobs) { k.Selvbetjening.PendingScopes = nil })
	v.registerToken(SFMScope)
}

func TestSelvbetjeningPendingClaim(t *testing.T) {
	v := newVendor(t, func(c *Client) { c.Tenancy, c.Parent, c.SFMID = TenancySingle, "100100126", testJournal })
	token := v.registerToken(SelvbetjeningScope)
	claims := func() []any {
		return v.register(http.MethodGet, "/selvbetjening/v1/client", token, "").object()["audienceSpecificClientClaims"].([]any)
	}
	if got := claims()[0].(map[string]any); got["claimType"] != claimSFMID || got["activeClaimValue"] != testJournal || got["status"] != "ok" {
		t.Errorf("an active claim: %v", got)
	}
	v.sim.SetKnobs(func(k *Knobs) {
		k.Selvbetjening.PendingClaims = map[string]string{claimSFMID: "another", "nhn:other/claims/a": "new"}
	})
	got := claims()
	if first := got[0].(map[string]any); first["status"] != "updatePending" || first["pendingClaimValue"] != "another" || first["activeClaimValue"] != testJournal {
		t.Errorf("a claim to be changed: %v", first)
	}
	if second := got[1].(map[string]any); second["status"] != "pending" || second["activeClaimValue"] != nil || second["statusReason"] == nil {
		t.Errorf("a new claim: %v", second)
	}
}

func TestSelvbetjeningRefusals(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(SelvbetjeningScope)
	v.register(http.MethodPost, "/selvbetjening/v1/client", token, "{}").wantProblem(http.StatusMethodNotAllowed, "GET")
	v.register(http.MethodPost, "/selvbetjening/v1/client/tenants", token, "{}").wantProblem(http.StatusMethodNotAllowed, "GET")
	v.register(http.MethodDelete, "/selvbetjening/v1/client-secret", token, "").wantProblem(http.StatusMethodNotAllowed, "GET or POST")
	v.register(http.MethodPost, "/selvbetjening/v1/client-secret", token, "").wantProblem(http.StatusUnsupportedMediaType, "application/json")
	v.register(http.MethodGet, "/selvbetjening/v2/client", token, "").wantProblem(http.StatusNotFound, "/v2/client")
	v.sim.SetKnobs(func(k *Knobs) { k.Selvbetjening.OldPathOnly, k.Selvbetjening.NoTenants = true, true })
	v.register(http.MethodGet, "/selvbetjening/v1/client", token, "").wantProblem(http.StatusNotFound, "/v1/client")
	v.register(http.MethodGet, "/selvbetjening/v1/client/tenants", token, "").wantProblem(http.StatusNotFound, "tenants")
	if got := v.register(http.MethodGet, "/selvbetjening/v1/client-status", token, ""); got.status != http.StatusOK {
		t.Errorf("the older path: status %d", got.status)
	}
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.ClaimOverrides = map[string]any{"sub": "somebody"} })
	v.register(http.MethodGet, "/selvbetjening/v1/client-status", v.registerToken(SelvbetjeningScope), "").
		wantProblem(http.StatusUnauthorized, "about a person")
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.ClaimOverrides = map[string]any{"client_id": "nobody"} })
	v.register(http.MethodGet, "/selvbetjening/v1/client-status", v.registerToken(SelvbetjeningScope), "").
		wantProblem(http.StatusUnauthorized, "not registered")
}

func TestSelvbetjeningTenants(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(SelvbetjeningScope)
	v.sim.SetKnobs(func(k *Knobs) {
		k.HelseID.Withdrawn = []string{"313325016", "312232324"}
		k.HelseID.Unsigned = []string{"313325016"}
	})
	found := map[string]map[string]any{}
	for _, entry := range v.register(http.MethodGet, "/selvbetjening/v1/client/tenants", token, "").list() {
		tenant := entry.(map[string]any)
		found[tenant["organizationNumber"].(string)] = tenant
	}
	if len(found) != len(Delegations())+1 {
		t.Errorf("%d tenants", len(found))
	}
	for orgnr, want := range map[string]struct {
		status            string
		delegated, signed bool
		code              string // at the token endpoint
	}{
		"100100126":        {tenantActive, true, true, ""},
		ParentWithoutTerms: {tenantUnsigned, true, false, "rejected"},
		ParentNotDelegated: {tenantUndelegated, false, true, "HID-1001"},
		"312232324":        {tenantUndelegated, false, true, "HID-1001"},
		"313325016":        {tenantNeitherThing, false, false, "HID-1001"},
	} {
		tenant := found[orgnr]
		terms := tenant["terms"].([]any)[0].(map[string]any)
		if tenant["status"] != want.status || tenant["delegation"] != want.delegated || terms["signed"] != want.signed || terms["name"] != "SFM" || tenant["name"] == "" {
			t.Errorf("%s: %v, want %+v", orgnr, tenant, want)
		}
		got := v.token(url.Values{"grant_type": {GrantClientCredentials}, "scope": {SFMScope}}, aboutTenant("NO:ORGNR:"+orgnr+":"))
		switch want.code {
		case "":
			if got.status != http.StatusOK || got.json["rejected_scope"] != nil {
				t.Errorf("%s: the token endpoint says %s", orgnr, got.raw)
			}
		case "rejected":
			if got.json["rejected_scope"] != SFMScope {
				t.Errorf("%s: the token endpoint grants all", orgnr)
			}
		default:
			v.wantRefusal(got, "invalid_request", want.code)
		}
	}
}

func TestSelvbetjeningTenantsOfClient(t *testing.T) {
	v := newVendor(t, func(c *Client) { c.Delegated = []string{"100100126"} })
	for _, entry := range v.register(http.MethodGet, "/selvbetjening/v1/client/tenants", v.registerToken(SelvbetjeningScope), "").list() {
		tenant := entry.(map[string]any)
		if (tenant["status"] == tenantActive) != (tenant["organizationNumber"] == "100100126") {
			t.Errorf("%v", tenant)
		}
	}
	v = newVendor(t, func(c *Client) { c.Tenancy, c.Parent = TenancySingle, "100100126" })
	got := v.register(http.MethodGet, "/selvbetjening/v1/client/tenants", v.registerToken(SelvbetjeningScope), "")
	if strings.TrimSpace(got.raw) != "[]" {
		t.Errorf("a single-tenant client's tenants: %s", got.raw)
	}
}

// secretOf is a public JWK ready to be posted.
func secretOf(t *testing.T, key crypto.Signer, alg, kid string) map[string]any {
	t.Helper()
	jwk, err := publicJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk["kid"], jwk["alg"], jwk["use"] = kid, alg, "sig"
	return jwk
}

func (v *vendor) postSecret(token string, jwk map[string]any) registerReply {
	v.t.Helper()
	body, err := json.Marshal(jwk)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.register(http.MethodPost, "/selvbetjening/v1/client-secret", token, string(body))
}

func TestSecretRotation(t *testing.T) {
	for name, row := range map[string]struct {
		knobs   func(*SelvbetjeningKnobs)
		wait    time.Duration
		oldGood bool
	}{
		"both live":        {func(*SelvbetjeningKnobs) {}, 24 * time.Hour, true},
		"old expired":      {func(*SelvbetjeningKnobs) {}, 366 * 24 * time.Hour, false},
		"old dies at once": {func(k *SelvbetjeningKnobs) { k.RetireOldSecrets = true }, 0, false},
		"old lives on":     {func(k *SelvbetjeningKnobs) { k.OldSecretSeconds = 60 }, 59 * time.Second, true},
		"old is shortened": {func(k *SelvbetjeningKnobs) { k.OldSecretSeconds = 60 }, 60 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.sim.SetKnobs(func(k *Knobs) { k.Selvbetjening.SecretSeconds = 400 * 24 * 3600; row.knobs(&k.Selvbetjening) })
			token, fresh := v.registerToken(SelvbetjeningScope), v.newKey()
			got := v.postSecret(token, secretOf(t, fresh, "ES256", "the-new-one"))
			if got.status != http.StatusOK || got.object()["expiration"] != v.clock.Add(400*24*time.Hour).UTC().Format(time.RFC3339) {
				t.Fatalf("status %d: %s", got.status, got.raw)
			}
			v.clock = v.clock.Add(row.wait)
			v.nonce = v.sim.nonces.issue(v.clock)
			if got := v.token(machine, nil); (got.status == http.StatusOK) != row.oldGood {
				t.Errorf("the old key: status %d: %v", got.status, got.json["error_description"])
			}
			v.key, v.keyID = fresh, "the-new-one"
			if got := v.token(machine, nil); got.status != http.StatusOK {
				t.Errorf("the new key: status %d: %v", got.status, got.json["error_description"])
			}
			listed := v.register(http.MethodGet, "/selvbetjening/v1/client-secret", v.registerToken(SelvbetjeningScope), "").list()
			if (len(listed) == 2) != row.oldGood {
				t.Errorf("%d keys are listed", len(listed))
			}
		})
	}
}

func TestSecretList(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(SelvbetjeningScope)
	v.sim.SetKnobs(func(k *Knobs) { k.Selvbetjening.FirstSecretSeconds = 3600; k.Selvbetjening.SecretSeconds = 7200 })
	v.postSecret(token, secretOf(t, v.newKey(), "ES256", "second"))
	got := v.register(http.MethodGet, "/selvbetjening/v1/client-secret", token, "").list()
	if len(got) != 2 {
		t.Fatalf("%d keys", len(got))
	}
	first, second := got[0].(map[string]any), got[1].(map[string]any)
	if first["kid"] != v.kid() || first["origin"] != "Gui" || first["jwkThumbprint"] != v.kid() || first["publicJwk"] != nil ||
		first["expiration"] != v.clock.Add(time.Hour).UTC().Format(time.RFC3339) {
		t.Errorf("the first key: %v", first)
	}
	if second["kid"] != "second" || second["origin"] != "Api" || second["expiration"] != v.clock.Add(2*time.Hour).UTC().Format(time.RFC3339) {
		t.Errorf("the second key: %v", second)
	}
}

func TestSecretRefusals(t *testing.T) {
	weak := base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 127)...))
	for name, row := range map[string]struct {
		change func(map[string]any)
		status int
		about  string
	}{
		"private":     {func(jwk map[string]any) { jwk["d"] = "AAAA" }, http.StatusBadRequest, "private member"},
		"no alg":      {func(jwk map[string]any) { delete(jwk, "alg") }, http.StatusBadRequest, "alg"},
		"other alg":   {func(jwk map[string]any) { jwk["alg"] = "HS256" }, http.StatusBadRequest, "HS256"},
		"RSA alg":     {func(jwk map[string]any) { jwk["alg"] = "PS256" }, http.StatusBadRequest, "does not fit"},
		"other curve": {func(jwk map[string]any) { jwk["alg"] = "ES384" }, http.StatusBadRequest, "does not fit"},
		"encryption":  {func(jwk map[string]any) { jwk["use"] = "enc" }, http.StatusBadRequest, "use"},
		"no kid":      {func(jwk map[string]any) { delete(jwk, "kid") }, http.StatusBadRequest, "kid"},
		"long kid":    {func(jwk map[string]any) { jwk["kid"] = strings.Repeat("k", 201) }, http.StatusBadRequest, "kid"},
		"no kty":      {func(jwk map[string]any) { delete(jwk, "kty") }, http.StatusBadRequest, "kty"},
		"unknown":     {func(jwk map[string]any) { jwk["exp"] = 1 }, http.StatusBadRequest, "unknown member"},
		"off curve":   {func(jwk map[string]any) { jwk["x"] = jwk["y"] }, http.StatusBadRequest, "curve"},
		"weak RSA": {func(jwk map[string]any) {
			clear(jwk)
			jwk["kty"], jwk["n"], jwk["e"], jwk["kid"], jwk["use"], jwk["alg"] = "RSA", weak, "AQAB", "k", "sig", "PS256"
		}, http.StatusBadRequest, "1024 bits"},
		"kid known": {func(jwk map[string]any) { jwk["kid"] = "there" }, http.StatusConflict, "already"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			token := v.registerToken(SelvbetjeningScope)
			v.postSecret(token, secretOf(t, v.newKey(), "ES256", "there"))
			jwk := secretOf(t, v.newKey(), "ES256", "new")
			row.change(jwk)
			v.postSecret(token, jwk).wantProblem(row.status, row.about)
			if got := v.register(http.MethodGet, "/selvbetjening/v1/client-secret", token, "").list(); len(got) != 2 {
				t.Errorf("%d keys after the refusal", len(got))
			}
		})
	}
	v := newVendor(t)
	token := v.registerToken(SelvbetjeningScope)
	v.postSecret(token, secretOf(t, v.key, "ES256", "another name")).wantProblem(http.StatusConflict, "this very key")
	v.register(http.MethodPost, "/selvbetjening/v1/client-secret", token, "[]").wantProblem(http.StatusBadRequest, "JSON object")
	for i := range maxSecrets - 1 {
		if got := v.postSecret(token, secretOf(t, v.newKey(), "ES256", strings.Repeat("k", i+1))); got.status != http.StatusOK {
			t.Fatalf("key %d: %s", i, got.raw)
		}
	}
	v.postSecret(token, secretOf(t, v.newKey(), "ES256", "one too many")).wantProblem(http.StatusConflict, "10 keys")
}

func TestSecretOfEveryKind(t *testing.T) {
	v := newVendor(t)
	token := v.registerToken(SelvbetjeningScope)
	rsaKey, ec := testRSAKey(), v.newKey()
	for alg, key := range map[string]crypto.Signer{"PS256": rsaKey, "ES256": ec} {
		other := map[string]string{"PS256": "ES256", "ES256": "PS256"}[alg]
		v.postSecret(token, secretOf(t, key, other, "kid-"+alg)).wantProblem(http.StatusBadRequest, "does not fit")
		if got := v.postSecret(token, secretOf(t, key, alg, "kid-"+alg)); got.status != http.StatusOK {
			t.Errorf("%s: status %d: %s", alg, got.status, got.raw)
		}
	}
}

func TestRemoveClientKey(t *testing.T) {
	v := newVendor(t)
	v.nonce = v.sim.nonces.issue(v.clock)
	if err := v.sim.RemoveClientKey(v.client.ID, v.kid()); err != nil {
		t.Fatal(err)
	}
	v.wantRefusal(v.token(machine, nil), "invalid_client", "none of the client's registered keys")
	if v.sim.RemoveClientKey(v.client.ID, v.kid()) == nil || v.sim.RemoveClientKey("nobody", v.kid()) == nil {
		t.Error("what is not there can be removed")
	}
}

func TestExpiredKeyIsRefused(t *testing.T) {
	v := newVendor(t)
	v.nonce = v.sim.nonces.issue(v.clock)
	v.sim.SetKnobs(func(k *Knobs) { k.Selvbetjening.FirstSecretSeconds = 60 })
	v.clock = v.clock.Add(time.Minute)
	v.wantRefusal(v.token(machine, nil), "invalid_client", "has expired")
}

// TestKnobsOfScopes shows the two ways in which a scope does not come back.
func TestKnobsOfScopes(t *testing.T) {
	v := newVendor(t)
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.DropScopes = []string{SFMScope} })
	form := url.Values{"grant_type": {GrantClientCredentials}, "scope": {SFMScope + " " + SFMMigrationScope}}
	if got := v.granted(form, nil); got.json["rejected_scope"] != SFMScope || got.json["scope"] != SFMMigrationScope {
		t.Errorf("said so: %v, %v", got.json["scope"], got.json["rejected_scope"])
	}
	v.sim.SetKnobs(func(k *Knobs) { k.HelseID.OmitRejectedScope = true })
	if got := v.granted(form, nil); got.json["rejected_scope"] != nil || got.json["scope"] != SFMMigrationScope {
		t.Errorf("in silence: %v, %v", got.json["scope"], got.json["rejected_scope"])
	}
}

func TestResetForgetsRegisterCalls(t *testing.T) {
	v := newVendor(t)
	v.register(http.MethodGet, "/brreg/enheter/100100126", "", "")
	v.call(httptest.NewRequest(http.MethodDelete, "/_simulator/registers", nil))
	if len(v.sim.RegisterCalls()) != 0 {
		t.Error("DELETE forgets nothing")
	}
	v.register(http.MethodGet, "/brreg/enheter/100100126", "", "")
	v.sim.Reset()
	if len(v.sim.RegisterCalls()) != 0 {
		t.Error("Reset forgets nothing")
	}
}
