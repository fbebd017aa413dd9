package helseid

import (
	"context"
	"sync"
	"time"
)

const (
	keptLife = 24 * time.Hour // HelseID's advice for its metadata
	// stalePatience is how long a caller waits for a renewal when an older copy is at hand.
	stalePatience = 2 * time.Second
	firstPause    = time.Second
	longestPause  = 30 * time.Second
)

// kept is one fetched value and its renewal. There is one fetch at a time, it belongs to nobody (a caller that leaves
// fails no other), a failure is followed by a growing pause, and an old value is used for as long as no new one can be
// had.
type kept[T any] struct {
	fetch func(context.Context) (T, *Error)
	limit time.Duration // of one fetch

	mu     sync.Mutex // guards what follows
	value  T
	have   bool
	got    time.Time     // when value came
	tried  time.Time     // when the last fetch ended
	pause  time.Duration // after tried; 0 = the last fetch went well
	err    *Error        // of the last fetch
	flight chan struct{} // closed when the fetch under way ends; nil = none
}

// get returns the value, fetched anew if there is none or it is older than a day.
func (k *kept[T]) get(ctx context.Context) (T, error) {
	k.mu.Lock()
	if k.have && time.Since(k.got) < keptLife {
		defer k.mu.Unlock()
		return k.value, nil
	}
	if k.flight == nil && time.Since(k.tried) < k.pause {
		defer k.mu.Unlock()
		return k.result()
	}
	flight := k.start()
	k.mu.Unlock()
	return k.await(ctx, flight)
}

// renew returns a value fetched after the call began, or now being fetched; if the last fetch is younger than pause,
// the value as it is. It is how a key set looks for a key it does not know.
func (k *kept[T]) renew(ctx context.Context, pause time.Duration) (T, error) {
	k.mu.Lock()
	if k.flight == nil && time.Since(k.tried) < max(pause, k.pause) {
		defer k.mu.Unlock()
		return k.latest()
	}
	flight := k.start()
	k.mu.Unlock()
	if v, err := k.await(ctx, flight); err != nil {
		return v, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.latest()
}

// start joins the fetch under way or begins one. Called with mu held.
func (k *kept[T]) start() chan struct{} {
	if k.flight == nil {
		k.flight = make(chan struct{})
		go k.run(k.flight)
	}
	return k.flight
}

func (k *kept[T]) run(flight chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), k.limit)
	defer cancel()
	value, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = time.Now(), err
	if err == nil {
		k.value, k.have, k.got, k.pause = value, true, k.tried, 0
	} else {
		k.pause = min(max(2*k.pause, firstPause), longestPause)
	}
	k.flight = nil
	close(flight)
}

// await waits for the fetch, but not long when an older value would do.
func (k *kept[T]) await(ctx context.Context, flight chan struct{}) (T, error) {
	k.mu.Lock()
	var patience <-chan time.Time
	if k.have {
		timer := time.NewTimer(stalePatience)
		defer timer.Stop()
		patience = timer.C
	}
	k.mu.Unlock()
	select {
	case <-flight:
	case <-patience:
	case <-ctx.Done():
		return *new(T), ended(ctx, "waiting for HelseID's metadata")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.result()
}

// result is the value, old or new, else the last failure. Called with mu held.
func (k *kept[T]) result() (T, error) {
	if k.have {
		return k.value, nil
	}
	return k.latest()
}

// latest is the value if the last fetch went well, else its failure, with what is left of the pause. Called with mu
// held.
func (k *kept[T]) latest() (T, error) {
	if k.err == nil {
		return k.value, nil
	}
	e := *k.err
	e.retryAfter = max(time.Second, k.pause-time.Since(k.tried))
	return *new(T), &e
}
