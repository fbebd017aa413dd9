package app

import (
	"cmp"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/control"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
)

// maxTenants and maxFaults bound what a status lists.
const (
	maxTenants = 200
	maxFaults  = 20
)

// status is what there is to tell now. It asks nobody: a page that is looked at must
// not make calls. One at a time is made, since each looks at the whole registry.
func (s *Sidecar) status() control.Status {
	s.telling.Lock()
	defer s.telling.Unlock()
	h, w := s.house, s.house.witness
	listed, more, tokens := h.tenantStates()
	known := control.Status{
		Now: time.Now(), Started: w.started, Version: w.version, Stopping: s.server.stopping.Load(),
		HelseID: h.helseIDState(), Clock: h.clockState(), ClientKey: h.keyState(), Sessions: h.logIns(), Registry: h.registryState(),
		Store: h.storeState(), Tenants: listed, MoreTenants: more, Tokens: tokens, Refusals: w.last(),
	}
	for _, u := range h.cfg.SFM.Upstreams {
		known.Upstreams = append(known.Upstreams, w.upstream(u))
	}
	return known
}

func (h *house) helseIDState() control.HelseID {
	said, state := h.witness.helseID(), h.helseID.State()
	said.Refused, said.RefusedUntil = state.Refused, state.Until
	if u, err := url.Parse(h.cfg.HelseID.Issuer); err == nil {
		said.Host = u.Host
	}
	return said
}

func (h *house) clockState() control.Clock {
	state := h.helseID.State()
	return control.Clock{Measured: state.Measured, Ahead: state.Offset, Corrected: state.Applied}
}

func (h *house) keyState() control.ClientKey {
	key, since := h.keys.InUse()
	said := control.ClientKey{ID: key.KeyID(), Algorithm: key.Algorithm(), Since: since, NotAfter: key.NotAfter()}
	if file := h.cfg.HelseID.ClientJWKFile; file != "" {
		if info, err := os.Stat(file); err == nil {
			said.FileChanged = info.ModTime()
		}
	}
	return said
}

func (h *house) logIns() control.LogIns {
	open, lost := h.sfm.keeper.Count()
	return control.LogIns{
		Count: h.countSessions(), NearestEnd: h.sessions.NearestEnd(), SFMOpen: open, SFMLost: lost,
	}
}

func (h *house) storeState() *control.Store {
	if h.shared == nil {
		return nil
	}
	s := h.shared.State()
	said := &control.Store{
		Kind: s.Kind, TLS: s.TLS, Resting: s.Resting, Answered: s.Answered, Failed: s.Failed, Reason: string(s.Reason),
	}
	if h.fleet != nil {
		said.OwnKey, said.KeyUnopened = h.fleet.apart.Load(), h.fleet.unopened.Load()
	}
	return said
}

// registryState masks what a broken file may have made the faults quote.
func (h *house) registryState() control.Registry {
	s := h.registry.status()
	said := control.Registry{File: s.File, Tenants: s.Tenants, Loaded: s.Loaded, MoreFaults: max(0, len(s.Broken)-maxFaults)}
	for _, f := range s.Broken[:min(len(s.Broken), maxFaults)] {
		said.Faults = append(said.Faults, control.Fault{
			Where: f.Where(), Problem: telemetry.Mask(f.Message), Mend: telemetry.Mask(f.Mend),
		})
	}
	return said
}

// tenantStates are the tenants that there is something to tell of: of the registry,
// with tokens, with trouble; those with trouble first. No more than maxTenants are
// listed, and masked, which is what takes time. tokens counts all that are held.
func (h *house) tenantStates() (listed []control.Tenant, more, tokens int) {
	found := h.registry.tenantNames()
	of := func(t tenantmap.Tenant) *control.Tenant {
		t = t.Folded()
		if found[t] == nil {
			found[t] = &control.Tenant{Parent: t.Parent, Child: t.Child, Journal: t.Journal}
		}
		return found[t]
	}
	for held := range h.cache.Held() {
		tokens++
		t := of(tenantmap.Tenant{Parent: held.Key.Parent, Child: held.Key.Child, Journal: held.Key.Journal})
		t.Tokens++
		t.Failing = t.Failing || held.Failing
		if held.Until.After(t.Until) {
			t.Until = held.Until
		}
	}
	for _, t := range h.witness.troubled.Keys() {
		if trouble, ok := h.witness.troubled.Peek(t); ok {
			of(t).Trouble = &trouble
		}
	}
	all := slices.SortedFunc(maps.Values(found), byTrouble)
	for _, t := range all[:min(len(all), maxTenants)] {
		t.Alias, t.Name = telemetry.Mask(t.Alias), telemetry.Mask(t.Name)
		listed = append(listed, *t)
	}
	return listed, len(all) - len(listed), tokens
}

// byTrouble puts in front what somebody should look at.
func byTrouble(a, b *control.Tenant) int {
	rank := func(t *control.Tenant) int {
		switch {
		case t.Trouble != nil:
			return 0
		case t.Failing:
			return 1
		case t.Tokens > 0:
			return 2
		}
		return 3
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Name, b.Name),
		strings.Compare(a.Parent, b.Parent), strings.Compare(a.Child, b.Child), strings.Compare(a.Journal, b.Journal))
}

// tenantNames are the registry's tenants, with alias and the organization's name as the
// file has them.
func (r *registry) tenantNames() map[tenantmap.Tenant]*control.Tenant {
	r.mu.Lock()
	now := r.now
	r.mu.Unlock()
	found := make(map[tenantmap.Tenant]*control.Tenant)
	if now == nil {
		return found
	}
	names := make(map[string]string)
	for _, j := range now.Set().Journals {
		for _, o := range j.Organizations {
			names[o.Orgnr] = o.Name
		}
	}
	for _, t := range now.Set().Tenants {
		key := tenantmap.Tenant{Parent: t.Parent, Child: t.Child, Journal: t.Journal}.Folded()
		found[key] = &control.Tenant{
			Parent: key.Parent, Child: key.Child, Journal: key.Journal,
			Alias: t.Alias, Name: names[cmp.Or(key.Child, key.Parent)],
		}
	}
	return found
}
