package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sfm-sidecar/internal/config"
)

// least is the smallest environment that has no fault.
func least() map[string]string {
	return map[string]string{
		"HELSEID_ISSUER":     "https://helseid.example",
		"HELSEID_CLIENT_ID":  "client",
		"HELSEID_CLIENT_JWK": `{"kty":"EC"}`,
		"SFM_UPSTREAMS":      "basis=https://basis.example,session=https://session.example",
	}
}

// with returns the smallest environment with some variables more, other or (for
// an empty value) fewer.
func with(changes ...string) []string {
	vars := least()
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		vars[name] = value
	}
	var environ []string
	for name, value := range vars {
		environ = append(environ, name+"="+value)
	}
	return environ
}

func mustLoad(t *testing.T, environ []string) *config.Config {
	t.Helper()
	c, _, err := config.Load(environ)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDefaults(t *testing.T) {
	scopes := []string{"e-helse:sfm.api/sfm.api2"}
	want := &config.Config{
		HelseID: config.HelseID{
			Issuer: "https://helseid.example", ClientID: "client", ClientJWK: config.NewSecret(`{"kty":"EC"}`),
			Tenancy: "multi", Grants: []string{"user"}, Scopes: scopes,
			LoginScopes: []string{
				"openid", "profile", "offline_access", "helseid://scopes/identity/pid", "helseid://scopes/identity/security_level",
				"helseid://scopes/identity/assurance_level", "helseid://scopes/hpr/hpr_number",
			},
			LoginTenant: "none", AssertionLifetime: 10 * time.Second, AssertionClaim: "assertion_details",
			ParentOnlyForm: "colon", Timeout: 10 * time.Second, Concurrency: 16,
		},
		SFM: config.SFM{
			API: "v2",
			Upstreams: []config.Upstream{
				{Name: "basis", URL: mustURL(t, "https://basis.example"), Scopes: scopes, Audience: "e-helse:sfm.api"},
				{Name: "session", URL: mustURL(t, "https://session.example"), Scopes: scopes, Audience: "e-helse:sfm.api"},
			},
			ResponseTimeout: 120 * time.Second, SessionKeepalive: true,
		},
		Tenants: config.Tenants{Policy: "any", OrgnrCheck: "warn", BrregURL: "https://data.brreg.no/enhetsregisteret/api"},
		Listen:  config.Listen{Address: "127.0.0.1:8080", Callback: "127.0.0.1:8080", Admin: "127.0.0.1:9090"},
		Keep: config.Keep{
			Store: config.NewSecret("memory"), StoreTimeout: 500 * time.Millisecond, SessionStore: "memory", SessionIdle: 12 * time.Hour,
			CacheEntries: 100000, RefreshBefore: 5 * time.Minute, ExpiryLeeway: 30 * time.Second, Clock: "correct",
			MaxSigtermDelay: 130 * time.Second,
		},
		Log: config.Log{Level: "info", Format: "auto"},
		Traces: config.Traces{
			OTLPProtocol: "http/protobuf", OTLPCompression: "none", SDKDisabled: "false", TracesExporter: "otlp",
			Sampler: "parentbased_always_on", BatchDelay: "5000", BatchTimeout: "30000", BatchQueue: "2048", BatchSize: "512",
		},
	}
	got := mustLoad(t, with())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// TestVariables sets each variable to something else than its default and looks
// at the field.
func TestVariables(t *testing.T) {
	basis := func(c *config.Config) config.Upstream { return c.SFM.Upstreams[0] }
	tests := []struct {
		set  []string
		get  func(c *config.Config) any
		want any
	}{
		{[]string{"HELSEID_ISSUER=https://h.example/x/"}, func(c *config.Config) any { return c.HelseID.Issuer }, "https://h.example/x/"},
		{[]string{"HELSEID_CLIENT_ID= id "}, func(c *config.Config) any { return c.HelseID.ClientID }, "id"},
		{[]string{"HELSEID_CLIENT_JWK=key"}, func(c *config.Config) any { return c.HelseID.ClientJWK.Reveal() }, "key"},
		{[]string{"HELSEID_TENANCY=single"}, func(c *config.Config) any { return c.HelseID.Tenancy }, "single"},
		{[]string{"HELSEID_GRANT=client-credentials, user", "SIDECAR_CALLER_KEY=k"}, func(c *config.Config) any { return c.HelseID.Grants }, []string{"client-credentials", "user"}},
		{[]string{"HELSEID_GRANT=token-exchange", "HELSEID_SUBJECT_AUDIENCE=aud"}, func(c *config.Config) any { return c.HelseID.Grants }, []string{"token-exchange"}},
		{[]string{"HELSEID_SCOPES=a b  c"}, func(c *config.Config) any { return c.HelseID.Scopes }, []string{"a", "b", "c"}},
		{[]string{"HELSEID_SCOPES=a"}, func(c *config.Config) any { return basis(c).Scopes }, []string{"a"}},
		{[]string{"HELSEID_LOGIN_SCOPES=openid offline_access"}, func(c *config.Config) any { return c.HelseID.LoginScopes }, []string{"openid", "offline_access"}},
		{[]string{"HELSEID_RESOURCE=https://r.example"}, func(c *config.Config) any { return c.HelseID.Resource }, "https://r.example"},
		{[]string{"HELSEID_ACR_VALUES=Level4"}, func(c *config.Config) any { return c.HelseID.ACRValues }, "Level4"},
		{[]string{"HELSEID_LOGIN_PARAMS=ui_locales=nb, a=b=c,a=d"}, func(c *config.Config) any { return c.HelseID.LoginParams }, url.Values{"ui_locales": {"nb"}, "a": {"b=c", "d"}}},
		{[]string{"HELSEID_LOGIN_TENANT=none"}, func(c *config.Config) any { return c.HelseID.LoginTenant }, "none"},
		{[]string{"HELSEID_LOGIN_TENANT=request-object"}, func(c *config.Config) any { return c.HelseID.LoginTenant }, "request-object"},
		{[]string{"HELSEID_REDIRECT_URI=http://localhost:81/_sidecar/callback"}, func(c *config.Config) any { return c.HelseID.RedirectURI }, "http://localhost:81/_sidecar/callback"},
		{[]string{"HELSEID_POST_LOGOUT_REDIRECT_URI=epj:out"}, func(c *config.Config) any { return c.HelseID.PostLogoutRedirectURI }, "epj:out"},
		{[]string{"HELSEID_SUBJECT_AUDIENCE=aud"}, func(c *config.Config) any { return c.HelseID.SubjectAudience }, "aud"},
		{[]string{"HELSEID_ASSERTION_LIFETIME=60s"}, func(c *config.Config) any { return c.HelseID.AssertionLifetime }, time.Minute},
		{[]string{"HELSEID_ASSERTION_CLAIM=authorization_details"}, func(c *config.Config) any { return c.HelseID.AssertionClaim }, "authorization_details"},
		{[]string{"HELSEID_PARENT_ONLY_FORM=bare"}, func(c *config.Config) any { return c.HelseID.ParentOnlyForm }, "bare"},
		{[]string{"HELSEID_CLAIM_NAMES=parent=a,pid=b"}, func(c *config.Config) any { return c.HelseID.ClaimNames }, map[string]string{"parent": "a", "pid": "b"}},
		{[]string{"HELSEID_SUPPLIER_ORGNR=999977776"}, func(c *config.Config) any { return c.HelseID.SupplierOrgnr }, "999977776"},
		{[]string{"HELSEID_TIMEOUT=3s"}, func(c *config.Config) any { return c.HelseID.Timeout }, 3 * time.Second},
		{[]string{"SIDECAR_HELSEID_CONCURRENCY=2"}, func(c *config.Config) any { return c.HelseID.Concurrency }, 2},

		{[]string{"SFM_API=v1"}, func(c *config.Config) any { return c.HelseID.Scopes }, []string{"e-helse:sfm.api/sfm.api"}},
		{[]string{"SFM_UPSTREAMS=https://one.example/base/"}, func(c *config.Config) any { return basis(c).Name + basis(c).URL.String() }, "https://one.example/base"},
		{[]string{"SFM_UPSTREAMS=migration=https://m.example"}, func(c *config.Config) any { return basis(c).Scopes }, []string{"e-helse:sfm.api/sfm-migrering.api2"}},
		{[]string{"SFM_UPSTREAMS=migration=https://m.example", "SFM_API=v1"}, func(c *config.Config) any { return basis(c).Scopes }, []string{"e-helse:sfm.api/sfm-migrering.api"}},
		{[]string{"SFM_UPSTREAMS=migration=https://m.example", "SFM_UPSTREAM_SCOPES=migration=x y"}, func(c *config.Config) any { return basis(c).Scopes }, []string{"x", "y"}},
		{[]string{"SFM_UPSTREAM_SCOPES=basis=nhn:x/y"}, func(c *config.Config) any { return c.SFM.UpstreamScopes }, map[string][]string{"basis": {"nhn:x/y"}}},
		{[]string{"SFM_UPSTREAM_AUDIENCES=basis=nhn:x"}, func(c *config.Config) any { return basis(c).Audience }, "nhn:x"},
		{[]string{"SFM_RESPONSE_TIMEOUT=1m"}, func(c *config.Config) any { return c.SFM.ResponseTimeout }, time.Minute},
		{[]string{"SFM_RESPONSE_TIMEOUT=1m"}, func(c *config.Config) any { return c.Keep.MaxSigtermDelay }, 70 * time.Second},
		{[]string{"SFM_SESSION_KEEPALIVE=true"}, func(c *config.Config) any { return c.SFM.SessionKeepalive }, true},
		{[]string{"SFM_SESSION_KEEPALIVE=false"}, func(c *config.Config) any { return c.SFM.SessionKeepalive }, false},
		{[]string{"TENANTS_FILE=/t.yaml"}, func(c *config.Config) any { return c.Tenants.Policy }, "listed"},
		{[]string{"TENANTS_FILE=/t.yaml", "TENANTS_POLICY=any"}, func(c *config.Config) any { return c.Tenants.Policy }, "any"},
		{[]string{"TENANTS_POLICY=any"}, func(c *config.Config) any { return c.Tenants.Policy }, "any"},
		{[]string{"HELSEID_ISSUER=https://helseid-sts.test.nhn.no"}, func(c *config.Config) any { return c.Tenants.SelvbetjeningURL }, "https://api.selvbetjening.test.nhn.no"},
		{[]string{"HELSEID_ISSUER=https://helseid-sts.nhn.no"}, func(c *config.Config) any { return c.Tenants.SelvbetjeningURL }, "https://api.selvbetjening.nhn.no"},
		{[]string{"HELSEID_ISSUER=https://helseid-sts.nhn.no", "SELVBETJENING_URL=http://localhost:1/s"}, func(c *config.Config) any { return c.Tenants.SelvbetjeningURL }, "http://localhost:1/s"},
		{[]string{"SIDECAR_ORGNR_CHECK=strict"}, func(c *config.Config) any { return c.Tenants.OrgnrCheck }, "strict"},

		{[]string{"SIDECAR_LISTEN=[::1]:80"}, func(c *config.Config) any { return c.Listen.Address + " " + c.Listen.Callback }, "[::1]:80 [::1]:80"},
		{[]string{"SIDECAR_LISTEN=localhost:0", "SIDECAR_ADMIN_LISTEN=localhost:0"}, func(c *config.Config) any { return c.Listen.Address }, "localhost:0"},
		{[]string{"SIDECAR_LISTEN=0.0.0.0:8080", "SIDECAR_UNSAFE_LISTEN_ANY=true"}, func(c *config.Config) any { return c.Listen.UnsafeAny }, true},
		{[]string{"SIDECAR_LISTEN=unix:/run/s", "SIDECAR_CALLBACK_LISTEN=127.0.0.1:81"}, func(c *config.Config) any { return c.Listen.Callback }, "127.0.0.1:81"},
		{[]string{"SIDECAR_LISTEN=unix:/run/s", "HELSEID_GRANT=client-credentials", "SIDECAR_CALLER_KEY=k"}, func(c *config.Config) any { return c.Listen.Callback }, ""},
		{[]string{"SIDECAR_ADMIN_LISTEN=:9091"}, func(c *config.Config) any { return c.Listen.Admin }, ":9091"},
		{[]string{"SIDECAR_ALLOWED_HOSTS=Sidecar.local:8080,b"}, func(c *config.Config) any { return c.Listen.AllowedHosts }, []string{"sidecar.local:8080", "b"}},
		{[]string{"SIDECAR_ALLOWED_ORIGINS=https://EPJ.example", "SIDECAR_CALLER_KEY=k"}, func(c *config.Config) any { return c.Listen.AllowedOrigins }, []string{"https://epj.example"}},
		{[]string{"SIDECAR_CALLER_KEY=key"}, func(c *config.Config) any { return c.Listen.CallerKey.Reveal() }, "key"},
		{[]string{"HELSEID_GRANT=client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true"}, func(c *config.Config) any { return c.Listen.UnsafeNoCallerKey }, true},
		{[]string{"SIDECAR_ALLOWED_UIDS=1000,epj"}, func(c *config.Config) any { return c.Listen.AllowedUIDs }, []string{"1000", "epj"}},
		{[]string{"SIDECAR_ENABLE_QUIT=false"}, func(c *config.Config) any { return c.Listen.EnableQuit }, false},

		{[]string{"SIDECAR_STORE=memory"}, func(c *config.Config) any { return c.Keep.Store.Reveal() }, "memory"},
		{[]string{"SIDECAR_STORE_TIMEOUT=1s"}, func(c *config.Config) any { return c.Keep.StoreTimeout }, time.Second},
		{[]string{"SIDECAR_SESSION_STORE=keyring"}, func(c *config.Config) any { return c.Keep.SessionStore }, "keyring"},
		{[]string{"SIDECAR_SESSION_IDLE=1h"}, func(c *config.Config) any { return c.Keep.SessionIdle }, time.Hour},
		{[]string{"SIDECAR_CACHE_ENTRIES=7"}, func(c *config.Config) any { return c.Keep.CacheEntries }, 7},
		{[]string{"SIDECAR_REFRESH_BEFORE=0"}, func(c *config.Config) any { return c.Keep.RefreshBefore }, time.Duration(0)},
		{[]string{"SIDECAR_EXPIRY_LEEWAY=1s"}, func(c *config.Config) any { return c.Keep.ExpiryLeeway }, time.Second},
		{[]string{"SIDECAR_CLOCK=system"}, func(c *config.Config) any { return c.Keep.Clock }, "system"},
		{[]string{"SIDECAR_WARM_UP=0s"}, func(c *config.Config) any { return c.Keep.WarmUp }, time.Duration(0)},
		{[]string{"SIDECAR_MIN_SIGTERM_DELAY=5s"}, func(c *config.Config) any { return c.Keep.MinSigtermDelay }, 5 * time.Second},
		{[]string{"SIDECAR_MAX_SIGTERM_DELAY=0s"}, func(c *config.Config) any { return c.Keep.MaxSigtermDelay }, time.Duration(0)},
		{[]string{"HTTPS_PROXY=http://p.example:1"}, func(c *config.Config) any { return c.Keep.HTTPSProxy.Reveal() }, "http://p.example:1"},
		{[]string{"https_proxy=p.example:1"}, func(c *config.Config) any { return c.Keep.HTTPSProxy.Reveal() }, "p.example:1"},
		{[]string{"no_proxy=a.example"}, func(c *config.Config) any { return c.Keep.NoProxy }, "a.example"},
		{[]string{"LOG_LEVEL=debug"}, func(c *config.Config) any { return c.Log.Level }, "debug"},
		{[]string{"LOG_FORMAT=json"}, func(c *config.Config) any { return c.Log.Format }, "json"},
		{[]string{"LOG_FORMAT="}, func(c *config.Config) any { return c.Log.Format }, "auto"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.set, " "), func(t *testing.T) {
			got := test.get(mustLoad(t, with(test.set...)))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllLoginScopes(t *testing.T) {
	c := mustLoad(t, with(
		"HELSEID_LOGIN_SCOPES=openid offline_access", "SFM_UPSTREAMS=b=https://b.example,migration=https://m.example,x=https://x.example",
		"SFM_UPSTREAM_SCOPES=x=other openid"))
	want := []string{"openid", "offline_access", "e-helse:sfm.api/sfm.api2", "e-helse:sfm.api/sfm-migrering.api2", "other"}
	if diff := cmp.Diff(want, c.AllLoginScopes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if slices.Contains(c.HelseID.Scopes, "e-helse:sfm.api/sfm-migrering.api2") {
		t.Error("the migration scope has come among the general ones")
	}
}

func TestSecretFiles(t *testing.T) {
	path := write(t, "{\"kty\":\"EC\"}\r\n")
	c := mustLoad(t, with("HELSEID_CLIENT_JWK=", "HELSEID_CLIENT_JWK_FILE="+path, "SIDECAR_CALLER_KEY_FILE="+write(t, "key\n")))
	if got := c.HelseID.ClientJWK.Reveal(); got != `{"kty":"EC"}` {
		t.Errorf("client key has %d bytes", len(got))
	}
	if c.HelseID.ClientJWKFile != path {
		t.Errorf("ClientJWKFile = %q", c.HelseID.ClientJWKFile)
	}
	if got := c.Listen.CallerKey.Reveal(); got != "key" {
		t.Errorf("caller key has %d bytes", len(got))
	}
}

func TestEnvFile(t *testing.T) {
	file := "# comment\r\nHELSEID_CLIENT_ID='from file'\nexport LOG_LEVEL=debug # more\nLOG_FORMAT=text\nHTTPS_PROXY=http://p.example:1\n"
	path := write(t, strings.Replace(file, "from file", "from-file", 1))
	c, warnings, err := config.Load(with("SIDECAR_ENV_FILE="+path, "HELSEID_CLIENT_ID=", "LOG_FORMAT=json", "SIDECAR_CALLER_KEY=k"))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load: %v, warnings %v", err, warnings)
	}
	if c.HelseID.ClientID != "from-file" || c.Log.Level != "debug" || c.Log.Format != "json" {
		t.Errorf("client id %q, level %q, format %q", c.HelseID.ClientID, c.Log.Level, c.Log.Format)
	}
	proxy, err := c.Keep.Proxy()(&http.Request{URL: mustURL(t, "https://helseid.example/")})
	if err != nil || proxy == nil || proxy.Host != "p.example:1" {
		t.Errorf("proxy %v, %v", proxy, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, warnings, _ = config.Load(with("SIDECAR_ENV_FILE="+path, "SIDECAR_CALLER_KEY=k"))
	if len(warnings) != 1 || warnings[0].Variable != "SIDECAR_ENV_FILE" {
		t.Errorf("warnings of a file that all can read: %v", warnings)
	}
}

func TestCAFile(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if c := mustLoad(t, with("SIDECAR_CA_FILE="+path)); c.Keep.CAFile != path {
		t.Errorf("CAFile = %q", c.Keep.CAFile)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name string
		set  []string
		want []string // variables; the mend must hold the text after a colon
	}{
		{"none", []string{"SIDECAR_CALLER_KEY=k"}, nil},
		{"no caller key on TCP", nil, []string{"SIDECAR_CALLER_KEY"}},
		{"no caller key on a socket", []string{"SIDECAR_LISTEN=unix:/run/s", "SIDECAR_CALLBACK_LISTEN=localhost:1"}, nil},
		{"misspelt", []string{"SIDECAR_CALLER_KEY=k", "HELSEID_ISUER=x"}, []string{"HELSEID_ISUER:HELSEID_ISSUER?"}},
		{"twin of no secret", []string{"SIDECAR_CALLER_KEY=k", "HELSEID_ISSUER_FILE=x"}, []string{"HELSEID_ISSUER_FILE"}},
		{"nothing like it", []string{"SIDECAR_CALLER_KEY=k", "SFM_COMPLETELY_UNHEARD_OF_SETTING=x"}, []string{"SFM_COMPLETELY_UNHEARD_OF_SETTING:sidecar env"}},
		{"log", []string{"SIDECAR_CALLER_KEY=k", "LOG_LEVLE=x", "LOG_DESTINATION=x"}, []string{"LOG_LEVLE:LOG_LEVEL?"}},
		{"strangers", []string{"SIDECAR_CALLER_KEY=k", "PATH=/bin", "OTEL_SERVICE_NAME=x", "HELSEID=x"}, nil},
		{"Kubernetes", []string{
			"SIDECAR_CALLER_KEY=k", "SIDECAR_SERVICE_HOST=10.0.0.1", "SIDECAR_SERVICE_PORT=80", "SFM_SIDECAR_SERVICE_PORT_HTTP=80",
			"SIDECAR_PORT=tcp://10.0.0.1:80", "SIDECAR_PORT_80_TCP=tcp://10.0.0.1:80", "SIDECAR_PORT_80_TCP_ADDR=10.0.0.1",
		}, nil},
		{"a port that is not Kubernetes'", []string{"SIDECAR_CALLER_KEY=k", "SIDECAR_PORT=8080"}, []string{"SIDECAR_PORT"}},
		{"unsafe", []string{"SIDECAR_CALLER_KEY=k", "SIDECAR_UNSAFE_LISTEN_ANY=true"}, []string{"SIDECAR_UNSAFE_LISTEN_ANY"}},
		{"unsafe without key", []string{"HELSEID_GRANT=client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=1"}, []string{"SIDECAR_UNSAFE_NO_CALLER_KEY"}},
		{"http issuer", []string{"SIDECAR_CALLER_KEY=k", "HELSEID_ISSUER=http://127.0.0.1:1"}, []string{"HELSEID_ISSUER"}},
		{"renewal within the leeway", []string{"SIDECAR_CALLER_KEY=k", "SIDECAR_REFRESH_BEFORE=10s"}, []string{"SIDECAR_REFRESH_BEFORE"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, warnings, err := config.Load(with(test.set...))
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			if len(warnings) != len(test.want) {
				t.Fatalf("warnings %v, want %v", warnings, test.want)
			}
			for i, want := range test.want {
				variable, mend, _ := strings.Cut(want, ":")
				if warnings[i].Variable != variable || !strings.Contains(warnings[i].Mend, mend) {
					t.Errorf("warning %v, want %q", warnings[i], want)
				}
			}
		})
	}
}

// TestHidden looks for a secret in everything that is printed.
func TestHidden(t *testing.T) {
	const secret = "hush-hush-very-secret"
	environ := with("HELSEID_CLIENT_JWK="+secret, "SIDECAR_CALLER_KEY="+secret, "SIDECAR_STORE=redis://u:"+secret+"@h/0",
		"SIDECAR_STORE_KEY="+secret, "HTTPS_PROXY=ftp://u:"+secret+"@h", "SFM_UPSTREAMS=a=https://u:"+secret+"@h,b=https://%zz:"+secret+"@h",
		"HELSEID_ISSUER=https://u:"+secret+"@h", "HELSEID_REDIRECT_URI=ftp://u:"+secret+"@h")
	_, warnings, err := config.Load(environ)
	if err == nil {
		t.Fatal("no faults")
	}
	var out strings.Builder
	if err := config.WriteCurrent(&out, environ); err != nil {
		t.Fatal(err)
	}
	all := err.Error() + out.String()
	for _, w := range warnings {
		all += w.String()
	}
	if strings.Contains(all, secret) {
		t.Error("a secret shows")
	}
}

func TestUpstreamURLs(t *testing.T) {
	ok := map[string]string{
		"https://h.example":                  "https://h.example",
		"https://h.example/":                 "https://h.example",
		"https://H.Example:443/a/b//":        "https://h.example/a/b",
		"https://h.example:0443":             "https://h.example",
		"https://h.example:8443/x":           "https://h.example:8443/x",
		"https://h.example:/x":               "https://h.example/x",
		"HTTPS://h.example/$a/%24b/c%2Fd":    "https://h.example/$a/%24b/c%2Fd",
		"https://blåbær.example":             "https://xn--blbr-roah.example",
		"http://localhost:80":                "http://localhost",
		"http://127.0.0.1:5000":              "http://127.0.0.1:5000",
		"http://[::1]:5000/v2":               "http://[::1]:5000/v2",
		"https://[2001:DB8:0::1]":            "https://[2001:db8::1]",
		"https://h.example/a=b":              "https://h.example/a=b",
		"https://h.example/..hidden/.well-k": "https://h.example/..hidden/.well-k",
	}
	for in, want := range ok {
		c := mustLoad(t, with("SFM_UPSTREAMS="+in))
		if diff := cmp.Diff(want, c.SFM.Upstreams[0].URL.String(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}
