package dpop

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// wire sends a request for the URL with net/http to a raw listener, and gives the request line's target and the Host
// header exactly as they arrived. Whatever host and scheme the URL names, the connection goes to that listener.
type wire struct {
	client   *http.Transport
	arrivals chan [2]string
}

func newWire(t *testing.T) *wire {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", listener.Addr().String())
	}
	w := &wire{
		// The connection of an https URL needs no TLS here: only the request line counts.
		client:   &http.Transport{DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true},
		arrivals: make(chan [2]string, 1),
	}
	go w.serve(listener)
	t.Cleanup(func() { _ = listener.Close() })
	return w
}

func (w *wire) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		lines := bufio.NewScanner(conn)
		var arrived [2]string
		for lines.Scan() && lines.Text() != "" {
			line := lines.Text()
			if target, ok := strings.CutSuffix(line, " HTTP/1.1"); ok && arrived[0] == "" {
				_, arrived[0], _ = strings.Cut(target, " ")
			}
			if host, ok := strings.CutPrefix(line, "Host: "); ok {
				arrived[1] = host
			}
		}
		w.arrivals <- arrived
		_, _ = conn.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
		_ = conn.Close()
	}
}

func (w *wire) target(t *testing.T, u *url.URL) (target, host string) {
	t.Helper()
	resp, err := w.client.RoundTrip((&http.Request{Method: "GET", URL: u, Header: http.Header{}}).WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	arrived := <-w.arrivals
	return arrived[0], arrived[1]
}

func TestHTUIsWhatGoesOverTheWire(t *testing.T) {
	const origin = "https://sfm.example"
	tests := []struct{ url, want string }{
		{"https://sfm.example/Patient/$getMedication", origin + "/Patient/$getMedication"},
		{"https://sfm.example/Patient/%24getMedication", origin + "/Patient/%24getMedication"},
		{"https://sfm.example", origin + "/"},
		{"https://sfm.example/", origin + "/"},
		{"https://sfm.example?q=1", origin + "/"},
		{"https://sfm.example/r?pid=1&x=?y", origin + "/r"},
		{"https://sfm.example/r?", origin + "/r"},
		{"https://sfm.example/r#frag", origin + "/r"},
		{"https://sfm.example/r?q#frag", origin + "/r"},
		{"https://user:password@sfm.example/r", origin + "/r"},
		{"https://sfm.example/a%2Fb/c%2fd", origin + "/a%2Fb/c%2fd"},
		{"https://sfm.example/%41%7e~", origin + "/%41%7e~"},
		{"https://sfm.example/a;v=1/b;c,d", origin + "/a;v=1/b;c,d"},
		{"https://sfm.example/a+b/!*'()/:@&=", origin + "/a+b/!*'()/:@&="},
		{"https://sfm.example/[x]", origin + "/[x]"},
		{"https://sfm.example/a/../b/./c", origin + "/a/../b/./c"},
		{"https://sfm.example/a/%2e%2e/b", origin + "/a/%2e%2e/b"},
		{"https://sfm.example//a//b/", origin + "//a//b/"},
		{"https://sfm.example/a%3Fb%23c", origin + "/a%3Fb%23c"},
		{"https://sfm.example/æøå", origin + "/%C3%A6%C3%B8%C3%A5"},
		{"https://sfm.example/%C3%A6/%c3%a6", origin + "/%C3%A6/%c3%a6"},
		{`https://sfm.example/a|b"c^d{e}` + "`", origin + "/a%7Cb%22c%5Ed%7Be%7D%60"},
		{"https://sfm.example/a b", origin + "/a%20b"},
		{`https://sfm.example/a\b`, origin + `/a%5Cb`},
		{"HTTPS://SFM.Example/R", origin + "/R"},
		{"https://sfm.example:443/r", origin + "/r"},
		{"https://sfm.example:0443/r", origin + "/r"},
		{"https://sfm.example:/r", origin + "/r"},
		{"https://sfm.example:80/r", origin + ":80/r"},
		{"https://sfm.example:8443/r", origin + ":8443/r"},
		{"https://sfm.example:08443/r", origin + ":8443/r"},
		{"http://sfm.example:80/r", "http://sfm.example/r"},
		{"http://sfm.example:080/r", "http://sfm.example/r"},
		{"http://sfm.example:443/r", "http://sfm.example:443/r"},
		{"http://127.0.0.1:8081/r", "http://127.0.0.1:8081/r"},
		{"http://[2001:DB8::1]/r", "http://[2001:db8::1]/r"},
		{"http://[2001:DB8::1]:80/r", "http://[2001:db8::1]/r"},
		{"http://[2001:db8::1]:8080/r", "http://[2001:db8::1]:8080/r"},
		{"http://[fe80::1%25en0]:8080/r", "http://[fe80::1]:8080/r"},
		{"https://Blåbær.example/r", "https://xn--blbr-roah.example/r"},
		{"https://bl%C3%A5b%C3%A6r.example/r", "https://xn--blbr-roah.example/r"},
		{"https://sfm.example./r", "https://sfm.example./r"},
		{`https://s"f<m>.example/r`, `https://s"f<m>.example/r`},
	}
	w := newWire(t)
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			u, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			got := HTU(u)
			if got != test.want {
				t.Errorf("HTU = %q, want %q", got, test.want)
			}
			origin := Origin(u)
			path, ok := strings.CutPrefix(got, origin)
			if !ok {
				t.Fatalf("HTU %q does not begin with the origin %q", got, origin)
			}
			target, host := w.target(t, u)
			if sent, _, _ := strings.Cut(target, "?"); path != sent {
				t.Errorf("htu has the path %q, the wire %q", path, sent)
			}
			if normal, _ := splitPort(host); normal != "" && !strings.HasPrefix(origin, strings.ToLower(u.Scheme+"://"+normal)) {
				t.Errorf("htu has the origin %q, the wire the host %q", origin, host)
			}
		})
	}
}

// FuzzHTU compares with what net/http writes, for any URL that it takes.
func FuzzHTU(f *testing.F) {
	for _, seed := range []string{
		"https://sfm.example/Patient/$getMedication?q#f", "http://[fe80::1%25en0]:080/%2e%2E//;x=%24", "https://Blåbær.example",
		"http://a:b@h:/|\"^`{}æ", "http://h*?", "https://h:99999999999999999999/", "http://h/[x]%5Bx%5D",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		htu, origin := HTU(u), Origin(u) // must not panic, whatever it is
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return
		}
		var sent bytes.Buffer
		if err := (&http.Request{Method: "GET", URL: u, Header: http.Header{}}).Write(&sent); err != nil {
			return
		}
		line, _, _ := strings.Cut(sent.String(), " HTTP/1.1\r\n")
		want, _, _ := strings.Cut(strings.TrimPrefix(line, "GET "), "?")
		if got := strings.TrimPrefix(htu, origin); got != want {
			t.Errorf("htu of %q has the path %q, the wire %q", raw, got, want)
		}
		if again, err := url.Parse(htu); err == nil && HTU(again) != htu {
			t.Errorf("htu of %q is %q, and the htu of that %q", raw, htu, HTU(again))
		}
	})
}
