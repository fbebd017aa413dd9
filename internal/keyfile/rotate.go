package keyfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// keptFor is how long a key that HelseID no longer lists is kept after it was replaced: longer than any token lives
// that was asked for with it, and long enough to change one's mind.
const keptFor = 24 * time.Hour

// keptReplaced is how many replaced keys stay, besides the one that signed last: a key lives longer at HelseID than a
// timer takes to rotate, and the file must not fill up.
const keptReplaced = 2

// Registered is a key as HelseID lists it.
type Registered struct {
	ID, Thumbprint string
	Expires        time.Time // zero = not said
}

// is reports whether this is a key of ours.
func (r Registered) is(k Key) bool {
	return k.private() && (r.Thumbprint == k.Thumbprint || r.ID != "" && r.ID == k.ID)
}

// Find returns how HelseID lists a key.
func Find(listed []Registered, k Key) (Registered, bool) {
	at := slices.IndexFunc(listed, func(r Registered) bool { return r.is(k) })
	if at < 0 {
		return Registered{}, false
	}
	return listed[at], true
}

// Rotation puts a new key in the place of the one that signs. Every field but Algorithm and Now is required.
type Rotation struct {
	// Path of the key file.
	Path string
	// Algorithm of the new key; "" = that of the old one, or [Default] where that is none of [Algorithms].
	Algorithm string
	// List asks HelseID for the client's keys, signing with the file's first key.
	List func(context.Context) ([]Registered, error)
	// Register sends HelseID a public JWK, once, and returns when it ends (zero = not said).
	Register func(ctx context.Context, public []byte) (time.Time, error)
	// Try asks HelseID for a token with a private JWK of ours; nil = it takes the key.
	Try func(ctx context.Context, private []byte) error
	// Now is the time; if nil, time.Now.
	Now func() time.Time

	// crash is called between the steps; a test ends the run there.
	crash func(step string) error
}

// Outcome is what a rotation came to.
type Outcome struct {
	// New signs from now on; Old did before, and stands behind it. After [Rotation.Prune] both are zero.
	New, Old Key
	// Resumed says that New was made by an earlier run.
	Resumed bool
	// Dropped are keys that were taken out of the file.
	Dropped []Key
}

// PendingError is a rotation that did not get to its end. Nothing is lost: the old key goes on signing, and the new one
// waits in the file for the next run.
type PendingError struct {
	Key   Key
	Step  string // what could not be done
	Cause error
}

// Error says how far it got.
func (e *PendingError) Error() string {
	return fmt.Sprintf("the new key %s is kept in the file, but %s; the old key goes on signing, and the next \"sidecar keys rotate\" goes on from here: %v",
		e.Key.ID, e.Step, e.Cause)
}

// Unwrap returns why.
func (e *PendingError) Unwrap() error { return e.Cause }

// Run rotates, or ends what an earlier run began.
func (r *Rotation) Run(ctx context.Context) (*Outcome, error) {
	f, unlock, err := r.begin()
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := new(Outcome)
	listed, err := r.List(ctx)
	if err != nil {
		// A HelseID that lets the old key end at once, and a run that ended just then, leave only the new one.
		if next, waits := f.pending(); waits && r.Try(ctx, next.Private()) == nil {
			out.Resumed = true
			return out, r.promote(f, next, out)
		}
		return nil, err
	}
	keys, _ := learn(f.keys, listed)
	keys, out.Dropped = prune(keys, listed, r.now())
	next, err := r.next(f, keys, listed, out)
	if err != nil {
		return nil, err
	}
	if next, err = r.register(ctx, next, listed); err != nil {
		return nil, err
	}
	if err := r.Try(ctx, next.Private()); err != nil {
		return nil, &PendingError{next, "HelseID, which has it registered, does not take it yet", err}
	}
	if err := r.at("tried"); err != nil {
		return nil, err
	}
	return out, r.promote(f, next, out)
}

// Prune drops the keys that have ended at HelseID, without making a new one.
func (r *Rotation) Prune(ctx context.Context) (*Outcome, error) {
	f, unlock, err := r.begin()
	if err != nil {
		return nil, err
	}
	defer unlock()
	listed, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	out := new(Outcome)
	keys, changed := learn(f.keys, listed)
	keys, out.Dropped = prune(keys, listed, r.now())
	if !changed && len(out.Dropped) == 0 {
		return out, nil
	}
	return out, f.save(keys)
}

// Learn notes in a file when its keys end, as HelseID lists them. It reports the keys as they are then, also when the
// file could not be changed.
func Learn(path string, listed []Registered) ([]Key, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	keys, changed := learn(f.keys, listed)
	if !changed {
		return keys, nil
	}
	unlock, err := lock(path)
	if err != nil {
		return keys, err
	}
	defer unlock()
	return keys, f.save(keys)
}

