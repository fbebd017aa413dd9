package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zalando/go-keyring"
)

// Items of the vault beside the entries, whose names have a slash.
const (
	rootItem      = "root"
	directoryItem = "entries" // a key store can't be asked what it holds
)

// errTerms is why what could be read is not used.
var errTerms = errors.New("they were made under another configuration, or their list is damaged")

// kept is an entry as the key store should have it.
type kept struct {
	value []byte
	until time.Time // by the wall clock
}

// debt is what the key store has yet to learn of a key. k.mu guards its fields.
type debt struct {
	entry *kept         // nil = the entry is to be removed
	tried chan struct{} // closed after the next try, or when another debt takes its place
	err   error         // of the last try
}

// owe notes what the key store should hold of a key from now on.
func (k *Keyring) owe(key Key, e *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.owed[key]; old != nil {
		close(old.tried)
	}
	k.owed[key] = &debt{entry: e, tried: make(chan struct{})}
	k.nudge()
}

func (k *Keyring) nudge() {
	select {
	case k.wake <- struct{}{}:
	default: // it is about to look
	}
}

// settle waits until nothing of a key is owed, or until the next try failed.
func (k *Keyring) settle(ctx context.Context, key Key) error {
	limit := time.NewTimer(answerLimit)
	defer limit.Stop()
	for {
		d, tried := k.debtOf(key)
		if d == nil {
			return nil
		}
		k.nudge()
		select {
		case <-tried:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			return errNoAnswer
		}
		if err := k.failure(key, d); err != nil {
			return err
		}
	}
}

func (k *Keyring) debtOf(key Key) (*debt, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.owed[key]
	if d == nil {
		return nil, nil
	}
	return d, d.tried
}

// failure is why a debt is still there, nil when it is not.
func (k *Keyring) failure(key Key, d *debt) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owed[key] != d {
		return nil
	}
	return d.err
}

// run pays what is owed until the store is closed. It alone calls the key store.
func (k *Keyring) run() {
	defer close(k.stopped)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-k.wake:
		case <-look.C:
			k.dropUnused()
		case <-k.stop:
			k.pay()
			return
		}
		k.pay()
	}
}

// debtors are the keys of which something is owed, notes first: whoever makes a
// record has noted its use before, and a record without a note is of no use.
func (k *Keyring) debtors() []Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := slices.Collect(maps.Keys(k.owed))
	slices.SortFunc(keys, func(a, b Key) int {
		switch {
		case a.Kind == b.Kind:
			return 0
		case a.Kind == k.o.Note:
			return -1
		default:
			return 1
		}
	})
	return keys
}

// pay tries to write what is owed, each entry once.
func (k *Keyring) pay() {
	for _, key := range k.debtors() {
		d, _ := k.debtOf(key)
		if d == nil {
			continue
		}
		err := k.write(key, d.entry)
		if k.noteTry(key, d, err) {
			k.o.Warn("the operating system's key store can't be written", err)
		}
	}
}

// noteTry notes the outcome of a try, and returns whether it is news.
func (k *Keyring) noteTry(key Key, d *debt, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owed[key] != d {
		return false // something newer is owed
	}
	close(d.tried)
	if err == nil {
		delete(k.owed, key)
		return false
	}
	news := d.err == nil
	d.err, d.tried = err, make(chan struct{})
	return news
}

// write carries one change out. An ID is listed before anything of it is written,
// and until everything of it is removed, so that nothing lies there unknown.
func (k *Keyring) write(key Key, e *kept) error {
	if e == nil && key.Kind == k.o.Record {
		return k.drop(key.ID)
	}
	if e == nil {
		return k.vault.remove(itemOf(key))
	}
	if _, listed := k.listed[key.ID]; !listed {
		if err := k.list(key.ID); err != nil {
			return err
		}
	}
	if key.Kind == k.o.Record {
		k.listed[key.ID] = true
	}
	return k.vault.put(itemOf(key), e.value, e.until)
}

