//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// metrics adds up what the sidecars count of their own.
func (w *world) metrics(ctx context.Context, r *report) {
	sums := map[string]float64{}
	for _, s := range w.sidecars {
		ask, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin+"/metrics", nil)
		if err != nil {
			r.breaks("metrics: %v", err)
			return
		}
		answer, err := w.client.Do(ask)
		if err != nil {
			r.breaks("%s does not tell its metrics", s.process.name)
			continue
		}
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseFloat(value, 64)
			if err == nil && (strings.HasPrefix(name, "sfm_sidecar_token_cache_total") || strings.HasPrefix(name, "sfm_sidecar_store_errors_total")) {
				sums[strings.TrimPrefix(name, "sfm_sidecar_")] += n
			}
		}
		answer.Body.Close()
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		r.add(name, "%.0f", sums[name])
	}
}

// ports are other ones in each run.
var ports = regexp.MustCompile(`(127\.0\.0\.1:\d+->)?127\.0\.0\.1:\d+`)

// complaints counts what the sidecars warned of; a data race is a broken promise.
func (w *world) complaints(r *report) {
	counts := map[string]int{}
	for i := range w.sidecars {
		text, err := os.ReadFile(filepath.Join(w.all.folder, fmt.Sprintf("sidecar%d.log", i)))
		if err != nil {
			r.breaks("%v", err)
			continue
		}
		if at := bytes.Index(text, []byte("WARNING: DATA RACE")); at >= 0 {
			r.breaks("sidecar%d: %s", i, text[at:min(len(text), at+4000)])
		}
		for _, line := range bytes.Split(text, []byte("\n")) {
			var said struct{ Level, Msg, What, Error, Cause string }
			if json.Unmarshal(line, &said) == nil && said.Msg != "" {
				counts[said.Level+" "+ports.ReplaceAllString(strings.Join([]string{said.Msg, said.What, said.Cause}, "; "), "")]++
			}
		}
		for _, secret := range w.handles {
			if bytes.Contains(text, []byte(secret)) {
				r.breaks("sidecar%d logged a session handle", i)
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		r.line(fmt.Sprintf("logged %d times: %.300s", counts[what], what))
	}
}
