package session

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// A replica that dies in the middle of an exchange leaves a note with its name. Whether
// it is there can be asked of the store: its connection ends with it, while one that was
// stopped, or is cut off in silence, keeps it. One whose connection broke, or whose server
// was replaced, has another within nine seconds, and writes what it has. So who is away for
// longer has died, or can't reach the store.

const (
	// awayLife is for how long the sender of a note must not have been seen.
	awayLife = 10 * time.Second
	// lookEvery is how often it is looked for meanwhile.
	lookEvery = time.Second
)

// attend has this replica known by its name.
func (m *Manager) attend() {
	m.attends = func() bool { return false }
	if m.o.Presence == nil {
		return
	}
	m.name = rand.Text()
	m.attends, m.leave = m.o.Presence.Attend(m.name)
}

// signature is this replica's name, for a note that it leaves; "" where nobody could see
// that it is there.
func (m *Manager) signature() string {
	if !m.attends() {
		return ""
	}
	return m.name
}

// whenAway does something once if the replica of a note is away for awayLife. It gives up
// when that is seen, or the store can't tell; whoever comes upon the note next begins anew.
func (m *Manager) whenAway(note, replica string, do func(context.Context) error) {
	if m.o.Presence == nil || replica == "" || !m.vigils.begin(note) {
		return
	}
	if !m.background.start(func() {
		defer m.vigils.end(note)
		if m.away(replica) {
			_ = tryOnce(m.background.ctx, do) // else whoever comes upon the note next
		}
	}) {
		m.vigils.end(note)
	}
}

// away looks for a replica for awayLife. Looks are counted, so that one who is stopped
// meanwhile has not looked.
func (m *Manager) away(replica string) bool {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for range awayLife / lookEvery {
		there, err := m.o.Presence.Attended(m.background.ctx, replica)
		if there || err != nil {
			return false
		}
		select {
		case <-look.C:
		case <-m.background.ctx.Done():
			return false
		}
	}
	there, err := m.o.Presence.Attended(m.background.ctx, replica)
	return !there && err == nil
}

// vigils are the notes whose replica is being looked for. The zero value is ready.
type vigils struct {
	mu   sync.Mutex // guards open
	open map[string]bool
}

// begin says whether nobody here looks for the replica of a note yet.
func (v *vigils) begin(note string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open[note] {
		return false
	}
	if v.open == nil {
		v.open = make(map[string]bool)
	}
	v.open[note] = true
	return true
}

func (v *vigils) end(note string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, note)
}
