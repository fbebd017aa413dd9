package config

import (
	"strconv"
	"time"
)

// Batches is how spans wait for their delivery.
type Batches struct {
	Delay   time.Duration // how long a span waits for others
	Timeout time.Duration // how long the delivery of a batch may take
	Queue   int           // how many spans wait; what is more is dropped
	Size    int           // how many go together
}

// Batches are bounded here: OpenTelemetry's SDK takes any number, and the process
// ends where there can't be such a queue.
func (t *Traces) Batches() Batches {
	var n [4]int
	for i, b := range t.bounds() {
		n[i], _ = b.read()
	}
	return Batches{time.Duration(n[0]) * time.Millisecond, time.Duration(n[1]) * time.Millisecond, n[2], min(n[3], n[2])}
}

// bound is a number from 1 to most, or what stands in its place.
type bound struct {
	variable, text  string
	otherwise, most int
}

func (t *Traces) bounds() [4]bound {
	const hour, spans = 3_600_000, 1 << 18 // a span is a few KiB
	return [...]bound{
		{"OTEL_BSP_SCHEDULE_DELAY", t.BatchDelay, 5000, hour},
		{"OTEL_BSP_EXPORT_TIMEOUT", t.BatchTimeout, 30000, hour},
		{"OTEL_BSP_MAX_QUEUE_SIZE", t.BatchQueue, 2048, spans},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", t.BatchSize, 512, spans},
	}
}

func (b bound) read() (int, bool) {
	n, err := strconv.Atoi(b.text)
	if err != nil || n < 1 || n > b.most {
		return b.otherwise, false
	}
	return n, true
}

func warnBatches(t *Traces, found *findings) {
	for _, b := range t.bounds() {
		if _, ok := b.read(); !ok {
			found.warn(b.variable, "is no number from 1 to "+strconv.Itoa(b.most)+"; "+strconv.Itoa(b.otherwise)+" is used", "write digits only, such as "+strconv.Itoa(b.otherwise))
		}
	}
}
