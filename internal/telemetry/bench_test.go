package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"sfm-sidecar/internal/telemetry"
)

// BenchmarkLine is the line of a call that SFM said no to, through the guard.
func BenchmarkLine(b *testing.B) {
	log, _ := telemetry.NewLogger(io.Discard, "info", "json")
	err := errors.New("dial tcp 10.0.0.7:443: connect: connection refused")
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(context.Background(), slog.LevelInfo, "call forwarded",
			slog.String("request_id", "7fbfbcbd-6f08-4e95-9f7a-123456789012"), slog.String("method", "POST"), slog.Int("status", 422),
			slog.String("upstream", "basis"), slog.Float64("whole_ms", 12.5), slog.String("token", "hit"),
			slog.String("sfm_outcome_id", "5f3a0001-0000-4000-8000-123456789012"), slog.String("sfm_trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
			slog.Any("cause", err))
	}
}

// BenchmarkMaskLong is a text with a person's number at every place: its time must
// grow with its length alone.
func BenchmarkMaskLong(b *testing.B) {
	text := strings.Repeat("13827015061-", 1<<16)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		telemetry.Mask(text)
	}
}
