package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnswerArrivesAsItComes(t *testing.T) {
	next := make(chan bool)
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "part %d\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	}))
	res, err := h.client().Do(h.ask("GET", "/basis/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for i := range 3 {
		line, err := in.ReadString('\n') // would hang if the sidecar waited for more
		if err != nil || line != fmt.Sprintf("part %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		next <- true
	}
}

func TestBodyLeavesAsItComes(t *testing.T) {
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(w, "heard "+line)
			w.(http.Flusher).Flush()
		}
	}))
	pr, pw := io.Pipe()
	go io.WriteString(pw, "one\n")
	res, err := h.client().Do(h.ask("POST", "/basis/x", pr))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	if line, _ := in.ReadString('\n'); line != "heard one\n" {
		t.Fatalf("%q", line)
	}
	go func() { io.WriteString(pw, "two\n"); pw.Close() }()
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "heard two\n" {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestSmallChunkedBodyIsKept(t *testing.T) {
	var nth atomic.Int32
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if nth.Add(1) == 1 {
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(401)
			return
		}
		fmt.Fprintf(w, "%d bytes, length %d", len(body), r.ContentLength)
	}))
	body := strings.Repeat("x", 60_000)
	a := h.do(h.ask("POST", "/basis/x", io.MultiReader(strings.NewReader(body)))) // no length
	if want := "60000 bytes, length 60000"; string(a.body) != want {
		t.Errorf("status %d, %q, want %q", a.StatusCode, a.body, want)
	}
}

func TestReadEager(t *testing.T) {
	whole := bytes.Repeat([]byte("abcdefg"), 20_000)
	for _, n := range []int{0, 1, 4095, 4096, 4097, maxKept - 1, maxKept, maxKept + 1, len(whole)} {
		kept, rest, err := readEager(bytes.NewReader(whole[:n]))
		if rest != nil {
			kept, err = io.ReadAll(rest)
		}
		if err != nil || !bytes.Equal(kept, whole[:n]) || (rest == nil) != (n < maxKept) {
			t.Errorf("%d bytes became %d, %v", n, len(kept), err)
		}
	}
	pr, pw := io.Pipe()
	go func() {
		pw.Write(whole[:5000])
		time.Sleep(4 * patience) // what is tested is that nobody waits for this
		pw.Write(whole[5000:9000])
		pw.Close()
	}()
	_, rest, _ := readEager(pr)
	if rest == nil {
		t.Fatal("a slow body was waited for")
	}
	if got, err := io.ReadAll(rest); err != nil || !bytes.Equal(got, whole[:9000]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	got := make(chan http.Header, 1)
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		w.Header().Set("Trailer", "X-Out, Set-Cookie")
		io.WriteString(w, "body")
		w.Header().Set("X-Out", "out")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
		w.Header().Set(http.TrailerPrefix+"Sidecar-Error", "internal")
	}))
	r := h.ask("POST", "/basis/x", io.MultiReader(strings.NewReader("body")))
	r.Trailer = http.Header{"X-In": {"in"}, "Authorization": {"Bearer smuggled"}}
	a := h.do(r)
	trailer := <-got
	if len(trailer) != 1 || trailer.Get("X-In") != "in" {
		t.Errorf("SFM got %v", trailer)
	}
	if len(a.Trailer) != 2 || a.Trailer.Get("X-Out") != "out" || a.Trailer.Get("X-Late") != "late" {
		t.Errorf("the EPJ got %v", a.Trailer)
	}
}

func TestInterimAnswers(t *testing.T) {
	sfm, _ := lineServer(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nSet-Cookie: a=b\r\nSidecar-Error: x\r\n\r\n"+
		"HTTP/1.1 100 Continue\r\nX-Stray: x\r\n\r\n"+emptyAnswer)
	h := open(t, sfm)
	var seen []string
	r := h.ask("GET", "/basis/x", nil)
	a := h.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			seen = append(seen, fmt.Sprintf("%d %d %s", code, len(header), header.Get("Link")))
			return nil
		},
	})))
	if len(seen) != 1 || seen[0] != "103 1 </a>; rel=preload" {
		t.Errorf("interim answers %q", seen)
	}
	if a.StatusCode != 200 || a.Header.Get("Sidecar-Request-Id") == "" || a.Header.Get("X-Stray") != "" || a.Header.Get("Link") != "" {
		t.Errorf("status %d, %v", a.StatusCode, a.Header)
	}
}