// list adds an ID to the directory.
func (k *Keyring) list(id string) error {
	k.listed[id] = false
	if err := k.writeDirectory(); err != nil {
		delete(k.listed, id)
		return err
	}
	return nil
}

// drop removes everything of an ID. One that was never listed has nothing.
func (k *Keyring) drop(id string) error {
	recorded, listed := k.listed[id]
	if !listed {
		return nil
	}
	err := errors.Join(k.vault.remove(itemOf(Key{k.o.Record, id})), k.vault.remove(itemOf(Key{k.o.Note, id})))
	if err != nil {
		return err
	}
	delete(k.listed, id)
	if err := k.writeDirectory(); err != nil {
		k.listed[id] = recorded
		return err
	}
	return nil
}

func (k *Keyring) writeDirectory() error {
	value, err := json.Marshal(slices.Sorted(maps.Keys(k.listed)))
	if err != nil {
		return err
	}
	return k.vault.put(directoryItem, value, time.Time{})
}

func itemOf(key Key) string { return key.Kind + "/" + key.ID }

// dropUnused has removed what memory no longer holds alive: a time that ran out
// makes no call. Whoever is just writing a record knows better.
func (k *Keyring) dropUnused() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for id, recorded := range k.listed {
		record := Key{k.o.Record, id}
		turn, err := k.Memory.Lock(now, turnKey(record))
		if err != nil {
			continue
		}
		if _, err := k.Memory.Get(now, Key{k.o.Note, id}); err != nil || recorded && !k.alive(record) {
			k.owe(record, nil)
		}
		turn.Release()
	}
}

// load reads what an earlier process kept, and removes what is of no use.
func (k *Keyring) load() error {
	directory, err := k.loadRoot()
	if err != nil {
		return fmt.Errorf("reading the key store: %w", err)
	}
	for _, id := range directory {
		k.listed[id] = true
		if err := k.restore(id); err != nil {
			return fmt.Errorf("reading an entry of the key store: %w", err)
		}
	}
	// Written even when nothing changed: whether that works is found now.
	if err := k.writeDirectory(); err != nil {
		return fmt.Errorf("writing to the key store: %w", err)
	}
	return nil
}

// loadRoot reads the root and the directory, or begins anew where they are not
// whole.
func (k *Keyring) loadRoot() (directory []string, err error) {
	root, _, err := k.vault.get(rootItem)
	if unanswered(err) {
		return nil, err
	}
	if err == nil && k.o.Usable(root) {
		k.root = root
		list, _, err := k.vault.get(directoryItem)
		if unanswered(err) {
			return nil, err
		}
		if errors.Is(err, keyring.ErrNotFound) || err == nil && json.Unmarshal(list, &directory) == nil {
			return directory, nil
		}
	}
	if !errors.Is(err, keyring.ErrNotFound) {
		k.o.Warn("the log-ins in the key store are of no use any more and are removed", cmp.Or(err, errTerms))
	}
	if k.root, err = k.o.Root(); err != nil {
		return nil, err
	}
	if err := k.vault.removeAll(); err != nil {
		return nil, err
	}
	return nil, k.vault.put(rootItem, k.root, time.Time{})
}

// restore puts an ID's entries into memory where both are whole and alive, and
// removes them otherwise.
func (k *Keyring) restore(id string) error {
	record, note := Key{k.o.Record, id}, Key{k.o.Note, id}
	value, until, err := k.vault.get(itemOf(record))
	noted, used, noteErr := k.vault.get(itemOf(note))
	if unanswered(err) || unanswered(noteErr) {
		return errors.Join(err, noteErr)
	}
	now := k.wall()
	if err != nil || noteErr != nil || !now.Before(until) || !now.Before(used) || !k.o.Kept(value) {
		return k.drop(id)
	}
	ctx := context.Background()
	return errors.Join(
		k.Memory.Put(ctx, record, value, until.Sub(now)), k.Memory.Put(ctx, note, noted, used.Sub(now)),
		k.vault.tidy(itemOf(record)),
	)
}
