package chart_test

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func values(t *testing.T, chart string) map[string]any {
	t.Helper()
	var all map[string]any
	if err := yaml.UnmarshalStrict([]byte(read(t, "helm", chart, "values.yaml")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// lookup follows a path of names with dots between.
func lookup(all map[string]any, path string) (any, bool) {
	name, rest, deeper := strings.Cut(path, ".")
	v, ok := all[name]
	if !ok || !deeper {
		return v, ok
	}
	below, isMap := v.(map[string]any)
	if !isMap {
		return nil, false
	}
	return lookup(below, rest)
}

// TestRefused gives the EPJ's chart one bad value at a time. It must be refused by name.
func TestRefused(t *testing.T) {
	for set, name := range map[string]string{
		// Not there, or of another kind.
		"nativ=true":                           "nativ",
		"native=maybe":                         "/native",
		"image.digest=latest":                  "/image/digest",
		"helseid.issuer=":                      "helseid.issuer",
		"helseid.issuer=http://helseid.test":   "/helseid/issuer",
		"helseid.clientId=":                    "helseid.clientId",
		"helseid.grants={password}":            "/helseid/grants",
		"helseid.clientKey.secretName=":        "helseid.clientKey.secretName",
		"helseid.clientKey.volumeName=vault":   "helseid.clientKey.volumeName",
		"sfm.api=v3":                           "/sfm/api",
		"sfm.upstreams.Basis=https://x":        "'Basis'",
		"sfm.upstreams.basis=ftp://x":          "/sfm/upstreams/basis",
		"sfm.upstreams.basis=null":             "/sfm/upstreams/basis",
		"sfm.responseTimeoutSeconds=0":         "/sfm/responseTimeoutSeconds",
		"ports.app=70000":                      "/ports/app",
		"ports.app=9090":                       "ports.admin",
		"env.LOG_LEVEl=debug":                  "LOG_LEVEl",
		"resources.limits.memory=lots":         "/resources/limits/memory",
		"resources.claims=x":                   "claims",
		"shutdown.drainSeconds=60":             "shutdown.drainSeconds",
		"shutdown.appSeconds=-1":               "/shutdown/appSeconds",
		"podDisruptionBudget.maxUnavailable=0": "/podDisruptionBudget/maxUnavailable",
		"podMonitor.interval=often":            "/podMonitor/interval",
		"tenants.policy=some":                  "/tenants/policy",
		"helseid.grants={client-credentials}":  "callerKey.secretName",
		"helseid.grants={token-exchange}":      "env.HELSEID_SUBJECT_AUDIENCE",
		"store.urlSecret.name=valkey":          "store.sealingKey.secretName",
		"networkPolicy.enabled=true":           "networkPolicy.helseid.cidrs",
		"networkPolicy.store.namespace=valkey": "networkPolicy.enabled",
		"networkPolicy.store.ports={0}":        "/networkPolicy/store/ports",
		"networkPolicy.dns.podLabels.k8s-app=null,networkPolicy.enabled=true": "/networkPolicy/dns/podLabels",
		"networkPolicy.helseid.cidrs={0.0.0.0/0}":                             "/networkPolicy/helseid/cidrs",
		"networkPolicy.sfm.cidrs={::/0}":                                      "/networkPolicy/sfm/cidrs",
		"networkPolicy.sfm.cidrs={helseid.nhn.no}":                            "/networkPolicy/sfm/cidrs",
		// Secrets, which are given by reference only.
		"helseid.clientKey.jwk=secret":                               "jwk",
		"env.HELSEID_CLIENT_JWK=secret":                              "HELSEID_CLIENT_JWK",
		"env.SIDECAR_CALLER_KEY=secret":                              "SIDECAR_CALLER_KEY",
		"env.SIDECAR_STORE=rediss://u:secret@valkey":                 "SIDECAR_STORE",
		"env.SIDECAR_STORE_KEY=secret":                               "SIDECAR_STORE_KEY",
		"env.HTTPS_PROXY=http://u:secret@proxy":                      "HTTPS_PROXY",
		"env.OTEL_EXPORTER_OTLP_HEADERS=key=secret":                  "OTEL_EXPORTER_OTLP_HEADERS",
		"env.OTEL_EXPORTER_OTLP_ENDPOINT=https://u:secret@collector": "/env/OTEL_EXPORTER_OTLP_ENDPOINT",
		"callerKey=secret":                                           "/callerKey",
		"callerKey.value=secret":                                     "value",
		"store.url=rediss://u:secret@valkey":                         "url",
		"helseid.issuer=https://u:secret@helseid":                    "/helseid/issuer",
	} {
		t.Run(set, func(t *testing.T) {
			var args []string
			for _, one := range strings.Split(set, ",") {
				args = append(args, "--set", "sfm-sidecar."+one)
			}
			out, stderr, err := helm(t, append([]string{"template", "release", filepath.Join(charts(t), "epj"),
				"--values", filepath.Join("testdata", "values", "native.yaml")}, args...)...)
			if err == nil {
				t.Fatalf("taken:\n%s", out)
			}
			if !strings.Contains(stderr, name) || !strings.Contains(stderr, "sfm-sidecar") {
				t.Errorf("does not name %s: %s", name, stderr)
			}
		})
	}
}

func TestDemoRefused(t *testing.T) {
	for set, name := range map[string]string{
		"sfm-sidecar.native=false":  "/sfm-sidecar/native",
		"epj.person=nobody":         "/epj/person",
		"epj.everySeconds=0":        "/epj/everySeconds",
		"simulator.image.registry=": "registry",
		"simulated=true":            "simulated",
	} {
		_, stderr, err := helm(t, "template", "release", filepath.Join(charts(t), "demo"), "--set", set)
		if err == nil || !strings.Contains(stderr, name) {
			t.Errorf("%s: does not name %s: %v %s", set, name, err, stderr)
		}
	}
}
