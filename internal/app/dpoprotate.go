package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/store"
)

// keysRefusal is why a fleet's key was not rotated, and what to do.
type keysRefusal struct {
	problem, mend string
	err           error
}

func (e *keysRefusal) Error() string { return "rotating the DPoP key: " + e.problem }

func (e *keysRefusal) Unwrap() error { return e.err }

// dpopKeys is the command "keys dpop rotate".
func dpopKeys(ctx context.Context, o Options) int {
	flags := flagSet(o, "keys dpop rotate")
	now, output := flags.Bool("now", false, ""), flags.String("o", "text", "")
	if len(o.Args) < 2 || o.Args[1] != "rotate" || flags.Parse(o.Args[2:]) != nil || flags.NArg() > 0 || *output != "text" && *output != "json" {
		return misused(o)
	}
	cfg, _, err := config.Load(o.Environ)
	if err != nil {
		return failed(o, err)
	}
	if err := rotatable(cfg); err != nil {
		return failed(o, err)
	}
	h := &house{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if err := h.buildRoots(); err != nil {
		return failed(o, err)
	}
	shared, err := h.dialShared(store.RedisOptions{})
	if err != nil {
		return failed(o, err)
	}
	h.store, h.shared = shared, shared
	defer h.closeStore()
	if err := h.checkShared(); err != nil {
		return failed(o, err)
	}
	done, err := rotateFleetKey(ctx, shared, rotation{at: time.Now(), now: *now})
	if err != nil {
		return failed(o, err)
	}
	if err := done.report(o, *output == "json"); err != nil {
		return failed(o, err)
	}
	return exitDone
}

// rotatable refuses a set-up in which no key is shared.
func rotatable(cfg *config.Config) error {
	switch {
	case cfg.SFM.API != config.APIv2:
		return config.Faults{{
			Variable: "SFM_API", Problem: "is " + cfg.SFM.API + ": its tokens are bound to no key, so there is none to rotate",
			Mend: "nothing is to be done",
		}}
	case cfg.Keep.Shared():
		return nil
	case cfg.Keep.SessionStore == config.StoreKeyring:
		return config.Faults{{
			Variable: "SIDECAR_SESSION_STORE", Problem: "is keyring: the DPoP key lies in the operating system's key store, with the log-ins that began with it",
			Mend: "to be rid of it, stop the sidecar, remove what the key store has under " + keyringService(cfg) +
				", and start it again: it makes a new key, and persons log in anew",
		}}
	}
	return config.Faults{{
		Variable: "SIDECAR_STORE", Problem: "is memory: the DPoP key lives in the process, and no other uses it",
		Mend: "restart the sidecar: it makes a new key",
	}}
}

// rotation is how a key is replaced.
type rotation struct {
	at  time.Time
	now bool // the keys before are dropped at once
}

// rotated is what a rotation did.
type rotated struct {
	keys   keySet
	before string // thumbprint of the key that was in use; "" where that could not be opened
	rotation
}

// rotateFleetKey takes a new key into use. Replicas see it at the next look into the store.
func rotateFleetKey(ctx context.Context, shared store.Store, r rotation) (*rotated, error) {
	key, err := dpop.NewKey()
	if err != nil {
		return nil, err
	}
	for {
		before, e, err := readFleetKeys(ctx, shared)
		if err = r.mayReplace(err); err != nil {
			return nil, err
		}
		done := &rotated{rotation: r}
		if done.keys, err = r.of(before, key); err != nil {
			return nil, err
		}
		if before.current != nil {
			done.before = before.current.Thumbprint()
		}
		if e.Version == 0 { // only a Delete touches it
			if err := shared.Delete(ctx, fleetKeyName); err != nil {
				return nil, notReached(err)
			}
		}
		err = putKeySet(ctx, shared, done.keys, e.Version)
		if err == nil {
			return done, nil
		}
		if !errors.Is(err, store.ErrChanged) {
			return nil, notReached(err)
		}
		// a replica that started, or another rotation, was quicker
	}
}

// mayReplace judges how reading the keys ended. Keys that can't be opened are replaced
// by --now alone: the sidecars that run may well be able to.
func (r rotation) mayReplace(err error) error {
	switch {
	case err == nil, unopened(err) && r.now:
		return nil
	case unopened(err):
		return &keysRefusal{"what the store holds can't be opened: " + err.Error(), mendUnopened, err}
	}
	return notReached(err)
}

// notReached is an error of the store.
func notReached(err error) error {
	if errors.Is(err, store.ErrMissing) {
		return &keysRefusal{"the store holds no key yet", "the first sidecar that starts with this store makes one", err}
	}
	return &keysRefusal{err.Error(), "look at SIDECAR_STORE and SIDECAR_STORE_KEY; nothing is known to have changed, so run it again", err}
}

// of puts a key in the place of the one in use.
func (r rotation) of(before keySet, key *dpop.Key) (keySet, error) {
	if before.newer && !r.now {
		return keySet{}, &keysRefusal{errKeysNewer.Error(), "rotate with that version; --now drops all that it kept", errKeysNewer}
	}
	after := keySet{current: key, dropped: before.dropped, since: wholeSecond(r.at), sole: before.current == nil || before.newer}
	if before.current == nil {
		return after, nil
	}
	kept := append([]earlierKey{{before.current, wholeSecond(r.at.Add(keyOverlap))}}, alive(before.earlier, r.at)...)
	if r.now {
		for _, e := range kept {
			after.dropped = append(after.dropped, e.key.Thumbprint())
		}
		after.dropped = after.dropped[max(0, len(after.dropped)-maxDroppedKeys):]
		return after, nil
	}
	if len(kept) > maxEarlierKeys {
		return keySet{}, &keysRefusal{
			problem: fmt.Sprintf("%d earlier keys are still kept, and no more may be", len(kept)-1),
			mend: "wait until the first of them ends, at " + kept[len(kept)-1].until.Format(time.RFC3339) +
				"; --now drops all of them at once",
		}
	}
	after.earlier = kept
	return after, nil
}

// report says what was done.
func (d *rotated) report(o Options, asJSON bool) error {
	current := d.keys.current.Thumbprint()
	if asJSON {
		return d.reportJSON(o, current)
	}
	text := current + " is the DPoP key from now on.\n"
	switch {
	case d.before == "":
		text += "What stood in the store before could not be opened. It is gone, and the keys that sidecars had from it are dropped.\n"
	case d.now:
		text += d.before + " was before, and is dropped with all earlier ones. Tokens that are bound to them are fetched anew.\n"
	default:
		text += d.before + " was before. It goes on proving the tokens that are bound to it, and ends at " +
			d.keys.earlier[0].until.Format(time.RFC3339) + ".\n"
	}
	for i, e := range d.keys.earlier {
		if i > 0 {
			text += e.key.Thumbprint() + " is kept until " + e.until.Format(time.RFC3339) + ".\n"
		}
	}
	_, err := fmt.Fprint(o.Stdout, text)
	return err
}

func (d *rotated) reportJSON(o Options, current string) error {
	type earlier struct {
		Key   string    `json:"key"`
		Until time.Time `json:"until"`
	}
	kept := []earlier{}
	for _, e := range d.keys.earlier {
		kept = append(kept, earlier{e.key.Thumbprint(), e.until})
	}
	return json.NewEncoder(o.Stdout).Encode(struct {
		Key     string    `json:"key"`
		Before  string    `json:"before"` // "" = could not be opened
		Dropped bool      `json:"dropped"`
		Earlier []earlier `json:"earlier"`
	}{current, d.before, d.now, kept})
}