// begin locks and reads the file, and finds out whether it can be changed before anything depends on it.
func (r *Rotation) begin() (f *file, unlock func(), err error) {
	if _, err := open(r.Path); err != nil {
		return nil, nil, err // before a lock lies beside something that is no key file
	}
	if unlock, err = lock(r.Path); err != nil {
		return nil, nil, err
	}
	if f, err = open(r.Path); err == nil {
		err = f.writable()
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return f, unlock, nil
}

// next is the key to come: one that waits, or a new one. When it returns, the key is on the disk.
func (r *Rotation) next(f *file, keys []Key, listed []Registered, out *Outcome) (Key, error) {
	algorithm := cmp.Or(r.Algorithm, keys[0].Algorithm)
	if !slices.Contains(Algorithms(), algorithm) {
		algorithm = Default
	}
	for i, k := range keys {
		if !k.Pending || i == 0 {
			continue
		}
		if r.fits(k, listed, algorithm) {
			out.Resumed = true
			return k, r.keep(f, keys, k)
		}
		out.Dropped = append(out.Dropped, k)
		keys = slices.Delete(slices.Clone(keys), i, i+1)
		break
	}
	k, err := Generate(algorithm)
	if err != nil {
		return Key{}, err
	}
	if err := r.at("made"); err != nil {
		return Key{}, err
	}
	k.Pending = true
	if err := r.keep(f, slices.Insert(slices.Clone(keys), 1, k), k); err != nil {
		return Key{}, err
	}
	return k, r.at("kept")
}

// keep saves keys with the one to come among them, if the file will hold what is to become of them: HelseID must not hear
// of a key that can't be put first.
func (r *Rotation) keep(f *file, keys []Key, next Key) error {
	if next.Expires.IsZero() {
		next.Expires = r.now() // as long as what HelseID will say
	}
	if _, err := compose(r.promoted(keys, next)); err != nil {
		return err
	}
	return f.save(keys)
}

// fits reports whether a key that waits is the one to go on with: HelseID has it and it has not ended there, or HelseID
// never heard of it and it is of the wanted kind.
func (r *Rotation) fits(k Key, listed []Registered, algorithm string) bool {
	known, ok := Find(listed, k)
	if !ok {
		return k.private() && k.Algorithm == algorithm
	}
	return known.Expires.IsZero() || r.now().Before(known.Expires)
}

// register sends the public half, unless HelseID has it. When that fails, HelseID's list says whether it came through.
func (r *Rotation) register(ctx context.Context, next Key, listed []Registered) (Key, error) {
	if known, ok := Find(listed, next); ok {
		next.Expires = known.Expires
		return next, nil
	}
	public, err := next.Public()
	if err != nil {
		return next, err
	}
	expires, err := r.Register(ctx, public)
	if crashed := r.at("sent"); crashed != nil {
		return next, crashed
	}
	if err == nil {
		next.Expires = expires
		return next, nil
	}
	if ctx.Err() == nil {
		now, listErr := r.List(ctx)
		if known, ok := Find(now, next); ok && listErr == nil {
			next.Expires = known.Expires
			return next, nil
		}
		if listErr != nil {
			return next, &PendingError{next, "it is not known whether HelseID has it", errors.Join(err, listErr)}
		}
	}
	return next, &PendingError{next, "HelseID was not seen to take its registration", err}
}

// promote puts the new key first, and the old one behind it.
func (r *Rotation) promote(f *file, next Key, out *Outcome) error {
	keys := r.promoted(f.keys, next)
	if err := f.save(keys); err != nil {
		return &PendingError{next, "the file could not be changed so that it signs", err}
	}
	out.New, out.Old = keys[0], keys[1]
	return nil
}

// promoted are the keys as they are once the new one signs.
func (r *Rotation) promoted(keys []Key, next Key) []Key {
	old := keys[0]
	old.Replaced = r.now()
	next.Pending = false
	all := []Key{next, old}
	for _, k := range keys[1:] {
		if k.Thumbprint != next.Thumbprint || !k.private() {
			all = append(all, k)
		}
	}
	return all
}

// pending is the key that waits, if there is one.
func (f *file) pending() (Key, bool) {
	for _, k := range f.keys[1:] {
		if k.Pending && k.private() {
			return k, true
		}
	}
	return Key{}, false
}

// learn takes over when keys end. It reports whether that is anything new.
func learn(keys []Key, listed []Registered) (learned []Key, changed bool) {
	learned = slices.Clone(keys)
	for i, k := range learned {
		known, ok := Find(listed, k)
		if !ok || known.Expires.Unix() == k.Expires.Unix() {
			continue
		}
		learned[i].Expires, changed = known.Expires, true
	}
	return learned, changed
}

// prune takes out the keys behind the first that have ended at HelseID, and those that enough others have replaced since.
func prune(keys []Key, listed []Registered, now time.Time) (kept, dropped []Key) {
	for i, k := range keys {
		_, known := Find(listed, k)
		ended := !k.Expires.IsZero() && !now.Before(k.Expires)
		forgotten := !known && !k.Replaced.IsZero() && now.Sub(k.Replaced) > keptFor
		if i > 0 && k.private() && !k.Pending && (ended || forgotten || superseded(keys, k)) {
			dropped = append(dropped, k)
			continue
		}
		kept = append(kept, k)
	}
	return kept, dropped
}

// superseded reports whether enough newer replaced keys are at hand.
func superseded(keys []Key, k Key) bool {
	newer := 0
	for _, other := range keys {
		if other.Replaced.After(k.Replaced) {
			newer++
		}
	}
	return !k.Replaced.IsZero() && newer >= keptReplaced
}

func (r *Rotation) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Rotation) at(step string) error {
	if r.crash != nil {
		return r.crash(step)
	}
	return nil
}
