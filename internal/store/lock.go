package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Lock implements [Store].
func (m *Memory) Lock(ctx context.Context, key Key) (Hold, error) {
	turn := m.enqueue(key)
	if turn != nil {
		select {
		case <-turn:
		case <-ctx.Done():
			m.leave(key, turn)
			return nil, fmt.Errorf("waiting for a lock: %w", context.Cause(ctx))
		}
	}
	held, cancel := context.WithCancel(ctx)
	return &memoryHold{ctx: held, fence: m.fence(), release: sync.OnceFunc(func() {
		cancel()
		m.next(key)
	})}, nil
}

func (m *Memory) fence() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fences++
	return m.fences
}

// enqueue takes the lock when it is free (nil), or joins the queue.
func (m *Memory) enqueue(key Key) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue, held := m.queues[key]
	if !held {
		m.queues[key] = nil
		return nil
	}
	turn := make(chan struct{})
	m.queues[key] = append(queue, turn)
	return turn
}

// leave takes a waiter out of the queue. When its turn came in the same moment,
// the lock is handed on.
func (m *Memory) leave(key Key, turn chan struct{}) {
	m.mu.Lock()
	i := slices.Index(m.queues[key], turn)
	if i >= 0 {
		m.queues[key] = slices.Delete(m.queues[key], i, i+1)
	}
	m.mu.Unlock()
	if i < 0 {
		m.next(key)
	}
}

// next hands the lock to the first in the queue, or frees it.
func (m *Memory) next(key Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.queues[key]
	if len(queue) == 0 {
		delete(m.queues, key)
		return
	}
	m.queues[key] = queue[1:]
	close(queue[0])
}

type memoryHold struct {
	ctx     context.Context // the life of the hold itself
	fence   uint64
	release func()
}

func (h *memoryHold) Context() context.Context { return h.ctx }
func (h *memoryHold) Fence() uint64            { return h.fence }
func (h *memoryHold) Release()                 { h.release() }
