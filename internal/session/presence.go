package session

import (
	"context"
	"sync"
	"time"

	"sfm-sidecar/internal/store"
)

// A replica that dies in the middle of an exchange leaves a note with its name, and others
// find that it is gone. Where they can't tell, time decides.

// signature is this replica's name, for a note that it leaves; "" where nobody could see
// that it is there.
func (m *Manager) signature(ctx context.Context) string {
	if m.attendance == nil || !m.attendance.Seen(ctx) {
		return ""
	}
	return m.attendance.ID()
}

// whenGone does something once if the replica that left a note, of that age, turns out to be
// gone. While that can't be told, whoever comes upon the note next looks anew.
func (m *Manager) whenGone(note, replica string, age time.Duration, do func(context.Context) error) {
	if m.attendance == nil || replica == "" || !m.searches.begin(note) {
		return
	}
	if !m.background.start(func() {
		defer m.searches.end(note)
		if m.attendance.Gone(m.background.ctx, replica, age) {
			_ = tryOnce(m.background.ctx, do) // else whoever comes upon the note next
		}
	}) {
		m.searches.end(note)
	}
}

// writtenAgo is how long ago a note was written that lives for life, by the store's clock:
// those of replicas may differ. Where there is no such clock it is that long by the own.
func (m *Manager) writtenAgo(ctx context.Context, note store.Key, life, byOwn time.Duration) (time.Duration, error) {
	if m.o.Lister == nil {
		return byOwn, nil
	}
	left, err := m.o.Lister.Left(ctx, []store.Key{note})
	if err != nil {
		return 0, storeError(err)
	}
	return life - left[0], nil
}

// searches are the notes whose replica is being looked for. The zero value is ready.
type searches struct {
	mu   sync.Mutex // guards open
	open map[string]bool
}

// begin notes that the replica of a note is looked for; false where it is already.
func (s *searches) begin(note string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[note] {
		return false
	}
	if s.open == nil {
		s.open = make(map[string]bool)
	}
	s.open[note] = true
	return true
}

func (s *searches) end(note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, note)
}
