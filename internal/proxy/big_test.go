package proxy

import (
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// bigSize is what goes up and down: 1 GiB, under the race detector (which makes
// copying slow) a quarter of it.
var bigSize = map[bool]int64{false: 1 << 30, true: 256 << 20}[raceEnabled]

// maxGrowth is how much the heap may grow meanwhile.
const maxGrowth = 32 << 20

// generated is a body of n bytes that costs nothing to make, and its checksum.
type generated struct {
	n    int64
	at   byte
	sum  hash.Hash32
	tile []byte
}

func generate(n int64) *generated {
	return &generated{n: n, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli)), tile: make([]byte, 32<<10)}
}

func (g *generated) Read(p []byte) (int, error) {
	if g.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), g.n, int64(len(g.tile))))
	g.at++
	g.tile[0] = g.at
	copy(p[:n], g.tile)
	g.n -= int64(n)
	g.sum.Write(p[:n])
	return n, nil
}

// swallow reads to the end and sums.
func swallow(r io.Reader) (string, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{r}, make([]byte, 64<<10))
	return fmt.Sprintf("%d:%08x", n, sum.Sum32()), err
}

// watchHeap notes the heap's largest growth until the returned function is
// called.
func watchHeap() (growth func() int64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	start := int64(m.HeapInuse)
	var most atomic.Int64
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), int64(m.HeapInuse)-start))
			}
		}
	}()
	return func() int64 { close(stop); <-stopped; return most.Load() }
}

func TestLargeUpload(t *testing.T) {
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
		sum, err := swallow(r.Body)
		if err != nil {
			t.Error(err)
		}
		io.WriteString(w, sum)
	}))
	growth := watchHeap()
	body := generate(bigSize)
	r := h.ask("PATCH", "/basis/files/1", body)
	r.ContentLength = bigSize
	a := h.do(r)
	grown := growth()
	if want := fmt.Sprintf("%d:%08x", bigSize, body.sum.Sum32()); string(a.body) != want {
		t.Errorf("status %d, %q, want %q", a.StatusCode, a.body, want)
	}
	if grown > maxGrowth {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestLargeDownload(t *testing.T) {
	for _, known := range []bool{true, false} {
		body := generate(bigSize / 2)
		h := open(t, upstreamServer(t, func(w http.ResponseWriter, r *http.Request) {
			if known {
				w.Header().Set("Content-Length", fmt.Sprint(bigSize/2))
			}
			io.CopyBuffer(struct{ io.Writer }{w}, body, make([]byte, 32<<10))
		}))
		growth := watchHeap()
		res, err := h.client().Do(h.ask("GET", "/basis/files/1", nil))
		if err != nil {
			t.Fatal(err)
		}
		got, err := swallow(res.Body)
		res.Body.Close()
		grown := growth()
		if want := fmt.Sprintf("%d:%08x", bigSize/2, body.sum.Sum32()); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		if grown > maxGrowth {
			t.Errorf("the heap grew by %d bytes", grown)
		}
	}
}
