package app

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/tenantmap"
)

// warmUpAtOnce bounds the fetches of the warm-up that wait at the same time; HelseID's
// own bound (SIDECAR_HELSEID_CONCURRENCY) stands behind it.
const warmUpAtOnce = 16

// warmUp fetches the machine's token of every listed tenant for every upstream before
// the sidecar says that it is ready, so that the first calls wait for none. It ends
// after within at the latest, and a tenant whose token can't be had is only counted:
// one customer's mistake must not keep the others waiting.
func (h *house) warmUp(ctx context.Context, within time.Duration) {
	if within <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	begun, asks := time.Now(), h.warmAsks()
	tokens := h.tokens()
	var mu sync.Mutex // guards what follows
	fetched, causes := 0, map[string]error{}
	var g errgroup.Group
	g.SetLimit(warmUpAtOnce)
	for _, ask := range asks {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			_, err := tokens.Token(ctx, ask)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				fetched++
			} else if ctx.Err() == nil {
				causes[err.Error()] = err
			}
			return nil
		})
	}
	_ = g.Wait() // no function of it returns an error
	for _, err := range first(causes, maxTold) {
		h.log.Warn("a token could not be fetched beforehand", "cause", err)
	}
	h.log.Info("fetched tokens beforehand", "wanted", len(asks), "fetched", fetched, "took", time.Since(begun).Round(time.Millisecond).String())
}

// warmAsks are what the warm-up asks for: as many as the cache can hold at most.
func (h *house) warmAsks() []proxy.Ask {
	var asks []proxy.Ask
	seen := make(map[any]bool)
	tokens := h.tokens()
	for _, tenant := range h.registry.listed() {
		for _, u := range h.upstreams() {
			ask := proxy.Ask{Tenant: tenant, Person: proxy.Person{Grant: config.GrantClientCredentials}, Upstream: &u}
			if key := tokens.key(ask); !seen[key] && len(asks) < h.cfg.Keep.CacheEntries {
				seen[key] = true
				asks = append(asks, ask)
			}
		}
	}
	return asks
}

// listed are the combinations that the registry in use lists.
func (r *registry) listed() []tenantmap.Tenant {
	r.mu.Lock()
	now := r.now
	r.mu.Unlock()
	if now == nil {
		return nil
	}
	var all []tenantmap.Tenant
	for _, t := range now.Set().Tenants {
		if tenant, ok := now.Tenant(t.Alias); ok {
			all = append(all, tenant)
		}
	}
	return all
}

// created is what the journal guard asks: whether the registry says that a journal
// was made.
func (r *registry) created(journal string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now != nil && r.now.Created(journal)
}

func first(causes map[string]error, most int) []error {
	var some []error
	for _, err := range causes {
		if len(some) < most {
			some = append(some, err)
		}
	}
	return some
}
