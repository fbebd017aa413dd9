package app

import (
	"context"
	"log/slog"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/keepalive"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/telemetry"
)

// sessionRow is a session as it is shown; the names are those of --json.
type sessionRow struct {
	ID            string           `json:"id"`
	State         session.State    `json:"state"`
	Begun         time.Time        `json:"begun"`
	Used          time.Time        `json:"last_used,omitzero"`
	Expires       time.Time        `json:"expires,omitzero"` // left out where HelseID did not say
	SecurityLevel string           `json:"security_level,omitempty"`
	Tenants       []session.Tenant `json:"tenants,omitempty"` // left out where any may be used
	Owner         string           `json:"owner,omitempty"`
	SFM           *int             `json:"sfm_sessions,omitempty"` // open ones; left out where that is not known
	Open          bool             `json:"open"`                   // it can be ended
}

// endedRow is what became of a session that was to end; the names are those of --json.
type endedRow struct {
	ID      string   `json:"id"`
	Outcome string   `json:"outcome"` // one of the words below
	Undone  []string `json:"undone,omitempty"`
	Error   string   `json:"error,omitempty"`
}

const (
	hasEnded  = "ended"
	wasOver   = "was over"
	notEnded  = "not ended"
	reasonEnd = "operator" // of a session's end, in the log
)

// sessionDesk is where sessions can be listed and ended: here, or in the process that
// keeps them. unreadable is how many entries of sessions could not be looked at.
type sessionDesk interface {
	list(ctx context.Context, c session.Choice, visit func(sessionRow) error) (unreadable int, err error)
	end(ctx context.Context, c session.Choice, tell func(endedRow)) (unreadable int, err error)
	close()
}

// ownDesk is that of the process itself, whose rooms are at hand.
type ownDesk struct {
	*house
	countSFM bool // in the store, too: one read for each session that is listed
}

func (d ownDesk) list(ctx context.Context, c session.Choice, visit func(sessionRow) error) (int, error) {
	return d.sessions.List(ctx, c, func(some []session.Listed) error {
		for _, l := range some {
			if err := visit(d.row(ctx, l)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d ownDesk) row(ctx context.Context, l session.Listed) sessionRow {
	row := sessionRow{
		ID: l.ID, State: l.State, Begun: l.Begun.UTC(), Used: l.Used.UTC(), Expires: l.Expires.UTC(), SecurityLevel: l.SecurityLevel,
		Tenants: l.Tenants, Owner: l.Owner, Open: l.Open,
	}
	if known, ok := d.openSFM(ctx, l); ok {
		row.SFM = &known
	}
	return row
}

// openSFM counts the open SFM sessions of a session, if that can be known.
func (d ownDesk) openSFM(ctx context.Context, l session.Listed) (open int, known bool) {
	var all []keepalive.Status
	switch {
	case d.shared == nil:
		all = d.sfm.keeper.Of(ctx, l.ID)
	case !d.countSFM:
		return 0, false
	case l.State == session.Active: // others have none
		if all, known = d.sfm.keeper.Written(ctx, l.ID); !known {
			return 0, false
		}
	}
	for _, s := range all {
		if s.State == keepalive.Open {
			open++
		}
	}
	return open, true
}

func (d ownDesk) end(ctx context.Context, c session.Choice, tell func(endedRow)) (int, error) {
	return d.sessions.EndChosen(ctx, c, func(o session.Outcome) {
		row := endedRow{ID: o.ID, Outcome: hasEnded, Undone: o.Undone}
		switch {
		case o.Over:
			row.Outcome = wasOver
		case o.Err != nil:
			row.Outcome, row.Error = notEnded, o.Err.Error()
			d.log.Warn("a session could not be ended", "session", o.ID, "reason", reasonEnd, "cause", o.Err)
		default:
			d.log.Info("a session was ended", "session", o.ID, "reason", reasonEnd, "undone", len(o.Undone))
		}
		tell(row)
	})
}

// visitStore makes the rooms that sessions in a shared store need, for a process that
// serves nobody.
func visitStore(cfg *config.Config, log *slog.Logger, version string) (ownDesk, error) {
	visiting := *cfg
	visiting.SFM.SessionKeepalive = false // it is gone too soon to keep any
	h := &house{visits: true, cfg: &visiting, log: log, version: version, metrics: telemetry.NewMetrics(version)}
	var keyless error
	steps := []func() error{
		func() (err error) { h.witness, err = newWitness(version, cfg.SFM.Upstreams); return err },
		h.buildRoots, h.buildStore, func() (err error) { keyless, err = h.borrowKeys(); return err },
		h.buildHelseID, func() error { return h.buildSessions("") },
		h.buildCache, h.buildSFMSessions,
		func() error { h.sfm.keyless = keyless; return nil },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			h.closeStore()
			return ownDesk{}, err
		}
	}
	return ownDesk{house: h}, nil
}

// borrowKeys is buildKeys for a visitor, who leaves the fleet's DPoP keys as they are.
// Without them, which keyless tells, sessions are listed and ended all the same; only SFM
// can't be told, since no token of the fleet's can be proven.
func (h *house) borrowKeys() (keyless, err error) {
	if h.cfg.SFM.API == config.APIv2 {
		var set keySet
		if set, _, keyless = readFleetKeys(context.Background(), h.shared); keyless != nil {
			if set.current, err = dpop.NewKey(); err != nil { // proves nothing; the rooms want one
				return keyless, err
			}
		}
		h.key = dpop.NewRing(set.current, keysOf(alive(set.earlier, time.Now()))...)
	}
	h.keys, err = clientKeys(h.cfg.HelseID)
	return keyless, err
}
