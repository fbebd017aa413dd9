package session

import "context"

// Replicas that share a store tell each other which sessions ended. What one says ends
// nothing: who hears it forgets what it holds, and the next call reads the store. Who
// does not hear it finds out then, too, or when it looks whether anybody uses the session.

// tellOthers has the other replicas told that a session ended, while nobody waits. The end
// of the Manager waits for it, as long as the store lets it take.
func (m *Manager) tellOthers(id string) {
	if m.o.Teller == nil {
		return
	}
	m.background.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), saveLimit)
		defer cancel()
		_ = m.o.Teller.Tell(ctx, KindRecord, id) // the store tells of its failures itself
	})
}

// Hear has the Manager hear, from now on until its end, what other replicas tell.
// It is called once, when [Options.Heard] can be.
func (m *Manager) Hear() {
	if m.o.Teller == nil {
		return
	}
	context.AfterFunc(m.background.ctx, m.o.Teller.Hear(KindRecord, m.heard))
}

// heard forgets what this process has of a session, nearly always nothing. Refresh tokens
// that the store did not take stay: who writes them finds that the session has ended, and
// has them revoked.
func (m *Manager) heard(id string) {
	if len(id) != idLength {
		return // above all, none: that stands for machines
	}
	m.decoded.Remove(id)
	m.cancelLook(id)
	if m.o.Heard != nil {
		m.o.Heard(id)
	}
}
