package register

import (
	"context"
	"errors"
	"sync"
)

// maxKept bounds what is remembered; beyond it, any older answer is forgotten.
const maxKept = 1 << 18

// memory keeps what a register answered, and lets only one ask at a time for the same number. The zero value is ready.
type memory[V any] struct {
	mu   sync.Mutex // guards kept
	kept map[string]*memo[V]
}

// memo is one answer, or the way to it.
type memo[V any] struct {
	done  chan struct{} // closed when value and err are there
	value V
	err   error
}

// get returns what is kept under a number, or asks. Answers are kept, ErrUnknown among them; failures are not. Who
// waits for another's question that failed since that other left asks anew.
func (m *memory[V]) get(ctx context.Context, number string, ask func() (V, error)) (V, error) {
	for {
		one, mine := m.claim(number)
		if mine {
			one.value, one.err = ask()
			if one.err != nil && !errors.Is(one.err, ErrUnknown) {
				m.forget(number)
			}
			close(one.done)
			return one.value, one.err
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return *new(V), context.Cause(ctx)
		}
		if _, failed := errors.AsType[*Error](one.err); one.err == nil || failed || errors.Is(one.err, ErrUnknown) {
			return one.value, one.err
		}
	}
}

// claim returns the memo of a number, and whether the caller is the one who has to fill it in.
func (m *memory[V]) claim(number string) (one *memo[V], mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if one, ok := m.kept[number]; ok {
		return one, false
	}
	if m.kept == nil {
		m.kept = make(map[string]*memo[V])
	}
	for other := range m.kept {
		if len(m.kept) < maxKept {
			break
		}
		delete(m.kept, other)
	}
	one = &memo[V]{done: make(chan struct{})}
	m.kept[number] = one
	return one, true
}

func (m *memory[V]) forget(number string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, number)
}
