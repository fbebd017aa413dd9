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
	// sender is found to be gone (see [Manager.whenGone]): longer than the exchange may
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
	Gone  bool      `json:"gone,omitempty"` // the replica is, as somebody found
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
	n := spentNote{Token: m.ID(s.token), By: rand.Text(), From: m.signature(ctx), Sent: m.o.Now()}
	before := new(spentNote)
	if err == nil && json.Unmarshal(e.Value, before) == nil {
		if err := m.heed(ctx, s, *before, e.Version); err != nil {
			return err
		}
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

// heed is nil where an earlier note is no reason not to send a token.
func (m *Manager) heed(ctx context.Context, s *spending, n spentNote, version uint64) error {
	switch {
	case n.Token == m.ID(s.token) && !n.Gone:
		return m.refuseSpent(ctx, s, n, version)
	case n.Token == m.ID(s.token), n.Token == "", n.Token == s.replaced, s.replaced == "":
		return nil
	}
	// A later token than this was sent: the record is not the last that was written.
	if err := m.checkUnreplaced(ctx, s); err != nil {
		return err
	}
	return m.expire(ctx, s.id, "the store has an earlier state of the log-in than before")
}

// refuseSpent is the refusal of a token that may not be sent, since its sender may have the
// answer. It has the sender looked for, and puts the question to it where that is due.
// Clocks may be off, and servers replaced: of the two ages of a note, by the store's clock and
// by the own, that counts which lets less happen.
func (m *Manager) refuseSpent(ctx context.Context, s *spending, n spentNote, version uint64) error {
	now := m.o.Now()
	age, err := m.writtenAgo(ctx, spentKey(s.id), remembered, now.Sub(n.Sent))
	if err != nil {
		return err
	}
	asked := now.Sub(n.Asked) < askedLife
	switch {
	case asked && min(age, now.Sub(n.Asked)) >= answerTime:
		return nil // nobody has answered
	case asked:
	case min(age, now.Sub(n.Sent)) >= spentLife:
		n.Asked = now
		if err := m.putSpentNote(ctx, s.id, n, version); err != nil {
			return storeError(err)
		}
	case n.Asked.IsZero(): // else the note is older than it looks
		m.whenGone(n.By, n.From, max(age, now.Sub(n.Sent)), func(ctx context.Context) error { return m.noteGone(ctx, s.id, n.By) })
	}
	return &Error{Kind: codeStore, Text: "the log-in is being renewed by another replica, which could not store the outcome yet", after: tryAgain}
}

// noteGone writes into a note, unless it is another by now, that its sender is gone.
func (m *Manager) noteGone(ctx context.Context, id, by string) error {
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
	n.Gone = true
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
		// One of nobody takes its place, and not that of another which comes meanwhile.
		err = m.o.Store.PutIf(ctx, spentKey(s.id), []byte("{}"), time.Second, e.Version)
		if errors.Is(err, store.ErrChanged) {
			return nil
		}
		return err
	}
	if tryOnce(context.Background(), remove) != nil {
		m.keepTrying(remembered, remove)
	}
}
