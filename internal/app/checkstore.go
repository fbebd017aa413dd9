package app

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/doctor"
	"sfm-sidecar/internal/store"
	"sfm-sidecar/internal/telemetry"
)

// addStore lets the doctor examine the shared store, where one is configured, until the
// returned function is called.
func (h *house) addStore(d *doctor.Options) (done func(), err error) {
	if !h.cfg.Keep.Shared() {
		return func() {}, nil
	}
	shared, err := h.dialShared(store.RedisOptions{})
	if err != nil {
		return nil, err
	}
	d.Store = examineStore(h.cfg, shared)
	return func() { _ = shared.Close() }, nil // nothing is in it that could be lost
}

// examineStore tells the doctor what a shared store lets be found out.
func examineStore(cfg *config.Config, shared *store.Redis) func(context.Context) doctor.Store {
	return func(ctx context.Context) doctor.Store {
		facts := shared.Examine(ctx)
		said := doctor.Store{
			Kind: shared.State().Kind, Bare: bare(cfg.Keep.Store.Reveal()), RoundTrip: facts.RoundTrip, Keys: facts.Keys,
		}
		said.Reason, said.Down = whyFailed(facts.Down)
		switch {
		case facts.Names == nil:
			said.Names = "ours"
		case errors.Is(facts.Names, store.ErrMissing):
			said.Names = "unused"
		case errors.Is(facts.Names, store.ErrOtherKeys):
			said.Names = "others'"
		}
		for _, s := range facts.Servers {
			said.Servers = append(said.Servers, doctor.StoreServer{Settings: s.Settings, Ahead: s.Ahead, ClockKnown: s.ClockKnown})
		}
		for _, d := range facts.Denied {
			reason, problem := whyFailed(d.Err)
			said.Denied = append(said.Denied, doctor.StoreDenial{Operation: d.Operation, Reason: reason, Problem: problem})
		}
		if cfg.SFM.API == config.APIv2 && said.Down == "" && said.Names != "others'" {
			said.DPoP = examineFleetKeys(ctx, shared)
		}
		return said
	}
}

// examineFleetKeys tells the doctor of the DPoP keys that replicas share. It makes none.
func examineFleetKeys(ctx context.Context, shared store.Store) *doctor.StoreDPoP {
	set, _, err := readFleetKeys(ctx, shared)
	switch {
	case errors.Is(err, store.ErrMissing):
		return &doctor.StoreDPoP{State: "none"}
	case unopened(err):
		return &doctor.StoreDPoP{State: "unopened", Problem: err.Error()}
	case err != nil:
		_, problem := whyFailed(err)
		return &doctor.StoreDPoP{Problem: problem}
	}
	said := &doctor.StoreDPoP{State: "held", Thumbprint: set.current.Thumbprint(), Since: set.since}
	if set.newer {
		said.State = "newer"
	}
	for _, e := range alive(set.earlier, time.Now()) {
		said.Earlier = append(said.Earlier, doctor.StoreDPoPEarlier{Thumbprint: e.key.Thumbprint(), Until: e.until})
	}
	return said
}

// whyFailed is a failure in a word and in the server's own words, masked.
func whyFailed(err error) (reason, problem string) {
	if err == nil {
		return "", ""
	}
	if failure, ok := errors.AsType[*store.Failure](err); ok {
		reason = string(failure.Reason)
	}
	return reason, telemetry.Mask(err.Error())
}

// bare reports whether an address leads to another machine without TLS.
func bare(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "redis" {
		return false
	}
	hosts := []string{u.Hostname()}
	for _, more := range u.Query()["addr"] {
		host, _, _ := net.SplitHostPort(more)
		hosts = append(hosts, host)
	}
	return slices.ContainsFunc(hosts, func(host string) bool {
		ip := net.ParseIP(host)
		return host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}
