package tenantmap

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

// writeRegistry writes a registry of n tenants as a vendor would have it: each customer with a journal, two
// organizations and two tenants.
func writeRegistry(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "tenants.yaml")
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriter(file)
	fmt.Fprint(w, "# Written by a test.\njournals:\n")
	for i := range n / 2 {
		fmt.Fprintf(w, `  - id: 7fbfbcbd-6f08-4e95-9f7a-%012x # the journal
    name: Eksempel legekontor %d
    created: true
    organizations:
      - {orgnr: "%d", name: Eksempel %d AS, her_id: "%d", active: true, address: "Storgata %d, 0150 Oslo", phone: "22000000"}
      - {orgnr: "%d", name: Eksempel %d avd. sentrum, part_of: "%d", parent: "%d", active: true}
`, i, i, 100000000+i, i, 100000+i, i%200, 200000000+i, i, 100000000+i, 100000000+i)
	}
	fmt.Fprint(w, "tenants:\n")
	for i := range n / 2 {
		fmt.Fprintf(w, `  kontor-%d: {parent: "%d", journal: 7fbfbcbd-6f08-4e95-9f7a-%012x}
  sentrum-%d: {parent: "%d", child: "%d", journal: 7fbfbcbd-6f08-4e95-9f7a-%012x}
`, i, 100000000+i, i, i, 100000000+i, 200000000+i, i)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := file.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// BenchmarkLoad reads a hundred thousand tenants. peak-MB is the most heap that was taken during one load, above what
// there was before; retained-MB what the registry keeps.
func BenchmarkLoad(b *testing.B) {
	path := writeRegistry(b, 100_000)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	var peak, retained uint64
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		before := heap()
		high := watchHeap()
		b.StartTimer()
		r, err := Load(path)
		b.StopTimer()
		if err != nil || r.Len() != 100_000 {
			b.Fatal(err)
		}
		peak = max(peak, high()-before)
		runtime.GC()
		retained = max(retained, heap()-before)
		runtime.KeepAlive(r)
		b.StartTimer()
	}
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
	b.ReportMetric(float64(retained)/1e6, "retained-MB")
}

// heap is how many bytes of objects there are, dead ones among them.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// watchHeap looks at the heap until it is asked for the most that it saw.
func watchHeap() func() uint64 {
	var high uint64
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				high = max(high, heap())
			}
		}
	})
	return func() uint64 { close(stop); group.Wait(); return max(high, heap()) }
}

// BenchmarkGlance is what a look costs that finds nothing new.
func BenchmarkGlance(b *testing.B) {
	path := writeRegistry(b, 100_000)
	for b.Loop() {
		glance(path)
	}
}
