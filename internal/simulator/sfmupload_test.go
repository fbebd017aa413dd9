package simulator

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func (e *epj) tus(method, path string, body []byte, headers map[string]string) *http.Request {
	e.t.Helper()
	r := e.request(method, path, body)
	r.Header.Set("Tus-Resumable", tusVersion)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return r
}

func (e *epj) begin(length int) string {
	e.t.Helper()
	got := e.send(e.tus("POST", "/v2/files", nil, map[string]string{"Upload-Length": strconv.Itoa(length)}))
	path, ok := strings.CutPrefix(got.header.Get("Location"), e.url)
	if got.status != 201 || !ok || !strings.HasPrefix(path, "/v2/files/") {
		e.t.Fatalf("status %d, Location %q", got.status, got.header.Get("Location"))
	}
	return path
}

func (e *epj) part(path string, offset int, body []byte) answer {
	e.t.Helper()
	return e.send(e.tus("PATCH", path, body, map[string]string{"Upload-Offset": strconv.Itoa(offset), "Content-Type": "application/offset+octet-stream"}))
}

func TestUpload(t *testing.T) {
	e := newEPJ(t)
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	path := e.begin(len(content))
	if got := e.part(path, 0, content[:60_000]); got.status != 204 || got.header.Get("Upload-Offset") != "60000" {
		t.Fatalf("first part: %d", got.status)
	}
	for _, offset := range []int{0, 60_001} {
		if got := e.part(path, offset, content[60_000:]); got.status != 409 || e.last().BodyLength != 0 {
			t.Errorf("a part at %d: %d after %d bytes", offset, got.status, e.last().BodyLength)
		}
	}
	state := e.send(e.tus("HEAD", path, nil, nil))
	if state.status != 200 || state.header.Get("Upload-Offset") != "60000" || state.header.Get("Upload-Length") != "100000" {
		t.Errorf("state: %d %v", state.status, state.header)
	}
	if got := e.part(path, 60_000, append(content[60_000:], 'x')); got.status != 400 {
		t.Errorf("a part too long: %d", got.status)
	}
	if got := e.part(path, 60_000, content[60_000:]); got.status != 204 {
		t.Errorf("last part: %d", got.status)
	}
	if up := e.sim.SFMUploads(); len(up) != 1 || up[0].SHA256 != sha(content) || up[0].Offset != up[0].Length {
		t.Errorf("uploads: %+v", up)
	}
}

// TestUploadBrokenOff: a part that does not come whole leaves no trace.
func TestUploadBrokenOff(t *testing.T) {
	e := newEPJ(t)
	path := e.begin(100)
	r := e.tus("PATCH", path, nil, map[string]string{"Upload-Offset": "0"})
	r.Body, r.ContentLength, r.GetBody = &countingBody{left: 10}, 100, nil
	if got := e.try(r); got.err == nil {
		t.Fatalf("status %d", got.status)
	}
	if up := e.sim.SFMUploads(); up[0].Offset != 0 || up[0].SHA256 != sha(nil) {
		t.Errorf("upload: %+v", up[0])
	}
}

func TestUploadRefusals(t *testing.T) {
	e := newEPJ(t)
	path := e.begin(1)
	for name, row := range map[string]struct {
		r    *http.Request
		want int
	}{
		"no version":     {e.request("POST", "/v2/files", nil), 412},
		"no length":      {e.tus("POST", "/v2/files", nil, nil), 400},
		"bad length":     {e.tus("POST", "/v2/files", nil, map[string]string{"Upload-Length": "-1"}), 400},
		"no offset":      {e.tus("PATCH", path, nil, nil), 400},
		"unknown":        {e.tus("PATCH", "/v2/files/x", nil, map[string]string{"Upload-Offset": "0"}), 404},
		"unknown state":  {e.tus("HEAD", "/v2/files/x", nil, nil), 404},
		"state, no tus":  {e.request("HEAD", path, nil), 412},
		"another method": {e.tus("GET", path, nil, nil), 501},
	} {
		if got := e.send(row.r); got.status != row.want {
			t.Errorf("%s: %d, want %d", name, got.status, row.want)
		}
	}
}