func TestNothingIsGuessed(t *testing.T) {
	sfm, _ := lineServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>x</html>\n")
	if a := open(t, sfm).get("/basis/x"); len(a.Header["Content-Type"]) != 0 || a.Header.Get("Content-Encoding") != "" {
		t.Errorf("%v", a.Header)
	}
}

func TestUpgradeIsNotPassedOn(t *testing.T) {
	sfm, heard := lineServer(t, emptyAnswer)
	h := open(t, sfm)
	upgrade := "GET /basis/x HTTP/1.1\r\nHost: localhost\r\n" + tenantLines + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	if a := h.raw("GET", upgrade); a.StatusCode != 200 || strings.Contains(strings.Join(heard(), "\n"), "pgrade") {
		t.Errorf("status %d, %q", a.StatusCode, heard())
	}
	sfm, _ = lineServer(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	h = open(t, sfm)
	h.refused(h.raw("GET", upgrade), "upstream-outcome-unknown", 502)
}

// TestContinue proves that a caller that waits is asked for its body by SFM,
// and that one that does not wait never sees a 100.
func TestContinue(t *testing.T) {
	large := maxKept + 1
	for _, tt := range []struct {
		name   string
		size   int
		expect bool
		proto  string
		seen   string // the first status line the EPJ reads
	}{
		{"small, waits", 10, true, "HTTP/1.1", "HTTP/1.1 100 Continue"},
		{"large, waits", large, true, "HTTP/1.1", "HTTP/1.1 100 Continue"},
		{"large, does not wait", large, false, "HTTP/1.1", "HTTP/1.1 200 OK"},
		{"large, HTTP/1.0", large, false, "HTTP/1.0", "HTTP/1.0 200 OK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			read := make(chan int64, 1)
			h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
				if (r.Header.Get("Expect") != "") != (tt.expect || tt.size > maxKept) {
					t.Errorf("Expect %q", r.Header.Get("Expect"))
				}
				n, _ := io.Copy(io.Discard, r.Body)
				read <- n
			}))
			conn, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /basis/x %s\r\nHost: localhost\r\n%sContent-Length: %d\r\n", tt.proto, tenantLines, tt.size)
			if tt.expect {
				io.WriteString(conn, "Expect: 100-continue\r\n")
			}
			io.WriteString(conn, "\r\n")
			in := bufio.NewReader(conn)
			if !tt.expect {
				io.CopyN(conn, zeros{}, int64(tt.size))
			}
			line, _ := in.ReadString('\n')
			if got := strings.TrimSpace(line); got != tt.seen {
				t.Errorf("first line %q, want %q", got, tt.seen)
			}
			if tt.expect {
				io.CopyN(conn, zeros{}, int64(tt.size))
			}
			if n := <-read; n != int64(tt.size) {
				t.Errorf("SFM read %d bytes", n)
			}
		})
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBrokenAnswerIsNotEndedAsIfWhole(t *testing.T) {
	for name, answer := range map[string]string{
		"with a length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"in chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			sfm := rawServer(t, func(conn net.Conn, _ *bufio.Reader, _ request) bool {
				io.WriteString(conn, answer)
				return false
			})
			h := open(t, sfm.url)
			a := h.get("/basis/x")
			if a.err == nil {
				t.Errorf("it looked whole: %q", a.body)
			}
			h.events.done(t, 1)
			if !strings.Contains(h.log.String(), "answer broke off") || sfm.arrivals() != 1 {
				t.Errorf("%d arrivals, log %s", sfm.arrivals(), h.log)
			}
		})
	}
}
