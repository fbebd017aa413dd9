package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

func TestEcho(t *testing.T) {
	e := newEPJ(t)
	const path = "/v2/echo/a%2Fb/$x%24//c;d?q=1;r=2&s=%zz"
	r := e.request("PUT", path, []byte("hello"))
	r.Header.Set("X-Several", "1")
	r.Header.Add("X-Several", "2")
	var got Echo
	if err := json.Unmarshal(e.send(r).body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Method != "PUT" || got.Path+"?q=1;r=2&s=%zz" != path || got.QueryLength != len("q=1;r=2&s=%zz") || got.BodyFraming != "length" || got.BodySHA256 != sha([]byte("hello")) {
		t.Errorf("%+v", got)
	}
	if strings.Join(got.Headers["X-Several"], ",") != "1,2" || got.Headers["Authorization"] != nil || got.Headers["Dpop"] != nil {
		t.Error("the headers are not what was sent, less Authorization and DPoP")
	}
}

func TestEchoOnOrder(t *testing.T) {
	e := newEPJ(t)
	var early textproto.MIMEHeader
	r := e.request("GET", "/echo?status=302&header=Location:http://else.example/&header=Set-Cookie:a=b&header=Set-Cookie:c=d&trailer=X-End:1&early=Link:x", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			early = header
		}
		return nil
	}}))
	got := e.send(r)
	if got.status != 302 || got.header.Get("Location") != "http://else.example/" || len(got.header["Set-Cookie"]) != 2 || got.trailer.Get("X-End") != "1" || early.Get("Link") != "x" || got.header.Get("Link") != "" {
		t.Errorf("status %d, header %v, trailer %v, early %v", got.status, got.header, got.trailer, early)
	}
}

func TestEchoOfTrailersAndChunks(t *testing.T) {
	e := newEPJ(t)
	r := e.request("POST", "/echo", []byte("x"))
	r.ContentLength, r.GetBody = -1, nil
	r.Trailer = http.Header{"X-In": {"value"}}
	var got Echo
	if err := json.Unmarshal(e.send(r).body, &got); err != nil {
		t.Fatal(err)
	}
	if got.BodyFraming != "chunked" || got.Trailers.Get("X-In") != "value" || got.BodyLength != 1 {
		t.Errorf("%+v", got)
	}
}

func TestDownload(t *testing.T) {
	e := newEPJ(t)
	streamed := e.mustCall("GET", "/download?bytes=1000000", nil)
	if len(streamed.body) != 1_000_000 || streamed.trailer.Get(downloadTrailer) != sha(streamed.body) || streamed.header.Get("Content-Length") != "" {
		t.Errorf("%d bytes, trailer %v", len(streamed.body), streamed.trailer)
	}
	known := e.mustCall("GET", "/download?bytes=1000000&length=1", nil)
	if known.header.Get("Content-Length") != "1000000" || sha(known.body) != sha(streamed.body) {
		t.Errorf("with a length: %d bytes", len(known.body))
	}
	for _, query := range []string{"", "?bytes=-1", "?bytes=x"} {
		if got := e.call("GET", "/download"+query, nil); got.status != 400 {
			t.Errorf("%q: %d", query, got.status)
		}
	}
}
