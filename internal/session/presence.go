package session

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"sfm-sidecar/internal/store"
)

// A replica that dies in the middle of an exchange leaves a note with its name. Whether
// it is there can be asked of the store: its connection ends with it, while one that was
// stopped, or is cut off in silence, keeps it. One whose connection broke, or whose server
// was replaced, has another within nine seconds, and writes what it has. So who is away for
// longer has died, or can't reach the store.

const (
	// awayTime is for how long the sender of a note must not have been seen.
	awayTime = 10 * time.Second
	// searchEvery is how often it is looked for meanwhile.
	searchEvery = time.Second
)

// attendance is by what other replicas see that this one is there.
type attendance struct {
	name string
	seen func() bool // whether they can, as far as this process knows
	end  func()
}

// attend has this replica seen under a name of its own. If p is nil, nobody sees it.
func attend(p store.Presence) attendance {
	if p == nil {
		return attendance{seen: func() bool { return false }, end: func() {}}
	}
	name := rand.Text()
	seen, end := p.Attend(name)
	return attendance{name, seen, end}
}

// signature is this replica's name, for a note that it leaves; "" where nobody could see
// that it is there.
func (a attendance) signature() string {
	if !a.seen() {
		return ""
	}
	return a.name
}

// whenAway does something once if the replica of a note is away for awayTime. It gives up
// when that is seen, or the store can't tell; whoever comes upon the note next begins anew.
func (m *Manager) whenAway(note, replica string, do func(context.Context) error) {
	if m.o.Presence == nil || replica == "" || !m.searches.begin(note) {
		return
	}
	if !m.background.start(func() {
		defer m.searches.end(note)
		if m.staysAway(replica) {
			_ = tryOnce(m.background.ctx, do) // else whoever comes upon the note next
		}
	}) {
		m.searches.end(note)
	}
}

// staysAway looks for a replica for awayTime, and says whether it was never seen. Looks are
// counted, so that one who is stopped meanwhile has not looked.
func (m *Manager) staysAway(replica string) bool {
	look := time.NewTicker(searchEvery)
	defer look.Stop()
	for range awayTime / searchEvery {
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
