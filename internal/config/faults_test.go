package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sfm-sidecar/internal/config"
)

// storeKey is 32 bytes that nobody uses.
const storeKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// TestFaults has a row for every fault. Each must be the only one.
func TestFaults(t *testing.T) {
	long := "unix:/" + strings.Repeat("x", 120)
	tests := []struct {
		set      []string
		variable string
		says     string // part of the problem or the mend
	}{
		{[]string{"HELSEID_ISSUER="}, "HELSEID_ISSUER", "required"},
		{[]string{"HELSEID_ISSUER=helseid.example"}, "HELSEID_ISSUER", "https URL"},
		{[]string{"HELSEID_ISSUER=http://helseid.example"}, "HELSEID_ISSUER", "loopback"},
		{[]string{"HELSEID_ISSUER=https://h.example?a"}, "HELSEID_ISSUER", "query"},
		{[]string{"HELSEID_CLIENT_ID= "}, "HELSEID_CLIENT_ID", "required"},
		{[]string{"HELSEID_CLIENT_ID=a b"}, "HELSEID_CLIENT_ID", "white space"},
		{[]string{"HELSEID_CLIENT_JWK="}, "HELSEID_CLIENT_JWK", "private key"},
		{[]string{"HELSEID_CLIENT_JWK=", "HELSEID_CLIENT_JWK_FILE=/nowhere/key"}, "HELSEID_CLIENT_JWK_FILE", "no such file"},
		{[]string{"HELSEID_CLIENT_JWK_FILE=/nowhere/key"}, "HELSEID_CLIENT_JWK_FILE", "together"},
		{[]string{"HELSEID_TENANCY=both"}, "HELSEID_TENANCY", "multi, single"},
		{[]string{"HELSEID_GRANT=password"}, "HELSEID_GRANT", "user, client-credentials"},
		{[]string{"HELSEID_GRANT=user,user"}, "HELSEID_GRANT", "twice"},
		{[]string{"HELSEID_GRANT=,"}, "HELSEID_GRANT", "no grant"},
		{[]string{"HELSEID_GRANT=user,token-exchange"}, "HELSEID_SUBJECT_AUDIENCE", "required with token-exchange"},
		{[]string{"HELSEID_GRANT=client-credentials"}, "SIDECAR_CALLER_KEY", "client-credentials"},
		{[]string{"HELSEID_SCOPES=e-helse:sfm.api/sfm.api"}, "HELSEID_SCOPES", "v1"},
		{[]string{"HELSEID_SCOPES=e-helse:sfm.api/sfm.api2", "SFM_API=v1"}, "HELSEID_SCOPES", "v2"},
		{[]string{"HELSEID_SCOPES=a\"b"}, "HELSEID_SCOPES", "not a scope"},
		{[]string{"HELSEID_LOGIN_SCOPES=openid offline_access e-helse:sfm.api/sfm.api"}, "HELSEID_LOGIN_SCOPES", "v1"},
		{[]string{"HELSEID_LOGIN_SCOPES=offline_access"}, "HELSEID_LOGIN_SCOPES", "openid"},
		{[]string{"HELSEID_LOGIN_SCOPES=openid"}, "HELSEID_LOGIN_SCOPES", "offline_access"},
		{[]string{"HELSEID_RESOURCE=x"}, "HELSEID_RESOURCE", "absolute"},
		{[]string{"HELSEID_LOGIN_PARAMS=ui_locales"}, "HELSEID_LOGIN_PARAMS", "name=value"},
		{[]string{"HELSEID_LOGIN_PARAMS=state=x"}, "HELSEID_LOGIN_PARAMS", "state"},
		{[]string{"HELSEID_LOGIN_TENANT=some"}, "HELSEID_LOGIN_TENANT", "none"},
		{[]string{"HELSEID_REDIRECT_URI=http://epj.example/cb"}, "HELSEID_REDIRECT_URI", "loopback"},
		{[]string{"HELSEID_REDIRECT_URI=https://epj.example/cb#"}, "HELSEID_REDIRECT_URI", "fragment"},
		{[]string{"HELSEID_REDIRECT_URI=/cb"}, "HELSEID_REDIRECT_URI", "registered"},
		{[]string{"HELSEID_POST_LOGOUT_REDIRECT_URI=/out"}, "HELSEID_POST_LOGOUT_REDIRECT_URI", "absolute"},
		{[]string{"HELSEID_ASSERTION_LIFETIME=61s"}, "HELSEID_ASSERTION_LIFETIME", "at most 1m0s"},
		{[]string{"HELSEID_ASSERTION_LIFETIME=0s"}, "HELSEID_ASSERTION_LIFETIME", "at least 1s"},
		{[]string{"HELSEID_ASSERTION_CLAIM=both"}, "HELSEID_ASSERTION_CLAIM", "authorization_details"},
		{[]string{"HELSEID_PARENT_ONLY_FORM=x"}, "HELSEID_PARENT_ONLY_FORM", "colon, bare"},
		{[]string{"HELSEID_CLAIM_NAMES=aud=x"}, "HELSEID_CLAIM_NAMES", "parent, child, journal, pid"},
		{[]string{"HELSEID_CLAIM_NAMES=pid=x,parent=x"}, "HELSEID_CLAIM_NAMES", "same name"},
		{[]string{"HELSEID_CLAIM_NAMES=pid=x,pid=y"}, "HELSEID_CLAIM_NAMES", "twice"},
		{[]string{"HELSEID_SUPPLIER_ORGNR=12345678"}, "HELSEID_SUPPLIER_ORGNR", "nine digits"},
		{[]string{"HELSEID_TIMEOUT=10"}, "HELSEID_TIMEOUT", "unit"},
		{[]string{"HELSEID_TIMEOUT=-1s"}, "HELSEID_TIMEOUT", "negative"},
		{[]string{"HELSEID_TIMEOUT=0s"}, "HELSEID_TIMEOUT", "at least"},
		{[]string{"SIDECAR_HELSEID_CONCURRENCY=0"}, "SIDECAR_HELSEID_CONCURRENCY", "less than 1"},
		{[]string{"SIDECAR_HELSEID_CONCURRENCY=many"}, "SIDECAR_HELSEID_CONCURRENCY", "whole number"},

		{[]string{"SFM_API=v3"}, "SFM_API", "v1, v2"},
		{[]string{"SFM_UPSTREAMS="}, "SFM_UPSTREAMS", "required"},
		{[]string{"SFM_UPSTREAMS=,"}, "SFM_UPSTREAMS", "no upstream"},
		{[]string{"SFM_UPSTREAMS=Basis=https://h.example"}, "SFM_UPSTREAMS", "a-z"},
		{[]string{"SFM_UPSTREAMS=_sidecar=https://h.example"}, "SFM_UPSTREAMS", "a-z"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example,a=https://i.example"}, "SFM_UPSTREAMS", "two upstreams named"},
		{[]string{"SFM_UPSTREAMS=https://h.example,a=https://i.example"}, "SFM_UPSTREAMS", "without a name"},
		{[]string{"SFM_UPSTREAMS=https://h.example,https://i.example"}, "SFM_UPSTREAMS", "without a name"},
		{[]string{"SFM_UPSTREAMS=a=h.example"}, "SFM_UPSTREAMS", "https URL"},
		{[]string{"SFM_UPSTREAMS=a=https:h.example"}, "SFM_UPSTREAMS", "https URL"},
		{[]string{"SFM_UPSTREAMS=a=ftp://h.example"}, "SFM_UPSTREAMS", "https URL"},
		{[]string{"SFM_UPSTREAMS=a=https://"}, "SFM_UPSTREAMS", "no host"},
		{[]string{"SFM_UPSTREAMS=a=http://h.example"}, "SFM_UPSTREAMS", "loopback"},
		{[]string{"SFM_UPSTREAMS=a=http://localhost.example"}, "SFM_UPSTREAMS", "loopback"},
		{[]string{"SFM_UPSTREAMS=a=https://u@h.example"}, "SFM_UPSTREAMS", "user name"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example?"}, "SFM_UPSTREAMS", "query"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example#"}, "SFM_UPSTREAMS", "fragment"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example/a/../b"}, "SFM_UPSTREAMS", "segment"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example/%2E%2e/b"}, "SFM_UPSTREAMS", "segment"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example/x%2f.%2f"}, "SFM_UPSTREAMS", "segment"},
		{[]string{"SFM_UPSTREAMS=a=https://[fe80::1%25eth0]"}, "SFM_UPSTREAMS", "zone"},
		{[]string{"SFM_UPSTREAMS=a=https://h_x.example"}, "SFM_UPSTREAMS", "host name"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example."}, "SFM_UPSTREAMS", "dot"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example:70000"}, "SFM_UPSTREAMS", "port"},
		{[]string{"SFM_UPSTREAMS=a=https://h.example:x"}, "SFM_UPSTREAMS", "not a URL"},
		{[]string{"SFM_UPSTREAM_SCOPES=other=x"}, "SFM_UPSTREAM_SCOPES", "other"},
		{[]string{"SFM_UPSTREAM_SCOPES=basis=e-helse:sfm.api/sfm.api"}, "SFM_UPSTREAM_SCOPES", "v1"},
		{[]string{"SFM_UPSTREAM_SCOPES=basis"}, "SFM_UPSTREAM_SCOPES", "name=value"},
		{[]string{"SFM_UPSTREAM_AUDIENCES=other=x"}, "SFM_UPSTREAM_AUDIENCES", "other"},
		{[]string{"SFM_RESPONSE_TIMEOUT=0s"}, "SFM_RESPONSE_TIMEOUT", "at least"},
		{[]string{"SFM_SESSION_KEEPALIVE=sure"}, "SFM_SESSION_KEEPALIVE", "true or false"},
		{[]string{"TENANTS_POLICY=listed"}, "TENANTS_POLICY", "TENANTS_FILE"},
		{[]string{"TENANTS_POLICY=all"}, "TENANTS_POLICY", "any"},
		{[]string{"SIDECAR_ORGNR_CHECK=off"}, "SIDECAR_ORGNR_CHECK", "warn, strict"},
		{[]string{"BRREG_URL=b.example"}, "BRREG_URL", "https URL"},
		{[]string{"BRREG_URL=http://b.example"}, "BRREG_URL", "loopback"},
		{[]string{"ADRESSEREGISTERET_URL=http://b.example"}, "ADRESSEREGISTERET_URL", "loopback"},
		{[]string{"ADRESSEREGISTERET_URL=https://b.example?x=1"}, "ADRESSEREGISTERET_URL", "query"},
		{[]string{"SELVBETJENING_URL=http://b.example"}, "SELVBETJENING_URL", "loopback"},
		{[]string{"SELVBETJENING_URL=https://u:p@b.example"}, "SELVBETJENING_URL", "user name"},

		{[]string{"SIDECAR_LISTEN=8080"}, "SIDECAR_LISTEN", "host:port"},
		{[]string{"SIDECAR_LISTEN=127.0.0.1:http"}, "SIDECAR_LISTEN", "port"},
		{[]string{"SIDECAR_LISTEN=127.0.0.1:65536"}, "SIDECAR_LISTEN", "port"},
		{[]string{"SIDECAR_LISTEN=:8080"}, "SIDECAR_LISTEN", "UNSAFE"},
		{[]string{"SIDECAR_LISTEN=0.0.0.0:8080"}, "SIDECAR_LISTEN", "UNSAFE"},
		{[]string{"SIDECAR_LISTEN=epj.example:8080"}, "SIDECAR_LISTEN", "UNSAFE"},
		{[]string{"SIDECAR_LISTEN=unix:run/s", "SIDECAR_CALLBACK_LISTEN=localhost:1"}, "SIDECAR_LISTEN", "absolute"},
		{[]string{"SIDECAR_LISTEN=" + long, "SIDECAR_CALLBACK_LISTEN=localhost:1"}, "SIDECAR_LISTEN", "longer"},
		{[]string{"SIDECAR_LISTEN=unix:/run/s"}, "SIDECAR_CALLBACK_LISTEN", "socket"},
		{[]string{"SIDECAR_CALLBACK_LISTEN=unix:/run/s"}, "SIDECAR_CALLBACK_LISTEN", "only SIDECAR_LISTEN"},
		{[]string{"SIDECAR_CALLBACK_LISTEN=0.0.0.0:81"}, "SIDECAR_CALLBACK_LISTEN", "UNSAFE"},
		{[]string{"SIDECAR_ADMIN_LISTEN=localhost:8080"}, "SIDECAR_ADMIN_LISTEN", "another listener"},
		{[]string{"SIDECAR_ADMIN_LISTEN=http://x"}, "SIDECAR_ADMIN_LISTEN", "port"},
		{[]string{"SIDECAR_UNSAFE_LISTEN_ANY=please"}, "SIDECAR_UNSAFE_LISTEN_ANY", "true or false"},
		{[]string{"SIDECAR_ALLOWED_HOSTS=http://x"}, "SIDECAR_ALLOWED_HOSTS", "host:port"},
		{[]string{"SIDECAR_ALLOWED_HOSTS=*"}, "SIDECAR_ALLOWED_HOSTS", "Host"},
		{[]string{"SIDECAR_ALLOWED_ORIGINS=https://x.example"}, "SIDECAR_CALLER_KEY", "ORIGINS"},
		{[]string{"SIDECAR_ALLOWED_ORIGINS=https://x.example/", "SIDECAR_CALLER_KEY=k"}, "SIDECAR_ALLOWED_ORIGINS", "origin"},
		{[]string{"SIDECAR_ALLOWED_ORIGINS=null", "SIDECAR_CALLER_KEY=k"}, "SIDECAR_ALLOWED_ORIGINS", "origin"},
		{[]string{"SIDECAR_ALLOWED_ORIGINS=https://*.example", "SIDECAR_CALLER_KEY=k"}, "SIDECAR_ALLOWED_ORIGINS", "origin"},
		{[]string{"SIDECAR_CALLER_KEY=nøkkel"}, "SIDECAR_CALLER_KEY", "header"},
		{[]string{"SIDECAR_CALLER_KEY_FILE=" + os.TempDir()}, "SIDECAR_CALLER_KEY_FILE", "directory"},
		{[]string{"SIDECAR_CALLER_KEY_FILE=" + os.DevNull}, "SIDECAR_CALLER_KEY_FILE", "empty"},
		{[]string{"SIDECAR_ALLOWED_UIDS=a:b"}, "SIDECAR_ALLOWED_UIDS", "no user"},
		{[]string{"SIDECAR_ALLOWED_SIDS=S-1-5-18"}, "SIDECAR_ALLOWED_SIDS", "not yet"},

		{[]string{"SIDECAR_STORE=disk"}, "SIDECAR_STORE", "memory"},
		{[]string{"SIDECAR_STORE=redis://"}, "SIDECAR_STORE", "names no server"},
		{[]string{"SIDECAR_STORE=unix://"}, "SIDECAR_STORE", "names no socket"},
		{[]string{"SIDECAR_STORE=redis://u:%zz@h"}, "SIDECAR_STORE", "percent-encoded"},
		{[]string{"SIDECAR_STORE=redis://h"}, "SIDECAR_STORE_KEY", "not set"},
		{[]string{"SIDECAR_STORE=redis://h", "SIDECAR_STORE_KEY=x"}, "SIDECAR_STORE_KEY", "base64 of 32 bytes"},
		{[]string{"SIDECAR_STORE=redis://h", "SIDECAR_STORE_KEY=" + storeKey + ",c2hvcnQ="}, "SIDECAR_STORE_KEY", "key 2"},
		{[]string{"SIDECAR_STORE=redis://h", "SIDECAR_STORE_KEY=,"}, "SIDECAR_STORE_KEY", "no key"},
		{[]string{"SIDECAR_STORE_KEY=" + storeKey}, "SIDECAR_STORE_KEY", "SIDECAR_STORE is memory"},
		{[]string{"SIDECAR_STORE=redis://h", "SIDECAR_STORE_KEY=" + storeKey, "SIDECAR_SESSION_STORE=keyring"}, "SIDECAR_SESSION_STORE", "both"},
		{[]string{"SIDECAR_STORE_TIMEOUT=0s"}, "SIDECAR_STORE_TIMEOUT", "at least"},
		{[]string{"SIDECAR_SESSION_STORE=disk"}, "SIDECAR_SESSION_STORE", "memory"},
		{[]string{"SIDECAR_SESSION_IDLE=0s"}, "SIDECAR_SESSION_IDLE", "at least"},
		{[]string{"SIDECAR_CACHE_ENTRIES=0"}, "SIDECAR_CACHE_ENTRIES", "less than 1"},
		{[]string{"SIDECAR_REFRESH_BEFORE=-5m"}, "SIDECAR_REFRESH_BEFORE", "negative"},
		{[]string{"SIDECAR_EXPIRY_LEEWAY=x"}, "SIDECAR_EXPIRY_LEEWAY", "time span"},
		{[]string{"SIDECAR_CLOCK=wrong"}, "SIDECAR_CLOCK", "correct, system"},
		{[]string{"SIDECAR_CA_FILE=/nowhere"}, "SIDECAR_CA_FILE", "no such file"},
		{[]string{"SIDECAR_CA_FILE=" + os.DevNull}, "SIDECAR_CA_FILE", "no certificate"},
		{[]string{"SIDECAR_WARM_UP=10s"}, "SIDECAR_WARM_UP", "listed tenants"},
		{[]string{"SIDECAR_MIN_SIGTERM_DELAY=3m"}, "SIDECAR_MIN_SIGTERM_DELAY", "SIDECAR_MAX_SIGTERM_DELAY"},
		{[]string{"HTTPS_PROXY=ftp://x"}, "HTTPS_PROXY", "proxy"},
		{[]string{"SIDECAR_ENV_FILE=/nowhere"}, "SIDECAR_ENV_FILE", "no such file"},
		{[]string{"SIDECAR_AUDIT_FILE=/a"}, "SIDECAR_AUDIT_FILE", "not yet"},
		{[]string{"LOG_LEVEL=trace"}, "LOG_LEVEL", "debug, info"},
		{[]string{"LOG_FORMAT=xml"}, "LOG_FORMAT", "json"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT", "no http or https"},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://x?key=k"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:p@x"}, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://x", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://x", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://x", "OTEL_EXPORTER_OTLP_CERTIFICATE=" + os.DevNull}, "OTEL_EXPORTER_OTLP_CERTIFICATE", "PEM"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.set, " "), func(t *testing.T) {
			c, _, err := config.Load(with(test.set...))
			faults, ok := errors.AsType[config.Faults](err)
			if !ok || c != nil {
				t.Fatalf("Load returned config %t and error %v, want Faults", c != nil, err)
			}
			if len(faults) != 1 || faults[0].Variable != test.variable {
				t.Fatalf("faults, want one of %s:\n%v", test.variable, err)
			}
			if !strings.Contains(faults[0].Error(), test.says) || faults[0].Mend == "" {
				t.Errorf("fault %q does not say %q", faults[0], test.says)
			}
		})
	}
}

