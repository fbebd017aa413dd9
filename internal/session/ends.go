package session

import "time"

// noteEnd remembers when a log-in ends, as far as its record says, for [Manager.NearestEnd].
func (m *Manager) noteEnd(id string, r *record) {
	b := m.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.State == Active && !r.Expires.IsZero() {
		b.ends[id] = r.Expires
		return
	}
	delete(b.ends, id)
}

// NearestEnd is the end of the log-in that runs out first, of those that this process has seen: when, and nobody's in
// particular. It is the zero time where none is known.
func (m *Manager) NearestEnd() (nearest time.Time) {
	b, now := m.background, m.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, end := range b.ends {
		if !end.After(now) {
			delete(b.ends, id) // nothing else drops one that nobody calls on any more
			continue
		}
		if nearest.IsZero() || end.Before(nearest) {
			nearest = end
		}
	}
	return nearest
}
