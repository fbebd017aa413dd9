package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sfm-sidecar/internal/store"
)

// Where replicas share a store, that a refresh token is sent is written down before. Whoever
// finds that note beside the very same token does not send it again: its successor is in
// the memory of another replica, or on its way.

const (
	// spentLife is how long a refresh token that was sent is not sent by others, unless its
	// sender is found to be away (see [Manager.whenAway]): longer than the exchange may
	// take. Who finds it after that asks whether its sender has an answer in memory: one
	// that lives, and reaches the store, writes it there within answerTime, as a store that
	// was down for minutes has others do, too. After that the sender is taken for dead, and
	// the token is sent once more, as after any request without an answer (contract 7.3). A
	// question that was put askedLife ago counts for nothing: the store may have been down
	// since.
	spentLife  = exchangeLimit + 20*time.Second
	answerTime = 15 * time.Second
	askedLife  = 5 * time.Minute
)

func spentKey(id string) store.Key { return store.Key{Kind: "spent", ID: id} }

// spentNote says that a refresh token was sent, by HelseID's clock.
type spentNote struct {
	Token string    `json:"token"`          // its keyed hash
	By    string    `json:"by"`             // tells notes apart
	From  string    `json:"from,omitempty"` // the replica, where it can be seen whether that is there
	Sent  time.Time `json:"sent"`
	Asked time.Time `json:"asked,omitzero"` // when somebody asked for the answer
	Away  bool      `json:"away,omitempty"` // the replica was looked for and not found
}

// noteSpent writes down that a refresh token is about to be sent, or refuses one that
// was sent already.
func (m *Manager) noteSpent(ctx context.Context, s *spending) error {
	if !m.o.Shared {
		return nil
	}
	e, err := m.o.Store.Get(ctx, spentKey(s.id))
	if err != nil && !errors.Is(err, store.ErrMissing) {
		return storeError(err)
	}
	n := spentNote{Token: m.ID(s.token), By: rand.Text(), From: m.attendance.signature(), Sent: m.o.Now()}
	before := new(spentNote)
	if err == nil && json.Unmarshal(e.Value, before) == nil && before.Token == n.Token && before.forbidsSending(n.Sent) {
		return m.refuseSpent(ctx, s, *before, e.Version)
	}
	if err = m.putSpentNote(ctx, s.id, n, e.Version); err == nil && s.lost() {
		err = store.ErrLost
	}
	s.note = n.By
	if err == nil {
		err = m.checkUnreplaced(ctx, s)
	}
	if err != nil {
		m.removeSpentNote(*s) // it may stand there, and the token was not sent
		return asStoreError(err)
	}
	return nil
}

// forbidsSending says whether the token of a note may not be sent yet: its sender must be
// away, or have been asked, which is done no earlier than spentLife after it was sent.
func (n *spentNote) forbidsSending(now time.Time) bool {
	return !n.Away && (!n.asked(now) || now.Sub(n.Asked) < answerTime)
}

func (n *spentNote) asked(now time.Time) bool { return now.Sub(n.Asked) < askedLife }

// refuseSpent is the refusal of a token that may not be sent. It has its sender looked for,
// and puts the question to it where that is due.
func (m *Manager) refuseSpent(ctx context.Context, s *spending, n spentNote, version uint64) error {
	m.whenAway(n.By, n.From, func(ctx context.Context) error { return m.noteAway(ctx, s.id, n.By) })
	if now := m.o.Now(); now.Sub(n.Sent) >= spentLife && !n.asked(now) {
		n.Asked = now
		if err := m.putSpentNote(ctx, s.id, n, version); err != nil {
			return storeError(err)
		}
	}
	return &Error{Kind: codeStore, Text: "the log-in is being renewed by another replica, which could not store the outcome yet", after: tryAgain}
}

// noteAway writes into a note, unless it is another by now, that its sender is away.
func (m *Manager) noteAway(ctx context.Context, id, by string) error {
	e, err := m.o.Store.Get(ctx, spentKey(id))
	if errors.Is(err, store.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	n := new(spentNote)
	if err := json.Unmarshal(e.Value, n); err != nil || n.By != by {
		return err
	}
	n.Away = true
	return m.putSpentNote(ctx, id, *n, e.Version)
}

// putSpentNote writes a note in the place of the one that was read. So of two who believe
// that they have the lock one can; and since it looks at the session again after that, no
// lock is needed for a token to be sent by one alone.
func (m *Manager) putSpentNote(ctx context.Context, id string, n spentNote, version uint64) error {
	value, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encoding a note: %w", err)
	}
	return m.o.Store.PutIf(ctx, spentKey(id), value, remembered, version)
}

// checkUnreplaced is nil while the session has the refresh token that is being spent.
// Another may have taken its place: of who loses the lock, or finds a store that forgot
// what it was told last.
func (m *Manager) checkUnreplaced(ctx context.Context, s *spending) error {
	d, err := m.read(ctx, s.id)
	if err != nil {
		return err
	}
	if err := d.record.usable(m.now()); err != nil {
		return err
	}
	if d.record.RefreshToken != s.token {
		return &Error{Kind: codeStore, Text: "another replica has renewed the log-in meanwhile", after: tryAgain}
	}
	return nil
}

// removeSpentNote removes a note of this process: the token may be sent again. While the
// store is down that waits.
func (m *Manager) removeSpentNote(s spending) {
	if s.note == "" {
		return
	}
	remove := func(ctx context.Context) error {
		e, err := m.o.Store.Get(ctx, spentKey(s.id))
		if errors.Is(err, store.ErrMissing) {
			return nil
		}
		if err != nil {
			return err
		}
		n := new(spentNote)
		if json.Unmarshal(e.Value, n) == nil && n.By != s.note {
			return nil
		}
		return m.o.Store.Delete(ctx, spentKey(s.id))
	}
	if tryOnce(context.Background(), remove) != nil {
		m.keepTrying(remembered, remove)
	}
}
