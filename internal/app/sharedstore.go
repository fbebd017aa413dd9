package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// openShared opens the store that replicas share. One that does not answer just now
// is no fault: it may come back, and readiness does not depend on it. One that is used
// with other keys is: every log-in there would be unknown here.
func (h *house) openShared() error {
	shared, err := h.dialShared(store.RedisOptions{
		Observe: func(op string, failed store.Reason, _ time.Duration) {
			if failed != "" && failed != store.Cancelled {
				h.metrics.StoreError(op)
			}
		},
		Warn: func(what string, err error) {
			if err == nil {
				h.log.Info("the store of all replicas", "what", what)
				return
			}
			h.warn("the store of all replicas", slog.String("what", what), slog.String("cause", err.Error()))
		},
	})
	if err != nil {
		return err
	}
	h.store, h.shared = shared, shared
	h.metrics.StoreResting(func() bool { return !shared.State().Resting.IsZero() })
	// Replicas whose lists of keys begin differently have the last one in common.
	keys := h.cfg.Keep.StoreKeys()
	h.kept.Secret, err = hkdf.Key(sha256.New, keys[len(keys)-1], nil, "sfm-sidecar session handles", 32)
	if err != nil {
		return fmt.Errorf("deriving a key: %w", err)
	}
	return h.checkShared()
}

// dialShared opens the configured store; o holds what else it should do.
func (h *house) dialShared(o store.RedisOptions) (*store.Redis, error) {
	o.URL, o.Keys, o.Space = h.cfg.Keep.Store.Reveal(), h.cfg.Keep.StoreKeys(), sharedSpace(h.cfg)
	o.Timeout, o.Roots = h.cfg.Keep.StoreTimeout, h.roots
	shared, err := store.OpenRedis(o)
	if err != nil {
		return nil, config.Faults{{Variable: "SIDECAR_STORE", Problem: "can't be used: " + err.Error(), Mend: "see SIDECAR_STORE in docs/configuration.md"}}
	}
	return shared, nil
}

// checkShared looks whether the store can be used at all. What only another
// configuration can mend is a fault: a roll-out with it stops at its first replica.
// What may be over in a moment is a warning.
func (h *house) checkShared() error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*h.cfg.Keep.StoreTimeout)
	defer cancel()
	err := h.shared.Check(ctx)
	if errors.Is(err, store.ErrOtherKeys) {
		return config.Faults{{
			Variable: "SIDECAR_STORE_KEY", Problem: "ends with another key than that of the sidecars which use the store",
			Mend: "give all of them the same last key; if a key leaked, follow docs/kubernetes.md, A key that leaked",
		}}
	}
	if f, ok := errors.AsType[*store.Failure](err); ok && unmendable[f.Reason] {
		return config.Faults{{Variable: "SIDECAR_STORE", Problem: "names a store that refuses this sidecar: " + strings.TrimSuffix(f.Err.Error(), "."), Mend: f.Reason.Mend()}}
	}
	if err != nil {
		h.warn("the store of all replicas can't be used; log-ins wait for it", slog.String("cause", err.Error()))
	}
	return nil
}

// greetStore says that the replicas' store is used, and with which key for proofs: replicas
// that say another one share no tokens.
func (h *house) greetStore() {
	if h.shared == nil {
		return
	}
	at, thumbprint := h.shared.State(), ""
	if h.key != nil {
		thumbprint = h.key.Current().Thumbprint()
	}
	h.log.Info("log-ins and tokens are in the store of all replicas",
		"kind", at.Kind, "tls", at.TLS, "keys", len(h.cfg.Keep.StoreKeys()), "dpop_key", thumbprint)
}

// unmendable are the reasons that stay until somebody changes the configuration, here or
// at the server.
var unmendable = map[store.Reason]bool{store.Credentials: true, store.Moved: true, store.Untrusted: true}

// sharedSpace keeps clients apart that share a server and keys: their log-ins are not
// each other's, and a log-in on other terms can't be refreshed on these.
func sharedSpace(c *config.Config) string {
	sum := sha256.New()
	for _, part := range []string{c.HelseID.Issuer, c.HelseID.ClientID, loginTerms(c)} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return string(sum.Sum(nil))
}

// learnTimeLimit is how long a HelseID that is down keeps a token from being taken from the
// store, while the time is not known.
const learnTimeLimit = 2 * time.Second

// learnTime has the time of all replicas known.
func (h *house) learnTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeLimit)
	defer cancel()
	h.helseID.LearnTime(ctx)
}

// notSharedEvery is how often, at most, it is told that tokens are not shared.
const notSharedEvery = time.Minute

// tokenNotShared tells that each replica fetches for itself. Nobody else would: the
// calls go well.
func (h *house) tokenNotShared(err error) {
	now, last := time.Now().UnixNano(), h.toldNotShared.Load()
	if now-last < int64(notSharedEvery) || !h.toldNotShared.CompareAndSwap(last, now) {
		h.log.Debug("a token could not be shared", "cause", err)
		return
	}
	h.warn("tokens can't be shared; each replica gets its own", slog.String("cause", err.Error()))
}

// countSessions is how many sessions there are, or, where replicas share them, how many
// this one looks after: to count those of all would mean to list them.
func (h *house) countSessions() int {
	if counter, ok := h.store.(store.Counter); ok {
		return counter.Len(session.KindUsed)
	}
	return h.sessions.Known()
}

// lister is the store, where it can tell what is in it.
func (h *house) lister() store.Lister {
	lister, _ := h.store.(store.Lister)
	return lister
}

// teller is the store, where replicas share one.
func (h *house) teller() store.Teller {
	if h.shared == nil {
		return nil
	}
	return h.shared
}

// presence is the store, where replicas share one. A visitor is not there for long.
func (h *house) presence() store.Presence {
	if h.shared == nil || h.visits {
		return nil
	}
	return h.shared
}
