//go:build unix

package app_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

var alsoMachines = []string{"HELSEID_GRANT=user,client-credentials", "SIDECAR_UNSAFE_NO_CALLER_KEY=true"}

// callAsMachine calls for a tenant without a person.
func (w *world) callAsMachine(tenant int) answer {
	w.t.Helper()
	return w.send(w.request(http.MethodGet, "/basis/Task", "",
		append(headers("", simulator.Tenants()[tenant]), "Sfm-Grant", "client-credentials")...))
}

// Who begins at a real replica may read, and nothing else: it says so, uses the tokens
// of the others, and refuses what needs a write. Once the replica is the primary all is well.
func TestStartAtReplica(t *testing.T) {
	t.Parallel()
	primary, replica := startShared(t), startShared(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	primary.cli("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	primary.cli("CONFIG", "SET", "port", port)
	a := newWorld(t, setup{env: append(primary.env(), alsoMachines...)})
	handle, leaving, doctor := a.logIn("lege"), a.logIn("vikar"), simulator.Persons()[0]
	a.wantRight(handle, doctor, 0)
	replica.cli("REPLICAOF", "127.0.0.1", port)
	eventually(t, "the replica has it all", func() bool {
		return strings.Contains(replica.cli("INFO", "replication"), "master_link_status:up") && replica.cli("DBSIZE") == primary.cli("DBSIZE")
	})

	b := a.replica("SIDECAR_STORE=unix://" + replica.socket)
	a.wantLogged("give the address of the primary")
	if status := b.probe("/readyz"); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	b.wantRight(handle, doctor, 0)
	if n := b.cache("shared"); n != 1 {
		t.Errorf("%v tokens were taken from the store, want 1", n)
	}
	b.wantCode(b.callAsMachine(0), "")
	b.wantCode(b.call(handle, 1), "store-unavailable")
	b.wantCode(b.send(b.request(http.MethodPost, "/_sidecar/sessions", "{}")), "store-unavailable")
	b.wantCode(b.send(b.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", leaving)), "store-unavailable")
	replica.cli("REPLICAOF", "NO", "ONE")
	eventually(t, "the replica takes writes", func() bool { return b.call(handle, 1).status == http.StatusOK })
	b.wantRight(handle, doctor, 2)
}

// A server that throws entries away to make room logs people out. Nobody gets another's
// token by that, no call hangs, and whoever logs in again goes on.
func TestEviction(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	a := newWorld(t, setup{env: append(v.env(server), alsoMachines...)})
	doctor := simulator.Persons()[0]
	handle := a.logIn(doctor.ID)
	for range 2 { // the second one reads the log-in, and has its changes told
		a.wantRight(handle, doctor, 0)
	}
	server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	server.cli("CONFIG", "SET", "maxmemory", "3mb")
	ctx := t.Context()
	eventually(t, "what the sidecars had there is thrown away", func() bool {
		for i := range 200 {
			v.Set(ctx, fmt.Sprintf("other:%d:%d", time.Now().UnixNano(), i), strings.Repeat("x", 2000), time.Minute)
		}
		return len(v.Keys(ctx, "sfm:*").Val()) == 0
	})
	a.wantRight(handle, doctor, 0) // from memory
	b := a.replica()
	b.wantCode(b.call(handle, 0), "session-unknown")
	a.wantCode(a.call(handle, 1), "session-unknown")
	b.wantCode(b.callAsMachine(0), "")
	again := b.logIn(doctor.ID)
	b.wantRight(again, doctor, 0)
	if n := a.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}

// way leads to a store, and takes its time.
type way struct {
	socket string
	delay  atomic.Int64 // of each answer
}

func (s *sharedServer) newWay() *way {
	s.t.Helper()
	y := &way{socket: filepath.Join(filepath.Dir(s.socket), "way")}
	l, err := net.Listen("unix", y.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", s.socket)
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(far, near, new(atomic.Int64))
			go carry(near, far, &y.delay)
		}
	}()
	return y
}

// carry takes what comes from one end to the other, in order, each piece so much later.
func carry(to, from net.Conn, delay *atomic.Int64) {
	type piece struct {
		bytes []byte
		at    time.Time
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer func() { _ = to.Close() }()
		for p := range pieces {
			<-time.After(time.Until(p.at))
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close()
			}
		}
	}()
	defer close(pieces)
	for {
		b := make([]byte, 4096)
		n, err := from.Read(b)
		if err != nil {
			return
		}
		pieces <- piece{b[:n], time.Now().Add(time.Duration(delay.Load()))}
	}
}

// A way to the store that takes 4 s for each answer is an outage that never ends: who
// has a token goes on without waiting, and nobody waits long for a refusal.
func TestSlowWayToStore(t *testing.T) {
	t.Parallel()
	const timeout, outages = time.Second, 3
	server := startShared(t)
	y := server.newWay()
	w := newWorld(t, setup{env: append(append(server.env(), alsoMachines...), "SIDECAR_STORE=unix://"+y.socket, "SIDECAR_STORE_TIMEOUT="+timeout.String())})
	handle, doctor := w.logIn("lege"), simulator.Persons()[0]
	for range 5 { // the second reads the log-in, and has its changes told
		w.wantCode(w.call(handle, 0), "")
	}
	for outage := range outages { // a machine that stands still once is not the sidecar's fault
		y.delay.Store(int64(4 * timeout))
		late := w.lateInOutage(handle, 1+4*outage, timeout)
		y.delay.Store(0)
		eventually(t, "the store is used again", func() bool { return w.call(handle, 1).status == http.StatusOK })
		if len(late) == 0 {
			break
		}
		if t.Logf("outage %d: %s", outage+1, strings.Join(late, ", ")); outage == outages-1 {
			t.Error("calls wait too long for a store that is down")
		}
	}
	w.wantRight(handle, doctor, 5*outages)
	if n := w.sim.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}

// lateInOutage calls for four tenants that no token is held of while the store is down,
// and returns what took longer than so many questions of it may.
func (w *world) lateInOutage(handle string, first int, question time.Duration) (late []string) {
	w.t.Helper()
	for tenant := range 4 {
		for _, call := range []struct {
			what, code string
			questions  int
			do         func() answer
		}{
			{"a token in memory", "", 0, func() answer { return w.call(handle, 0) }},
			{"a person's without one", "store-unavailable", 2, func() answer { return w.call(handle, first+tenant) }},
			{"a machine's without one", "", 2, func() answer { return w.callAsMachine(first + tenant) }},
			{"a log-in", "store-unavailable", 1, func() answer { return w.send(w.request(http.MethodPost, "/_sidecar/sessions", "{}")) }},
		} {
			begun := time.Now()
			got := call.do()
			took := time.Since(begun)
			w.wantCode(got, call.code)
			if took > time.Duration(call.questions)*question+question*3/5 {
				late = append(late, fmt.Sprintf("%s took %v", call.what, took))
			}
		}
	}
	return late
}
