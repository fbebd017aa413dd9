package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/store"
)

const (
	// fleetKeyLife is how long the fleet's key stays in the store after the last start
	// of a replica.
	fleetKeyLife = 366 * 24 * time.Hour
	// fleetKeyTries is how often a store that does not answer is asked for the key at
	// the start, with fleetKeyPause between.
	fleetKeyTries = 4
	fleetKeyPause = 500 * time.Millisecond
)

var fleetKeyName = store.Key{Kind: "dpop", ID: "key"}

// dpopKey is the key for proofs: the fleet's where replicas share a store, so that
// each of them can prove a token that another got; the kept one; or a new one.
//
// A replica that starts while the store is down makes a key for itself. Its tokens are
// nobody else's then, and theirs not its own: a token's key is part of its name.
func (h *house) dpopKey() (*dpop.Key, error) {
	if h.shared == nil {
		return h.kept.dpopKey()
	}
	var err error
	for try := range fleetKeyTries {
		if try > 0 {
			<-time.After(fleetKeyPause) // nothing is served yet
		}
		var raw []byte
		if raw, err = fleetKey(context.Background(), h.shared); err == nil {
			return identity{DPoPKey: raw}.dpopKey()
		}
	}
	h.warn("the store of all replicas gives no DPoP key; this one uses its own, and shares no tokens, until it is started again",
		slog.String("cause", err.Error()))
	return dpop.NewKey()
}

// fleetKey is the PKCS #8 form of the key that all replicas use. The first one that
// asks makes it.
func fleetKey(ctx context.Context, shared store.Store) ([]byte, error) {
	for {
		e, err := shared.Get(ctx, fleetKeyName)
		if err == nil {
			// It lives on as long as replicas start now and then.
			if err := shared.PutIf(ctx, fleetKeyName, e.Value, fleetKeyLife, e.Version); err != nil && !errors.Is(err, store.ErrChanged) {
				return nil, err
			}
			return e.Value, nil
		}
		if !errors.Is(err, store.ErrMissing) {
			return nil, err
		}
		made, err := newFleetKey()
		if err != nil {
			return nil, err
		}
		err = shared.PutIf(ctx, fleetKeyName, made, fleetKeyLife, 0)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, store.ErrChanged) {
			return nil, err
		}
		// another replica was quicker
	}
}

func newFleetKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the DPoP key: %w", err)
	}
	return x509.MarshalPKCS8PrivateKey(key)
}