// TestFaultsTogether sees that one round of mending is enough.
func TestFaultsTogether(t *testing.T) {
	_, _, err := config.Load([]string{"SFM_UPSTREAMS=a=http://h.example,b=ftp://h.example", "HELSEID_TIMEOUT=x", "HELSEID_TENANCY=x"})
	got := strings.Split(err.Error(), "\n")
	want := []string{"HELSEID_ISSUER: ", "HELSEID_CLIENT_ID: ", "HELSEID_CLIENT_JWK: ", "HELSEID_TIMEOUT: ", "SFM_UPSTREAMS: ", "SFM_UPSTREAMS: ", "HELSEID_TENANCY: "}
	if len(got) != len(want) {
		t.Fatalf("got %d faults, want %d:\n%v", len(got), len(want), err)
	}
	for i, line := range got {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d is %q, want %s…", i, line, want[i])
		}
	}
}

// TestLargeFiles sees that a wrong path cannot fill the memory.
func TestLargeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"SIDECAR_CALLER_KEY_FILE", "SIDECAR_ENV_FILE", "SIDECAR_CA_FILE"} {
		_, _, err := config.Load(with(variable + "=" + path))
		if err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("%s: %v", variable, err)
		}
	}
}

// What was meant to be a path may be the secret itself, and a secret may be in any
// variable: neither is repeated, not at start and not by the command env.
func TestMisplacedSecretsAreNotRepeated(t *testing.T) {
	const jwk = `{"kty":"EC","crv":"P-256","d":"SECRET"}`
	for _, line := range []string{
		"HELSEID_CLIENT_JWK_FILE=" + jwk, "SIDECAR_CALLER_KEY_FILE=SECRET", "SIDECAR_CA_FILE=SECRET", "SIDECAR_ENV_FILE=SECRET",
		"HELSEID_TENANCY=" + jwk, "LOG_LEVEL=" + jwk, "SFM_UPSTREAMS=" + jwk, "HELSEID_SCOPES=" + jwk,
		"SFM_UPSTREAMS=basis=https://sfm.example/?token=SECRET", "HELSEID_TIMEOUT=eyJSECRET.x.y",
	} {
		name, _, _ := strings.Cut(line, "=")
		_, _, err := config.Load([]string{line})
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the faults repeat it, or there are none", name)
		}
		if !strings.HasSuffix(name, "_FILE") {
			continue
		}
		var out bytes.Buffer
		if err := config.WriteCurrent(&out, []string{line}); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "SIDECAR_CALLER_KEY") || strings.HasPrefix(name, "HELSEID") {
			if strings.Contains(out.String(), "SECRET") {
				t.Errorf("%s: the tables repeat it", name)
			}
		}
	}
}

// Who may write a folder may put another file into the place of one that is guarded.
func TestEnvFileThatOthersMayExchange(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing here")
	}
	file := write(t, "")
	for mode, wide := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o777: true, 0o773: true, 0o777 | os.ModeSticky: false} {
		if err := os.Chmod(filepath.Dir(file), mode); err != nil {
			t.Fatal(err)
		}
		if got, err := config.OthersMayRead(file); err != nil || got != wide {
			t.Errorf("in a folder of mode %v: %v, %v", mode, got, err)
		}
	}
}
