package app

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"sfm-sidecar/internal/doctor"
)

// The door lets one browser in, the one with the state, once.
func TestDoor(t *testing.T) {
	t.Parallel()
	d := &door{path: "/_sidecar/callback", came: make(chan doctor.Return, 1)}
	visit := func(method, target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s %s: the answer may be kept, or tell its address", method, target)
		}
		return w
	}
	const right = "/_sidecar/callback?state=right&code=c&iss=i"
	for _, target := range []string{right, "/_sidecar/callback?code=x"} { // no state is no state that is awaited
		if got := visit("GET", target).Code; got != http.StatusBadRequest {
			t.Errorf("before anybody waits: %d", got)
		}
	}
	d.await("right")
	for target, want := range map[string]int{
		"/_sidecar/callback?state=wrong&code=x": 400, "/_sidecar/callback?code=x": 400, "/_sidecar/callback": 400, "/": 404, "/_sidecar/callback/?state=right": 404,
	} {
		if got := visit("GET", target).Code; got != want {
			t.Errorf("%s: %d, want %d", target, got, want)
		}
	}
	if got := visit("POST", right).Code; got != http.StatusNotFound {
		t.Errorf("POST: %d", got)
	}
	if w := visit("GET", right); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "right") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := visit("GET", right).Code; got != http.StatusBadRequest {
		t.Errorf("a second time: %d", got)
	}
	if got := <-d.came; got != (doctor.Return{Code: "c", Issuer: "i"}) {
		t.Errorf("%#v", got)
	}
	// A browser that is invited may be back before anything else happens.
	atOnce := func() { visit("GET", "/_sidecar/callback?state=quick&code=q") }
	if got, err := d.Await(t.Context(), "quick", atOnce); err != nil || got.Code != "q" {
		t.Errorf("%#v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Await(ctx, "other", func() {}); !errors.Is(err, context.Canceled) || d.expects("other") {
		t.Errorf("%v; the state outlives the wait", err)
	}
	(*door)(nil).close()
}

// A redirect address that is not this machine's alone can't be listened at.
func TestDoorsElsewhere(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"https://localhost:8443/x", "http://localhost/x", "http://epj.example:8080/x", "http://0.0.0.0:8080/x", "http://10.0.0.1:1/x", "::",
	} {
		if l, _, err := new(house).listenForBrowser(t.Context(), address); err == nil {
			for _, one := range l {
				one.Close()
			}
			t.Errorf("listening for %s", address)
		}
	}
}

func TestExposed(t *testing.T) {
	t.Parallel()
	const we = 1000
	for _, test := range []struct {
		mode  fs.FileMode
		owner int
		want  bool
	}{
		{0o600, we, false}, {0o400, we, false}, {0o640, we, true}, {0o644, we, true}, {0o604, we, true}, {0o620, we, true}, {0o601, we, true},
		{0o440, 0, false}, {0o640, 0, false}, {0o444, 0, true}, {0o660, 0, true}, {0o600, 1001, true},
	} {
		if got := exposed(test.mode, test.owner, we); (got != "") != test.want {
			t.Errorf("%o of %d: %q", test.mode, test.owner, got)
		}
	}
}

func TestColoured(t *testing.T) {
	t.Parallel()
	if coloured(Options{Stdout: new(strings.Builder)}) {
		t.Error("colours in a text that is kept")
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if coloured(Options{Stdout: file}) {
		t.Error("colours in a file")
	}
}
