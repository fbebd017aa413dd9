//go:build unix

package app_test

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// cord leads to a store, and can be cut: whoever is behind it is dead to the others.
type cord struct {
	socket string
	mu     sync.Mutex // guards what follows
	isCut  bool
	conns  []net.Conn
}

func (s *sharedServer) newCord() *cord {
	s.t.Helper()
	c := &cord{socket: filepath.Join(filepath.Dir(s.socket), "cord")}
	l, err := net.Listen("unix", c.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close(); c.cut() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", s.socket)
			if err != nil || !c.hold(near, far) {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		}
	}()
	return c
}

func (c *cord) hold(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conns...)
	return !c.isCut
}

func (c *cord) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// wantNoSFMSessions sees that the store has nothing about SFM sessions left.
func (s *sharedServer) wantNoSFMSessions() {
	s.t.Helper()
	eventually(s.t, "nothing is left in the store", func() bool {
		return strings.TrimSpace(s.sfmNames()) == ""
	})
}

// sfmNames are the names of all pages and notes.
func (s *sharedServer) sfmNames() string {
	return s.cli("--scan", "--pattern", "sfm:sfm-sessions:*") + s.cli("--scan", "--pattern", "sfm:due-*")
}

// The replica that keeps a person's SFM sessions dies without a word. Another takes them
// over before their tokens run out, and log-out there ends them all.
func TestSFMSessionsAreTakenOver(t *testing.T) {
	t.Parallel()
	const life = 20 * time.Second
	server := startShared(t)
	cord := server.newCord()
	a := shortLived(t, int(life/time.Second), append(server.env(), "SIDECAR_STORE=unix://"+cord.socket)...)
	b, c := a.replica(server.env()...), a.replica(server.env()...)
	handle, tenants := a.logIn("lege"), simulator.Tenants()[:2]
	for _, tenant := range tenants {
		a.sfmSession(handle, tenant)
	}
	for _, w := range []*world{b, c} {
		eventually(t, "the others know", func() bool {
			states := w.sfmStates(handle)
			return states[tenants[0].Parent] == "open" && states[tenants[1].Parent] == "open"
		})
	}
	names := server.sfmNames()
	if len(strings.Fields(names)) != 2 { // a page and a note
		t.Errorf("the store has %q for one person", names)
	}
	server.wantSealed(handle, "eyJ", tenants[0].Parent, tenants[0].Journal, "/Session")

	cord.cut()
	a.stop()
	if err := a.sidecar.Wait(); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	eventually(t, "a new token for both", func() bool {
		return a.atSFM(tenants[0].Parent).NewTokens >= 1 && a.atSFM(tenants[1].Parent).NewTokens >= 1
	})
	if took := time.Since(taken); took > life {
		t.Errorf("it took %v", took)
	}
	<-time.After(life / 2) // most of a life with the new keeper
	for _, tenant := range tenants {
		s := a.atSFM(tenant.Parent)
		if s.State != simulator.SFMSessionOpen || s.Refreshes != s.NewTokens {
			t.Errorf("%s after %d refreshes, of them %d with a new token", s.State, s.Refreshes, s.NewTokens)
		}
	}
	const open = `sfm_sidecar_sfm_sessions{state="open"}`
	if at := []float64{b.metric(open), c.metric(open)}; slices.Max(at) != 2 || slices.Min(at) != 0 {
		t.Errorf("kept by the two replicas that are left: %v", at)
	}
	one, other := b.sfmStates(handle), c.sfmStates(handle)
	if one[tenants[0].Parent] != "open" || one[tenants[1].Parent] != "open" || len(one) != 2 || len(other) != 2 {
		t.Errorf("the EPJ is told %v and %v", one, other)
	}
	keeper, idle := b, c
	if c.metric(open) > 0 {
		keeper, idle = c, b
	}
	b.sim.ResetLedger()
	idle.wantLoggedOut(handle, tenants)
	server.wantNoSFMSessions()
	eventually(t, "the keeper notices", func() bool { return keeper.metric(open) == 0 })
	for _, op := range b.sim.Ledger() {
		if op.Name == "refreshSession" {
			t.Error("SFM was asked to refresh after the log-out")
		}
	}
}

// wantLoggedOut logs out and sees that each tenant's SFM session was ended with its own
// token.
func (w *world) wantLoggedOut(handle string, tenants []simulator.Tenant) {
	w.t.Helper()
	if undone := w.logOut(handle); len(undone) != 0 {
		w.t.Errorf("undone: %q", undone)
	}
	for _, tenant := range tenants {
		if s := w.atSFM(tenant.Parent); s.State != simulator.SFMSessionEnded {
			w.t.Errorf("after the log-out an SFM session is %s", s.State)
		}
	}
	for _, op := range w.sim.Ledger() {
		if op.Name == "endSession" && op.Status != http.StatusNoContent {
			w.t.Errorf("Session/end was answered %d", op.Status)
		}
	}
}

// A replica that ends in order hands over at once; one EPJ's calls about a session may
// reach any replica.
func TestSFMSessionsAreHandedOver(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	a := newWorld(t, setup{env: server.env()})
	b := a.replica()
	handle, tenants := a.logIn("lege"), simulator.Tenants()[:2]
	const open = `sfm_sidecar_sfm_sessions{state="open"}`
	a.sfmSession(handle, tenants[0])
	eventually(t, "the other knows", func() bool { return b.sfmStates(handle)[tenants[0].Parent] == "open" })
	a.stop()
	if err := a.sidecar.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other keeps it", func() bool { return b.metric(open) == 1 })

	d := b.replica()
	d.sfmSession(handle, tenants[1]) // and with it the first
	eventually(t, "both are kept", func() bool { return d.metric(open) == 2 })
	b.wantStep(handle, tenants[0], "end", "")
	eventually(t, "one is left", func() bool { return len(d.sfmStates(handle)) == 1 })
	if states := b.sfmStates(handle); states[tenants[1].Parent] != "open" || len(states) != 1 {
		t.Errorf("the EPJ is told %v", states)
	}
	b.wantLoggedOut(handle, tenants)
	server.wantNoSFMSessions()
}

// While the store is down, SFM sessions are opened and kept from memory; when it is back,
// the others learn of them.
func TestSFMSessionsWithoutTheStore(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	cord := server.newCord()
	a := newWorld(t, setup{env: append(server.env(), "SIDECAR_STORE=unix://"+cord.socket)})
	b := a.replica(server.env()...)
	handle, tenant := a.logIn("lege"), simulator.Tenants()[0]
	a.wantCode(a.call(handle, 0), "")
	cord.cut()
	begun := time.Now()
	a.sfmSession(handle, tenant)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the create took %v", took)
	}
	if states := b.sfmStates(handle); len(states) != 0 {
		t.Errorf("the other knows %v", states)
	}
	cord.mend()
	eventually(t, "the other knows", func() bool { return b.sfmStates(handle)[tenant.Parent] == "open" })
	b.wantLoggedOut(handle, []simulator.Tenant{tenant})
	server.wantNoSFMSessions()
}

func (c *cord) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = false
}
