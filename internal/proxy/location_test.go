package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func somePlace(t testing.TB, upstreamURL, name string) place {
	t.Helper()
	ups, err := newUpstreams([]Upstream{{Name: name, URL: parse(t, upstreamURL), Scheme: "DPoP"}})
	if err != nil {
		t.Fatal(err)
	}
	u := ups[name]
	asked := new(url.URL)
	u.aim(asked, "/files/1")
	local := localAddress{origin: "http://127.0.0.1:8080"}
	if name != "" {
		local.path = "/" + name
	}
	return place{up: u, asked: asked, local: local}
}

func TestLocation(t *testing.T) {
	const removed = "(removed)"
	tests := []struct{ base, name, value, want string }{
		{"https://sfm.example/fhir", "basis", "https://sfm.example/fhir/Patient/1", "http://127.0.0.1:8080/basis/Patient/1"},
		{"https://sfm.example/fhir", "basis", "http://sfm.example/fhir/Patient/1", "http://127.0.0.1:8080/basis/Patient/1"},
		{"https://sfm.example/fhir", "basis", "http://sfm.example:80/fhir/x", "http://127.0.0.1:8080/basis/x"},
		{"https://sfm.example/fhir", "basis", "https://SFM.example:443/fhir/x?a=1;b&c=%zz#f", "http://127.0.0.1:8080/basis/x?a=1;b&c=%zz#f"},
		{"https://sfm.example/fhir", "basis", "https://sfm.example.:0443/fhir", "http://127.0.0.1:8080/basis"},
		{"https://sfm.example/fhir", "basis", "//sfm.example/fhir/x", "http://127.0.0.1:8080/basis/x"},
		{"https://sfm.example/fhir", "basis", "https://user:pw@sfm.example/fhir/x", "http://127.0.0.1:8080/basis/x"},
		{"https://sfm.example/fhir", "basis", "/fhir/files/2", "/basis/files/2"},
		{"https://sfm.example/fhir", "basis", "2?x", "/basis/files/2?x"},
		{"https://sfm.example/fhir", "basis", "?x", "/basis/files/1?x"},
		{"https://sfm.example/fhir", "basis", "../up", "/basis/up"},
		{"https://sfm.example/fhir", "basis", "/fhir/a%2Fb/$c/%24d", "/basis/a%2Fb/$c/%24d"},
		{"https://sfm.example/fhir", "basis", "/admin", removed},
		{"https://sfm.example/fhir", "basis", "/fhirx", removed},
		{"https://sfm.example/fhir", "basis", "../../admin", removed},
		{"https://sfm.example/fhir", "basis", "https://sfm.example/fhir/../admin", removed},
		{"https://sfm.example/fhir", "basis", "https://sfm.example/fhir/%2e%2e/admin", removed},
		{"https://sfm.example/fhir", "basis", "https://sfm.example/", removed},
		{"https://sfm.example", "basis", "https://sfm.example", "http://127.0.0.1:8080/basis"},
		{"https://sfm.example", "basis", "/anything", "/basis/anything"},
		{"https://sfm.example", "", "/anything", "/anything"},
		{"https://sfm.example", "", "https://sfm.example", "http://127.0.0.1:8080/"},
		{"https://sfm.example", "", "https://sfm.example//evil.example/x", "http://127.0.0.1:8080//evil.example/x"},
		{"https://sfm.example/fhir", "", "/fhir//evil.example/x", "/.//evil.example/x"},
		{"https://sfm.example:8443", "basis", "https://sfm.example:8443/x", "http://127.0.0.1:8080/basis/x"},
		{"https://sfm.example:8443", "basis", "https://sfm.example/x", "https://sfm.example/x"},
		{"https://sfm.example", "basis", "https://sfm.example:8443/x", "https://sfm.example:8443/x"},
		{"https://sfm.example", "basis", "https://other.example/x", "https://other.example/x"},
		{"https://sfm.example", "basis", "ftp://sfm.example/x", "ftp://sfm.example/x"},
		{"https://sfm.example", "basis", "urn:uuid:1", "urn:uuid:1"},
		{"https://sfm.example", "basis", "http://[bad", "http://[bad"},
		{"https://sfm.example", "basis", "", ""},
		{"http://127.0.0.1:9", "basis", "http://127.0.0.1:9/x", "http://127.0.0.1:8080/basis/x"},
		{"http://[::1]:9", "basis", "http://[::1]:9/x", "http://127.0.0.1:8080/basis/x"},
	}
	for _, tt := range tests {
		got, ok := somePlace(t, tt.base, tt.name).here(tt.value)
		if !ok {
			got = removed
		}
		if got != tt.want {
			t.Errorf("%s under %s: %q, want %q", tt.value, tt.base, got, tt.want)
		}
	}
}

func TestLocationOverHTTP(t *testing.T) {
	var self string
	self = upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", self+"/base/files/1")
		w.Header().Set("Content-Location", self+"/secret/outside")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	h := open(t, self+"/base")
	a := h.get("/basis/files")
	if got := a.Header.Get("Location"); a.StatusCode != 307 || got != h.URL+"/basis/files/1" {
		t.Errorf("status %d, Location %q", a.StatusCode, got)
	}
	if _, there := a.Header["Content-Location"]; there {
		t.Error("an address outside the base path was passed on")
	}
	h.events.done(t, 1)
	if log := h.log.String(); !strings.Contains(log, "address outside the upstream's base path removed") || strings.Contains(log, "secret") {
		t.Error("its removal is not logged, or with its value")
	}
}

func FuzzLocation(f *testing.F) {
	for _, v := range []string{"https://sfm.example/fhir/x", "/fhir/%2e%2e/x", "//sfm.example/fhir//x", "?q#f", "http://sfm.example:80/fhir/a%2Fb", "\\\\sfm.example", "https:sfm.example"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p := somePlace(t, "https://sfm.example/fhir", "basis")
		got, ok := p.here(value)
		if !ok || got == value {
			return
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Fatalf("made of %q an address that can't be read", value)
		}
		if abs := p.asked.ResolveReference(u); abs.Host != "127.0.0.1:8080" && u.Host != "" {
			t.Errorf("%q leads to another host", value)
		}
		if u.Path != "/basis" && !strings.HasPrefix(u.Path, "/basis/") || hasDots(u.Path) {
			t.Errorf("%q leads outside the upstream", value)
		}
	})
}
