package app

import (
	"context"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/store"
)

const (
	// fleetKeyLife is how long the fleet's keys stay in the store after the last start
	// of a replica.
	fleetKeyLife = 366 * 24 * time.Hour
	// fleetKeyTries is how often a store that does not answer is asked for the key at
	// the start, with fleetKeyPause between.
	fleetKeyTries = 4
	fleetKeyPause = 500 * time.Millisecond
	// keyOverlap is how long a key that was replaced is kept: longer than any access token
	// of HelseID lives, and than a working day, after which few log-ins are left that began
	// with it (decision 21).
	keyOverlap = 24 * time.Hour
	// maxEarlierKeys bounds what is kept: each is one more name under which the shared
	// store is asked for a token.
	maxEarlierKeys = 4
	// maxDroppedKeys bounds what is remembered of keys that were dropped.
	maxDroppedKeys = 16
	// keySetFormat is that of what stands behind the key in use.
	keySetFormat = 1
)

var fleetKeyName = store.Key{Kind: "dpop", ID: "key"}

// Why what stands in the store can't be used.
var (
	errKeysUnreadable = errors.New("the fleet's DPoP keys in the store can't be read")
	errKeysNewer      = errors.New("the fleet's DPoP keys in the store were written by a later version of the sidecar")
)

// keySet is the keys of a fleet: that in use, and those it replaced, the latest first.
type keySet struct {
	current *dpop.Key
	earlier []earlierKey
	// dropped are the thumbprints of keys that no replica may use any more. A key that is
	// merely missing is not dropped: a store that lost its memory has forgotten it.
	dropped []string
	// sole says that the set replaced one that nobody could open: whatever keys came from
	// that are dropped, though nothing can name them.
	sole bool
	// since is when the key in use came into use; zero where that is not known.
	since time.Time
	// newer says that a later version wrote the set: nothing but the key in use is known.
	newer bool
}

// earlierKey is a key that tokens are bound to until some moment.
type earlierKey struct {
	key   *dpop.Key
	until time.Time
}

// keyTail is what stands in the entry behind the key in use.
type keyTail struct {
	Format  int         `json:"format"`
	Since   time.Time   `json:"since,omitzero"`
	Earlier []keptUntil `json:"earlier,omitempty"`
	Dropped []string    `json:"dropped,omitempty"`
	Sole    bool        `json:"sole,omitempty"`
}

// keptUntil is an earlier key in its PKCS #8 form.
type keptUntil struct {
	Key   []byte    `json:"key"`
	Until time.Time `json:"until"`
}

// encode is the entry: the key in use in its PKCS #8 form, which ends by itself, and behind
// it the tail as JSON. A sidecar that knows nothing of earlier keys reads the first, and
// keeps the rest as it is.
func (s keySet) encode() ([]byte, error) {
	entry, err := s.current.PKCS8()
	if err != nil {
		return nil, fmt.Errorf("encoding the DPoP key: %w", err)
	}
	tail := keyTail{Format: keySetFormat, Since: s.since, Dropped: s.dropped, Sole: s.sole}
	for _, e := range s.earlier {
		raw, err := e.key.PKCS8()
		if err != nil {
			return nil, fmt.Errorf("encoding an earlier DPoP key: %w", err)
		}
		tail.Earlier = append(tail.Earlier, keptUntil{raw, e.until})
	}
	rest, err := json.Marshal(tail)
	return append(entry, rest...), err
}

// parseKeySet reads an entry. Its errors quote nothing of it.
func parseKeySet(entry []byte) (keySet, error) {
	var first asn1.RawValue
	rest, err := asn1.Unmarshal(entry, &first)
	if err != nil {
		return keySet{}, errKeysUnreadable
	}
	var s keySet
	if s.current, err = parseDPoPKey(first.FullBytes); err != nil {
		return keySet{}, errKeysUnreadable
	}
	if len(rest) == 0 { // by a sidecar that knew no earlier keys
		return s, nil
	}
	var tail keyTail
	if err := json.Unmarshal(rest, &tail); err != nil && tail.Format <= keySetFormat {
		return keySet{}, errKeysUnreadable
	}
	if s.newer = tail.Format > keySetFormat; s.newer {
		return s, nil
	}
	s.dropped, s.sole, s.since = tail.Dropped, tail.Sole, tail.Since
	for _, e := range tail.Earlier {
		key, err := parseDPoPKey(e.Key)
		if err != nil {
			return keySet{}, errKeysUnreadable
		}
		s.earlier = append(s.earlier, earlierKey{key, e.Until})
	}
	return s, nil
}

// wholeSecond is a moment as an entry has it.
func wholeSecond(t time.Time) time.Time { return t.Truncate(time.Second).UTC() }

// alive are the earlier keys whose time is not over.
func alive(keys []earlierKey, now time.Time) []earlierKey {
	return slices.DeleteFunc(slices.Clone(keys), func(e earlierKey) bool { return !now.Before(e.until) })
}

// dpopKey makes the ring of keys for proofs: the fleet's where replicas share a store, so
// that each of them can prove a token that another got; the kept one; or a new one.
//
// A replica that can't have the fleet's makes a key for itself until it can. Its tokens
// are nobody else's then, and theirs not its own: a token's key is part of its name.
func (h *house) dpopKey() (*dpop.Ring, error) {
	if h.shared == nil {
		key, err := h.kept.dpopKey()
		if err != nil {
			return nil, err
		}
		return dpop.NewRing(key), nil
	}
	h.fleet = &fleetKeys{store: h.shared, log: h.log}
	h.metrics.OwnDPoPKey(h.fleet.apart.Load)
	var err error
	for try := range fleetKeyTries {
		if try > 0 {
			<-time.After(fleetKeyPause) // nothing is served yet
		}
		var set keySet
		if set, err = firstFleetKey(context.Background(), h.shared); err == nil {
			return h.fleet.begin(set), nil
		}
		if unopened(err) {
			break
		}
	}
	h.warn("the store of all replicas gives no DPoP key; this one uses its own, and shares no tokens, until it gets the fleet's", whyNoKeys(err)...)
	key, err := dpop.NewKey()
	if err != nil {
		return nil, err
	}
	return h.fleet.beginAlone(key), nil
}

// firstFleetKey is the keys that all replicas use. The first one that asks makes one.
func firstFleetKey(ctx context.Context, shared store.Store) (keySet, error) {
	for {
		set, e, err := readFleetKeys(ctx, shared)
		if err == nil {
			// It lives on as long as replicas start now and then. A store that takes no
			// writes just now, a full one, say, is no reason to use another key.
			_ = shared.PutIf(ctx, fleetKeyName, e.Value, fleetKeyLife, e.Version)
			return set, nil
		}
		if !errors.Is(err, store.ErrMissing) {
			return keySet{}, err
		}
		key, err := dpop.NewKey()
		if err != nil {
			return keySet{}, err
		}
		made := keySet{current: key, since: wholeSecond(time.Now())}
		err = putKeySet(ctx, shared, made, 0)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, store.ErrChanged) {
			return keySet{}, err
		}
		// another replica was quicker
	}
}

// readFleetKeys reads the keys that all replicas use, and changes nothing.
func readFleetKeys(ctx context.Context, shared store.Store) (keySet, store.Entry, error) {
	e, err := shared.Get(ctx, fleetKeyName)
	if err != nil {
		return keySet{}, e, err
	}
	set, err := parseKeySet(e.Value)
	return set, e, err
}

// unopened says of an error that the keys are there, and that no other try opens them.
func unopened(err error) bool {
	return errors.Is(err, store.ErrUnreadable) || errors.Is(err, errKeysUnreadable)
}

// mendUnopened is what an operator does about keys that can't be opened.
const mendUnopened = "put the key that sealed them back into SIDECAR_STORE_KEY, or update to the version that wrote them; " +
	"where neither can be had, \"sidecar keys dpop rotate --now\" puts a new key in their place"

// whyNoKeys are a log line's attributes.
func whyNoKeys(err error) []slog.Attr {
	attrs := []slog.Attr{slog.String("cause", err.Error())}
	if unopened(err) {
		attrs = append(attrs, slog.String("hint", mendUnopened))
	}
	return attrs
}

// putKeySet writes the keys in the place of those of some version; 0 = of none.
func putKeySet(ctx context.Context, shared store.Store, s keySet, version uint64) error {
	entry, err := s.encode()
	if err != nil {
		return err
	}
	return shared.PutIf(ctx, fleetKeyName, entry, fleetKeyLife, version)
}
